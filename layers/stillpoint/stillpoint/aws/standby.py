"""Standby: reading the members of Auto Scaling groups, and taking them out of service and back."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from itertools import batched
from typing import Any, assert_never

from botocore.exceptions import ClientError

from stillpoint.aws.client import client, error_code, translated
from stillpoint.aws.once import Once
from stillpoint.aws.telemetry import logger
from stillpoint.instance import Instance
from stillpoint.isolation import DONE, Progress
from stillpoint.standby import (
    Membership,
    Move,
    Sizes,
    is_replaced,
    way_in,
    way_out,
    why_no_entry,
    why_no_exit,
)

REFUSED = "StandbyRefused"
"""The stable name of a failure: the group does not let the member out, or not back in."""

_MEMBERS = 50
"""Instances that one page holds (EC2 Auto Scaling API Reference, DescribeAutoScalingInstances)."""
_GROUPS = 50
"""Groups that one call names, and one page holds unless it is told otherwise (EC2 Auto Scaling API
Reference, DescribeAutoScalingGroups)."""
_NOT_NOW = frozenset({"ValidationError", "ResourceContention", "ScalingActivityInProgress"})
"""The codes of a refusal because of the state of the member or of its group."""


type _Reading = Once[frozenset[str], dict[str, Membership]]


class Members:
    """The places of instances in Auto Scaling groups at one look, read when first asked for.

    All calls of EC2 Auto Scaling share one limit, which is not told (AWS re:Post Knowledge Center,
    autoscaling-api-calls-throttled).
    """

    def __init__(self, instance_ids: Collection[str]) -> None:
        """`instance_ids` are all that may be asked about."""
        self._instance_ids = frozenset(instance_ids)
        self._places: _Reading = Once(_members)
        self._after_a_refusal: _Reading = Once(_with_sizes)

    def get(self, instance_id: str) -> Membership | None:
        """Return the place of an instance, or None if it is no member of a group."""
        return self._places(self._instance_ids).get(instance_id)

    def again(self, instance_id: str) -> Membership | None:
        """Return its place and the sizes of its group as they are after the first refusal."""
        return self._after_a_refusal(self._instance_ids).get(instance_id)


def read_memberships(instance_ids: Collection[str]) -> dict[str, Membership]:
    """Return the places of those of the instances that Auto Scaling knows, by id.

    Each knows its group's sizes, and what all of them together take out of it that are not in
    Standby yet.
    """
    members = _with_sizes(instance_ids)
    leaving: Counter[str] = Counter()
    for each in members.values():
        if is_replaced(each):
            leaving[each.group] += each.together
    return {
        instance_id: replace(each, together=leaving[each.group]) if is_replaced(each) else each
        for instance_id, each in members.items()
    }


def _with_sizes(instance_ids: Collection[str]) -> dict[str, Membership]:
    """Return the places of the instances, each with its group's sizes."""
    members = _members(instance_ids)
    sizes = _sizes({each.group for each in members.values()})
    return {key: replace(each, sizes=sizes.get(each.group)) for key, each in members.items()}


def enter(instance_id: str, members: Members) -> Progress:
    """Take a member one step towards Standby; done when it is there.

    The group's DesiredCapacity is decremented, or the group would launch a replacement and
    terminate one member too many when this one returns (EC2 Auto Scaling User Guide, "Temporarily
    remove instances from your Auto Scaling group"). Its target groups are drained by Auto Scaling.
    """
    member = members.get(instance_id)
    move = way_in(member.state if member else None)
    if member is None or move is Move.NEVER:
        return Progress(failure=why_no_entry(member), error=REFUSED)
    match move:
        case Move.DONE:
            return DONE
        case Move.WAIT:
            return _waiting(member)
        case Move.CALL:
            refusal = _enter_standby(instance_id, member.group)
            if not refusal:
                return Progress(waiting=f"it enters Standby in the group {member.group}")
            return _refused(member, members.again(instance_id), refusal, why_no_entry)
    assert_never(move)


def in_service(instance_ids: Collection[str], members: Members) -> dict[str, str]:
    """Return those of the instances that their Auto Scaling groups replace when they stop.

    Each with its place in words.
    """
    places = {instance_id: members.get(instance_id) for instance_id in instance_ids}
    return {key: each.in_words for key, each in places.items() if each and is_replaced(each)}


