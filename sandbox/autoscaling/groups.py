"""Auto Scaling groups and their members, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sandbox.ec2.lagged import Lagged
from sandbox.ec2.moments import instant


class LifecycleState(StrEnum):
    """The states of a member that can come about here, by the names that AWS gives them."""

    PENDING = "Pending"
    IN_SERVICE = "InService"
    ENTERING_STANDBY = "EnteringStandby"
    STANDBY = "Standby"
    TERMINATING = "Terminating"


@dataclass(slots=True)
class Member:
    """An instance of a group."""

    instance_id: str
    state: Lagged[LifecycleState]
    healthy: bool = True

    def view(self, now: float) -> dict[str, Any]:
        """Return what every Describe call says of it."""
        return {
            "InstanceId": self.instance_id,
            "LifecycleState": self.state.seen(now).value,
            "HealthStatus": "Healthy" if self.healthy else "Unhealthy",
            "ProtectedFromScaleIn": False,
        }


@dataclass(slots=True)
class Group:
    """A group with its sizes, its members by instance and the processes that are suspended.

    `facts` is what its creator said of it and what never changes here, by the SDK's names.
    """

    name: str
    arn: str
    created_at: float
    least: int
    most: int
    desired: int
    target_groups: list[str] = field(default_factory=list)
    facts: Mapping[str, Any] = field(default_factory=dict)
    suspended: set[str] = field(default_factory=set)
    members: dict[str, Member] = field(default_factory=dict)

    @property
    def sizes(self) -> str:
        """The sizes in AWS's words."""
        return f"min-size={self.least}, max-size={self.most}, and desired-size={self.desired}"

    def view(self, instances: list[dict[str, Any]]) -> dict[str, Any]:
        """Return it as DescribeAutoScalingGroups does, with these rows for its instances."""
        return {
            "AutoScalingGroupName": self.name,
            "AutoScalingGroupARN": self.arn,
            "DefaultCooldown": 300,
            "HealthCheckType": "EC2",
            "HealthCheckGracePeriod": 0,
            "AvailabilityZones": [],
            **self.facts,
            "MinSize": self.least,
            "MaxSize": self.most,
            "DesiredCapacity": self.desired,
            "LoadBalancerNames": [],
            "TargetGroupARNs": self.target_groups,
            "Instances": instances,
            "CreatedTime": instant(self.created_at),
            "SuspendedProcesses": [
                {"ProcessName": each, "SuspensionReason": "User suspended"}
                for each in sorted(self.suspended)
            ],
        }
