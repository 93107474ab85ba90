"""Muting: the names of its rules, their time, and whose alarms they are."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillpoint.mute import MUTED_FOR, concerns_only, is_of, rule_name, window

EXECUTION = "i-0a-20261122T030000Z"
moments = st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 (the strategy adds the zone)


@given(st.integers(1, 99))
def test_a_rule_is_known_by_its_name(number: int) -> None:
    name = rule_name(EXECUTION, number)
    assert is_of(name, EXECUTION)
    assert len(name) <= 255
    assert not is_of(name, EXECUTION[:-1])
    assert not is_of(f"{name}x", EXECUTION)


@pytest.mark.parametrize("name", ["", "stillpoint-", f"stillpoint-{EXECUTION}.", EXECUTION])
def test_what_is_named_otherwise_is_somebody_elses(name: str) -> None:
    assert not is_of(name, EXECUTION)


@given(moments)
def test_a_window_begins_within_two_minutes_and_not_in_the_past(now: datetime) -> None:
    made = window(now)
    starts_at = datetime.strptime(made.expression, "at(%Y-%m-%dT%H:%M)").replace(tzinfo=UTC)
    assert timedelta(seconds=5) < starts_at - now <= timedelta(seconds=65)
    assert made.ends_at - starts_at == MUTED_FOR == timedelta(hours=2)
    assert made.duration == "PT2H"


@pytest.mark.parametrize(
    ("named", "concerned"),
    [
        ([], False),
        (["i-0a"], True),
        (["i-0a", "i-0a", "i-0b"], True),
        (["i-0a", "i-0c"], False),
        (["i-0c"], False),
    ],
)
def test_an_alarm_is_muted_if_it_is_about_nobody_else(named: list[str], concerned: bool) -> None:
    assert concerns_only(named, ["i-0a", "i-0b"]) == concerned
