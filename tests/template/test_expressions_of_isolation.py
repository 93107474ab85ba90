"""The expressions around the stop are right: isolating, freezing, thawing and rejoining."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.expressions import render
from stillpoint.isolation import wait_before_next_look
from tests.template.evaluation import (
    CONTEXT,
    EARLIER,
    SIZES,
    STATES,
    a_freeze,
    ago,
    answered,
    caught,
    chosen,
    member,
    value,
)


@pytest.mark.parametrize(
    ("isolates", "leads_to"), [(True, "IsolateMembers"), (False, "StopMembers")]
)
def test_what_has_nothing_around_it_is_stopped_at_once(isolates: bool, leads_to: str) -> None:
    assert chosen("Refused?", {"refusals": [], "isolates": isolates}) == leads_to


def test_the_first_look_around_is_told_from_the_later_ones() -> None:
    began = ago(minutes=3)
    for checks in (0, 7):
        variables: dict[str, Any] = {
            "isolate_from": began,
            "undos": {"i-0a": "standby"},
            "looks_around": checks,
            "warnings": [],
            "failures": [],
        }
        payload = render(
            STATES["IsolateMembers"]["Arguments"]["Payload"], variables, {"context": CONTEXT}
        )
        assert payload == {
            "execution": CONTEXT["Execution"]["Name"],
            "backup": CONTEXT["Execution"]["Input"],
            "undos": {"i-0a": "standby"},
            "since": began,
            "checks": checks,
        }
        found = answered("IsolateMembers", {"warnings": [], "failures": []}, variables)
        assert found["looks_around"] == checks + 1


@SIZES
def test_warnings_and_failures_of_the_isolation_stand_beside_those_before(ids: list[str]) -> None:
    payload = {
        "warnings": [{"code": "pre-script-failed", "instance_id": i} for i in ids],
        "failures": [{"error": "PreScriptFailed", "instance_id": i} for i in ids],
    }
    for before in ([], EARLIER):
        variables = {"looks_around": 0, "warnings": before, "failures": before}
        found = answered("IsolateMembers", payload, variables)
        assert found["warnings"] == before + payload["warnings"]
        assert found["failures"] == before + payload["failures"]


@pytest.mark.parametrize(
    ("status", "minutes", "leads_to"),
    [
        ("isolated", 0, "StopMembers"),
        ("isolated", 91, "StopMembers"),
        ("failed", 0, "AnyToRejoin?"),
        ("failed", 91, "AnyToRejoin?"),
        ("waiting", 0, "WaitToIsolate"),
        ("waiting", 89, "WaitToIsolate"),
        ("waiting", 91, "AnyToRejoin?"),
    ],
)
def test_nothing_is_stopped_before_everything_is_isolated(
    status: str, minutes: int, leads_to: str
) -> None:
    variables = {"isolate_from": ago(minutes=minutes), "failures": []}
    assert chosen("Isolated?", variables, input={"status": status}) == leads_to


def test_an_isolation_that_takes_too_long_says_what_it_waited_for() -> None:
    (late,) = (rule for rule in STATES["Isolated?"]["Choices"] if "TimedOut" in str(rule))
    waiting = {"status": "waiting", "waiting": "i-0a: it drains from web:80"}
    *before, failure = value(late["Assign"]["failures"], {"failures": EARLIER}, input=waiting)
    assert before == EARLIER
    assert failure["error"] == "IsolationTimedOut"
    assert failure["cause"].endswith("i-0a: it drains from web:80")


@pytest.mark.parametrize("name", ["IsolateMembers", "FreezeMembers", "RejoinMembers"])
def test_a_function_that_fails_for_good_is_a_failure_with_a_cause_of_bounded_length(
    name: str,
) -> None:
    variables = {"failures": EARLIER, "members": [member("i-0a")], "gone": []}
    *before, failure = caught(name, variables)["failures"]
    assert before == EARLIER
    assert (failure["error"], len(failure["cause"])) == ("Ec2.Ec2Exception", 300)


@pytest.mark.parametrize("name", ["WaitToIsolate", "WaitToRejoin"])
@given(st.timedeltas(timedelta(), timedelta(hours=2)))
def test_the_function_says_how_long_to_wait(name: str, elapsed: timedelta) -> None:
    seconds = wait_before_next_look(elapsed)
    found = value(STATES[name]["Seconds"], input={"wait_seconds": seconds})
    assert found == seconds
    assert 5 <= found <= 60


MIXED = [
    member("i-1a", "freeze", "stopped"),
    member("i-1b", "none"),
    member("i-1c"),
    member("i-1d", "reboot"),
]


@SIZES
def test_only_running_members_whose_method_is_freeze_are_frozen(ids: list[str]) -> None:
    frozen = [member(i, "freeze") for i in ids]
    variables = {"members": [*MIXED, *frozen]}
    payload = render(
        STATES["FreezeMembers"]["Arguments"]["Payload"], variables, {"context": CONTEXT}
    )
    assert payload["members"] == frozen


@SIZES
def test_members_are_frozen_when_all_that_stop_are_at_rest(ids: list[str]) -> None:
    members = [*MIXED, *(member(i, "freeze") for i in ids)]
    stops = [{"instance_id": "i-1c"}]
    then = "FreezeMembers" if ids else "CaptureMembers"
    without = {"failures": [], "stops": [], "members": members}
    assert chosen("StopsAccepted?", without) == then
    assert chosen("StopsAccepted?", without | {"stops": stops}) == "WaitForStop"
    assert chosen("StopsAccepted?", without | {"failures": EARLIER}) == "BeginResume"
    stopping = {
        "members": members,
        "stops": stops,
        "stopped_at": {},
        "gone": [],
        "failures": [],
        "quiesce_from": ago(minutes=1),
    }
    assert chosen("AllStopped?", stopping) == "WaitForStop"
    assert chosen("AllStopped?", stopping | {"stopped_at": {"i-1c": ago()}}) == then
    assert chosen("AllStopped?", stopping | {"gone": ["i-1c"]}) == "BeginResume"
    assert chosen("AllStopped?", stopping | {"quiesce_from": ago(minutes=21)}) == "BeginResume"


@SIZES
def test_a_group_of_which_a_member_is_not_frozen_is_not_captured(ids: list[str]) -> None:
    payload = {
        "freezes": [a_freeze(i) for i in ["i-9a", *ids]],
        "failures": [{"error": "FreezeFailed", "instance_id": i} for i in ids],
    }
    found = answered("FreezeMembers", payload, {"failures": []})
    assert found["freezes"] == payload["freezes"]
    assert found["failures"] == payload["failures"]
    assert chosen("Frozen?", found) == ("BeginResume" if ids else "CaptureMembers")


@SIZES
def test_what_is_frozen_is_kept_as_a_list(ids: list[str]) -> None:
    payload = {"freezes": [a_freeze(i) for i in ids], "failures": []}
    assert answered("FreezeMembers", payload, {"failures": []})["freezes"] == payload["freezes"]


@pytest.mark.parametrize("method", ["stop", "reboot", "freeze", "none"])
@pytest.mark.parametrize("platform", ["linux", "windows"])
@pytest.mark.parametrize("state_before", ["running", "stopped"])
def test_only_the_image_of_a_running_windows_that_is_frozen_is_made_in_the_guest(
    method: str, platform: str, state_before: str
) -> None:
    one = member("i-0a", method, state_before) | {"platform": platform}
    in_the_guest = (method, platform, state_before) == ("freeze", "windows", "running")
    expected = "FindImage" if in_the_guest else "CreateImage"
    assert chosen("MadeInTheGuest?", {}, input=one) == expected


def test_a_frozen_linux_is_not_rebooted() -> None:
    asked = STATES["CreateImage"]["Arguments"]["NoReboot"]
    assert value(asked, input=member("i-0a", "freeze")) is True


@pytest.mark.parametrize(
    ("image_id", "error", "seconds", "leads_to"),
    [
        ("ami-1", "VssImageNotMade", 600, "ReadVolumes"),
        ("ami-1", "Ec2.Ec2Exception", 600, "ReadVolumes"),
        ("", "VssImageNotMade", 0, "ReadVssCommand"),
        ("", "VssImageNotMade", 530, "ReadVssCommand"),
        ("", "VssImageNotMade", 550, "CaptureFailed"),
        ("", "Ec2.Ec2Exception", 0, "WaitToCreateImage"),
        ("", "Ec2.Ec2Exception", 170, "WaitToCreateImage"),
        ("", "Ec2.Ec2Exception", 190, "CaptureFailed"),
    ],
)
def test_what_the_guest_makes_is_only_looked_for_and_longer(
    image_id: str, error: str, seconds: int, leads_to: str
) -> None:
    variables = {
        "image_id": image_id,
        "create_error": error,
        "create_cause": "...",
        "capture_from": ago(seconds=seconds),
    }
    assert chosen("ImageFound?", variables, input=member("i-0a")) == leads_to


@pytest.mark.parametrize(
    ("frozen", "vss", "stopped", "leads_to"),
    [
        ([], [], False, "AnyToRejoin?"),
        ([], [], True, "StartMembers"),
        (["i-0a"], [], False, "ThawMembers"),
        (["i-0a"], [], True, "ThawMembers"),
        ([], ["i-0w"], False, "AnyToRejoin?"),
        ([], ["i-0w"], True, "StartMembers"),
        (["i-0a"], ["i-0w"], True, "ThawMembers"),
    ],
)
def test_the_frozen_are_thawed_before_the_stopped_start(
    frozen: list[str], vss: list[str], stopped: bool, leads_to: str
) -> None:
    variables = {
        "members": [
            *(member(i, "freeze") for i in [*frozen, *vss]),
            *([member("i-0b")] if stopped else []),
        ],
        "freezes": [*(a_freeze(i) for i in frozen), *(a_freeze(i, vss=True) for i in vss)],
        "gone": [],
    }
    assert chosen("AnyToThaw?", variables) == leads_to
    then = "StartMembers" if stopped else "AnyToRejoin?"
    assert chosen("AnyToStart?", variables) == then


@SIZES
def test_every_guest_that_was_frozen_is_asked_to_thaw_by_one_call(ids: list[str]) -> None:
    frozen = ["i-9a", *ids]
    freezes = [a_freeze("i-9w", vss=True), *(a_freeze(i) for i in frozen)]
    arguments = render(
        STATES["ThawMembers"]["Arguments"], {"freezes": freezes}, {"context": CONTEXT}
    )
    name = CONTEXT["Execution"]["Name"]
    assert arguments["InstanceIds"] == frozen
    assert arguments["Comment"] == f"{name} thaw"
    assert arguments["Parameters"] == {"executionId": [name], "command": ["thaw"]}
    assert arguments["TimeoutSeconds"] >= 30  # the least that SendCommand takes


def test_a_thaw_that_cannot_be_asked_for_holds_up_no_start() -> None:
    state = STATES["ThawMembers"]
    assert "Retry" not in state
    assert [rule["Next"] for rule in state["Catch"]] == [state["Next"]] == ["AnyToStart?"]
    assert state["TimeoutSeconds"] <= 10
