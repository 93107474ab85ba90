"""What becomes of the recovery points of one instance in one Region, and why."""

from datetime import timedelta

import pytest

from stillpoint.image import Image
from stillpoint.instance import Instance
from stillpoint.pruning import (
    BELIEVED_AFTER,
    Situation,
    believed,
    is_point,
    judge,
    newest_point,
    situation_of,
)
from stillpoint.retain import Retain, parse_retain
from stillpoint.retention import Ended
from stillpoint.tags import iso
from stillpoint.zones import zone_named
from tests.unit.builders import an_instance
from tests.unit.pruned import DAY, DEFAULT, NOW, OPEN, UTC_ZONE, a_point, expired, judged

# ---------------------------------------------------------------- how an instance stands


def test_an_instance_stands_by_what_its_tag_says_now() -> None:
    instance = an_instance(retain="7d 4w")
    situation = situation_of(instance, default=DEFAULT, final=None)
    assert situation == Situation(retain=parse_retain("7d 4w"))


def test_without_a_tag_it_stands_by_the_stacks_default() -> None:
    assert situation_of(an_instance(), default=DEFAULT, final=DAY) == Situation(retain=DEFAULT)


@pytest.mark.parametrize("state", ["pending", "running", "stopping", "stopped"])
def test_an_instance_that_exists_is_not_gone(state: str) -> None:
    assert situation_of(an_instance(state=state), default=DEFAULT, final=DAY).ended is None


@pytest.mark.parametrize(
    "instance",
    [
        None,
        an_instance(state="terminated"),
        an_instance(state="shutting-down"),
        an_instance(schedule=None, retain="3"),
        an_instance(state="terminated", retain="for ever"),
    ],
)
def test_one_that_is_gone_or_has_no_schedule_stands_by_its_points_alone(
    instance: Instance | None,
) -> None:
    assert situation_of(instance, default=DEFAULT, final=DAY) == Situation(ended=Ended(DAY))
    assert situation_of(instance, default=DEFAULT, final=None) == Situation(ended=Ended(None))


@pytest.mark.parametrize("text", ["", " ", "for ever", "0", "7 days", "-1", "14 30d", "\x07"])
def test_a_tag_that_cannot_be_understood_is_no_retention(text: str) -> None:
    situation = situation_of(an_instance(retain=text), default=DEFAULT, final=DAY)
    assert situation.retain is None
    assert situation.ended is None
    assert situation.unreadable.startswith("stillpoint:retain on the instance: ")
    assert situation.unreadable.isprintable()


def stands_overseas(instance: Instance | None) -> Situation:
    return situation_of(instance, default=DEFAULT, final=DAY, copied_to="us-east-1")


@pytest.mark.parametrize("text", ["us-east-1", "eu-north-1 us-east-1", "US-EAST-1,eu-north-1"])
def test_in_a_region_to_which_it_is_copied_an_instance_stands_as_at_home(text: str) -> None:
    instance = an_instance(retain="3", copy_to=text)
    assert stands_overseas(instance) == Situation(retain=Retain(count=3))


@pytest.mark.parametrize("text", [None, "", "eu-north-1", "us-east-11", "us-east", "us-east-1a"])
def test_where_it_is_not_copied_to_any_more_it_has_ended(text: str | None) -> None:
    instance = an_instance(retain="3") if text is None else an_instance(retain="3", copy_to=text)
    assert stands_overseas(instance) == Situation(ended=Ended(DAY))
    assert situation_of(instance, default=DEFAULT, final=DAY) == Situation(retain=Retain(count=3))


def test_one_that_is_gone_has_ended_wherever_it_was_copied_to() -> None:
    for instance in (None, an_instance(state="terminated", copy_to="us-east-1")):
        assert stands_overseas(instance).ended == Ended(DAY)
    assert stands_overseas(an_instance(schedule=None, copy_to="us-east-1")).ended == Ended(DAY)


# ---------------------------------------------------------------- an end that is believed

GONE_FOR_GOOD = Situation(ended=Ended(DAY))


def test_an_end_is_believed_when_it_was_written_a_week_ago_to_the_second() -> None:
    written = a_point(30, **{"ended-at": iso(NOW - BELIEVED_AFTER)})
    assert believed(GONE_FOR_GOOD, written, NOW) == GONE_FOR_GOOD
    assert believed(GONE_FOR_GOOD, written, NOW - timedelta(seconds=1)).ended is None
    assert timedelta(days=7) == BELIEVED_AFTER


@pytest.mark.parametrize("tags", [{}, {"ended-at": ""}, {"ended-at": "a while ago"}])
def test_an_end_that_nobody_wrote_or_that_cannot_be_read_is_not_believed(
    tags: dict[str, str],
) -> None:
    assert believed(GONE_FOR_GOOD, a_point(300, **tags), NOW).ended is None
    assert believed(GONE_FOR_GOOD, None, NOW).ended is None


