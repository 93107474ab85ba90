"""Complete: the evidence, and what is written of it."""

import pytest

from stillpoint.recovery_point import ADDED_LATER, TAG_LIMIT
from stillpoint.tags import portable
from tests.functions.captured import INITIATED, LAUNCHED, LONG_AGO, SOON, STOPPED, a_captured
from tests.functions.faults import answered, throttled
from tests.functions.fleet import (
    backend,
    own_tags_of,
    set_launch_time,
    set_state,
    tag,
    tags_of,
    terminate,
)
from tests.functions.stack import Stack
from tests.unit.builders import at

AN_HOUR_LATER = at("2026-11-22 04:00:00")


def consistency_of(resource_id: str) -> str | None:
    return tags_of(resource_id).get("stillpoint:consistency")


def test_what_a_clean_stop_proves_is_written_on_the_image_and_every_snapshot(
    stack: Stack,
) -> None:
    backup = a_captured(stack, volumes=3)
    backup.complete()
    (instance_id,) = backup.instance_ids
    for tags in backup.everything_made():
        assert tags == {
            "Name": "web",
            "stillpoint:stack": "stillpoint",
            "stillpoint:instance": instance_id,
            "stillpoint:execution": "group-erp-20261122T030000Z",
            "stillpoint:occurrence": "2026-11-22T03:00:00Z",
            "stillpoint:schedule": "daily 03:00 UTC",
            "stillpoint:method": "stop",
            "stillpoint:retain": "14",
            "stillpoint:time-zone": "UTC",
            "stillpoint:group": "erp",
            "stillpoint:group-consistency": "held",
            "stillpoint:consistency": "file-system",
            "stillpoint:evidence": "stopped in 27 s and every snapshot initiated after"
            " 2026-11-22T03:00:34Z and before the start at 2026-11-22T03:00:41Z",
            "stillpoint:stopped-at": "2026-11-22T03:00:34Z",
            "stillpoint:captured-at": "2026-11-22T03:00:40Z",
            "stillpoint:resumed-at": "2026-11-22T03:00:55Z",
        }
    assert len(backup.everything_made()) == 4


def test_a_backup_that_an_earlier_version_planned_says_no_zone(stack: Stack) -> None:
    backup = a_captured(stack)
    del backup.event["backup"]["members"][0]["time_zone"]
    assert backup.complete()["status"] == "succeeded"
    for tags in backup.everything_made():
        assert "stillpoint:time-zone" not in tags
        assert tags["stillpoint:retain"] == "14"


def test_the_owners_tags_are_copied_and_never_those_of_aws(stack: Stack) -> None:
    backup = a_captured(stack)
    (instance_id,) = backup.instance_ids
    tag([instance_id], {"aws:autoscaling:groupName": "asg", "team": "erp \N{FLOPPY DISK}"})
    backup.complete()
    for tags in backup.everything_made():
        assert tags["team"] == "erp \N{FLOPPY DISK}"
        assert not any(key.startswith("aws:") for key in tags)
        assert "stillpoint:last" not in tags


def test_no_more_tags_are_written_than_a_resource_may_carry(stack: Stack) -> None:
    backup = a_captured(stack)
    tag(backup.instance_ids, {f"owner-{number:02}": "x" for number in range(44)})
    backup.complete()
    for tags in backup.everything_made():
        assert len(tags) == TAG_LIMIT - ADDED_LATER
        assert tags["Name"] == "web"
        for key, value in tags.items():
            assert len(value) <= 256
            assert not key.startswith("stillpoint:") or portable(value) == value


def test_members_are_judged_one_by_one(stack: Stack) -> None:
    backup = a_captured(stack, 2)
    first, second = backup.instance_ids
    set_launch_time(second, INITIATED.replace(second=20))
    backup.complete()
    assert [consistency_of(image) for image in backup.image_ids] == ["file-system", "crash"]
    assert tags_of(backup.image_ids[0])["stillpoint:instance"] == first


@pytest.mark.parametrize(
    ("method", "before", "level", "reason"),
    [
        ("stop", "running", "file-system", "stopped in 27 s"),
        ("stop", "stopped", "crash", "stopped before this backup began"),
        ("reboot", "running", "file-system", "EC2 shut it down for the image"),
        ("reboot", "stopped", "crash", "stopped before this backup began"),
        ("none", "running", "crash", "imaged while it ran"),
    ],
)
def test_each_method_claims_what_it_can_prove(
    stack: Stack, method: str, before: str, level: str, reason: str
) -> None:
    backup = a_captured(stack, method=method, before=before)
    answer = backup.complete()
    (point,) = answer["recovery_points"]
    assert (answer["status"], point["consistency"]) == ("succeeded", level)
    assert reason in point["reason"]
    for tags in backup.everything_made():
        assert tags["stillpoint:consistency"] == level
        assert tags["stillpoint:evidence"] == point["reason"]


def test_a_stop_that_ec2_may_have_cut_short_is_not_called_consistent(stack: Stack) -> None:
    backup = a_captured(stack)
    stops = [{**backup.event["stops"][0], "requested_at": "2026-11-22T02:58:33Z"}]
    backup.complete(stops=stops)
    (tags, _) = backup.everything_made()
    assert tags["stillpoint:consistency"] == "crash"
    assert "the stop took 121 s" in tags["stillpoint:evidence"]


def test_a_snapshot_from_before_the_stop_spoils_the_claim(stack: Stack) -> None:
    backup = a_captured(stack, initiated_at=STOPPED.replace(second=20))
    backup.complete()
    assert consistency_of(backup.image_ids[0]) == "crash"


