"""Targets take time to be healthy and to drain, and a stop that cuts their connections is seen."""

import pytest

from tests.sandbox.companion_lab import CompanionLab

DRAINED = 31


@pytest.fixture
def lab() -> CompanionLab:
    return CompanionLab()


def serving(lab: CompanionLab, *, delay: int = 30) -> tuple[str, str]:
    """An instance that is a healthy target, and its group's ARN."""
    web, arn = lab.launch(), lab.target_group(delay=delay)
    lab.register(arn, {"Id": web})
    lab.wait(30)
    return web, arn


def test_a_target_is_initial_until_its_first_health_check(lab: CompanionLab) -> None:
    web, arn = lab.launch(), lab.target_group()
    lab.register(arn, {"Id": web})
    assert lab.health(arn) == {80: "initial Elb.RegistrationInProgress"}
    lab.wait(30)
    assert lab.health(arn) == {80: "healthy"}


def test_an_instance_that_does_not_run_cannot_be_registered(lab: CompanionLab) -> None:
    web, arn = lab.launch(), lab.target_group()
    lab.stop(web)
    refused = lab.refusal(
        "elbv2", "RegisterTargets", TargetGroupArn=arn, Targets=[{"Id": web}, {"Id": web}]
    )
    assert refused == (
        "InvalidTarget: The following targets are not in a running state and cannot be "
        f"registered: '{web}'"
    )
    lab.start(web)
    lab.wait(1)
    assert "not in a running state" in lab.refusal(  # still pending
        "elbv2", "RegisterTargets", TargetGroupArn=arn, Targets=[{"Id": web}]
    )
    assert "InvalidTarget" in lab.refusal(
        "elbv2", "RegisterTargets", TargetGroupArn=arn, Targets=[{"Id": "i-none"}]
    )


def test_a_deregistered_target_drains_for_the_whole_delay(lab: CompanionLab) -> None:
    web, arn = serving(lab)
    lab.deregister(arn, {"Id": web})
    assert lab.health(arn) == {80: "draining Target.DeregistrationInProgress"}
    lab.wait(DRAINED - 2)
    assert lab.health(arn) == {80: "draining Target.DeregistrationInProgress"}
    lab.deregister(arn, {"Id": web})  # a second time does not begin anew
    lab.wait(2)
    assert lab.health(arn) == {}
    assert lab.health(arn, {"Id": web}) == {80: "unused Target.NotRegistered"}


def test_a_target_that_is_registered_again_while_it_drains_stays(lab: CompanionLab) -> None:
    web, arn = serving(lab)
    lab.deregister(arn, {"Id": web})
    lab.register(arn, {"Id": web})
    lab.wait(DRAINED)
    assert lab.health(arn) == {80: "healthy"}


def test_to_deregister_what_is_not_registered_is_no_error(lab: CompanionLab) -> None:
    web, arn = lab.launch(), lab.target_group()
    lab.deregister(arn, {"Id": web}, {"Id": "i-none"})
    assert lab.health(arn) == {}


def test_a_port_of_its_own_has_to_be_named(lab: CompanionLab) -> None:
    web, arn = lab.launch(), lab.target_group(delay=0)
    lab.register(arn, {"Id": web, "Port": 8443}, {"Id": web})
    lab.wait(30)
    assert lab.health(arn) == {8443: "healthy", 80: "healthy"}
    lab.deregister(arn, {"Id": web})
    assert lab.health(arn) == {8443: "healthy"}
    lab.deregister(arn, {"Id": web})
    assert lab.health(arn) == {8443: "healthy"}
    lab.deregister(arn, {"Id": web, "Port": 8443})
    assert lab.health(arn) == {}


def test_a_target_that_comes_back_is_unhealthy_until_its_checks_pass(lab: CompanionLab) -> None:
    web, arn = serving(lab)
    lab.stop(web)
    assert lab.health(arn) == {80: "unused Target.InvalidState"}
    lab.start(web)
    lab.wait_for(lambda: lab.state(web) == "running")
    assert lab.health(arn) == {80: "unhealthy Target.FailedHealthChecks"}
    lab.wait(40)
    assert lab.health(arn) == {80: "healthy"}


def test_an_application_that_answers_no_check_never_becomes_healthy(lab: CompanionLab) -> None:
    web, arn = serving(lab)
    lab.companions.balancing.unhealthy.add(web)
    lab.wait(600)
    assert lab.health(arn) == {80: "unhealthy Target.FailedHealthChecks"}


def test_a_stop_while_a_target_is_healthy_cuts_its_connections(lab: CompanionLab) -> None:
    web, _ = serving(lab)
    lab.call("StopInstances", InstanceIds=[web])
    assert lab.violations() == ["cuts the connections of a healthy target of site"]
    (cut,) = lab.companions.truth()["connections_cut"]
    assert (cut["instance_id"], cut["group"], cut["port"]) == (web, "site", 80)


def test_a_stop_while_a_target_drains_cuts_its_connections(lab: CompanionLab) -> None:
    web, arn = serving(lab)
    lab.deregister(arn, {"Id": web})
    lab.wait(DRAINED - 2)
    lab.stop(web)
    assert lab.violations() == ["cuts the connections of a draining target of site"]


