"""Schedules: what the `stillpoint:schedule` tag says, and the occurrences that follow from it."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSimError

from stillpoint.cron import WEEKDAYS, parse_cron
from stillpoint.errors import InvalidSchedule
from stillpoint.recurrence import FIRST_YEAR, DayOrLast, Every, Recurrence, WallClock
from stillpoint.tags import printable
from stillpoint.zones import zone_named

LONGEST_RATE = timedelta(days=3650)

_TIME = re.compile(r"([0-9]{1,2}):([0-9]{2})")
_CALL = re.compile(r"(cron|rate)\s*\((.*?)\)(.*)", re.IGNORECASE | re.DOTALL)
_RATE = re.compile(r"([0-9]{1,9})\s+(minute|hour|day)(s?)", re.IGNORECASE)
_DAY_NUMBER = re.compile(r"[0-9]{1,2}")
_LAST_DAY = 31
_SURE_DAY = 28
"""The last day of the month that every month has."""

_DAY_NAMES = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_WEEKDAY_NUMBERS = {
    name: number
    for number, (short, long) in enumerate(zip(WEEKDAYS, _DAY_NAMES, strict=True))
    for name in (short.lower(), long)
}


@dataclass(frozen=True, slots=True)
class Schedule:
    """One recurring moment.

    `expression` is its canonical text, with the time and zone that are in effect, such as
    `daily 03:00 Asia/Seoul`. Every datetime in and out is aware; occurrences are in UTC.
    """

    expression: str
    recurrence: Recurrence

    @property
    def zone(self) -> ZoneInfo | None:
        """The zone that its times are read in; a rate has none."""
        return self.recurrence.zone if isinstance(self.recurrence, WallClock) else None

    def newest(self, since: datetime, until: datetime) -> datetime | None:
        """Return the newest occurrence later than `since` and not later than `until`, or None."""
        latest = self.recurrence.latest(until)
        return latest if latest is not None and latest > since else None

    def next(self, after: datetime) -> datetime | None:
        """Return the first occurrence later than `after`, or None if there is none."""
        return self.recurrence.next(after)


def fingerprint(schedules: Iterable[Schedule]) -> str:
    """Return 8 hexadecimal digits that change when what the schedules mean changes."""
    text = "\n".join(sorted(schedule.expression for schedule in schedules))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@lru_cache(maxsize=20_000)
def parse_schedules(text: str, *, default_time: time, default_zone: str) -> tuple[Schedule, ...]:
    """Return the schedules of a tag's value, in the order of their expressions, without doubles.

    `default_time` and `default_zone` fill in what an expression leaves out. Raises
    InvalidSchedule, with the reason in words, for whatever cannot be understood or never occurs.
    """
    pieces = [piece.strip() for piece in text.split(";")]
    found = {
        schedule.expression: schedule
        for piece in pieces
        if piece
        for schedule in (_parse_one(piece, default_time, default_zone),)
    }
    if not found:
        raise InvalidSchedule("it is empty, write for example 'daily 03:00'")
    return tuple(found[expression] for expression in sorted(found))


def parse_time(text: str) -> time:
    """Return the time of day in `03:00`. Raises InvalidSchedule for anything else."""
    match = _TIME.fullmatch(text)
    if match is None or int(match[1]) > 23 or int(match[2]) > 59:  # noqa: PLR2004 (a clock)
        raise InvalidSchedule(f"'{printable(text)}' is not a time of day from 00:00 to 23:59")
    return time(int(match[1]), int(match[2]))


def _parse_one(piece: str, default_time: time, default_zone: str) -> Schedule:
    call = _CALL.fullmatch(piece)
    if call and call[1].lower() == "rate":
        return _rate(call[2], call[3])
    if call:
        return _cron(call[2], call[3].split(), default_zone)
    form, *rest = piece.lower().split(maxsplit=1)
    match [form, *re.sub(r"\s*,\s*", ",", "".join(rest)).split()]:
        case ["daily", *rest]:
            at = _At.read(rest, default_time, default_zone)
            return Schedule(f"daily {at}", at.clock("* * *"))
        case ["weekly", days, *rest]:
            numbers = _weekdays(days)
            at = _At.read(rest, default_time, default_zone)
            names = ",".join(WEEKDAYS[number].lower() for number in numbers)
            field = ",".join(str(number) for number in numbers)
            return Schedule(f"weekly {names} {at}", at.clock(f"* * {field}"))
        case ["weekly"]:
            raise InvalidSchedule("weekly needs a day, write for example 'weekly sun 02:30'")
        case ["monthly", day, *rest]:
            return _monthly(day, _At.read(rest, default_time, default_zone))
        case ["monthly"]:
            raise InvalidSchedule("monthly needs a day, write for example 'monthly 1 04:00'")
        case _:
            raise InvalidSchedule(
                f"'{printable(piece)}' is not a schedule, "
                "it starts with daily, weekly, monthly, rate(...) or cron(...)"
            )


@dataclass(frozen=True, slots=True)
class _At:
    """A time of day in a zone."""

    clock_time: time
    zone: ZoneInfo

    @classmethod
    def read(cls, words: Sequence[str], default_time: time, default_zone: str) -> "_At":
        """Read at most one time and one zone, in either order."""
        times = [word for word in words if ":" in word]
        zones = [word for word in words if ":" not in word]
        if len(times) > 1 or len(zones) > 1:
            raise InvalidSchedule(
                f"'{printable(' '.join(words))}' has more than a time and a time zone, "
                "join several schedules with ;"
            )
        return cls(
            parse_time(times[0]) if times else default_time,
            zone_named(zones[0] if zones else default_zone),
        )

    def clock(self, days: str, day_rule: DayOrLast | None = None) -> WallClock:
        """Return the recurrence at this time on the days of three cron fields."""
        fields = f"{self.clock_time.minute} {self.clock_time.hour} {days}"
        return WallClock(fields, self.zone, day_rule=day_rule)

    def __str__(self) -> str:
        return f"{self.clock_time:%H:%M} {self.zone.key}"


def _weekdays(text: str) -> tuple[int, ...]:
    """Return the days of a comma-separated list, 0 for Sunday, in the week's order."""
    names = [name for name in text.split(",") if name]
    unknown = [name for name in names if name not in _WEEKDAY_NUMBERS]
    if unknown or not names:
        raise InvalidSchedule(
            f"'{printable(unknown[0] if unknown else text)}' is not a day of the week, "
            "write sun, mon, tue, wed, thu, fri or sat"
        )
    return tuple(sorted({_WEEKDAY_NUMBERS[name] for name in names}))


