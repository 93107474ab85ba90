"""When something recurs: at a fixed interval, or by the clock on the wall of a time zone.

A recurrence answers two questions, both about instants in UTC: which occurrence is the latest
up to an instant, and which is the next after it. Matching dates against cron fields is done by
the `cronsim` library, on local times without a zone; reading those local times as instants is
done here, by one rule.

The rule: a local time is read with the offset that was in force before a change of the clock.
A time that spring leaves out is run once, later by what was left out; a time that autumn
repeats is run once, at its first pass. So no occurrence is ever skipped or doubled by a change.
"""

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_YEAR = 1970
LAST_YEAR = 2199
EVERY_YEAR = frozenset(range(FIRST_YEAR, LAST_YEAR + 1))

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
_NONE = timedelta()


class Recurrence(Protocol):
    """The occurrences of one schedule, as aware UTC datetimes of whole seconds."""

    def latest(self, until: datetime) -> datetime | None:
        """Return the latest occurrence at or before an instant, or None."""

    def next(self, after: datetime) -> datetime | None:
        """Return the first occurrence later than an instant, or None."""


class DayRule(Protocol):
    """A rule that picks one day of each month, and that cron fields cannot express."""

    def in_month(self, year: int, month: int) -> int | None:
        """Return the day that the rule picks, or None if the month has none."""


@dataclass(frozen=True, slots=True)
class NearestWeekday:
    """The weekday (Monday to Friday) nearest to a day of the month, within that month.

    A month that does not have the day has no occurrence.
    """

    day: int

    def in_month(self, year: int, month: int) -> int | None:
        """Return the day of the month, or None if the month is too short."""
        last = calendar.monthrange(year, month)[1]
        if self.day > last:
            return None
        weekday = calendar.weekday(year, month, self.day)
        if weekday == calendar.SATURDAY:
            return self.day - 1 if self.day > 1 else self.day + 2
        if weekday == calendar.SUNDAY:
            return self.day + 1 if self.day < last else self.day - 2
        return self.day


@dataclass(frozen=True, slots=True)
class DayOrLast:
    """A day of the month, or the last day of a month that does not have it."""

    day: int

    def in_month(self, year: int, month: int) -> int | None:
        """Return the day of the month; every month has one."""
        return min(self.day, calendar.monthrange(year, month)[1])


