"""What is asked of a caller's policies for an EC2 request."""

from collections.abc import Iterator
from typing import Any

import pytest
from ministack.core.responses import request_scope
from ministack.services import ec2, iam

from sandbox.iam import Check, denied_for_role, ec2_checks

ACCOUNT, REGION, AWAY = "111122223333", "us-east-1", "eu-west-1"
INSTANCE = f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/backup"


@pytest.fixture(autouse=True)
def _scope() -> Iterator[None]:
    with request_scope(ACCOUNT, REGION):
        ec2._tags["i-1"] = [{"Key": "stillpoint:schedule", "Value": "daily"}]
        yield
        ec2._tags.clear()
        iam._roles.pop("backup", None)


def checks(**parameters: str) -> list[Check]:
    named = {key.replace("__", "."): value for key, value in parameters.items()}
    return ec2_checks(named, REGION, ACCOUNT)


def test_every_instance_of_a_request_is_asked_for_with_its_own_tags() -> None:
    asked = checks(Action="StopInstances", InstanceId__1="i-1", InstanceId__2="i-2")
    assert [(each.action, each.arn) for each in asked] == [
        ("ec2:StopInstances", f"{INSTANCE}i-1"),
        ("ec2:StopInstances", f"{INSTANCE}i-2"),
    ]
    assert asked[0].context == {
        "aws:ResourceTag/stillpoint:schedule": "daily",
        "ec2:ResourceTag/stillpoint:schedule": "daily",
    }
    assert asked[1].context == {}


def test_an_image_is_asked_for_with_its_snapshots_and_the_tags_on_both() -> None:
    asked = checks(
        Action="CreateImage",
        InstanceId="i-1",
        TagSpecification__1__ResourceType="image",
        TagSpecification__1__Tag__1__Key="stillpoint:stack",
        TagSpecification__1__Tag__1__Value="a",
        TagSpecification__2__ResourceType="snapshot",
        TagSpecification__2__Tag__1__Key="stillpoint:stack",
        TagSpecification__2__Tag__1__Value="b",
    )
    assert [(each.action, each.arn) for each in asked] == [
        ("ec2:CreateImage", f"{INSTANCE}i-1"),
        ("ec2:CreateImage", f"arn:aws:ec2:{REGION}::image/*"),
        ("ec2:CreateImage", f"arn:aws:ec2:{REGION}::snapshot/*"),
        ("ec2:CreateTags", f"arn:aws:ec2:{REGION}::image/*"),
        ("ec2:CreateTags", f"arn:aws:ec2:{REGION}::snapshot/*"),
    ]
    assert asked[4].context == {
        "aws:TagKeys": ["stillpoint:stack"],
        "aws:RequestTag/stillpoint:stack": "b",
        "ec2:CreateAction": "CreateImage",
    }


def test_tagging_asks_for_every_resource_with_old_and_new_tags() -> None:
    (asked,) = checks(
        Action="CreateTags", ResourceId__1="i-1", Tag__1__Key="stillpoint:cycle", Tag__1__Value="x"
    )
    assert (asked.action, asked.arn) == ("ec2:CreateTags", f"{INSTANCE}i-1")
    assert asked.context["aws:TagKeys"] == ["stillpoint:cycle"]
    assert asked.context["aws:RequestTag/stillpoint:cycle"] == "x"
    assert asked.context["aws:ResourceTag/stillpoint:schedule"] == "daily"


def test_describing_has_no_resource_level() -> None:
    assert checks(Action="DescribeInstances", InstanceId__1="i-1") == [
        Check("ec2:DescribeInstances", "*", {})
    ]
    (asked,) = checks(Action="DescribeInstanceAttribute", InstanceId="i-1")
    assert asked.arn == f"{INSTANCE}i-1"


def test_a_copy_is_asked_for_on_its_source_and_on_what_it_makes() -> None:
    ec2._tags["ami-1"] = [{"Key": "stillpoint:stack", "Value": "mine"}]
    parameters = {
        "Action": "CopyImage",
        "SourceImageId": "ami-1",
        "SourceRegion": REGION,
        "TagSpecification.1.ResourceType": "image",
        "TagSpecification.1.Tag.1.Key": "stillpoint:stack",
        "TagSpecification.1.Tag.1.Value": "new",
    }
    asked = ec2_checks(parameters, AWAY, ACCOUNT)
    assert [(each.action, each.arn) for each in asked] == [
        ("ec2:CopyImage", f"arn:aws:ec2:{REGION}::image/ami-1"),
        ("ec2:CopyImage", f"arn:aws:ec2:{AWAY}::image/*"),
        ("ec2:CopyImage", f"arn:aws:ec2:{AWAY}::snapshot/*"),
        ("ec2:CreateTags", f"arn:aws:ec2:{AWAY}::image/*"),
    ]
    source, image, snapshot, tagging = (each.context for each in asked)
    # CopyImage knows no tag of its source (Service Authorization Reference, Amazon EC2).
    assert not any(key.startswith(("aws:ResourceTag/", "aws:RequestTag/")) for key in source)
    assert image["aws:RequestTag/stillpoint:stack"] == "new"
    assert snapshot == {}
    assert tagging["ec2:CreateAction"] == "CopyImage"


