"""The world behind ministack's EC2, as boto3 and as a state machine reach it."""

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ClientError

from sandbox import service_calls
from sandbox.ec2 import STEP_FUNCTIONS, install
from tests.sandbox.ec2_lab import Lab

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

REGION = "eu-west-1"


def _text(value: object) -> str:
    """A header or a body, which botocore holds as text or as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


class _Body:
    """The body of an answer, as botocore reads it."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self._content


@pytest.fixture
def lab() -> Lab:
    """A world that has taken the place of ministack's EC2."""
    lab = Lab()
    install(lab.world)
    return lab


@pytest.fixture
def ec2(lab: Lab) -> "EC2Client":
    """A boto3 client whose requests go to ministack's handler instead of to a network."""
    del lab
    client = boto3.client("ec2", region_name=REGION)

    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        from ministack.core import responses  # noqa: PLC0415
        from ministack.services import ec2 as emulated  # noqa: PLC0415

        responses.set_request_region(REGION)
        headers = {key.lower(): _text(value) for key, value in request.headers.items()}
        body = _text(request.body).encode()
        status, answered, content = asyncio.run(
            emulated.handle_request("POST", "/", headers, body, {})
        )
        return AWSResponse(request.url, status, answered, _Body(content))

    client.meta.events.register("before-send.ec2", answer)  # type: ignore[arg-type]
    return client


@pytest.fixture
def state_machine(lab: Lab) -> Callable[..., Any]:
    """Calls an action as a state machine does: JSON in, JSON out."""
    del lab

    def call(action: str, **arguments: object) -> dict[str, Any]:
        prepared = service_calls.prepare("ec2", action, arguments)
        return service_calls.execute(prepared, REGION)

    return call


def launch(ec2: "EC2Client", lab: Lab, name: str = "web") -> str:
    answer = ec2.run_instances(
        ImageId="ami-0abcdef1234567890",
        InstanceType="t3.micro",
        MinCount=1,
        MaxCount=1,
        BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 20}}],
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": name}]},
            {"ResourceType": "volume", "Tags": [{"Key": "of", "Value": name}]},
        ],
    )
    lab.wait(300)
    return answer["Instances"][0]["InstanceId"]


