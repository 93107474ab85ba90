"""Safeguards in step with retention: no snapshot is locked for longer than it is kept.

A recovery point that expires while its snapshots are locked cannot be deleted. So a lock that
outlasts the retention is an error, said when the stack is deployed and when tags are read.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from heapq import merge
from zoneinfo import ZoneInfo

from stillpoint.recurrence import WallClock
from stillpoint.retain import Retain
from stillpoint.retention import ONCE_A_DAY, shortest_life, spacing
from stillpoint.schedule import Schedule

ANCHOR = datetime(2026, 1, 1, tzinfo=UTC)
"""From where on occurrences are looked at: always the same, or a verdict would come and go."""
MOST_OCCURRENCES = 100
"""They are looked at for every schedule of a fleet, which may have a thousand."""
LONGEST_LOOK = timedelta(days=1827)
"""Five years, one of them a leap year."""

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_MINUTE = timedelta(minutes=1)


def lock_problem(retain: Retain, life: timedelta, lock_days: int) -> str | None:
    """Return in words that a lock of so many days outlasts the life of some point, or None."""
    if life >= lock_days * _DAY:
        return None
    return (
        f"{retain} keeps some recovery points for {_in_words(life)} only and the stack locks their"
        f" snapshots for {lock_days} days, keep them longer or lower SnapshotLockDays"
    )


@lru_cache(maxsize=20_000)
def life_under(schedules: tuple[Schedule, ...], retain: Retain, zone: ZoneInfo) -> timedelta:
    """Return the least time that a rule keeps any point of these schedules.

    A point lives until as many newer ones have come as expire it. That is measured on the first
    occurrences after a fixed instant: 100, or those of five years. The hour that spring
    leaves out does not shorten it, or no daily schedule would keep 14 points for 14 days. A point
    that is asked for in between is not foreseen: then one may expire while it is still locked, and
    is deleted when it is not.
    """
    if len(retain.terms) == 1:
        return shortest_life(retain, ONCE_A_DAY)  # an age, whatever the schedule
    occurrences = sorted(set(_first_of(schedules)))
    spaced = spacing(occurrences, zone)
    if len(occurrences) < 2:  # noqa: PLR2004 (there is no time between them)
        return shortest_life(retain, spaced)
    if retain.count is not None:
        return _shortest_span(occurrences, retain.count, zone)
    # A ladder expires a point when the next of the same period comes, or by its first term.
    first = retain.terms[0]
    newer = first.number if first.period in spaced.alone else 1
    return _shortest_span(occurrences, newer, zone)


def _first_of(schedules: tuple[Schedule, ...]) -> Iterator[datetime]:
    """Yield the first occurrences, almost in order; two at least, as far as there are two."""
    start: datetime | None = None
    occurrences = merge(*(_all_of(schedule) for schedule in schedules))
    for number, occurrence in enumerate(occurrences):
        start = start or occurrence
        if number >= MOST_OCCURRENCES or (number > 1 and occurrence - start > LONGEST_LOOK):
            return
        yield occurrence


def _all_of(schedule: Schedule) -> Iterator[datetime]:
    recurrence = schedule.recurrence
    if isinstance(recurrence, WallClock):  # one walk is much quicker than a search for each
        for wall in recurrence.walls(ANCHOR.replace(tzinfo=None)):
            yield recurrence.instant(wall)
        return
    occurrence = recurrence.next(ANCHOR)
    while occurrence is not None:
        yield occurrence
        occurrence = recurrence.next(occurrence)


def _shortest_span(occurrences: Sequence[datetime], number: int, zone: ZoneInfo) -> timedelta:
    """Return the least time in which so many further occurrences come after any of them.

    There may be fewer to look at: then it is put together from shorter times.
    """
    step = max(1, min(number, len(occurrences) // 2))
    steps, rest = divmod(number, step)
    return steps * _shortest_step(occurrences, step, zone) + _shortest_step(occurrences, rest, zone)


def _shortest_step(occurrences: Sequence[datetime], step: int, zone: ZoneInfo) -> timedelta:
    walls = [moment.astimezone(zone).replace(tzinfo=UTC) for moment in occurrences]
    return min(
        max(occurrences[later] - occurrences[later - step], walls[later] - walls[later - step])
        for later in range(step, len(occurrences))
    )


def _in_words(span: timedelta) -> str:
    """Return a time in the largest unit of which it has a whole one, rounded down."""
    for unit, name in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
        if number := span // unit:
            return f"{number} {name}{'' if number == 1 else 's'}"
    return "less than a minute"
