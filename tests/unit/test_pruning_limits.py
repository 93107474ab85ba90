"""What keeps a recovery point from being deleted: holds, protection, and the limit."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillpoint.errors import TooManyDeletions
from stillpoint.pruning import (
    PROTECTED_BY_US,
    Situation,
    Verdict,
    check_limit,
    hold_on,
    is_protected_by_us,
    leave_to_sweep,
    protection_of,
)
from stillpoint.tags import Tag
from stillpoint.zones import zone_named
from tests.unit.builders import at
from tests.unit.pruned import NOW, UTC_ZONE, a_point, judged

# ---------------------------------------------------------------- holds


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("true", "it is held until the tag is removed"),
        (" TRUE ", "it is held until the tag is removed"),
        ("2026-11-01/2026-11-22", "it is held until 2026-11-23T00:00:00Z"),
        ("2026-11-22/2026-12-31", "it is held until 2027-01-01T00:00:00Z"),
        ("2026-11-22T11:59/2026-11-22T12:01", "it is held until 2026-11-22T12:01:00Z"),
        ("yes, please", "it is held: stillpoint:hold = yes, please"),
        ("", "it is held: stillpoint:hold = "),
        ("2026-12-31", "it is held: stillpoint:hold = 2026-12-31"),
        ("2026-11-30/2026-11-01", "it is held: stillpoint:hold = 2026-11-30/2026-11-01"),
        ("for\never", "it is held: stillpoint:hold = for?ever"),
    ],
)
def test_a_hold_keeps_and_so_does_one_that_cannot_be_understood(text: str, why: str) -> None:
    assert hold_on({Tag.HOLD: text}, UTC_ZONE, NOW) == why


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"hold": "true"},
        {Tag.HOLD: "false"},
        {Tag.HOLD: "2026-11-01/2026-11-21"},
        {Tag.HOLD: "2026-11-23/2026-11-30"},
        {Tag.HOLD: "2026-11-22T10:00/2026-11-22T12:00"},
    ],
)
def test_what_is_not_held_now_is_not_kept(tags: Mapping[str, str]) -> None:
    assert hold_on(tags, UTC_ZONE, NOW) == ""


def test_the_days_of_a_hold_are_those_of_the_zone() -> None:
    tags: dict[str, str] = {Tag.HOLD: "2026-11-01/2026-11-22"}
    late = at("2026-11-22 15:30")
    assert hold_on(tags, zone_named("Asia/Seoul"), late) == ""
    assert hold_on(tags, UTC_ZONE, late)


@given(st.text())
def test_any_text_either_holds_with_a_reason_in_one_line_or_does_not_hold(text: str) -> None:
    why = hold_on({Tag.HOLD: text}, UTC_ZONE, NOW)
    assert why.isprintable() or not why


# ---------------------------------------------------------------- protection


@pytest.mark.parametrize("protection", ["", "disabled"])
def test_an_unprotected_image_is_not_kept(protection: str) -> None:
    assert protection_of(a_point(0, protection=protection)) == ""


def test_our_own_protection_keeps_nothing() -> None:
    image = a_point(0, protection="enabled-without-cooldown", protected=PROTECTED_BY_US)
    assert is_protected_by_us(image)
    assert protection_of(image) == ""


@pytest.mark.parametrize(
    ("protection", "marked"),
    [
        ("enabled-without-cooldown", None),
        ("enabled-without-cooldown", ""),
        ("enabled-without-cooldown", "lock"),
        ("enabled-with-cooldown", None),
        ("enabled-with-cooldown", PROTECTED_BY_US),
        ("cooldown", PROTECTED_BY_US),
    ],
)
def test_somebody_elses_protection_keeps(protection: str, marked: str | None) -> None:
    tags = {} if marked is None else {"protected": marked}
    image = a_point(0, protection=protection, **tags)
    assert not is_protected_by_us(image)
    assert protection_of(image) == f"it is protected against deregistration ({protection})"


def test_a_mark_on_an_image_that_is_not_protected_means_nothing() -> None:
    image = a_point(0, protection="disabled", protected=PROTECTED_BY_US)
    assert not is_protected_by_us(image)
    assert protection_of(image) == ""


# ---------------------------------------------------------------- the limit


def test_as_many_as_the_limit_may_go() -> None:
    check_limit(["i-0a"] * 60 + ["i-0b"] * 40, 100)
    check_limit([], 1)


def test_one_more_than_the_limit_is_too_many() -> None:
    with pytest.raises(TooManyDeletions) as halted:
        check_limit(["i-0a"] * 61 + ["i-0b"] * 40, 100)
    error = halted.value
    assert (error.planned, error.limit) == (101, 100)
    assert error.by_instance == {"i-0a": 61, "i-0b": 40}
    assert str(error) == (
        "101 recovery points would be deleted and at most 100 may be; nothing was deleted."
        " By instance: i-0a: 61, i-0b: 40"
    )


def test_the_message_names_the_instances_that_would_lose_most() -> None:
    with pytest.raises(TooManyDeletions) as halted:
        check_limit([f"i-{number:02}" for number in range(14) for _ in range(number + 1)], 1)
    message = str(halted.value)
    assert "By instance: i-13: 14, i-12: 13, " in message
    assert message.endswith("i-04: 5 and 4 more")


@given(st.lists(st.sampled_from(["i-0a", "i-0b", "i-0c", ""]), min_size=2, max_size=30))
def test_the_counts_of_the_limit_add_up(instance_ids: list[str]) -> None:
    check_limit(instance_ids, len(instance_ids))
    with pytest.raises(TooManyDeletions) as halted:
        check_limit(instance_ids, len(instance_ids) - 1)
    assert halted.value.planned == sum(halted.value.by_instance.values()) == len(instance_ids)


def test_what_expired_and_is_not_spared_goes() -> None:
    image = a_point(0)
    assert Verdict(image, "eu-west-1", expired=True, reason="old").goes
    assert not Verdict(image, "eu-west-1", expired=True, reason="old", spared="held").goes
    assert not Verdict(image, "eu-west-1", expired=False, reason="new").goes
    assert Verdict(image, "eu-west-1", expired=False, reason="new").instance_id == "i-0a"


CHANGED = "its retention was changed: left to the daily sweep"


def a_verdict(
    days_ago: float,
    retain: str | None,
    *,
    expired: bool = True,
    region: str = "eu-west-1",
    instance: str = "i-0a",
) -> Verdict:
    """Return a verdict on a point that was made so many days ago under a retention."""
    image = a_point(days_ago, retain=retain)
    image = replace(image, tags={**image.tags, Tag.INSTANCE: instance})
    return Verdict(image, region, expired=expired, reason="why")


def left_to_the_sweep(*verdicts: Verdict) -> list[bool]:
    """Return of each verdict whether it is left to the sweep; nothing else of it may change."""
    left = leave_to_sweep(verdicts)
    assert [replace(verdict, spared="") for verdict in left] == [
        replace(verdict, spared="") for verdict in verdicts
    ]
    assert {verdict.spared for verdict in left} <= {"", CHANGED}
    return [verdict.spared == CHANGED for verdict in left]


def test_after_a_backup_what_was_made_under_the_newest_points_retention_goes() -> None:
    newest = a_verdict(0, "2", expired=False)
    assert not any(left_to_the_sweep(newest, *(a_verdict(day, "2") for day in range(2, 99))))


@pytest.mark.parametrize("older", ["5", "02", " 2", "", None, "nonsense"])
def test_what_was_made_under_another_is_left_to_the_sweep(older: str | None) -> None:
    verdicts = [a_verdict(0, "2", expired=False), a_verdict(2, "2"), a_verdict(3, older)]
    assert left_to_the_sweep(*verdicts) == [False, False, True]
    assert left_to_the_sweep(*reversed(verdicts)) == [True, False, False]


def test_what_does_not_expire_or_is_spared_already_keeps_its_reason() -> None:
    kept = a_verdict(1, "5", expired=False)
    held = replace(a_verdict(2, "5"), spared="it is held")
    assert leave_to_sweep([a_verdict(0, "2", expired=False), kept, held])[1:] == [kept, held]


def test_the_newest_point_is_that_of_the_instance_in_the_region() -> None:
    here = [a_verdict(0, "2", expired=False), a_verdict(1, "5")]
    there = [a_verdict(day, "5", region="us-east-1", expired=day > 1) for day in (1, 2)]
    another = [a_verdict(day, "7", instance="i-0b", expired=day > 1) for day in (1, 2)]
    assert left_to_the_sweep(*here, *there, *another) == [False, True, *[False] * 4]


def test_what_cannot_be_read_on_an_image_is_said_and_what_the_tags_say_is_said_elsewhere() -> None:
    on_image = judged(a_point(0, retain="soon"), a_point(1))
    assert all(verdict.unreadable for verdict in on_image.values())
    on_instance = judged(a_point(0), situation=Situation(unreadable="nonsense"))
    assert not any(verdict.unreadable for verdict in on_instance.values())
    assert not any(verdict.unreadable for verdict in judged(a_point(0)).values())