def test_a_backup_by_hand_through_boto3(ec2: "EC2Client", lab: Lab) -> None:
    web = launch(ec2, lab)
    stopping = ec2.stop_instances(InstanceIds=[web])["StoppingInstances"][0]
    assert stopping["CurrentState"] == {"Code": 64, "Name": "stopping"}
    lab.wait(30)
    instance = ec2.describe_instances(InstanceIds=[web])["Reservations"][0]["Instances"][0]
    assert instance["State"] == {"Code": 80, "Name": "stopped"}
    assert instance["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    assert instance["StateTransitionReason"].startswith("User initiated (2026-11-22 03:05:00 GMT")
    assert instance["LaunchTime"].timestamp() == lab.clock.time - 330
    image_id = ec2.create_image(
        InstanceId=web,
        Name="nightly",
        NoReboot=True,
        TagSpecifications=[
            {"ResourceType": "image", "Tags": [{"Key": "a", "Value": "<&>"}]},
            {"ResourceType": "snapshot", "Tags": [{"Key": "a", "Value": "é"}]},
        ],
    )["ImageId"]
    image = ec2.describe_images(ImageIds=[image_id], Owners=["self"])["Images"][0]
    assert image["State"] == "pending"
    assert "SnapshotId" not in image["BlockDeviceMappings"][0]["Ebs"]
    assert image["Tags"] == [{"Key": "a", "Value": "<&>"}]
    lab.wait(2)
    filters: Any = [{"Name": "tag:a", "Values": ["é"]}]
    snapshots = ec2.describe_snapshots(OwnerIds=["self"], Filters=filters)["Snapshots"]
    assert [one["State"] for one in snapshots] == ["pending", "pending"]
    assert {one["StartTime"].timestamp() - lab.clock.time for one in snapshots} == {-1, 0}
    ec2.start_instances(InstanceIds=[web])
    lab.wait(20)
    status = ec2.describe_instance_status(InstanceIds=[web])["InstanceStatuses"][0]
    assert status["InstanceState"]["Name"] == "running"
    lab.wait(700)
    ec2.create_tags(Resources=[image_id], Tags=[{"Key": "b", "Value": ""}])
    tags = ec2.describe_images(ImageIds=[image_id])["Images"][0]["Tags"]
    assert {"Key": "b", "Value": ""} in tags
    answer = ec2.deregister_image(ImageId=image_id, DeleteAssociatedSnapshots=True)
    assert [one["ReturnCode"] for one in answer["DeleteSnapshotResults"]] == ["success"] * 2
    assert lab.world.truth()["images"][0]["dirty_bytes"] == 0


def test_a_backup_as_a_state_machine_sees_it(
    ec2: "EC2Client", lab: Lab, state_machine: Callable[..., Any]
) -> None:
    web = launch(ec2, lab)
    stopping = state_machine("stopInstances", InstanceIds=[web])
    assert stopping["StoppingInstances"][0]["PreviousState"] == {"Code": 16, "Name": "running"}
    lab.wait(30)
    filters = [{"Name": "instance-id", "Values": [web]}]
    (reservation,) = state_machine("describeInstances", Filters=filters)["Reservations"]
    (instance,) = reservation["Instances"]
    assert instance["State"] == {"Code": 80, "Name": "stopped"}
    assert instance["LaunchTime"] == "2026-11-22T03:00:00Z"
    assert instance["StateTransitionReason"] == "User initiated (2026-11-22 03:05:00 GMT)"
    assert instance["StateReason"]["Message"].startswith("Client.UserInitiatedShutdown")
    assert instance["SecurityGroups"] == []
    assert instance["Tags"] == [{"Key": "Name", "Value": "web"}]
    mapping = instance["BlockDeviceMappings"][0]
    assert mapping["Ebs"]["VolumeId"].startswith("vol-")
    assert mapping["Ebs"]["DeleteOnTermination"] is True
    specifications = [
        {
            "ResourceType": kind,
            "Tags": [{"Key": "run", "Value": "1"}, {"Key": "kind", "Value": kind}],
        }
        for kind in ("image", "snapshot")
    ]
    made = state_machine(
        "createImage",
        InstanceId=web,
        Name="nightly",
        NoReboot=True,
        TagSpecifications=specifications,
    )
    found = state_machine("describeImages", ImageIds=[made["ImageId"]], Owners=["self"])
    (image,) = found["Images"]
    assert (image["State"], image["SourceInstanceId"]) == ("pending", web)
    assert "SnapshotId" not in image["BlockDeviceMappings"][0]["Ebs"]
    owned = {"OwnerIds": ["self"], "Filters": [{"Name": "tag:run", "Values": ["1"]}]}
    assert state_machine("describeSnapshots", **owned) == {"Snapshots": []}
    lab.wait(2.5)
    snapshots = state_machine("describeSnapshots", **owned)["Snapshots"]
    assert {one["State"] for one in snapshots} == {"pending"}
    assert {one["StartTime"] for one in snapshots} == {
        "2026-11-22T03:05:31Z",
        "2026-11-22T03:05:32Z",
    }
    assert {one["VolumeId"] for one in snapshots} == {
        mapping["Ebs"]["VolumeId"] for mapping in instance["BlockDeviceMappings"]
    }
    assert snapshots[0]["Progress"].endswith("%")
    assert {"Key": "kind", "Value": "snapshot"} in snapshots[0]["Tags"]
    named = state_machine("describeSnapshots", SnapshotIds=[snapshots[0]["SnapshotId"]])
    assert len(named["Snapshots"]) == 1
    state_machine("startInstances", InstanceIds=[web])
    lab.wait(20)
    statuses = state_machine("describeInstanceStatus", InstanceIds=[web], IncludeAllInstances=True)
    assert statuses["InstanceStatuses"][0]["InstanceState"] == {"Code": 16, "Name": "running"}
    state_machine("createTags", Resources=[web], Tags=[{"Key": "stillpoint:cycle", "Value": "x"}])
    state_machine("deleteTags", Resources=[web], Tags=[{"Key": "stillpoint:cycle"}])
    (reservation,) = state_machine("describeInstances", InstanceIds=[web])["Reservations"]
    assert reservation["Instances"][0]["Tags"] == [{"Key": "Name", "Value": "web"}]
    assert state_machine(
        "describeInstances", Filters=[{"Name": "tag-key", "Values": ["none"]}]
    ) == {"Reservations": []}
    assert {call.principal for call in lab.world.calls[1:]} == {STEP_FUNCTIONS}


def test_an_error_keeps_its_code_its_message_and_its_status(ec2: "EC2Client", lab: Lab) -> None:
    web = launch(ec2, lab)
    ec2.modify_instance_attribute(InstanceId=web, DisableApiStop={"Value": True})
    with pytest.raises(ClientError) as refused:
        ec2.stop_instances(InstanceIds=[web])
    error = refused.value.response
    assert error["Error"]["Code"] == "OperationNotPermitted"
    assert "'disableApiStop'" in error["Error"]["Message"]
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_a_state_machine_gets_the_error_too(lab: Lab, state_machine: Callable[..., Any]) -> None:
    del lab
    with pytest.raises(service_calls.ServiceError) as refused:
        state_machine("startInstances", InstanceIds=["i-00000000000000000"])
    assert refused.value.code == "InvalidInstanceID.NotFound"
    assert refused.value.status == 400


def test_a_volume_is_excluded_through_the_wire(ec2: "EC2Client", lab: Lab) -> None:
    web = launch(ec2, lab)
    without: Any = [{"DeviceName": "/dev/sdf", "NoDevice": ""}]
    ec2.create_image(InstanceId=web, Name="image", NoReboot=True, BlockDeviceMappings=without)
    assert len(lab.world.truth()["images"][0]["excluded_volumes"]) == 1


def test_pages_work_with_boto3s_paginator(ec2: "EC2Client", lab: Lab) -> None:
    for number in range(7):
        launch(ec2, lab, f"web-{number}")
    pages = ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5})
    assert [len(page["Reservations"]) for page in pages] == [5, 2]


