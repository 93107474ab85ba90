"""How images and their snapshots come about and go."""

import pytest

from sandbox.ec2 import Ec2Error
from tests.sandbox.ec2_lab import Lab


def test_create_image_answers_before_any_snapshot_exists() -> None:
    lab = Lab()
    web = lab.launch(volumes=[{}, {}])
    image = lab.create_image(web)
    assert lab.image(image)["State"] == "pending"
    assert lab.snapshots(image) == []
    mappings = lab.image(image)["BlockDeviceMappings"]
    assert [mapping["Ebs"]["SnapshotId"] for mapping in mappings] == [None, None, None]


def test_snapshots_are_initiated_one_after_the_other_each_with_its_own_start_time() -> None:
    lab = Lab()
    web = lab.launch(volumes=[{}, {}])
    image = lab.create_image(web)
    counts = []
    for _ in range(4):
        counts.append(len(lab.snapshots(image)))
        lab.wait(1)
    assert counts == [0, 1, 2, 3]
    starts = [snapshot["StartTime"] for snapshot in lab.snapshots(image)]
    assert [(later - starts[0]).total_seconds() for later in starts] == [0, 1, 2]
    devices = lab.instance(web)["BlockDeviceMappings"]
    volumes = {mapping["Ebs"]["VolumeId"] for mapping in devices}
    assert {snapshot["VolumeId"] for snapshot in lab.snapshots(image)} == volumes
    assert lab.snapshots(image)[0]["VolumeId"] == devices[0]["Ebs"]["VolumeId"]


def test_snapshots_complete_before_their_image_is_available() -> None:
    lab = Lab()
    web = lab.launch()
    image = lab.create_image(web)
    lab.wait(300)
    (snapshot,) = lab.snapshots(image)
    assert snapshot["State"] == "pending"
    assert snapshot["Progress"].endswith("%")
    assert 0 < int(snapshot["Progress"].rstrip("%")) < 100
    lab.wait_for(lambda: lab.snapshots(image)[0]["State"] == "completed")
    assert lab.image(image)["State"] == "pending"
    assert lab.snapshots(image)[0]["Progress"] == "100%"
    lab.wait_for(lambda: lab.image(image)["State"] == "available")


def test_an_image_tells_where_it_comes_from() -> None:
    lab = Lab()
    web = lab.launch(volumes=[{"VolumeSize": 20, "Encrypted": True}])
    image = lab.create_image(web, "nightly", Description="of the web server")
    lab.wait(700)
    shown = lab.image(image)
    assert shown["SourceInstanceId"] == web
    assert shown["Name"] == "nightly"
    assert shown["Description"] == "of the web server"
    assert shown["CreationDate"].endswith(".000Z")
    data = shown["BlockDeviceMappings"][1]["Ebs"]
    assert (data["VolumeSize"], data["Encrypted"]) == (20, True)
    root, extra = lab.snapshots(image)
    assert root["Description"] == f"Created by CreateImage({web}) for {image}"
    assert extra["KmsKeyId"].startswith("arn:aws:kms:")
    assert root["KmsKeyId"] is None


def test_tags_go_to_the_image_and_to_every_snapshot() -> None:
    lab = Lab()
    web = lab.launch(volumes=[{}])
    specifications = [
        {"ResourceType": "image", "Tags": [{"Key": "kind", "Value": "image"}]},
        {"ResourceType": "snapshot", "Tags": [{"Key": "kind", "Value": "snapshot"}]},
    ]
    image = lab.create_image(web, TagSpecifications=specifications)
    lab.wait(2)
    assert lab.image(image)["Tags"] == [{"Key": "kind", "Value": "image"}]
    tags = [snapshot["Tags"] for snapshot in lab.snapshots(image)]
    assert tags == [[{"Key": "kind", "Value": "snapshot"}]] * 2


def test_only_an_image_and_its_snapshots_can_be_tagged_at_creation() -> None:
    lab = Lab()
    web = lab.launch()
    bad = [{"ResourceType": "volume", "Tags": [{"Key": "a", "Value": "b"}]}]
    error = lab.error(
        "CreateImage", InstanceId=web, Name="image", NoReboot=True, TagSpecifications=bad
    )
    assert error == "InvalidParameterValue"
    assert lab.call("DescribeImages")["Images"] == []


