"""Target groups and their targets, as plain data, and a target's health at a moment.

Elastic Load Balancing User Guide, "Health checks for your target groups": a target is `initial`
until its first health check has passed, `unused` while it is not registered or its instance does
not run, `draining` from its deregistration until the deregistration delay is over.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sandbox.ec2.physics import Range
from sandbox.elb.guests import Guest

DELAY: Final = "deregistration_delay.timeout_seconds"
# The attributes of a group that says nothing (Elastic Load Balancing API Reference,
# TargetGroupAttribute).
ATTRIBUTES: Final[Mapping[str, str]] = {DELAY: "300", "slow_start.duration_seconds": "0"}
# A first health check follows a registration so soon, and is repeated so often.
FIRST_CHECK_SECONDS: Final = Range(3, 20)
INTERVAL_SECONDS: Final = 10
HEALTHY_THRESHOLD: Final = 3


@dataclass(frozen=True, slots=True)
class Health:
    """A target's state with its reason, by the names that AWS gives them."""

    state: str
    reason: str = ""
    description: str = ""

    def view(self) -> dict[str, str | None]:
        """Return it as DescribeTargetHealth does."""
        return {
            "State": self.state,
            "Reason": self.reason or None,
            "Description": self.description or None,
        }


NOT_REGISTERED: Final = Health(
    "unused", "Target.NotRegistered", "Target is not registered to the target group"
)
_STOPPED: Final = Health("unused", "Target.InvalidState", "Target is in the stopped state")
_DRAINING: Final = Health(
    "draining", "Target.DeregistrationInProgress", "Target deregistration is in progress"
)
_INITIAL: Final = Health(
    "initial", "Elb.RegistrationInProgress", "Target registration is in progress"
)
_UNHEALTHY: Final = Health("unhealthy", "Target.FailedHealthChecks", "Health checks failed")


@dataclass(slots=True)
class Target:
    """An instance in a target group.

    `check_seconds` pass from its registration to its first health check; `drains_until` is None
    while it is registered, and `served` says whether it was healthy when it began to drain.
    """

    instance_id: str
    port: int
    registered_at: float
    check_seconds: float
    drains_until: float | None = None
    served: bool = False


@dataclass(slots=True)
class TargetGroup:
    """A target group that a load balancer uses, with its targets by instance and port."""

    arn: str
    name: str
    port: int
    vpc_id: str
    protocol: str = "HTTP"
    attributes: dict[str, str] = field(default_factory=lambda: dict(ATTRIBUTES))
    targets: dict[tuple[str, int], Target] = field(default_factory=dict)

    @property
    def delay(self) -> float:
        """The deregistration delay in seconds."""
        return float(self.attributes[DELAY])

    @property
    def balancer_arn(self) -> str:
        """The ARN of the load balancer that uses it: each group has one of its own."""
        head, _, tail = self.arn.partition(":targetgroup/")
        return f"{head}:loadbalancer/app/{tail}"

    def named(self, requested: Mapping[str, Any]) -> tuple[str, int]:
        """Return which target a request means: the group's port is meant if it names none."""
        return str(requested["Id"]), int(requested.get("Port", self.port))

    def forget_drained(self, now: float) -> None:
        """Drop the targets whose draining is over."""
        over = [
            key
            for key, each in self.targets.items()
            if each.drains_until is not None and each.drains_until <= now
        ]
        for key in over:
            del self.targets[key]

    def view(self) -> dict[str, Any]:
        """Return it as DescribeTargetGroups does."""
        return {
            "TargetGroupArn": self.arn,
            "TargetGroupName": self.name,
            "Protocol": self.protocol,
            "Port": self.port,
            "VpcId": self.vpc_id,
            "HealthCheckProtocol": self.protocol,
            "HealthCheckPort": "traffic-port",
            "HealthCheckEnabled": True,
            "HealthCheckIntervalSeconds": INTERVAL_SECONDS,
            "HealthCheckTimeoutSeconds": 5,
            "HealthyThresholdCount": HEALTHY_THRESHOLD,
            "UnhealthyThresholdCount": 2,
            "LoadBalancerArns": [self.balancer_arn],
            "TargetType": "instance",
            "IpAddressType": "ipv4",
        }


def health(target: Target, guest: Guest, unhealthy: Collection[str], now: float) -> Health:
    """Return a target's health at a moment up to which its guest's history was read."""
    if target.drains_until is not None:
        return _DRAINING
    if guest.running_since is None:
        return _STOPPED
    ailing = target.instance_id in unhealthy
    if now < target.registered_at + target.check_seconds:
        return _INITIAL
    back_at = guest.running_since + HEALTHY_THRESHOLD * INTERVAL_SECONDS
    was_down = guest.running_since > target.registered_at
    return _UNHEALTHY if ailing or (was_down and now < back_at) else Health("healthy")
