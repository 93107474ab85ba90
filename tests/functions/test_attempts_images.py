"""Further attempts: which images and snapshots stay, and which go."""

from typing import Any

import pytest

from stillpoint.aws.client import client
from tests.functions.captured import EXECUTION, INITIATED, Captured, a_captured, a_failure
from tests.functions.faults import answered, refused
from tests.functions.fleet import backend, capture, launch_one, tag, tags_of
from tests.functions.stack import Stack

AGAIN = f"{EXECUTION}-2"


def a_second_attempt(stack: Stack, count: int = 1, **facts: Any) -> Captured:  # noqa: ANN401
    """Return a second attempt that went well."""
    backup = a_captured(stack, count, **facts)
    backup.event["execution"] = AGAIN
    backup.event["backup"]["attempt"] = 2
    for image, snapshots in zip(backup.image_ids, backup.snapshot_ids, strict=True):
        tag([image, *snapshots], {"stillpoint:execution": AGAIN})
    return backup


def made_by(execution: str, instance_id: str, *, occurrence: str | None = None) -> set[str]:
    """Let an execution have made an image of an instance; return the ids of all it made."""
    image, snapshots = capture(instance_id, execution=execution, initiated_at=INITIATED)
    if occurrence is not None:
        tag([image, *snapshots], {"stillpoint:occurrence": occurrence})
    return {image, *snapshots}


def all_made(backup: Captured) -> set[str]:
    return {*backup.image_ids, *(each for some in backup.snapshot_ids for each in some)}


def existing() -> set[str]:
    """Return every image and every snapshot that has tags."""
    ec2 = client("ec2")
    images = {row["ImageId"] for row in ec2.describe_images(Owners=["self"])["Images"]}
    rows = ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    return images | {row["SnapshotId"] for row in rows if tags_of(row["SnapshotId"])}


def test_a_failed_backup_leaves_no_half_made_image(stack: Stack) -> None:
    backup = a_captured(stack)
    backup.complete(failures=[a_failure(backup.instance_ids[0])], captures=[])
    assert existing() == set()


def test_a_good_member_of_a_failed_group_keeps_its_recovery_point(stack: Stack) -> None:
    backup = a_captured(stack, 2)
    bad = backup.instance_ids[1]
    backup.complete(failures=[a_failure(bad)], captures=backup.event["captures"][:1])
    assert existing() == {backup.image_ids[0], *backup.snapshot_ids[0]}
    assert "stillpoint:recovery-point" in tags_of(backup.instance_ids[0])
    assert "stillpoint:recovery-point" not in tags_of(bad)


@pytest.mark.parametrize("state", ["failed", "error", "invalid"])
def test_an_image_that_ec2_could_not_make_goes_with_its_snapshots(stack: Stack, state: str) -> None:
    backup = a_captured(stack, volumes=2)
    backup.set_images(state)
    backup.complete()
    assert existing() == set()


def test_an_image_with_a_snapshot_in_error_goes(stack: Stack) -> None:
    backup = a_captured(stack, volumes=2)
    backend().snapshots[backup.snapshot_ids[0][1]].status = "error"
    backup.complete()
    assert existing() == set()


def test_an_image_that_is_pending_and_proven_stays_although_the_backup_failed(
    stack: Stack,
) -> None:
    backup = a_captured(stack, image_state="pending")
    backup.complete(failures=[a_failure(backup.instance_ids[0], "resume")])
    assert existing() == all_made(backup)


def test_an_image_that_cannot_be_removed_is_named_in_the_message(stack: Stack) -> None:
    backup = a_captured(stack)
    with refused("ec2", "DeregisterImage", "OperationNotPermitted"):
        answer = backup.complete(failures=[a_failure(backup.instance_ids[0])], captures=[])
    assert answer["status"] == "failed"
    (message,) = stack.messages()
    assert f"The image {backup.image_ids[0]} could not be removed" in message["why"]
    assert "OperationNotPermitted" in message["text"]


def test_a_snapshot_that_cannot_be_removed_is_named_in_the_message(stack: Stack) -> None:
    backup = a_captured(stack, volumes=2)
    stuck, _ = backup.snapshot_ids[0]
    kept: dict[str, object] = {"DeleteSnapshotResults": []}
    with (
        answered("ec2", "DeregisterImage", kept),
        refused("ec2", "DeleteSnapshot", "InvalidSnapshot.InUse", about=stuck),
    ):
        backup.complete(failures=[a_failure(backup.instance_ids[0])], captures=[])
    why = stack.messages()[0]["why"]
    assert f"The snapshot {stuck} could not be removed" in why
    assert why.count("could not be removed") == 1
    assert stuck in existing()


def test_the_success_of_the_second_attempt_removes_what_the_first_has_left(stack: Stack) -> None:
    backup = a_second_attempt(stack)
    made_by(EXECUTION, backup.instance_ids[0])
    assert backup.complete()["status"] == "succeeded"
    assert existing() == all_made(backup)


