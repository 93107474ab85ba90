"""Complete: what becomes of a backup, and who is told."""

from datetime import timedelta
from typing import Any

import pytest

from stillpoint.errors import AwsUnavailable, MalformedInput, MissingSetting
from stillpoint.tags import Cycle, Tag
from tests.functions.captured import CAPTURED, EXECUTION, SOON, STOPPED, a_captured, a_failure
from tests.functions.faults import refused, throttled
from tests.functions.fleet import launch, launch_one, own_tags_of, set_state, stop, tag, terminate
from tests.functions.samples import sample
from tests.functions.stack import Stack

OURS = Cycle(EXECUTION, "running", STOPPED).render()
THEIRS = Cycle("i-0a-20261121T030000Z", "running", STOPPED).render()


def test_a_backup_whose_images_are_available_has_succeeded(stack: Stack) -> None:
    backup = a_captured(stack)
    answer = backup.complete()
    assert answer == {
        "status": "succeeded",
        "recovery_points": [
            {
                "instance_id": backup.instance_ids[0],
                "image_id": backup.image_ids[0],
                "consistency": "file-system",
                "reason": "stopped in 27 s and every snapshot initiated after"
                " 2026-11-22T03:00:34Z and before the start at 2026-11-22T03:00:41Z",
                "downtime_seconds": 48.0,
            }
        ],
    }


def test_a_success_is_told_with_the_recovery_point_and_what_it_is_worth(stack: Stack) -> None:
    backup = a_captured(stack)
    backup.complete()
    (message,) = stack.messages()
    assert (message["event"], message["severity"]) == ("BackupSucceeded", "info")
    assert message["group"] == "erp"
    assert message["execution_arn"] == backup.event["execution_arn"]
    (row,) = message["instances"]
    assert (row["image_id"], row["consistency"]) == (backup.image_ids[0], "file-system")
    assert (row["state"], row["downtime_seconds"]) == ("running", 48.0)


def test_a_success_is_told_only_if_that_is_wanted(stack: Stack) -> None:
    backup = a_captured(stack)
    assert backup.complete(notify_success="false")["status"] == "succeeded"
    assert stack.messages() == []
    assert "recovery-point" in own_tags_of(backup.instance_ids[0])


def test_a_failure_is_told_whether_successes_are_wanted_or_not(stack: Stack) -> None:
    backup = a_captured(stack)
    backup.complete(notify_success="false", failures=[a_failure()])
    assert stack.events() == ["BackupFailed"]


def test_a_success_is_counted_with_its_downtime_and_time_to_available(stack: Stack) -> None:
    backup = a_captured(stack, 2)
    backup.complete(now=SOON + timedelta(minutes=4))
    (document,) = stack.metrics()
    (directive,) = document["_aws"]["CloudWatchMetrics"]
    assert directive["Dimensions"] == [["service"]]
    assert document["BackupSucceeded"] == [1.0]
    assert document["Downtime"] == [48.0, 48.0]
    assert document["TimeToAvailable"] == [266.0, 266.0]
    assert not any(each in str(document) for each in backup.instance_ids)


def test_a_backup_without_a_stop_has_no_downtime(stack: Stack) -> None:
    answer = a_captured(stack, method="reboot").complete()
    assert answer["recovery_points"][0]["downtime_seconds"] is None
    (document,) = stack.metrics()
    assert "Downtime" not in document


def test_a_success_takes_an_old_refusal_off_the_instance(stack: Stack) -> None:
    backup = a_captured(stack, problem="refused 2026-11-21T03:00:00Z: spot")
    backup.complete()
    assert "problem" not in own_tags_of(backup.instance_ids[0])


def test_a_success_leaves_a_problem_of_the_policy_to_the_planner(stack: Stack) -> None:
    backup = a_captured(stack, problem="policy: something is wrong")
    backup.complete()
    assert own_tags_of(backup.instance_ids[0])["problem"] == "policy: something is wrong"


def test_a_recovery_point_is_good_even_if_it_cannot_be_shown_on_the_instance(
    stack: Stack,
) -> None:
    backup = a_captured(stack)
    with refused("ec2", "CreateTags", "UnauthorizedOperation", about="recovery-point"):
        assert backup.complete()["status"] == "succeeded"
    assert stack.events() == ["BackupSucceeded"]


def test_while_an_image_is_pending_nothing_is_said(stack: Stack) -> None:
    backup = a_captured(stack, 2)
    backup.set_images("pending")
    assert backup.complete() == {"status": "pending", "wait_seconds": 120}
    assert stack.messages() == []
    assert stack.metrics() == []


