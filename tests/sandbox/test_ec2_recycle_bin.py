"""The Recycle Bin: what is deleted can be restored for some days."""

import pytest

from tests.sandbox.ec2_lab import AWAY, Lab

DAY = 86_400


def binned_image(lab: Lab) -> str:
    """An image that was deregistered with its snapshot, under rules for both."""
    lab.world.set_recycle_bin(image_days=7, snapshot_days=7)
    image = lab.available_image(lab.launch(), "nightly")
    lab.call("CreateTags", Resources=[image], Tags=[{"Key": "a", "Value": "b"}])
    lab.call("DeregisterImage", ImageId=image, DeleteAssociatedSnapshots=True)
    return image


def test_what_is_deleted_is_listed_until_its_time_is_over() -> None:
    lab = Lab()
    image = binned_image(lab)
    assert lab.call("DescribeImages")["Images"] == []
    assert lab.call("DescribeSnapshots")["Snapshots"] == []
    (row,) = lab.call("ListImagesInRecycleBin")["Images"]
    assert (row["ImageId"], row["Name"]) == (image, "nightly")
    assert (row["RecycleBinExitTime"] - row["RecycleBinEnterTime"]).days == 7
    (snapshot,) = lab.call("ListSnapshotsInRecycleBin")["Snapshots"]
    assert snapshot["Description"].endswith(image)
    assert lab.image_truth(image)["recycled_until"].startswith("2026-11-29T")
    lab.wait(7 * DAY)
    assert lab.call("ListImagesInRecycleBin", ImageIds=[image])["Images"] == []
    assert lab.call("ListSnapshotsInRecycleBin")["Snapshots"] == []
    assert lab.error("RestoreImageFromRecycleBin", ImageId=image) == "InvalidAMIID.NotFound"


def test_an_image_comes_back_after_its_snapshots() -> None:
    lab = Lab()
    image = binned_image(lab)
    assert lab.error("RestoreImageFromRecycleBin", ImageId=image) == "InvalidSnapshot.NotFound"
    (row,) = lab.call("ListSnapshotsInRecycleBin")["Snapshots"]
    answer = lab.call("RestoreSnapshotFromRecycleBin", SnapshotId=row["SnapshotId"])
    assert answer["State"] == "completed"
    lab.call("RestoreImageFromRecycleBin", ImageId=image)
    assert lab.image(image)["State"] == "available"
    assert lab.image(image)["Tags"] == [{"Key": "a", "Value": "b"}]
    assert lab.error("DeleteSnapshot", SnapshotId=row["SnapshotId"]) == "InvalidSnapshot.InUse"
    assert lab.call("ListImagesInRecycleBin")["Images"] == []
    lab.wait(8 * DAY)
    assert lab.image(image)["Tags"] == [{"Key": "a", "Value": "b"}]


def test_an_image_does_not_come_back_under_a_name_that_is_taken() -> None:
    lab = Lab()
    lab.world.set_recycle_bin(image_days=7, snapshot_days=None)
    web = lab.launch()
    image = lab.available_image(web, "nightly")
    lab.call("DeregisterImage", ImageId=image)
    lab.wait(10)
    lab.available_image(web, "nightly")
    assert lab.error("RestoreImageFromRecycleBin", ImageId=image) == "InvalidAMIName.Duplicate"


def test_without_a_rule_what_is_deleted_is_gone() -> None:
    lab = Lab()
    image = lab.available_image(lab.launch())
    lab.call("DeregisterImage", ImageId=image, DeleteAssociatedSnapshots=True)
    assert lab.call("ListImagesInRecycleBin")["Images"] == []
    assert lab.image_truth(image)["recycled_until"] is None
    error = lab.error("RestoreSnapshotFromRecycleBin", SnapshotId="snap-00000000")
    assert error == "InvalidSnapshot.NotFound"


def test_each_region_has_its_own_rules() -> None:
    lab = Lab()
    lab.world.set_recycle_bin(image_days=1, snapshot_days=1, region=AWAY)
    image = lab.available_image(lab.launch())
    copy = lab.copy(image)
    lab.wait(900)
    lab.call("DeregisterImage", ImageId=image)
    lab.call_in(AWAY, "DeregisterImage", ImageId=copy)
    assert lab.call("ListImagesInRecycleBin")["Images"] == []
    assert len(lab.call_in(AWAY, "ListImagesInRecycleBin")["Images"]) == 1


def test_a_rule_keeps_for_a_day_to_a_year() -> None:
    with pytest.raises(ValueError, match="1 to 365 days"):
        Lab().world.set_recycle_bin(image_days=366, snapshot_days=None)
