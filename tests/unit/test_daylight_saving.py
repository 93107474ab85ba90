"""Occurrences against an oracle that watches the clock on the wall, minute by minute."""

from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.builders import at, schedule

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
REACH = 4  # days on either side of a change that the oracle watches

CHANGES = [
    ("America/New_York", date(2026, 3, 8)),
    ("America/New_York", date(2026, 11, 1)),
    ("Europe/Berlin", date(2026, 3, 29)),
    ("Europe/Berlin", date(2026, 10, 25)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),  # half an hour back
    ("Australia/Lord_Howe", date(2026, 10, 4)),  # half an hour forward
    ("America/Sao_Paulo", date(2018, 11, 4)),  # forward at midnight
    ("America/Sao_Paulo", date(2019, 2, 17)),  # back at midnight
    ("Pacific/Apia", date(2011, 12, 30)),  # a day left out
    ("Pacific/Apia", date(2012, 4, 1)),
    ("Antarctica/Troll", date(2026, 3, 29)),  # two hours forward
    ("Africa/Casablanca", date(2026, 2, 15)),
    ("Asia/Seoul", date(1988, 5, 8)),
    ("Asia/Seoul", date(2026, 3, 29)),  # none
]


@cache
def wall_clock(zone: str, day: date) -> dict[datetime, datetime]:
    """Return the instant of every local minute around a day, by watching a clock go by.

    A local time that comes twice keeps its first instant. One that never comes gets the instant
    at which the clock would have shown it, had it not been put forward.
    """
    first = datetime(day.year, day.month, day.day, tzinfo=UTC) - REACH * DAY
    shown: dict[datetime, datetime] = {}
    before: datetime | None = None
    for minute in range(2 * REACH * 24 * 60):
        instant = first + minute * MINUTE
        wall = instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        while before is not None and before + MINUTE < wall:
            before += MINUTE
            shown.setdefault(before, shown[before - MINUTE] + MINUTE)
        shown.setdefault(wall, instant)
        before = wall
    return shown


@st.composite
def expressions(draw: st.DrawFn) -> tuple[str, frozenset[int], frozenset[int], frozenset[int]]:
    """Return a cron expression, its minutes, hours, and weekdays (0 for Monday)."""
    minutes = draw(st.frozensets(st.integers(0, 59), min_size=1, max_size=4))
    hours = draw(
        st.frozensets(st.integers(0, 5) | st.integers(0, 23), min_size=1, max_size=6)
        | st.just(frozenset(range(24)))
    )
    weekdays = draw(st.frozensets(st.integers(0, 6), min_size=1) | st.just(frozenset(range(7))))
    names = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
    text = " ".join(
        [
            ",".join(map(str, sorted(minutes))),
            ",".join(map(str, sorted(hours))),
            "? *",
            ",".join(names[day] for day in sorted(weekdays)),
            "*",
        ]
    )
    return f"cron({text})", minutes, hours, weekdays


@settings(max_examples=100)
@given(st.sampled_from(CHANGES), expressions())
def test_occurrences_are_those_of_a_clock_on_the_wall(
    change: tuple[str, date],
    expression: tuple[str, frozenset[int], frozenset[int], frozenset[int]],
) -> None:
    zone, day = change
    text, minutes, hours, weekdays = expression
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    start, end = noon - 2 * DAY, noon + 2 * DAY
    expected = sorted(
        {
            instant
            for wall, instant in wall_clock(zone, day).items()
            if wall.minute in minutes
            and wall.hour in hours
            and wall.weekday() in weekdays
            and start < instant <= end
        }
    )
    one = schedule(f"{text} {zone}")
    for before, instant in pairwise([start, *expected]):
        assert one.next(before) == instant
        assert one.newest(start, instant) == instant
        assert one.newest(before, instant - SECOND) is None
        assert one.newest(start, instant - SECOND) == (before if before > start else None)
    # Also at moments that are no occurrences, such as those that autumn repeats.
    for step in range(4 * 24 * 2):
        until = start + step * 30 * MINUTE
        place = bisect_right(expected, until)
        assert one.newest(start, until) == (expected[place - 1] if place else None)


@pytest.mark.parametrize(("zone", "day"), CHANGES)
def test_a_daily_backup_is_neither_skipped_nor_doubled(zone: str, day: date) -> None:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC) - 2 * DAY
    end = start + 4 * DAY
    for minute in range(0, 24 * 60, 15):
        one = schedule(f"daily {minute // 60:02}:{minute % 60:02} {zone}")
        found = []
        following = one.next(start)
        while following is not None and following <= end:
            found.append(following)
            following = one.next(following)
        shown = {
            instant
            for wall, instant in wall_clock(zone, day).items()
            if wall.hour * 60 + wall.minute == minute
        }
        assert found == sorted(instant for instant in shown if start < instant <= end)


def test_a_time_that_spring_leaves_out_runs_once_and_later() -> None:
    one = schedule("daily 02:30 America/New_York")
    assert one.newest(at("2026-03-07 08:00"), at("2026-03-09 00:00")) == at("2026-03-08 07:30")
    assert one.next(at("2026-03-08 07:30")) == at("2026-03-09 06:30")


def test_a_time_that_autumn_repeats_runs_at_its_first_pass_only() -> None:
    one = schedule("daily 01:30 America/New_York")
    assert one.next(at("2026-11-01 00:00")) == at("2026-11-01 05:30")
    assert one.next(at("2026-11-01 05:30")) == at("2026-11-02 06:30")
    # At half past six the clock shows 01:30 again, in the second pass.
    assert one.newest(at("2026-11-01 00:00"), at("2026-11-01 06:15")) == at("2026-11-01 05:30")


def test_a_day_that_a_zone_left_out_runs_with_the_day_after_it() -> None:
    one = schedule("daily 03:00 Pacific/Apia")
    assert one.next(at("2011-12-29 12:00")) == at("2011-12-29 13:00")
    assert one.next(at("2011-12-29 13:00")) == at("2011-12-30 13:00")


@pytest.mark.parametrize(
    ("text", "instants"),
    [
        # 02:00 becomes 03:00: what is left out meets what comes next.
        ("cron(0,30 2,3 29 3 ? 2026) Europe/Berlin", ["2026-03-29 01:00", "2026-03-29 01:30"]),
        # 02:00 becomes 02:30: 02:25 runs after 02:40.
        (
            "cron(25,40 2 4 10 ? 2026) Australia/Lord_Howe",
            ["2026-10-03 15:40", "2026-10-03 15:55"],
        ),
        # 01:00 becomes 03:00: 02:30 runs after 03:30.
        ("cron(30 2,3 29 3 ? 2026) Antarctica/Troll", ["2026-03-29 01:30", "2026-03-29 02:30"]),
    ],
)
def test_what_spring_pushes_back_does_not_hide_what_comes_next(
    text: str, instants: list[str]
) -> None:
    one = schedule(text)
    first, second = (at(instant) for instant in instants)
    assert [one.next(at("2026-01-01")), one.next(first), one.next(second)] == [first, second, None]
    assert one.newest(at("2026-01-01"), second) == second
    assert one.newest(at("2026-01-01"), second - SECOND) == first


def test_a_rate_does_not_notice_any_change() -> None:
    one = schedule("rate(6 hours)")
    assert one.next(at("2026-03-29 00:00")) == at("2026-03-29 06:00")
    assert one.newest(at("2026-10-24 00:00"), at("2026-10-25 11:59")) == at("2026-10-25 06:00")
