"""Several Regions behind the front door: EC2, KMS and Auto Scaling, with the roles' permissions."""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.session import get_session
from ministack.core import iam_evaluator

from sandbox import service_calls
from sandbox.ec2 import Physics
from sandbox.virtual.cloud import Cloud
from sandbox.virtual.permissions import Permissions
from sandbox.virtual.services import Request

HOME, AWAY = "us-east-1", "eu-west-1"
START = 1_795_312_800.0
KEY = "11112222-3333-4444-5555-666677778888"
SESSION = "arn:aws:sts::000000000000:assumed-role/r/s"
GROUP = {
    "AutoScalingGroupName": "web",
    "MixedInstancesPolicy": {
        "LaunchTemplate": {"Overrides": [{"ImageId": "ami-11112222"}, {"InstanceType": "t3.nano"}]}
    },
    "Instances": [],
}


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    """A stack's surroundings: none of its rules or functions runs."""
    calm = Physics().changed({"visibility_seconds": 0})
    cloud = Cloud(seed="regions", start=START, parameters={}, physics=calm)
    yield cloud
    cloud.scheduler.close()


def answer(
    cloud: Cloud, service: str, region: str, action: str, **arguments: object
) -> dict[str, Any]:
    """What a service in a Region answers, as the SDK would read it, or {"error": its code}."""
    operation = get_session().get_service_model(service).operation_model(action)
    if operation.service_model.metadata["protocol"] == "json":
        body = json.dumps(arguments)
    else:
        body = urlencode({"Action": action, **arguments})
    behind = cloud.door._services[service]
    try:
        status, content = behind.answer("tester", Request(service, region, action, body))
    except service_calls.ServiceError as error:
        return {"error": error.code}
    call = service_calls.Call(operation, {}, body.encode())
    return service_calls.parse(call, status, {}, content)


def test_ec2_answers_for_the_region_that_it_is_asked_in(cloud: Cloud) -> None:
    launch = {"MinCount": 1, "MaxCount": 1}
    cloud.owner_calls("RunInstances", region=AWAY, **launch)
    assert answer(cloud, "ec2", HOME, "DescribeInstances")["Reservations"] == []
    assert len(answer(cloud, "ec2", AWAY, "DescribeInstances")["Reservations"]) == 1


def test_every_region_has_its_own_keys(cloud: Cloud) -> None:
    arn = cloud.world.add_key(KEY, region=AWAY)
    found = answer(cloud, "kms", AWAY, "DescribeKey", KeyId=KEY)["KeyMetadata"]
    assert (found["Arn"], found["KeyManager"]) == (arn, "CUSTOMER")
    assert answer(cloud, "kms", HOME, "DescribeKey", KeyId=KEY) == {"error": "NotFoundException"}
    for region in (HOME, AWAY):
        managed = answer(cloud, "kms", region, "DescribeKey", KeyId="alias/aws/ebs")["KeyMetadata"]
        assert managed["Arn"].startswith(f"arn:aws:kms:{region}:")
        assert managed["KeyManager"] == "AWS"


def test_auto_scaling_lists_what_the_test_put_there(cloud: Cloud) -> None:
    cloud.autoscaling.groups[AWAY].append(GROUP)
    cloud.autoscaling.configurations[HOME].append(
        {"LaunchConfigurationName": "old", "ImageId": "ami-11112222", "EbsOptimized": True}
    )
    (group,) = answer(cloud, "autoscaling", AWAY, "DescribeAutoScalingGroups")["AutoScalingGroups"]
    assert group["AutoScalingGroupName"] == "web"
    overrides = group["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"]
    assert overrides == [{"ImageId": "ami-11112222"}, {"InstanceType": "t3.nano"}]
    named = {"AutoScalingGroupNames.member.1": "other"}
    found = answer(cloud, "autoscaling", AWAY, "DescribeAutoScalingGroups", **named)
    assert found["AutoScalingGroups"] == []
    listed = answer(cloud, "autoscaling", HOME, "DescribeLaunchConfigurations")
    assert listed["LaunchConfigurations"][0]["EbsOptimized"] is True
    assert (
        answer(cloud, "autoscaling", HOME, "DescribeAutoScalingGroups")["AutoScalingGroups"] == []
    )


