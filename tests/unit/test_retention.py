"""What is kept and what expires, in cases that a person can follow."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from stillpoint.retain import Period, parse_retain
from stillpoint.retention import (
    ONCE_A_DAY,
    Ended,
    Point,
    Rule,
    Spacing,
    decide,
    shortest_life,
    spacing,
)
from stillpoint.zones import zone_named
from tests.unit.builders import at, schedule

DAY = timedelta(days=1)
GFS = "7d 4w 12m 1y"


def rule(retain: str, zone: str = "UTC") -> Rule:
    return Rule(parse_retain(retain), zone_named(zone))


def a_point(occurrence: datetime | str, *, available: bool = True) -> Point:
    """A point whose image is named after its occurrence: `2026-11-22 03:00`."""
    moment = at(occurrence) if isinstance(occurrence, str) else occurrence.astimezone(UTC)
    return Point(f"{moment:%Y-%m-%d %H:%M}", moment, available)


def daily(first: str, last: str) -> list[Point]:
    """A point a day, from the first instant on."""
    days = (at(last) - at(first)).days + 1
    return [a_point(at(first) + number * DAY) for number in range(days)]


def scheduled(expression: str, first: str, last: str) -> list[Point]:
    """A point for each occurrence of a schedule between two instants."""
    due, points = schedule(expression).next(at(first)), []
    while due is not None and due <= at(last):
        points.append(a_point(due))
        due = schedule(expression).next(due)
    return points


def kept(
    points: Iterable[Point], *rules: Rule, now: str = "2026-11-22 12:00", ended: Ended | None = None
) -> list[str]:
    return list(decide(points, rules, at(now), ended).keep)


def days_of(image_ids: Iterable[str]) -> list[str]:
    return [image_id[:10] for image_id in image_ids]


def test_a_count_keeps_the_newest_ones() -> None:
    points = daily("2026-11-01 03:00", "2026-11-22 03:00")
    decision = decide(points, [rule("3")], at("2026-11-22 12:00"))
    assert decision.keep == {
        "2026-11-22 03:00": "it is the newest",
        "2026-11-21 03:00": "one of the newest 3",
        "2026-11-20 03:00": "one of the newest 3",
    }
    assert decision.expire["2026-11-19 03:00"] == "not one of the newest 3"
    assert len(decision.expire) == 19


def test_an_age_keeps_what_is_younger() -> None:
    points = daily("2026-11-01 03:00", "2026-11-22 03:00")
    before = decide(points, [rule("3d")], at("2026-11-22 02:59:59"))
    assert days_of(before.keep) == ["2026-11-22", "2026-11-21", "2026-11-20", "2026-11-19"]
    decision = decide(points, [rule("3d")], at("2026-11-22 03:00"))
    assert decision.keep["2026-11-20 03:00"] == "younger than 3d"
    assert decision.expire["2026-11-19 03:00"] == "older than 3d"


def test_the_newest_is_kept_at_any_age() -> None:
    points = [a_point("2020-01-01 03:00"), a_point("2020-01-02 03:00")]
    decision = decide(points, [rule("30d")], at("2026-11-22 03:00"))
    assert decision.keep == {"2020-01-02 03:00": "it is the newest"}


@pytest.mark.parametrize(
    ("retain", "occurrence", "last_day"),
    [
        ("1m", "2026-01-15 03:00", "2026-02-15 03:00"),
        ("1m", "2026-01-31 03:00", "2026-02-28 03:00"),
        ("1m", "2028-01-31 03:00", "2028-02-29 03:00"),
        ("3m", "2026-11-30 03:00", "2027-02-28 03:00"),
        ("12m", "2026-11-30 03:00", "2027-11-30 03:00"),
        ("1y", "2028-02-29 03:00", "2029-02-28 03:00"),
        ("4y", "2028-02-29 03:00", "2032-02-29 03:00"),
        ("10y", "2026-12-31 03:00", "2036-12-31 03:00"),
        ("2w", "2026-11-22 03:00", "2026-12-06 03:00"),
    ],
)
def test_months_and_years_of_an_age_are_those_of_the_calendar(
    retain: str, occurrence: str, last_day: str
) -> None:
    points = [a_point(occurrence), a_point("2040-01-01 03:00")]
    end = at(last_day)
    assert occurrence in decide(points, [rule(retain)], end - timedelta(seconds=1)).keep
    assert occurrence in decide(points, [rule(retain)], end).expire


def test_the_month_of_an_age_is_counted_from_the_day_in_the_zone() -> None:
    # In Seoul it is already the first of February, a month of 28 days; in UTC the last of January.
    points = [a_point("2026-01-31 18:00"), a_point("2026-03-31 18:00")]
    end = at("2026-02-28 18:00")
    assert days_of(decide(points, [rule("1m", "Asia/Seoul")], end).expire) == ["2026-01-31"]
    points = [a_point("2026-02-28 18:00"), a_point("2026-05-31 18:00")]
    end = at("2026-03-28 18:00")
    assert days_of(decide(points, [rule("1m")], end).expire) == ["2026-02-28"]
    assert days_of(decide(points, [rule("1m", "Asia/Seoul")], end).expire) == []


def test_a_ladder_keeps_the_newest_of_each_day_week_month_and_year() -> None:
    points = daily("2023-06-01 03:00", "2026-11-22 03:00")
    decision = decide(points, [rule(GFS)], at("2026-11-22 12:00"))
    assert list(decision.keep.values()) == [
        "it is the newest",
        *(f"newest of the day 2026-11-{day}" for day in range(21, 15, -1)),
        *(f"newest of the week 2026-W{week}" for week in range(46, 43, -1)),
        "newest of the month 2026-10",
        "newest of the week 2026-W43",
        *(f"newest of the month 2026-{month:02}" for month in range(9, 0, -1)),
        "newest of the month 2025-12",
        "newest of the month 2025-11",
        "newest of the year 2024",
    ]
    assert days_of(decision.keep)[7:13] == [
        *("2026-11-15", "2026-11-08", "2026-11-01", "2026-10-31", "2026-10-25", "2026-09-30"),
    ]
    assert days_of(decision.keep)[-2:] == ["2025-11-30", "2024-12-31"]
    assert set(decision.expire.values()) == {"7d 4w 12m 1y keeps newer ones"}


def test_a_period_without_a_point_takes_no_slot_so_an_outage_expires_nothing() -> None:
    points = daily("2023-06-01 03:00", "2026-11-22 03:00")
    before = kept(points, rule(GFS))
    assert kept(points, rule(GFS), now="2029-01-01 03:00") == before


def test_a_weekly_schedule_fills_the_days_first() -> None:
    points = scheduled("weekly sun 03:00", "2026-01-01 00:00", "2026-11-22 12:00")
    decision = decide(points, [rule("7d 4w")], at("2026-11-22 12:00"))
    assert len(decision.keep) == 11
    assert decision.keep["2026-10-11 03:00"] == "newest of the day 2026-10-11"
    assert decision.keep["2026-10-04 03:00"] == "newest of the week 2026-W40"


def test_the_newest_of_the_day_is_the_last_one_of_that_day() -> None:
    points = [
        a_point(f"2026-11-{day} {hour}:00") for day in (20, 21, 22) for hour in ("00", "11", "23")
    ]
    assert kept(points, rule("2d 1w")) == [
        *("2026-11-22 23:00", "2026-11-21 23:00"),
    ]
    assert kept(points, rule("2d 2w")) == kept(points, rule("2d 1w"))


def test_a_day_begins_at_midnight_of_the_zone() -> None:
    # 14:59 and 15:01 UTC are two days in Seoul and one in UTC.
    points = [
        a_point(f"2026-11-{day} {time}") for day in (20, 21, 22) for time in ("14:59", "15:01")
    ]
    assert kept(points, rule("2d 1y", "Asia/Seoul")) == ["2026-11-22 15:01", "2026-11-22 14:59"]
    assert kept(points, rule("2d 1y")) == ["2026-11-22 15:01", "2026-11-21 15:01"]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("time", ["00:00", "02:30", "23:59"])
def test_a_change_of_the_clock_loses_no_day(zone: str, time: str) -> None:
    points = scheduled(f"daily {time} {zone}", "2025-11-22 12:00", "2026-11-22 12:00")
    decision = decide(points, [rule("365d 2w", zone)], at("2026-11-22 12:00"))
    assert len(points) == 365
    assert decision.expire == {}


def test_a_day_that_a_zone_left_out_takes_no_slot() -> None:
    # Samoa went from 29 to 31 December 2011.
    points = scheduled("daily 12:00 Pacific/Apia", "2011-12-25 00:00", "2012-01-02 23:00")
    decision = decide(points, [rule("5d 1y", "Pacific/Apia")], at("2012-01-02 23:30"))
    assert [reason[-10:] for reason in decision.keep.values()][1:] == [
        *("2012-01-02", "2012-01-01", "2011-12-31", "2011-12-29"),
    ]


def test_an_hour_that_autumn_repeats_belongs_to_one_day() -> None:
    # In Santiago midnight of 5 April 2026 was 23:00 of the 4th once more.
    points = [a_point("2026-04-05 02:30"), a_point("2026-04-05 03:30"), a_point("2026-04-05 04:30")]
    decision = decide(points, [rule("2d 1y", "America/Santiago")], at("2026-04-05 05:00"))
    assert decision.keep == {
        "2026-04-05 04:30": "it is the newest",
        "2026-04-05 03:30": "newest of the day 2026-04-04",
    }


def test_weeks_are_iso_weeks_and_belong_to_the_year_of_their_thursday() -> None:
    points = daily("2020-12-20 03:00", "2021-01-12 03:00")
    decision = decide(points, [rule("1d 4w")], at("2021-01-12 12:00"))
    assert decision.keep == {
        "2021-01-12 03:00": "it is the newest",
        "2021-01-10 03:00": "newest of the week 2021-W01",
        "2021-01-03 03:00": "newest of the week 2020-W53",
        "2020-12-27 03:00": "newest of the week 2020-W52",
        "2020-12-20 03:00": "newest of the week 2020-W51",
    }


def test_the_last_day_of_february_is_the_newest_of_its_month() -> None:
    points = daily("2028-02-25 03:00", "2028-03-02 03:00")
    assert days_of(kept(points, rule("1d 1m"))) == ["2028-03-02", "2028-02-29"]


def test_what_is_not_available_is_kept_and_fills_no_slot() -> None:
    points = [*daily("2026-11-01 03:00", "2026-11-22 03:00")]
    points[-1] = a_point("2026-11-22 03:00", available=False)
    points[3] = a_point("2026-11-04 03:00", available=False)
    for retain in ("2", "2d 1y"):
        decision = decide(points, [rule(retain)], at("2026-11-22 12:00"))
        assert days_of(decision.keep) == ["2026-11-22", "2026-11-21", "2026-11-20", "2026-11-04"]
        assert decision.keep["2026-11-22 03:00"] == "it is not available yet"
        assert decision.keep["2026-11-21 03:00"] == "it is the newest"


def test_nothing_expires_before_there_is_something_available() -> None:
    points = [a_point(f"2020-01-0{day} 03:00", available=False) for day in (1, 2, 3)]
    assert decide(points, [rule("1")], at("2026-11-22 03:00")).expire == {}


def test_of_two_with_the_same_occurrence_the_larger_image_id_is_the_newer() -> None:
    moment = at("2026-11-22 03:00")
    points = [Point(f"ami-{letter}", moment, available=True) for letter in "bca"]
    assert list(decide(points, [rule("1d 1w")], moment).keep) == ["ami-c"]


def test_an_image_that_is_listed_twice_takes_one_slot() -> None:
    points = daily("2026-11-20 03:00", "2026-11-22 03:00")
    assert len(kept([*points, points[-1]], rule("2"))) == 2
    doubtful = a_point("2026-11-22 03:00", available=False)
    for listed in ([*points, doubtful], [doubtful, *points]):
        decision = decide(listed, [rule("2")], at("2026-11-22 12:00"))
        assert decision.keep["2026-11-22 03:00"] == "it is not available yet"
        assert decision.expire == {}


def test_an_occurrence_in_the_future_is_simply_the_newest() -> None:
    points = [a_point("2026-11-22 03:00"), a_point("2031-01-01 03:00")]
    assert kept(points, rule("1")) == ["2031-01-01 03:00"]
    assert len(kept(points, rule("2d 1y"), ended=Ended(DAY))) == 2


def test_without_a_rule_nothing_expires() -> None:
    points = daily("2020-01-01 03:00", "2020-01-20 03:00")
    decision = decide(points, [], at("2026-11-22 03:00"), Ended(DAY))
    assert decision.expire == {}
    assert set(decision.keep.values()) == {"no retention rule is in force"}


def test_a_point_expires_only_if_every_rule_expires_it() -> None:
    points = daily("2026-11-01 03:00", "2026-11-22 03:00")
    rules = [rule("2"), rule("2d 2w"), rule("4d")]
    decision = decide(points, rules, at("2026-11-22 12:00"))
    assert decision.keep == {
        "2026-11-22 03:00": "it is the newest",
        "2026-11-21 03:00": "one of the newest 2",
        "2026-11-20 03:00": "younger than 4d",
        "2026-11-19 03:00": "younger than 4d",
        "2026-11-15 03:00": "newest of the week 2026-W46 (2d 2w)",
        "2026-11-08 03:00": "newest of the week 2026-W45 (2d 2w)",
    }
    assert set(decision.expire.values()) == {
        "not one of the newest 2 and 2d 2w keeps newer ones and older than 4d"
    }


def test_the_same_rule_twice_is_one_rule() -> None:
    points = daily("2026-11-01 03:00", "2026-11-22 03:00")
    now = at("2026-11-22 12:00")
    assert decide(points, [rule("2d 1w")] * 2, now) == decide(points, [rule("2d 1w")], now)


def test_ages_of_a_gone_instance_go_on_and_its_last_point_stays_for_the_final_time() -> None:
    points = daily("2026-11-01 03:00", "2026-11-22 03:00")
    ended = Ended(90 * DAY)
    assert len(kept(points, rule("30d"), now="2026-12-12 03:00", ended=ended)) == 10
    for now in ("2026-12-30 03:00", "2027-02-20 02:59:59"):
        decision = decide(points, [rule("30d")], at(now), ended)
        assert decision.keep == {"2026-11-22 03:00": "it is the last one, kept for 90 days"}
    decision = decide(points, [rule("30d")], at("2027-02-20 03:00"), ended)
    assert decision.keep == {}
    assert decision.expire["2026-11-22 03:00"] == "it was the last one, kept for 90 days"
    assert decision.expire["2026-11-21 03:00"] == "older than 30d"


def test_the_last_point_of_a_gone_instance_may_be_kept_for_ever() -> None:
    points = daily("2026-11-01 03:00", "2026-11-22 03:00")
    decision = decide(points, [rule("30d")], at("2126-11-22 03:00"), Ended(None))
    assert decision.keep == {"2026-11-22 03:00": "it is the last one, kept for ever"}


def test_a_ladder_of_a_gone_instance_goes_on_as_if_each_day_had_brought_a_point() -> None:
    points = daily("2025-06-01 03:00", "2026-11-22 03:00")
    went_on = [*points, *daily("2026-11-23 03:00", "2027-02-10 03:00")]
    decision = decide(points, [rule(GFS)], at("2027-02-10 12:00"), Ended(30 * DAY))
    live = decide(went_on, [rule(GFS)], at("2027-02-10 12:00"))
    assert days_of(decision.keep) == [
        "2026-11-22",  # the newest that there is, for as long as an older one is kept
        *(day for day in days_of(live.keep) if day <= "2026-11-22"),
    ]
    assert "2026-10-31" in days_of(decision.keep)


def test_the_newest_point_of_a_gone_instance_goes_last() -> None:
    points = daily("2025-06-01 03:00", "2026-11-22 03:00")
    ended = Ended(30 * DAY)
    assert days_of(kept(points, rule("7d 2m"), now="2027-01-06 12:00", ended=ended)) == [
        *("2026-11-22", "2026-10-31"),
    ]
    assert kept(points, rule("7d 2m"), now="2027-01-07 12:00", ended=ended) == []


def test_a_count_of_a_gone_instance_has_no_clock_but_the_final_time() -> None:
    points = daily("2026-11-01 03:00", "2026-11-22 03:00")
    assert len(kept(points, rule("3"), now="2030-01-01 03:00", ended=Ended(None))) == 3
    assert len(kept(points, rule("3"), now="2026-12-20 02:59", ended=Ended(30 * DAY))) == 3
    decision = decide(points, [rule("3")], at("2026-12-20 03:00"), Ended(30 * DAY))
    assert days_of(decision.keep) == ["2026-11-22", "2026-11-21"]
    assert (
        list(decision.expire.values())[:2]
        == [
            "the instance is gone, and its points are kept for 30 days",
        ]
        * 2
    )


def test_an_instance_without_points_needs_no_decision() -> None:
    for ended in (None, Ended(DAY)):
        decision = decide([], [rule(GFS)], at("2026-11-22 03:00"), ended)
        assert (decision.keep, decision.expire) == ({}, {})


@pytest.mark.parametrize(
    ("retain", "spaced", "days"),
    [
        ("30d", ONCE_A_DAY, 30),
        ("2w", ONCE_A_DAY, 14),
        ("1m", ONCE_A_DAY, 28),
        ("12m", ONCE_A_DAY, 365),
        ("2y", ONCE_A_DAY, 730),
        ("14", ONCE_A_DAY, 14),
        (GFS, ONCE_A_DAY, 7),
        ("4w 12m", ONCE_A_DAY, 1),
        (GFS, Spacing(DAY / 4, frozenset()), 0.25),
        (GFS, Spacing(7 * DAY, frozenset({Period.DAY, Period.WEEK})), 49),
    ],
)
def test_the_shortest_life_follows_from_the_rule_and_the_schedule(
    retain: str, spaced: Spacing, days: float
) -> None:
    assert shortest_life(parse_retain(retain), spaced) == days * DAY


def test_the_spacing_of_a_schedule_is_measured_on_its_occurrences() -> None:
    berlin = zone_named("Europe/Berlin")
    year = scheduled("daily 03:00 Europe/Berlin", "2026-01-01 00:00", "2026-12-31 00:00")
    measured = spacing((point.occurrence for point in year), berlin)
    assert measured == Spacing(timedelta(hours=23), frozenset({Period.DAY}))
    weeks = scheduled("weekly sun 03:00 Europe/Berlin", "2026-01-01 00:00", "2026-12-31 00:00")
    measured = spacing((point.occurrence for point in weeks), berlin)
    assert measured == Spacing(7 * DAY - timedelta(hours=1), frozenset({Period.DAY, Period.WEEK}))


def test_a_single_occurrence_comes_close_to_no_other() -> None:
    assert spacing([], zone_named("UTC")) == Spacing(3650 * DAY, frozenset(Period))
