"""Sharing images and snapshots with other accounts."""

import pytest

from sandbox.ec2 import Ec2Error
from tests.sandbox.ec2_lab import Lab

FRIEND, OTHER = "111111111111", "222222222222"
KEY = "11112222-3333-4444-5555-666677778888"


def users_of(lab: Lab, image: str) -> list[str]:
    shown = lab.call("DescribeImageAttribute", ImageId=image, Attribute="launchPermission")
    return [one["UserId"] for one in shown["LaunchPermissions"]]


def test_launch_permissions_are_added_and_removed_in_both_forms() -> None:
    lab = Lab()
    image = lab.available_image(lab.launch())
    add = {"Add": [{"UserId": FRIEND}, {"UserId": OTHER}]}
    lab.call("ModifyImageAttribute", ImageId=image, LaunchPermission=add)
    lab.call("ModifyImageAttribute", ImageId=image, LaunchPermission=add)
    assert users_of(lab, image) == [FRIEND, OTHER]
    flat = {"Attribute": "launchPermission", "OperationType": "remove", "UserIds": [FRIEND]}
    lab.call("ModifyImageAttribute", ImageId=image, **flat)
    assert users_of(lab, image) == [OTHER]


def test_create_volume_permissions_are_added_and_removed() -> None:
    lab = Lab()
    (snapshot,) = lab.snapshots(lab.available_image(lab.launch()))
    named = {"SnapshotId": snapshot["SnapshotId"], "Attribute": "createVolumePermission"}
    lab.call("ModifySnapshotAttribute", **named, OperationType="add", UserIds=[FRIEND, OTHER])
    remove = {"Remove": [{"UserId": OTHER}]}
    lab.call("ModifySnapshotAttribute", **named, CreateVolumePermission=remove)
    shown = lab.call("DescribeSnapshotAttribute", **named)
    assert shown["CreateVolumePermissions"] == [{"UserId": FRIEND}]


def test_what_is_under_the_aws_managed_key_cannot_be_shared() -> None:
    lab = Lab()
    image = lab.available_image(lab.launch(volumes=[{"Encrypted": True}]))
    add = {"Add": [{"UserId": FRIEND}]}
    with pytest.raises(Ec2Error) as refused:
        lab.call("ModifyImageAttribute", ImageId=image, LaunchPermission=add)
    assert refused.value.code == "InvalidParameter"
    assert refused.value.message == (
        "Snapshots encrypted with the AWS Managed CMK can't be shared. Specify another snapshot."
    )
    plain, encrypted = (one["SnapshotId"] for one in lab.snapshots(image))
    share = {"CreateVolumePermission": add}
    assert lab.error("ModifySnapshotAttribute", SnapshotId=plain, **share) == ""
    error = lab.error("ModifySnapshotAttribute", SnapshotId=encrypted, **share)
    assert error == "OperationNotPermitted"
    assert users_of(lab, image) == []


def test_what_is_under_a_customer_managed_key_can_be_shared() -> None:
    lab = Lab()
    key = lab.world.add_key(KEY)
    image = lab.available_image(lab.launch(volumes=[{"Encrypted": True, "KmsKeyId": key}]))
    lab.call("ModifyImageAttribute", ImageId=image, LaunchPermission={"Add": [{"UserId": FRIEND}]})
    assert users_of(lab, image) == [FRIEND]


def test_unsound_requests_are_refused() -> None:
    lab = Lab()
    web = lab.launch()
    pending = lab.create_image(web, "pending")
    add = {"Add": [{"UserId": FRIEND}]}
    error = lab.error("ModifyImageAttribute", ImageId=pending, LaunchPermission=add)
    assert error == "InvalidAMIID.Unavailable"
    lab.wait(700)
    bad = {"Add": [{"UserId": "me"}]}
    error = lab.error("ModifyImageAttribute", ImageId=pending, LaunchPermission=bad)
    assert error == "InvalidAMIAttributeItemValue"
    everybody = {"Add": [{"Group": "all"}]}
    error = lab.error("ModifyImageAttribute", ImageId=pending, LaunchPermission=everybody)
    assert error == "UnsupportedOperation"
    assert lab.error("ModifyImageAttribute", ImageId=pending) == "InvalidParameterCombination"
    unknown = {"ImageId": pending, "Attribute": "colour"}
    assert lab.error("DescribeImageAttribute", **unknown) == "InvalidParameterValue"
    (snapshot,) = lab.snapshots(pending)
    many = {"Add": [{"UserId": f"{number:012d}"} for number in range(501)]}
    error = lab.error(
        "ModifySnapshotAttribute", SnapshotId=snapshot["SnapshotId"], CreateVolumePermission=many
    )
    assert error == "InvalidParameterValue"


def test_a_description_can_be_changed_and_read() -> None:
    lab = Lab()
    image = lab.available_image(lab.launch())
    lab.call("ModifyImageAttribute", ImageId=image, Description={"Value": "new"})
    shown = lab.call("DescribeImageAttribute", ImageId=image, Attribute="description")
    assert shown["Description"] == {"Value": "new"}


def test_permissions_are_not_copied() -> None:
    lab = Lab()
    image = lab.available_image(lab.launch())
    lab.call("ModifyImageAttribute", ImageId=image, LaunchPermission={"Add": [{"UserId": FRIEND}]})
    copy = lab.copy(image)
    lab.wait(900)
    named = {"ImageId": copy, "Attribute": "launchPermission"}
    assert lab.call_in("eu-west-1", "DescribeImageAttribute", **named)["LaunchPermissions"] == []