def test_an_outage_takes_every_service_of_its_region(cloud: Cloud) -> None:
    cloud.world.faults.add({"name": "region-outage", "region": AWAY})
    assert answer(cloud, "ec2", AWAY, "DescribeInstances") == {"error": "Unavailable"}
    assert answer(cloud, "kms", AWAY, "DescribeKey", KeyId="x") == {"error": "KMSInternalException"}
    failed = answer(cloud, "autoscaling", AWAY, "DescribeAutoScalingGroups")
    assert failed == {"error": "InternalFailure"}
    assert answer(cloud, "ec2", HOME, "DescribeInstances")["Reservations"] == []


def permissions_of(cloud: Cloud, policy: Mapping[str, Any]) -> Permissions:
    """The permissions of a role with one statement."""
    permissions = Permissions(cloud.stack, cloud.world, cloud.companions)
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **policy}]}
    permissions._policies["Role"] = [iam_evaluator.parse_policy_document(document)]
    return permissions


def refused(cloud: Cloud, policy: Mapping[str, Any], request: Request) -> bool:
    """Whether a role with one statement may not make a request."""
    permissions = permissions_of(cloud, policy)
    return permissions.refusal("Role", SESSION, request) is not None


def test_permissions_are_those_of_the_region(cloud: Cloud) -> None:
    cloud.world.region(region=AWAY).tags.create("ami-00000000", {"stillpoint:stack": "mine"})
    policy = {
        "Action": "ec2:DeregisterImage",
        "Resource": f"arn:aws:ec2:{AWAY}::image/*",
        "Condition": {
            "StringEquals": {
                "aws:RequestedRegion": AWAY,
                "aws:ResourceTag/stillpoint:stack": "mine",
            }
        },
    }
    body = urlencode({"Action": "DeregisterImage", "ImageId": "ami-00000000"})
    assert not refused(cloud, policy, Request("ec2", AWAY, "DeregisterImage", body))
    assert refused(cloud, policy, Request("ec2", HOME, "DeregisterImage", body))


def test_auto_scaling_has_no_resource_level(cloud: Cloud) -> None:
    action = "DescribeAutoScalingGroups"
    request = Request("autoscaling", HOME, action, urlencode({"Action": action}))
    assert not refused(cloud, {"Action": f"autoscaling:{action}", "Resource": "*"}, request)
    assert refused(cloud, {"Action": f"ec2:{action}", "Resource": "*"}, request)


def test_a_snapshot_that_the_role_may_not_delete_stays_when_its_image_goes(cloud: Cloud) -> None:
    launched = cloud.owner_calls("RunInstances", MinCount=1, MaxCount=1)
    named = {"InstanceId": launched["Instances"][0]["InstanceId"], "Name": "image"}
    cloud.run_until(START + 300)
    image = cloud.owner_calls("CreateImage", **named)["ImageId"]
    cloud.run_until(START + 4000)
    owned = {"StringEquals": {"aws:ResourceTag/stillpoint:stack": "mine"}}
    everything = {"Action": ["ec2:DeregisterImage", "ec2:DeleteSnapshot"], "Resource": "*"}
    form = {
        "Action": "DeregisterImage",
        "ImageId": image,
        "DeleteAssociatedSnapshots": "true",
    }
    request = Request("ec2", HOME, "DeregisterImage", urlencode(form))
    assert permissions_of(cloud, everything).narrowed("Role", SESSION, request) == request
    permissions = permissions_of(cloud, {**everything, "Condition": owned})
    narrowed = permissions.narrowed("Role", SESSION, request)
    (snapshot,) = narrowed.forbidden
    _, content = cloud.door._services["ec2"].answer("tester", narrowed)
    assert b"missing-permissions" in content
    assert list(cloud.world.region().snapshots) == [snapshot]
