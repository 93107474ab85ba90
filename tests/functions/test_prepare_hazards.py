"""Prepare: the hazards, as EC2 and KMS show them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from moto.kms.models import kms_backends

from stillpoint.aws.client import client
from stillpoint.errors import AwsUnavailable
from stillpoint.hazards import ACCEPTABLE, HAZARDS, Concern, Rule
from tests.functions.faults import answered, refused, throttled
from tests.functions.fleet import (
    attach_volume,
    backend,
    change,
    launch_one,
    lend_public_ip,
    own_tags_of,
    set_state,
    snapshot,
    tag,
    terminate,
    volumes_of,
)
from tests.functions.samples import a_backup_of
from tests.functions.stack import ACCOUNT, NOW, REGION, Stack
from tests.unit.builders import at

AN_HOUR_AGO = at("2026-11-22 02:00")
UNKNOWN = "i-0123456789abcdef0"


def new_key() -> str:
    arn: str = client("kms").create_key()["KeyMetadata"]["Arn"]
    return arn


def aws_managed(key: str) -> str:
    kms_backends[ACCOUNT][REGION].keys[key.rpartition("/")[2]].key_manager = "AWS"
    return key


def disabled(key: str) -> str:
    client("kms").disable_key(KeyId=key.rpartition("/")[2])
    return key


def with_volume_of(key: str) -> str:
    instance_id = launch_one()
    attach_volume(instance_id, kms_key_id=key)
    return instance_id


def changed(instance_type: str = "m5.large", **facts: object) -> str:
    """Launch an instance and change what EC2 says about it."""
    instance_id = launch_one(instance_type=instance_type)
    change(instance_id, **facts)
    return instance_id


def after(act: Callable[[str], object]) -> str:
    """Launch an instance and let something happen to it."""
    instance_id = launch_one()
    act(instance_id)
    return instance_id


def with_snapshots(kind: str, *states: str) -> str:
    """Launch an instance whose volume has incomplete snapshots."""
    instance_id = launch_one()
    (volume_id,) = volumes_of(instance_id)
    backend().volumes[volume_id].volume_type = kind
    for state in states:
        snapshot(volume_id, state=state, started_at=AN_HOUR_AGO)
    return instance_id


def with_capacity_reservation() -> str:
    target = {"CapacityReservationTarget": {"CapacityReservationId": "cr-0a"}}
    return changed(capacity_reservation_specification=target)


ARRANGED: dict[str, Callable[[], str]] = {
    "gone": lambda: after(terminate),
    "in-transition": lambda: after(lambda instance_id: set_state(instance_id, "stopping")),
    "other-backup": lambda: launch_one(cycle="execution=x before=running since=yesterday"),
    "instance-store-root": lambda: changed(root_device_type="instance-store"),
    "snapshots-pending": lambda: with_snapshots("st1", "pending"),
    "managed": lambda: changed(operator={"Managed": True, "Principal": "eks.amazonaws.com"}),
    "mac": lambda: launch_one(instance_type="mac2.metal"),
    "scheduled-instance": lambda: changed(lifecycle="scheduled"),
    "spot": lambda: changed(lifecycle="spot"),
    "auto-scaling": lambda: launch_one(tags={"aws:autoscaling:groupName": "web-asg"}),
    "stop-protection": lambda: changed(disable_api_stop=True),
    "kms-not-granted": lambda: with_volume_of(new_key()),
    "kms-key-unusable": lambda: with_volume_of(disabled(aws_managed(new_key()))),
    "capacity-reservation": with_capacity_reservation,
    "t3-unlimited-on-host": lambda: changed("t3.large", placement={"tenancy": "host"}),
    "hibernation": lambda: changed(hibernation_options={"Configured": True}),
    "instance-store": lambda: launch_one(instance_type="m5d.large"),
    "public-ip": lambda: after(lend_public_ip),
    "spot-persistent": lambda: changed(lifecycle="spot"),
    "capacity-block": lambda: changed(lifecycle="capacity-block"),
    "interruptible-capacity": lambda: changed(lifecycle="interruptible-capacity-reservation"),
    "multi-attach": launch_one,
    "t2-credits": lambda: launch_one(instance_type="t2.micro"),
    "host-affinity": lambda: changed(placement={"affinity": "host", "host_id": "h-0a"}),
    "placement-group": lambda: changed(placement={"group_name": "hpc"}),
    "retirement": launch_one,
}
# What moto cannot say of them: the operation, and its answer for an instance.
TOLD: dict[str, Callable[[str], tuple[str, dict[str, Any]]]] = {
    "capacity-reservation": lambda _: (
        "DescribeCapacityReservations",
        {"CapacityReservations": [{"CapacityReservationId": "cr-0a", "State": "expired"}]},
    ),
    "t3-unlimited-on-host": lambda instance_id: (
        "DescribeInstanceCreditSpecifications",
        {"InstanceCreditSpecifications": [{"InstanceId": instance_id, "CpuCredits": "unlimited"}]},
    ),
    "spot-persistent": lambda instance_id: (
        "DescribeSpotInstanceRequests",
        {
            "SpotInstanceRequests": [
                {"InstanceId": instance_id, "Type": "persistent", "State": "active"}
            ]
        },
    ),
    "multi-attach": lambda instance_id: (
        "DescribeVolumes",
        {
            "Volumes": [
                {
                    "VolumeId": "vol-0a",
                    "VolumeType": "io2",
                    "Attachments": [{"InstanceId": instance_id}, {"InstanceId": UNKNOWN}],
                }
            ]
        },
    ),
    "placement-group": lambda _: (
        "DescribePlacementGroups",
        {"PlacementGroups": [{"GroupName": "hpc", "Strategy": "cluster"}]},
    ),
    "retirement": lambda instance_id: (
        "DescribeInstanceStatus",
        {
            "InstanceStatuses": [
                {
                    "InstanceId": instance_id,
                    "Events": [{"Code": "instance-retirement", "NotBefore": NOW}],
                }
            ]
        },
    ),
}
BY_CODE = {hazard.code: hazard for hazard in HAZARDS}
REFUSING = [code for code in ARRANGED if BY_CODE[code].rule is not Rule.WARNING]
WARNINGS = [code for code in ARRANGED if BY_CODE[code].rule is Rule.WARNING]
OF_A_STOP = [code for code in ARRANGED if BY_CODE[code].concern is not Concern.EVERY_METHOD]
READ_FOR_A_STOP = (
    *("DescribeInstanceAttribute", "DescribeInstanceTypes", "DescribeInstanceStatus"),
    *("DescribeSpotInstanceRequests", "DescribeInstanceCreditSpecifications"),
    *("DescribeCapacityReservations", "DescribePlacementGroups"),
)


@contextmanager
def arranged(code: str) -> Iterator[str]:
    """Launch an instance with a hazard, and let AWS tell of it."""
    instance_id = ARRANGED[code]()
    with ExitStack() as told:
        if code in TOLD:
            operation, answer = TOLD[code](instance_id)
            told.enter_context(answered("ec2", operation, answer))
        yield instance_id


def codes(answer: dict[str, Any], kind: str = "refusals") -> list[str]:
    return [told["code"] for told in answer[kind]]


def all_codes(answer: dict[str, Any]) -> list[str]:
    return codes(answer) + codes(answer, "warnings")


def test_every_hazard_is_arranged_here() -> None:
    assert list(ARRANGED) == [hazard.code for hazard in HAZARDS]


@pytest.mark.parametrize("code", REFUSING)
def test_a_hazard_refuses_the_backup_and_nothing_is_touched(stack: Stack, code: str) -> None:
    with arranged(code) as instance_id:
        cycle = own_tags_of(instance_id).get("cycle")
        answer = stack.invoke("prepare_backup", a_backup_of(instance_id))
        assert codes(answer) == [code]
        assert answer["members"] == answer["warnings"] == []
        assert own_tags_of(instance_id).get("cycle") == cycle


@pytest.mark.parametrize("code", WARNINGS)
def test_a_warning_is_told_and_the_backup_goes_on(stack: Stack, code: str) -> None:
    with arranged(code) as instance_id:
        answer = stack.invoke("prepare_backup", a_backup_of(instance_id))
        assert codes(answer) == []
        assert [row["instance_id"] for row in answer["members"]] == [instance_id]
        (warning,) = answer["warnings"]
        assert warning.keys() == {"instance_id", "name", "code", "reason", "remedy"}
        assert (warning["instance_id"], warning["name"]) == (instance_id, "web")
        assert (warning["code"], warning["remedy"]) == (code, BY_CODE[code].remedy)
        assert warning["reason"].startswith(BY_CODE[code].sentence)
        assert "cycle" in own_tags_of(instance_id)
        assert "problem" not in own_tags_of(instance_id)


@pytest.mark.parametrize("code", OF_A_STOP)
@pytest.mark.parametrize("method", ["reboot", "none"])
def test_a_hazard_of_stopping_is_not_even_looked_for_without_a_stop(
    stack: Stack, code: str, method: str
) -> None:
    with ExitStack() as silence:
        instance_id = ARRANGED[code]()
        for operation in READ_FOR_A_STOP:
            silence.enter_context(throttled("ec2", operation))
        silence.enter_context(throttled("autoscaling", "DescribeAutoScalingInstances"))
        answer = stack.invoke("prepare_backup", a_backup_of(instance_id, method=method))
    concerns = BY_CODE[code].concern is Concern.STOP_OR_REBOOT and method == "reboot"
    assert all_codes(answer) == ([code] if concerns else [])


@pytest.mark.parametrize("code", REFUSING)
def test_only_what_may_be_accepted_can_be_accepted(stack: Stack, code: str) -> None:
    with arranged(code) as instance_id:
        answer = stack.invoke("prepare_backup", a_backup_of(instance_id, accept=[code]))
    assert codes(answer) == ([] if code in ACCEPTABLE else [code])


def test_a_refusal_is_told_with_the_warnings_beside_it(stack: Stack) -> None:
    store = launch_one(instance_type="m5d.large")
    burst = launch_one(instance_type="t2.micro")
    answer = stack.invoke("prepare_backup", a_backup_of(store, burst))
    assert [(row["instance_id"], row["code"]) for row in answer["refusals"]] == [
        (store, "instance-store")
    ]
    assert [(row["instance_id"], row["code"]) for row in answer["warnings"]] == [
        (burst, "t2-credits")
    ]
    assert "t2-credits" not in own_tags_of(burst)["problem"]


def test_everything_that_is_found_on_an_instance_is_told_at_once(stack: Stack) -> None:
    web = changed("m5d.large", disable_api_stop=True, lifecycle="spot")
    lend_public_ip(web)
    answer = stack.invoke("prepare_backup", a_backup_of(web))
    assert codes(answer) == ["spot", "stop-protection", "instance-store", "public-ip"]


def test_an_elastic_ip_stays_with_its_instance(stack: Stack) -> None:
    assert codes(stack.invoke("prepare_backup", a_backup_of(launch_one()))) == []


def test_an_instance_that_ec2_does_not_know_is_gone(stack: Stack) -> None:
    good = launch_one()
    answer = stack.invoke("prepare_backup", a_backup_of(good, UNKNOWN))
    assert [(row["instance_id"], row["code"]) for row in answer["refusals"]] == [(UNKNOWN, "gone")]
    assert "problem" in own_tags_of(good)


def test_each_member_is_judged_by_its_own_hazards(stack: Stack) -> None:
    store, public = launch_one(instance_type="m5d.large"), launch_one()
    lend_public_ip(public)
    answer = stack.invoke("prepare_backup", a_backup_of(store, public, launch_one()))
    assert {row["instance_id"]: row["code"] for row in answer["refusals"]} == {
        store: "instance-store",
        public: "public-ip",
    }


def test_a_key_that_the_stack_may_use_is_no_hazard(stack: Stack) -> None:
    key, other = new_key(), new_key()
    web = with_volume_of(key)
    variables = {"KMS_KEY_ARNS": f"{other}, {key}"}
    assert codes(stack.invoke("prepare_backup", a_backup_of(web), variables=variables)) == []


def test_a_key_that_is_not_granted_is_named(stack: Stack) -> None:
    granted, missing = new_key(), new_key()
    web = with_volume_of(granted)
    attach_volume(web, kms_key_id=missing)
    answer = stack.invoke("prepare_backup", a_backup_of(web), variables={"KMS_KEY_ARNS": granted})
    assert codes(answer) == ["kms-not-granted"]
    assert missing in answer["refusals"][0]["reason"]
    assert granted not in answer["refusals"][0]["reason"]


def test_the_key_that_aws_manages_for_ebs_needs_no_grant(stack: Stack) -> None:
    key = new_key()
    aws_managed(key)
    web = with_volume_of(key)
    assert codes(stack.invoke("prepare_backup", a_backup_of(web))) == []


@pytest.mark.parametrize("code", ["AccessDeniedException", "NotFoundException"])
def test_a_key_that_we_may_not_look_at_is_somebodys_own(stack: Stack, code: str) -> None:
    web = with_volume_of(new_key())
    with refused("kms", "DescribeKey", code):
        answer = stack.invoke("prepare_backup", a_backup_of(web))
    assert codes(answer) == ["kms-not-granted"]


def test_a_key_that_kms_says_nothing_about_now_is_asked_for_again(stack: Stack) -> None:
    web = with_volume_of(new_key())
    with throttled("kms", "DescribeKey"), pytest.raises(AwsUnavailable, match="reading the key"):
        stack.invoke("prepare_backup", a_backup_of(web))
    assert "cycle" not in own_tags_of(web)
    assert "problem" not in own_tags_of(web)


def test_a_key_of_several_volumes_is_looked_at_once(stack: Stack) -> None:
    key = new_key()
    web, db = with_volume_of(key), with_volume_of(key)
    with refused("kms", "DescribeKey", "AccessDeniedException") as looks:
        answer = stack.invoke("prepare_backup", a_backup_of(web, db))
    assert len(looks) == 1
    assert codes(answer) == ["kms-not-granted", "kms-not-granted"]


@pytest.mark.parametrize("code", OF_A_STOP)
def test_an_instance_that_is_stopped_already_has_no_hazard_of_stopping(
    stack: Stack, code: str
) -> None:
    with arranged(code) as instance_id:
        set_state(instance_id, "stopped")
        assert all_codes(stack.invoke("prepare_backup", a_backup_of(instance_id))) == []


@pytest.mark.parametrize(
    "operation",
    [
        "DescribeInstances",
        "DescribeInstanceAttribute",
        "DescribeInstanceTypes",
        "DescribeVolumes",
        "DescribeSnapshots",
        "CreateTags",
    ],
)
def test_while_ec2_throttles_nothing_is_decided(stack: Stack, operation: str) -> None:
    web = launch_one()
    tag([web], {"Name": "web"})
    before = own_tags_of(web)
    with throttled("ec2", operation), pytest.raises(AwsUnavailable):
        stack.invoke("prepare_backup", a_backup_of(web))
    assert own_tags_of(web) == before
