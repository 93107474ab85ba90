"""Locks of snapshots."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.sandbox.ec2_lab import Lab

DAY = 86_400


def a_snapshot(lab: Lab) -> str:
    """A completed snapshot that no image uses."""
    lab.launch()
    (volume,) = lab.call("DescribeVolumes")["Volumes"]
    snapshot = str(lab.call("CreateSnapshot", VolumeId=volume["VolumeId"])["SnapshotId"])
    lab.wait(600)
    return snapshot


def state_of(lab: Lab, snapshot: str) -> str:
    (row,) = lab.call("DescribeLockedSnapshots", SnapshotIds=[snapshot])["Snapshots"]
    return str(row["LockState"])


def test_a_lock_in_governance_mode_holds_until_it_expires() -> None:
    lab = Lab()
    snapshot = a_snapshot(lab)
    answer = lab.call("LockSnapshot", SnapshotId=snapshot, LockMode="governance", LockDuration=2)
    assert answer["LockState"] == "governance"
    assert (answer["LockExpiresOn"] - answer["LockCreatedOn"]).days == 2
    assert lab.error("DeleteSnapshot", SnapshotId=snapshot) == "OperationNotPermitted"
    lab.wait(2 * DAY)
    assert state_of(lab, snapshot) == "expired"
    assert lab.error("DeleteSnapshot", SnapshotId=snapshot) == ""


def test_a_lock_in_governance_mode_can_be_shortened_and_taken_back() -> None:
    lab = Lab()
    snapshot = a_snapshot(lab)
    lab.call("LockSnapshot", SnapshotId=snapshot, LockMode="governance", LockDuration=30)
    lab.call("LockSnapshot", SnapshotId=snapshot, LockMode="governance", LockDuration=1)
    assert lab.call("UnlockSnapshot", SnapshotId=snapshot) == {"SnapshotId": snapshot}
    assert lab.call("DescribeLockedSnapshots")["Snapshots"] == []
    assert lab.error("UnlockSnapshot", SnapshotId=snapshot) == "IncorrectState"
    lab.call("DeleteSnapshot", SnapshotId=snapshot)


def test_a_lock_in_compliance_mode_can_be_taken_back_in_its_cooling_off_period_only() -> None:
    lab = Lab()
    snapshot = a_snapshot(lab)
    lock = {"SnapshotId": snapshot, "LockMode": "compliance", "LockDuration": 10}
    lab.call("LockSnapshot", **lock, CoolOffPeriod=3)
    assert state_of(lab, snapshot) == "compliance-cooloff"
    lab.call("UnlockSnapshot", SnapshotId=snapshot)
    lab.call("LockSnapshot", **lock, CoolOffPeriod=3)
    lab.wait(3 * 3600)
    assert state_of(lab, snapshot) == "compliance"
    assert lab.error("UnlockSnapshot", SnapshotId=snapshot) == "OperationNotPermitted"
    shorter = {**lock, "LockDuration": 1}
    assert lab.error("LockSnapshot", **shorter) == "OperationNotPermitted"
    weaker = {**lock, "LockMode": "governance"}
    assert lab.error("LockSnapshot", **weaker) == "OperationNotPermitted"
    assert lab.error("LockSnapshot", **{**lock, "LockDuration": 20}) == ""


def test_a_lock_can_end_at_a_date() -> None:
    lab = Lab()
    snapshot = a_snapshot(lab)
    until = datetime.fromtimestamp(lab.clock.time, UTC) + timedelta(days=3, hours=1)
    date = until.isoformat().replace("+00:00", "Z")
    lock = {"SnapshotId": snapshot, "LockMode": "governance"}
    answer = lab.call("LockSnapshot", **lock, ExpirationDate=date)
    assert answer["LockExpiresOn"] == until
    past = datetime.fromtimestamp(lab.clock.time, UTC)
    assert lab.error("LockSnapshot", **lock, ExpirationDate=past) == "InvalidParameterValue"
    assert lab.error("LockSnapshot", **lock, ExpirationDate="soon") == "InvalidParameterValue"


def test_the_duration_of_a_lock_on_a_pending_snapshot_begins_when_it_is_complete() -> None:
    lab = Lab()
    lab.launch()
    (volume,) = lab.call("DescribeVolumes")["Volumes"]
    snapshot = str(lab.call("CreateSnapshot", VolumeId=volume["VolumeId"])["SnapshotId"])
    answer = lab.call("LockSnapshot", SnapshotId=snapshot, LockMode="governance", LockDuration=1)
    assert answer["LockExpiresOn"] is None
    lab.wait(600)
    (row,) = lab.call("DescribeLockedSnapshots")["Snapshots"]
    assert row["LockDurationStartTime"] > row["LockCreatedOn"]
    assert (row["LockExpiresOn"] - row["LockDurationStartTime"]).days == 1


def test_a_snapshot_of_a_pending_image_cannot_be_locked() -> None:
    lab = Lab()
    image = lab.create_image(lab.launch())
    lab.wait(10)
    (snapshot,) = lab.snapshots(image)
    lock = {"SnapshotId": snapshot["SnapshotId"], "LockMode": "governance", "LockDuration": 1}
    assert lab.error("LockSnapshot", **lock) == "IncorrectState"
    lab.wait(700)
    assert lab.error("LockSnapshot", **lock) == ""


def test_locks_are_listed_by_state() -> None:
    lab = Lab()
    snapshot = a_snapshot(lab)
    lab.call("LockSnapshot", SnapshotId=snapshot, LockMode="governance", LockDuration=1)
    by_state = [{"Name": "lock-state", "Values": ["governance"]}]
    assert len(lab.call("DescribeLockedSnapshots", Filters=by_state)["Snapshots"]) == 1
    lab.wait(DAY)
    assert lab.call("DescribeLockedSnapshots", Filters=by_state)["Snapshots"] == []


@pytest.mark.parametrize(
    ("lock", "error"),
    [
        ({}, "MissingParameter"),
        ({"LockMode": "iron", "LockDuration": 1}, "InvalidParameterValue"),
        ({"LockMode": "governance"}, "InvalidParameterCombination"),
        ({"LockMode": "governance", "LockDuration": 0}, "InvalidParameterValue"),
        ({"LockMode": "governance", "LockDuration": 36_501}, "InvalidParameterValue"),
        (
            {"LockMode": "governance", "LockDuration": 1, "CoolOffPeriod": 1},
            "InvalidParameterValue",
        ),
        (
            {"LockMode": "compliance", "LockDuration": 1, "CoolOffPeriod": 73},
            "InvalidParameterValue",
        ),
    ],
)
def test_unsound_locks_are_refused(lock: dict[str, object], error: str) -> None:
    lab = Lab()
    assert lab.error("LockSnapshot", SnapshotId=a_snapshot(lab), **lock) == error
