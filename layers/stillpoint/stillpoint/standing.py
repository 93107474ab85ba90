"""How a consistency group stands at one planning, before it is known who may start."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from stillpoint.admission import Candidate
from stillpoint.grouping import Group, Subject, group_problems
from stillpoint.plan import ON_DEMAND_SCHEDULE, Limits, Missed, Status, Trigger
from stillpoint.tags import Cursor, Cycle, Tag, iso

PAUSE = timedelta(minutes=10)
"""Between a failed backup and the next attempt: what made it fail may have passed by then."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A group's status, and what follows from it whoever else there is.

    `due` is the newest occurrence that has not been handled, whatever keeps it from starting;
    a candidate is a group that nothing but admission keeps from starting. `cursors` and
    `problems` are what should be written, by instance id.
    """

    group: Group
    status: Status
    reason: str
    due: datetime | None = None
    next_occurrence: datetime | None = None
    candidate: Candidate | None = None
    missed: Missed | None = None
    cursors: Mapping[str, Cursor] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


def stand(group: Group, now: datetime, limits: Limits) -> Standing:
    """Return how a group stands at an instant, in UTC and of whole seconds.

    A group's cursor is the latest of its members' cursors: what one member has been through,
    the group has been through. A member without a cursor is seen for the first time, and what
    was due before that moment is not made up for.
    """
    problems = group_problems(group, limits.max_concurrent)
    if problems:
        return Standing(group, Status.INVALID, "its policy is invalid", problems=problems)
    base = _enrol(group, now, limits)
    busy = next((subject for subject in group.subjects if subject.in_backup), None)
    if busy:
        reason = in_backup_reason(busy)
        return replace(base, status=Status.IN_BACKUP, reason=reason, candidate=None)
    if held := _held(group, now):
        return _skip(replace(base, status=Status.HELD, reason=held))
    if base.candidate is not None:
        return _stand_due(base, base.candidate, now, limits)
    return base if base.next_occurrence else _never_again(group)


def _enrol(group: Group, now: datetime, limits: Limits) -> Standing:
    """Return what the schedules and cursors of a group say, whatever else is true of it."""
    fresh = [subject for subject in group.subjects if subject.cursor is None]
    cursors = [subject.cursor for subject in group.subjects if subject.cursor]
    since = now if fresh else max(cursor.occurrence for cursor in cursors)
    newest = _newest(group, since, now)
    if newest is None and not fresh:
        newest = _another_attempt(group, cursors, now, limits)
    return Standing(
        group,
        Status.IDLE,
        "first seen now, and due from now on" if fresh else "nothing is due",
        due=newest.occurrence if newest else None,
        next_occurrence=_upcoming(group, now),
        candidate=newest,
        cursors=_advance(fresh, group, now),
    )


def _stand_due(base: Standing, candidate: Candidate, now: datetime, limits: Limits) -> Standing:
    """Return how a group stands that has an occurrence to handle, and that nothing keeps back."""
    due = candidate.occurrence
    if held := _held(base.group, due):
        reason = f"its occurrence of {iso(due)} is skipped because then {held}"
        return _skip(replace(base, reason=reason))
    if due < now - limits.catch_up:
        return _miss(base, due)
    return replace(base, status=Status.WAITING, reason=f"due since {iso(due)}")


def in_backup_reason(subject: Subject) -> str:
    """Return which execution is in charge of an instance, and since when, in words."""
    cycle = Cycle.parse(subject.instance.tags.get(Tag.CYCLE, ""))
    if cycle is None:
        return f"{subject.label} is in a backup, by a tag that cannot be read"
    return f"{subject.label} is in a backup since {iso(cycle.since)} by {cycle.execution}"


def _newest(group: Group, since: datetime, now: datetime) -> Candidate | None:
    """Return the group's newest occurrence later than an instant, as a candidate, or None."""
    occurrences = [
        (occurrence, schedule.expression)
        for schedule in group.schedules
        if (occurrence := schedule.newest(since, now)) is not None
    ]
    if not occurrences:
        return None
    newest, expression = max(occurrences)
    return Candidate(group, newest, expression, Trigger.SCHEDULE)


def _another_attempt(
    group: Group, cursors: Iterable[Cursor], now: datetime, limits: Limits
) -> Candidate | None:
    """Return the group's newest occurrence if its backup failed and may be tried again now."""
    newest = max(cursors, key=lambda cursor: (cursor.occurrence, cursor.failed_attempts))
    occurrence, failed_at = newest.occurrence, newest.failed_at
    if (
        failed_at is None
        or newest.failed_attempts >= limits.max_attempts
        or now < failed_at + PAUSE
        or occurrence < now - limits.catch_up
    ):
        return None
    given_by = _newest(group, occurrence - timedelta(seconds=1), occurrence)
    return Candidate(
        group,
        occurrence,
        given_by.schedule if given_by else ON_DEMAND_SCHEDULE,
        Trigger.SCHEDULE if given_by else Trigger.ON_DEMAND,
        newest.failed_attempts + 1,
    )


def _upcoming(group: Group, now: datetime) -> datetime | None:
    occurrences = (schedule.next(now) for schedule in group.schedules)
    return min((one for one in occurrences if one is not None), default=None)


def _held(group: Group, moment: datetime) -> str | None:
    """Return whose hold is in force at an instant, in words, or None."""
    for subject, policy in zip(group.subjects, group.policies, strict=True):
        if policy.hold is not None and policy.hold.active(moment):
            return f"{subject.label} is held {policy.hold}"
    return None


def _advance(subjects: Iterable[Subject], group: Group, moment: datetime) -> dict[str, Cursor]:
    cursor = Cursor(moment, group.policies[0].fingerprint)
    return {subject.instance_id: cursor for subject in subjects}


def _skip(standing: Standing) -> Standing:
    """Return the standing with its due occurrence handled by not running it.

    What comes due during a hold is not made up for after it: a hold that ends at nine in the
    morning must not stop a server at nine in the morning.
    """
    if standing.due is None:
        return standing
    cursors = _advance(standing.group.subjects, standing.group, standing.due)
    return replace(standing, due=None, candidate=None, cursors=cursors)


def _miss(standing: Standing, due: datetime) -> Standing:
    """Return the standing with its due occurrence given up, and reported once by that."""
    group = standing.group
    missed = Missed(
        group.group_id,
        group.name,
        due,
        tuple(subject.instance_id for subject in group.subjects),
        tuple(subject.instance.name for subject in group.subjects),
    )
    return replace(
        standing,
        status=Status.MISSED,
        reason=f"its occurrence of {iso(due)} could not be started in time and is given up",
        candidate=None,
        missed=missed,
        cursors=_advance(group.subjects, group, due),
    )


def _never_again(group: Group) -> Standing:
    """Return the standing of a group whose schedules lie in the past: nothing protects it."""
    expressions = " and ".join(schedule.expression for schedule in group.schedules)
    problem = f"{Tag.SCHEDULE}: '{expressions}' never occurs again"
    problems = {subject.instance_id: problem for subject in group.subjects}
    return Standing(group, Status.INVALID, "its schedule is in the past", problems=problems)
