"""The expressions with which members rejoin, and are released, are right."""

import pytest

from sandbox.expressions import render
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
    ("due", "leads_to"), [(True, "RejoinMembers"), (False, "ReleaseInstances")]
)
def test_only_what_was_isolated_or_frozen_has_to_rejoin(due: bool, leads_to: str) -> None:
    assert chosen("AnyToRejoin?", {"rejoins_due": due}) == leads_to


@SIZES
def test_only_members_that_are_back_rejoin(ids: list[str]) -> None:
    freezes = [a_freeze(i) for i in ids]
    variables = {
        "members": [member("i-9a"), member("i-9b"), *(member(i) for i in ids)],
        "gone": ["i-9a"],
        "failures": [
            {"error": "InstanceStranded", "instance_id": "i-9b"},
            {"error": "ImageFailed", "instance_id": "i-0a"},
        ],
        "freezes": freezes,
        "undos": dict.fromkeys(ids, "scripts"),
        "rejoin_from": ago(minutes=2),
    }
    payload = render(
        STATES["RejoinMembers"]["Arguments"]["Payload"], variables, {"context": CONTEXT}
    )
    assert payload["instance_ids"] == ids
    assert payload["freezes"] == freezes
    assert payload["undos"] == variables["undos"]
    assert payload["since"] == variables["rejoin_from"]
    assert payload["backup"] == CONTEXT["Execution"]["Input"]
    # If the function fails for good, nobody knows that anything is undone.
    assert caught("RejoinMembers", variables)["unjoined"] == ids


@SIZES
def test_what_has_become_of_freezes_and_scripts_is_kept(ids: list[str]) -> None:
    payload = {
        "unjoined": ids,
        "thaws": {i: {"exit_code": 0} for i in ids},
        "scripts": {i: {"pre": "succeeded", "post": "none", "post_exit": None} for i in ids},
    }
    found = answered("RejoinMembers", payload, {})
    assert found["unjoined"] == ids
    assert found["rejoins"] == {"thaws": payload["thaws"], "scripts": payload["scripts"]}


@pytest.mark.parametrize(
    ("status", "minutes", "leads_to"),
    [
        ("rejoined", 0, "AnyToRelease?"),
        ("rejoined", 200, "AnyToRelease?"),
        ("failed", 31, "AnyToRelease?"),
        ("waiting", 0, "WaitToRejoin"),
        ("waiting", 119, "WaitToRejoin"),
        ("waiting", 121, "AnyToRelease?"),
    ],
)
def test_the_return_is_waited_for_until_the_function_or_the_deadline_ends_it(
    status: str, minutes: int, leads_to: str
) -> None:
    variables = {"rejoin_from": ago(minutes=minutes), "failures": []}
    assert chosen("Rejoined?", variables, input={"status": status}) == leads_to


@SIZES
def test_failures_of_the_return_stand_beside_those_before(ids: list[str]) -> None:
    (over, late) = STATES["Rejoined?"]["Choices"]
    failures = [{"error": "NotBackInService", "instance_id": i} for i in ids]
    ended = {"status": "failed", "failures": failures}
    found = value(over["Assign"]["failures"], {"failures": EARLIER}, input=ended)
    assert found == EARLIER + failures
    waiting = {"status": "waiting", "failures": failures}
    *before, failure = value(late["Assign"]["failures"], {"failures": EARLIER}, input=waiting)
    assert (before, failure["error"]) == (EARLIER, "NotBackInService")


def test_an_instance_is_released_with_all_that_its_tags_say_of_the_backup() -> None:
    tags = STATES["ReleaseInstances"]["Arguments"]["Tags"]
    assert {tag["Key"] for tag in tags} == {"stillpoint:cycle", "stillpoint:undo"}


def test_nothing_rejoins_after_its_cycle_tag_is_gone() -> None:
    # Systems Manager reaches only what carries it, and the recovery finds nothing else.
    last = STATES["ReleaseInstances"]
    followers = {last["Next"], *(rule["Next"] for rule in last["Catch"])}
    assert followers == {"CompleteBackup"}


@SIZES
def test_what_has_to_be_undone_is_remembered_whatever_becomes_of_the_tags(ids: list[str]) -> None:
    payload = {
        "members": [member(i) | {"undo": f"muted {i}"} for i in ids],
        "refusals": [],
        "warnings": [],
        "isolates": True,
        "rejoins": True,
    }
    found = answered("PrepareBackup", payload, {})
    assert found["undos"] == {i: f"muted {i}" for i in ids}
    assert caught("PrepareBackup", {})["undos"] == {}


@pytest.mark.parametrize(
    ("due", "running", "gone", "leads_to"),
    [
        (True, ["i-0a"], [], "RejoinThoseBack"),
        (True, [], [], "WaitToStartAgain"),
        (True, ["i-0a"], ["i-0a"], "WaitToStartAgain"),
        (False, ["i-0a"], [], "WaitToStartAgain"),
    ],
)
def test_a_member_that_does_not_start_keeps_no_other_out_of_service(
    due: bool, running: list[str], gone: list[str], leads_to: str
) -> None:
    variables = {
        "members": [member("i-0a"), member("i-0b")],
        "rejoins_due": due,
        "running_at": dict.fromkeys(running, ago()),
        "gone": gone,
    }
    assert chosen("AnyToRejoinMeanwhile?", variables) == leads_to


def test_between_two_rounds_only_those_that_run_rejoin_and_nothing_holds_up_the_next_start() -> (
    None
):
    variables = {
        "members": [member("i-0a"), member("i-0b"), member("i-0c", "freeze"), member("i-0d")],
        "running_at": {"i-0a": ago()},
        "gone": ["i-0d"],
        "freezes": [],
        "undos": {},
        "resume_from": ago(minutes=2),
    }
    state = STATES["RejoinThoseBack"]
    payload = render(state["Arguments"]["Payload"], variables, {"context": CONTEXT})
    assert payload["instance_ids"] == ["i-0a", "i-0c"]
    assert [rule["Next"] for rule in state["Catch"]] == [state["Next"]] == ["WaitToStartAgain"]
    assert "Retry" not in state
