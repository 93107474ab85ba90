"""Out of service and back, in a cloud in which groups replace members and targets drain."""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest

from stillpoint.aws import mute, standby, targets
from stillpoint.aws.ec2 import instances_by_id
from stillpoint.isolation import Progress
from stillpoint.targets import to_take_away, without_handled
from tests.functions.alone import drain, enter, leave, register, unmute
from tests.functions.cloud import Cloud, cloud_at
from tests.unit.builders import at

NOW = at("2026-11-22 03:00:20")
EXECUTION = "web-20261122T030000Z"
GROUP = "web-asg"


@pytest.fixture
def cloud(_aws: None) -> Iterator[Cloud]:
    with cloud_at(NOW, visibility_seconds=2, state_lag_seconds=3) as made:
        yield made


def a_target_group(cloud: Cloud, name: str, *instance_ids: str, port: int = 80) -> str:
    """Make a target group of the port 80, with these targets, which become healthy."""
    made = cloud.ask("elbv2", "CreateTargetGroup", Name=name, Port=80)
    arn: str = made["TargetGroups"][0]["TargetGroupArn"]
    enrol(cloud, arn, *instance_ids, port=port)
    return arn


def enrol(cloud: Cloud, arn: str, *instance_ids: str, port: int = 80) -> None:
    rows = [{"Id": each, "Port": port} for each in instance_ids]
    cloud.ask("elbv2", "RegisterTargets", TargetGroupArn=arn, Targets=rows)
    cloud.wait(minutes=2)


def a_group(cloud: Cloud, *instance_ids: str, arns: list[str] | None = None) -> None:
    """Make an Auto Scaling group of running instances, with room for one less."""
    cloud.ask(
        "autoscaling",
        "CreateAutoScalingGroup",
        AutoScalingGroupName=GROUP,
        MinSize=0,
        MaxSize=len(instance_ids),
        TargetGroupARNs=arns or [],
    )
    cloud.ask(
        "autoscaling",
        "AttachInstances",
        AutoScalingGroupName=GROUP,
        InstanceIds=list(instance_ids),
    )
    cloud.wait(minutes=5)


def launch(cloud: Cloud, count: int) -> list[str]:
    ids = [cloud.launch() for _ in range(count)]
    cloud.wait(minutes=5)
    return ids


def until_done(cloud: Cloud, *steps: Callable[[], Progress]) -> list[str]:
    """Take steps every five seconds, as the state machine does; return what was waited for."""
    seen: dict[str, None] = {}
    for _ in range(200):
        made = [step() for step in steps]
        assert not any(each.failure for each in made), made
        waiting = [each.waiting for each in made if each.waiting]
        if not waiting:
            return list(seen)
        seen |= dict.fromkeys(waiting)
        cloud.wait(seconds=5)
    pytest.fail(f"It never ended: {list(seen)[-3:]}")


def restart(cloud: Cloud, instance_id: str) -> None:
    """Stop an instance, and start it again."""
    cloud.call("StopInstances", InstanceIds=[instance_id])
    cloud.wait(minutes=5)
    cloud.call("StartInstances", InstanceIds=[instance_id])
    cloud.wait(minutes=5)


def truth(cloud: Cloud) -> Mapping[str, Any]:
    return cloud.companions.truth()


def state_of(instance_id: str) -> str:
    return instances_by_id([instance_id])[instance_id].state


def healthy_places(cloud: Cloud, instance_id: str) -> list[tuple[str, int]]:
    return sorted(
        (group["name"], target["port"])
        for group in truth(cloud)["target_groups"]
        for target in group["targets"]
        if target["instance_id"] == instance_id and target["state"] == "healthy"
    )


def test_a_member_is_stopped_and_comes_back_and_its_group_does_not_replace_it(
    cloud: Cloud,
) -> None:
    web, other = launch(cloud, 2)
    a_group(cloud, web, other, arns=[a_target_group(cloud, "web")])
    cloud.wait(minutes=2)
    waited = until_done(cloud, lambda: enter(web))
    assert "it is EnteringStandby in the group web-asg" in waited
    assert healthy_places(cloud, web) == []
    restart(cloud, web)
    waited = until_done(cloud, lambda: leave(web))
    assert "it is Pending in the group web-asg" in waited
    cloud.wait(minutes=5)
    assert state_of(web) == "running"
    assert healthy_places(cloud, web) == [("web", 80)]
    assert (truth(cloud)["violations"], truth(cloud)["connections_cut"]) == ([], [])