def test_a_dry_run_changes_nothing(ec2: "EC2Client", lab: Lab) -> None:
    web = launch(ec2, lab)
    with pytest.raises(ClientError, match="DryRunOperation"):
        ec2.stop_instances(InstanceIds=[web], DryRun=True)
    assert lab.world.truth()["instances"][0]["state"] == "running"


def raw(**parameters: str) -> tuple[int, str]:
    """Send form parameters as they are."""
    from ministack.services import ec2 as emulated  # noqa: PLC0415

    body = urlencode(parameters).encode()
    status, _, content = asyncio.run(emulated.handle_request("POST", "/", {}, body, {}))
    return status, content.decode()


@pytest.mark.parametrize(
    "parameters",
    [
        {"Action": "StopInstances", "InstanceIds.1": "i-1"},
        {"Action": "StopInstances", "InstanceId.x": "i-1"},
        {"Action": "StopInstances", "InstanceId": "i-1"},
        {"Action": "StopInstances", "InstanceId.1.Id": "i-1"},
        {"Action": "StopInstances", "Force.1": "true"},
        {"Action": "DescribeInstances", "Filter": "x"},
        {"Action": "DescribeInstances", "Filter.1.Nome": "x"},
    ],
)
def test_a_parameter_that_ec2_does_not_know_is_an_error(
    lab: Lab, parameters: dict[str, str]
) -> None:
    del lab
    status, content = raw(**parameters)
    assert status == 400
    assert "<Code>UnknownParameter</Code>" in content


@pytest.mark.parametrize(
    "parameters",
    [
        {"Action": "DescribeInstances", "MaxResults": "many"},
        {"Action": "StopInstances", "InstanceId.1": "i-1", "Force": "perhaps"},
    ],
)
def test_a_parameter_of_the_wrong_type_is_an_error(lab: Lab, parameters: dict[str, str]) -> None:
    del lab
    status, content = raw(**parameters)
    assert status == 400
    assert "<Code>InvalidParameterValue</Code>" in content


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