@pytest.mark.parametrize(
    ("minutes", "seconds"), [(0, 120), (2, 120), (10, 600), (30, 1800), (600, 1800)]
)
def test_the_wait_for_an_image_grows_from_two_to_thirty_minutes(
    stack: Stack, minutes: int, seconds: int
) -> None:
    backup = a_captured(stack, image_state="pending")
    answer = backup.complete(now=STOPPED + timedelta(minutes=minutes))
    assert answer == {"status": "pending", "wait_seconds": seconds}


def test_one_pending_image_keeps_its_group_waiting(stack: Stack) -> None:
    backup = a_captured(stack, 2, image_state="pending")
    backup.set_images("available")
    pending = a_captured(stack, image_state="pending")
    event = backup.event | {
        key: [*backup.event[key], *pending.event[key]] for key in ("members", "captures", "stops")
    }
    event["backup"]["members"] += pending.event["backup"]["members"]
    assert stack.invoke("complete_backup", event, now=SOON)["status"] == "pending"


def test_an_image_may_take_a_day(stack: Stack) -> None:
    backup = a_captured(stack, image_state="pending")
    backup.complete()
    almost = CAPTURED + timedelta(hours=24)
    assert backup.complete(checks=90, now=almost)["status"] == "pending"
    answer = backup.complete(checks=91, now=almost + timedelta(seconds=1))
    assert (answer["status"], answer["error"]) == ("failed", "ImageTimedOut")
    assert "still pending after 24 hours" in answer["cause"]
    assert stack.events() == ["BackupFailed"]


@pytest.mark.parametrize("state", ["failed", "error", "invalid", "deregistered"])
def test_an_image_that_failed_fails_the_backup_with_ec2s_own_reason(
    stack: Stack, state: str
) -> None:
    backup = a_captured(stack)
    backup.set_images(state, "Server.InternalError: the snapshot limit")
    answer = backup.complete()
    assert (answer["status"], answer["error"]) == ("failed", "ImageFailed")
    assert f"is in state {state}. Server.InternalError: the snapshot limit" in answer["cause"]
    (message,) = stack.messages()
    assert backup.image_ids[0] in message["text"]
    assert "No instance is down because of this backup" in message["remedy"]
    assert own_tags_of(backup.instance_ids[0]).get("recovery-point") is None


def test_a_failure_is_told_at_once_and_does_not_wait_for_the_images(stack: Stack) -> None:
    backup = a_captured(stack, 2, image_state="pending")
    good, bad = backup.instance_ids
    answer = backup.complete(failures=[a_failure(bad)])
    assert answer == {
        "status": "failed",
        "error": "SnapshotFailed",
        "cause": "capture failed with SnapshotFailed: Snapshot in state error: s",
    }
    (message,) = stack.messages()
    assert (message["event"], message["severity"]) == ("BackupFailed", "error")
    whys = {row["instance_id"]: row["why"] for row in message["instances"]}
    assert whys[bad] == answer["cause"]
    assert "stopped in 27 s" in whys[good]
    (document,) = stack.metrics()
    assert document["BackupFailed"] == [1.0]


def test_a_failure_of_the_whole_group_is_told_once(stack: Stack) -> None:
    a_captured(stack, 2).complete(failures=[a_failure()])
    (message,) = stack.messages()
    assert message["why"] == "capture failed with SnapshotFailed: Snapshot in state error: s"


def test_an_instance_that_is_down_is_named_with_what_to_do(stack: Stack) -> None:
    backup = a_captured(stack)
    stop(backup.instance_ids[0])
    stranded = a_failure(backup.instance_ids[0], "resume") | {"error": "InstanceStranded"}
    backup.complete(failures=[stranded], running_at={})
    (message,) = stack.messages()
    assert f"Start web ({backup.instance_ids[0]}) now" in message["remedy"]
    assert message["instances"][0]["state"] == "stopped"


def test_one_that_was_stopped_before_is_not_called_down(stack: Stack) -> None:
    backup = a_captured(stack, before="stopped")
    backup.complete(failures=[a_failure()])
    assert "No instance is down" in stack.messages()[0]["remedy"]


def test_one_that_was_terminated_meanwhile_is_not_called_down(stack: Stack) -> None:
    backup = a_captured(stack)
    terminate(backup.instance_ids[0])
    backup.complete(failures=[a_failure()])
    (message,) = stack.messages()
    assert "No instance is down" in message["remedy"]
    assert message["instances"][0]["state"] == "terminated"


@pytest.mark.parametrize("state", ["running", "pending"])
def test_one_that_is_on_its_way_up_is_not_called_down(stack: Stack, state: str) -> None:
    backup = a_captured(stack)
    set_state(backup.instance_ids[0], state)
    backup.complete(failures=[a_failure()])
    assert "No instance is down" in stack.messages()[0]["remedy"]


