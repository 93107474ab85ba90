"""The largest record of a backup: 40 members of which everything fails, in long words.

A payload of a task, and so the record that CompleteBackup is given, holds at most 262,144 bytes
(Step Functions Developer Guide, "Quotas").
"""

import json
from typing import Any

import pytest

from sandbox.expressions import render
from stillpoint.isolation import LONGEST_CAUSE, MOST_TARGETS, Registration, Undo
from tests.template.evaluation import CONTEXT, STATES

LIMIT = 262_144
MEMBERS = 40
NAME = "\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 256
LONG = "x" * 5000
MOMENT = "2026-11-22T03:00:00.000Z"
IDS = [f"i-{number:017x}" for number in range(MEMBERS)]
UNDO = Undo(
    standby=True,
    scripts=True,
    muted=True,
    targets=tuple(Registration(f"{n:016x}", 65535, was_healthy=True) for n in range(MOST_TARGETS)),
)


def size(document: object) -> int:
    """Return how many bytes a document is as JSON."""
    return len(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode())


def backup() -> dict[str, Any]:
    """Return the execution's input, with everything that tags can say at its longest."""
    row = {
        "name": NAME,
        "method": "freeze",
        "order": 999,
        "retain": "365d 52w 60m 10y",
        "accept": ["auto-scaling", "hibernation", "instance-store", "pre-script-failed"],
        "copy_to": ["ap-southeast-1", "ap-southeast-2", "ap-northeast-3"],
        "time_zone": "America/Argentina/ComodRivadavia",
        "pre": "p" * 128,
        "post": "p" * 128,
    }
    return {
        "group_id": f"group-{'g' * 50}",
        "group": "g" * 50,
        "occurrence": "2026-11-22T03:00:00Z",
        "begins_at": "2026-11-22T03:00:00Z",
        "schedule": "s" * 256,
        "trigger": "schedule",
        "attempt": 3,
        "members": [{"instance_id": each} | row for each in IDS],
    }


def members() -> list[dict[str, Any]]:
    """Return what Prepare answers."""
    tags = {
        "stillpoint:stack": "s" * 128,
        "stillpoint:instance": IDS[0],
        "stillpoint:execution": "e" * 80,
        "stillpoint:occurrence": "2026-11-22T03:00:00Z",
    }
    return [
        {
            "instance_id": each,
            "name": NAME,
            "method": "freeze",
            "order": 999,
            "state_before": "running",
            "platform": "windows",
            "image_name": f"stillpoint-{each}-20261122T030000Z-3",
            "description": f"Made by Stillpoint of {each} for the occurrence 2026-11-22T03:00:00Z",
            "undo": UNDO.render(),
            "tags": [{"Key": key, "Value": tag} for key, tag in tags.items()],
        }
        for each in IDS
    ]


def failed(name: str) -> list[dict[str, Any]]:
    """Return what a state of a Map says of every member, whose call was refused in long words."""
    (rule,) = STATES[name]["Catch"]
    return [
        render(
            rule["Output"],
            {"image_id": "ami-" + "0" * 17, "create_error": "e" * 40, "create_cause": LONG[:300]},
            {
                "context": CONTEXT,
                "input": {"instance_id": each},
                "errorOutput": {"Error": "Ec2.Ec2Exception", "Cause": LONG},
            },
        )
        for each in IDS
    ]


def failures(phase: str, error: str, longest: int) -> list[dict[str, str]]:
    return [
        {"phase": phase, "instance_id": each, "error": error, "cause": LONG[:longest]}
        for each in IDS
    ]


def variables(first: list[dict[str, str]], **others: object) -> dict[str, Any]:
    """Return the state machine's variables after everything has failed that can fail together."""
    rejoined = [
        failure
        for error in ("NotBackInService", "PostScriptFailed", "TargetGroupGone")
        for failure in failures("resume", error, LONGEST_CAUSE)
    ]
    thaw: dict[str, object] = {"exit_code": 203, "from": 1795316400.123, "until": 1795316430.123}
    thaw |= {"now": 1795316400.0, "by": "auto-thaw", "failed": ["x" * 100] * 3}
    script = {"pre": "succeeded", "post": "failed", "post_exit": 202}
    freeze = {"command_id": "0" * 36, "vss": False, "sent_at": MOMENT, "seen_at": MOMENT}
    freeze |= {"guest_now": 1795316400.12, "from": 1795316402.12, "until": 1795316432.12}
    return {
        "members": members(),
        "refusals": [],
        "warnings": [],
        "stops": [{"instance_id": each, "requested_at": MOMENT} for each in IDS],
        "stopped_at": dict.fromkeys(IDS, MOMENT),
        "capture_from": MOMENT,
        "captures": [],
        "starts": failed("StartInstance"),
        "running_at": dict.fromkeys(IDS, MOMENT),
        "gone": [],
        "freezes": [{"instance_id": each} | freeze for each in IDS],
        "rejoins": {"thaws": dict.fromkeys(IDS, thaw), "scripts": dict.fromkeys(IDS, script)},
        "failures": first + rejoined,
        "checks": 0,
        **others,
    }


WORST = {
    "every stop is refused": lambda: variables(
        failures("quiesce", "Ec2.Ec2Exception", 300), stops=failed("StopInstance")
    ),
    "no guest freezes": lambda: variables(failures("capture", "FreezeFailed", LONGEST_CAUSE)),
    "no image can be looked at": lambda: variables(
        failures("capture", "Ec2.Ec2Exception", 300), captures=failed("DescribeSnapshots")
    ),
}


def record(state: dict[str, Any]) -> dict[str, Any]:
    """Return what CompleteBackup hands to its function."""
    execution = {"Name": "e" * 80, "Id": "arn:" + "a" * 200, "Input": backup()}
    states = {"context": CONTEXT | {"Execution": execution}}
    arguments: dict[str, Any] = render(STATES["CompleteBackup"]["Arguments"], state, states)
    return arguments


@pytest.mark.parametrize("case", WORST)
def test_forty_members_that_all_fail_in_long_words_leave_room_for_their_warnings(case: str) -> None:
    state = WORST[case]()
    assert size(state["failures"]) > MEMBERS * 4 * 300
    assert size(record(state)) < LIMIT - 40_000


@pytest.mark.parametrize("case", WORST)
def test_no_variable_is_larger_than_one_may_be(case: str) -> None:
    assert max(map(size, WORST[case]().values())) < LIMIT / 2


def test_what_the_first_state_is_given_and_what_prepare_answers_fit_together() -> None:
    assert size(backup()) + size(members()) < LIMIT / 1.5
