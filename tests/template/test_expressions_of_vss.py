"""A Windows guest whose VSS document fails: noticed at once, and not taken for one that is slow."""

import json
from typing import Any

import pytest

from sandbox.expressions import render
from sandbox.template import DEFINITION
from tests.template.asl import all_states
from tests.template.evaluation import CONTEXT, STATES, a_freeze, ago, chosen, member, value

WIN = member("i-0a", "freeze") | {"platform": "windows"}


def read(looks: int, *invocations: dict[str, Any]) -> dict[str, Any]:
    """Return what a look at the command makes of these invocations."""
    states = {"context": CONTEXT, "input": WIN, "result": {"CommandInvocations": list(invocations)}}
    variables = {"vss_failed_looks": looks}
    assigned: dict[str, Any] = render(STATES["ReadVssCommand"]["Assign"], variables, states)
    return assigned


def an_invocation(status: str, *outputs: str) -> dict[str, Any]:
    plugins = [{"Name": "runPowerShellScript", "Output": each} for each in outputs]
    return {"Status": status, "StatusDetails": status, "CommandPlugins": plugins}


def test_it_is_the_members_own_command_that_is_asked_about() -> None:
    freezes = [a_freeze("i-0b"), a_freeze("i-0a", vss=True)]
    states = {"context": CONTEXT, "input": WIN}
    arguments = render(STATES["ReadVssCommand"]["Arguments"], {"freezes": freezes}, states)
    assert arguments == {"CommandId": "command of i-0a", "InstanceId": "i-0a", "Details": True}


@pytest.mark.parametrize("status", ["Failed", "TimedOut", "Cancelled"])
def test_a_failure_is_counted_with_the_last_words_of_the_guest(status: str) -> None:
    assigned = read(0, an_invocation(status, "x" * 3000 + "no room for the shadow copy"))
    assert assigned["vss_failed_looks"] == 1
    assert assigned["vss_end"].startswith(f"{status}: xxx")
    assert assigned["vss_end"].endswith("no room for the shadow copy")
    assert len(assigned["vss_end"]) < 230
    assert read(1, an_invocation(status))["vss_failed_looks"] == 2


@pytest.mark.parametrize("status", ["Pending", "InProgress", "Delayed", "Success", "Cancelling"])
def test_what_has_not_failed_is_waited_for(status: str) -> None:
    assert read(1, an_invocation(status))["vss_failed_looks"] == 0


def test_a_command_that_is_not_shown_yet_has_not_failed() -> None:
    assert read(1)["vss_failed_looks"] == 0


@pytest.mark.parametrize(
    ("looks", "leads_to"), [(0, "WaitToFindImage"), (1, "WaitToFindImage"), (2, "CaptureFailed")]
)
def test_the_image_is_looked_for_once_more_before_a_failure_is_believed(
    looks: int, leads_to: str
) -> None:
    assert chosen("VssFailed?", {"vss_failed_looks": looks}) == leads_to


def test_the_failure_of_the_member_says_why() -> None:
    (rule,) = STATES["VssFailed?"]["Choices"]
    variables = {"vss_failed_looks": 2, "vss_end": "Failed: " + "no room " * 99}
    states = {"context": CONTEXT, "input": WIN}
    row = render(rule["Output"], variables, states)
    assert (row["instance_id"], row["error"]) == ("i-0a", "VssFailed")
    assert row["cause"].startswith("AWS's VSS document ended in the guest and made no image. Fail")
    assert len(row["cause"]) == 300


def test_only_a_windows_guest_that_makes_its_image_itself_is_asked_about() -> None:
    late = {"image_id": "", "capture_from": ago(seconds=60), "vss_failed_looks": 0}
    waiting = late | {"create_error": "VssImageNotMade"}
    assert chosen("ImageFound?", waiting) == "ReadVssCommand"
    assert chosen("ImageFound?", late | {"create_error": "Ec2.Ec2Exception"}) == "WaitToCreateImage"
    assert (
        value(
            STATES["MadeInTheGuest?"]["Choices"][0]["Condition"],
            {},
            input=WIN | {"platform": "linux"},
        )
        is False
    )


def test_whoever_cannot_be_asked_is_waited_for() -> None:
    (rule,) = STATES["ReadVssCommand"]["Catch"]
    assert (rule["ErrorEquals"], rule["Next"]) == (["States.ALL"], "WaitToFindImage")
    assert "ReadVssCommand" in all_states(json.loads(DEFINITION.read_text(encoding="utf-8")))
