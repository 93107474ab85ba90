"""Retention rules: what the `stillpoint:retain` tag says."""

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from stillpoint.errors import InvalidRetain
from stillpoint.tags import printable

MOST_RECOVERY_POINTS = 1000
"""The largest count, which is also that of Amazon Data Lifecycle Manager."""

_COUNT = re.compile(r"[0-9]{1,6}")
_TERM = re.compile(r"([0-9]{1,6})([dwmy])")
_EXAMPLES = "write a count such as 14, an age such as 30d, or several terms such as 7d 4w 12m 1y"


class Period(StrEnum):
    """The period of a retention term."""

    DAY = "d"
    WEEK = "w"
    MONTH = "m"
    YEAR = "y"


MOST = {Period.DAY: 3650, Period.WEEK: 520, Period.MONTH: 120, Period.YEAR: 10}
"""Ten years, in each period."""

FOR_EVER = "forever"
_DAYS = {Period.DAY: 1, Period.WEEK: 7, Period.MONTH: 30, Period.YEAR: 365}
"""The days of a period where there is no calendar to count them in."""


@dataclass(frozen=True, slots=True)
class Term:
    """A number of periods, such as 7 days."""

    number: int
    period: Period


@dataclass(frozen=True, slots=True)
class Retain:
    """How long recovery points are kept: either a count, or one or more terms.

    One term is an age (`30d`: whatever is younger than 30 days). Several terms are a ladder
    (`7d 4w`: the newest of each of 7 days and of each of 4 weeks), from days to years.
    """

    count: int | None = None
    terms: tuple[Term, ...] = ()

    def __str__(self) -> str:
        if self.count is not None:
            return str(self.count)
        return " ".join(f"{term.number}{term.period}" for term in self.terms)


def parse_retain(text: str) -> Retain:
    """Return the rule in `14`, `30d` or `7d 4w 12m 1y`.

    Raises InvalidRetain, with the reason in words, for anything else.
    """
    words = text.lower().split()
    if not words:
        raise InvalidRetain(f"it is empty, {_EXAMPLES}")
    if len(words) == 1 and _COUNT.fullmatch(words[0]):
        count = int(words[0])
        if not 1 <= count <= MOST_RECOVERY_POINTS:
            raise InvalidRetain(f"a count is from 1 to {MOST_RECOVERY_POINTS}, not {count}")
        return Retain(count=count)
    numbers: dict[Period, int] = {}
    for word in words:
        term = _parse_term(word)
        if term.period in numbers:
            raise InvalidRetain(f"'{printable(text)}' has two terms of the same period")
        numbers[term.period] = term.number
    return Retain(terms=tuple(Term(numbers[p], p) for p in Period if p in numbers))


def final_retention(text: str) -> timedelta | None:
    """Return how long the last recovery point of an instance that is gone is kept; None: for ever.

    The text is one age, such as `365d` or `2y`, or `forever`; a month counts as 30 days and a year
    as 365. Raises InvalidRetain, with the reason in words, for anything else.
    """
    if text.strip().lower() == FOR_EVER:
        return None
    retain = parse_retain(text)
    if len(retain.terms) != 1:
        raise InvalidRetain(f"'{retain}' is not one age, write for example 365d, 2y or {FOR_EVER}")
    (term,) = retain.terms
    return timedelta(days=term.number * _DAYS[term.period])


def _parse_term(word: str) -> Term:
    match = _TERM.fullmatch(word)
    if match is None:
        raise InvalidRetain(f"'{printable(word)}' is not a retention rule, {_EXAMPLES}")
    number, period = int(match[1]), Period(match[2])
    if not 1 <= number <= MOST[period]:
        raise InvalidRetain(f"'{word}' is outside 1{period} to {MOST[period]}{period}")
    return Term(number, period)
