import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillpoint.freeze import FreezeAnswer, FreezeProof, FreezeWindow, prove
from stillpoint.tags import portable
from tests.unit.builders import at

SENT, SEEN = at("2026-11-22 03:00:10"), at("2026-11-22 03:00:13")
GUEST_NOW = 1_000_000.0  # the clock of the guest is wrong by decades
FREEZE: dict[str, Any] = {
    "instance_id": "i-0a",
    "command_id": "c-1",
    "sent_at": SENT.isoformat(),
    "seen_at": SEEN.isoformat(),
    "guest_now": GUEST_NOW,
    "from": GUEST_NOW + 5,
    "until": GUEST_NOW + 35,
    "filesystems": ["/data", "/"],
    "vss": False,
}
THAW: dict[str, Any] = {
    "exit_code": 0,
    "from": GUEST_NOW + 5.5,
    "until": GUEST_NOW + 35.5,
    "now": GUEST_NOW + 36,
    "by": "hold-over",
    "failed": [],
}
VSS = {"instance_id": "i-0a", "command_id": "c-1", "vss": True}


def test_a_freeze_is_only_certain_between_its_latest_begin_and_its_earliest_end() -> None:
    proof = prove(FREEZE, THAW)
    assert proof.problem == ""
    assert proof.window == FreezeWindow(at("2026-11-22 03:00:18.5"), at("2026-11-22 03:00:45.5"))


@given(
    st.floats(-1e6, 1e9),
    st.floats(0, 20),
    st.floats(0, 20),
    st.floats(0, 60),
    st.floats(2, 60),
    st.floats(-5, 120),
)
def test_whatever_the_guests_clock_shows_a_moment_in_the_window_was_in_the_freeze(  # noqa: PLR0917 (the dimensions)
    skew: float, delivery: float, report: float, lead: float, hold: float, moment: float
) -> None:
    read_at = SENT + timedelta(seconds=delivery)
    window = FreezeWindow.between(
        SENT,
        read_at + timedelta(seconds=report),
        now=skew,
        begin=skew + lead,
        end=skew + lead + hold,
    )
    started_at = read_at + timedelta(seconds=moment)
    if window.holds(started_at):
        inexact = 1e-4  # of a float
        assert lead - inexact <= moment
        assert int(moment) <= lead + hold + inexact


def test_a_start_time_may_be_cut_to_the_second() -> None:
    window = FreezeWindow(at("2026-11-22 03:00:18.5"), at("2026-11-22 03:00:45.5"))
    assert not window.holds(at("2026-11-22 03:00:18"))
    assert window.holds(at("2026-11-22 03:00:19"))
    assert window.holds(at("2026-11-22 03:00:44"))
    assert window.holds(at("2026-11-22 03:00:44.9"))
    assert not window.holds(at("2026-11-22 03:00:45"))  # it may have been 03:00:45.9


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"exit_code": 203, "by": "auto-thaw"}, "the guest had to thaw itself after 30 s"),
        (
            {"exit_code": 203, "failed": ["/data was not frozen any more"]},
            "its freeze did not hold to the end: /data was not frozen any more",
        ),
        (
            {"exit_code": 201, "from": None, "until": None, "failed": ["/x: busy"]},
            "its freeze never held: /x: busy",
        ),
        (
            {"exit_code": 201, "from": None, "until": None, "by": "asked"},
            "its freeze never held: it was called off",
        ),
        ({"exit_code": 204}, "the guest knows of no freeze: it may have been restarted"),
        ({"exit_code": 1}, "its thaw ended with the exit code 1"),
        ({"exit_code": None}, "how its freeze ended is not known"),
        ({"from": None}, "what the guest said of its freeze cannot be read"),
        ({"until": "soon"}, "what the guest said of its freeze cannot be read"),
        ({"until": GUEST_NOW + 5}, "what the guest said of its freeze cannot be read"),
        ({"until": GUEST_NOW + 1e9}, "what the guest said of its freeze cannot be read"),
        (
            {"until": GUEST_NOW + 9},
            "its freeze of 4 s was too short for how exactly it is known when it was",
        ),
    ],
)
def test_a_freeze_that_did_not_hold_proves_nothing(change: dict[str, Any], problem: str) -> None:
    assert prove(FREEZE, THAW | change) == FreezeProof(problem=problem)


def test_a_freeze_of_which_an_end_is_not_known_proves_nothing() -> None:
    assert prove(None, THAW).problem == "there is no proof that a freeze held"
    assert prove(FREEZE, None).problem == "how its freeze ended is not known"
    assert prove(FREEZE, {}).window is None


def test_vss_is_as_good_as_the_document_says() -> None:
    assert prove(VSS, {"vss": "Success"}) == FreezeProof(vss=True)
    failed = "the VSS document of AWS ended with the status Failed"
    assert prove(VSS, {"vss": "Failed"}) == FreezeProof(vss=True, problem=failed)
    assert prove(VSS, None).problem == "the VSS document of AWS ended with the status unknown"


@pytest.mark.parametrize("lost", ["sent_at", "seen_at", "guest_now"])
def test_a_row_that_is_none_of_ours_is_an_error(lost: str) -> None:
    with pytest.raises(KeyError, match=lost):
        prove({key: value for key, value in FREEZE.items() if key != lost}, THAW)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "exit_code": st.sampled_from([0, 201, 203, 204, -1, 7]) | st.none() | st.text(),
            "from": st.none() | st.floats() | st.text() | st.booleans(),
            "until": st.none() | st.floats() | st.text() | st.integers(),
            "by": st.none() | st.text(),
            "failed": st.none() | st.lists(st.text() | st.integers(), max_size=5),
        },
    )
)
def test_whatever_a_guest_says_either_proves_something_or_says_why_not(
    thaw: dict[str, Any],
) -> None:
    proof = prove(FREEZE, thaw)
    assert (proof.window is None) == bool(proof.problem)
    assert portable(proof.problem) == proof.problem
    assert len(proof.problem) <= 200


ANSWER = '{"now": 10.25, "from": 15.25, "until": 45.25, "filesystems": ["/"], "skipped": []}'


def test_an_answer_is_read_from_the_last_line() -> None:
    expected = FreezeAnswer(10.25, 15.25, 45.25, ("/",))
    assert FreezeAnswer.parse(f"{ANSWER}\n") == expected
    assert FreezeAnswer.parse(f"a word of the shell\n{ANSWER}\n") == expected


@pytest.mark.parametrize(
    "output",
    [
        "",
        "null",
        "[1]",
        "not JSON",
        ANSWER[:40],
        ANSWER.replace("15.25", "5.25"),
        ANSWER.replace("15.25", '"soon"'),
        ANSWER.replace("45.25", "Infinity"),
        ANSWER.replace("10.25", "NaN"),
        ANSWER.replace("10.25", "true"),
        ANSWER.replace('["/"]', '"/"'),
        json.dumps({"now": 1}),
    ],
)
def test_an_answer_that_cannot_be_read_is_none(output: str) -> None:
    assert FreezeAnswer.parse(output) is None
