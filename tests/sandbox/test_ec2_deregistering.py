"""What deregistering does to snapshots, and what it leaves behind."""

import pytest

from tests.sandbox.ec2_lab import AWAY, Lab


def results_of(lab: Lab, image: str) -> dict[str, str]:
    answer = lab.call("DeregisterImage", ImageId=image, DeleteAssociatedSnapshots=True)
    return {one["SnapshotId"]: one["ReturnCode"] for one in answer["DeleteSnapshotResults"]}


def snapshot_ids(lab: Lab, image: str) -> list[str]:
    return [one["Ebs"]["SnapshotId"] for one in lab.image(image)["BlockDeviceMappings"]]


def test_a_snapshot_that_another_image_uses_is_skipped() -> None:
    lab = Lab()
    image = lab.available_image(lab.launch(volumes=[{}]))
    root, data = snapshot_ids(lab, image)
    mapping = [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": root}}]
    other = str(lab.call("RegisterImage", Name="by-hand", BlockDeviceMappings=mapping)["ImageId"])
    assert lab.image(other)["State"] == "available"
    assert results_of(lab, image) == {root: "skipped", data: "success"}
    assert lab.error("DeleteSnapshot", SnapshotId=root) == "InvalidSnapshot.InUse"
    assert results_of(lab, other) == {root: "success"}


def test_an_image_needs_completed_snapshots_to_be_registered() -> None:
    lab = Lab()
    web = lab.launch()
    image = lab.create_image(web)
    lab.wait(10)
    mapping = [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_ids(lab, image)[0]}}]
    error = lab.error("RegisterImage", Name="by-hand", BlockDeviceMappings=mapping)
    assert error == "InvalidBlockDeviceMapping"


@pytest.mark.parametrize("code", ["missing-permissions", "internal-error", "client-error"])
def test_a_snapshot_can_be_refused_while_the_call_succeeds(code: str) -> None:
    lab = Lab()
    image = lab.available_image(lab.launch(volumes=[{}]))
    root, data = snapshot_ids(lab, image)
    lab.world.faults.add({"name": "snapshot-delete-refused", "return_code": code, "volume": 0})
    assert results_of(lab, image) == {root: code, data: "success"}
    assert lab.image_truth(image)["state"] == "deregistered"
    (left,) = lab.call("DescribeSnapshots")["Snapshots"]
    assert left["SnapshotId"] == root
    lab.call("DeleteSnapshot", SnapshotId=root)


def test_a_locked_snapshot_outlives_its_image() -> None:
    lab = Lab()
    image = lab.available_image(lab.launch(volumes=[{}]))
    root, data = snapshot_ids(lab, image)
    lab.call("LockSnapshot", SnapshotId=root, LockMode="governance", LockDuration=1)
    assert results_of(lab, image) == {root: "client-error", data: "success"}
    assert lab.error("DeleteSnapshot", SnapshotId=root) == "OperationNotPermitted"
    lab.wait(86_400)
    lab.call("DeleteSnapshot", SnapshotId=root)


def test_the_truth_remembers_what_calls_do_not() -> None:
    lab = Lab()
    image = lab.available_image(lab.launch())
    before = lab.image_truth(image)
    results_of(lab, image)
    assert lab.call("DescribeImages", ImageIds=[image])["Images"] == []
    after = lab.image_truth(image)
    assert after["state"] == "deregistered"
    assert after["dirty_bytes"] == before["dirty_bytes"]
    assert [one["state"] for one in after["snapshots"]] == ["deleted"]
    assert lab.world.truth()["snapshots"] == []


def test_images_of_the_truth_come_in_the_order_of_their_creation() -> None:
    lab = Lab()
    web = lab.launch()
    images = [lab.available_image(web, f"image-{number}") for number in range(3)]
    lab.call("DeregisterImage", ImageId=images[1])
    assert [one["image_id"] for one in lab.world.truth()["images"]] == images


def test_each_region_has_its_own_images() -> None:
    lab = Lab()
    image = lab.available_image(lab.launch())
    copy = lab.copy(image)
    lab.wait(900)
    assert lab.error("DeregisterImage", ImageId=copy) == "InvalidAMIID.NotFound"
    assert lab.error_in(AWAY, "DeregisterImage", ImageId=image) == "InvalidAMIID.NotFound"
    lab.call("DeregisterImage", ImageId=image)
    assert lab.copied(copy)["State"] == "available"
