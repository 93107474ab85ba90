"""Faults of images and snapshots: all of them strike after CreateImage has answered."""

from tests.sandbox.ec2_lab import Lab


def test_image_failed_fails_it_after_a_while_and_leaves_its_snapshots() -> None:
    lab = Lab()
    web = lab.launch(volumes=[{}])
    lab.world.faults.add({"name": "image-failed", "delay_seconds": 60})
    image = lab.create_image(web)
    lab.wait(59)
    assert lab.image(image)["State"] == "pending"
    lab.wait(1)
    assert lab.image(image)["State"] == "failed"
    assert lab.image(image)["StateReason"]["Code"] == "Server.InternalError"
    assert len(lab.snapshots(image)) == 2
    lab.wait(1000)
    assert lab.image(image)["State"] == "failed"


def test_image_failed_at_once_comes_before_any_snapshot() -> None:
    lab = Lab()
    web = lab.launch()
    lab.world.faults.add({"name": "image-failed", "delay_seconds": 0})
    image = lab.create_image(web)
    lab.wait(100)
    assert lab.image(image)["State"] == "failed"
    assert lab.snapshots(image) == []


def test_snapshot_never_initiated_leaves_the_image_pending_without_it() -> None:
    lab = Lab()
    web = lab.launch(volumes=[{}, {}])
    lab.world.faults.add({"name": "snapshot-never-initiated"})
    image = lab.create_image(web)
    lab.wait(5000)
    assert len(lab.snapshots(image)) == 2
    assert lab.image(image)["State"] == "pending"
    mappings = lab.image(image)["BlockDeviceMappings"]
    assert [mapping["Ebs"]["SnapshotId"] is None for mapping in mappings] == [False, False, True]
    missing = lab.image_truth(image)["missing_volumes"]
    assert missing == [lab.instance(web)["BlockDeviceMappings"][2]["Ebs"]["VolumeId"]]


def test_snapshot_never_initiated_can_concern_any_volume() -> None:
    lab = Lab()
    web = lab.launch(volumes=[{}])
    lab.world.faults.add({"name": "snapshot-never-initiated", "volume": 0})
    image = lab.create_image(web)
    lab.wait(10)
    missing = lab.image_truth(image)["missing_volumes"]
    assert missing == [lab.instance(web)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]]


def test_snapshot_error_ends_the_snapshot_and_its_image() -> None:
    lab = Lab()
    web = lab.launch(volumes=[{}])
    lab.world.faults.add({"name": "snapshot-error", "delay_seconds": 2})
    image = lab.create_image(web)
    lab.wait(3.5)
    assert [one["State"] for one in lab.snapshots(image)] == ["pending", "pending"]
    lab.wait(0.5)
    first, second = lab.snapshots(image)
    assert (first["State"], second["State"]) == ("pending", "error")
    assert second["StateMessage"]
    assert lab.image(image)["State"] == "failed"
    lab.wait(1000)
    assert [one["State"] for one in lab.snapshots(image)] == ["completed", "error"]


def test_instance_terminated_while_its_image_is_made() -> None:
    lab = Lab()
    web = lab.launch(volumes=[{}])
    image = lab.create_image(web)
    lab.wait(1)
    lab.world.faults.add({"name": "instance-terminated", "action": "DescribeInstances"})
    lab.call("DescribeInstances")
    assert lab.image(image)["State"] == "pending"
    lab.call("DescribeInstances", InstanceIds=[web])
    assert lab.image(image)["State"] == "failed"
    lab.wait(10)
    assert len(lab.snapshots(image)) == 1
