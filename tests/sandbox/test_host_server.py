"""The server's process: it comes up, enforces policies, and leaves nothing behind."""

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from sandbox.aws import Aws, Control, ControlError
from sandbox.fleet import BASE_IMAGE
from sandbox.process import REGION, Server, running

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

TAGGED_ONLY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "ec2:StopInstances",
            "Resource": "*",
            "Condition": {"Null": {"aws:ResourceTag/stillpoint:schedule": "false"}},
        }
    ],
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(scale=100, seed=1) as started:
        yield started


def launch(aws: Aws, tags: dict[str, str]) -> str:
    answer = aws.ec2.run_instances(
        ImageId=BASE_IMAGE,
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[
            {
                "ResourceType": "instance",
                "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
            }
        ]
        if tags
        else [],
    )
    return answer["Instances"][0]["InstanceId"]


def client_of_a_user(server: Server, name: str, policy: dict[str, Any], service: str) -> Any:  # noqa: ANN401  each service has a type of its own
    iam = Aws(server).client("iam")
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return boto3.client(  # type: ignore[call-overload]
        service,
        endpoint_url=server.endpoint,
        region_name=REGION,
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )


def test_the_server_lives_in_the_time_of_its_clock(server: Server) -> None:
    truth = Control(server).truth()
    assert truth["now"][:10] == server.clock.iso()[:10]


def test_a_policy_with_a_tag_condition_holds_for_every_instance(server: Server) -> None:
    aws = Aws(server)
    tagged = launch(aws, {"stillpoint:schedule": "daily"})
    untagged = launch(aws, {})
    aws.ec2.get_waiter("instance_running").wait(
        InstanceIds=[tagged, untagged], WaiterConfig={"Delay": 1}
    )
    ec2: EC2Client = client_of_a_user(server, "stopper", TAGGED_ONLY, "ec2")
    with pytest.raises(ClientError, match="UnauthorizedOperation"):
        ec2.stop_instances(InstanceIds=[tagged, untagged])
    with pytest.raises(ClientError, match="UnauthorizedOperation"):
        ec2.terminate_instances(InstanceIds=[tagged])
    stopping = ec2.stop_instances(InstanceIds=[tagged])["StoppingInstances"]
    assert stopping[0]["CurrentState"]["Name"] == "stopping"


def test_every_call_is_counted_with_its_caller(server: Server) -> None:
    Aws(server).ec2.describe_instances()
    call = Control(server).calls()[-1]
    assert call["action"] == "DescribeInstances"
    assert call["principal"].endswith(":root")


def test_the_control_interface_needs_its_key(server: Server) -> None:
    with pytest.raises(urllib.error.HTTPError, match="403") as caught:
        urllib.request.urlopen(f"{server.endpoint}/_sandbox/truth")
    caught.value.close()


def test_what_the_control_interface_refuses_it_refuses_in_words(server: Server) -> None:
    control = Control(server)
    with pytest.raises(ControlError, match=r"unknown fault 'flood'; known: .*throttle.*"):
        control.add_fault({"name": "flood"})
    with pytest.raises(ControlError, match="there is nothing at GET weather"):
        control._request("GET", "weather")
    with pytest.raises(ControlError, match="0 instances have the id"):
        control.set_physics("i-none", hung=True)


def test_faults_of_both_kinds_are_set_listed_and_cleared(server: Server) -> None:
    control = Control(server)
    control.add_fault({"name": "throttle", "action": "CopyImage"})
    control.add_fault({"name": "tick-missed"})
    assert [each["name"] for each in control.faults()["ec2"]] == ["throttle"]
    assert [each["name"] for each in control.faults()["host"]] == ["tick-missed"]
    control.clear_faults()
    assert control.faults()["ec2"] == control.faults()["host"] == []


def test_a_server_that_is_stopped_leaves_no_process_and_no_state() -> None:
    with running(scale=1, seed=1) as started:
        assert started.state.is_dir()
    with pytest.raises(ProcessLookupError):
        os.kill(started.pid, 0)
    assert not started.state.exists()