def _monthly(text: str, at: _At) -> Schedule:
    if text == "last":
        return Schedule(f"monthly last {at}", at.clock("L * *"))
    if not _DAY_NUMBER.fullmatch(text) or not 1 <= int(text) <= _LAST_DAY:
        raise InvalidSchedule(
            f"'{printable(text)}' is not a day of the month, write 1 to 31 or last"
        )
    day = int(text)
    if day <= _SURE_DAY:
        return Schedule(f"monthly {day} {at}", at.clock(f"{day} * *"))
    # The day itself, or the last day of a month that is too short for it.
    return Schedule(f"monthly {day} {at}", at.clock(f"{_SURE_DAY}-{_LAST_DAY} * *", DayOrLast(day)))


def _rate(body: str, rest: str) -> Schedule:
    match = _RATE.fullmatch(body.strip())
    if match is None:
        raise InvalidSchedule(
            f"'rate({printable(body)})' is not a rate, write for example 'rate(6 hours)'"
        )
    if rest.strip():
        raise InvalidSchedule(
            f"a rate takes no time zone: '{printable(rest.strip())}' stands after it"
        )
    number, unit = int(match[1]), match[2].lower()
    if not 0 < number <= LONGEST_RATE / timedelta(**{f"{unit}s": 1}):
        raise InvalidSchedule(
            f"a rate is from 1 minute to {LONGEST_RATE.days} days, not '{printable(body.strip())}'"
        )
    if (number == 1) == bool(match[3]):
        right = f"rate({number} {unit}{'' if number == 1 else 's'})"
        raise InvalidSchedule(f"'rate({printable(body.strip())})' must be written '{right}'")
    interval = timedelta(**{f"{unit}s": number})
    return Schedule(f"rate({number} {unit}{match[3].lower()})", Every(interval))


def _cron(body: str, rest: Sequence[str], default_zone: str) -> Schedule:
    if len(rest) > 1:
        raise InvalidSchedule(
            f"'{printable(' '.join(rest))}' stands after cron(...), "
            "where only a time zone may stand"
        )
    zone = zone_named(rest[0] if rest else default_zone)
    clock = parse_cron(body, zone)
    expression = f"cron({' '.join(body.upper().split())}) {zone.key}"
    try:
        first = next(clock.walls(datetime(FIRST_YEAR, 1, 1)), None)  # noqa: DTZ001 (a local time)
    except CronSimError:
        first = None
    if first is None:
        raise InvalidSchedule(f"'{printable(expression, 80)}' never occurs")
    return Schedule(expression, clock)
