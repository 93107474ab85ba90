"""Recovery: who is told what, and how often."""

from datetime import datetime, timedelta

import pytest

from stillpoint.errors import RecoveryIncomplete
from tests.functions.faults import answered, refused
from tests.functions.fleet import attach_volume, set_state, volumes_of
from tests.functions.left_behind import (
    NOW,
    LeftBehind,
    cycle_of,
    left_behind,
    look_once,
    recover,
    state_of,
)
from tests.functions.stack import Stack

ACCEPTED: dict[str, object] = {"StartingInstances": []}
CAPACITY = "InsufficientInstanceCapacity"
BY_US = "Client.UserInitiatedShutdown: User initiated shutdown"
LAUNCH_ERROR = "Client.InternalError: Client error on launch"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/0d5b1f4c-6f0e-4f6e-9f3e-1c7d1b9b2a10"
SWEEPS = timedelta(minutes=5)


def encrypt(instance_id: str) -> dict[str, object]:
    """Return what DescribeVolumes says if one of the instance's two volumes has the key."""
    attach_volume(instance_id)
    plain, secret = volumes_of(instance_id)
    attachments = [{"InstanceId": instance_id}]
    return {
        "Volumes": [
            {"VolumeId": plain, "Attachments": attachments, "Encrypted": False},
            {"VolumeId": secret, "Attachments": attachments, "Encrypted": True, "KmsKeyId": KEY},
        ]
    }


def events_about_instances(stack: Stack) -> list[str]:
    """Return what was told, but for the failure of the backup as such."""
    return [name for name in stack.events() if name != "BackupFailed"]


def whys(stack: Stack) -> list[str]:
    told = [message for message in stack.messages() if message["event"] == "InstanceStranded"]
    return [row["why"] for message in told for row in message["instances"]]


def test_people_are_told_that_it_was_down_and_then_that_it_is_back(stack: Stack) -> None:
    left = left_behind(stack)
    recover(stack, left.event)
    stranded, recovered = [m for m in stack.messages() if m["event"] != "BackupFailed"]
    assert (stranded["event"], stranded["severity"]) == ("InstanceStranded", "critical")
    assert stranded["why"] == "Its execution ended without starting it."
    assert stranded["execution_arn"].endswith(f":stillpoint-backup:{left.execution}")
    assert (recovered["event"], recovered["severity"]) == ("InstanceRecovered", "warning")
    (row,) = recovered["instances"]
    assert (row["instance_id"], row["name"]) == (left.instance_ids[0], "web")
    assert (row["state"], row["why"]) == ("running", "The recovery has put it back.")


def test_both_are_counted_without_naming_the_instance(stack: Stack) -> None:
    left = left_behind(stack)
    recover(stack, left.event)
    (document,) = stack.metrics()
    assert (document["InstanceStranded"], document["InstanceRecovered"]) == ([1.0], [1.0])
    assert left.instance_ids[0] not in str(document)


def test_one_that_does_not_start_is_told_at_first_and_then_every_hour(stack: Stack) -> None:
    left = left_behind(stack)
    with refused("ec2", "StartInstances", CAPACITY, status=500):
        for number in range(12):
            look_once(stack, NOW + number * SWEEPS)
        assert events_about_instances(stack) == ["InstanceStranded"]
        for number in range(12, 24):
            look_once(stack, NOW + number * SWEEPS)
        assert events_about_instances(stack) == ["InstanceStranded"] * 2
    recover(stack, now=NOW + timedelta(minutes=119))
    assert events_about_instances(stack) == ["InstanceStranded"] * 2 + ["InstanceRecovered"]
    assert cycle_of(left.instance_ids[0]) is None


def test_attempts_go_on_for_as_long_as_it_takes(stack: Stack) -> None:
    left = left_behind(stack)
    with refused("ec2", "StartInstances", CAPACITY, status=500) as starts:
        for days in range(4):
            assert look_once(stack, NOW + timedelta(days=days))["waiting"] == left.instance_ids
        assert len(starts) == 4
    assert recover(stack, now=NOW + timedelta(days=4))["recovered"] == left.instance_ids


def test_a_refused_start_is_told_in_ec2s_own_words_and_the_tag_stays(stack: Stack) -> None:
    left = left_behind(stack)
    (web,) = left.instance_ids
    with refused("ec2", "StartInstances", CAPACITY, status=500):
        assert look_once(stack) == {"recovered": [], "waiting": [web]}
    (why,) = whys(stack)
    assert f"Refused with {CAPACITY}." in why
    cycle = cycle_of(web)
    assert cycle is not None
    assert (cycle.execution, cycle.state_before) == (left.execution, "running")
    assert cycle.alerted_at == NOW