@pytest.mark.parametrize("situation", [Situation(retain=DEFAULT), Situation(unreadable="no")])
def test_an_instance_that_is_there_is_believed_at_once(situation: Situation) -> None:
    written = a_point(30, **{"ended-at": iso(NOW - 2 * BELIEVED_AFTER)})
    assert believed(situation, written, NOW) == situation


def test_until_it_is_believed_the_last_one_does_not_go_nor_what_is_counted() -> None:
    points = [a_point(day, retain="3") for day in (400, 401, 402)]
    not_yet = believed(GONE_FOR_GOOD, points[0], NOW)
    assert not expired(*points, situation=not_yet)
    assert expired(*points, situation=GONE_FOR_GOOD) == {"400", "401", "402"}


@pytest.mark.parametrize("retain", ["1", "1d", "7d 4w", "a while"])
def test_until_it_is_believed_nothing_expires_for_its_tags_may_ask_for_more(retain: str) -> None:
    points = [a_point(day, retain=retain) for day in (8, 8.5, 60, 900)]
    verdicts = judged(*points, situation=believed(GONE_FOR_GOOD, points[0], NOW)).values()
    assert [(v.expired, v.is_last, v.unreadable) for v in verdicts] == [(False,) * 3] * 4
    assert {v.reason for v in verdicts} == {
        "nothing expires: its instance is not seen, but not for a week yet"
    }


def test_the_end_is_written_on_the_newest_point_that_is_available() -> None:
    newest = a_point(3)
    others = [a_point(2, state="disabled"), a_point(1, state="pending"), a_point(0, level=None)]
    assert newest_point([a_point(4), *others, newest, a_point(5)]) is newest
    assert newest_point([]) is None


def test_it_is_written_on_the_newest_of_all_if_none_is_available() -> None:
    points = [
        a_point(4, state="disabled"),
        a_point(3, state="disabled"),
        a_point(5, state="pending"),
    ]
    assert newest_point([*points, a_point(1, level=None), a_point(0, state="failed")]) is points[1]


# ---------------------------------------------------------------- the rules in force


def test_a_count_keeps_the_newest_ones() -> None:
    assert expired(*(a_point(day) for day in range(5)), situation=Situation(Retain(2))) == {
        *("2", "3", "4")
    }


def test_a_longer_retention_on_the_instance_counts_at_once() -> None:
    points = [a_point(day, retain="2") for day in range(5)]
    assert expired(*points, situation=Situation(Retain(count=4))) == {"4"}


def test_a_shorter_retention_on_the_instance_waits_for_a_backup_that_was_made_under_it() -> None:
    points = [a_point(day, retain="4") for day in range(1, 6)]
    shorter = Situation(Retain(count=2))
    assert expired(*points, situation=shorter) == {"5"}
    assert expired(a_point(0, retain="2"), *points, situation=shorter) == {"2", "3", "4", "5"}


@pytest.mark.parametrize("state", ["pending", "disabled"])
def test_a_backup_that_cannot_be_launched_puts_no_shorter_retention_in_force(state: str) -> None:
    points = [a_point(day, retain="4") for day in range(1, 5)]
    newest = a_point(0, retain="1", state=state)
    assert not expired(newest, *points, situation=Situation(Retain(count=1)))


def test_neither_does_a_damaged_one() -> None:
    points = [a_point(day, retain="4") for day in range(1, 5)]
    newest = a_point(0, retain="1")
    assert not expired(newest, *points, situation=Situation(Retain(1)), damaged={"ami-0"})


def test_the_older_points_retention_counts_for_nothing() -> None:
    points = [a_point(0, retain="1"), a_point(1, retain="100"), a_point(2, retain="nonsense")]
    assert expired(*points, situation=Situation(Retain(count=1))) == {"1", "2"}


def test_days_begin_in_the_zone_of_the_newest_point() -> None:
    # 20:00 and 04:00 UTC are one day in Seoul, and two in UTC.
    evening, night = 16 / 24, 8 / 24
    for zone, gone in (("UTC", set[str]()), ("Asia/Seoul", {f"{evening:g}"})):
        points = [a_point(when, retain="2d 1w", zone=zone) for when in (evening, night)]
        assert expired(*points, situation=Situation(parse_retain("2d 1w"))) == gone


def test_they_begin_in_the_stacks_zone_if_the_point_does_not_say_it() -> None:
    points = [a_point(when, retain="2d 1w", zone="") for when in (16 / 24, 8 / 24)]
    verdicts = judge(
        points,
        Situation(parse_retain("2d 1w")),
        damaged=(),
        region="eu-west-1",
        zone=zone_named("Asia/Seoul"),
        now=NOW,
    )
    assert [verdict.expired for verdict in verdicts] == [True, False]


