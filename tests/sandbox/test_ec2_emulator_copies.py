"""Copies with their safeguards, and what refers to an image, as boto3 reaches them."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from tests.sandbox.ec2_lab import Lab
from tests.sandbox.ec2_wire import REGION, launch

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


def test_a_copy_and_its_safeguards_over_the_wire(ec2: "EC2Client", lab: Lab) -> None:
    web = launch(ec2, lab)
    image = ec2.create_image(InstanceId=web, Name="nightly", NoReboot=True)["ImageId"]
    lab.wait(700)
    copy = ec2.copy_image(
        SourceImageId=image,
        SourceRegion=REGION,
        Name="copy",
        ClientToken="once",
        TagSpecifications=[{"ResourceType": "image", "Tags": [{"Key": "a", "Value": "b"}]}],
    )["ImageId"]
    lab.wait(1000)
    (shown,) = ec2.describe_images(ImageIds=[copy])["Images"]
    assert (shown["State"], shown["SourceImageId"]) == ("available", image)
    assert "SourceInstanceId" not in shown
    snapshot = shown["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    ec2.enable_image_deregistration_protection(ImageId=copy, WithCooldown=False)
    with pytest.raises(ClientError, match="OperationNotPermitted"):
        ec2.deregister_image(ImageId=copy)
    ec2.disable_image_deregistration_protection(ImageId=copy)
    until = datetime.fromtimestamp(lab.clock.time + 3 * 86_400, UTC)
    locked = ec2.lock_snapshot(SnapshotId=snapshot, LockMode="governance", ExpirationDate=until)
    assert locked["LockExpiresOn"] == until
    ec2.modify_image_attribute(ImageId=copy, LaunchPermission={"Add": [{"UserId": "1" * 12}]})
    ec2.modify_snapshot_attribute(
        SnapshotId=snapshot,
        Attribute="createVolumePermission",
        CreateVolumePermission={"Add": [{"UserId": "1" * 12}]},
    )
    permissions = ec2.describe_image_attribute(ImageId=copy, Attribute="launchPermission")
    assert permissions["LaunchPermissions"] == [{"UserId": "1" * 12}]
    lab.world.set_recycle_bin(image_days=3, snapshot_days=None, region=REGION)
    answer = ec2.deregister_image(ImageId=copy, DeleteAssociatedSnapshots=True)
    results = {one["SnapshotId"]: one["ReturnCode"] for one in answer["DeleteSnapshotResults"]}
    assert results[snapshot] == "client-error"
    assert list(results.values()).count("success") == 1
    pages = ec2.get_paginator("list_images_in_recycle_bin").paginate()
    (binned,) = [one for page in pages for one in page["Images"]]
    assert (binned["RecycleBinExitTime"] - binned["RecycleBinEnterTime"]).days == 3


def test_references_and_launch_templates_over_the_wire(ec2: "EC2Client", lab: Lab) -> None:
    web = launch(ec2, lab)
    image = "ami-0abcdef1234567890"
    ec2.create_launch_template(
        LaunchTemplateName="web",
        LaunchTemplateData={
            "ImageId": image,
            "BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 8}}],
        },
    )
    versions = ec2.get_paginator("describe_launch_template_versions").paginate(Versions=["$Latest"])
    (version,) = [one for page in versions for one in page["LaunchTemplateVersions"]]
    assert version["LaunchTemplateData"]["ImageId"] == image
    pages = ec2.get_paginator("describe_image_references").paginate(
        ImageIds=[image],
        ResourceTypes=[
            {
                "ResourceType": "ec2:Instance",
                "ResourceTypeOptions": [
                    {"OptionName": "state-name", "OptionValues": ["running", "stopped"]}
                ],
            },
            {
                "ResourceType": "ec2:LaunchTemplate",
                "ResourceTypeOptions": [{"OptionName": "version-depth", "OptionValues": ["10000"]}],
            },
        ],
    )
    found = [one for page in pages for one in page["ImageReferences"]]
    assert [one["ResourceType"] for one in found] == ["ec2:Instance", "ec2:LaunchTemplate"]
    assert found[0]["Arn"].endswith(f":instance/{web}")