def test_a_volume_can_be_excluded_by_an_empty_no_device() -> None:
    lab = Lab()
    web = lab.launch(volumes=[{}])
    mappings = [{"DeviceName": "/dev/sdf", "NoDevice": ""}]
    image = lab.create_image(web, BlockDeviceMappings=mappings)
    lab.wait(10)
    assert len(lab.snapshots(image)) == 1
    assert len(lab.image_truth(image)["excluded_volumes"]) == 1
    unknown = [{"DeviceName": "/dev/sdz", "NoDevice": ""}]
    error = lab.error("CreateImage", InstanceId=web, Name="b", BlockDeviceMappings=unknown)
    assert error == "InvalidAMIName.Malformed"
    error = lab.error("CreateImage", InstanceId=web, Name="bad", BlockDeviceMappings=unknown)
    assert error == "InvalidBlockDeviceMapping"


def test_an_image_can_be_made_of_a_stopping_instance_which_proves_nothing() -> None:
    lab = Lab(stop_seconds=100)
    web = lab.launch()
    lab.call("StopInstances", InstanceIds=[web])
    image = lab.create_image(web)
    lab.wait(2)
    assert lab.image_truth(image)["at_rest"] is False
    assert lab.image_truth(image)["dirty_bytes"] > 0


def test_an_image_cannot_be_made_of_a_pending_instance() -> None:
    lab = Lab()
    web = lab.launch()
    lab.stop(web)
    lab.start(web)
    with pytest.raises(Ec2Error) as refused:
        lab.create_image(web)
    assert refused.value.code == "InvalidParameterValue"
    assert refused.value.message == (
        f"Invalid value '{web}' for instanceId. Instance is not in state 'running' or 'stopping' "
        "or 'stopped'"
    )


@pytest.mark.parametrize("name", ["ab", "a" * 129, "2026-11-22T03:00", "naïve", "a b", ""])
def test_names_that_ec2_refuses(name: str) -> None:
    lab = Lab()
    web = lab.launch()
    assert lab.error("CreateImage", InstanceId=web, Name=name) == "InvalidAMIName.Malformed"


def test_a_name_is_taken_until_a_while_after_its_image_is_deregistered() -> None:
    lab = Lab()
    web = lab.launch()
    image = lab.create_image(web, "nightly")
    with pytest.raises(Ec2Error) as refused:
        lab.create_image(web, "nightly")
    assert refused.value.code == "InvalidAMIName.Duplicate"
    assert image in refused.value.message
    lab.wait(700)
    lab.call("DeregisterImage", ImageId=image)
    assert lab.error("CreateImage", InstanceId=web, Name="nightly") == "InvalidAMIName.Duplicate"
    lab.wait(3)
    assert lab.create_image(web, "nightly") != image


def test_the_description_has_a_limit() -> None:
    lab = Lab()
    web = lab.launch()
    error = lab.error("CreateImage", InstanceId=web, Name="image", Description="x" * 256)
    assert error == "InvalidParameterValue"


def test_a_new_image_and_its_snapshots_are_invisible_for_a_moment() -> None:
    lab = Lab(visibility_seconds=1)
    web = lab.launch()
    image = lab.create_image(web)
    assert lab.error("DescribeImages", ImageIds=[image]) == "InvalidAMIID.NotFound"
    assert lab.call("DescribeImages", Owners=["self"])["Images"] == []
    tag = [{"Key": "a", "Value": "b"}]
    assert lab.error("CreateTags", Resources=[image], Tags=tag) == "InvalidAMIID.NotFound"
    lab.wait(1)
    assert lab.image(image)["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"] is not None
    assert lab.snapshots(image) == []
    lab.wait(1)
    assert len(lab.snapshots(image)) == 1


def test_terminating_the_instance_fails_its_pending_image() -> None:
    lab = Lab()
    web = lab.launch()
    image = lab.create_image(web)
    lab.wait(10)
    lab.call("TerminateInstances", InstanceIds=[web])
    assert lab.image(image)["State"] == "failed"
    assert lab.image(image)["StateReason"]["Code"] == "Client.InstanceTerminated"
    assert len(lab.snapshots(image)) == 1


