"""What is told of an instance apart from its volumes: where it serves, what its guest does."""

from dataclasses import replace
from typing import Any

import pytest

from sandbox import around, demo
from sandbox.progress import Row, Watch
from sandbox.run import Report
from sandbox.session import Message
from tests.sandbox.told import OUTCOME

TRUTH: dict[str, Any] = {
    "auto_scaling_groups": [
        {"name": "workers", "members": {"i-1": "Standby"}},
        {"name": "others", "members": {"i-2": "InService"}},
    ],
    "target_groups": [
        {"name": "site", "targets": [{"instance_id": "i-1", "port": 80, "state": "healthy"}]},
        {"name": "admin", "targets": [{"instance_id": "i-2", "port": 80, "state": "initial"}]},
    ],
}


def guest(*events: tuple[str, int, dict[str, str]]) -> dict[str, Any]:
    """An instance with a history: what happened, at which second, and its details."""
    return {
        "events": [
            {"what": what, "at": f"2026-11-22T03:00:{second:02}.500Z", "by": "", **details}
            for what, second, details in events
        ]
    }


PRE = ("script_began", 1, {"stage": "pre-script"})
PRE_ENDED = ("script_ended", 3, {"stage": "pre-script", "exit_code": "0"})
POST_ENDED = ("script_ended", 9, {"stage": "post-script", "exit_code": "203"})
FROZEN: tuple[str, int, dict[str, str]] = ("guest_frozen", 4, {})
THAWED = ("guest_thawed", 34, {"by": "hold-over"})
DOWN: tuple[str, int, dict[str, str]] = ("guest_shut_down", 5, {})


def test_an_instance_serves_in_its_groups_alone() -> None:
    assert around.service(TRUTH, "i-1") == {"workers": "Standby", "site": "healthy"}
    assert around.in_words(around.service(TRUTH, "i-1")) == "workers Standby, site healthy"
    assert around.service({}, "i-1") == {}


def test_scripts_that_have_ended_are_told_with_their_exit_codes() -> None:
    assert around.scripts(guest(PRE, PRE_ENDED, POST_ENDED)) == "pre-script 0, post-script 203"
    assert around.scripts(guest(PRE)) == ""


def test_a_freeze_is_told_once_it_is_over() -> None:
    assert around.frozen(guest(FROZEN, THAWED)) == "30.0 s, ended by hold-over"
    assert around.frozen(guest(FROZEN)) == ""
    assert around.frozen(guest(("guest_thawed", 5, {"by": "failed"}))) == ""


@pytest.mark.parametrize(
    ("history", "now"),
    [
        ((), ""),
        ((PRE,), "pre-script"),
        ((PRE, PRE_ENDED), ""),
        ((PRE, PRE_ENDED, FROZEN), "frozen"),
        ((FROZEN, THAWED), ""),
        ((PRE, DOWN), ""),
    ],
)
def test_what_goes_on_in_a_guest_is_told_while_it_does(
    history: tuple[tuple[str, int, dict[str, str]], ...], now: str
) -> None:
    assert around.in_the_guest(guest(*history)) == now


def test_a_trail_begins_where_an_instance_served_and_repeats_nothing() -> None:
    watch = Watch()
    seen = ("initial", "healthy", "healthy", "draining", None, None, "initial", "healthy")
    for state in seen:
        service = {} if state is None else {"site": state}
        row = Row("web", "stop", "running", "", "", 0, "", "", service)
        watch._follow(row)
    assert watch.trails["web"] == {
        "site": ["healthy", "draining", "not registered", "initial", "healthy"]
    }
    assert watch.around(Row("web", "stop", "running", "", "", 0, "", "frozen")) == (
        "frozen, site healthy"
    )


def test_the_demo_tells_what_was_done_around_an_instance_and_what_was_not_is_left_out() -> None:
    outcome = replace(OUTCOME, scripts="pre-script 0", frozen="30.0 s, ended by asked")
    trails = {"web": {"site": ["healthy", "draining"], "quiet": ["healthy"]}}
    assert demo.around_lines(Report([outcome], [], [], []), trails) == [
        "web: in site: healthy, draining",
        "web: exit codes of its scripts: pre-script 0",
        "web: its file systems were frozen for 30.0 s, ended by asked",
    ]
    assert demo.around_lines(Report([OUTCOME], [], [], []), {}) == []


def test_the_demo_quotes_the_message_of_a_refusal() -> None:
    body = {"remedy": "Turn it off.", "instances": [{"name": "web", "why": "It is protected."}]}
    refused = Message("s", "t", {"event": "BackupRefused", "severity": "warning"}, body)
    other = Message("s", "t", {"event": "BackupFailed", "severity": "error"}, body)
    assert demo.refusal_lines(Report([], [refused, other], [], [])) == [
        "web: It is protected. What to do: Turn it off."
    ]