def test_tags_are_those_of_the_region_that_the_request_goes_to() -> None:
    ec2._tags.set_scoped(ACCOUNT, AWAY, "ami-1", [{"Key": "a", "Value": "away"}])
    parameters = {"Action": "DeregisterImage", "ImageId": "ami-1"}
    (here,), (there,) = (ec2_checks(parameters, each, ACCOUNT) for each in (REGION, AWAY))
    assert here.context == {}
    assert there.arn == f"arn:aws:ec2:{AWAY}::image/ami-1"
    assert there.context["aws:ResourceTag/a"] == "away"


def test_lists_and_locks_have_no_resource_level_but_attributes_have() -> None:
    for action in ("ListImagesInRecycleBin", "DescribeLockedSnapshots"):
        assert checks(Action=action) == [Check(f"ec2:{action}", "*", {})]
    (asked,) = checks(Action="DescribeImageAttribute", ImageId="ami-1")
    assert asked.arn == f"arn:aws:ec2:{REGION}::image/ami-1"
    (asked,) = checks(Action="LockSnapshot", SnapshotId="snap-1")
    assert (asked.action, asked.arn) == (
        "ec2:LockSnapshot",
        f"arn:aws:ec2:{REGION}::snapshot/snap-1",
    )


def test_references_are_asked_for_with_what_they_look_through() -> None:
    asked = checks(
        Action="DescribeImageReferences",
        ImageId__1="ami-1",
        ResourceType__1__ResourceType="ec2:Instance",
        ResourceType__2__ResourceType="ec2:LaunchTemplate",
    )
    assert [each.action for each in asked] == [
        "ec2:DescribeImageReferences",
        "ec2:DescribeInstances",
        "ec2:DescribeLaunchTemplates",
        "ec2:DescribeLaunchTemplateVersions",
    ]
    every = checks(Action="DescribeImageReferences", IncludeAllResourceTypes="true")
    assert {each.action for each in every} == {each.action for each in asked}


def role_with(statement: dict[str, Any]) -> None:
    iam._roles["backup"] = {
        "RoleName": "backup",
        "Arn": ROLE,
        "AttachedPolicies": [],
        "InlinePolicies": {"one": {"Version": "2012-10-17", "Statement": [statement]}},
    }


TAGGED_ONLY = {
    "Effect": "Allow",
    "Action": "ec2:StopInstances",
    "Resource": f"{INSTANCE}*",
    "Condition": {"Null": {"aws:ResourceTag/stillpoint:schedule": "false"}},
}


def stop(*instances: str) -> bytes:
    ids = "".join(f"&InstanceId.{n}={each}" for n, each in enumerate(instances, 1))
    return f"Action=StopInstances{ids}".encode()


def test_a_state_machine_s_role_may_do_what_its_policy_says() -> None:
    role_with(TAGGED_ONLY)
    assert denied_for_role(ROLE, "ec2:StopInstances", stop("i-1"), "*", REGION) is None


def test_one_untagged_instance_denies_the_whole_request() -> None:
    role_with(TAGGED_ONLY)
    denied = denied_for_role(ROLE, "ec2:StopInstances", stop("i-1", "i-2"), "*", REGION)
    assert denied is not None
    assert denied.code == "UnauthorizedOperation"
    assert f"{INSTANCE}i-2" in denied.message


def test_a_policy_can_allow_some_regions_only() -> None:
    role_with(
        {
            "Effect": "Allow",
            "Action": "ec2:DescribeImages",
            "Resource": "*",
            "Condition": {"StringEquals": {"aws:RequestedRegion": AWAY}},
        }
    )
    body = b"Action=DescribeImages"
    assert denied_for_role(ROLE, "ec2:DescribeImages", body, "*", AWAY) is None
    assert denied_for_role(ROLE, "ec2:DescribeImages", body, "*", REGION) is not None


def test_other_services_are_asked_for_the_resource_that_is_named() -> None:
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:topic"
    role_with({"Effect": "Allow", "Action": "sns:Publish", "Resource": topic})
    assert denied_for_role(ROLE, "sns:Publish", b"", topic, REGION) is None
    assert denied_for_role(ROLE, "sns:Publish", b"", f"{topic}-2", REGION) is not None