@dataclass(frozen=True, slots=True)
class Every:
    """A fixed interval, counted from the Unix epoch, so that it needs no memory."""

    interval: timedelta

    def latest(self, until: datetime) -> datetime | None:
        """Return the latest multiple of the interval at or before an instant."""
        return EPOCH + (until - EPOCH) // self.interval * self.interval

    def next(self, after: datetime) -> datetime | None:
        """Return the first multiple of the interval later than an instant."""
        return EPOCH + ((after - EPOCH) // self.interval + 1) * self.interval


@dataclass(frozen=True, slots=True)
class WallClock:
    """Local times in a zone: five cron fields in cronsim's grammar, years, and a day rule.

    `day_rule` narrows the days that the fields match to the one that it picks.
    """

    fields: str
    zone: ZoneInfo
    years: frozenset[int] = EVERY_YEAR
    day_rule: DayRule | None = None

    def latest(self, until: datetime) -> datetime | None:
        """Return the latest occurrence at or before an instant, or None."""
        gap = _gaps.get(self)
        if gap is None or not gap.holds(until):
            instant = until.replace(microsecond=0)
            gap = _Gap(_latest(self, instant), _next(self, instant))
            if len(_gaps) >= _MOST_GAPS:
                _gaps.clear()
            _gaps[self] = gap
        return gap.latest

    def next(self, after: datetime) -> datetime | None:
        """Return the first occurrence later than an instant, or None."""
        gap = _gaps.get(self)
        if gap is not None and gap.holds(after):
            return gap.next
        return _next(self, after.replace(microsecond=0))

    def walls(self, start: datetime, *, backwards: bool = False) -> Iterator[datetime]:
        """Yield the matching local times, without a zone, from a local time (included) on."""
        edge = start + _SECOND if backwards else start - _SECOND
        while True:
            resume: datetime | None = None
            for wall in CronSim(self.fields, edge, reverse=backwards):
                if wall.year not in self.years:
                    resume = self._nearest_year(wall.year, backwards=backwards)
                elif not self._is_picked(wall):
                    midnight = wall.replace(hour=0, minute=0)
                    resume = midnight if backwards else midnight + _DAY - _SECOND
                else:
                    yield wall
                    continue
                break
            if resume is None:
                return
            edge = resume

    def _is_picked(self, wall: datetime) -> bool:
        return self.day_rule is None or self.day_rule.in_month(wall.year, wall.month) == wall.day

    def _nearest_year(self, year: int, *, backwards: bool) -> datetime | None:
        """Return where to go on: just outside the nearest allowed year, or None if none is left."""
        if backwards:
            before = max((y for y in self.years if y < year), default=None)
            return None if before is None else _new_year(before + 1)
        after = min((y for y in self.years if y > year), default=None)
        return None if after is None else _new_year(after) - _SECOND

    def instant(self, wall: datetime) -> datetime:
        """Return the UTC instant of a local time, read with the offset before a change."""
        return wall.replace(tzinfo=self.zone, fold=0).astimezone(UTC)

    def offset(self, instant: datetime) -> timedelta:
        """Return how far the zone is ahead of UTC at an instant."""
        return instant.astimezone(self.zone).utcoffset() or _NONE

    def slip(self, instant: datetime) -> timedelta:
        """Return by how much the clock was put forward in the day up to an instant.

        Only within that much of an instant can local times be in another order than the
        instants they stand for: what spring leaves out runs after what comes next. No zone
        has left out more than a day (Samoa, on 30 December 2011).
        """
        return max(_NONE, self.offset(instant) - self.offset(instant - _DAY))


def _new_year(year: int) -> datetime:
    return datetime(year, 1, 1)  # noqa: DTZ001 (a local time, which has no zone yet)


@dataclass(frozen=True, slots=True)
class _Gap:
    """Two occurrences that follow each other; None if there is none on that side."""

    latest: datetime | None
    next: datetime | None

    def holds(self, instant: datetime) -> bool:
        """Return whether an instant lies between them: at the first, or later."""
        begun = self.latest is None or self.latest <= instant
        return begun and (self.next is None or instant < self.next)


# A schedule is asked for every instance that has it, at every tick: the answers are the same until
# its next occurrence.
_gaps: dict[WallClock, _Gap] = {}
_MOST_GAPS = 20_000


def _latest(clock: WallClock, until: datetime) -> datetime | None:
    naive = until.astimezone(UTC).replace(tzinfo=None)
    start = naive + max(clock.offset(until), clock.offset(until - _DAY))
    latest: datetime | None = None
    stop: datetime | None = None
    for wall in clock.walls(start, backwards=True):
        if stop is not None and wall <= stop:
            break
        instant = clock.instant(wall)
        if instant > until:
            continue
        latest = instant if latest is None else max(latest, instant)
        stop = stop or wall - clock.slip(instant)
        if stop == wall:
            break
    return latest


def _next(clock: WallClock, after: datetime) -> datetime | None:
    naive = after.astimezone(UTC).replace(tzinfo=None)
    start = naive + min(clock.offset(after), clock.offset(after - _DAY))
    first: datetime | None = None
    stop: datetime | None = None
    for wall in clock.walls(start):
        if stop is not None and wall >= stop:
            break
        instant = clock.instant(wall)
        if instant <= after:
            continue
        first = instant if first is None else min(first, instant)
        stop = stop or wall + clock.slip(instant)
        if stop == wall:
            break
    return first