def test_a_stop_after_the_draining_cuts_nothing(lab: CompanionLab) -> None:
    web, arn = serving(lab)
    lab.deregister(arn, {"Id": web})
    lab.wait(DRAINED)
    lab.stop(web)
    lab.start(web)
    lab.wait_for(lambda: lab.state(web) == "running")
    lab.register(arn, {"Id": web})
    lab.wait(30)
    assert lab.health(arn) == {80: "healthy"}
    assert lab.violations() == []


def test_what_a_stop_cut_is_judged_as_it_was_then(lab: CompanionLab) -> None:
    web, arn = serving(lab)
    lab.call("StopInstances", InstanceIds=[web])
    lab.deregister(arn, {"Id": web})
    lab.wait(3600)
    assert lab.violations() == ["cuts the connections of a healthy target of site"]


def test_the_model_looks_by_itself_at_what_instances_do(lab: CompanionLab) -> None:
    web, _ = serving(lab)
    lab.call("StopInstances", InstanceIds=[web])
    lab.wait(20)
    assert len(lab.world.truth()["violations"]) == 1


def test_a_target_that_never_served_has_nothing_to_cut(lab: CompanionLab) -> None:
    web, arn = lab.launch(), lab.target_group()
    lab.companions.balancing.unhealthy.add(web)
    lab.register(arn, {"Id": web})
    lab.wait(30)
    lab.deregister(arn, {"Id": web})
    lab.stop(web)
    assert lab.violations() == []


def test_groups_are_found_by_name_arn_and_load_balancer_and_in_pages(lab: CompanionLab) -> None:
    arns = [lab.target_group(f"group-{number}") for number in range(5)]
    first = lab.ask("elbv2", "DescribeTargetGroups", PageSize=3)
    rest = lab.ask("elbv2", "DescribeTargetGroups", PageSize=3, Marker=first["NextMarker"])
    listed = [row["TargetGroupArn"] for row in (*first["TargetGroups"], *rest["TargetGroups"])]
    assert (listed, rest["NextMarker"]) == (arns, None)
    (row,) = lab.ask("elbv2", "DescribeTargetGroups", Names=["group-2"])["TargetGroups"]
    assert row["TargetGroupArn"] == arns[2]
    (balancer,) = row["LoadBalancerArns"]
    for query in ({"TargetGroupArns": [arns[2]]}, {"LoadBalancerArn": balancer}):
        assert lab.ask("elbv2", "DescribeTargetGroups", **query)["TargetGroups"] == [row]


def test_a_group_that_does_not_exist_is_not_found(lab: CompanionLab) -> None:
    arn = {"TargetGroupArn": "arn:aws:elasticloadbalancing:us-east-1:0:targetgroup/x/1"}
    for action, query in (
        ("DescribeTargetGroups", {"Names": ["x"]}),
        ("DescribeTargetHealth", arn),
        ("DescribeTargetGroupAttributes", arn),
        ("DeregisterTargets", {**arn, "Targets": []}),
    ):
        refused = lab.refusal("elbv2", action, **query)
        assert refused == "TargetGroupNotFound: One or more target groups not found"
    lab.target_group("site")
    duplicate = lab.refusal("elbv2", "CreateTargetGroup", Name="site", Port=80)
    assert duplicate.startswith("DuplicateTargetGroupName")


def test_the_delay_is_an_attribute_of_the_group(lab: CompanionLab) -> None:
    arn = lab.target_group(delay=17)
    rows = lab.ask("elbv2", "DescribeTargetGroupAttributes", TargetGroupArn=arn)["Attributes"]
    values = {row["Key"]: row["Value"] for row in rows}
    assert values["deregistration_delay.timeout_seconds"] == "17"
    assert values["slow_start.duration_seconds"] == "0"


def test_the_world_s_faults_strike_a_companion_in_its_own_words(lab: CompanionLab) -> None:
    web, arn = lab.launch(), lab.target_group()
    asked = {"TargetGroupArn": arn, "Targets": [{"Id": web}]}
    add = lab.world.faults.add
    add({"name": "throttle", "action": "RegisterTargets", "instance": "web"})
    assert lab.refusal("elbv2", "RegisterTargets", **asked) == "Throttling: Rate exceeded"
    add({"name": "access-denied", "action": "RegisterTargets"})
    assert lab.refusal("elbv2", "RegisterTargets", **asked).startswith("AccessDenied: ")
    add({"name": "api-error", "action": "RegisterTargets", "code": "Odd", "message": "no"})
    assert lab.refusal("elbv2", "RegisterTargets", **asked) == "Odd: no"
    assert lab.health(arn) == {}
    add({"name": "lost-response", "action": "RegisterTargets"})
    assert lab.refusal("elbv2", "RegisterTargets", **asked).startswith("InternalFailure")
    assert list(lab.health(arn)) == [80]
    add({"name": "region-outage", "region": "us-east-1"})
    assert lab.refusal("elbv2", "RegisterTargets", **asked).startswith("InternalFailure")


def test_a_group_that_is_deleted_is_gone_with_its_targets(lab: CompanionLab) -> None:
    web, arn = serving(lab)
    lab.ask("elbv2", "DeleteTargetGroup", TargetGroupArn=arn)
    assert lab.ask("elbv2", "DescribeTargetGroups")["TargetGroups"] == []
    refused = lab.refusal("elbv2", "RegisterTargets", TargetGroupArn=arn, Targets=[{"Id": web}])
    assert refused.startswith("TargetGroupNotFound")
    assert lab.target_group() != arn
