"""Deregistration protection and disabled images."""

from tests.sandbox.ec2_lab import AWAY, HOME, Lab


def test_a_protected_image_cannot_be_deregistered_until_it_is_unprotected() -> None:
    lab = Lab()
    image = lab.available_image(lab.launch())
    assert lab.image(image)["DeregistrationProtection"] == "disabled"
    assert lab.call("EnableImageDeregistrationProtection", ImageId=image) == {"Return": "true"}
    assert lab.image(image)["DeregistrationProtection"] == "enabled-without-cooldown"
    assert lab.error("DeregisterImage", ImageId=image) == "OperationNotPermitted"
    lab.call("DisableImageDeregistrationProtection", ImageId=image)
    assert lab.error("DeregisterImage", ImageId=image) == ""


def test_a_cooldown_protects_for_another_day() -> None:
    lab = Lab()
    image = lab.available_image(lab.launch())
    lab.call("EnableImageDeregistrationProtection", ImageId=image, WithCooldown=True)
    shown = lab.call("DescribeImageAttribute", ImageId=image, Attribute="deregistrationProtection")
    assert shown["DeregistrationProtection"] == {"Value": "enabled-with-cooldown"}
    lab.call("DisableImageDeregistrationProtection", ImageId=image)
    lab.wait(86_399)
    assert lab.error("DeregisterImage", ImageId=image) == "OperationNotPermitted"
    lab.wait(1)
    assert lab.error("DeregisterImage", ImageId=image) == ""


def test_a_disabled_image_is_hidden_and_cannot_be_used() -> None:
    lab = Lab()
    image = lab.available_image(lab.launch())
    lab.call(
        "ModifyImageAttribute", ImageId=image, LaunchPermission={"Add": [{"UserId": "1" * 12}]}
    )
    lab.call("DisableImage", ImageId=image)
    assert lab.call("DescribeImages", ImageIds=[image])["Images"] == []
    (shown,) = lab.call("DescribeImages", IncludeDisabled=True)["Images"]
    assert shown["State"] == "disabled"
    launch = {"MinCount": 1, "MaxCount": 1, "ImageId": image}
    assert lab.error("RunInstances", **launch) == "InvalidAMIID.Unavailable"
    copy = {"SourceImageId": image, "SourceRegion": HOME, "Name": "copy"}
    assert lab.error_in(AWAY, "CopyImage", **copy) == "InvalidAMIID.Unavailable"
    lab.call("EnableImage", ImageId=image)
    assert lab.image(image)["State"] == "available"
    shown = lab.call("DescribeImageAttribute", ImageId=image, Attribute="launchPermission")
    assert shown["LaunchPermissions"] == []
    assert lab.error("EnableImage", ImageId=image) == "IncorrectState"
    assert lab.error("RunInstances", **launch) == ""


def test_the_snapshots_of_a_disabled_image_are_in_use() -> None:
    lab = Lab()
    image = lab.available_image(lab.launch())
    (snapshot,) = lab.snapshots(image)
    lab.call("DisableImage", ImageId=image)
    in_use = lab.error("DeleteSnapshot", SnapshotId=snapshot["SnapshotId"])
    assert in_use == "InvalidSnapshot.InUse"
    lab.call("DeregisterImage", ImageId=image, DeleteAssociatedSnapshots=True)
    assert lab.call("DescribeSnapshots")["Snapshots"] == []


def test_only_an_available_image_can_be_disabled() -> None:
    lab = Lab()
    image = lab.create_image(lab.launch())
    assert lab.error("DisableImage", ImageId=image) == "InvalidAMIID.Unavailable"