def leave(
    instance: Instance, members: Members, hindrance: Callable[[], str] = lambda: ""
) -> Progress:
    """Bring a member one step back into service; done when it is, or when it is no member any more.

    A member that leaves Standby is looked after again, and replaced if it does not run (EC2 Auto
    Scaling User Guide, "Health checks for instances in an Auto Scaling group"): one that does not
    run stays there. `hindrance` says just before that why it must not be, or nothing.
    """
    member = members.get(instance.instance_id)
    move = way_out(member.state if member else None)
    if member is None or move is Move.NEVER:
        logger.warning(
            "An instance is no member of its Auto Scaling group any more",
            extra={
                "instance_id": instance.instance_id,
                "state": member.state if member else "unknown",
            },
        )
        return DONE
    match move:
        case Move.DONE:
            return DONE
        case Move.WAIT:
            return _waiting(member)
        case Move.CALL:
            return _back(instance, member, members, hindrance)
    assert_never(move)


def _back(
    instance: Instance, member: Membership, members: Members, hindrance: Callable[[], str]
) -> Progress:
    if instance.state != "running":
        return Progress(waiting=f"it is {instance.state}, and leaves Standby only when it runs")
    if hindered := hindrance():
        return Progress(waiting=hindered)
    refusal = _exit_standby(instance.instance_id, member.group)
    if not refusal:
        return Progress(waiting=f"it returns to the group {member.group}")
    return _refused(member, members.again(instance.instance_id), refusal, why_no_exit)


def _waiting(member: Membership) -> Progress:
    return Progress(waiting=f"it is {member.state} in the group {member.group}")


def _refused(
    member: Membership, again: Membership | None, refusal: str, why: Callable[[Membership], str]
) -> Progress:
    """Return a failure if the group says why it refused, and otherwise look again later.

    `again` is the member as it is read after that. A call that took effect may be seen late: the
    member seems to be where it was, Auto Scaling says that it is not there, and the group's
    DesiredCapacity has changed already.
    """
    told_late = again is None or again.state != member.state or f"not in {again.state}" in refusal
    reason = "" if again is None or told_late else why(again)
    if reason:
        return Progress(failure=reason, error=REFUSED)
    return Progress(waiting=refusal)


def _enter_standby(instance_id: str, group: str) -> str:
    """Return an empty text, or why Auto Scaling does not do it now, in its own words."""
    with translated(f"putting {instance_id} into Standby"):
        try:
            client("autoscaling").enter_standby(
                AutoScalingGroupName=group,
                InstanceIds=[instance_id],
                ShouldDecrementDesiredCapacity=True,
            )
        except ClientError as error:
            return _words_of(error)
    return ""


def _exit_standby(instance_id: str, group: str) -> str:
    """Return an empty text, or why Auto Scaling does not do it now, in its own words."""
    with translated(f"bringing {instance_id} back from Standby"):
        try:
            client("autoscaling").exit_standby(
                AutoScalingGroupName=group, InstanceIds=[instance_id]
            )
        except ClientError as error:
            return _words_of(error)
    return ""


def _words_of(error: ClientError) -> str:
    if error_code(error) not in _NOT_NOW:
        raise error
    return str(error)


def _members(instance_ids: Collection[str]) -> dict[str, Membership]:
    """Return the places of the instances, each with what it alone takes out of its group."""
    with translated("reading the members of Auto Scaling groups"):
        return {
            row["InstanceId"]: Membership(
                row["AutoScalingGroupName"],
                row["LifecycleState"],
                together=int(row.get("WeightedCapacity") or 1),
            )
            for some in batched(sorted(instance_ids), _MEMBERS, strict=False)
            for row in client("autoscaling").describe_auto_scaling_instances(
                InstanceIds=list(some)
            )["AutoScalingInstances"]
        }


def _sizes(names: Collection[str]) -> dict[str, Sizes]:
    with translated("reading the Auto Scaling groups"):
        pages = client("autoscaling").get_paginator("describe_auto_scaling_groups")
        return {
            row["AutoScalingGroupName"]: _sizes_of(row)
            for some in batched(sorted(names), _GROUPS, strict=False)
            for page in pages.paginate(AutoScalingGroupNames=list(some))
            for row in page["AutoScalingGroups"]
        }


def _sizes_of(row: Mapping[str, Any]) -> Sizes:
    return Sizes(
        row["MinSize"],
        row["MaxSize"],
        row["DesiredCapacity"],
        frozenset(each["ProcessName"] for each in row.get("SuspendedProcesses", ())),
        _target_groups(row),
    )


def _target_groups(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ARNs of the attached target groups, which come in two ways.

    EC2 Auto Scaling API Reference, AutoScalingGroup: TargetGroupARNs and TrafficSources.
    """
    sources = {
        each["Identifier"]
        for each in row.get("TrafficSources", ())
        if ":elasticloadbalancing:" in each["Identifier"]
    }
    return tuple(sorted({*row.get("TargetGroupARNs", ()), *sources}))
