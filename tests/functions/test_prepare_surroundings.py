"""Prepare: what is asked of AWS for which members, and what becomes of an answer that fails."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import pytest

from stillpoint.aws.client import client
from stillpoint.errors import AwsRefused, AwsUnavailable
from stillpoint.tags import Tag
from tests.functions.faults import answered, refused
from tests.functions.fleet import (
    attach_volume,
    backend,
    change,
    launch,
    launch_one,
    own_tags_of,
    snapshot,
    stop,
    tags_of,
    terminate,
    volumes_of,
)
from tests.functions.hazardous import a_member, balance
from tests.functions.samples import a_backup_of
from tests.functions.stack import NOW, Stack

IN_A_GROUP = {"aws:autoscaling:groupName": "web-asg"}
AN_HOUR_AGO = NOW - timedelta(hours=1)


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count the calls of every operation."""
    calls: Counter[str] = Counter()

    def count(model: Any, **_: object) -> None:  # noqa: ANN401 (botocore's)
        calls[model.name] += 1

    with ExitStack() as ends:
        for service in ("ec2", "autoscaling", "elbv2", "kms", "ssm"):
            events = client(service).meta.events
            events.register("before-call", count)
            ends.callback(events.unregister, "before-call", count)
        yield calls


def codes(answer: dict[str, Any]) -> list[str]:
    return [told["code"] for told in (*answer["refusals"], *answer["warnings"])]


def targeting(reservation_id: str) -> str:
    instance_id = launch_one()
    target = {"CapacityReservationTarget": {"CapacityReservationId": reservation_id}}
    change(instance_id, capacity_reservation_specification=target)
    return instance_id


def test_an_ordinary_stop_takes_eight_calls(stack: Stack) -> None:
    web = launch_one()
    with counted() as calls:
        stack.invoke("prepare_backup", a_backup_of(web))
    assert calls == {
        "DescribeInstances": 1,
        "DescribeVolumes": 1,
        "DescribeSnapshots": 1,
        "DescribeInstanceTypes": 1,
        "DescribeInstanceAttribute": 1,
        "DescribeInstanceStatus": 1,
        "DescribeTargetGroups": 1,
        "CreateTags": 1,
    }


@pytest.mark.parametrize("method", ["reboot", "none"])
def test_without_a_stop_it_takes_four(stack: Stack, method: str) -> None:
    web = launch_one()
    with counted() as calls:
        stack.invoke("prepare_backup", a_backup_of(web, method=method))
    assert calls == {
        "DescribeInstances": 1,
        "DescribeVolumes": 1,
        "DescribeSnapshots": 1,
        "CreateTags": 1,
    }


def test_a_group_is_asked_for_as_one(stack: Stack) -> None:
    ids = launch(8)
    with counted() as calls:
        stack.invoke("prepare_backup", a_backup_of(*ids))
    assert calls.pop("CreateTags") == calls.pop("DescribeInstanceAttribute") == 8
    assert set(calls.values()) == {1}


def test_nothing_is_asked_about_members_that_are_gone(stack: Stack) -> None:
    web = launch_one()
    terminate(web)
    with counted() as calls:
        answer = stack.invoke("prepare_backup", a_backup_of(web))
    assert codes(answer) == ["gone"]
    assert calls == {"DescribeInstances": 1, "CreateTags": 1}


def test_only_the_members_that_it_matters_to_are_asked_about(stack: Stack) -> None:
    plain, spot, host, member = launch_one(), launch_one(), launch_one(), launch_one()
    change(spot, lifecycle="spot")
    change(host, instance_type="t3.large", placement={"tenancy": "host"})
    fleet = [plain, spot, host, member]
    backend().create_tags([member], IN_A_GROUP)
    with (
        answered("ec2", "DescribeSpotInstanceRequests", {"SpotInstanceRequests": []}) as of_spot,
        answered(
            "ec2", "DescribeInstanceCreditSpecifications", {"InstanceCreditSpecifications": []}
        ) as of_credits,
        answered(
            "autoscaling", "DescribeAutoScalingInstances", {"AutoScalingInstances": []}
        ) as of_groups,
    ):
        answer = stack.invoke("prepare_backup", a_backup_of(*fleet))
    assert codes(answer) == ["spot", "standby-not-possible", "auto-scaling"]
    for requests, concerned in ((of_spot, spot), (of_credits, host), (of_groups, member)):
        (request,) = requests
        assert [each for each in fleet if each in request] == [concerned]


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ({"Type": "one-time", "State": "active"}, "its request is one-time"),
        ({"Type": "persistent", "State": "cancelled"}, "its request is cancelled"),
        (
            {"Type": "persistent", "State": "active", "LaunchGroup": "batch"},
            "the launch group batch",
        ),
        (
            {"Type": "persistent", "State": "active", "AvailabilityZoneGroup": "near"},
            "the Availability Zone group near",
        ),
    ],
)
def test_the_spot_request_says_whether_ec2_would_stop_the_instance(
    stack: Stack, request_: dict[str, str], why: str
) -> None:
    web = launch_one()
    change(web, lifecycle="spot")
    row = {"InstanceId": web, **request_}
    with answered("ec2", "DescribeSpotInstanceRequests", {"SpotInstanceRequests": [row]}):
        answer = stack.invoke("prepare_backup", a_backup_of(web, accept=["spot-persistent"]))
    assert codes(answer) == ["spot"]
    assert why in answer["refusals"][0]["reason"]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("InService", ["auto-scaling"]),
        ("Standby", []),
        ("Warmed:Running", ["standby-not-possible", "auto-scaling"]),
    ],
)
def test_a_member_of_a_group_may_be_stopped_in_standby_alone(
    stack: Stack, state: str, expected: list[str]
) -> None:
    web = launch_one(tags=IN_A_GROUP)
    members, groups = a_member(web, state)
    with answered(*members), answered(*groups):
        answer = stack.invoke("prepare_backup", a_backup_of(web))
    assert codes(answer) == expected
    for refusal in answer["refusals"][-1:]:
        assert f"(group web-asg, {state})" in refusal["reason"]


