"""Complete: a recovery point that is available is shared, locked and protected."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from stillpoint.aws.client import client
from stillpoint.aws.complete_backup import SAFEGUARD_PATIENCE
from tests.functions.captured import SOON, STOPPED, Captured, a_captured, a_failure
from tests.functions.faults import answered, refused, throttled
from tests.functions.fleet import tag, tags_of
from tests.functions.stack import Stack

FRIEND = "111111111111"
EVERYTHING = {
    "SHARE_WITH_ACCOUNTS": FRIEND,
    "SNAPSHOT_LOCK_DAYS": "30",
    "DEREGISTRATION_PROTECTION": "true",
}
OPERATIONS = ["DescribeLockedSnapshots", "LockSnapshot", "EnableImageDeregistrationProtection"]


@pytest.fixture
def calls(_aws: None) -> Iterator[dict[str, list[str]]]:
    """Answer what moto cannot do, and return the requests by operation."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(answered("ec2", name, {"Snapshots": []}))
            for name in OPERATIONS
        }


@contextmanager
def completed(moment: datetime) -> Iterator[None]:
    """Let EC2 say when the snapshots were complete, which moto does not know."""

    def complete_them(parsed: dict[str, Any], **_: object) -> None:
        for row in parsed["Snapshots"]:
            row["CompletionTime"] = moment

    events, event = client("ec2").meta.events, "after-call.ec2.DescribeSnapshots"
    events.register(event, complete_them)
    try:
        yield
    finally:
        events.unregister(event, complete_them)


def complete(backup: Captured, *, now: datetime = SOON, **changes: object) -> dict[str, object]:
    return backup.stack.invoke(
        "complete_backup", backup.event | changes, now=now, variables=EVERYTHING
    )


def launchers(image_id: str) -> list[str]:
    answer = client("ec2").describe_image_attribute(ImageId=image_id, Attribute="launchPermission")
    return [row["UserId"] for row in answer["LaunchPermissions"]]


def test_every_point_of_a_backup_is_shared_locked_and_protected(
    stack: Stack, calls: dict[str, list[str]]
) -> None:
    backup = a_captured(stack, 2, volumes=2)
    assert complete(backup)["status"] == "succeeded"
    for image_id in backup.image_ids:
        assert launchers(image_id) == [FRIEND]
        assert tags_of(image_id)["stillpoint:shared-with"] == FRIEND
        assert tags_of(image_id)["stillpoint:protected"] == "deregistration"
    # From the capture on, though its tag was written by this very call.
    assert len(calls["LockSnapshot"]) == 4
    assert all("'2026-12-22T03:00:40Z'" in request for request in calls["LockSnapshot"])
    assert len(calls["EnableImageDeregistrationProtection"]) == 2
    assert stack.events() == ["BackupSucceeded"]


@pytest.mark.usefixtures("calls")
def test_what_is_refused_is_told_and_the_backup_succeeds_all_the_same(stack: Stack) -> None:
    backup = a_captured(stack, 2)
    first, second = backup.image_ids
    with refused("ec2", "ModifyImageAttribute", "InvalidParameterValue", about=first):
        assert complete(backup)["status"] == "succeeded"
    failed, succeeded = stack.messages()
    assert (failed["event"], succeeded["event"]) == ("SharingFailed", "BackupSucceeded")
    (row,) = failed["instances"]
    assert (row["image_id"], row["instance_id"]) == (first, backup.instance_ids[0])
    assert "InvalidParameterValue" in row["why"]
    assert row["consistency"] == "file-system"
    assert failed["group"] == "erp"
    assert (launchers(first), launchers(second)) == ([], [FRIEND])
    counted = [document for document in stack.metrics() if "SharingFailed" in document]
    assert len(counted) == 1


def test_an_image_that_is_not_available_yet_is_left_alone(
    stack: Stack, calls: dict[str, list[str]]
) -> None:
    backup = a_captured(stack, image_state="pending")
    assert complete(backup)["status"] == "pending"
    assert list(calls.values()) == [[], [], []]
    backup.set_images("available")
    assert complete(backup, checks=1)["status"] == "succeeded"
    assert [len(requests) for requests in calls.values()] == [1, 1, 1]


