"""Complete: whether a group is of one moment, what a freeze proves, and what scripts add to it."""

from typing import Any

import pytest

from stillpoint.tags import iso
from tests.functions.captured import CAPTURED, SOON, STOPPED, Captured, a_captured, a_failure
from tests.functions.faults import answered, refused
from tests.functions.fleet import backend, set_launch_time, tags_of
from tests.functions.stack import Stack
from tests.unit.builders import at

LATER = SOON.replace(minute=2)
MUCH_LATER = at("2026-11-22 04:00")
GUEST = 7_000_000.0


def claims(backup: Captured) -> list[str | None]:
    """What each image says of the group; its snapshots say the same."""
    told = []
    for member, image_id in enumerate(backup.image_ids):
        of_group = [
            tags.get("stillpoint:group-consistency") for tags in backup.everything_made(member)
        ]
        assert len(set(of_group)) == 1, image_id
        told.append(of_group[0])
    return told


def test_a_group_that_rested_as_one_says_so_on_everything(stack: Stack) -> None:
    backup = a_captured(stack, 2, volumes=2)
    assert backup.complete()["status"] == "succeeded"
    assert claims(backup) == ["held", "held"]


def test_a_lone_instance_is_no_group(stack: Stack) -> None:
    backup = a_captured(stack)
    backup.event["backup"]["group"] = None
    backup.complete()
    assert claims(backup) == [None]


def test_a_member_that_was_started_too_early_breaks_the_group_of_all(stack: Stack) -> None:
    backup = a_captured(stack, 2)
    first, second = backup.instance_ids
    set_launch_time(second, STOPPED.replace(second=36))
    backup.complete()
    assert claims(backup) == [f"broken: {second} not at rest at every snapshot of the group"] * 2
    levels = [tags_of(image)["stillpoint:consistency"] for image in backup.image_ids]
    assert levels == ["file-system", "crash"]  # each by itself is what it is
    assert first != second


@pytest.mark.parametrize("method", ["reboot", "none"])
def test_members_that_run_are_never_at_rest_together(stack: Stack, method: str) -> None:
    backup = a_captured(stack, 2, method=method)
    backup.complete()
    both = " and ".join(backup.instance_ids)
    assert claims(backup) == [f"broken: when {both} rested is not known"] * 2


def test_a_member_that_could_not_be_captured_is_named_on_the_others(stack: Stack) -> None:
    backup = a_captured(stack, 3)
    missing = backup.instance_ids[1]
    captures = [row for row in backup.event["captures"] if row["instance_id"] != missing]
    answer = backup.complete(captures=captures, failures=[a_failure(missing)])
    assert answer["status"] == "failed"
    good = [tags_of(backup.image_ids[number]) for number in (0, 2)]
    told = f"broken: {missing} without a recovery point of this backup"
    assert [tags["stillpoint:group-consistency"] for tags in good] == [told, told]


def test_a_member_whose_image_fails_later_is_named_on_the_others_then(stack: Stack) -> None:
    backup = a_captured(stack, 2, image_state="pending")
    assert backup.complete()["status"] == "pending"
    assert claims(backup) == ["held", "held"]
    backend().describe_images(ami_ids=[backup.image_ids[1]])[0].state = "failed"
    assert backup.complete(checks=1, now=LATER)["status"] == "failed"
    told = f"broken: {backup.instance_ids[1]} without a recovery point of this backup"
    for tags in backup.everything_made(0):
        assert tags["stillpoint:group-consistency"] == told


def test_a_failure_is_told_even_if_the_others_cannot_be_tagged(stack: Stack) -> None:
    backup = a_captured(stack, 2, image_state="pending")
    backup.complete()
    backend().describe_images(ami_ids=[backup.image_ids[1]])[0].state = "failed"
    with refused("ec2", "CreateTags", "UnauthorizedOperation", about=backup.snapshot_ids[0][0]):
        assert backup.complete(checks=1, now=LATER)["status"] == "failed"
    assert stack.events() == ["BackupFailed"]


def test_nothing_of_a_group_is_judged_before_ec2_shows_all_of_it(stack: Stack) -> None:
    backup = a_captured(stack, 2)
    shown = backup.snapshot_ids[0]
    rows = [row for row in _described(backup) if row["SnapshotId"] in shown]
    with answered("ec2", "DescribeSnapshots", {"Snapshots": rows}):
        assert backup.complete() == {"status": "pending", "wait_seconds": 120}
    assert claims(backup) == [None, None]
    assert backup.complete(checks=1, now=LATER)["status"] == "succeeded"
    assert claims(backup) == ["held", "held"]


def test_what_ec2_never_shows_is_missing_in_the_end(stack: Stack) -> None:
    backup = a_captured(stack, 2)
    rows = [row for row in _described(backup) if row["SnapshotId"] in backup.snapshot_ids[0]]
    with answered("ec2", "DescribeSnapshots", {"Snapshots": rows}):
        answer = backup.complete(checks=9, now=MUCH_LATER)
    assert (answer["status"], answer["error"]) == ("failed", "SnapshotFailed")
    told = f"broken: {backup.instance_ids[1]} without a recovery point of this backup"
    assert tags_of(backup.image_ids[0])["stillpoint:group-consistency"] == told