def test_one_whose_start_is_refused_does_not_keep_the_others_down(stack: Stack) -> None:
    left = left_behind(stack, 3, group="erp")
    poor, *others = left.instance_ids
    with refused("ec2", "StartInstances", CAPACITY, about=poor, status=500):
        answer = recover(stack)
    assert answer == {"recovered": sorted(others), "waiting": [poor]}
    (told,) = [m["instances"] for m in stack.messages() if m["event"] == "InstanceStranded"]
    assert {row["instance_id"] for row in told} == set(left.instance_ids)
    (why,) = [row["why"] for row in told if row["instance_id"] == poor]
    assert f"Refused with {CAPACITY}." in why


def test_a_start_that_falls_back_names_the_missing_permission_and_the_key(stack: Stack) -> None:
    left = left_behind(stack, reason=LAUNCH_ERROR)
    with (
        answered("ec2", "StartInstances", ACCEPTED),
        answered("ec2", "DescribeVolumes", encrypt(left.instance_ids[0])),
    ):
        recover(stack)
    (why,) = whys(stack)
    assert LAUNCH_ERROR in why
    assert f"kms:CreateGrant is missing for {KEY}" in why


def test_if_the_volumes_cannot_be_read_the_permission_is_named_all_the_same(
    stack: Stack,
) -> None:
    left_behind(stack, reason=LAUNCH_ERROR)
    with (
        answered("ec2", "StartInstances", ACCEPTED),
        refused("ec2", "DescribeVolumes", "UnauthorizedOperation"),
    ):
        recover(stack)
    assert "kms:CreateGrant is missing for the key of one of its volumes" in whys(stack)[0]


def test_the_reason_of_a_start_that_falls_back_is_told_as_soon_as_ec2_gives_it(
    stack: Stack,
) -> None:
    left = left_behind(stack, reason=BY_US)

    def fall_back(naps: int) -> None:
        if naps in {1, 3}:
            set_state(left.instance_ids[0], "pending")
        if naps in {2, 4}:
            set_state(left.instance_ids[0], "stopped", reason=LAUNCH_ERROR)

    with answered("ec2", "StartInstances", ACCEPTED):
        recover(stack, meanwhile=fall_back)
        first, second = whys(stack)
        assert LAUNCH_ERROR not in first
        assert "kms:CreateGrant" in second
        look_once(stack, NOW + SWEEPS)
        assert len(whys(stack)) == 2


@pytest.mark.parametrize("alerted", [NOW - timedelta(minutes=30), NOW - timedelta(days=1)])
def test_an_alert_of_the_execution_itself_is_followed_by_the_all_clear(
    stack: Stack, alerted: datetime
) -> None:
    left = left_behind(stack, state="running", alerted_at=alerted)
    recover(stack)
    assert events_about_instances(stack) == ["InstanceRecovered"]
    assert cycle_of(left.instance_ids[0]) is None


def test_a_human_who_started_it_meanwhile_gets_no_alert(stack: Stack) -> None:
    left = left_behind(stack, state="pending")
    recover(stack, meanwhile=lambda _: set_state(left.instance_ids[0], "running"))
    assert events_about_instances(stack) == []


def still_in_its_cycle(left: LeftBehind) -> bool:
    return all(cycle_of(each) is not None for each in left.instance_ids)


def test_it_is_started_even_if_nobody_can_be_told(stack: Stack) -> None:
    left = left_behind(stack)
    with (
        refused("sns", "Publish", "AuthorizationError", status=403),
        pytest.raises(RecoveryIncomplete, match="publishing InstanceStranded"),
    ):
        recover(stack, left.event)
    assert state_of(left.instance_ids[0]) == "running"
    assert not still_in_its_cycle(left)


def test_an_alert_that_could_not_be_sent_is_sent_at_the_next_sweep(stack: Stack) -> None:
    left = left_behind(stack)
    start = refused("ec2", "StartInstances", CAPACITY, status=500)
    with start, refused("sns", "Publish", "Throttling"):
        with pytest.raises(RecoveryIncomplete, match="publishing InstanceStranded"):
            look_once(stack)
        assert still_in_its_cycle(left)
    with refused("ec2", "StartInstances", CAPACITY, status=500):
        look_once(stack, NOW + SWEEPS)
    assert "InstanceStranded" in stack.events()


def test_an_alert_is_sent_even_if_it_cannot_be_noted_on_the_instance(stack: Stack) -> None:
    left_behind(stack)
    with (
        refused("ec2", "StartInstances", CAPACITY, status=500),
        refused("ec2", "CreateTags", "UnauthorizedOperation"),
        pytest.raises(RecoveryIncomplete, match="tagging"),
    ):
        look_once(stack)
    assert events_about_instances(stack) == ["InstanceStranded"]


def test_the_all_clear_that_could_not_be_sent_is_sent_at_the_next_sweep(stack: Stack) -> None:
    left = left_behind(stack, state="running", alerted_at=NOW)
    with (
        refused("sns", "Publish", "Throttling", about="InstanceRecovered"),
        pytest.raises(RecoveryIncomplete, match="publishing InstanceRecovered"),
    ):
        recover(stack, now=NOW + SWEEPS)
    recover(stack, now=NOW + 2 * SWEEPS)
    assert events_about_instances(stack) == ["InstanceRecovered"]
    assert not still_in_its_cycle(left)
