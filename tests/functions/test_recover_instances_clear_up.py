"""Recovery: what an ended execution has half-made, and the failure that it could not report."""

from datetime import timedelta

import pytest

from stillpoint.aws.client import client
from stillpoint.errors import RecoveryIncomplete
from stillpoint.tags import Cursor, Tag
from tests.functions.captured import INITIATED
from tests.functions.faults import answered, refused, throttled
from tests.functions.fleet import capture, launch_one, own_tags_of, tag, tags_of, terminate
from tests.functions.left_behind import (
    NOW,
    OCCURRENCE,
    a_backup,
    cycle_of,
    end,
    left_behind,
    recover,
    start,
)
from tests.functions.stack import Stack
from tests.unit.builders import at

PROVEN = {"stillpoint:consistency": "file-system"}
BEFORE = "group-erp-20261121T030000Z"


def make(instance_id: str, execution: str, *, proven: bool = False, state: str = "pending") -> str:
    """Let an execution have made an image of an instance; return its id."""
    image_id, snapshot_ids = capture(
        instance_id, execution=execution, initiated_at=INITIATED, state=state
    )
    if proven:
        tag([image_id, *snapshot_ids], PROVEN)
    return image_id


def images() -> set[str]:
    return {row["ImageId"] for row in client("ec2").describe_images(Owners=["self"])["Images"]}


def snapshots() -> set[str]:
    rows = client("ec2").describe_snapshots(OwnerIds=["self"])["Snapshots"]
    return {row["SnapshotId"] for row in rows if tags_of(row["SnapshotId"])}


def failures_of(instance_id: str) -> tuple[int, object]:
    """Return how often the cursor says that the occurrence has failed, and when."""
    cursor = Cursor.parse(own_tags_of(instance_id)["last"])
    assert cursor is not None
    assert cursor.occurrence == OCCURRENCE
    return cursor.failed_attempts, cursor.failed_at


@pytest.mark.parametrize("by", ["event", "sweep"])
def test_a_half_made_image_goes_with_its_snapshots(stack: Stack, by: str) -> None:
    left = left_behind(stack)
    make(left.instance_ids[0], left.execution)
    assert (len(images()), len(snapshots())) == (1, 1)
    recover(stack, *([left.event] if by == "event" else []))
    assert (images(), snapshots()) == (set(), set())


def test_the_newest_image_of_a_server_that_does_not_start_is_left_alone(stack: Stack) -> None:
    left = left_behind(stack)
    image = make(left.instance_ids[0], left.execution)
    with refused("ec2", "StartInstances", "InsufficientInstanceCapacity"):
        recover(stack, left.event)
    assert images() == {image}
    recover(stack, now=NOW + timedelta(minutes=5))
    assert images() == set()
    assert failures_of(left.instance_ids[0])[0] == 1


def test_a_failure_that_no_cursor_can_hold_is_told_all_the_same(stack: Stack) -> None:
    left = left_behind(stack, state="running")
    client("ec2").delete_tags(Resources=left.instance_ids, Tags=[{"Key": Tag.LAST}])
    recover(stack, left.event)
    assert stack.events() == ["BackupFailed"]


@pytest.mark.parametrize("state", ["pending", "available"])
def test_a_proven_image_is_kept_and_its_instance_is_not_stopped_again(
    stack: Stack, state: str
) -> None:
    left = left_behind(stack, state="running")
    image = make(left.instance_ids[0], left.execution, proven=True, state=state)
    recover(stack, left.event)
    assert images() == {image}
    assert failures_of(left.instance_ids[0]) == (0, None)


@pytest.mark.parametrize("state", ["failed", "error", "invalid"])
def test_a_failed_image_goes_whatever_was_proven_of_it(stack: Stack, state: str) -> None:
    left = left_behind(stack)
    make(left.instance_ids[0], left.execution, proven=True, state=state)
    recover(stack, left.event)
    assert images() == set()


def test_snapshots_whose_image_never_came_go_too(stack: Stack) -> None:
    left = left_behind(stack)
    image = make(left.instance_ids[0], left.execution)
    client("ec2").deregister_image(ImageId=image)
    assert len(snapshots()) == 1
    recover(stack, left.event)
    assert snapshots() == set()


def test_nothing_is_removed_that_another_execution_has_made(stack: Stack) -> None:
    left = left_behind(stack)
    (web,) = left.instance_ids
    others = {make(web, BEFORE), make(launch_one(), "i-0b-20261122T030000Z")}
    foreign = client("ec2").create_image(InstanceId=web, Name="by hand")["ImageId"]
    make(web, left.execution)
    recover(stack, left.event)
    assert images() == {*others, foreign}


def test_the_next_attempt_is_asked_for_on_every_member(stack: Stack) -> None:
    left = left_behind(stack, 2, group="erp")
    made, _ = left.instance_ids
    image = make(made, left.execution, proven=True)
    recover(stack, left.event)
    assert [failures_of(each)[0] for each in left.instance_ids] == [1, 1]
    assert images() == {image}


def test_the_mark_says_when_so_that_the_next_attempt_waits(stack: Stack) -> None:
    left = left_behind(stack, state="running")
    recover(stack, left.event)
    assert failures_of(left.instance_ids[0]) == (1, NOW)


