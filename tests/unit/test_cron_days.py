"""The days that cron's day fields pick, against calendars that are written out by counting."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.builders import schedule

DAY = timedelta(days=1)
NAMES = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
CALENDAR = [date(2023, 12, 1) + number * DAY for number in range(5 * 366)]
MONTHS: dict[tuple[int, int], list[date]] = {}
for one_day in CALENDAR:
    MONTHS.setdefault((one_day.year, one_day.month), []).append(one_day)


def name_of(day: date) -> str:
    return NAMES[day.isoweekday() % 7]


def in_month_of(day: date) -> list[date]:
    return MONTHS[day.year, day.month]


def occurrences(text: str) -> list[date]:
    """Return the days on which a schedule of one occurrence a day occurs from 2024 to 2027."""
    one = schedule(text)
    found = []
    moment = datetime(2023, 12, 31, 12, tzinfo=UTC)
    while (following := one.next(moment)) is not None and following.year < 2028:
        found.append(following.date())
        assert one.newest(moment, following) == following
        moment = following
    return found


def days_that(matches: Callable[[date], bool]) -> list[date]:
    return [day for day in CALENDAR if 2024 <= day.year < 2028 and matches(day)]


def is_last(day: date) -> bool:
    return (day + DAY).month != day.month


def is_weekday(day: date) -> bool:
    return name_of(day) not in {"SAT", "SUN"}


@given(st.integers(1, 7), st.integers(1, 5))
def test_the_nth_weekday_of_a_month(number: int, nth: int) -> None:
    def matches(day: date) -> bool:
        same = [one for one in in_month_of(day) if name_of(one) == NAMES[number - 1]]
        return nth <= len(same) and same[nth - 1] == day

    expected = days_that(matches)
    assert occurrences(f"cron(0 0 ? * {number}#{nth} *)") == expected
    assert occurrences(f"cron(0 0 ? * {NAMES[number - 1]}#{nth} *)") == expected


@given(st.sampled_from(NAMES))
def test_the_last_weekday_of_its_kind_in_a_month(name: str) -> None:
    expected = days_that(lambda day: name_of(day) == name and (day + 7 * DAY).month != day.month)
    assert occurrences(f"cron(0 0 ? * {name}L *)") == expected


@given(st.integers(1, 31))
def test_the_weekday_nearest_to_a_day(number: int) -> None:
    def matches(day: date) -> bool:
        month = in_month_of(day)
        if number > len(month) or not is_weekday(day):
            return False
        wanted = month[number - 1]
        nearest = min(
            (one for one in month if is_weekday(one)), key=lambda one: abs((one - wanted).days)
        )
        return nearest == day

    assert occurrences(f"cron(0 0 {number}W * ? *)") == days_that(matches)


@given(st.integers(1, 31))
def test_a_monthly_day_is_the_last_where_the_month_is_too_short(number: int) -> None:
    expected = days_that(lambda day: day.day == number or (is_last(day) and day.day < number))
    assert occurrences(f"monthly {number} 00:00") == expected


@settings(max_examples=20)
@given(st.sets(st.sampled_from(NAMES), min_size=1))
def test_weekly_days(names: set[str]) -> None:
    expected = days_that(lambda day: name_of(day) in names)
    assert occurrences(f"weekly {','.join(names)} 00:00") == expected
    assert occurrences(f"cron(0 0 ? * {','.join(names)} *)") == expected


@pytest.mark.parametrize(
    ("fields", "matches"),
    [
        ("L * ?", is_last),
        ("1,L * ?", lambda day: day.day == 1 or is_last(day)),
        (
            "LW * ?",
            lambda day: day == [one for one in in_month_of(day) if is_weekday(one)][-1],
        ),
        ("10-20/5 * ?", lambda day: day.day in {10, 15, 20}),
        ("*/10 * ?", lambda day: day.day in {1, 11, 21, 31}),
        ("25/3 * ?", lambda day: day.day in {25, 28, 31}),
        ("* JAN-MAR,12 ?", lambda day: day.month in {1, 2, 3, 12}),
        ("29 2 ?", lambda day: (day.month, day.day) == (2, 29)),
        ("? * 2-6", is_weekday),
        ("? 6/3 MON", lambda day: day.month in {6, 9, 12} and name_of(day) == "MON"),
        (
            "? * 1,TUE#1",
            lambda day: name_of(day) == "SUN" or (name_of(day) == "TUE" and day.day < 8),
        ),
    ],
)
def test_day_fields(fields: str, matches: Callable[[date], bool]) -> None:
    assert occurrences(f"cron(0 0 {fields} *)") == days_that(matches)


def test_years_narrow_the_days() -> None:
    assert occurrences("cron(0 0 1 7 ? 2025-2026)") == [date(2025, 7, 1), date(2026, 7, 1)]
    assert occurrences("cron(0 0 1 7 ? 2025,2027)") == [date(2025, 7, 1), date(2027, 7, 1)]
