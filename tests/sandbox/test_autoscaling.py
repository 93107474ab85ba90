"""Standby, what a group's sizes allow, and what a group does to a member that does not run."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sandbox.companion_lab import CompanionLab

SETTLED = 20


@pytest.fixture
def lab() -> CompanionLab:
    return CompanionLab()


def desired(lab: CompanionLab) -> int:
    return int(lab.group()["DesiredCapacity"])


def test_a_member_that_stops_in_service_is_terminated(lab: CompanionLab) -> None:
    web = lab.launch()
    lab.scaling_group(web)
    lab.call("StopInstances", InstanceIds=[web])
    lab.wait(SETTLED)
    assert lab.membership(web) == "Terminating"
    (violation,) = lab.violations()
    assert violation.startswith("the group asg terminates its member")
    lab.wait_for(lambda: lab.instance_truth(web)["state"] == "terminated")
    lab.wait(SETTLED)
    assert lab.membership(web) == ""


def test_a_member_in_standby_may_be_stopped_and_started(lab: CompanionLab) -> None:
    web = lab.launch()
    lab.scaling_group(web)
    assert (lab.membership(web), desired(lab)) == ("InService", 1)
    assert lab.enter(web) == ""
    assert (lab.membership(web), desired(lab)) == ("EnteringStandby", 0)
    lab.wait(SETTLED)
    assert lab.membership(web) == "Standby"
    lab.stop(web)
    lab.wait(3600)
    lab.start(web)
    lab.wait_for(lambda: lab.state(web) == "running")
    assert lab.leave(web) == ""
    assert (lab.membership(web), desired(lab)) == ("Pending", 1)
    lab.wait(SETTLED)
    assert lab.membership(web) == "InService"
    lab.wait(3600)
    assert lab.violations() == []


@pytest.mark.parametrize("seconds", [0, 5])
def test_who_exits_standby_before_it_runs_is_terminated(lab: CompanionLab, seconds: int) -> None:
    """Stopped, or pending for as long as that."""
    web = lab.launch()
    lab.world.configure(web, start_seconds=600)
    lab.scaling_group(web)
    lab.enter(web)
    lab.wait(SETTLED)
    lab.stop(web)
    if seconds:
        lab.start(web)
        lab.wait(seconds)
    assert lab.leave(web) == ""
    lab.wait(2 * SETTLED)
    assert lab.membership(web) in {"Terminating", ""}
    assert len(lab.violations()) == 1


def test_only_who_is_in_service_enters_and_only_who_stands_by_exits(lab: CompanionLab) -> None:
    web, lone = lab.launch(), lab.launch("lone")
    lab.scaling_group(web)
    assert lab.leave(web) == f"ValidationError: The instance {web} is not in Standby."
    lab.enter(web)
    assert lab.enter(web) == f"ValidationError: The instance {web} is not in InService."
    assert lab.leave(web) == f"ValidationError: The instance {web} is not in Standby."
    assert "is not part of Auto Scaling group asg" in lab.enter(lone)
    assert "Between 1 and 20" in lab.enter()
    assert "not found" in lab.refusal(
        *("autoscaling", "EnterStandby"),
        AutoScalingGroupName="none",
        InstanceIds=[web],
        ShouldDecrementDesiredCapacity=True,
    )


def test_the_least_size_is_kept_when_a_member_enters(lab: CompanionLab) -> None:
    web, other = lab.launch(), lab.launch("other")
    lab.scaling_group(web, other, least=1, most=2)
    refused = lab.enter(web, other)
    assert refused == (
        "ValidationError: AutoScalingGroup asg has min-size=1, max-size=2, and desired-size=2. To "
        "place into standby 2 instances, please update the AutoScalingGroup sizes appropriately."
    )
    assert (lab.membership(web), desired(lab)) == ("InService", 2)
    assert lab.enter(web) == ""
    assert "To place into standby 1 instance," in lab.enter(other)


def test_without_a_decrement_the_least_size_does_not_matter(lab: CompanionLab) -> None:
    web = lab.launch()
    lab.scaling_group(web, least=1, most=1)
    assert lab.enter(web, decrement=False) == ""
    lab.wait(SETTLED)
    assert "To exit standby 1 instance" in lab.leave(web)


def test_the_greatest_size_is_kept_when_a_member_exits(lab: CompanionLab) -> None:
    web = lab.launch()
    lab.scaling_group(web, most=2)
    lab.enter(web)
    lab.wait(SETTLED)
    name = {"AutoScalingGroupName": "asg"}
    lab.ask("autoscaling", "UpdateAutoScalingGroup", **name, DesiredCapacity=2)
    assert "To exit standby 1 instance" in lab.leave(web)
    lab.ask("autoscaling", "UpdateAutoScalingGroup", **name, MaxSize=3)
    assert lab.leave(web) == ""


def test_nobody_exits_standby_while_launches_are_suspended(lab: CompanionLab) -> None:
    web = lab.launch()
    lab.scaling_group(web)
    lab.enter(web)
    lab.wait(SETTLED)
    name = {"AutoScalingGroupName": "asg", "ScalingProcesses": ["Launch"]}
    lab.ask("autoscaling", "SuspendProcesses", **name)
    suspended = [row["ProcessName"] for row in lab.group()["SuspendedProcesses"]]
    assert suspended == ["Launch"]
    assert "Launch is suspended" in lab.leave(web)
    lab.ask("autoscaling", "ResumeProcesses", **name)
    assert lab.leave(web) == ""


def test_a_group_that_may_not_replace_only_says_that_its_member_is_unhealthy(
    lab: CompanionLab,
) -> None:
    web = lab.launch()
    lab.scaling_group(web)
    lab.ask(
        *("autoscaling", "SuspendProcesses"),
        AutoScalingGroupName="asg",
        ScalingProcesses=["ReplaceUnhealthy"],
    )
    lab.stop(web)
    lab.wait(SETTLED)
    assert lab.group()["Instances"][0]["HealthStatus"] == "Unhealthy"
    assert lab.violations() == []
    assert lab.state(web) == "stopped"


def test_who_terminates_a_member_is_not_the_group(lab: CompanionLab) -> None:
    web = lab.launch()
    lab.scaling_group(web)
    lab.call("TerminateInstances", InstanceIds=[web])
    lab.wait(600)
    assert (lab.membership(web), lab.violations()) == ("", [])


def test_standby_waits_for_the_draining_and_leaving_it_registers_again(lab: CompanionLab) -> None:
    web, arn = lab.launch(), lab.target_group(delay=60)
    lab.scaling_group(web, arns=(arn,))
    lab.wait(30)
    assert lab.health(arn) == {80: "healthy"}
    lab.enter(web)
    assert lab.health(arn) == {80: "draining Target.DeregistrationInProgress"}
    lab.wait(55)
    assert lab.membership(web) == "EnteringStandby"
    lab.wait(15)
    assert (lab.membership(web), lab.health(arn)) == ("Standby", {})
    lab.stop(web)
    lab.start(web)
    lab.wait_for(lambda: lab.state(web) == "running")
    lab.leave(web)
    assert lab.health(arn) == {80: "initial Elb.RegistrationInProgress"}
    lab.wait(30)
    assert (lab.membership(web), lab.health(arn)) == ("InService", {80: "healthy"})
    assert lab.violations() == []


def test_a_change_of_state_is_seen_a_moment_late() -> None:
    lab = CompanionLab(state_lag_seconds=3)
    web = lab.launch()
    lab.scaling_group(web)
    lab.enter(web)
    assert lab.membership(web) == "InService"
    assert "is not in InService" in lab.enter(web)
    lab.wait(3)
    assert lab.membership(web) == "EnteringStandby"


def test_a_member_carries_the_tag_of_its_group_and_who_is_none_is_left_out(
    lab: CompanionLab,
) -> None:
    web, lone = lab.launch(), lab.launch("lone")
    lab.scaling_group(web)
    assert {"Key": "aws:autoscaling:groupName", "Value": "asg"} in lab.instance(web)["Tags"]
    assert lab.membership(lone) == ""


@pytest.mark.parametrize(
    ("action", "params", "words"),
    [
        ("CreateAutoScalingGroup", {"MinSize": 0, "MaxSize": 1}, "already exists"),
        ("UpdateAutoScalingGroup", {"MinSize": 9}, "between the minimum and the maximum"),
        ("AttachInstances", {"InstanceIds": ["i-none"]}, "Invalid Instance ID"),
    ],
)
def test_what_cannot_be_is_refused(
    lab: CompanionLab, action: str, params: dict[str, Any], words: str
) -> None:
    web = lab.launch()
    lab.scaling_group(web, most=2)
    refused = lab.refusal("autoscaling", action, AutoScalingGroupName="asg", **params)
    assert words in refused
    again = {"AutoScalingGroupName": "asg", "InstanceIds": [web]}
    assert "already part of" in lab.refusal("autoscaling", "AttachInstances", **again)


@settings(max_examples=30, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from(["enter", "leave"]), st.integers(0, 2)), max_size=12),
    least=st.integers(0, 2),
)
def test_the_sizes_hold_and_nobody_is_lost_whatever_is_asked(
    steps: list[tuple[str, int]], least: int
) -> None:
    lab = CompanionLab()
    members = [lab.launch(name) for name in "abc"]
    lab.scaling_group(*members, least=least, most=3)
    for what, number in steps:
        (lab.enter if what == "enter" else lab.leave)(members[number])
        lab.wait(SETTLED)
        group = lab.group()
        serving = [row for row in group["Instances"] if row["LifecycleState"] == "InService"]
        assert group["DesiredCapacity"] == len(serving) >= least
    assert lab.violations() == []
