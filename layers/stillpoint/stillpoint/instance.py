"""An EC2 instance, as far as a backup needs to know it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class AttachedVolume:
    """An EBS volume attached to an instance, such as `vol-0abc` at `/dev/sdf`."""

    volume_id: str
    device_name: str


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an instance runs, as far as its next start depends on it.

    `tenancy` is `default`, `dedicated` or `host`. `affinity` is `host` if the instance starts only
    on the Dedicated Host `host_id`. `group` is the name of its placement group.
    """

    tenancy: str = "default"
    affinity: str = ""
    host_id: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Instance:
    """What DescribeInstances says about one instance.

    `state` is EC2's name of the state (`running`, `stopped`, ...), `state_reason` its own words
    for the last change. `lifecycle` is None for an On-Demand Instance, or `spot`, `scheduled`,
    `capacity-block`, `interruptible-capacity-reservation`. `managed` says that an AWS service
    operates the instance for its owner. `public_ip` is an address that a stop takes away, and
    `gets_new_public_ip` says that a start would bring another. `capacity_reservation` is the id of
    the one that the instance targets. `platform` is `windows`, or `linux` for all that is not.
    """

    instance_id: str
    state: str
    tags: Mapping[str, str]
    instance_type: str = ""
    root_device_type: str = "ebs"
    root_device_name: str = ""
    lifecycle: str | None = None
    managed: bool = False
    launch_time: datetime | None = None
    public_ip: str | None = None
    hibernation: bool = False
    volumes: tuple[AttachedVolume, ...] = ()
    state_reason: str = ""
    gets_new_public_ip: bool = True
    capacity_reservation: str | None = None
    placement: Placement = Placement()
    vpc_id: str = ""
    platform: str = "linux"

    @property
    def name(self) -> str:
        """The value of the `Name` tag, or an empty text."""
        return self.tags.get("Name", "")

    @property
    def auto_scaling_group(self) -> str | None:
        """The group that a tag of Auto Scaling's own names, which nobody else can write."""
        return self.tags.get("aws:autoscaling:groupName")
