from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillpoint.recovery import SETTLED_AFTER, Step, must_alert, next_step, seconds_until_next_look
from stillpoint.tags import Cycle
from tests.unit.builders import at

SINCE, NOW = at("2026-11-22 03:00:05"), at("2026-11-22 03:10")
STATES = ["pending", "running", "stopping", "stopped", "shutting-down", "terminated"]
"""Every state of an instance (EC2 API Reference, InstanceState)."""
GONE = {"shutting-down", "terminated"}
ANY_STATE = st.sampled_from(STATES) | st.text(max_size=20)
MOMENTS = st.datetimes(max_value=datetime(9990, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def found(before: str, alerted_at: datetime | None = None) -> Cycle:
    """Return the cycle of a backup that found the instance in this state."""
    return Cycle("i-0a-20261122T030000Z", before, SINCE, alerted_at)


@pytest.mark.parametrize(
    ("before", "state", "settled", "step"),
    [
        ("running", "stopped", True, Step.START),
        ("running", "stopped", False, Step.START),
        ("running", "running", True, Step.RELEASE),
        ("running", "running", False, Step.WAIT),
        ("running", "stopping", True, Step.WAIT),
        ("running", "stopping", False, Step.WAIT),
        ("running", "pending", True, Step.WAIT),
        ("running", "pending", False, Step.WAIT),
        ("running", "terminated", True, Step.FORGET),
        ("running", "shutting-down", False, Step.FORGET),
        ("stopped", "stopped", True, Step.RELEASE),
        ("stopped", "stopped", False, Step.RELEASE),
        ("stopped", "running", True, Step.RELEASE),
        ("stopped", "pending", False, Step.RELEASE),
        ("stopped", "stopping", True, Step.RELEASE),
        ("stopped", "terminated", True, Step.FORGET),
    ],
)
def test_the_next_step_follows_from_the_state_before_and_now(
    before: str, state: str, settled: bool, step: Step
) -> None:
    assert next_step(found(before), state, settled=settled) is step


@given(ANY_STATE, st.booleans())
def test_one_that_was_running_is_released_only_if_it_is_surely_running(
    state: str, settled: bool
) -> None:
    step = next_step(found("running"), state, settled=settled)
    assert (step is Step.RELEASE) == (state == "running" and settled)


@given(ANY_STATE, st.booleans())
def test_one_that_was_running_and_is_stopped_is_always_started(state: str, settled: bool) -> None:
    step = next_step(found("running"), state, settled=settled)
    assert (step is Step.START) == (state == "stopped")


@given(ANY_STATE.filter(lambda state: state != "running"), ANY_STATE, st.booleans())
def test_one_that_was_not_running_before_is_never_started(
    before: str, state: str, settled: bool
) -> None:
    assert next_step(found(before), state, settled=settled) in {Step.RELEASE, Step.FORGET}


@given(ANY_STATE, ANY_STATE, st.booleans())
def test_only_one_that_is_gone_is_forgotten(before: str, state: str, settled: bool) -> None:
    step = next_step(found(before), state, settled=settled)
    assert (step is Step.FORGET) == (state in GONE)


@given(st.lists(st.sampled_from(["pending", "running", "stopping", "stopped"]), max_size=20))
def test_whatever_happens_to_one_that_was_running_it_ends_up_running(states: list[str]) -> None:
    """A start makes a stopped instance run; nothing is done about one that was let go."""
    cycle = found("running")
    released = False
    state = "stopped"
    for state in [*states, "stopped", "running"]:
        step = next_step(cycle, state, settled=True)
        released = released or step is Step.RELEASE
        if step is Step.RELEASE:
            break
        assert (step is Step.START) == (state == "stopped")
    assert released
    assert state == "running"


def test_people_are_told_at_first() -> None:
    assert must_alert(found("running"), NOW)


@pytest.mark.parametrize(
    ("minutes", "told"), [(0, False), (5, False), (59, False), (60, True), (90, True)]
)
def test_people_are_told_again_after_an_hour(minutes: int, told: bool) -> None:
    alerted = found("running", NOW - timedelta(minutes=minutes))
    assert must_alert(alerted, NOW) is told


@given(MOMENTS, st.integers(1, 30))
def test_sweeps_in_a_row_alert_about_once_an_hour(began: datetime, minutes: int) -> None:
    alerts = []
    cycle = found("running")
    for number in range(6 * 60 // minutes):
        now = began + timedelta(minutes=number * minutes)
        if must_alert(cycle, now):
            alerts.append(now)
            cycle = found("running", now)
    gaps = [later - earlier for earlier, later in pairwise(alerts)]
    assert alerts[0] == began
    assert all(timedelta(hours=1) <= gap <= timedelta(hours=1, minutes=minutes) for gap in gaps)


def test_an_execution_settles_before_the_next_sweep() -> None:
    assert timedelta() < SETTLED_AFTER < timedelta(minutes=5)


@pytest.mark.parametrize("dice", [0.0, 0.5, 1.0])
def test_without_throttling_the_next_look_is_after_five_seconds(dice: float) -> None:
    assert seconds_until_next_look(0, dice) == 5


def test_the_more_often_ec2_throttles_the_longer_and_the_less_in_step_it_is() -> None:
    longest = [seconds_until_next_look(throttled, 1.0) for throttled in range(5)]
    assert longest == [5, 15, 25, 25, 25]
    assert {seconds_until_next_look(throttled, 0.0) for throttled in range(99)} == {5}