def test_a_reservation_that_is_active_lets_the_instance_start(stack: Stack) -> None:
    rows = [{"CapacityReservationId": "cr-0a", "State": "active"}]
    with answered("ec2", "DescribeCapacityReservations", {"CapacityReservations": rows}):
        answer = stack.invoke("prepare_backup", a_backup_of(targeting("cr-0a")))
    assert codes(answer) == []


def test_a_reservation_that_ec2_has_forgotten_is_not_active(stack: Stack) -> None:
    web = targeting("cr-0a")
    code = "InvalidCapacityReservationId.NotFound"
    with refused("ec2", "DescribeCapacityReservations", code):
        answer = stack.invoke("prepare_backup", a_backup_of(web))
    assert codes(answer) == ["capacity-reservation"]
    assert "(cr-0a is unknown to EC2)" in answer["refusals"][0]["reason"]


def test_a_group_that_is_no_cluster_is_no_warning(stack: Stack) -> None:
    web = launch_one()
    change(web, placement={"group_name": "spread"})
    with answered("ec2", "DescribePlacementGroups", {"PlacementGroups": []}) as requests:
        answer = stack.invoke("prepare_backup", a_backup_of(web))
    assert codes(answer) == []
    assert len(requests) == 1


@pytest.mark.parametrize("operation", ["DescribeInstanceStatus", "DescribePlacementGroups"])
@pytest.mark.parametrize("code", ["UnauthorizedOperation", "RequestLimitExceeded"])
def test_no_backup_is_given_up_for_a_warning(stack: Stack, operation: str, code: str) -> None:
    web = launch_one(instance_type="t2.micro")
    change(web, placement={"group_name": "hpc"})
    with ExitStack() as answers:
        if operation != "DescribePlacementGroups":
            groups: dict[str, list[object]] = {"PlacementGroups": []}
            answers.enter_context(answered("ec2", "DescribePlacementGroups", groups))
        answers.enter_context(refused("ec2", operation, code))
        answer = stack.invoke("prepare_backup", a_backup_of(web))
    assert codes(answer) == ["t2-credits"]
    assert [row["instance_id"] for row in answer["members"]] == [web]


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("ec2", "DescribeVolumes"),
        ("ec2", "DescribeSnapshots"),
        ("ec2", "DescribeInstanceTypes"),
        ("ec2", "DescribeInstanceAttribute"),
        ("ec2", "DescribeSpotInstanceRequests"),
        ("ec2", "DescribeInstanceCreditSpecifications"),
        ("ec2", "DescribeCapacityReservations"),
        ("autoscaling", "DescribeAutoScalingInstances"),
        ("autoscaling", "DescribeAutoScalingGroups"),
        ("elbv2", "DescribeTargetGroups"),
        ("elbv2", "DescribeTargetHealth"),
    ],
)
def test_what_could_refuse_a_backup_has_to_be_known(
    stack: Stack, service: str, operation: str
) -> None:
    web = targeting("cr-0a")
    backend().create_tags([web], IN_A_GROUP)
    change(web, lifecycle="spot", instance_type="t3.large", placement={"tenancy": "host"})
    balance(web)
    with ExitStack() as answers:
        if operation != "DescribeAutoScalingInstances":
            answers.enter_context(answered(*a_member(web)[0]))
        if operation != "DescribeCapacityReservations":
            rows = {"CapacityReservations": [{"State": "active"}]}
            answers.enter_context(answered("ec2", "DescribeCapacityReservations", rows))
        answers.enter_context(refused(service, operation, "UnauthorizedOperation"))
        with pytest.raises(AwsRefused, match="UnauthorizedOperation"):
            stack.invoke("prepare_backup", a_backup_of(web))
    assert "cycle" not in own_tags_of(web)


