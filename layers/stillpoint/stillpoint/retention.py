"""Retention: which recovery points of one instance are kept, which expire, and why.

A ladder is read as Borg reads it ("borg prune", Borg documentation): from the newest point to
the oldest, its first term keeps the newest point of each of its periods that has one; the next
term does the same, and does not count what is kept already. Only periods with a point count, so
an outage of the backups expires nothing. Deciding every day comes to the same as deciding once:
what has expired would not have been kept later, and nothing of what is kept hangs on it.
"""

import calendar
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import assert_never
from zoneinfo import ZoneInfo

from stillpoint.retain import Period, Retain, Term

_DAY = timedelta(days=1)
_WEEK = timedelta(days=7)
_MONTHS_OF_A_YEAR = 12
_NOUNS = {Period.DAY: "day", Period.WEEK: "week", Period.MONTH: "month", Period.YEAR: "year"}


@dataclass(frozen=True, slots=True)
class Point:
    """A recovery point as far as retention cares.

    `occurrence` is in UTC. `available` says that its image can be launched now and holds every
    volume.
    """

    image_id: str
    occurrence: datetime
    available: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """How long points are kept, and the zone in which days, weeks, months and years begin."""

    retain: Retain
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class Ended:
    """The instance is gone or has no schedule any more, so that no new points come.

    `final` is the age, in whole days, up to which its last point is kept; None means for ever.
    """

    final: timedelta | None

    def keeps(self, point: Point, now: datetime) -> bool:
        """Return whether a point is younger than `final`."""
        return self.final is None or now < point.occurrence + self.final

    def __str__(self) -> str:
        return "for ever" if self.final is None else f"for {self.final.days} days"


@dataclass(frozen=True, slots=True)
class Decision:
    """Every point's image id in exactly one of the two, newest first, with the reason."""

    keep: Mapping[str, str]
    expire: Mapping[str, str]


def decide(
    points: Iterable[Point], rules: Sequence[Rule], now: datetime, ended: Ended | None = None
) -> Decision:
    """Return which points of one instance are kept and which expire.

    A point expires only if every rule expires it, and none expires without a rule. What is not
    available is kept and fills no slot. The newest available point is always kept; only that of
    an ended instance expires, once no rule keeps any point and it is older than `final`. The
    order of the points does not matter; of two with the same occurrence, the one with the larger
    image id is the newer.
    """
    newest_first = _newest_first(points)
    available = [point for point in newest_first if point.available]
    in_force = tuple(dict.fromkeys(rules))
    kept = _kept_by_any(in_force, available, now, ended)
    newest = available[0] if available else None
    keep: dict[str, str] = {}
    expire: dict[str, str] = {}
    for point in newest_first:
        if not point.available:
            keep[point.image_id] = "it is not available yet"
        elif not in_force:
            keep[point.image_id] = "no retention rule is in force"
        elif point is newest and (ended is None or kept):
            keep[point.image_id] = "it is the newest"
        elif point.image_id in kept:
            keep[point.image_id] = kept[point.image_id]
        elif point is not newest or ended is None:
            why = [_why_not(rule, point, now, ended) for rule in in_force]
            expire[point.image_id] = " and ".join(why)
        elif ended.keeps(point, now):
            keep[point.image_id] = f"it is the last one, kept {ended}"
        else:
            expire[point.image_id] = f"it was the last one, kept {ended}"
    return Decision(keep, expire)


def _newest_first(points: Iterable[Point]) -> list[Point]:
    """Return the points, each image once: if listed as both, it is not available."""
    ordered = sorted(
        points, key=lambda one: (one.occurrence, one.image_id, one.available), reverse=True
    )
    return list({point.image_id: point for point in ordered}.values())


def _kept_by_any(
    rules: Sequence[Rule], newest_first: Sequence[Point], now: datetime, ended: Ended | None
) -> dict[str, str]:
    """Return the points that at least one rule keeps, with the reason of the first that does."""
    kept: dict[str, str] = {}
    for rule in rules:
        for image_id, reason in _kept_by(rule, newest_first, now, ended).items():
            is_unclear = len(rules) > 1 and len(rule.retain.terms) > 1
            kept.setdefault(image_id, f"{reason} ({rule.retain})" if is_unclear else reason)
    return kept


def _kept_by(
    rule: Rule, newest_first: Sequence[Point], now: datetime, ended: Ended | None
) -> dict[str, str]:
    """Return the points that one rule keeps, with the reason."""
    if rule.retain.count is not None:
        reason = f"one of the newest {rule.retain}"
        newest = newest_first[: rule.retain.count]
        return {
            point.image_id: reason for point in newest if ended is None or ended.keeps(point, now)
        }
    if len(rule.retain.terms) == 1:
        (term,) = rule.retain.terms
        reason = f"younger than {rule.retain}"
        return {
            point.image_id: reason
            for point in newest_first
            if now < point.occurrence + _age(term, point.occurrence.astimezone(rule.zone).date())
        }
    return _climb(rule, newest_first, now, ended)


