"""The sample events are what the state machine, EventBridge and people send."""

import json
from pathlib import Path
from typing import Any

import pytest

from stillpoint.plan import Backup, Member, Trigger
from stillpoint.policy import Method
from stillpoint.retain import Retain
from tests.functions.cloud import cloud_at
from tests.functions.fleet import launch_one, tag
from tests.functions.samples import EVENTS, sample
from tests.functions.stack import FUNCTIONS, Stack
from tests.unit.builders import at

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in EVENTS.glob("*.json"))
FUNCTION_OF = {
    "PrepareBackupFunctionArn": "prepare_backup",
    "IsolateInstancesFunctionArn": "isolate_instances",
    "FreezeInstancesFunctionArn": "freeze_instances",
    "RejoinInstancesFunctionArn": "rejoin_instances",
    "CompleteBackupFunctionArn": "complete_backup",
    "AlertStrandedFunctionArn": "alert_stranded",
}
ANSWERS: dict[str, dict[str, Any]] = {
    "complete_backup_succeeded": {"status": "failed", "error": "ImageMissing"},
    "complete_backup_failed": {"status": "failed", "error": "SnapshotFailed"},
    "complete_backup_refused": {"status": "refused", "error": "BackupRefused"},
    "alert_stranded": {"alerted": ["i-0a1b2c3d4e5f60003"]},
    # Of the instances in the events there is none: nothing can be isolated, and nothing is left.
    "isolate_instances": {"status": "failed"},
    "freeze_instances": {"freezes": []},
    "rejoin_instances": {"status": "rejoined"},
    "prune_recovery_points_dry_run": {"dry_run": True, "kept": 1},
    "prune_recovery_points_sweep": {"dry_run": False, "kept": 1},
    "prune_recovery_points_max_deletions": {"dry_run": False, "kept": 1},
    # Of the instance in the event there is no recovery point.
    "prune_recovery_points_backup_succeeded": {"dry_run": False, "kept": 0},
    "copy_recovery_points": {"started": [], "waiting": []},
    "copy_recovery_points_backup_succeeded": {"started": [], "waiting": []},
}
# Those that ask of EC2 what moto does not answer.
OF_RECOVERY_POINTS = ("prune_recovery_points", "copy_recovery_points")
# Those whose instances Systems Manager has to know, as moto does not.
OF_GUESTS = ("freeze_instances",)


def function_of(name: str) -> str:
    return next(function for function in FUNCTIONS if name.startswith(function))


def payloads() -> list[tuple[str, set[str]]]:
    """Return the functions that the state machine invokes, with the keys of what it sends."""
    text = (ROOT / "statemachine" / "backup.asl.json").read_text(encoding="utf-8")
    tasks = [
        state["Arguments"]
        for state in json.loads(text)["States"].values()
        if state.get("Resource", "").endswith(":states:::lambda:invoke")
    ]
    return [
        (FUNCTION_OF[arguments["FunctionName"].strip("${}")], set(arguments["Payload"]))
        for arguments in tasks
    ]


def test_there_is_a_sample_for_every_function() -> None:
    assert {function_of(name) for name in NAMES} == FUNCTIONS.keys()


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in NAMES
        if not name.startswith(("plan_backups", "recover_instances", *OF_RECOVERY_POINTS))
    ],
)
def test_a_sample_has_the_keys_that_the_state_machine_sends(name: str) -> None:
    assert (function_of(name), set(sample(name))) in payloads()


@pytest.mark.parametrize(
    "name", [n for n in NAMES if not n.startswith((*OF_RECOVERY_POINTS, *OF_GUESTS))]
)
def test_a_sample_is_understood_by_its_function(stack: Stack, name: str) -> None:
    answer = stack.invoke(function_of(name), sample(name), now=at("2026-11-22 04:00"))
    expected = ANSWERS.get(name, {})
    assert {key: answer[key] for key in expected} == expected


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith(OF_RECOVERY_POINTS)])
def test_a_sample_is_understood_by_a_function_of_recovery_points(name: str) -> None:
    with cloud_at(at("2026-11-22 04:00")) as cloud:
        image_id = cloud.recovery_point(cloud.launch())
        answer = cloud.invoke(function_of(name), sample(name))
        assert {key: answer[key] for key in ANSWERS[name]} == ANSWERS[name]
        assert image_id in cloud.images()


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith(OF_GUESTS)])
def test_a_sample_is_understood_by_a_function_of_guests(name: str) -> None:
    with cloud_at(at("2026-11-22 04:00")) as cloud:
        answer = cloud.invoke(function_of(name), sample(name))
        assert {key: answer[key] for key in ANSWERS[name]} == ANSWERS[name]
        assert [row["error"] for row in answer["failures"]] == ["FreezeFailed"] * 2


@pytest.mark.parametrize("function", OF_RECOVERY_POINTS)
def test_a_success_is_told_of_as_any_other_end_of_a_backup(function: str) -> None:
    detail = sample(f"{function}_backup_succeeded")["detail"]
    aborted = sample("recover_instances_execution_aborted")["detail"]
    assert detail.keys() == aborted.keys()
    assert detail["status"] == "SUCCEEDED"
    assert detail["input"] == aborted["input"]


def test_the_backup_in_the_samples_is_what_the_planner_writes() -> None:
    def member(number: int, name: str, accept: tuple[str, ...]) -> Member:
        instance_id = f"i-0a1b2c3d4e5f6000{number}"
        return Member(instance_id, name, Method.STOP, number, Retain(count=14), accept)

    backup = Backup(
        group_id="group-erp",
        group="erp",
        occurrence=at("2026-11-22 03:00"),
        schedule="daily 03:00 UTC",
        trigger=Trigger.SCHEDULE,
        members=(member(1, "erp-app", ()), member(2, "erp-db", ("public-ip",))),
        begins_at=at("2026-11-22 03:00:20"),
    )
    for name in ("prepare_backup", "complete_backup_succeeded"):
        assert sample(name)["execution"] == backup.execution_name
        assert backup.to_input().items() <= sample(name)["backup"].items()


def test_what_prepare_answers_is_what_complete_is_given(stack: Stack) -> None:
    event = sample("prepare_backup")
    for planned in event["backup"]["members"]:
        planned["instance_id"] = launch_one()
        tag([planned["instance_id"]], {"Name": planned["name"]})
    answered = stack.invoke("prepare_backup", event)["members"]
    recorded = sample("complete_backup_succeeded")["members"]
    for member, example in zip(answered, recorded, strict=True):
        text = json.dumps(example).replace(example["instance_id"], member["instance_id"])
        assert member == json.loads(text)


def test_every_sample_is_in_the_list_of_samples() -> None:
    listed = (EVENTS / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}.json`" in listed for name in NAMES)