@pytest.mark.parametrize(
    ("kind", "states", "expected"),
    [
        ("gp3", ["pending"] * 4, []),
        ("gp3", ["pending"] * 4 + ["error"], ["snapshots-pending"]),
        ("gp3", ["completed"] * 9, []),
        ("st1", ["completed"], []),
        ("st1", ["error"], ["snapshots-pending"]),
        ("sc1", ["pending"], ["snapshots-pending"]),
    ],
)
@pytest.mark.parametrize("method", ["stop", "reboot"])
def test_a_volume_that_has_no_room_for_a_snapshot_is_found_for_every_method(
    stack: Stack, method: str, kind: str, states: list[str], expected: list[str]
) -> None:
    web = launch_one()
    attach_volume(web)
    volume_id = volumes_of(web)[1]
    backend().volumes[volume_id].volume_type = kind
    made = [snapshot(volume_id, state=state, started_at=AN_HOUR_AGO) for state in states]
    answer = stack.invoke("prepare_backup", a_backup_of(web, method=method))
    assert codes(answer) == expected
    for refusal in answer["refusals"]:
        assert f"({volume_id}: {', '.join(sorted(made))})" in refusal["reason"]


@pytest.mark.parametrize("method", ["reboot", "none"])
@pytest.mark.parametrize("state", ["pending", "completed"])
def test_prepare_is_repeated_until_a_young_snapshot_is_old_enough(
    stack: Stack, method: str, state: str
) -> None:
    web = launch_one()
    (volume_id,) = volumes_of(web)
    snapshot(volume_id, state=state, started_at=NOW - timedelta(seconds=5))
    event = a_backup_of(web, method=method)
    with pytest.raises(AwsUnavailable, match=f"{volume_id} was made less than 15 seconds ago"):
        stack.invoke("prepare_backup", event)
    assert "cycle" not in own_tags_of(web)
    answer = stack.invoke("prepare_backup", event, now=NOW + timedelta(seconds=10))
    assert len(answer["members"]) == 1


def test_a_stop_does_not_wait_for_a_young_snapshot(stack: Stack) -> None:
    web = launch_one()
    (volume_id,) = volumes_of(web)
    snapshot(volume_id, state="pending", started_at=NOW)
    assert len(stack.invoke("prepare_backup", a_backup_of(web))["members"]) == 1


def test_one_that_is_stopped_already_waits_because_it_is_captured_at_once(stack: Stack) -> None:
    web = launch_one()
    (volume_id,) = volumes_of(web)
    stop(web)
    snapshot(volume_id, state="completed", started_at=NOW)
    with pytest.raises(AwsUnavailable, match=volume_id):
        stack.invoke("prepare_backup", a_backup_of(web))


def test_what_is_refused_anyway_waits_for_nothing(stack: Stack) -> None:
    web = launch_one()
    change(web, hibernation_options={"Configured": True})
    (volume_id,) = volumes_of(web)
    snapshot(volume_id, state="completed", started_at=NOW)
    answer = stack.invoke("prepare_backup", a_backup_of(web, method="none"))
    assert codes(answer) == ["hibernation"]


def test_more_volumes_than_a_filter_holds_are_asked_for_in_several_calls(stack: Stack) -> None:
    web = launch_one()
    rows = [
        {"VolumeId": f"vol-{number:03}", "Attachments": [{"InstanceId": web}]}
        for number in range(450)
    ]
    with (
        answered("ec2", "DescribeVolumes", {"Volumes": rows}),
        answered("ec2", "DescribeSnapshots", {"Snapshots": []}) as requests,
    ):
        stack.invoke("prepare_backup", a_backup_of(web))
    assert len(requests) == 3


def test_a_group_is_asked_for_its_targets_once_for_all_members(stack: Stack) -> None:
    fleet = launch(3)
    balance(*fleet, groups=2)
    with counted() as calls:
        stack.invoke("prepare_backup", a_backup_of(*fleet))
    assert (calls["DescribeTargetGroups"], calls["DescribeTargetHealth"]) == (1, 2)


def test_what_standby_takes_care_of_is_not_taken_away_twice(stack: Stack) -> None:
    web = launch_one(tags=IN_A_GROUP)
    own, other = balance(web, groups=2)
    members, groups = a_member(web, TargetGroupARNs=[own])
    with answered(*members), answered(*groups):
        answer = stack.invoke("prepare_backup", a_backup_of(web, accept=["auto-scaling"]))
    assert codes(answer) == ["only-target"]
    assert tags_of(web)[Tag.UNDO] == f"standby {other.rpartition('/')[2]}+"


def test_nothing_is_undone_around_what_is_in_no_group(stack: Stack) -> None:
    web = launch_one()
    stack.invoke("prepare_backup", a_backup_of(web))
    assert Tag.UNDO not in tags_of(web)
