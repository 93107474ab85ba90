"""Muting: which alarms are silent while an instance is down, and for how long."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

MUTED_FOR = timedelta(hours=2)
"""What a mute rule lasts at most, if nobody is left to remove it."""
ALARMS_OF_ONE_RULE = 100
"""Alarms that one mute rule may name (CloudWatch API Reference, MuteTargets)."""

_MINUTE = timedelta(minutes=1)
_ON_ITS_WAY = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Window:
    """When a mute rule is in force: CloudWatch's expression of its start, a duration, its end."""

    expression: str
    duration: str
    ends_at: datetime


def rule_name(execution: str, number: int = 1) -> str:
    """Return the name of the mute rule of an execution; it has more than one for many alarms."""
    name = f"stillpoint-{execution}"
    return name if number == 1 else f"{name}.{number}"


def is_of(name: str, execution: str) -> bool:
    """Return whether this is the name of a mute rule of an execution.

    An execution's name ends with its occurrence, so none is taken for another's second rule.
    """
    first = rule_name(execution)
    return name == first or (name.startswith(f"{first}.") and name[len(first) + 1 :].isdecimal())


def window(now: datetime) -> Window:
    """Return the window that begins with the next full minute, in UTC.

    CloudWatch's expressions know no seconds, and it does not say what becomes of one that is in
    the past (CloudWatch API Reference, Schedule).
    """
    whole = (now + _ON_ITS_WAY).replace(second=0, microsecond=0)
    starts_at = whole + _MINUTE
    hours = MUTED_FOR // timedelta(hours=1)
    return Window(f"at({starts_at:%Y-%m-%dT%H:%M})", f"PT{hours}H", starts_at + MUTED_FOR)


def concerns_only(named: Iterable[str], instance_ids: Collection[str]) -> bool:
    """Return whether an alarm that names these instances is one of the given instances' alone."""
    instances = set(named)
    return bool(instances) and instances <= set(instance_ids)
