"""The expressions of Prepare and Quiesce are right, and all of them parse."""

import json
from datetime import UTC, datetime, timedelta

import jsonata
import pytest

from sandbox.expressions import render
from sandbox.template import DEFINITION
from tests.template.asl import expressions
from tests.template.evaluation import (
    CAUGHT,
    CONTEXT,
    EARLIER,
    SIZES,
    STATES,
    ago,
    chosen,
    member,
    status,
    statuses,
    value,
)


@pytest.mark.parametrize("name", STATES)
def test_every_expression_of_the_state_parses(name: str) -> None:
    fields = {key: each for key, each in STATES[name].items() if key != "ItemProcessor"}
    for text in expressions(fields):
        assert jsonata.Jsonata.jsonata(text) is not None


def test_no_text_only_looks_like_an_expression() -> None:
    written = DEFINITION.read_text(encoding="utf-8")
    assert len(list(expressions(STATES))) > 100
    for mark in ("{%", "%}"):
        assert written.count(mark) == len(list(expressions(json.loads(written))))


@SIZES
def test_prepare_keeps_its_answer_as_lists(ids: list[str]) -> None:
    assign = STATES["PrepareBackup"]["Assign"]
    payload = {
        "members": [member(i) for i in ids],
        "refusals": [{"code": i} for i in ids],
        "warnings": [{"code": i} for i in ids],
    }
    for name, expected in payload.items():
        assert value(assign[name], result={"Payload": payload}) == expected


def test_an_error_of_prepare_keeps_the_planned_members_and_a_cause_of_bounded_length() -> None:
    assign = render(
        STATES["PrepareBackup"]["Catch"][0]["Assign"],
        {},
        {"context": CONTEXT, "errorOutput": CAUGHT},
    )
    assert assign["members"] == CONTEXT["Execution"]["Input"]["members"]
    assert (assign["refusals"], assign["warnings"]) == ([], [])
    (failure,) = assign["failures"]
    assert (failure["phase"], failure["error"]) == ("prepare", "Ec2.Ec2Exception")
    assert len(failure["cause"]) == 300


def test_prepare_sets_the_same_variables_whether_it_succeeds_or_fails() -> None:
    state = STATES["PrepareBackup"]
    assert state["Assign"].keys() == state["Catch"][0]["Assign"].keys()


@pytest.mark.parametrize("isolates", [True, False])
@SIZES
def test_one_refusal_refuses_the_group(ids: list[str], isolates: bool) -> None:
    refusals = [{"instance_id": i} for i in ids]
    otherwise = "IsolateMembers" if isolates else "StopMembers"
    expected = "CompleteBackup" if ids else otherwise
    assert chosen("Refused?", {"refusals": refusals, "isolates": isolates}) == expected


@SIZES
def test_only_running_members_whose_method_is_stop_are_stopped_in_their_order(
    ids: list[str],
) -> None:
    others = [member("i-1a", "reboot"), member("i-1b", "none"), member("i-1c", "stop", "stopped")]
    members = [*others, *(member(i) for i in ids)]
    assert value(STATES["StopMembers"]["Items"], {"members": members}) == [member(i) for i in ids]


@SIZES
def test_a_stop_that_was_refused_becomes_a_failure_beside_those_before(ids: list[str]) -> None:
    assign = STATES["StopMembers"]["Assign"]
    outcomes = [
        {"instance_id": "i-2a", "requested_at": "2026-11-22T03:00:01.000Z"},
        *({"instance_id": i, "error": "Ec2.Ec2Exception", "cause": "no"} for i in ids),
    ]
    refused = [
        {"phase": "quiesce", "instance_id": i, "error": "Ec2.Ec2Exception", "cause": "no"}
        for i in ids
    ]
    for before in ([], EARLIER):
        found = value(assign["failures"], {"failures": before}, result=outcomes)
        assert found == before + refused
    assert value(assign["stops"], result=outcomes) == outcomes
    assert value(assign["stops"], result=[]) == []


def test_a_group_is_captured_at_once_if_nothing_has_to_stop() -> None:
    given = {"failures": [], "stops": [], "members": [member("i-0a", "none")]}
    assert chosen("StopsAccepted?", given) == "CaptureMembers"
    assert chosen("StopsAccepted?", given | {"stops": [{}]}) == "WaitForStop"
    assert chosen("StopsAccepted?", given | {"failures": [{}]}) == "BeginResume"
    assert chosen("StopsAccepted?", given | {"failures": [{}], "stops": [{}]}) == "BeginResume"