@pytest.mark.parametrize(
    ("newest", "situation"),
    [
        (a_point(0, retain=None), Situation(Retain(count=1))),
        (a_point(0, retain=""), Situation(Retain(count=1))),
        (a_point(0, retain="a while"), Situation(Retain(count=1))),
        (a_point(0, retain="a while"), Situation(ended=Ended(DAY))),
        (a_point(0, zone="Mars/Olympus"), Situation(Retain(count=1))),
        (a_point(0, retain="1"), Situation(unreadable="stillpoint:retain on the instance: no")),
    ],
)
def test_nothing_expires_by_a_retention_that_cannot_be_read(
    newest: Image, situation: Situation
) -> None:
    verdicts = judged(newest, *(a_point(day) for day in range(1, 400, 30)), situation=situation)
    assert not any(verdict.expired for verdict in verdicts.values())
    assert all("cannot be read" in verdict.reason for verdict in verdicts.values())


# ---------------------------------------------------------------- instances that are gone


def test_an_instance_that_is_gone_keeps_by_age_what_is_young_and_its_last_one() -> None:
    points = [a_point(day, retain="10d") for day in (5, 9, 11)]
    ended = Situation(ended=Ended(100 * DAY))
    assert expired(*points, situation=ended) == {"11"}
    assert expired(*points, situation=ended, now=NOW + 20 * DAY) == {"9", "11"}
    assert expired(*points, situation=ended, now=NOW + 95 * DAY) == {"5", "9", "11"}


def test_the_last_one_stays_until_final_retention_to_the_second() -> None:
    point, ended = a_point(0, retain="1d"), Situation(ended=Ended(30 * DAY))
    assert not expired(point, situation=ended, now=NOW + 30 * DAY - timedelta(seconds=1))
    verdicts = judged(point, situation=ended, now=NOW + 30 * DAY)
    assert verdicts["0"].expired
    assert verdicts["0"].is_last
    assert "last" in verdicts["0"].reason


def test_the_last_one_stays_for_ever_if_that_is_asked_for() -> None:
    ended = Situation(ended=Ended(None))
    assert not expired(a_point(0, retain="1d"), situation=ended, now=NOW + 3000 * DAY)


def test_one_of_many_is_not_the_last() -> None:
    verdicts = judged(*(a_point(day) for day in range(4)), situation=Situation(Retain(count=2)))
    assert not any(verdict.is_last for verdict in verdicts.values())


# ---------------------------------------------------------------- what cannot be launched


def test_a_pending_one_is_kept_and_takes_no_ones_place() -> None:
    points = [a_point(0, state="pending"), a_point(1), a_point(2), a_point(3)]
    assert expired(*points, situation=Situation(Retain(count=2))) == {"3"}


@pytest.mark.parametrize("state", ["available", "disabled"])
def test_what_cannot_be_launched_takes_no_ones_place_and_goes_when_it_would_have_gone(
    state: str,
) -> None:
    useless = a_point(1, state=state)
    damaged = {"ami-1"} if state == "available" else set()
    points = [a_point(0), useless, a_point(2), a_point(3)]
    situation = Situation(Retain(count=2))
    assert expired(*points, situation=situation, damaged=damaged) == {"3"}
    points.append(a_point(-1))
    assert expired(*points, situation=situation, damaged=damaged, now=NOW + DAY) == {
        *("1", "2", "3")
    }


def test_the_last_available_one_stays_if_every_newer_one_is_of_no_use() -> None:
    newer = [a_point(0, state="pending"), a_point(1, state="disabled"), a_point(2)]
    points = [*newer, a_point(3, retain="1"), a_point(4)]
    kept = judged(*points, situation=Situation(Retain(count=1)), damaged={"ami-2"})
    assert not kept["3"].expired
    assert kept["4"].expired


def test_nothing_expires_if_nothing_can_be_launched() -> None:
    points = [a_point(0, state="disabled"), a_point(1, state="pending"), a_point(2)]
    assert not expired(*points, situation=Situation(Retain(count=5)), damaged={"ami-2"})


def test_a_disabled_last_one_of_an_instance_that_is_gone_goes_in_the_end() -> None:
    point = a_point(0, state="disabled")
    ended = Situation(ended=Ended(30 * DAY))
    assert not expired(point, situation=ended, now=NOW + 29 * DAY)
    assert expired(point, situation=ended, now=NOW + 31 * DAY) == {"0"}


@pytest.mark.parametrize("state", ["available", "disabled", "pending"])
def test_an_image_with_a_level_and_an_occurrence_is_a_recovery_point(state: str) -> None:
    assert is_point(a_point(0, state=state))


@pytest.mark.parametrize("state", ["failed", "error", "invalid", "deregistered", "transient", ""])
def test_an_image_in_another_state_is_none(state: str) -> None:
    assert not is_point(a_point(0, state=state))


def test_an_image_that_nothing_proves_gets_no_verdict_and_takes_no_ones_place() -> None:
    for unproven in (a_point(0, level=None), a_point(0, level="perfect")):
        assert not is_point(unproven)
        verdicts = judged(unproven, a_point(1), a_point(2), situation=Situation(Retain(count=2)))
        assert verdicts.keys() == {"1", "2"}
        assert not any(verdict.expired for verdict in verdicts.values())


def test_no_points_have_no_verdicts() -> None:
    assert judge([], OPEN, damaged=(), region="eu-west-1", zone=UTC_ZONE, now=NOW) == []
