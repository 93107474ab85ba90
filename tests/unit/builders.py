"""Builders of what the tests talk about, so that a test says only what matters to it."""

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta

from stillpoint.instance import Instance
from stillpoint.pacing import Pace
from stillpoint.plan import Limits, Plan, Verdict
from stillpoint.planning import make_plan
from stillpoint.policy import PolicyDefaults
from stillpoint.retain import Retain
from stillpoint.schedule import Schedule, fingerprint, parse_schedules
from stillpoint.tags import Cursor, Cycle, Tag

DEFAULTS = PolicyDefaults(time=time(3, 0), zone="UTC", retain=Retain(count=14))


def at(text: str) -> datetime:
    """Return the UTC instant in a text such as `2026-11-22 03:00`."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NOW = at("2026-11-22 03:00:20")
"""A tick, just after the occurrence of `daily 03:00`."""


def schedules(text: str, zone: str = "UTC") -> tuple[Schedule, ...]:
    """Return the schedules of a tag's value, with 03:00 as the default time."""
    return parse_schedules(text, default_time=time(3, 0), default_zone=zone)


def schedule(text: str, zone: str = "UTC") -> Schedule:
    """Return the only schedule of a tag's value."""
    (one,) = schedules(text, zone)
    return one


def limits(
    max_concurrent: int = 10, catch_up_hours: float = 6, per_minute: int = 100, tick: int = 1
) -> Limits:
    """Return the stack's limits; `tick` is in minutes."""
    pace = Pace(per_minute, timedelta(minutes=tick))
    return Limits(DEFAULTS, max_concurrent, pace, timedelta(hours=catch_up_hours))


def an_instance(
    instance_id: str = "i-0a",
    *,
    schedule: str | None = "daily 03:00",
    seen: str | None = "2026-11-21 03:00",
    state: str = "running",
    name: str = "",
    in_backup: bool = False,
    tags: Mapping[str, str] | None = None,
    **owner: str,
) -> Instance:
    """Return an instance whose schedule has been handled up to `seen` (None: never seen).

    Further keywords are Stillpoint's own tags, so `group="erp"` is `stillpoint:group`.
    """
    found: dict[str, str] = {}
    if name:
        found["Name"] = name
    if schedule is not None:
        found[Tag.SCHEDULE] = schedule
        if seen is not None:
            found[Tag.LAST] = Cursor(at(seen), fingerprint(schedules(schedule))).render()
    if in_backup:
        cycle = Cycle("i-0a-20261122T030000Z", "running", at("2026-11-22 03:00"))
        found[Tag.CYCLE] = cycle.render()
    found |= {f"stillpoint:{key.replace('_', '-')}": value for key, value in owner.items()}
    return Instance(instance_id, state, found | dict(tags or {}))


def plan(
    *instances: Instance,
    now: datetime = NOW,
    max_concurrent: int = 10,
    catch_up_hours: float = 6,
    backup_now: list[str] | None = None,
    per_minute: int = 100,
    tick: int = 1,
) -> Plan:
    """Return the plan for instances, by default at the first tick after 03:00."""
    bounds = limits(max_concurrent, catch_up_hours, per_minute, tick)
    return make_plan(instances, now=now, limits=bounds, backup_now=backup_now)


def started(made: Plan) -> list[str]:
    """Return the ids of the groups that a plan starts, in order."""
    return [backup.group_id for backup in made.backups]


def verdict(made: Plan, instance_id: str = "i-0a") -> Verdict:
    """Return what a plan says of one instance."""
    (found,) = [one for one in made.verdicts if one.instance_id == instance_id]
    return found
