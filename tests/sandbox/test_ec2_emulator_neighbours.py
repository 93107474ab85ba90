"""What the world behind ministack's EC2 and ministack's other services know of each other."""

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.sandbox.ec2_lab import Lab
from tests.sandbox.ec2_wire import REGION, launch

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


def test_ministack_keeps_a_copy_of_all_tags_for_its_iam(ec2: "EC2Client", lab: Lab) -> None:
    from ministack.core import responses  # noqa: PLC0415
    from ministack.services import ec2 as emulated  # noqa: PLC0415

    web = launch(ec2, lab)
    account = responses.get_account_id()

    def copied() -> list[dict[str, str]] | None:
        tags: list[dict[str, str]] | None = emulated._tags.get_scoped(account, REGION, web)
        return tags

    assert copied() == [{"Key": "Name", "Value": "web"}]
    ec2.create_tags(Resources=[web], Tags=[{"Key": "a", "Value": "b"}])
    assert {"Key": "a", "Value": "b"} in (copied() or [])
    ec2.delete_tags(Resources=[web], Tags=[{"Key": "a"}, {"Key": "Name"}])
    assert copied() is None


def test_tags_of_what_the_world_does_not_know_stay_with_ministack(ec2: "EC2Client") -> None:
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    ec2.create_tags(Resources=[vpc], Tags=[{"Key": "a", "Value": "b"}])
    filters: Any = [{"Name": "resource-id", "Values": [vpc]}]
    assert ec2.describe_tags(Filters=filters)["Tags"][0]["Value"] == "b"
    ec2.delete_tags(Resources=[vpc], Tags=[{"Key": "a"}])
    assert ec2.describe_tags(Filters=filters)["Tags"] == []


def test_kms_knows_the_key_that_ebs_takes_where_none_is_given(ec2: "EC2Client") -> None:
    from ministack.core import responses  # noqa: PLC0415
    from ministack.services import kms  # noqa: PLC0415

    volume = ec2.create_volume(AvailabilityZone="eu-west-1a", Size=8, Encrypted=True)
    for key in (volume["KmsKeyId"], "alias/aws/ebs"):
        headers = {"x-amz-target": "TrentService.DescribeKey"}
        body = json.dumps({"KeyId": key}).encode()
        responses.set_request_region(REGION)
        status, _, content = asyncio.run(kms.handle_request("POST", "/", headers, body, {}))
        assert status == 200
        metadata = json.loads(content)["KeyMetadata"]
        assert (metadata["KeyManager"], metadata["Arn"]) == ("AWS", volume["KmsKeyId"])


def test_what_would_go_past_the_world_is_refused(ec2: "EC2Client") -> None:
    with pytest.raises(ClientError, match="does not offer CopySnapshot"):
        ec2.copy_snapshot(SourceRegion=REGION, SourceSnapshotId="snap-1")


def test_a_key_of_the_emulator_s_kms_is_good_for_a_copy(ec2: "EC2Client", lab: Lab) -> None:
    from ministack.core import responses  # noqa: PLC0415
    from ministack.services import kms  # noqa: PLC0415

    image = ec2.create_image(InstanceId=launch(ec2, lab), Name="nightly", NoReboot=True)["ImageId"]
    lab.wait(700)
    responses.set_request_region(REGION)
    headers = {"x-amz-target": "TrentService.CreateKey"}
    _, _, content = asyncio.run(kms.handle_request("POST", "/", headers, b"{}", {}))
    key = json.loads(content)["KeyMetadata"]

    def copy(name: str, key_id: str) -> str:
        return ec2.copy_image(
            SourceImageId=image, SourceRegion=REGION, Name=name, Encrypted=True, KmsKeyId=key_id
        )["ImageId"]

    good, bad = copy("good", key["KeyId"]), copy("bad", f"{key['KeyId']}-not")
    lab.wait(1000)
    states = {one["ImageId"]: one["State"] for one in ec2.describe_images()["Images"]}
    assert (states[good], states[bad]) == ("available", "failed")
    (shown,) = ec2.describe_images(ImageIds=[good])["Images"]
    snapshot = shown["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    listed = ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"]
    assert listed[0]["KmsKeyId"] == key["Arn"]
