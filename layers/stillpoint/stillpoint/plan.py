"""What a plan consists of: the backups to start, the tags to write, and a verdict for everyone."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from stillpoint.pacing import Pace
from stillpoint.policy import Method, PolicyDefaults
from stillpoint.retain import Retain
from stillpoint.tags import Cursor, compact, iso

ON_DEMAND_SCHEDULE = "on-demand"
"""Stands where an expression would for a backup that no schedule asked for."""


class Trigger(StrEnum):
    """What asked for a backup."""

    SCHEDULE = "schedule"
    ON_DEMAND = "on-demand"


class Status(StrEnum):
    """How an instance stands at one planning."""

    STARTING = "starting"
    WAITING = "waiting"
    IDLE = "idle"
    HELD = "held"
    INVALID = "invalid"
    IN_BACKUP = "in_backup"
    MISSED = "missed"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Limits:
    """The stack's parameters that bound a plan.

    `max_concurrent` is the number of instances that may be in a backup at a time, `pace` how fast
    they may begin one, `catch_up` how late an occurrence may still be started, `max_attempts` how
    often in all.
    """

    defaults: PolicyDefaults
    max_concurrent: int
    pace: Pace
    catch_up: timedelta
    max_attempts: int = 1


@dataclass(frozen=True, slots=True)
class Member:
    """One instance of a backup.

    `accept` are the hazards that its owner accepts, sorted; `copy_to` the Regions to copy to;
    `time_zone` the name of the zone in which the days of the retention begin; `pre` and `post` the
    documents to run in its guest.
    """

    instance_id: str
    name: str
    method: Method
    order: int
    retain: Retain
    accept: tuple[str, ...]
    copy_to: tuple[str, ...] = ()
    time_zone: str = "UTC"
    pre: str | None = None
    post: str | None = None


def execution_name(group_id: str, occurrence: datetime, attempt: int) -> str:
    """Return the name of the execution that makes an attempt at a backup."""
    again = f"-{attempt}" if attempt > 1 else ""
    return f"{group_id}-{compact(occurrence)}{again}"


@dataclass(frozen=True, slots=True)
class Backup:
    """One group at one occurrence, to be started as one execution.

    `schedule` is the expression that gave the occurrence, or `on-demand`. Members are sorted by
    their order in the group, then by id. `attempt` is above 1 after a failure. The execution waits
    until `begins_at`, which another tick may see otherwise: the name is what counts.
    """

    group_id: str
    group: str | None
    occurrence: datetime
    schedule: str
    trigger: Trigger
    members: tuple[Member, ...]
    begins_at: datetime
    attempt: int = 1

    @property
    def execution_name(self) -> str:
        """The name that makes a second start of the same attempt harmless."""
        return execution_name(self.group_id, self.occurrence, self.attempt)

    def to_input(self) -> dict[str, object]:
        """Return the execution's input, ready for JSON."""
        return {
            "group": self.group,
            "group_id": self.group_id,
            "occurrence": iso(self.occurrence),
            "schedule": self.schedule,
            "trigger": self.trigger.value,
            "attempt": self.attempt,
            "begins_at": iso(self.begins_at),
            "members": [
                {
                    "instance_id": member.instance_id,
                    "name": member.name,
                    "method": member.method.value,
                    "order": member.order,
                    "retain": str(member.retain),
                    "accept": list(member.accept),
                    "copy_to": list(member.copy_to),
                    "time_zone": member.time_zone,
                    "pre": member.pre,
                    "post": member.post,
                }
                for member in self.members
            ],
        }


@dataclass(frozen=True, slots=True)
class Missed:
    """An occurrence that was not started within the catch-up window and is given up."""

    group_id: str
    group: str | None
    occurrence: datetime
    instance_ids: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an instance that was asked for by id is not backed up now."""

    instance_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one instance stands, and why.

    `overdue` says that an occurrence has been due for more than an hour and is not started.
    """

    instance_id: str
    name: str
    status: Status
    reason: str
    next_occurrence: datetime | None = None
    overdue: bool = False
    recovery_point_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that one planning decides; nothing of it has happened yet.

    `cursors` and `problems` are the values to write to `stillpoint:last` and to
    `stillpoint:problem`, by instance id; only values that differ from the present ones are in
    `problems`. `problems_cleared` are the instances that lose the latter tag. `verdicts` has one
    entry for each instance, by id.
    """

    backups: tuple[Backup, ...]
    cursors: Mapping[str, Cursor]
    problems: Mapping[str, str]
    problems_cleared: tuple[str, ...]
    missed: tuple[Missed, ...]
    refusals: tuple[Refusal, ...]
    verdicts: tuple[Verdict, ...]