def test_a_reboot_fails_an_image_that_still_lacks_a_snapshot() -> None:
    lab = Lab()
    web = lab.launch(volumes=[{}])
    image = lab.create_image(web)
    lab.wait(1.5)
    lab.call("RebootInstances", InstanceIds=[web])
    assert lab.image(image)["State"] == "failed"
    lab.wait(10)
    assert len(lab.snapshots(image)) == 1


def test_a_reboot_does_not_harm_an_image_that_has_all_its_snapshots() -> None:
    lab = Lab()
    web = lab.launch()
    image = lab.create_image(web)
    lab.wait(1.5)
    lab.call("RebootInstances", InstanceIds=[web])
    lab.wait(700)
    assert lab.image(image)["State"] == "available"


def test_two_images_within_fifteen_seconds_fail_the_second_behind_the_callers_back() -> None:
    lab = Lab()
    web = lab.launch()
    first = lab.create_image(web, "first")
    lab.wait(10)
    second = lab.create_image(web, "second")
    lab.wait(1)
    assert lab.image(second)["State"] == "failed"
    assert lab.image(second)["StateReason"]["Code"] == "Server.InternalError"
    assert lab.image(first)["State"] == "pending"
    lab.wait(6)
    third = lab.create_image(web, "third")
    lab.wait(700)
    assert lab.image(third)["State"] == "available"


@pytest.mark.parametrize(("volume_type", "limit"), [("gp3", 5), ("st1", 1)])
def test_a_volume_bears_only_so_many_pending_snapshots(volume_type: str, limit: int) -> None:
    lab = Lab()
    web = lab.launch(volumes=[{"VolumeType": volume_type}])
    for number in range(limit):
        lab.create_image(web, f"image-{number}")
        lab.wait(20)
    error = lab.error("CreateImage", InstanceId=web, Name="one-more", NoReboot=True)
    assert error == "ConcurrentSnapshotLimitExceeded"


def test_deregistering_keeps_the_snapshots_unless_told_otherwise() -> None:
    lab = Lab()
    web = lab.launch(volumes=[{}])
    image = lab.create_image(web)
    lab.wait(700)
    snapshots = [snapshot["SnapshotId"] for snapshot in lab.snapshots(image)]
    in_use = lab.error("DeleteSnapshot", SnapshotId=snapshots[0])
    assert in_use == "InvalidSnapshot.InUse"
    assert lab.call("DeregisterImage", ImageId=image) == {"Return": True}
    assert lab.call("DescribeImages", ImageIds=[image])["Images"] == []
    assert lab.error("DeregisterImage", ImageId=image) == "InvalidAMIID.Unavailable"
    lab.call("DeleteSnapshot", SnapshotId=snapshots[0])
    error = lab.error("DescribeSnapshots", SnapshotIds=snapshots)
    assert error == "InvalidSnapshot.NotFound"
    assert len(lab.snapshots(image)) == 1


def test_deregistering_can_take_the_snapshots_along_and_says_which() -> None:
    lab = Lab()
    web = lab.launch(volumes=[{}])
    image = lab.create_image(web)
    lab.wait(700)
    snapshots = {snapshot["SnapshotId"] for snapshot in lab.snapshots(image)}
    answer = lab.call("DeregisterImage", ImageId=image, DeleteAssociatedSnapshots=True)
    results = {one["SnapshotId"]: one["ReturnCode"] for one in answer["DeleteSnapshotResults"]}
    assert results == dict.fromkeys(snapshots, "success")
    assert lab.snapshots(image) == []


def test_a_lone_snapshot_obeys_the_same_limits() -> None:
    lab = Lab()
    lab.launch()
    (volume,) = lab.call("DescribeVolumes")["Volumes"]
    answer = lab.call("CreateSnapshot", VolumeId=volume["VolumeId"])
    assert answer["State"] == "pending"
    error = lab.error("CreateSnapshot", VolumeId=volume["VolumeId"])
    assert error == "SnapshotCreationPerVolumeRateExceeded"
    lab.wait(700)
    (snapshot,) = lab.call("DescribeSnapshots")["Snapshots"]
    assert snapshot["State"] == "completed"
    lab.call("DeleteSnapshot", SnapshotId=snapshot["SnapshotId"])
    assert lab.call("DescribeSnapshots")["Snapshots"] == []
