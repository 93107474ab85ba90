"""What a tick has to tell people: invalid policies and missed occurrences, many in one message."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from stillpoint.instance import Instance
from stillpoint.messages import Event, EventName, InstanceReport
from stillpoint.plan import Missed
from stillpoint.tags import iso

MOST_IN_ONE = 50
"""Instances in one message: SNS takes as many with the longest of names and reasons."""


def batches(missed: Iterable[Missed]) -> Iterator[tuple[Missed, ...]]:
    """Yield what was missed in the order given, as much at a time as fits into one message."""
    batch: list[Missed] = []
    size = 0
    for one in missed:
        if batch and size + len(one.instance_ids) > MOST_IN_ONE:
            yield tuple(batch)
            batch, size = [], 0
        batch.append(one)
        size += len(one.instance_ids)
    if batch:
        yield tuple(batch)


def policy_invalid(
    instances: Iterable[Instance], reasons: Mapping[str, str], now: datetime
) -> Event:
    """Return the event of instances whose tags cannot be understood; `reasons` are by id."""
    return Event(
        EventName.POLICY_INVALID,
        now,
        tuple(
            InstanceReport(one.instance_id, one.name, one.state, reasons[one.instance_id])
            for one in instances
        ),
        "Correct the instance's tags. It is not touched until then, and this is said once;"
        " the tag stillpoint:problem stays on it meanwhile.",
    )


def backup_missed(
    missed: Sequence[Missed], instances: Mapping[str, Instance], catch_up: timedelta, now: datetime
) -> Event:
    """Return the event of one or more missed occurrences; `instances` are by id.

    The group and the occurrence are those of all that it tells of, or None if they differ.
    """
    groups = {one.group for one in missed}
    occurrences = {one.occurrence for one in missed}
    alone = len(missed) == 1
    due = f"It was due at {iso(missed[0].occurrence)}" if alone else "They were due"
    return Event(
        EventName.BACKUP_MISSED,
        now,
        tuple(
            InstanceReport(instance_id, name, instances[instance_id].state, _why(one, alone=alone))
            for one in missed
            for instance_id, name in zip(one.instance_ids, one.names, strict=True)
        ),
        "If a recovery point is needed before the next occurrence, invoke the planner with"
        " backup_now. If this happens often, raise MaxConcurrentBackups or CatchUpHours, or"
        " spread the schedules.",
        f"{due} and could not start within {catch_up.total_seconds() / 3600:g} hours: too many"
        " instances were in a backup, an anti-affinity peer was down, or the planner did not run.",
        groups.pop() if len(groups) == 1 else None,
        occurrences.pop() if len(occurrences) == 1 else None,
    )


def _why(missed: Missed, *, alone: bool) -> str:
    """Return what a report says if its message tells of several occurrences."""
    if alone:
        return ""
    group = f", with its group {missed.group}" if missed.group else ""
    return f"it was due at {iso(missed.occurrence)}{group}"
