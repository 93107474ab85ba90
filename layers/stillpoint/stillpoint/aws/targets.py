"""Target groups: finding an instance's places in them, taking them away and giving them back."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from stillpoint.aws.client import client, error_code, translated
from stillpoint.aws.once import Once
from stillpoint.aws.telemetry import logger
from stillpoint.instance import Instance
from stillpoint.isolation import Progress, Registration
from stillpoint.targets import DRAINING, HEALTHY, FoundTarget, why_lost

REFUSED = "RegistrationRefused"
"""The stable name of a failure: a target group does not take the instance back."""
GONE = "TargetGroupGone"
"""The stable name of a failure: a target group of the instance does not exist any more."""

_PAGE = 400
"""Target groups that one page may hold (Elastic Load Balancing API Reference,
DescribeTargetGroups)."""
_DELAY = "deregistration_delay.timeout_seconds"
_DEFAULT_DELAY = 300
"""Seconds that a target drains unless its group says otherwise (Elastic Load Balancing API
Reference, TargetGroupAttribute)."""
_GRACE = timedelta(minutes=10)
"""How much longer than its delay a target may drain: its deregistration may have been late."""
_FULL = frozenset({"TooManyTargets", "TooManyRegistrationsForTargetId"})


@dataclass(frozen=True, slots=True)
class _Group:
    """A target group whose targets are instances; `port` is its own."""

    arn: str
    name: str
    port: int
    vpc_id: str

    @property
    def id(self) -> str:
        """The last part of the ARN, which is never given twice."""
        return self.arn.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class _Health:
    """The state of a target, such as `healthy`, and the code of its reason, if it has one."""

    state: str
    reason: str

    @property
    def in_words(self) -> str:
        """The state, with the reason."""
        return f"{self.state} ({self.reason})" if self.reason else self.state


type _Targets = Mapping[tuple[str, int], _Health]
"""The targets of a group, by instance id and port."""


class TargetGroups:
    """The target groups and their targets at one look, read when they are first asked for.

    All calls that describe something draw on one bucket of 40 requests, refilled by 10 per second
    (Elastic Load Balancing User Guide, "Request throttling for the Elastic Load Balancing API").
    """

    def __init__(self) -> None:
        """Read nothing yet."""
        self._by_id = Once(_groups_by_id)
        self.targets_of = Once(_targets_of)

    def all(self) -> Mapping[str, _Group]:
        """Return the target groups whose targets are instances, by the last part of the ARN."""
        return self._by_id(None)


class DrainingGroups(TargetGroups):
    """Target groups of which it matters, too, for how long their targets drain."""

    def __init__(self) -> None:
        """Read nothing yet."""
        super().__init__()
        self.delay_of = Once(_delay)


def find_targets(instances: Collection[Instance]) -> dict[str, tuple[FoundTarget, ...]]:
    """Return all places of the instances in target groups, by instance id.

    The instances are those that a backup stops; without any, nothing is asked. There is no call
    for the targets of an instance: every group whose targets are instances, in one of their VPCs,
    is asked for its own.
    """
    found: dict[str, list[FoundTarget]] = {each.instance_id: [] for each in instances}
    vpcs = {each.vpc_id for each in instances if each.vpc_id}
    groups = [group for group in _groups() if group.vpc_id in vpcs] if vpcs else []
    for group in groups:
        targets = _targets_of(group)
        served_on = any(
            health.state == HEALTHY and instance_id not in found
            for (instance_id, _), health in targets.items()
        )
        for (instance_id, port), health in targets.items():
            if instance_id in found:
                found[instance_id].append(
                    FoundTarget(
                        arn=group.arn,
                        group=group.id,
                        name=group.name,
                        port=None if port == group.port else port,
                        state=health.state,
                        only_healthy=health.state == HEALTHY and not served_on,
                    )
                )
    return {instance_id: tuple(targets) for instance_id, targets in found.items()}


def drain(
    instance_id: str,
    targets: Sequence[Registration],
    groups: DrainingGroups,
    since: datetime,
    now: datetime,
) -> Progress:
    """Take an instance out of its target groups, one step; done when no request is under way.

    A target is shown as draining until its group's deregistration delay is over, even if it has
    nothing left to do (Elastic Load Balancing User Guide, "Deregistration delay"). `since` is when
    the isolation began: one that has not ended ten minutes after the delay is not waited for.
    """
    waiting = []
    for registration in targets:
        group = groups.all().get(registration.group)
        if group is None:
            continue
        port = registration.port or group.port
        health = groups.targets_of(group).get((instance_id, port))
        if health is None:
            continue
        if health.state != DRAINING:
            _deregister(instance_id, group, registration)
        elif now - since > _GRACE and now - since > groups.delay_of(group) + _GRACE:
            logger.warning(
                "A target has been draining for longer than its group says",
                extra={"instance_id": instance_id, "target_group": group.name, "port": port},
            )
            continue
        waiting.append(f"{group.name}:{port}")
    return Progress(waiting=f"it drains from {', '.join(waiting)}" if waiting else "")


def register(
    instance_id: str,
    targets: Sequence[Registration],
    groups: TargetGroups,
    hindrance: Callable[[], str] = lambda: "",
) -> Progress:
    """Bring a running instance back into its target groups, one step; done when it serves again.

    It has to be healthy where it was before. Elastic Load Balancing registers only what it sees
    running (Elastic Load Balancing API Reference, RegisterTargets), which may take a moment. A
    group that does not exist any more is lost: nothing is put in its place. `hindrance` says just
    before a target is registered why it must not be, or nothing.
    """
    waiting: list[str] = []
    failures: list[str] = []
    lost: list[str] = []
    for registration in targets:
        group = groups.all().get(registration.group)
        if group is None:
            lost.append(registration.group)
            continue
        port = registration.port or group.port
        health = groups.targets_of(group).get((instance_id, port))
        if health is None or health.state == DRAINING:
            hindered = hindrance()
            refusal = (
                Progress(waiting=hindered)
                if hindered
                else _register(instance_id, group, registration)
            )
            (failures if refusal.failure else waiting).append(refusal.failure or refusal.waiting)
        elif registration.was_healthy and not _serves(instance_id, group, health):
            waiting.append(f"it is {health.in_words} in {group.name}:{port}")
    return Progress(
        waiting="" if failures else "; ".join(waiting),
        failure="; ".join(failures),
        error=REFUSED if failures else "",
        lost=why_lost(lost),
    )


def _serves(instance_id: str, group: _Group, health: _Health) -> bool:
    """Return whether a target is as good as it can be."""
    if health.reason == "Target.NotInUse":
        logger.warning(
            "No load balancer uses a target group any more",
            extra={"instance_id": instance_id, "target_group": group.name},
        )
        return True
    return health.state == HEALTHY


def _register(instance_id: str, group: _Group, registration: Registration) -> Progress:
    """Register a target, and say what is to be waited for then, or why it failed."""
    port = registration.port or group.port
    with translated(f"registering {instance_id} with the target group {group.name}"):
        try:
            client("elbv2").register_targets(
                TargetGroupArn=group.arn, Targets=[_description(instance_id, registration)]
            )
        except ClientError as error:
            if error_code(error) in _FULL:
                return Progress(failure=str(error), error=REFUSED)
            # It was deleted just now, or does not see yet that the instance runs.
            if error_code(error) not in {"InvalidTarget", "TargetGroupNotFound"}:
                raise
            return Progress(waiting=str(error))
    return Progress(waiting=f"it is being registered with {group.name}:{port}")


def _deregister(instance_id: str, group: _Group, registration: Registration) -> None:
    """Deregister a target; one that is not registered (any more) is no error.

    Elastic Load Balancing API Reference, DeregisterTargets.
    """
    with translated(f"deregistering {instance_id} from the target group {group.name}"):
        try:
            client("elbv2").deregister_targets(
                TargetGroupArn=group.arn, Targets=[_description(instance_id, registration)]
            )
        except ClientError as error:
            if error_code(error) != "TargetGroupNotFound":
                raise


def _description(instance_id: str, registration: Registration) -> dict[str, Any]:
    """Return a target as calls name it: with its port, if that is not the group's own."""
    port = {} if registration.port is None else {"Port": registration.port}
    return {"Id": instance_id, **port}