def _why_not(rule: Rule, point: Point, now: datetime, ended: Ended | None) -> str:
    """Return why a rule does not keep a point."""
    if rule.retain.count is not None:
        if ended is None or ended.keeps(point, now):
            return f"not one of the newest {rule.retain}"
        return f"the instance is gone, and its points are kept {ended}"
    if len(rule.retain.terms) == 1:
        return f"older than {rule.retain}"
    return f"{rule.retain} keeps newer ones"


def _age(term: Term, day: date) -> timedelta:
    """Return how long a point of a day is kept: the term as days of 24 hours.

    Months and years are those of the calendar from that day on; a month that does not have the
    day ends with its last one.
    """
    match term.period:
        case Period.DAY:
            return term.number * _DAY
        case Period.WEEK:
            return term.number * _WEEK
        case Period.MONTH:
            months = term.number
        case Period.YEAR:
            months = term.number * _MONTHS_OF_A_YEAR
        case _:
            assert_never(term.period)
    years, month = divmod(day.month - 1 + months, _MONTHS_OF_A_YEAR)
    year, month = day.year + years, month + 1
    last = calendar.monthrange(year, month)[1]
    return date(year, month, min(day.day, last)) - day


def _climb(
    rule: Rule, newest_first: Sequence[Point], now: datetime, ended: Ended | None
) -> dict[str, str]:
    """Return the points that a ladder keeps, with the reason.

    When no new points come, the days go on: each one after the newest point's, up to today,
    counts as if it had brought a point, so that the real ones age as they would have.
    """
    slots: list[tuple[date, str | None]] = [
        (point.occurrence.astimezone(rule.zone).date(), point.image_id) for point in newest_first
    ]
    if ended is not None and slots:
        last_day = slots[0][0]
        days_since = (now.astimezone(rule.zone).date() - last_day).days
        slots[:0] = [(last_day + number * _DAY, None) for number in range(days_since, 0, -1)]
    kept: dict[int, str] = {}
    for term in rule.retain.terms:
        newest: dict[str, int] = {}
        for index, (day, _) in enumerate(slots):
            newest.setdefault(_period_name(day, term.period), index)
        free = [(name, index) for name, index in newest.items() if index not in kept]
        noun = _NOUNS[term.period]
        kept |= {index: f"newest of the {noun} {name}" for name, index in free[: term.number]}
    return {
        image_id: reason
        for index, reason in kept.items()
        if (image_id := slots[index][1]) is not None
    }


def _period_name(day: date, period: Period) -> str:
    """Return the period that a day is in: `2026-11-22`, `2026-W47` (ISO), `2026-11` or `2026`."""
    match period:
        case Period.DAY:
            return day.isoformat()
        case Period.WEEK:
            year, week, _ = day.isocalendar()
            return f"{year}-W{week:02}"
        case Period.MONTH:
            return day.isoformat()[:7]
        case Period.YEAR:
            return day.isoformat()[:4]
        case _:
            assert_never(period)


@dataclass(frozen=True, slots=True)
class Spacing:
    """How close the occurrences of a schedule come.

    `gap` is the shortest time between two of them; `alone` are the periods in which there is
    never more than one.
    """

    gap: timedelta
    alone: frozenset[Period]


ONCE_A_DAY = Spacing(_DAY, frozenset({Period.DAY}))
"""What is assumed as long as no schedule is known."""

_FAR_APART = 3650 * _DAY


def spacing(occurrences: Iterable[datetime], zone: ZoneInfo) -> Spacing:
    """Return how close some occurrences come, by the days, weeks, months and years of a zone.

    Fewer than two are ten years apart, the longest that a term can say.
    """
    ordered = sorted(occurrences)
    days = [moment.astimezone(zone).date() for moment in ordered]
    gap = min((later - earlier for earlier, later in pairwise(ordered)), default=_FAR_APART)
    names = {period: {_period_name(day, period) for day in days} for period in Period}
    return Spacing(gap, frozenset(p for p in Period if len(names[p]) == len(days)))


def shortest_life(retain: Retain, spaced: Spacing) -> timedelta:
    """Return the least time that a rule keeps any point of a schedule, counted from its occurrence.

    It is a lower bound for a live instance whose every point comes from its schedule; one that is
    asked for in between may expire another sooner. A ladder's bound is that of its first term: a
    point expires when the next one of the same period comes, or else after as many newer ones as
    the term has periods.
    """
    if retain.count is not None:
        return retain.count * spaced.gap
    first = retain.terms[0]
    if len(retain.terms) > 1:
        return first.number * spaced.gap if first.period in spaced.alone else spaced.gap
    return _shortest(first)


def _shortest(term: Term) -> timedelta:
    match term.period:
        case Period.DAY:
            return term.number * _DAY
        case Period.WEEK:
            return term.number * _WEEK
        case Period.MONTH:
            years, months = divmod(term.number, _MONTHS_OF_A_YEAR)
            return (365 * years + 28 * months) * _DAY
        case Period.YEAR:
            return term.number * 365 * _DAY
        case _:
            assert_never(term.period)