def test_what_a_failed_backup_leaves_can_be_removed_by_the_next_attempt(
    stack: Stack, calls: dict[str, list[str]]
) -> None:
    backup = a_captured(stack)
    answer = complete(backup, failures=[a_failure(backup.instance_ids[0], "resume")])
    assert answer["status"] == "failed"
    assert backup.image_ids[0] in str(stack.messages())
    assert list(calls.values()) == [[], [], []]
    assert launchers(backup.image_ids[0]) == []


@pytest.mark.usefixtures("calls")
def test_a_call_that_was_cut_short_goes_on_where_it_ended(stack: Stack) -> None:
    backup = a_captured(stack, 2)
    with throttled("ec2", "ModifySnapshotAttribute"):
        assert complete(backup) == {"status": "pending", "wait_seconds": 120}
    assert stack.events() == []
    assert stack.metrics() == []
    assert "stillpoint:recovery-point" not in tags_of(backup.instance_ids[0])
    tag([backup.image_ids[1]], {"stillpoint:shared-with": FRIEND})
    assert complete(backup)["status"] == "succeeded"
    assert [launchers(image_id) for image_id in backup.image_ids] == [[FRIEND], []]
    assert stack.events() == ["BackupSucceeded"]


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize("operation", ["ModifySnapshotAttribute", "ModifyImageAttribute"])
def test_while_aws_does_not_answer_the_backup_is_looked_at_again_and_is_good_in_the_end(
    stack: Stack, operation: str
) -> None:
    backup = a_captured(stack, 2)
    end = STOPPED + SAFEGUARD_PATIENCE
    with throttled("ec2", operation):
        for checks, now in enumerate([SOON, SOON, end - timedelta(seconds=1)]):
            assert complete(backup, now=now, checks=checks)["status"] == "pending"
        assert stack.events() == []
        assert complete(backup, now=end, checks=3)["status"] == "succeeded"
    failed, succeeded = stack.messages()
    assert (failed["event"], succeeded["event"]) == ("ProtectionFailed", "BackupSucceeded")
    assert [row["image_id"] for row in failed["instances"]] == backup.image_ids
    assert all("AWS did not answer" in row["why"] for row in failed["instances"])
    assert "RequestLimitExceeded" in failed["instances"][0]["why"]
    assert all("stillpoint:recovery-point" in tags_of(each) for each in backup.instance_ids)


@pytest.mark.usefixtures("calls")
def test_it_is_not_held_up_if_aws_answers_at_the_last_look(stack: Stack) -> None:
    backup = a_captured(stack)
    end = STOPPED + SAFEGUARD_PATIENCE
    with throttled("ec2", "ModifyImageAttribute"):
        complete(backup, now=end - timedelta(seconds=1))
    assert complete(backup, now=end, checks=1)["status"] == "succeeded"
    assert launchers(backup.image_ids[0]) == [FRIEND]
    assert stack.events() == ["BackupSucceeded"]


@pytest.mark.usefixtures("calls")
def test_an_image_that_took_long_is_tried_again_all_the_same(stack: Stack) -> None:
    backup = a_captured(stack, image_state="pending")
    available = STOPPED + timedelta(hours=9)
    for checks in range(50):
        now = STOPPED + timedelta(minutes=10 * checks)
        assert complete(backup, now=now, checks=checks)["status"] == "pending"
    backup.set_images("available")
    with completed(available), throttled("ec2", "ModifyImageAttribute"):
        assert complete(backup, now=available, checks=50)["status"] == "pending"
        soon_over = available + SAFEGUARD_PATIENCE - timedelta(seconds=1)
        assert complete(backup, now=soon_over, checks=70)["status"] == "pending"
    assert stack.events() == []
    with completed(available):
        assert complete(backup, now=soon_over, checks=71)["status"] == "succeeded"
    assert launchers(backup.image_ids[0]) == [FRIEND]
    assert stack.events() == ["BackupSucceeded"]


@pytest.mark.usefixtures("calls")
def test_one_that_took_long_is_not_tried_for_ever_either(stack: Stack) -> None:
    backup, available = a_captured(stack), STOPPED + timedelta(hours=9)
    with completed(available), throttled("ec2", "ModifyImageAttribute"):
        end = available + SAFEGUARD_PATIENCE
        assert complete(backup, now=end, checks=1)["status"] == "succeeded"
    assert stack.events() == ["ProtectionFailed", "BackupSucceeded"]
