"""What boto3 sends to the companions is understood, and what they answer is what boto3 expects."""

from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.core.models import botocore_stubber

from sandbox.protocols import wire_of
from sandbox.service_calls import ServiceError
from sandbox.virtual.front_door import HOSTS, region_of
from sandbox.virtual.network import _Raw, _text
from sandbox.virtual.services import Companion, Request, UnknownCall
from tests.sandbox.companion_lab import CompanionLab
from tests.sandbox.ec2_lab import HOME, START

SERVICES = ("autoscaling", "cloudwatch", "elbv2", "ssm")


class Wire:
    """boto3's clients with the companions of a lab at the other end, and no socket between."""

    def __init__(self, lab: CompanionLab) -> None:
        offers = lab.companions.offers
        self.services = {name: Companion(name, offers[name]) for name in SERVICES}
        self.session = boto3.Session("a", "b", region_name=HOME)
        self.session.events.unregister("before-send", botocore_stubber)  # type: ignore[arg-type]
        self.session.events.register("before-send", self._answer)  # type: ignore[arg-type]

    def client(self, service: str) -> Any:  # noqa: ANN401  each service has a type of its own
        config = Config(retries={"total_max_attempts": 1})
        return self.session.client(service, config=config)  # type: ignore[call-overload]

    def _answer(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        host = request.url.split("/")[2].partition(".")[0]
        headers = {name.lower(): _text(value) for name, value in request.headers.items()}
        name, body = HOSTS.get(host, host), _text(request.body)
        service = self.services[name]
        action = service.action(headers, body)
        try:
            status, content = service.answer(
                "tester", Request(name, region_of(headers), action, body)
            )
        except ServiceError as error:
            status, content = service.error(error)
        return AWSResponse(request.url, status, HTTPHeaders(), _Raw(content))


@pytest.fixture
def lab() -> CompanionLab:
    return CompanionLab()


@pytest.fixture
def wire(lab: CompanionLab) -> Wire:
    return Wire(lab)


def test_load_balancing_is_spoken(lab: CompanionLab, wire: Wire) -> None:
    elb, web = wire.client("elbv2"), lab.launch()
    (made,) = elb.create_target_group(Name="a<b", Port=80, Protocol="HTTP")["TargetGroups"]
    arn = made["TargetGroupArn"]
    assert (made["Port"], made["HealthCheckEnabled"], made["TargetGroupName"]) == (80, True, "a<b")
    elb.register_targets(TargetGroupArn=arn, Targets=[{"Id": web}, {"Id": web, "Port": 8443}])
    lab.wait(30)
    pages = list(elb.get_paginator("describe_target_groups").paginate(PageSize=1))
    assert [group["TargetGroupArn"] for page in pages for group in page["TargetGroups"]] == [arn]
    rows = elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    assert [row["Target"] for row in rows] == [
        {"Id": web, "Port": 80},
        {"Id": web, "Port": 8443},
    ]
    assert rows[0]["TargetHealth"] == {"State": "healthy"}
    with pytest.raises(ClientError, match="One or more target groups not found") as caught:
        elb.describe_target_health(TargetGroupArn="none")
    assert caught.value.response["Error"]["Code"] == "TargetGroupNotFound"
    assert isinstance(caught.value, elb.exceptions.TargetGroupNotFoundException)


def test_paging_goes_on_until_all_is_listed(lab: CompanionLab, wire: Wire) -> None:
    arns = [lab.target_group(f"group-{number}") for number in range(5)]
    pages = list(wire.client("elbv2").get_paginator("describe_target_groups").paginate(PageSize=2))
    assert [each["TargetGroupArn"] for page in pages for each in page["TargetGroups"]] == arns
    assert len(pages) == 3


def test_auto_scaling_is_spoken(lab: CompanionLab, wire: Wire) -> None:
    scaling, web = wire.client("autoscaling"), lab.launch()
    scaling.create_auto_scaling_group(AutoScalingGroupName="asg", MinSize=0, MaxSize=1)
    scaling.attach_instances(AutoScalingGroupName="asg", InstanceIds=[web])
    asked = {"AutoScalingGroupName": "asg", "InstanceIds": [web]}
    answer = scaling.enter_standby(**asked, ShouldDecrementDesiredCapacity=True)
    (activity,) = answer["Activities"]
    assert activity["StartTime"] == datetime.fromtimestamp(lab.clock.now(), UTC)
    lab.wait(20)
    (row,) = scaling.describe_auto_scaling_instances(InstanceIds=[web])["AutoScalingInstances"]
    assert (row["LifecycleState"], row["ProtectedFromScaleIn"]) == ("Standby", False)
    (group,) = scaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    assert (group["DesiredCapacity"], group["SuspendedProcesses"]) == (0, [])
    with pytest.raises(ClientError) as caught:
        scaling.enter_standby(**asked, ShouldDecrementDesiredCapacity=True)
    error = caught.value.response["Error"]
    assert (error["Code"], error["Message"]) == (
        "ValidationError",
        f"The instance {web} is not in InService.",
    )


def test_alarm_muting_is_spoken(lab: CompanionLab, wire: Wire) -> None:
    cloudwatch = wire.client("cloudwatch")
    ends = datetime.fromtimestamp(START + 9000, UTC)
    cloudwatch.put_alarm_mute_rule(
        Name="backup",
        Rule={"Schedule": {"Expression": "at(2026-11-22T03:00)", "Duration": "PT2H"}},
        MuteTargets={"AlarmNames": ["cpu"]},
        ExpireDate=ends,
    )
    rule = cloudwatch.get_alarm_mute_rule(AlarmMuteRuleName="backup")
    assert (rule["Status"], rule["ExpireDate"]) == ("ACTIVE", ends)
    assert rule["MuteTargets"] == {"AlarmNames": ["cpu"]}
    assert rule["LastUpdatedTimestamp"] == datetime.fromtimestamp(lab.clock.now(), UTC)
    assert "StartDate" not in rule
    cloudwatch.delete_alarm_mute_rule(AlarmMuteRuleName="backup")
    with pytest.raises(cloudwatch.exceptions.ResourceNotFoundException):
        cloudwatch.get_alarm_mute_rule(AlarmMuteRuleName="backup")
    assert cloudwatch.describe_alarms(AlarmTypes=["MetricAlarm"])["MetricAlarms"] == []


def test_ssm_is_spoken(wire: Wire) -> None:
    ssm = wire.client("ssm")
    with pytest.raises(ssm.exceptions.InvalidDocument, match="does not exist"):
        ssm.get_document(Name="Nobodys-Document")
    assert ssm.describe_instance_information()["InstanceInformationList"] == []


def test_a_fault_of_the_world_is_an_error_of_the_sdk(lab: CompanionLab, wire: Wire) -> None:
    lab.world.faults.add({"name": "throttle", "action": "DescribeTargetGroups"})
    with pytest.raises(ClientError) as caught:
        wire.client("elbv2").describe_target_groups()
    assert caught.value.response["Error"]["Code"] == "Throttling"


@pytest.mark.parametrize(
    ("service", "action", "body"),
    [
        ("elbv2", "DescribeTargetHealth", "Action=DescribeTargetHealth&Surprise=1"),
        ("elbv2", "DescribeTargetGroups", "Action=DescribeTargetGroups&PageSize=many"),
        ("elbv2", "DescribeTargetGroups", "Action=DescribeTargetGroups&PageSize.member.1=2"),
        (
            *("autoscaling", "EnterStandby"),
            "Action=EnterStandby&ShouldDecrementDesiredCapacity=perhaps",
        ),
        ("cloudwatch", "DeleteAlarmMuteRule", '{"Surprise": 1}'),
    ],
)
def test_what_an_action_does_not_know_is_refused(service: str, action: str, body: str) -> None:
    with pytest.raises(ServiceError) as caught:
        wire_of(service).params(action, body)
    assert caught.value.code == "ValidationError"


def test_an_empty_list_is_a_list() -> None:
    body = "Action=DescribeTargetGroups&Names="
    assert wire_of("elbv2").params("DescribeTargetGroups", body) == {"Names": []}


def test_an_action_that_does_not_exist_is_said_to_be_unknown(wire: Wire) -> None:
    with pytest.raises(ServiceError) as caught:
        wire_of("elbv2").params("Dance", "Action=Dance")
    assert caught.value.code == "InvalidAction"
    with pytest.raises(UnknownCall, match="elbv2 does not offer CreateListener"):
        wire.services["elbv2"].answer("tester", Request("elbv2", HOME, "CreateListener", ""))


def test_a_protocol_that_is_not_spoken_is_named() -> None:
    with pytest.raises(ValueError, match="lambda speaks rest-json"):
        wire_of("lambda")