def test_a_member_in_standby_may_stop_and_one_in_service_is_terminated(server: Server) -> None:
    aws, control = Aws(server), Control(server)
    careful, careless = launch(aws, {}), launch(aws, {})
    both = [careful, careless]
    aws.ec2.get_waiter("instance_running").wait(InstanceIds=both, WaiterConfig={"Delay": 1})
    scaling = aws.client("autoscaling")
    group = {"AutoScalingGroupName": "asg"}
    scaling.create_auto_scaling_group(**group, MinSize=0, MaxSize=2)
    scaling.attach_instances(**group, InstanceIds=both)
    scaling.enter_standby(**group, InstanceIds=[careful], ShouldDecrementDesiredCapacity=True)
    wait_for(lambda: states(control)[careful] == "Standby")
    aws.ec2.stop_instances(InstanceIds=both)
    wait_for(lambda: careless not in states(control))
    assert states(control) == {careful: "Standby"}
    (violation,) = control.truth()["violations"]
    assert violation["instances"] == [careless]


def states(control: Control) -> dict[str, str]:
    """The true states of the members of the only group."""
    (group,) = control.truth()["auto_scaling_groups"]
    return dict(group["members"])


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.1)


def test_targets_and_mute_rules_of_the_server_are_those_of_the_models(server: Server) -> None:
    aws, control = Aws(server), Control(server)
    web = launch(aws, {})
    aws.ec2.get_waiter("instance_running").wait(InstanceIds=[web], WaiterConfig={"Delay": 1})
    elb, cloudwatch = aws.client("elbv2"), aws.client("cloudwatch")
    (group,) = elb.create_target_group(Name="site", Port=80, Protocol="HTTP")["TargetGroups"]
    elb.register_targets(TargetGroupArn=group["TargetGroupArn"], Targets=[{"Id": web}])
    cloudwatch.put_metric_alarm(
        AlarmName="cpu",
        Namespace="AWS/EC2",
        MetricName="CPUUtilization",
        Dimensions=[{"Name": "InstanceId", "Value": web}],
        Statistic="Average",
        Period=60,
        EvaluationPeriods=1,
        Threshold=101.0,
        ComparisonOperator="GreaterThanThreshold",
    )
    (alarm,) = [
        each
        for each in cloudwatch.describe_alarms(AlarmTypes=["MetricAlarm"])["MetricAlarms"]
        if each["AlarmName"] == "cpu"
    ]
    assert alarm["Dimensions"] == [{"Name": "InstanceId", "Value": web}]
    today = server.clock.iso()[:10]
    cloudwatch.put_alarm_mute_rule(
        Name="backup",
        Rule={"Schedule": {"Expression": f"at({today}T00:00)", "Duration": "P2D"}},
        MuteTargets={"AlarmNames": ["cpu"]},
    )
    truth = control.truth()
    (told,) = truth["target_groups"]
    assert [each["instance_id"] for each in told["targets"]] == [web]
    (rule,) = truth["mute_rules"]
    assert (rule["name"], rule["alarms"], rule["status"]) == ("backup", ["cpu"], "ACTIVE")


def test_a_policy_for_a_companion_holds_for_its_very_resource(server: Server) -> None:
    arn = "arn:aws:autoscaling:*:*:autoScalingGroup:*:autoScalingGroupName/mine"
    statement = {"Effect": "Allow", "Action": "autoscaling:EnterStandby", "Resource": arn}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    scaling = client_of_a_user(server, "scaler", policy, "autoscaling")
    asked = {"InstanceIds": ["i-1"], "ShouldDecrementDesiredCapacity": True}
    with pytest.raises(ClientError, match="AccessDenied"):
        scaling.enter_standby(AutoScalingGroupName="yours", **asked)
    with pytest.raises(ClientError, match="'mine' not found"):
        scaling.enter_standby(AutoScalingGroupName="mine", **asked)
    with pytest.raises(ClientError, match="AccessDenied"):
        scaling.describe_auto_scaling_instances()


def test_a_policy_for_muting_holds_for_every_alarm(server: Server) -> None:
    allowed = [
        "arn:aws:cloudwatch:*:*:alarm-mute-rule:*",
        "arn:aws:cloudwatch:*:*:alarm:own-*",
    ]
    statement = {"Effect": "Allow", "Action": "cloudwatch:PutAlarmMuteRule", "Resource": allowed}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    cloudwatch = client_of_a_user(server, "muter", policy, "cloudwatch")
    rule = {"Schedule": {"Expression": "at(2000-01-01T00:00)", "Duration": "PT2H"}}
    cloudwatch.put_alarm_mute_rule(Name="r", Rule=rule, MuteTargets={"AlarmNames": ["own-cpu"]})
    with pytest.raises(ClientError, match="AccessDenied"):
        cloudwatch.put_alarm_mute_rule(
            Name="r", Rule=rule, MuteTargets={"AlarmNames": ["own-cpu", "other"]}
        )