def test_people_are_told_what_was_cut_off_and_that_it_is_tried_again(stack: Stack) -> None:
    left = left_behind(stack, 2, group="erp", state="running")
    made, lost = left.instance_ids
    make(made, left.execution, proven=True)
    recover(stack, left.event)
    (message,) = stack.messages()
    assert (message["event"], message["severity"]) == ("BackupFailed", "error")
    assert message["why"] == "Its execution ended as ABORTED."
    assert (message["group"], message["occurrence"]) == ("erp", "2026-11-22T03:00:00Z")
    whys = {row["instance_id"]: row["why"] for row in message["instances"]}
    assert whys == {made: "Its recovery point is good.", lost: ""}
    assert "tries the backup again if an attempt is left" in message["remedy"]


def test_the_cause_is_told_if_step_functions_gives_one(stack: Stack) -> None:
    left = left_behind(stack, state="running", status="RUNNING")
    end(left.execution, "FAILED", error="States.Runtime", cause="The history limit was reached.")
    recover(stack, left.event)
    (message,) = stack.messages()
    assert message["why"] == ("Its execution ended as FAILED. The history limit was reached.")


@pytest.mark.parametrize(
    ("status", "error"), [("SUCCEEDED", ""), ("FAILED", "BackupRefused"), ("RUNNING", "")]
)
def test_after_success_refusal_or_in_mid_backup_nothing_is_cleared_up(
    stack: Stack, status: str, error: str
) -> None:
    left = left_behind(stack, state="running", status=status, error=error)
    image = make(left.instance_ids[0], left.execution)
    recover(stack, left.event)
    recover(stack)
    assert images() == {image}
    assert failures_of(left.instance_ids[0]) == (0, None)
    assert stack.events() == []


def test_a_failure_that_the_execution_reported_itself_is_not_told_again(stack: Stack) -> None:
    left = left_behind(stack, state="running", status="FAILED", error="SnapshotFailed")
    (web,) = left.instance_ids
    handled = own_tags_of(web)["last"]
    tag([web], {"stillpoint:last": f"{handled} failed=1 at=2026-11-22T03:05:00Z"})
    recover(stack, left.event)
    assert failures_of(web) == (1, at("2026-11-22 03:05"))
    assert stack.events() == []


def test_the_same_event_delivered_twice_tells_and_marks_once(stack: Stack) -> None:
    left = left_behind(stack, state="running")
    recover(stack, left.event)
    recover(stack, left.event, now=NOW + timedelta(minutes=5))
    assert failures_of(left.instance_ids[0]) == (1, NOW)
    assert stack.events() == ["BackupFailed"]


@pytest.mark.parametrize("status", ["RUNNING", "SUCCEEDED"])
def test_an_event_that_comes_after_the_next_attempt_began_leaves_it_alone(
    stack: Stack, status: str
) -> None:
    left = left_behind(stack, state="running")
    (web,) = left.instance_ids
    again = start(stack, a_backup(web, attempt=2))
    image = make(web, again)
    if status != "RUNNING":
        end(again, status)
    recover(stack, left.event)
    assert failures_of(web) == (0, None)  # as the next attempt's Prepare has left it
    assert images() == {image}
    assert stack.events() == []


def test_the_failure_of_the_next_attempt_is_marked_as_such(stack: Stack) -> None:
    left = left_behind(stack, state="running", attempt=2)
    recover(stack, left.event)
    assert failures_of(left.instance_ids[0]) == (2, NOW)


def test_a_newer_occurrence_on_the_cursor_is_not_overwritten(stack: Stack) -> None:
    left = left_behind(stack, state="running", seen="2026-11-23 03:00")
    before = own_tags_of(left.instance_ids[0])["last"]
    recover(stack, left.event)
    assert own_tags_of(left.instance_ids[0])["last"] == before


def test_an_image_that_cannot_be_removed_is_named_with_its_reason(stack: Stack) -> None:
    left = left_behind(stack, state="running")
    image = make(left.instance_ids[0], left.execution)
    with refused("ec2", "DeregisterImage", "OperationNotPermitted"):
        recover(stack, left.event)
    (message,) = stack.messages()
    assert f"The image {image} could not be removed" in message["why"]
    assert "OperationNotPermitted" in message["why"]


def test_a_snapshot_that_cannot_be_removed_is_named_with_its_reason(stack: Stack) -> None:
    left = left_behind(stack, state="running")
    make(left.instance_ids[0], left.execution)
    kept: dict[str, object] = {"DeleteSnapshotResults": []}
    with (
        answered("ec2", "DeregisterImage", kept),
        refused("ec2", "DeleteSnapshot", "InvalidSnapshot.InUse"),
    ):
        recover(stack, left.event)
    (snapshot,) = snapshots()
    assert f"The snapshot {snapshot} could not be removed" in stack.messages()[0]["why"]


@pytest.mark.parametrize(
    ("service", "operation"),
    [("ec2", "DescribeSnapshots"), ("ec2", "CreateTags"), ("sns", "Publish")],
)
def test_a_sweep_that_cannot_clear_up_keeps_the_instance_until_another_can(
    stack: Stack, service: str, operation: str
) -> None:
    left = left_behind(stack, state="running")
    (web,) = left.instance_ids
    make(web, left.execution)
    with throttled(service, operation), pytest.raises(RecoveryIncomplete, match=left.execution):
        recover(stack)
    assert cycle_of(web) is not None
    recover(stack, now=NOW + timedelta(minutes=5))
    assert cycle_of(web) is None
    assert images() == set()
    assert "BackupFailed" in stack.events()
    assert failures_of(web)[0] == 1


def test_the_failure_is_told_even_if_every_member_is_gone(stack: Stack) -> None:
    left = left_behind(stack)
    terminate(left.instance_ids[0])
    recover(stack, left.event)
    (message,) = stack.messages()
    assert message["instances"][0]["state"] == "terminated"
