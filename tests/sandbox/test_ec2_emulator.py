"""The world behind ministack's EC2, as boto3 and as a state machine reach it."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from botocore.exceptions import ClientError

from sandbox import service_calls
from sandbox.ec2 import STEP_FUNCTIONS
from tests.sandbox.ec2_lab import Lab
from tests.sandbox.ec2_wire import launch

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


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
