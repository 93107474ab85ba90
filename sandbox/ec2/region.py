"""One account's EC2 in one Region: what is in it, and how things are found."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.ec2.agenda import Agenda
from sandbox.ec2.call import Call
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.faults import Fault, FaultBook, FaultName
from sandbox.ec2.model import Image, ImageState, Instance, Snapshot, Volume
from sandbox.ec2.moments import iso
from sandbox.ec2.physics import Dice, Physics
from sandbox.ec2.tags import TagBook
from sandbox.ec2.throttle import Throttle

_ID = re.compile(r"(i|ami|snap|vol)-(?:[0-9a-f]{8}|[0-9a-f]{17})")


@dataclass(slots=True)
class Region:
    """The resources of one account in one Region, and what governs them."""

    account: str
    name: str
    physics: Physics
    seed: str
    faults: FaultBook
    tags: TagBook
    throttle: Throttle
    agenda: Agenda = field(default_factory=Agenda)
    instances: dict[str, Instance] = field(default_factory=dict)
    volumes: dict[str, Volume] = field(default_factory=dict)
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)
    launches: dict[str, list[str]] = field(default_factory=dict)
    violations: list[dict[str, Any]] = field(default_factory=list)
    dice: Dice = field(init=False)

    def __post_init__(self) -> None:
        """Seed the draws that belong to no instance."""
        self.dice = Dice(f"{self.seed}/{self.account}/{self.name}")

    def new_id(self, prefix: str) -> str:
        """Return a fresh id such as `vol-0123456789abcdef0`."""
        return f"{prefix}-0{self.dice.hex_digits(prefix, 16)}"

    def visible_at(self, now: float) -> float:
        """Return when something that is made at `now` becomes visible."""
        return now + self.dice.draw("visibility_seconds", self.physics.visibility_seconds)

    def instance(self, instance_id: str, now: float) -> Instance:
        """Return a visible instance, or raise InvalidInstanceID.*."""
        check_id(instance_id, "i", "InvalidInstanceID.Malformed")
        instance = self.instances.get(instance_id)
        if instance is None or instance.visible_at > now:
            message = f"The instance ID '{instance_id}' does not exist"
            raise Ec2Error("InvalidInstanceID.NotFound", message)
        return instance

    def volume(self, volume_id: str) -> Volume:
        """Return a volume, or raise InvalidVolume.NotFound."""
        if volume_id not in self.volumes:
            raise Ec2Error("InvalidVolume.NotFound", f"The volume '{volume_id}' does not exist.")
        return self.volumes[volume_id]

    def snapshot(self, snapshot_id: str, now: float) -> Snapshot:
        """Return a visible snapshot, or raise InvalidSnapshot*."""
        check_id(snapshot_id, "snap", "InvalidSnapshotID.Malformed")
        snapshot = self.snapshots.get(snapshot_id)
        if snapshot is None or snapshot.deleted or snapshot.visible_at > now:
            message = f"The snapshot '{snapshot_id}' does not exist."
            raise Ec2Error("InvalidSnapshot.NotFound", message)
        return snapshot

    def image(self, image_id: str, now: float) -> Image:
        """Return a visible image that is not deregistered, or raise InvalidAMIID.*."""
        check_id(image_id, "ami", "InvalidAMIID.Malformed")
        image = self.images.get(image_id)
        if image is None or image.visible_at > now:
            message = f"The image id '[{image_id}]' does not exist"
            raise Ec2Error("InvalidAMIID.NotFound", message)
        if image.state is ImageState.DEREGISTERED:
            message = f"The image ID '{image_id}' is no longer available"
            raise Ec2Error("InvalidAMIID.Unavailable", message)
        return image

    def instance_name(self, instance_id: str) -> str | None:
        """Return an instance's Name tag, if it has one."""
        return self.tags.current(instance_id).get("Name")

    def fault(self, name: FaultName, call: Call, *instance_ids: str) -> Fault | None:
        """Return the fault `name` if it strikes this call for one of these instances."""
        return self.faults.take(name, call, {id_: self.instance_name(id_) for id_ in instance_ids})

    def violate(self, call: Call, what: str) -> None:
        """Note that a caller did what Stillpoint must never do."""
        self.violations.append(
            {
                "at": iso(call.at),
                "action": call.action,
                "by": call.principal,
                "instances": list(call.instances),
                "what": what,
            }
        )

    def snapshots_of_volume(self, volume_id: str) -> list[Snapshot]:
        """Return the snapshots of a volume, deleted ones too, in the order of their initiation."""
        return [snap for snap in self.snapshots.values() if snap.volume_id == volume_id]

    def delete_snapshot(self, snapshot: Snapshot) -> None:
        """Delete a snapshot and forget its tags."""
        snapshot.deleted = True
        self.tags.forget(snapshot.snapshot_id)


def check_id(resource_id: str, prefix: str, code: str) -> None:
    """Raise an Ec2Error `code` if `resource_id` is not an id with this prefix."""
    match = _ID.fullmatch(resource_id)
    if match is None or match.group(1) != prefix:
        raise Ec2Error(code, f'Invalid id: "{resource_id}"')


type Operation = Callable[[Region, Call], Mapping[str, Any]]