def after_prepare_failed(*instance_ids: str) -> dict[str, Any]:
    """Return the record of a backup of which nothing but Prepare was tried."""
    event = sample("complete_backup_failed")
    planned = event["backup"]["members"][0]
    event["execution"] = EXECUTION
    event["backup"]["members"] = [planned | {"instance_id": each} for each in instance_ids]
    nothing: dict[str, Any] = {"captures": [], "stops": [], "stopped_at": {}, "running_at": {}}
    failures = [{"phase": "prepare", "error": "AwsRefused", "cause": "TagLimitExceeded"}]
    members = event["backup"]["members"]
    return event | nothing | {"members": members, "failures": failures}


def test_a_failure_of_prepare_releases_what_it_took_and_nothing_else(stack: Stack) -> None:
    ours, theirs, free = launch(3)
    tag([ours], {Tag.CYCLE: OURS})
    tag([theirs], {Tag.CYCLE: THEIRS})
    answer = stack.invoke("complete_backup", after_prepare_failed(ours, theirs, free))
    assert (answer["status"], answer["error"]) == ("failed", "AwsRefused")
    assert "cycle" not in own_tags_of(ours)
    assert own_tags_of(theirs)["cycle"] == THEIRS
    assert "cycle" not in own_tags_of(free)
    assert "No instance is down" in stack.messages()[0]["remedy"]


def test_a_cycle_tag_that_cannot_be_read_is_nobodys_to_release(stack: Stack) -> None:
    odd = launch_one(tags={Tag.CYCLE: "?"})
    stack.invoke("complete_backup", after_prepare_failed(odd))
    assert own_tags_of(odd)["cycle"] == "?"


def test_a_failure_is_told_even_if_an_instance_cannot_be_released(stack: Stack) -> None:
    stuck, ours = launch(2)
    tag([stuck, ours], {Tag.CYCLE: OURS})
    with refused("ec2", "DeleteTags", "UnauthorizedOperation", about=stuck):
        answer = stack.invoke("complete_backup", after_prepare_failed(stuck, ours))
    assert answer["status"] == "failed"
    assert stack.events() == ["BackupFailed"]
    assert "cycle" not in own_tags_of(ours)


def test_only_a_failure_of_prepare_releases_instances_here(stack: Stack) -> None:
    backup = a_captured(stack, tags={Tag.CYCLE: OURS})
    backup.complete(failures=[a_failure(backup.instance_ids[0], "resume")])
    assert own_tags_of(backup.instance_ids[0])["cycle"] == OURS


def test_a_refused_backup_is_told_with_every_hazard_and_remedy(stack: Stack) -> None:
    event = sample("complete_backup_refused")
    spot = {"code": "spot", "reason": "It is Spot.", "remedy": "Run it On-Demand."}
    event["refusals"].append(event["refusals"][0] | spot)
    answer = stack.invoke("complete_backup", event)
    assert answer == {
        "status": "refused",
        "error": "BackupRefused",
        "cause": "Refused before anything was touched: stop-protection, spot",
    }
    (message,) = stack.messages()
    assert (message["event"], message["severity"]) == ("BackupRefused", "warning")
    assert "Stop protection is on." in message["text"]
    assert "Turn stop protection off" in message["remedy"]
    assert "Run it On-Demand." in message["remedy"]
    assert message["why"] == ""
    (document,) = stack.metrics()
    assert document["BackupRefused"] == [1.0]


def test_a_refused_group_is_told_why_the_others_are_not_backed_up_either(stack: Stack) -> None:
    event = sample("complete_backup_refused")
    event["backup"]["group"] = "erp"
    stack.invoke("complete_backup", event)
    assert stack.messages()[0]["why"] == "One refusal refuses the whole group."


def test_an_outcome_that_cannot_be_told_is_not_taken_for_told(stack: Stack) -> None:
    backup = a_captured(stack)
    with throttled("sns", "Publish"), pytest.raises(AwsUnavailable, match="BackupSucceeded"):
        backup.complete()


@pytest.mark.parametrize("event", [{}, {"execution": "x"}, {"members": None}])
def test_a_record_that_cannot_be_read_is_a_clear_error(stack: Stack, event: object) -> None:
    with pytest.raises(MalformedInput, match="complete_backup was given a record"):
        stack.invoke("complete_backup", event)


@pytest.mark.parametrize(
    "name", ["STACK_NAME", "TOPIC_ARN", "NOTIFY_SUCCESS", "SHUTDOWN_GRACE_SECONDS"]
)
def test_a_missing_environment_variable_is_named(stack: Stack, name: str) -> None:
    with pytest.raises(MissingSetting, match=rf"\b{name}\b"):
        stack.invoke("complete_backup", sample("complete_backup_refused"), without=name)
