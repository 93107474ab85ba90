from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillpoint.tags import (
    Cursor,
    Cycle,
    LastRecoveryPoint,
    Tag,
    compact,
    iso,
    parse_iso,
    portable,
    printable,
)
from tests.unit.builders import at

MOMENTS = st.datetimes(timezones=st.just(UTC))
SECONDS = MOMENTS.map(lambda moment: moment.replace(microsecond=0))
EXECUTIONS = st.from_regex(r"[A-Za-z0-9_-]{1,80}", fullmatch=True)


def test_every_key_has_the_prefix() -> None:
    assert all(tag.startswith("stillpoint:") for tag in Tag)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("plain Text 09+-=._:/@", "plain Text 09+-=._:/@"),
        ("cron(0 3 ? * MON *)", "cron_0 3 _ _ MON __"),
        ("서울 café", "서울 café"),
        ("line\nbreak\x00 'quoted', 💾", "line_break_ _quoted__ _"),
        ("", ""),
    ],
)
def test_a_portable_text_keeps_what_every_service_takes(text: str, kept: str) -> None:
    assert portable(text) == kept


@given(st.text(max_size=400))
def test_a_portable_text_fits_a_tag_and_stays_as_it_is(text: str) -> None:
    value = portable(text)
    assert len(value) == min(len(text), 256)
    assert portable(value) == value


@given(st.text(max_size=100))
def test_a_printable_text_is_short_and_on_one_line(text: str) -> None:
    value = printable(text)
    assert len(value) <= 40
    assert value.isprintable()


def test_a_long_text_is_shown_by_its_beginning() -> None:
    assert printable("x" * 50, 10) == "xxxxxxx..."
    assert printable("a\tb") == "a?b"


@given(MOMENTS)
def test_an_instant_survives_its_text_to_the_second(moment: datetime) -> None:
    assert parse_iso(iso(moment)) == moment.replace(microsecond=0)


def test_instants_are_written_in_utc() -> None:
    moment = datetime(2026, 11, 22, 12, 0, 0, 999, timezone(timedelta(hours=9)))
    assert iso(moment) == "2026-11-22T03:00:00Z"
    assert compact(moment) == "20261122T030000Z"


@pytest.mark.parametrize(
    "text",
    ["", "2026-11-22", "2026-11-22T03:00:00", "2026-13-22T03:00:00Z", "2026-11-22T03:00:00Z "],
)
def test_anything_else_is_no_instant(text: str) -> None:
    assert parse_iso(text) is None


def test_a_cursor_reads_as_the_occurrence_and_the_fingerprint() -> None:
    cursor = Cursor(at("2026-11-22 03:00"), "1a2b3c4d")
    assert cursor.render() == "2026-11-22T03:00:00Z 1a2b3c4d"
    assert Cursor.parse(cursor.render()) == cursor


def test_a_cycle_reads_as_the_execution_the_state_before_and_the_start() -> None:
    cycle = Cycle("i-0abc-20261122T030000Z", "running", at("2026-11-22 03:00:05"))
    assert cycle.render() == (
        "execution=i-0abc-20261122T030000Z before=running since=2026-11-22T03:00:05Z"
    )


def test_a_cursor_says_how_often_its_occurrence_has_failed_and_when_it_did_last() -> None:
    cursor = Cursor(at("2026-11-22 03:00"), "1a2b3c4d", 1, at("2026-11-22 03:25"))
    assert cursor.render() == "2026-11-22T03:00:00Z 1a2b3c4d failed=1 at=2026-11-22T03:25:00Z"
    assert Cursor.parse(cursor.render()) == cursor


@given(SECONDS, st.from_regex(r"[0-9a-f]{8}", fullmatch=True), st.integers(1, 9), SECONDS)
def test_a_cursor_survives_its_text(
    occurrence: datetime, fingerprint: str, failed: int, failed_at: datetime
) -> None:
    for cursor in (
        Cursor(occurrence, fingerprint),
        Cursor(occurrence, fingerprint, failed, failed_at),
    ):
        value = cursor.render()
        assert Cursor.parse(value) == cursor
        assert portable(value) == value


def test_a_cycle_says_when_people_were_last_told_that_the_instance_is_down() -> None:
    since, alerted = at("2026-11-22 03:00:05"), at("2026-11-22 03:04:00")
    cycle = Cycle("i-0abc-20261122T030000Z", "running", since, alerted)
    assert cycle.render() == (
        "execution=i-0abc-20261122T030000Z before=running since=2026-11-22T03:00:05Z"
        " alerted=2026-11-22T03:04:00Z"
    )
    assert Cycle.parse(cycle.render()) == cycle


def test_an_alert_at_no_possible_time_counts_as_none() -> None:
    cycle = Cycle.parse("execution=a before=running since=2026-11-22T03:00:05Z alerted=soon")
    assert cycle == Cycle("a", "running", at("2026-11-22 03:00:05"))


@given(EXECUTIONS, st.sampled_from(["running", "stopped"]), SECONDS, st.none() | SECONDS)
def test_a_cycle_survives_its_text(
    execution: str, state: str, since: datetime, alerted: datetime | None
) -> None:
    cycle = Cycle(execution, state, since, alerted)
    value = cycle.render()
    assert Cycle.parse(value) == cycle
    assert portable(value) == value


def test_a_recovery_point_reads_as_its_time_image_and_consistency() -> None:
    point = LastRecoveryPoint(at("2026-11-22 03:01:12"), "ami-0abc", "file-system")
    assert point.render() == "2026-11-22T03:01:12Z ami-0abc file-system"
    assert LastRecoveryPoint.parse(point.render()) == point


@given(st.text(max_size=256))
def test_hostile_values_are_read_without_an_exception(text: str) -> None:
    for parsed in (Cursor.parse(text), Cycle.parse(text), LastRecoveryPoint.parse(text)):
        assert parsed is None or parsed.render()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-22T03:00:00Z",
        "2026-11-22T03:00:00Z XYZ",
        "yesterday 1a2b3c4d",
        "  ",
        "2026-11-22T03:00:00Z 1a2b3c4d failed=1",
        "2026-11-22T03:00:00Z 1a2b3c4d failed=0 at=2026-11-22T03:25:00Z",
        "2026-11-22T03:00:00Z 1a2b3c4d failed=10 at=2026-11-22T03:25:00Z",
        "2026-11-22T03:00:00Z 1a2b3c4d failed=1 at=soon",
        "2026-11-22T03:00:00Z 1a2b3c4d failed=1 at=2026-11-22T03:25:00Z and more",
    ],
)
def test_an_unreadable_cursor_is_none(text: str) -> None:
    assert Cursor.parse(text) is None


@pytest.mark.parametrize("text", ["", "running", "execution=a before=b since=c"])
def test_an_unreadable_cycle_is_none(text: str) -> None:
    assert Cycle.parse(text) is None
