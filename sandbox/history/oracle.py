"""The oracle: what `docs/retention.md` says must expire, worked out without the product's code."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_TERM: Final = re.compile(r"(\d+)([dwmy])")
_MOST: Final = {"d": 3650, "w": 520, "m": 120, "y": 10}
_MOST_POINTS: Final = 1000
# How a day names the day, the ISO week, the month and the year that it is in.
_NAMES: Final = {"d": "%Y-%m-%d", "w": "%G-W%V", "m": "%Y-%m", "y": "%Y"}


@dataclass(frozen=True, slots=True)
class Point:
    """A recovery point that is available in a Region, as its tags tell of it."""

    image_id: str
    occurrence: datetime
    retain: str
    zone: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What the owner says of an instance now: its retention, unless it is gone."""

    gone: bool
    retain: str


def expired(
    points: Iterable[Point], standing: Standing, now: datetime, final: timedelta
) -> frozenset[str]:
    """Return the ids of the points of one instance in one Region that have expired.

    `points` are all that are available there. Of an instance that is gone, the last one is kept
    for `final`.
    """
    newest_first = sorted(points, key=lambda one: (one.occurrence, one.image_id), reverse=True)
    if not newest_first:
        return frozenset()
    newest = newest_first[0]
    in_force = {newest.retain} if standing.gone else {newest.retain, standing.retain}
    kept: set[str] = set()
    for text in in_force:
        words = _read(text)
        if words is None:  # "While the retention ... cannot be understood, nothing expires."
            return frozenset()
        kept |= _kept(words, newest_first, ZoneInfo(newest.zone), standing, now, final)
    if not standing.gone or kept or now < newest.occurrence + final:
        kept.add(newest.image_id)
    return frozenset(one.image_id for one in newest_first) - kept


def _read(text: str) -> list[tuple[int, str]] | None:
    """Return the terms of a retention, or None if it cannot be understood.

    A count is one term without a period.
    """
    words = text.lower().split()
    if len(words) == 1 and words[0].isdecimal():
        return [(int(words[0]), "")] if 1 <= int(words[0]) <= _MOST_POINTS else None
    found = [_TERM.fullmatch(word) for word in words]
    terms = [(int(match[1]), match[2]) for match in found if match]
    periods = [period for _, period in terms]
    sound = all(1 <= number <= _MOST[period] for number, period in terms)
    if not terms or len(terms) < len(words) or len(set(periods)) < len(periods) or not sound:
        return None
    return sorted(terms, key=lambda term: "dwmy".index(term[1]))


def _kept(
    terms: list[tuple[int, str]],
    newest_first: Sequence[Point],
    zone: ZoneInfo,
    standing: Standing,
    now: datetime,
    final: timedelta,
) -> set[str]:
    """Return the ids of what one retention keeps."""
    (number, period), *more = terms
    if not period:  # "a count has no clock: its points stay for FinalRetention"
        some = newest_first[:number]
        return {one.image_id for one in some if not standing.gone or now < one.occurrence + final}
    if not more:
        return {one.image_id for one in newest_first if now < _end(one, number, period, zone)}
    row: list[tuple[date, str]] = [
        (one.occurrence.astimezone(zone).date(), one.image_id) for one in newest_first
    ]
    if standing.gone:  # "several terms go on as if each day had brought a point"
        day, last = now.astimezone(zone).date(), row[0][0]
        gap = [(day - timedelta(days=back), "") for back in range((day - last).days)]
        row = [*gap, *row]
    return _climb(terms, row)


def _end(point: Point, number: int, period: str, zone: ZoneInfo) -> datetime:
    """Return when a point has reached an age, counted from its occurrence.

    "Days and weeks have 24 hours a day. Months and years are those of the calendar."
    """
    if period in {"d", "w"}:
        return point.occurrence + timedelta(days=number * {"d": 1, "w": 7}[period])
    day = point.occurrence.astimezone(zone).date()
    months = day.month - 1 + number * {"m": 1, "y": 12}[period]
    begin = date(day.year + months // 12, months % 12 + 1, 1)
    following = (begin + timedelta(days=31)).replace(day=1)
    last = following - timedelta(days=1)
    return point.occurrence + (min(begin + timedelta(days=day.day - 1), last) - day)


def _climb(terms: Sequence[tuple[int, str]], row: Sequence[tuple[date, str]]) -> set[str]:
    """Return what a ladder keeps of a row of days, from the newest to the oldest.

    "Each term goes from the newest point to the oldest and keeps the newest of each day, week,
    month or year. What one term keeps does not count for the next."
    """
    taken: set[int] = set()
    for number, period in terms:
        left, before = number, ""
        for place, (day, _) in enumerate(row):
            name = day.strftime(_NAMES[period])
            if name != before and place not in taken and left:
                taken.add(place)
                left -= 1
            before = name
    return {row[place][1] for place in taken} - {""}


def moment(text: str) -> datetime:
    """Return the instant in `2026-11-22T03:00:00Z`."""
    return datetime.fromisoformat(text)