def test_the_success_of_the_second_attempt_removes_snapshots_that_lost_their_image(
    stack: Stack,
) -> None:
    backup = a_second_attempt(stack)
    left = made_by(EXECUTION, backup.instance_ids[0])
    (image,) = [each for each in left if each.startswith("ami-")]
    client("ec2").deregister_image(ImageId=image)
    backup.complete()
    assert existing() == all_made(backup)


@pytest.mark.parametrize("kind", ["ami-", "snap-"])
@pytest.mark.parametrize("hold", ["true", "2026-11-22/2026-11-22", "until the audit is over", ""])
def test_it_removes_nothing_that_somebody_has_put_on_hold(
    stack: Stack, kind: str, hold: str
) -> None:
    backup = a_second_attempt(stack)
    left = made_by(EXECUTION, backup.instance_ids[0])
    (held,) = [each for each in left if each.startswith(kind)]
    tag([held], {"stillpoint:hold": hold})
    assert backup.complete()["status"] == "succeeded"
    assert existing() == all_made(backup) | left


@pytest.mark.parametrize("hold", ["false", "2026-11-01/2026-11-21", "2026-12-01/2026-12-31"])
def test_a_hold_that_is_not_in_force_keeps_nothing(stack: Stack, hold: str) -> None:
    backup = a_second_attempt(stack)
    made = made_by(EXECUTION, backup.instance_ids[0])
    tag(sorted(made), {"stillpoint:hold": hold})
    assert backup.complete()["status"] == "succeeded"
    assert existing() == all_made(backup)


def test_it_removes_nothing_of_snapshots_on_hold_that_lost_their_image(stack: Stack) -> None:
    backup = a_second_attempt(stack)
    left = made_by(EXECUTION, backup.instance_ids[0])
    (image,) = [each for each in left if each.startswith("ami-")]
    client("ec2").deregister_image(ImageId=image)
    tag(sorted(left - {image}), {"stillpoint:hold": "true"})
    backup.complete()
    assert existing() == all_made(backup) | left - {image}


def test_a_hold_on_what_one_attempt_made_keeps_nothing_of_another(stack: Stack) -> None:
    backup = a_second_attempt(stack)
    (web,) = backup.instance_ids
    backup.event["execution"], backup.event["backup"]["attempt"] = f"{EXECUTION}-3", 3
    third = all_made(backup)
    tag(sorted(third), {"stillpoint:execution": f"{EXECUTION}-3"})
    held = made_by(EXECUTION, web)
    tag(sorted(held), {"stillpoint:hold": "true"})
    made_by(AGAIN, web)
    backup.complete()
    assert existing() == third | held


def test_the_success_of_the_third_attempt_removes_what_both_others_have_left(
    stack: Stack,
) -> None:
    backup = a_second_attempt(stack)
    (web,) = backup.instance_ids
    backup.event["execution"] = f"{EXECUTION}-3"
    backup.event["backup"]["attempt"] = 3
    third = all_made(backup)
    tag(sorted(third), {"stillpoint:execution": f"{EXECUTION}-3"})
    made_by(EXECUTION, web)
    made_by(AGAIN, web)
    backup.complete()
    assert existing() == third


def test_it_removes_nothing_of_another_occurrence_or_instance_or_owner(stack: Stack) -> None:
    backup = a_second_attempt(stack)
    (web,) = backup.instance_ids
    yesterday = made_by("group-erp-20261121T030000Z", web, occurrence="2026-11-21T03:00:00Z")
    other = made_by(EXECUTION, launch_one())
    by_hand = client("ec2").create_image(InstanceId=web, Name="by hand")["ImageId"]
    backup.complete()
    assert existing() == all_made(backup) | yesterday | other | {by_hand}


def test_while_the_second_attempt_is_pending_what_the_first_has_left_stays(stack: Stack) -> None:
    backup = a_second_attempt(stack, image_state="pending")
    left = made_by(EXECUTION, backup.instance_ids[0])
    assert backup.complete()["status"] == "pending"
    assert left <= existing()


def test_the_failure_of_the_second_attempt_leaves_a_good_image_of_the_first(stack: Stack) -> None:
    backup = a_second_attempt(stack)
    left = made_by(EXECUTION, backup.instance_ids[0])
    backup.complete(failures=[a_failure(backup.instance_ids[0])], captures=[])
    assert existing() == left


def test_a_first_attempt_removes_nothing(stack: Stack) -> None:
    backup = a_captured(stack)
    left = made_by(AGAIN, backup.instance_ids[0])
    backup.complete()
    assert existing() == all_made(backup) | left


def test_a_success_stays_a_success_if_what_the_first_has_left_cannot_be_removed(
    stack: Stack,
) -> None:
    backup = a_second_attempt(stack)
    made_by(EXECUTION, backup.instance_ids[0])
    with refused("ec2", "DeregisterImage", "OperationNotPermitted"):
        assert backup.complete()["status"] == "succeeded"
    assert stack.events() == ["BackupSucceeded"]
    assert "failed=" not in tags_of(backup.instance_ids[0])["stillpoint:last"]
