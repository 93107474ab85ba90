"""EventBridge's cron grammar, translated for the library that does the arithmetic.

`cron(minutes hours day-of-month month day-of-week year)`, as the EventBridge User Guide
describes it under "Cron expressions": `, - * / ? L W #`, names of months and days, days of the
week from 1 (Sunday) to 7 (Saturday), years from 1970 to 2199, and a `?` in exactly one of
day-of-month and day-of-week.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from stillpoint.errors import InvalidSchedule
from stillpoint.recurrence import FIRST_YEAR, LAST_YEAR, DayRule, NearestWeekday, WallClock
from stillpoint.tags import printable

WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")

_NUMBER = re.compile(r"[0-9]{1,4}")
_LAST_OF_DAY = re.compile(r"([0-9A-Z]+)L")
_NTH_OF_DAY = re.compile(r"([0-9A-Z]+)#([1-5])")
_NEAREST_WEEKDAY = re.compile(r"([0-9]{1,2})W")
_FIELDS = "minutes hours day-of-month month day-of-week year"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a cron expression: its name in messages, its range, and its named values."""

    name: str
    low: int
    high: int
    names: Mapping[str, int] = field(default_factory=dict)

    def values(self, text: str) -> frozenset[int]:
        """Return the numbers that a text stands for: lists, ranges, steps, names and `*`."""
        return frozenset(value for item in text.split(",") for value in self._item(item))

    def number(self, text: str) -> int:
        """Return one number or named value of this field."""
        if text in self.names:
            return self.names[text]
        if _NUMBER.fullmatch(text) and self.low <= int(text) <= self.high:
            return int(text)
        raise self.error(text)

    def error(self, text: str) -> InvalidSchedule:
        """Return the error for a text that this field does not know."""
        names = f" or a name such as {next(iter(self.names))}" if self.names else ""
        return InvalidSchedule(
            f"'{printable(text)}' is not a value of the {self.name} field of cron, "
            f"which takes {self.low} to {self.high}{names}"
        )

    def _item(self, text: str) -> range:
        span, slash, step_text = text.partition("/")
        if slash and not (_NUMBER.fullmatch(step_text) and int(step_text) > 0):
            raise self.error(text)
        step = int(step_text) if slash else 1
        if span == "*":
            return range(self.low, self.high + 1, step)
        first_text, dash, last_text = span.partition("-")
        first = self.number(first_text)
        # `5/10` goes on to the end of the field, `5` alone does not.
        open_end = self.high if slash else first
        last = self.number(last_text) if dash else open_end
        if last < first:
            raise InvalidSchedule(
                f"'{printable(span)}' in the {self.name} field of cron runs backwards, "
                "list its values with commas instead"
            )
        return range(first, last + 1, step)


_MINUTES = Field("minutes", 0, 59)
_HOURS = Field("hours", 0, 23)
_DAY_OF_MONTH = Field("day-of-month", 1, 31)
_MONTH = Field("month", 1, 12, {name: number for number, name in enumerate(MONTHS, 1)})
_DAY_OF_WEEK = Field("day-of-week", 1, 7, {name: number for number, name in enumerate(WEEKDAYS, 1)})
_YEAR = Field("year", FIRST_YEAR, LAST_YEAR)


def parse_cron(body: str, zone: ZoneInfo) -> WallClock:
    """Return the recurrence of what stands between the parentheses of `cron(...)`.

    Raises InvalidSchedule, in words, for anything that EventBridge's grammar does not allow.
    """
    parts = body.upper().split()
    if len(parts) != len(_FIELDS.split()):
        raise InvalidSchedule(f"cron has {len(parts)} fields but needs six: {_FIELDS}")
    minutes, hours, day_of_month, month, day_of_week, year = parts
    if (day_of_month == "?") == (day_of_week == "?"):
        raise InvalidSchedule(
            "cron needs a ? in either its day-of-month or its day-of-week field, and not in both"
        )
    days, day_rule = _days_of_month(day_of_month)
    fields = (
        _plain(_MINUTES, minutes),
        _plain(_HOURS, hours),
        days,
        _plain(_MONTH, month),
        _days_of_week(day_of_week),
    )
    return WallClock(" ".join(fields), zone, _YEAR.values(year), day_rule)


def _plain(one: Field, text: str) -> str:
    return ",".join(str(value) for value in sorted(one.values(text)))


def _days_of_month(text: str) -> tuple[str, DayRule | None]:
    """Return the field for cronsim, and the day rule that narrows it if there is one."""
    if text in {"?", "*"}:
        return "*", None
    if nearest := _NEAREST_WEEKDAY.fullmatch(text):
        day = _DAY_OF_MONTH.number(nearest[1])
        around = range(max(1, day - 2), min(31, day + 2) + 1)
        return ",".join(str(one) for one in around), NearestWeekday(day)
    items = text.split(",")
    last = [item for item in items if item in {"L", "LW"}]
    plain = [item for item in items if item not in last]
    numbers = _plain(_DAY_OF_MONTH, ",".join(plain)).split(",") if plain else []
    return ",".join([*numbers, *last]), None


def _days_of_week(text: str) -> str:
    """Return the field for cronsim, which counts days of the week from 0 (Sunday)."""
    if text in {"?", "*"}:
        return "*"
    return ",".join(_day_of_week(item) for item in text.split(","))


def _day_of_week(item: str) -> str:
    if item == "L":
        return str(WEEKDAYS.index("SAT"))
    if last := _LAST_OF_DAY.fullmatch(item):
        return f"{_DAY_OF_WEEK.number(last[1]) - 1}L"
    if nth := _NTH_OF_DAY.fullmatch(item):
        return f"{_DAY_OF_WEEK.number(nth[1]) - 1}#{nth[2]}"
    return ",".join(str(value - 1) for value in sorted(_DAY_OF_WEEK.values(item)))