def _described(backup: Captured) -> list[dict[str, Any]]:
    """The snapshots as EC2 describes them."""
    made = [backend().snapshots[each] for ids in backup.snapshot_ids for each in ids]
    return [
        {
            "SnapshotId": each.id,
            "VolumeId": each.volume_id,
            "State": each.status,
            "StartTime": each.start_time,
            "Tags": [{"Key": key, "Value": value} for key, value in tags_of(each.id).items()],
        }
        for each in made
    ]


def frozen(backup: Captured, **end: object) -> dict[str, Any]:
    """What the record of frozen members holds beside the rest."""
    rows = [
        {
            "instance_id": each,
            "command_id": "c-1",
            "vss": False,
            "sent_at": "2026-11-22T03:00:20+00:00",
            "seen_at": "2026-11-22T03:00:23+00:00",
            "guest_now": GUEST,
            "from": GUEST + 5,
            "until": GUEST + 35,
            "filesystems": ["/"],
        }
        for each in backup.instance_ids
    ]
    thaw = {
        "exit_code": 0,
        "from": GUEST + 5.2,
        "until": GUEST + 35.2,
        "now": GUEST + 36,
        "by": "hold-over",
        "failed": [],
    } | end
    return {
        "freezes": rows,
        "rejoins": {"thaws": dict.fromkeys(backup.instance_ids, thaw), "scripts": {}},
    }


def test_a_freeze_that_held_is_file_system_consistent_and_of_one_moment(stack: Stack) -> None:
    backup = a_captured(stack, 2, method="freeze")
    answer = backup.complete(**frozen(backup))
    assert [point["consistency"] for point in answer["recovery_points"]] == ["file-system"] * 2
    for tags in backup.everything_made():
        assert tags["stillpoint:method"] == "freeze"
        assert tags["stillpoint:evidence"] == (
            "frozen for 27 s at least from 2026-11-22T03:00:28Z and every snapshot initiated"
            " meanwhile"
        )
    assert claims(backup) == ["held", "held"]


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ({"exit_code": 203, "by": "auto-thaw"}, "the guest had to thaw itself after 30 s"),
        ({"until": GUEST + 12}, "a snapshot was initiated 6 s after it was last certainly frozen"),
        ({"exit_code": None}, "how its freeze ended is not known"),
    ],
)
def test_a_freeze_that_did_not_hold_is_a_crash_with_the_reason(
    stack: Stack, end: dict[str, Any], why: str
) -> None:
    backup = a_captured(stack, method="freeze")
    backup.complete(**frozen(backup, **end))
    for tags in backup.everything_made():
        assert tags["stillpoint:consistency"] == "crash"
        assert tags["stillpoint:evidence"] == why
    (claim,) = claims(backup)
    assert str(claim).startswith("broken: ")


def test_a_freeze_of_which_the_record_says_nothing_is_a_crash(stack: Stack) -> None:
    backup = a_captured(stack, method="freeze")
    backup.complete()
    (tags, *_) = backup.everything_made()
    assert tags["stillpoint:evidence"] == "there is no proof that a freeze held"


def test_an_image_of_vss_is_as_consistent_as_its_snapshots_say(stack: Stack) -> None:
    backup = a_captured(stack, 2, method="freeze")
    for snapshot_ids in backup.snapshot_ids[:1]:
        for snapshot_id in snapshot_ids:
            backend().create_tags([snapshot_id], {"AppConsistent": "True"})
    vss = [{"instance_id": each, "command_id": "c", "vss": True} for each in backup.instance_ids]
    ends = {each: {"vss": "Success"} for each in backup.instance_ids}
    answer = backup.complete(freezes=vss, rejoins={"thaws": ends, "scripts": {}})
    levels = [point["consistency"] for point in answer["recovery_points"]]
    assert levels == ["application", "crash"]


@pytest.mark.parametrize(
    ("row", "level"),
    [
        ({"pre": "succeeded", "post": "succeeded", "post_exit": 0}, "application"),
        ({"pre": "succeeded", "post": "none", "post_exit": None}, "application"),
        ({"pre": "succeeded", "post": "failed", "post_exit": 203}, "file-system"),
        ({"pre": "succeeded", "post": "failed", "post_exit": None}, "file-system"),
        ({"pre": "failed", "post": "none", "post_exit": None}, "file-system"),
        ({"pre": "none", "post": "succeeded", "post_exit": 0}, "file-system"),
    ],
)
def test_a_pre_script_that_succeeded_makes_a_stop_application_consistent(
    stack: Stack, row: dict[str, Any], level: str
) -> None:
    backup = a_captured(stack)
    scripts = dict.fromkeys(backup.instance_ids, row)
    backup.complete(rejoins={"thaws": {}, "scripts": scripts})
    assert tags_of(backup.image_ids[0])["stillpoint:consistency"] == level
    assert iso(CAPTURED) == tags_of(backup.image_ids[0])["stillpoint:captured-at"]
