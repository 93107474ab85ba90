from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillpoint.isolation import (
    DONE,
    MOST_TARGETS,
    Progress,
    Registration,
    Undo,
    together,
    wait_before_next_look,
)
from stillpoint.tags import VALUE_LIMIT, portable

GROUPS = st.text("0123456789abcdef", min_size=16, max_size=16)
REGISTRATIONS = st.builds(Registration, GROUPS, st.none() | st.integers(1, 65535), st.booleans())
UNDOS = st.builds(
    Undo,
    standby=st.booleans(),
    scripts=st.booleans(),
    muted=st.booleans(),
    targets=st.lists(REGISTRATIONS, max_size=MOST_TARGETS).map(tuple),
)


@given(UNDOS)
def test_what_is_written_on_an_instance_is_read_back(undo: Undo) -> None:
    assert Undo.parse(undo.render()) == undo


@given(UNDOS)
def test_everything_that_may_have_to_be_undone_fits_a_tag_of_every_service(undo: Undo) -> None:
    value = undo.render()
    assert len(value) <= VALUE_LIMIT
    assert portable(value) == value


def test_the_value_can_be_read_by_people() -> None:
    targets = (
        Registration("73e2d6bc24d8a067", 80, True),
        Registration("0123456789abcdef", None, False),
    )
    undo = Undo(standby=True, scripts=True, muted=True, targets=targets)
    assert undo.render() == "standby scripts muted 73e2d6bc24d8a067:80+ 0123456789abcdef-"


def test_nothing_to_undo_is_said() -> None:
    assert not Undo()
    assert Undo().render() == "nothing"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "what",
        "standby what",
        "73e2d6bc24d8a067:80",
        ":80+",
        "standby,scripts",
        "standby nothing",
    ],
)
def test_what_cannot_be_read_is_not_taken_for_nothing(text: str) -> None:
    assert Undo.parse(text) is None


@given(st.text(max_size=300))
def test_no_text_makes_reading_fail(text: str) -> None:
    undo = Undo.parse(text)
    assert undo is None or Undo.parse(undo.render()) == undo


def test_steps_are_done_together_when_each_is_done() -> None:
    assert together(DONE, DONE) == DONE
    waiting = together(Progress(waiting="it drains"), DONE, Progress(waiting="it leaves"))
    assert (waiting.waiting, waiting.done) == ("it drains, it leaves", False)


def test_the_first_failure_counts_more_than_any_wait() -> None:
    refused = Progress(failure="MinSize", error="StandbyRefused")
    assert together(Progress(waiting="it drains"), refused, Progress(failure="other")) == refused


@given(st.integers(0, 10_000))
def test_looks_become_rarer_and_are_never_more_than_a_minute_apart(seconds: int) -> None:
    wait = wait_before_next_look(timedelta(seconds=seconds))
    assert 5 <= wait <= 60
    assert wait <= wait_before_next_look(timedelta(seconds=seconds + 60))


def test_what_is_lost_is_neither_waited_for_nor_forgotten() -> None:
    lost = Progress(lost="The group is gone.", error="TargetGroupGone")
    assert lost.done
    assert together(DONE, lost) == Progress(lost="The group is gone.")
    waiting = together(lost, Progress(waiting="it drains"))
    assert (waiting.done, waiting.waiting, waiting.lost) == (False, "it drains", lost.lost)
    failed = together(lost, Progress(failure="It is full.", error="RegistrationRefused"))
    assert (failed.failure, failed.error, failed.lost) == (
        *("It is full.", "RegistrationRefused"),
        lost.lost,
    )