def test_a_member_that_still_starts_is_not_handed_to_a_group_that_would_replace_it(
    cloud: Cloud,
) -> None:
    web, other = launch(cloud, 2)
    a_group(cloud, web, other)
    until_done(cloud, lambda: enter(web))
    cloud.call("StopInstances", InstanceIds=[web])
    for _ in range(30):
        cloud.wait(seconds=10)
        assert leave(web).waiting.endswith("and leaves Standby only when it runs")
    cloud.call("StartInstances", InstanceIds=[web])
    until_done(cloud, lambda: leave(web))
    cloud.wait(minutes=5)
    assert state_of(web) == "running"
    assert truth(cloud)["violations"] == []


def test_targets_are_drained_and_come_back_to_every_port(cloud: Cloud) -> None:
    web, other = launch(cloud, 2)
    web_group = a_target_group(cloud, "web", web, other)
    enrol(cloud, web_group, web, port=8080)
    a_target_group(cloud, "api", web)
    places = healthy_places(cloud, web)
    found = targets.find_targets(list(instances_by_id([web]).values()))[web]
    assert [(each.name, each.only_healthy) for each in found] == [
        *(("web", False), ("web", False), ("api", True))
    ]
    held, since = to_take_away(found), cloud.now
    until_done(cloud, lambda: drain(web, held, since, cloud.now))
    assert timedelta(minutes=5) <= cloud.now - since <= timedelta(minutes=6)
    assert healthy_places(cloud, web) == []
    restart(cloud, web)
    until_done(cloud, lambda: register(web, held))
    assert healthy_places(cloud, web) == places == [("api", 80), ("web", 80), ("web", 8080)]
    assert (truth(cloud)["violations"], truth(cloud)["connections_cut"]) == ([], [])


def test_a_member_with_targets_of_its_own_goes_and_returns_by_both_ways(cloud: Cloud) -> None:
    web, other = launch(cloud, 2)
    own = a_target_group(cloud, "own")
    extra = a_target_group(cloud, "extra", web)
    a_group(cloud, web, other, arns=[own])
    instances = list(instances_by_id([web]).values())
    handled = standby.read_memberships([web])[web].sizes
    assert handled is not None
    found = without_handled(targets.find_targets(instances)[web], handled.target_groups)
    assert [each.arn for each in found] == [extra]
    held, since = to_take_away(found), cloud.now
    until_done(
        cloud,
        lambda: enter(web),
        lambda: drain(web, held, since, cloud.now),
    )
    restart(cloud, web)
    until_done(cloud, lambda: register(web, held), lambda: leave(web))
    cloud.wait(minutes=2)
    assert healthy_places(cloud, web) == [("extra", 80), ("own", 80)]
    assert (truth(cloud)["violations"], truth(cloud)["connections_cut"]) == ([], [])


def test_a_group_that_has_no_room_for_one_less_says_so_in_numbers(cloud: Cloud) -> None:
    (web,) = launch(cloud, 1)
    a_group(cloud, web)
    cloud.ask("autoscaling", "UpdateAutoScalingGroup", AutoScalingGroupName=GROUP, MinSize=1)
    progress = enter(web)
    assert progress.error == "StandbyRefused"
    assert "DesiredCapacity 1 and MinSize 1, and 0 would be left" in progress.failure


def test_a_group_that_has_filled_up_meanwhile_lets_the_member_back_when_there_is_room(
    cloud: Cloud,
) -> None:
    web, other = launch(cloud, 2)
    a_group(cloud, web, other)
    until_done(cloud, lambda: enter(web))
    cloud.ask("autoscaling", "UpdateAutoScalingGroup", AutoScalingGroupName=GROUP, MaxSize=1)
    progress = leave(web)
    assert progress.error == "StandbyRefused"
    assert "MaxSize 1, and would come to DesiredCapacity 2" in progress.failure
    cloud.ask("autoscaling", "UpdateAutoScalingGroup", AutoScalingGroupName=GROUP, MaxSize=2)
    until_done(cloud, lambda: leave(web))


def test_alarms_are_silent_from_the_next_minute_and_for_two_hours_at_most(cloud: Cloud) -> None:
    web, other = launch(cloud, 2)
    for name, instance_id in (("web-status", web), ("other-status", other)):
        dimensions = [{"Name": "InstanceId", "Value": instance_id}]
        cloud.ask("cloudwatch", "PutMetricAlarm", AlarmName=name, Dimensions=dimensions)
    mute.mute(EXECUTION, [web], cloud.now)
    (rule,) = truth(cloud)["mute_rules"]
    assert (rule["alarms"], rule["status"]) == (["web-status"], "SCHEDULED")
    cloud.wait(minutes=1)
    assert truth(cloud)["mute_rules"][0]["status"] == "ACTIVE"
    cloud.wait(hours=2)
    assert truth(cloud)["mute_rules"][0]["status"] == "EXPIRED"
    unmute(EXECUTION)
    assert truth(cloud)["mute_rules"] == []