@SIZES
def test_one_look_asks_for_every_instance_that_was_stopped(ids: list[str]) -> None:
    asked = STATES["DescribeStopping"]["Arguments"]["InstanceIds"]
    assert value(asked, {"stops": [{"instance_id": i} for i in ids]}) == ids


@SIZES
def test_an_instance_is_at_rest_since_it_was_first_seen_stopped(ids: list[str]) -> None:
    assign = STATES["DescribeStopping"]["Assign"]
    result = statuses(status("i-9a", "stopping"), *(status(i, "stopped") for i in ids))
    seen = value(assign["stopped_at"], {"stopped_at": {}}, result=result)
    assert seen.keys() == set(ids)
    for moment in seen.values():
        assert abs(datetime.now(UTC) - datetime.fromisoformat(moment)) < timedelta(minutes=1)
    earlier = dict.fromkeys(ids, "2026-11-22T03:00:20.000Z")
    assert value(assign["stopped_at"], {"stopped_at": earlier}, result=result) == earlier


def test_what_was_seen_stopped_is_kept_beside_what_is_seen_now() -> None:
    seen = value(
        STATES["DescribeStopping"]["Assign"]["stopped_at"],
        {"stopped_at": {"i-0a": "2026-11-22T03:00:20.000Z"}},
        result=statuses(status("i-0a", "stopped"), status("i-0b", "stopped")),
    )
    assert seen.keys() == {"i-0a", "i-0b"}
    assert seen["i-0a"] == "2026-11-22T03:00:20.000Z"


@pytest.mark.parametrize("state", ["DescribeStopping", "DescribeStarting"])
@pytest.mark.parametrize("fate", ["shutting-down", "terminated"])
@SIZES
def test_an_instance_that_is_terminated_is_gone(ids: list[str], fate: str, state: str) -> None:
    result = statuses(status("i-9a", "stopped"), *(status(i, fate) for i in ids))
    assert value(STATES[state]["Assign"]["gone"], {"gone": []}, result=result) == ids


@pytest.mark.parametrize(
    ("stopped", "gone", "minutes", "leads_to"),
    [
        ([], [], 0, "WaitForStop"),
        (["i-0a"], [], 0, "WaitForStop"),
        (["i-0a", "i-0b"], [], 0, "CaptureMembers"),
        (["i-0a", "i-0b"], [], 21, "CaptureMembers"),
        (["i-0a"], [], 19, "WaitForStop"),
        (["i-0a"], [], 21, "BeginResume"),
        ([], [], 21, "BeginResume"),
        (["i-0a"], ["i-0b"], 0, "BeginResume"),
        (["i-0a", "i-0b"], ["i-0b"], 0, "BeginResume"),
    ],
)
def test_a_group_is_captured_only_when_every_member_was_seen_stopped(
    stopped: list[str], gone: list[str], minutes: int, leads_to: str
) -> None:
    variables = {
        "stops": [{"instance_id": "i-0a"}, {"instance_id": "i-0b"}],
        "stopped_at": dict.fromkeys(stopped, ago()),
        "gone": gone,
        "quiesce_from": ago(minutes=minutes),
        "members": [member("i-0a"), member("i-0b")],
    }
    assert chosen("AllStopped?", variables) == leads_to


@SIZES
def test_a_stop_that_takes_too_long_is_a_failure_of_each_instance_that_still_runs(
    ids: list[str],
) -> None:
    variables = {
        "failures": [],
        "stops": [{"instance_id": i} for i in ["i-9a", *ids]],
        "stopped_at": {"i-9a": ago()},
    }
    (late,) = (r for r in STATES["AllStopped?"]["Choices"] if "StopTimedOut" in str(r))
    failures = value(late["Assign"]["failures"], variables)
    assert [(f["instance_id"], f["error"]) for f in failures] == [(i, "StopTimedOut") for i in ids]


@SIZES
def test_an_instance_that_is_gone_is_a_failure_of_its_own(ids: list[str]) -> None:
    (gone,) = (r for r in STATES["AllStopped?"]["Choices"] if "InstanceGone" in str(r))
    failures = value(gone["Assign"]["failures"], {"failures": [], "gone": ids})
    assert [(f["instance_id"], f["error"]) for f in failures] == [(i, "InstanceGone") for i in ids]
