"""Prepare: the hazards, as EC2 and KMS show them."""

import json
from contextlib import ExitStack
from typing import Any

import pytest

from stillpoint.errors import AwsUnavailable
from stillpoint.hazards import ACCEPTABLE, HAZARDS, Concern, Rule
from tests.functions.faults import answered, refused, throttled
from tests.functions.fleet import (
    attach_volume,
    launch,
    launch_one,
    lend_public_ip,
    own_tags_of,
    set_state,
    tag,
)
from tests.functions.hazardous import (
    ARRANGED,
    FACTS,
    NOT_ALONE,
    SCRIPT,
    UNKNOWN,
    a_member,
    arranged,
    aws_managed,
    balance,
    changed,
    new_key,
    with_volume_of,
)
from tests.functions.samples import a_backup_of
from tests.functions.ssm import Document, a_systems_manager
from tests.functions.stack import Stack

BY_CODE = {hazard.code: hazard for hazard in HAZARDS}
REFUSING = [code for code in ARRANGED if BY_CODE[code].rule is not Rule.WARNING]
WARNINGS = [code for code in ARRANGED if BY_CODE[code].rule is Rule.WARNING]
OF_A_STOP = [code for code in ARRANGED if BY_CODE[code].concern is not Concern.EVERY_METHOD]
READ_FOR_A_STOP = (
    *("DescribeInstanceAttribute", "DescribeInstanceTypes", "DescribeInstanceStatus"),
    *("DescribeSpotInstanceRequests", "DescribeInstanceCreditSpecifications"),
    *("DescribeCapacityReservations", "DescribePlacementGroups"),
)


def codes(answer: dict[str, Any], kind: str = "refusals") -> list[str]:
    return [told["code"] for told in answer[kind]]


def all_codes(answer: dict[str, Any]) -> list[str]:
    return codes(answer) + codes(answer, "warnings")


def test_every_hazard_is_arranged_here() -> None:
    assert list(ARRANGED) == [each.code for each in HAZARDS if each.code not in NOT_ALONE]


@pytest.mark.parametrize("code", REFUSING)
def test_a_hazard_refuses_the_backup_and_nothing_is_touched(stack: Stack, code: str) -> None:
    with arranged(code) as instance_id:
        cycle = own_tags_of(instance_id).get("cycle")
        answer = stack.invoke("prepare_backup", a_backup_of(instance_id, **FACTS.get(code, {})))
        assert codes(answer) == [code]
        assert answer["members"] == answer["warnings"] == []
        assert own_tags_of(instance_id).get("cycle") == cycle


@pytest.mark.parametrize("code", WARNINGS)
def test_a_warning_is_told_and_the_backup_goes_on(stack: Stack, code: str) -> None:
    with arranged(code) as instance_id:
        answer = stack.invoke("prepare_backup", a_backup_of(instance_id, **FACTS.get(code, {})))
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
        silence.enter_context(throttled("elbv2", "DescribeTargetGroups"))
        answer = stack.invoke("prepare_backup", a_backup_of(instance_id, method=method))
    concerns = BY_CODE[code].concern is Concern.STOP_OR_REBOOT and method == "reboot"
    assert all_codes(answer) == ([code] if concerns else [])


@pytest.mark.parametrize("code", REFUSING)
def test_only_what_may_be_accepted_can_be_accepted(stack: Stack, code: str) -> None:
    with arranged(code) as instance_id:
        answer = stack.invoke(
            "prepare_backup", a_backup_of(instance_id, **FACTS.get(code, {}), accept=[code])
        )
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
        assert (
            all_codes(
                stack.invoke("prepare_backup", a_backup_of(instance_id, **FACTS.get(code, {})))
            )
            == []
        )


def test_a_member_that_cannot_enter_standby_is_refused_even_if_its_group_is_accepted(
    stack: Stack,
) -> None:
    web = launch_one(tags={"aws:autoscaling:groupName": "web-asg"})
    with ExitStack() as told:
        for answer in a_member(web, MinSize=2):
            told.enter_context(answered(*answer))
        refused_ = stack.invoke("prepare_backup", a_backup_of(web, accept=["auto-scaling"]))
        every = stack.invoke("prepare_backup", a_backup_of(web))
    assert codes(refused_) == ["standby-not-possible"]
    assert codes(every) == ["standby-not-possible", "auto-scaling"]
    words = "(the group web-asg has DesiredCapacity 2 and MinSize 2, and 1 would be left)"
    assert words in refused_["refusals"][0]["reason"]


def test_members_of_one_group_leave_it_together(stack: Stack) -> None:
    fleet = launch(2, tags={"aws:autoscaling:groupName": "web-asg"})
    rows = [a_member(each)[0][2]["AutoScalingInstances"][0] for each in fleet]
    _, groups = a_member(fleet[0])
    with (
        answered("autoscaling", "DescribeAutoScalingInstances", {"AutoScalingInstances": rows}),
        answered(*groups),
    ):
        event = a_backup_of(*fleet, accept=["auto-scaling"])
        answer = stack.invoke("prepare_backup", event)
    assert codes(answer) == ["standby-not-possible"] * 2
    assert "and 0 would be left" in answer["refusals"][0]["reason"]


def test_a_group_whose_healthy_targets_are_backed_up_together_has_none_left(stack: Stack) -> None:
    web, peer, other = launch(3)
    balance(web, peer, other)
    answer = stack.invoke("prepare_backup", a_backup_of(web, peer))
    assert codes(answer, "warnings") == []
    answer = stack.invoke("prepare_backup", a_backup_of(web, peer, other))
    assert codes(answer, "warnings") == ["only-target"] * 3
    assert answer["warnings"][0]["reason"].endswith("(web-0)")


def test_a_large_group_is_given_as_many_warnings_as_its_state_has_room_for(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = launch(3)
    balance(*fleet)
    event = a_backup_of(*fleet)
    whole = stack.invoke("prepare_backup", event)["warnings"]
    room = len(json.dumps(whole[0])) + len(json.dumps(whole[1]))
    monkeypatch.setattr("stillpoint.aws.prepare_backup.MOST_OF_WARNINGS", room)
    assert stack.invoke("prepare_backup", event)["warnings"] == whole[:2]


@pytest.mark.parametrize(
    ("behaviour", "scripts", "expected"),
    [
        ("terminate", {"pre": SCRIPT}, ["shutdown-terminates"]),
        ("terminate", {}, []),
        ("stop", {"pre": SCRIPT, "post": SCRIPT}, []),
    ],
)
@pytest.mark.parametrize("method", ["stop", "reboot", "none"])
def test_only_a_script_can_shut_down_what_a_shutdown_terminates(
    stack: Stack, behaviour: str, scripts: dict[str, str], expected: list[str], method: str
) -> None:
    web = changed(instance_initiated_shutdown_behavior=behaviour)
    with a_systems_manager() as systems:
        systems.agent(web)
        systems.documents[SCRIPT] = Document()
        answer = stack.invoke("prepare_backup", a_backup_of(web, method=method, **scripts))
        set_state(web, "stopped")
        again = stack.invoke("prepare_backup", a_backup_of(web, method=method, **scripts))
    assert codes(answer) == expected
    assert codes(again) == []


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
