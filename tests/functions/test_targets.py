"""Target groups: finding an instance's places in them, draining it, and bringing it back."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from stillpoint.aws import targets as target_groups
from stillpoint.aws.targets import DrainingGroups, TargetGroups, find_targets
from stillpoint.errors import AwsRefused, AwsUnavailable
from stillpoint.instance import Instance
from stillpoint.isolation import DONE, Progress, Registration
from tests.functions.alone import drain, register
from tests.functions.played import Played, Refusal, playing, until_it_succeeds
from tests.unit.builders import at

SINCE = at("2026-11-22 03:00")
WEB, DB = "i-0a", "i-0b"
HOUR = timedelta(hours=1)


def arn(name: str) -> str:
    return f"arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/{name}/{name}73e2d6"


@dataclass
class Group:
    """A target group with its targets' states; a draining one leaves after so many looks."""

    port: int = 80
    vpc: str = "vpc-1"
    kind: str = "instance"
    targets: dict[tuple[str, int], str] = field(default_factory=dict)
    delay: str | None = "30"
    looks: int = 2
    reason: str = ""


@dataclass
class LoadBalancing:
    """Target groups by name; a target is initial at one look and healthy at the next."""

    groups: dict[str, Group]
    refusals: dict[str, Refusal] = field(default_factory=dict)
    page: int = 400

    def call(self, action: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        if action in self.refusals:
            raise self.refusals[action]
        if action == "DescribeTargetGroups":
            return self._page(int(params.get("Marker", 0)))
        named = {arn(name): group for name, group in self.groups.items()}
        if params["TargetGroupArn"] not in named:
            raise Refusal("TargetGroupNotFound")
        group = named[params["TargetGroupArn"]]
        if action == "DescribeTargetGroupAttributes":
            rows = {"deregistration_delay.timeout_seconds": group.delay, "stickiness.enabled": "no"}
            return {"Attributes": [{"Key": k, "Value": v} for k, v in rows.items() if v]}
        if action == "DescribeTargetHealth":
            assert "Targets" not in params
            return {"TargetHealthDescriptions": list(_look(group))}
        keys = [(row["Id"], row.get("Port", group.port)) for row in params["Targets"]]
        for key in keys:
            if action == "RegisterTargets":
                group.targets[key] = "initial"
            elif key in group.targets:
                assert action == "DeregisterTargets"
                group.targets[key] = "draining"
        return {}

    def _page(self, begin: int) -> dict[str, Any]:
        rows = [
            {
                "TargetGroupArn": arn(name),
                "TargetGroupName": name,
                "Port": group.port,
                "VpcId": group.vpc,
                "TargetType": group.kind,
            }
            for name, group in self.groups.items()
        ]
        end = begin + self.page
        more = {"NextMarker": str(end)} if end < len(rows) else {}
        return {"TargetGroups": rows[begin:end], **more}


def _look(group: Group) -> Iterator[dict[str, Any]]:
    for key, state in list(group.targets.items()):
        reason = {"Reason": group.reason} if group.reason else {}
        yield {
            "Target": {"Id": key[0], "Port": key[1]},
            "TargetHealth": {"State": state, **reason},
        }
        if state == "initial":
            group.targets[key] = "healthy"
        if state == "draining":
            group.looks -= 1
            if group.looks == 0:
                del group.targets[key]


@contextmanager
def balancing(**groups: Group) -> Iterator[tuple[LoadBalancing, Played]]:
    model = LoadBalancing(groups)
    with playing("elbv2", model) as played:
        yield model, played


def serving(*instance_ids: str, port: int = 80, state: str = "healthy", **facts: Any) -> Group:  # noqa: ANN401 (those of Group)
    """Return a group in which these instances are registered."""
    return Group(targets={(each, port): state for each in instance_ids}, **facts)


def an_instance(instance_id: str = WEB, vpc: str = "vpc-1") -> Instance:
    return Instance(instance_id, "running", {}, vpc_id=vpc)


def held(name: str, *, port: int | None = None, healthy: bool = True) -> Registration:
    return Registration(arn(name).rpartition("/")[2], port, healthy)


def drained(*targets: Registration, after: timedelta = timedelta(0)) -> Progress:
    return drain(WEB, targets, SINCE, SINCE + after)


def test_every_place_of_an_instance_is_found_with_its_state() -> None:
    other = Group(port=8080, targets={(WEB, 8080): "unhealthy", (WEB, 8081): "draining"})
    with balancing(web=serving(WEB, DB), api=other, none=serving(DB)):
        web, own, extra = find_targets([an_instance()])[WEB]
    assert (web.arn, web.name, web.group) == (arn("web"), "web", "web73e2d6")
    assert (web.port, web.state) == (None, "healthy")
    assert (own.name, own.port, own.state) == ("api", None, "unhealthy")
    assert (extra.name, extra.port, extra.state) == ("api", 8081, "draining")


def test_only_groups_of_instances_in_the_same_vpc_are_asked() -> None:
    groups = {"ip": serving(WEB, kind="ip"), "far": serving(WEB, vpc="vpc-2"), "web": serving(WEB)}
    with balancing(**groups) as (_, played):
        assert [each.name for each in find_targets([an_instance()])[WEB]] == ["web"]
    assert played.asked("DescribeTargetHealth") == [{"TargetGroupArn": arn("web")}]


def test_groups_are_read_page_by_page() -> None:
    with balancing(**{f"g{number}": serving(WEB) for number in range(5)}) as (model, played):
        model.page = 2
        assert len(find_targets([an_instance()])[WEB]) == 5
    assert [row["PageSize"] for row in played.asked("DescribeTargetGroups")] == [400] * 3


@pytest.mark.parametrize("instances", [[], [Instance(WEB, "running", {})]])
def test_nothing_is_asked_for_nobody(instances: list[Instance]) -> None:
    with balancing(web=serving(WEB)) as (_, played):
        assert not any(find_targets(instances).values())
    assert played.calls == []


@pytest.mark.parametrize(
    ("stopped", "others", "last"),
    [
        ([WEB], {}, True),
        ([WEB], {DB: "healthy"}, False),
        ([WEB], {DB: "unhealthy"}, True),
        ([WEB], {DB: "draining"}, True),
        ([WEB, DB], {DB: "healthy"}, True),
        ([WEB, DB], {DB: "healthy", "i-0c": "healthy"}, False),
    ],
)
def test_the_last_healthy_target_is_one_whose_peers_are_down_or_go_with_it(
    stopped: list[str], others: dict[str, str], last: bool
) -> None:
    group = serving(WEB)
    group.targets |= {(instance_id, 80): state for instance_id, state in others.items()}
    with balancing(web=group):
        (found,) = find_targets([an_instance(each) for each in stopped])[WEB]
    assert found.only_healthy == last


def test_one_that_is_not_healthy_is_not_the_last_healthy_one() -> None:
    with balancing(web=serving(WEB, state="unhealthy")):
        assert not find_targets([an_instance()])[WEB][0].only_healthy


def test_a_group_that_is_deleted_meanwhile_has_no_targets() -> None:
    with balancing(web=serving(WEB)) as (model, _):
        model.refusals["DescribeTargetHealth"] = Refusal("TargetGroupNotFound")
        assert find_targets([an_instance()]) == {WEB: ()}


def test_an_instance_drains_from_all_its_groups_at_once() -> None:
    api = serving(WEB, port=8081, looks=3)
    with balancing(web=serving(WEB, DB), api=api) as (model, played):
        targets = [held("web"), held("api", port=8081)]
        assert drained(*targets).waiting == "it drains from web:80, api:8081"
        assert drained(*targets).waiting == "it drains from web:80, api:8081"
        assert drained(*targets).waiting == "it drains from web:80, api:8081"
        assert drained(*targets).waiting == "it drains from api:8081"
        assert drained(*targets) == DONE
        assert model.groups["web"].targets == {(DB, 80): "healthy"}
    assert played.asked("DeregisterTargets") == [
        {"TargetGroupArn": arn("web"), "Targets": [{"Id": WEB}]},
        {"TargetGroupArn": arn("api"), "Targets": [{"Id": WEB, "Port": 8081}]},
    ]


@pytest.mark.parametrize("delay", ["0", "30", "3600", None])
def test_draining_is_waited_for_as_long_as_the_group_says_and_a_minute(delay: str | None) -> None:
    span = timedelta(seconds=int(delay or 300) + 600)
    with balancing(web=serving(WEB, state="draining", delay=delay, looks=9)):
        assert drained(held("web"), after=span).waiting == "it drains from web:80"
        assert drained(held("web"), after=span + timedelta(seconds=1)) == DONE


def test_what_has_not_begun_to_drain_begins_however_late_it_is() -> None:
    with balancing(web=serving(WEB)) as (_, played):
        assert drained(held("web"), after=HOUR).waiting
        assert len(played.asked("DeregisterTargets")) == 1


@pytest.mark.parametrize("targets", [(), (held("web"),), (held("gone"),)])
def test_what_is_not_registered_needs_no_draining(targets: tuple[Registration, ...]) -> None:
    with balancing(web=serving(DB)) as (_, played):
        assert drained(*targets) == DONE
        assert "DeregisterTargets" not in played.actions
        assert bool(played.calls) == bool(targets)


@pytest.mark.parametrize("fault", ["unavailable_at", "lost_at"])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_whichever_call_fails_it_is_drained_and_comes_back(fault: str, number: int) -> None:
    targets = [held("web"), held("api", port=81, healthy=False)]
    with balancing(web=serving(WEB, DB), api=serving(WEB, port=81)) as (model, played):
        setattr(played, fault, number)
        while until_it_succeeds(lambda: drained(*targets)).waiting:
            pass
        assert [list(group.targets) for group in model.groups.values()] == [[(DB, 80)], []]
        setattr(played, fault, len(played.calls) + number)
        while until_it_succeeds(lambda: register(WEB, targets)).waiting:
            pass
        assert model.groups["web"].targets == {(DB, 80): "healthy", (WEB, 80): "healthy"}
        assert (WEB, 81) in model.groups["api"].targets


def test_an_instance_comes_back_and_is_done_when_it_is_as_healthy_as_before() -> None:
    targets = [held("web"), held("api", port=81, healthy=False)]
    with balancing(web=serving(DB), api=serving(DB)) as (_, played):
        first, second, third = (register(WEB, targets) for _ in range(3))
    assert first.waiting == (
        "it is being registered with web:80; it is being registered with api:81"
    )
    assert second.waiting == "it is initial in web:80"
    assert third == DONE
    assert [row["Targets"] for row in played.asked("RegisterTargets")] == [
        [{"Id": WEB}],
        [{"Id": WEB, "Port": 81}],
    ]


def test_one_that_still_drains_is_registered_again() -> None:
    with balancing(web=serving(WEB, state="draining", looks=9)) as (model, _):
        assert register(WEB, [held("web")]).waiting
        assert model.groups["web"].targets == {(WEB, 80): "initial"}


def test_none_is_registered_while_something_is_against_it() -> None:
    with balancing(web=serving(WEB, state="draining", looks=9)) as (model, played):
        groups = TargetGroups()
        progress = target_groups.register(WEB, [held("web")], groups, lambda: "it is stopping")
        assert progress == Progress(waiting="it is stopping")
        assert model.groups["web"].targets == {(WEB, 80): "draining"}
        assert played.asked("RegisterTargets") == []


@pytest.mark.parametrize("state", ["unhealthy", "unhealthy.draining", "unused", "unavailable"])
def test_one_that_was_healthy_is_waited_for_until_it_is_again(state: str) -> None:
    with balancing(web=serving(WEB, state=state, reason="Target.FailedHealthChecks")) as (
        _,
        played,
    ):
        progress = register(WEB, [held("web")])
        assert progress.waiting == f"it is {state} (Target.FailedHealthChecks) in web:80"
        assert register(WEB, [held("web", healthy=False)]) == DONE
        assert "RegisterTargets" not in played.actions


def test_a_group_that_no_load_balancer_uses_any_more_is_not_waited_for() -> None:
    with balancing(web=serving(WEB, state="unused", reason="Target.NotInUse")):
        assert register(WEB, [held("web")]) == DONE


def test_a_group_that_exists_no_more_is_lost_and_holds_up_nothing() -> None:
    with balancing(web=serving(DB)):
        progress = register(WEB, [held("gone")])
        assert progress.done
        assert "targetgroup/*/gone73e2d6, which does not exist any more" in progress.lost
        both = register(WEB, [held("gone"), held("web")])
        assert both.waiting == "it is being registered with web:80"
        assert both.lost == progress.lost


def test_instances_of_the_same_groups_read_them_once_at_a_look() -> None:
    members = [f"i-{number}" for number in range(40)]
    with balancing(web=serving(*members, looks=99), api=serving(*members, looks=99)) as (_, played):
        for after in (timedelta(0), HOUR):
            played.calls.clear()
            groups = DrainingGroups()
            for each in members:
                places = [held("web"), held("api")]
                progress = target_groups.drain(each, places, groups, SINCE, SINCE + after)
                assert progress.done == bool(after)
            reads = [action for action in played.actions if action.startswith("Describe")]
            late = ["DescribeTargetGroupAttributes"] * 2 if after else []
            assert sorted(reads) == sorted(
                ["DescribeTargetGroups", "DescribeTargetHealth", "DescribeTargetHealth", *late]
            )


def test_what_could_not_be_read_is_not_asked_for_again_by_each_member() -> None:
    with balancing(web=serving(WEB, DB)) as (model, played):
        model.refusals["DescribeTargetHealth"] = Refusal("AccessDenied", status=403)
        groups = TargetGroups()
        for each in (WEB, DB):
            with pytest.raises(AwsRefused):
                target_groups.register(each, [held("web")], groups)
        assert len(played.asked("DescribeTargetHealth")) == 1


def test_an_instance_that_elb_does_not_see_running_yet_is_waited_for() -> None:
    with balancing(web=Group()) as (model, _):
        model.refusals["RegisterTargets"] = Refusal("InvalidTarget", "It is not running.")
        assert "It is not running." in register(WEB, [held("web")]).waiting
        model.refusals.clear()
        assert register(WEB, [held("web")]).waiting == "it is being registered with web:80"


@pytest.mark.parametrize("code", ["TooManyTargets", "TooManyRegistrationsForTargetId"])
def test_a_group_that_is_full_is_a_failure_and_the_others_are_done_first(code: str) -> None:
    targets = [held("web"), held("api")]
    with balancing(web=Group(), api=Group()) as (model, played):
        model.refusals["RegisterTargets"] = Refusal(code, "It is full.")
        progress = register(WEB, targets)
        assert (progress.error, progress.waiting) == ("RegistrationRefused", "")
        assert progress.failure.count("It is full.") == 2
        assert len(played.asked("RegisterTargets")) == 2
        model.refusals.clear()
        assert register(WEB, targets).waiting


@pytest.mark.parametrize("action", ["DeregisterTargets", "RegisterTargets"])
def test_what_is_forbidden_is_refused(action: str) -> None:
    group = serving(WEB) if action == "DeregisterTargets" else Group()
    with balancing(web=group) as (model, _):
        model.refusals[action] = Refusal("AccessDenied", status=403)
        with pytest.raises(AwsRefused, match=f"registering {WEB}"):
            drained(held("web")) if action == "DeregisterTargets" else register(WEB, [held("web")])


@pytest.mark.parametrize(
    "action", ["DeregisterTargets", "DescribeTargetHealth", "DescribeTargetGroupAttributes"]
)
def test_a_group_that_is_deleted_meanwhile_is_drained_of_everything(action: str) -> None:
    state = "draining" if action == "DescribeTargetGroupAttributes" else "healthy"
    with balancing(web=serving(WEB, state=state, looks=9)) as (model, _):
        model.refusals[action] = Refusal("TargetGroupNotFound")
        assert not drained(held("web"), after=HOUR).failure
        del model.groups["web"]
        assert drained(held("web")) == DONE


@pytest.mark.parametrize("action", ["DescribeTargetGroups", "DescribeTargetHealth"])
def test_while_elb_does_not_answer_nothing_is_decided(action: str) -> None:
    with balancing(web=serving(WEB)) as (model, played):
        model.refusals[action] = Refusal("HealthUnavailable", status=500)
        with pytest.raises(AwsUnavailable):
            drained(held("web"))
        with pytest.raises(AwsUnavailable):
            register(WEB, [held("web")])
        assert not {"RegisterTargets", "DeregisterTargets"} & set(played.actions)