def _groups_by_id(_: None) -> dict[str, _Group]:
    return {group.id: group for group in _groups()}


def _groups() -> Iterator[_Group]:
    """Read the target groups whose targets are instances."""
    with translated("reading the target groups"):
        pages = client("elbv2").get_paginator("describe_target_groups")
        for page in pages.paginate(PaginationConfig={"PageSize": _PAGE}):
            for row in page["TargetGroups"]:
                if row.get("TargetType") == "instance":
                    yield _Group(
                        row["TargetGroupArn"],
                        row["TargetGroupName"],
                        row["Port"],
                        row.get("VpcId", ""),
                    )


def _targets_of(group: _Group) -> _Targets:
    """Read the targets of a group; one that is gone has none."""
    with translated(f"reading the targets of {group.name}"):
        try:
            answer = client("elbv2").describe_target_health(TargetGroupArn=group.arn)
        except ClientError as error:
            if error_code(error) != "TargetGroupNotFound":
                raise
            answer = {"TargetHealthDescriptions": []}
    return {
        (row["Target"]["Id"], row["Target"].get("Port", group.port)): _Health(
            row["TargetHealth"]["State"], row["TargetHealth"].get("Reason", "")
        )
        for row in answer["TargetHealthDescriptions"]
        if row["TargetHealth"].get("Reason") != "Target.NotRegistered"
    }


def _delay(group: _Group) -> timedelta:
    """Read for how long a target of the group drains."""
    with translated(f"reading the attributes of {group.name}"):
        try:
            rows = client("elbv2").describe_target_group_attributes(TargetGroupArn=group.arn)
        except ClientError as error:
            if error_code(error) != "TargetGroupNotFound":
                raise
            return timedelta(0)
    values = {row["Key"]: row["Value"] for row in rows["Attributes"]}
    return timedelta(seconds=int(values.get(_DELAY, _DEFAULT_DELAY)))
