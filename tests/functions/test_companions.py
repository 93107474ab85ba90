"""The edges around Auto Scaling, load balancing and alarms, in a cloud that behaves as AWS does."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from stillpoint.aws import mute
from stillpoint.isolation import Progress, Registration
from tests.functions.alone import drain, enter, leave, register, unmute
from tests.functions.cloud import Cloud, cloud_at
from tests.functions.stack import REGION
from tests.unit.builders import at

STEP = 5
PATIENCE = timedelta(minutes=20)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with cloud_at(at("2026-10-01 03:00"), state_lag_seconds=2) as made:
        yield made


def launch(cloud: Cloud) -> str:
    """An instance that runs."""
    web = cloud.launch()
    cloud.wait(minutes=3)
    return web


def target_group(cloud: Cloud, *, delay: int = 30) -> str:
    """The ARN of a target group whose targets drain for so many seconds."""
    made = cloud.ask("elbv2", "CreateTargetGroup", Name="site", Port=80, Protocol="HTTP")
    arn = str(made["TargetGroups"][0]["TargetGroupArn"])
    attribute = {"Key": "deregistration_delay.timeout_seconds", "Value": str(delay)}
    cloud.ask(*("elbv2", "ModifyTargetGroupAttributes"), TargetGroupArn=arn, Attributes=[attribute])
    return arn


def scaling_group(cloud: Cloud, member: str, *arns: str) -> None:
    """The Auto Scaling group `asg` with one member."""
    group = {"AutoScalingGroupName": "asg"}
    cloud.ask(
        *("autoscaling", "CreateAutoScalingGroup"),
        **group,
        MinSize=0,
        MaxSize=1,
        TargetGroupARNs=list(arns),
    )
    cloud.ask("autoscaling", "AttachInstances", **group, InstanceIds=[member])
    cloud.wait(minutes=1)


def done(cloud: Cloud, step: Callable[[], Progress]) -> None:
    """Repeat a step, as the state machine does, until it is done."""
    until = cloud.now + PATIENCE
    while not (progress := step()).done:
        assert not progress.failure
        assert cloud.now < until, progress.waiting
        cloud.wait(seconds=STEP)


def stop_and_start(cloud: Cloud, instance_id: str) -> None:
    for action, state in (("StopInstances", "stopped"), ("StartInstances", "running")):
        cloud.call(action, InstanceIds=[instance_id])
        while cloud.world.region(region=REGION).instances[instance_id].state != state:
            cloud.wait(seconds=STEP)
    cloud.wait(seconds=STEP)


def violations(cloud: Cloud) -> list[str]:
    return [each["what"] for each in cloud.companions.truth()["violations"]]


def test_a_member_goes_into_standby_and_comes_back_unharmed(cloud: Cloud) -> None:
    web, arn = launch(cloud), target_group(cloud)
    scaling_group(cloud, web, arn)
    done(cloud, lambda: enter(web))
    stop_and_start(cloud, web)
    done(cloud, lambda: leave(web))
    cloud.wait(minutes=5)
    truth = cloud.companions.truth()
    (group,) = truth["auto_scaling_groups"]
    assert (group["members"], group["desired"]) == ({web: "InService"}, 1)
    (targeted,) = truth["target_groups"]
    assert targeted["targets"] == [{"instance_id": web, "port": 80, "state": "healthy"}]
    assert violations(cloud) == []


def test_without_standby_the_member_would_have_been_lost(cloud: Cloud) -> None:
    web = launch(cloud)
    scaling_group(cloud, web)
    cloud.call("StopInstances", InstanceIds=[web])
    cloud.wait(minutes=5)
    (violation,) = violations(cloud)
    assert violation.startswith("the group asg terminates its member")


def test_a_target_is_drained_before_the_stop_and_healthy_after_the_start(cloud: Cloud) -> None:
    web, arn = launch(cloud), target_group(cloud)
    cloud.ask(
        *("elbv2", "RegisterTargets"),
        TargetGroupArn=arn,
        Targets=[{"Id": web}, {"Id": web, "Port": 8443}],
    )
    cloud.wait(minutes=1)
    part, since = arn.rpartition("/")[2], cloud.now
    places = [Registration(part, None, was_healthy=True), Registration(part, 8443, True)]
    done(cloud, lambda: drain(web, places, since, cloud.now))
    assert cloud.now - since >= timedelta(seconds=30)
    stop_and_start(cloud, web)
    done(cloud, lambda: register(web, places))
    (group,) = cloud.companions.truth()["target_groups"]
    assert {(each["port"], each["state"]) for each in group["targets"]} == {
        (80, "healthy"),
        (8443, "healthy"),
    }
    assert violations(cloud) == []


def test_the_alarms_of_an_instance_are_muted_and_act_again_after(cloud: Cloud) -> None:
    web = launch(cloud)
    for name, owner in (("cpu", web), ("other", "i-none")):
        dimension = {"Name": "InstanceId", "Value": owner}
        cloud.ask("cloudwatch", "PutMetricAlarm", AlarmName=name, Dimensions=[dimension])
    done(cloud, lambda: mute.mute("e-1", [web], cloud.now))
    cloud.wait(minutes=1)
    (rule,) = cloud.companions.truth()["mute_rules"]
    assert (rule["alarms"], rule["status"]) == (["cpu"], "ACTIVE")
    done(cloud, lambda: unmute("e-1"))
    assert cloud.companions.truth()["mute_rules"] == []


@pytest.mark.parametrize("fault", ["lost-response", "throttle", "server-error"])
@pytest.mark.parametrize("action", ["EnterStandby", "ExitStandby"])
def test_a_call_that_comes_to_grief_leaves_the_member_where_it_belongs(
    cloud: Cloud, fault: str, action: str
) -> None:
    web = launch(cloud)
    scaling_group(cloud, web)
    cloud.world.faults.add({"name": fault, "action": action})
    done(cloud, lambda: enter(web))
    stop_and_start(cloud, web)
    done(cloud, lambda: leave(web))
    cloud.wait(minutes=5)
    (group,) = cloud.companions.truth()["auto_scaling_groups"]
    assert (group["members"], group["desired"]) == ({web: "InService"}, 1)
    assert violations(cloud) == []
