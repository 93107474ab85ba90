"""Prepare: the hazards, as EC2 and KMS show them."""

from collections.abc import Callable
from typing import Any

import pytest
from moto.kms.models import kms_backends

from stillpoint.aws.client import client
from stillpoint.errors import AwsUnavailable
from stillpoint.preflight import HAZARDS
from tests.functions.faults import refused, throttled
from tests.functions.fleet import (
    attach_volume,
    backend,
    launch_one,
    lend_public_ip,
    own_tags_of,
    set_state,
    tag,
    terminate,
)
from tests.functions.samples import a_backup_of
from tests.functions.stack import ACCOUNT, REGION, Stack

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


def changed(**facts: object) -> str:
    """Launch an instance and change what EC2 says about it."""
    instance_id = launch_one()
    for name, value in facts.items():
        setattr(backend().get_instance(instance_id), name, value)
    return instance_id


def after(act: Callable[[str], object]) -> str:
    """Launch an instance and let something happen to it."""
    instance_id = launch_one()
    act(instance_id)
    return instance_id


ARRANGED: dict[str, Callable[[], str]] = {
    "gone": lambda: after(terminate),
    "in-transition": lambda: after(lambda instance_id: set_state(instance_id, "stopping")),
    "other-backup": lambda: launch_one(cycle="execution=x before=running since=yesterday"),
    "instance-store-root": lambda: changed(root_device_type="instance-store"),
    "managed": lambda: changed(operator={"Managed": True, "Principal": "eks.amazonaws.com"}),
    "mac": lambda: launch_one(instance_type="mac2.metal"),
    "spot": lambda: changed(lifecycle="spot"),
    "auto-scaling": lambda: launch_one(tags={"aws:autoscaling:groupName": "web-asg"}),
    "stop-protection": lambda: changed(disable_api_stop=True),
    "kms-not-granted": lambda: with_volume_of(new_key()),
    "kms-key-unusable": lambda: with_volume_of(disabled(aws_managed(new_key()))),
    "instance-store": lambda: launch_one(instance_type="m5d.large"),
    "public-ip": lambda: after(lend_public_ip),
}
FOR_EVERY_METHOD = ("gone", "in-transition", "other-backup", "instance-store-root")
OF_A_STOP = [code for code in ARRANGED if code not in FOR_EVERY_METHOD]


def codes(answer: dict[str, Any]) -> list[str]:
    return [refusal["code"] for refusal in answer["refusals"]]


def test_every_hazard_is_arranged_here() -> None:
    assert list(ARRANGED) == [hazard.code for hazard in HAZARDS]


@pytest.mark.parametrize("code", ARRANGED)
def test_a_hazard_refuses_the_backup_and_nothing_is_touched(stack: Stack, code: str) -> None:
    instance_id = ARRANGED[code]()
    cycle = own_tags_of(instance_id).get("cycle")
    answer = stack.invoke("prepare_backup", a_backup_of(instance_id))
    assert codes(answer) == [code]
    assert answer["members"] == []
    assert own_tags_of(instance_id).get("cycle") == cycle


@pytest.mark.parametrize("code", OF_A_STOP)
@pytest.mark.parametrize("method", ["reboot", "none"])
def test_a_hazard_of_stopping_is_not_even_looked_for_without_a_stop(
    stack: Stack, code: str, method: str
) -> None:
    instance_id = ARRANGED[code]()
    with throttled("ec2", "DescribeVolumes"), throttled("ec2", "DescribeInstanceAttribute"):
        answer = stack.invoke("prepare_backup", a_backup_of(instance_id, method=method))
    assert codes(answer) == []


@pytest.mark.parametrize("code", ["instance-store", "public-ip"])
def test_an_accepted_hazard_is_no_hazard(stack: Stack, code: str) -> None:
    instance_id = ARRANGED[code]()
    answer = stack.invoke("prepare_backup", a_backup_of(instance_id, accept=[code]))
    assert codes(answer) == []


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


@pytest.mark.parametrize("code", ["mac", "instance-store", "kms-not-granted", "stop-protection"])
def test_an_instance_that_is_stopped_already_has_no_hazard_of_stopping(
    stack: Stack, code: str
) -> None:
    instance_id = ARRANGED[code]()
    set_state(instance_id, "stopped")
    assert codes(stack.invoke("prepare_backup", a_backup_of(instance_id))) == []


@pytest.mark.parametrize(
    "operation",
    [
        "DescribeInstances",
        "DescribeInstanceAttribute",
        "DescribeInstanceTypes",
        "DescribeVolumes",
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
