"""Standby: what is asked of Auto Scaling, and what becomes of its answers."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from stillpoint.aws import standby
from stillpoint.aws.ec2 import instances_by_id
from stillpoint.aws.standby import Members, read_memberships
from stillpoint.errors import AwsRefused, AwsUnavailable
from stillpoint.isolation import DONE, Progress
from stillpoint.standby import Sizes
from tests.functions.alone import enter, leave
from tests.functions.faults import throttled
from tests.functions.fleet import launch, launch_one, set_state, terminate
from tests.functions.played import Played, Refusal, playing, until_it_succeeds

ARN = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup"


@dataclass
class AutoScaling:
    """One group, whose members move one step whenever they are looked at."""

    states: dict[str, str]
    min_size: int = 0
    max_size: int = 4
    desired: int = 2
    suspended: list[str] = field(default_factory=list)
    weight: int = 0
    stale: int = 0
    """So many looks still show a member as it was before the last call."""
    group: dict[str, Any] | None = field(default_factory=dict)
    refusal: Refusal | None = None
    """What becomes of every call that would change anything."""

    def call(self, action: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        if action == "DescribeAutoScalingInstances":
            rows = [self._row(each) for each in params["InstanceIds"] if each in self.states]
            return {"AutoScalingInstances": rows}
        if action == "DescribeAutoScalingGroups":
            return {"AutoScalingGroups": [] if self.group is None else [self._described()]}
        (instance_id,) = params["InstanceIds"]
        assert params["AutoScalingGroupName"] == "web-asg"
        if action == "EnterStandby":
            assert params["ShouldDecrementDesiredCapacity"] is True
            self._move(instance_id, "InService", "EnteringStandby", -1)
        else:
            assert action == "ExitStandby"
            self._move(instance_id, "Standby", "Pending", 1)
        return {"Activities": []}

    def _row(self, instance_id: str) -> dict[str, Any]:
        state = self.states[instance_id]
        shown = state
        if self.stale and state in {"EnteringStandby", "Pending"}:
            self.stale -= 1
            shown = {"EnteringStandby": "InService", "Pending": "Standby"}[state]
        else:
            onwards = {"EnteringStandby": "Standby", "Pending": "InService"}
            self.states[instance_id] = onwards.get(state, state)
        weight = {"WeightedCapacity": str(self.weight)} if self.weight else {}
        return {
            "InstanceId": instance_id,
            "AutoScalingGroupName": "web-asg",
            "LifecycleState": shown,
            **weight,
        }

    def _described(self) -> dict[str, Any]:
        return {
            "AutoScalingGroupName": "web-asg",
            "MinSize": self.min_size,
            "MaxSize": self.max_size,
            "DesiredCapacity": self.desired,
            "SuspendedProcesses": [{"ProcessName": name} for name in self.suspended],
            **(self.group or {}),
        }

    def _move(self, instance_id: str, before: str, after: str, sign: int) -> None:
        if self.refusal:
            raise self.refusal
        if self.states.get(instance_id) != before:
            raise Refusal("ValidationError", f"The instance {instance_id} is not in {before}.")
        desired = self.desired + sign * (self.weight or 1)
        closed = after == "Pending" and "Launch" in self.suspended
        if closed or not self.min_size <= desired <= self.max_size:
            raise Refusal("ValidationError", "The sizes of the group web-asg do not allow it.")
        self.states[instance_id], self.desired = after, desired


@contextmanager
def a_member(state: str = "InService", **facts: Any) -> Iterator[tuple[str, AutoScaling, Played]]:  # noqa: ANN401 (those of AutoScaling)
    web = launch_one()
    model = AutoScaling({web: state}, **facts)
    with playing("autoscaling", model) as played:
        yield web, model, played


def steps(step: Callable[[str], Progress], instance_id: str) -> list[Progress]:
    """Take steps as the state machine does, until it is done or fails."""
    taken = []
    for _ in range(9):
        taken.append(until_it_succeeds(lambda: step(instance_id)))
        if not taken[-1].waiting:
            return taken
    pytest.fail(f"It never ended: {taken[-1]}")


def test_a_member_enters_standby_and_its_group_wants_one_less() -> None:
    with a_member() as (web, model, played):
        first, *waits, last = steps(enter, web)
        assert first.waiting == "it enters Standby in the group web-asg"
        assert [each.waiting for each in waits] == ["it is EnteringStandby in the group web-asg"]
        assert last == DONE
        assert (model.states[web], model.desired) == ("Standby", 1)
        assert len(played.asked("EnterStandby")) == 1


def test_a_member_returns_from_standby_and_its_group_wants_it_back() -> None:
    with a_member("Standby", desired=1) as (web, model, played):
        first, *waits, last = steps(leave, web)
        assert first.waiting == "it returns to the group web-asg"
        assert [each.waiting for each in waits] == ["it is Pending in the group web-asg"]
        assert last == DONE
        assert (model.states[web], model.desired) == ("InService", 2)
        assert len(played.asked("ExitStandby")) == 1


@pytest.mark.parametrize(("step", "state"), [(enter, "Standby"), (leave, "InService")])
def test_what_is_done_is_seen_in_one_look(step: Callable[[str], Progress], state: str) -> None:
    with a_member(state) as (web, _, played):
        assert step(web) == DONE
        assert played.actions == ["DescribeAutoScalingInstances"]


@pytest.mark.parametrize(
    ("step", "start", "end", "desired"),
    [(enter, "InService", "Standby", 1), (leave, "Standby", "InService", 2)],
)
@pytest.mark.parametrize("fault", ["unavailable_at", "lost_at"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_whichever_call_fails_it_comes_to_the_same_end(
    step: Callable[[str], Progress], start: str, *, end: str, desired: int, fault: str, number: int
) -> None:
    with a_member(start, desired=3 - desired) as (web, model, played):
        setattr(played, fault, number)
        assert steps(step, web)[-1] == DONE
        assert (model.states[web], model.desired) == (end, desired)


@pytest.mark.parametrize(("step", "start"), [(enter, "InService"), (leave, "Standby")])
def test_a_state_that_is_told_late_is_waited_for(
    step: Callable[[str], Progress], start: str
) -> None:
    with a_member(start, desired=1, stale=3) as (web, model, _):
        taken = steps(step, web)
        assert taken[-1] == DONE
        assert any("ValidationError" in each.waiting for each in taken)
        assert model.states[web] != start


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"min_size": 2}, "DesiredCapacity 2 and MinSize 2, and 1 would be left"),
        ({"weight": 3, "desired": 6, "min_size": 4, "max_size": 9}, "and 3 would be left"),
    ],
)
def test_a_group_that_would_become_too_small_does_not_let_a_member_out(
    facts: dict[str, Any], words: str
) -> None:
    with a_member(**facts) as (web, model, _):
        progress = enter(web)
        assert progress.error == "StandbyRefused"
        assert words in progress.failure
        assert model.states[web] == "InService"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"max_size": 2}, "MaxSize 2, and would come to DesiredCapacity 3"),
        ({"suspended": ["Launch"]}, "the process Launch of the group web-asg is suspended"),
    ],
)
def test_a_group_that_is_closed_keeps_a_member_in_standby_until_it_opens(
    facts: dict[str, Any], words: str
) -> None:
    with a_member("Standby", **facts) as (web, model, _):
        progress = leave(web)
        assert progress.error == "StandbyRefused"
        assert words in progress.failure
        model.max_size, model.suspended = 4, []
        assert steps(leave, web)[-1] == DONE


@pytest.mark.parametrize("state", ["Terminating", "Detached", "Warmed:Stopped", "Quarantined"])
def test_a_member_that_is_elsewhere_does_not_enter_standby(state: str) -> None:
    with a_member(state) as (web, _, played):
        progress = enter(web)
        assert (progress.error, progress.done) == ("StandbyRefused", False)
        assert f"it is {state} in the group web-asg" in progress.failure
        assert "EnterStandby" not in played.actions


def test_an_instance_that_auto_scaling_does_not_know_does_not_enter_standby() -> None:
    with playing("autoscaling", AutoScaling({})):
        progress = enter("i-0a")
        assert progress.failure == "EC2 Auto Scaling does not know the instance"


@pytest.mark.parametrize("state", ["Terminating", "Terminated", "Detaching", "Warmed:Running"])
def test_a_member_that_its_group_gave_up_has_nothing_to_return_to(state: str) -> None:
    with a_member(state) as (web, _, played):
        assert leave(web) == DONE
        assert played.actions == ["DescribeAutoScalingInstances"]


def test_an_instance_that_is_no_member_any_more_has_nothing_to_return_to() -> None:
    with playing("autoscaling", AutoScaling({})):
        assert leave("i-0a") == DONE


@pytest.mark.parametrize("state", ["stopped", "stopping", "pending"])
def test_a_member_that_does_not_run_stays_in_standby_where_it_is_not_replaced(state: str) -> None:
    with a_member("Standby") as (web, model, played):
        set_state(web, state)
        progress = leave(web)
        assert progress.waiting == f"it is {state}, and leaves Standby only when it runs"
        assert model.states[web] == "Standby"
        assert "ExitStandby" not in played.actions


def test_a_member_that_was_terminated_stays_in_standby() -> None:
    with a_member("Standby") as (web, _, played):
        terminate(web)
        assert "terminated" in leave(web).waiting
        assert "ExitStandby" not in played.actions


@pytest.mark.parametrize("state", ["EnteringStandby", "Pending:Wait", "ReplacingRootVolume", "new"])
def test_a_state_on_the_way_out_is_waited_for(state: str) -> None:
    with a_member(state) as (web, _, _played):
        assert leave(web).waiting == f"it is {state} in the group web-asg"


@pytest.mark.parametrize("step", [enter, leave])
def test_a_scaling_activity_that_is_in_the_way_is_waited_for(
    step: Callable[[str], Progress],
) -> None:
    state = "InService" if step is enter else "Standby"
    busy = Refusal("ScalingActivityInProgress", "Activity 1 is in progress.")
    with a_member(state, refusal=busy) as (web, _, played):
        assert "Activity 1 is in progress." in step(web).waiting
        assert played.actions[-1] == "DescribeAutoScalingGroups"


@pytest.mark.parametrize("step", [enter, leave])
def test_what_is_forbidden_is_refused(step: Callable[[str], Progress]) -> None:
    state = "InService" if step is enter else "Standby"
    forbidden = Refusal("AccessDenied", status=403)
    with (
        a_member(state, refusal=forbidden) as (web, _, _played),
        pytest.raises(AwsRefused, match="Standby"),
    ):
        step(web)


def test_members_of_one_backup_leave_their_group_together() -> None:
    ids = launch(3)
    out, *staying = ids
    states = {out: "Standby"} | dict.fromkeys(staying, "InService")
    with playing("autoscaling", AutoScaling(states)):
        found = read_memberships(ids)
    assert {each: found[each].together for each in ids} == {out: 1} | dict.fromkeys(staying, 2)
    assert found[out].state == "Standby"


def test_members_weigh_what_their_group_says() -> None:
    web, other = launch(2)
    with playing("autoscaling", AutoScaling({web: "InService", other: "InService"}, weight=4)):
        assert read_memberships([web, other])[web].together == 8
        assert read_memberships([web])[web].together == 4


def test_a_group_is_read_with_its_limits_and_both_kinds_of_target_groups() -> None:
    group = {
        "TargetGroupARNs": [f"{ARN}/web/1"],
        "TrafficSources": [
            {"Identifier": f"{ARN}/web/1", "Type": "elbv2"},
            {"Identifier": f"{ARN}/api/2", "Type": "elbv2"},
            {"Identifier": "classic", "Type": "elb"},
            {"Identifier": "arn:aws:vpc-lattice:eu-west-1:1:targetgroup/tg-1"},
        ],
    }
    with a_member(min_size=1, suspended=["Launch", "AZRebalance"], group=group) as (
        web,
        _,
        _played,
    ):
        found = read_memberships([web])[web]
    assert found.sizes == Sizes(
        1, 4, 2, frozenset({"Launch", "AZRebalance"}), (f"{ARN}/api/2", f"{ARN}/web/1")
    )


def test_a_group_that_is_gone_has_no_sizes() -> None:
    with a_member(group=None) as (web, _, _played):
        assert read_memberships([web])[web].sizes is None


def test_nothing_is_asked_for_nobody() -> None:
    with playing("autoscaling", AutoScaling({})) as played:
        assert read_memberships([]) == {}
        assert read_memberships([f"i-{number}" for number in range(120)]) == {}
    assert played.actions == ["DescribeAutoScalingInstances"] * 3


def test_what_ec2_does_not_say_is_asked_again() -> None:
    with (
        a_member("Standby") as (web, model, _),
        throttled("ec2", "DescribeInstances"),
        pytest.raises(AwsUnavailable),
    ):
        leave(web)
    assert model.states[web] == "Standby"


def test_a_member_stays_in_standby_while_something_is_against_its_return() -> None:
    with a_member("Standby") as (web, model, played):
        instance = instances_by_id([web])[web]
        progress = standby.leave(instance, Members([web]), lambda: "it is stopping")
        assert progress == Progress(waiting="it is stopping")
        assert model.states[web] == "Standby"
        assert "ExitStandby" not in played.actions
