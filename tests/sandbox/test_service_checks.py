"""What is asked of a caller's policies for a request to a companion of EC2."""

from collections.abc import Mapping

import pytest

from sandbox.iam import Check
from sandbox.service_checks import Scope, service_checks

PLACE = "us-east-1:111122223333"
TAGS = {"stillpoint:schedule": "daily"}
TAGGED = {
    "aws:ResourceTag/stillpoint:schedule": "daily",
    "ssm:resourceTag/stillpoint:schedule": "daily",
}
INSTANCE = f"arn:aws:ec2:{PLACE}:instance/"
GROUP = "arn:aws:elasticloadbalancing:us-east-1:111122223333:targetgroup/site/73e2d6bc24d8a067"


def checks(service: str, action: str, **params: object) -> list[Check]:
    def tags_of(_region: str, name: str) -> Mapping[str, str]:
        return TAGS if name in {"i-1", "erp-scripts"} else {}

    scope = Scope("us-east-1", "111122223333", tags_of, tags_of)
    return service_checks(service, action, params, scope)


@pytest.mark.parametrize(
    ("service", "action", "asked"),
    [
        ("autoscaling", "DescribeAutoScalingInstances", "autoscaling"),
        ("elbv2", "DescribeTargetHealth", "elasticloadbalancing"),
        ("cloudwatch", "DescribeAlarms", "cloudwatch"),
        ("cloudwatch", "ListAlarmMuteRules", "cloudwatch"),
        ("ssm", "ListCommandInvocations", "ssm"),
        ("ssm", "GetCommandInvocation", "ssm"),
        ("ssm", "DescribeInstanceInformation", "ssm"),
    ],
)
def test_what_only_reads_has_no_resource_level(service: str, action: str, asked: str) -> None:
    named = {"TargetGroupArn": GROUP} if service == "elbv2" else {}
    assert checks(service, action, **named) == [Check(f"{asked}:{action}", "*", {})]


@pytest.mark.parametrize("action", ["EnterStandby", "ExitStandby"])
def test_standby_is_asked_for_on_the_group(action: str) -> None:
    arn = f"arn:aws:autoscaling:{PLACE}:autoScalingGroup:*:autoScalingGroupName/asg"
    assert checks("autoscaling", action, AutoScalingGroupName="asg", InstanceIds=["i-1"]) == [
        Check(f"autoscaling:{action}", arn, {})
    ]


@pytest.mark.parametrize("action", ["RegisterTargets", "DeregisterTargets"])
def test_targets_are_asked_for_on_their_group(action: str) -> None:
    assert checks("elbv2", action, TargetGroupArn=GROUP, Targets=[]) == [
        Check(f"elasticloadbalancing:{action}", GROUP, {})
    ]


def test_muting_is_asked_for_on_the_rule_and_on_each_alarm() -> None:
    asked = checks(
        *("cloudwatch", "PutAlarmMuteRule"), Name="r", MuteTargets={"AlarmNames": ["cpu", "disk"]}
    )
    assert [each.arn for each in asked] == [
        f"arn:aws:cloudwatch:{PLACE}:alarm-mute-rule:r",
        f"arn:aws:cloudwatch:{PLACE}:alarm:cpu",
        f"arn:aws:cloudwatch:{PLACE}:alarm:disk",
    ]
    assert {each.action for each in asked} == {"cloudwatch:PutAlarmMuteRule"}
    (deleting,) = checks("cloudwatch", "DeleteAlarmMuteRule", AlarmMuteRuleName="r")
    assert deleting.arn == f"arn:aws:cloudwatch:{PLACE}:alarm-mute-rule:r"


def test_a_command_is_asked_for_on_its_document_and_each_instance_with_their_tags() -> None:
    asked = checks("ssm", "SendCommand", DocumentName="erp-scripts", InstanceIds=["i-1", "i-2"])
    assert asked == [
        Check("ssm:SendCommand", f"arn:aws:ssm:{PLACE}:document/erp-scripts", TAGGED),
        Check("ssm:SendCommand", f"{INSTANCE}i-1", TAGGED),
        Check("ssm:SendCommand", f"{INSTANCE}i-2", {}),
    ]


def test_a_document_of_aws_belongs_to_no_account_and_an_arn_is_taken_as_it_is() -> None:
    (asked,) = checks("ssm", "DescribeDocument", Name="AWS-RunShellScript")
    assert asked.arn == "arn:aws:ssm:us-east-1::document/AWS-RunShellScript"
    arn = f"arn:aws:ssm:{PLACE}:document/erp-scripts"
    assert checks("ssm", "GetDocument", Name=arn) == [Check("ssm:GetDocument", arn, TAGGED)]


def test_the_tags_of_a_document_are_asked_for_on_the_document() -> None:
    resource = {"ResourceType": "Document", "ResourceId": "erp-scripts"}
    arn = f"arn:aws:ssm:{PLACE}:document/erp-scripts"
    assert checks("ssm", "ListTagsForResource", **resource) == [
        Check("ssm:ListTagsForResource", arn, TAGGED)
    ]
