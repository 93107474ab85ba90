from datetime import timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillpoint.policy import BackupPolicy, InvalidPolicy, PolicyDefaults, parse_policy
from stillpoint.retain import parse_retain
from stillpoint.retention import Point, Rule, decide
from stillpoint.safeguards import ANCHOR, life_under, lock_problem
from stillpoint.zones import zone_named
from tests.unit.builders import schedules

if TYPE_CHECKING:
    from datetime import datetime

BERLIN = zone_named("Europe/Berlin")
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def life(schedule: str, retain: str, zone: ZoneInfo = BERLIN) -> timedelta:
    return life_under(schedules(schedule, zone.key), parse_retain(retain), zone)


@pytest.mark.parametrize(
    ("schedule", "retain", "least"),
    [
        ("daily", "14", 14 * DAY),
        ("daily 02:30", "14", 14 * DAY),
        ("daily", "1000", 1000 * DAY),
        ("daily; weekly sun 12:00", "14", 12 * DAY),
        ("daily 03:00; daily 15:00", "14", 7 * DAY),
        ("weekly sun", "3", 21 * DAY),
        ("monthly last", "12", 365 * DAY),
        ("rate(6 hours)", "14", 84 * HOUR),
        ("rate(1 minute)", "1", timedelta(minutes=1)),
        ("rate(3650 days)", "1000", 3_650_000 * DAY),
        ("cron(0 3 29 2 ? *)", "1", 1461 * DAY),
        ("cron(0 3 1 1 ? 2100)", "1", 3650 * DAY),
        ("rate(1 minute)", "30d", 30 * DAY),
        ("daily", "1m", 28 * DAY),
        ("daily", "2y", 730 * DAY),
        ("daily", "7d 4w 12m 1y", 7 * DAY),
        ("daily", "4w 12m", DAY),
        ("weekly sun", "4w 12m", 28 * DAY),
        ("weekly sun", "7d 4w", 49 * DAY),
        ("rate(6 hours)", "7d 4w", 6 * HOUR),
        ("daily; weekly sun 12:00", "7d 4w", 9 * HOUR),
    ],
)
def test_the_least_time_that_a_point_is_kept(schedule: str, retain: str, least: timedelta) -> None:
    assert life(schedule, retain) == least


SCHEDULES = st.sampled_from(
    [
        "daily",
        "daily 02:30",
        "daily 00:30; daily 23:30",
        "weekly mon,fri",
        "daily; weekly sun 12:00",
        "monthly 31",
        "rate(7 hours)",
        "cron(0 8-18 ? * MON-FRI *)",
    ]
)
ZONES = st.sampled_from(["Europe/Berlin", "America/New_York", "Pacific/Apia", "UTC"])
RETAINS = st.sampled_from(["1", "3", "14", "5d", "2w", "7d 4w", "2d 2w 2m", "2w 3m", "3m 1y"])


def deaths(schedule: str, retain: str, zone: ZoneInfo, count: int) -> list[timedelta]:
    """Return the ages at which points expire if each occurrence brings one and prunes at once."""
    rule = Rule(parse_retain(retain), zone)
    kept: dict[str, datetime] = {}
    ages: list[timedelta] = []
    now = ANCHOR
    for number in range(count):
        now = min(found for one in schedules(schedule, zone.key) if (found := one.next(now)))
        kept[f"ami-{number:05}"] = now
        points = [Point(image_id, moment, available=True) for image_id, moment in kept.items()]
        ages += [now - kept.pop(image_id) for image_id in decide(points, [rule], now).expire]
    return ages


@given(SCHEDULES, RETAINS, ZONES)
def test_no_point_expires_sooner_but_for_the_hour_of_daylight_saving(
    schedule: str, retain: str, zone: str
) -> None:
    least = life(schedule, retain, zone_named(zone))
    ages = deaths(schedule, retain, zone_named(zone), 150)
    assert all(age >= least - HOUR for age in ages)


def test_the_verdict_does_not_depend_on_what_was_asked_before() -> None:
    first = life("daily", "14")
    life("rate(1 minute)", "14")
    life_under.cache_clear()
    assert life("daily", "14") == first


@pytest.mark.parametrize(
    ("days", "lock_days", "wrong"), [(14, 0, False), (14, 14, False), (14, 15, True), (0, 1, True)]
)
def test_a_lock_may_be_as_long_as_the_life_and_no_longer(
    days: int, lock_days: int, wrong: bool
) -> None:
    assert (lock_problem(parse_retain("14"), days * DAY, lock_days) is not None) is wrong


@pytest.mark.parametrize(
    ("least", "words"),
    [
        (14 * DAY, "for 14 days only"),
        (DAY + 23 * HOUR, "for 1 day only"),
        (7 * HOUR, "for 7 hours only"),
        (HOUR, "for 1 hour only"),
        (timedelta(minutes=59), "for 59 minutes only"),
        (timedelta(), "for less than a minute only"),
    ],
)
def test_the_problem_says_how_long_a_point_is_kept(least: timedelta, words: str) -> None:
    assert words in str(lock_problem(parse_retain("14"), least, 30))


def policy(lock_days: int, **tags: str) -> BackupPolicy | InvalidPolicy:
    defaults = PolicyDefaults.parse(time="03:00", zone="UTC", retain="14", lock_days=lock_days)
    return parse_policy({f"stillpoint:{key}": value for key, value in tags.items()}, defaults)


def test_a_policy_that_keeps_points_shorter_than_they_are_locked_is_invalid() -> None:
    assert policy(14, schedule="daily") == policy(0, schedule="daily")
    found = policy(30, schedule="daily")
    assert found == InvalidPolicy(
        (
            (
                "stillpoint:retain: 14 keeps some recovery points for 14 days only and the stack"
                " locks their snapshots for 30 days, keep them longer or lower SnapshotLockDays"
            ),
        )
    )
    assert isinstance(policy(30, schedule="daily", retain="30d"), BackupPolicy)
    assert isinstance(policy(30, schedule="weekly sun"), BackupPolicy)


def test_a_tag_that_cannot_be_understood_is_the_only_problem() -> None:
    found = policy(14, schedule="dayly", retain="3")
    assert isinstance(found, InvalidPolicy)
    assert ["dayly" in problem for problem in found.problems] == [True]
