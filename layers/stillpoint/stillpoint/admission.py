"""Admission: which of the due backups may start now, without taking too much down at once."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from stillpoint.grouping import Group, Subject
from stillpoint.plan import Limits, Trigger
from stillpoint.policy import BackupPolicy, Method
from stillpoint.tags import Cycle, Tag

PEER_SETTLES = timedelta(minutes=10)
"""EC2 calls an instance running while its system still boots and its services start."""
DOWN_FOR_LONG = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A group with an occurrence that could start now, the first time or once more."""

    group: Group
    occurrence: datetime
    schedule: str
    trigger: Trigger
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Admissions:
    """The candidates that may start, in order, and why the others wait, both by group id."""

    admitted: Mapping[str, Candidate]
    waiting: Mapping[str, str]


def admit(
    candidates: Iterable[Candidate],
    subjects: Iterable[Subject],
    limits: Limits,
    now: datetime,
    about_to_begin: Iterable[Group] = (),
) -> Admissions:
    """Admit the oldest occurrences first, as many as may begin until the next tick.

    A candidate with an anti-affinity peer that is down lets the others pass. One for which
    there is no room does not: else a large group would wait for ever behind small ones. Only if
    the room is taken by instances that have been down for long, stranded perhaps, does it let the
    others pass: nobody knows when they will be back. The first of a tick may be larger than the
    pace allows: it would wait for ever. Those `about_to_begin` are no candidates, but may have been
    admitted before and wait for their turn: their peers wait for them.
    """
    most, per_tick = limits.max_concurrent, limits.pace.per_tick
    present = [subject for subject in subjects if not subject.gone]
    taken = sum(subject.in_backup for subject in present)
    taken_for_long = sum(_is_down_for_long(subject, now) for subject in present)
    peers = _Peers(present, now)
    for group in about_to_begin:
        peers.take_down(group, "may be about to begin its backup")
    beginning = 0
    admitted: dict[str, Candidate] = {}
    waiting: dict[str, str] = {}
    first_in_line: Group | None = None
    for candidate in sorted(candidates, key=lambda one: (one.occurrence, one.group.group_id)):
        group = candidate.group
        size = len(group.subjects)
        if obstacle := peers.obstacle(group):
            waiting[group.group_id] = obstacle
        elif first_in_line is not None:
            waiting[group.group_id] = f"waits in line behind {first_in_line}"
        elif taken + size > most:
            if taken_for_long + size <= most:
                first_in_line = group
            waiting[group.group_id] = (
                f"waits for room: {taken} of at most {most} instances "
                f"are in a backup and this one needs {size}"
            )
        elif beginning and beginning + size > per_tick:
            first_in_line = group
            waiting[group.group_id] = (
                f"waits for its turn: {beginning} of at most {per_tick} instances begin a backup"
                f" before the planner looks again and this one needs {size}"
            )
        else:
            admitted[group.group_id] = candidate
            peers.take_down(group)
            taken += size
            beginning += size
    return Admissions(admitted, waiting)


class _Peers:
    """The instances that are down, or about to be, by anti-affinity name."""

    def __init__(self, subjects: Iterable[Subject], now: datetime) -> None:
        self._down: dict[str, dict[str, str]] = defaultdict(dict)
        for subject in subjects:
            name = subject.anti_affinity
            if name is None:
                continue
            if subject.in_backup:
                self._down[name][subject.instance_id] = f"{subject.label} is in a backup"
            elif subject.instance.state != "running":
                state = f"{subject.label} is {subject.instance.state}"
                self._down[name][subject.instance_id] = state
            elif _has_just_started(subject, now):
                self._down[name][subject.instance_id] = f"{subject.label} has just started"

    def obstacle(self, group: Group) -> str | None:
        """Return why an anti-affinity peer keeps a group from going down, or None."""
        own = {subject.instance_id for subject in group.subjects}
        for subject in group.subjects:
            name = subject.anti_affinity
            if name is None or not _goes_down(subject):
                continue
            for peer, state in self._down[name].items():
                if peer not in own:
                    return f"waits for its anti-affinity peer: {state}"
        return None

    def take_down(self, group: Group, state: str = "starts its backup now") -> None:
        """Note that the members of a group are about to be in a backup, and in which words."""
        for subject in group.subjects:
            name = subject.anti_affinity
            if name is not None:
                self._down[name][subject.instance_id] = f"{subject.label} {state}"


def _has_just_started(subject: Subject, now: datetime) -> bool:
    launched = subject.instance.launch_time
    return launched is not None and now - launched < PEER_SETTLES


def _is_down_for_long(subject: Subject, now: datetime) -> bool:
    cycle = Cycle.parse(subject.instance.tags.get(Tag.CYCLE, ""))
    return subject.in_backup and (cycle is None or now - cycle.since > DOWN_FOR_LONG)


def _goes_down(subject: Subject) -> bool:
    return isinstance(subject.policy, BackupPolicy) and subject.policy.method is not Method.NONE