def test_an_instance_that_somebody_started_too_early_spoils_the_claim(stack: Stack) -> None:
    backup = a_captured(stack, launched_at=STOPPED.replace(second=36))
    backup.complete()
    assert consistency_of(backup.image_ids[0]) == "crash"


def test_a_volume_that_another_instance_has_attached_too_spoils_the_claim(stack: Stack) -> None:
    backup = a_captured(stack)
    attachments = [{"InstanceId": each} for each in (*backup.instance_ids, "i-0123456789abcdef0")]
    volumes = [{"VolumeId": "vol-0a", "Attachments": attachments, "Encrypted": False}]
    with answered("ec2", "DescribeVolumes", {"Volumes": volumes}):
        backup.complete()
    (tags, _) = backup.everything_made()
    assert tags["stillpoint:consistency"] == "crash"
    assert "vol-0a" in tags["stillpoint:evidence"]


def test_an_image_that_lacks_a_volume_is_no_recovery_point(stack: Stack) -> None:
    backup = a_captured(stack, volumes=2)
    backend().snapshots[backup.snapshot_ids[0][1]].status = "error"
    answer = backup.complete()
    assert (answer["status"], answer["error"]) == ("failed", "SnapshotFailed")
    assert "1 of 2 volumes have a snapshot" in answer["cause"]
    assert consistency_of(backup.image_ids[0]) is None
    assert stack.events() == ["BackupFailed"]


def test_later_looks_read_the_evidence_back_and_judge_nothing_anew(stack: Stack) -> None:
    backup = a_captured(stack, image_state="pending")
    backup.complete()
    written = backup.everything_made()
    set_launch_time(backup.instance_ids[0], AN_HOUR_LATER)
    backup.set_images("available")
    with throttled("ec2", "DescribeVolumes"):
        answer = backup.complete(checks=1, now=AN_HOUR_LATER)
    (point,) = answer["recovery_points"]
    assert point["consistency"] == "file-system"
    assert point["reason"] == written[0]["stillpoint:evidence"]
    assert backup.everything_made() == written


def test_evidence_whose_writing_failed_is_written_when_asked_again(stack: Stack) -> None:
    backup = a_captured(stack)
    with (
        throttled("ec2", "CreateTags", about=backup.image_ids[0]),
        pytest.raises(Exception, match="tagging ami-"),
    ):
        backup.complete()
    assert stack.messages() == []
    assert backup.complete()["status"] == "succeeded"
    assert consistency_of(backup.image_ids[0]) == "file-system"


def test_an_image_that_ec2_does_not_show_yet_is_waited_for_and_judged_then(stack: Stack) -> None:
    backup = a_captured(stack)
    with answered("ec2", "DescribeImages", {"Images": []}):
        assert backup.complete() == {"status": "pending", "wait_seconds": 120}
    answer = backup.complete(checks=1, now=SOON.replace(minute=2))
    assert (answer["status"], stack.events()) == ("succeeded", ["BackupSucceeded"])
    assert consistency_of(backup.image_ids[0]) == "file-system"


def test_snapshots_that_ec2_does_not_show_yet_do_not_condemn_a_good_image(stack: Stack) -> None:
    backup = a_captured(stack, volumes=3)
    with answered("ec2", "DescribeSnapshots", {"Snapshots": []}):
        assert backup.complete() == {"status": "pending", "wait_seconds": 120}
    answer = backup.complete(checks=1, now=SOON.replace(minute=2))
    assert (answer["status"], stack.events()) == ("succeeded", ["BackupSucceeded"])
    assert consistency_of(backup.image_ids[0]) == "file-system"


def test_an_image_that_stays_away_is_missing(stack: Stack) -> None:
    backup = a_captured(stack)
    with answered("ec2", "DescribeImages", {"Images": []}):
        answer = backup.complete(now=AN_HOUR_LATER)
    assert (answer["status"], answer["error"]) == ("failed", "ImageMissing")


def test_an_instance_that_was_not_seen_since_proves_nothing(stack: Stack) -> None:
    backup = a_captured(stack)
    with answered("ec2", "DescribeInstances", {"Reservations": []}):
        answer = backup.complete()
    assert answer["status"] == "succeeded"
    assert consistency_of(backup.image_ids[0]) == "crash"


def test_an_instance_that_was_terminated_after_its_start_leaves_a_good_point(
    stack: Stack,
) -> None:
    backup = a_captured(stack)
    terminate(backup.instance_ids[0])
    assert backup.complete()["status"] == "succeeded"
    assert consistency_of(backup.image_ids[0]) == "file-system"


@pytest.mark.parametrize(
    ("launched", "level"),
    [(LONG_AGO, "file-system"), (LAUNCHED, "file-system"), (STOPPED.replace(second=36), "crash")],
)
def test_one_that_is_down_now_was_at_rest_unless_it_was_started_in_between(
    stack: Stack, launched: object, level: str
) -> None:
    backup = a_captured(stack)
    (instance_id,) = backup.instance_ids
    backend().get_instance(instance_id).launch_time = launched
    set_state(instance_id, "stopped")
    backup.complete(running_at={})
    assert consistency_of(backup.image_ids[0]) == level


def test_the_newest_recovery_point_is_shown_on_the_instance(stack: Stack) -> None:
    backup = a_captured(stack)
    backup.complete()
    shown = own_tags_of(backup.instance_ids[0])["recovery-point"]
    assert shown == f"2026-11-22T03:00:40Z {backup.image_ids[0]} file-system"
