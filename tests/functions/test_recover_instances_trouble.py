"""Recovery: what goes wrong with one instance, or with AWS, leaves nobody else behind."""

from contextlib import ExitStack, nullcontext, suppress
from typing import Any

import pytest

from stillpoint.aws.client import client
from stillpoint.errors import MalformedInput, MissingSetting, RecoveryIncomplete
from stillpoint.tags import Tag
from tests.functions.faults import refused, throttled
from tests.functions.fleet import own_tags_of, set_state, tag
from tests.functions.left_behind import (
    NOW,
    SWEEP,
    cycle_of,
    left_behind,
    recover,
    state_of,
)
from tests.functions.stack import Stack

LATER = NOW.replace(minute=15)


def spoil(instance_id: str, cycle: str) -> str:
    """Overwrite the instance's cycle tag and return the new value."""
    tag([instance_id], {Tag.CYCLE: cycle})
    return cycle


@pytest.mark.parametrize(
    "cycle", ["", "?", "running", "execution=a before=running", "\N{FLOPPY DISK}" * 256]
)
def test_a_cycle_that_cannot_be_read_is_named_and_the_others_are_recovered(
    stack: Stack, cycle: str
) -> None:
    odd, web = (left_behind(stack).instance_ids[0] for _ in range(2))
    spoil(odd, cycle)
    with pytest.raises(RecoveryIncomplete, match=f"^{odd}: its tag stillpoint:cycle") as incomplete:
        recover(stack)
    assert str(incomplete.value).count(odd) == 1
    assert web not in str(incomplete.value)
    assert (state_of(web), cycle_of(web)) == ("running", None)
    assert (state_of(odd), own_tags_of(odd)["cycle"]) == ("stopped", cycle)


@pytest.mark.parametrize("name", ["x" * 150, "a:b", "*"])
def test_a_cycle_that_names_no_possible_execution_does_not_stop_the_sweep(
    stack: Stack, name: str
) -> None:
    odd, web = (left_behind(stack).instance_ids[0] for _ in range(2))
    spoil(odd, f"execution={name} before=running since=2026-11-22T03:09:00Z")
    with (
        refused("stepfunctions", "DescribeExecution", "InvalidArn", about=name[:20]),
        pytest.raises(RecoveryIncomplete, match=odd),
    ):
        recover(stack)
    assert state_of(web) == "running"
    assert cycle_of(odd) is not None


def test_an_execution_that_cannot_be_read_keeps_only_its_own_instances_waiting(
    stack: Stack,
) -> None:
    blocked, free = left_behind(stack), left_behind(stack)
    with (
        throttled("stepfunctions", "DescribeExecution", about=blocked.execution),
        pytest.raises(RecoveryIncomplete, match=f"reading the execution {blocked.execution}"),
    ):
        recover(stack)
    assert state_of(free.instance_ids[0]) == "running"
    assert recover(stack, now=LATER)["recovered"] == blocked.instance_ids


@pytest.mark.parametrize("by", ["event", "sweep"])
@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("ec2", "DescribeInstances"),
        ("ec2", "StartInstances"),
        ("ec2", "CreateTags"),
        ("ec2", "DeleteTags"),
        ("ec2", "DescribeImages"),
        ("ec2", "DescribeSnapshots"),
        ("stepfunctions", "DescribeExecution"),
        ("sns", "Publish"),
    ],
)
def test_what_is_throttled_is_said_and_done_at_the_next_sweep(
    stack: Stack, by: str, service: str, operation: str
) -> None:
    left = left_behind(stack)
    (web,) = left.instance_ids
    event = SWEEP if by == "sweep" else left.event
    # A start that EC2 refuses is no failure of the recovery: people are told, and it goes on.
    told = operation == "StartInstances"
    said = nullcontext() if told else pytest.raises(RecoveryIncomplete, match="RequestLimit")
    with throttled(service, operation), said:
        recover(stack, event)
    recover(stack, now=LATER)
    assert state_of(web) == "running"
    assert "failed=1" in own_tags_of(web)["last"]
    assert "cycle" not in own_tags_of(web)
    assert "BackupFailed" in stack.events()


@pytest.mark.parametrize(
    "operation", ["CreateTags", "DescribeImages", "DescribeSnapshots", "DescribeVolumes"]
)
def test_what_is_refused_for_good_keeps_no_instance_from_coming_back(
    stack: Stack, operation: str
) -> None:
    left = left_behind(stack)
    with refused("ec2", operation, "UnauthorizedOperation"), suppress(RecoveryIncomplete):
        recover(stack)
    assert state_of(left.instance_ids[0]) == "running"
    assert cycle_of(left.instance_ids[0]) is None


def test_a_tag_that_cannot_be_removed_is_tried_again(stack: Stack) -> None:
    left = left_behind(stack, 2, group="erp")
    stuck, free = left.instance_ids
    with (
        refused("ec2", "DeleteTags", "UnauthorizedOperation", about=stuck),
        pytest.raises(RecoveryIncomplete, match=stuck),
    ):
        recover(stack)
    assert (cycle_of(stuck) is None, cycle_of(free) is None) == (False, True)
    assert recover(stack, now=LATER)["recovered"] == [stuck]


def test_a_look_that_fails_in_between_does_not_undo_the_others(stack: Stack) -> None:
    left = left_behind(stack, state="stopping")
    (web,) = left.instance_ids
    with ExitStack() as silence:

        def stopped_while_ec2_is_silent(naps: int) -> None:
            if naps == 1:
                set_state(web, "stopped")
                silence.enter_context(throttled("ec2", "DescribeInstances"))

        with pytest.raises(RecoveryIncomplete, match="reading the instances"):
            recover(stack, left.event, meanwhile=stopped_while_ec2_is_silent)
    assert recover(stack, now=LATER)["recovered"] == [web]


def test_what_failed_at_one_look_and_worked_at_the_next_is_no_failure(stack: Stack) -> None:
    left = left_behind(stack, 2, group="erp")
    released, slow = left.instance_ids
    set_state(released, "running")
    set_state(slow, "stopping")
    with ExitStack() as trouble:
        trouble.enter_context(throttled("ec2", "DeleteTags", about=released))

        def passes(naps: int) -> None:
            if naps == 1:
                trouble.close()
                set_state(slow, "stopped")

        assert recover(stack, meanwhile=passes)["recovered"] == sorted(left.instance_ids)


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"detail-type": "Step Functions Execution Status Change"},
        {"detail": None},
        {"detail": {}},
        {"detail": "name"},
        {"detail": ["name"]},
    ],
)
def test_an_event_that_cannot_be_read_is_a_clear_error(stack: Stack, event: dict[str, Any]) -> None:
    with pytest.raises(MalformedInput, match="recover_instances takes the event of its schedule"):
        recover(stack, event)


def test_an_execution_that_was_started_by_hand_with_nonsense_is_a_clear_error(
    stack: Stack,
) -> None:
    left = left_behind(stack)
    with pytest.raises(RecoveryIncomplete, match="the input of the execution by-hand is no backup"):
        recover(stack, by_hand(stack))
    assert recover(stack)["recovered"] == left.instance_ids


def by_hand(stack: Stack) -> dict[str, Any]:
    """Return the event of an execution that somebody has started with an input of their own."""
    client("stepfunctions").start_execution(
        stateMachineArn=stack.state_machine_arn, name="by-hand", input='{"test": true}'
    )
    stack.end_execution("by-hand")
    return {"detail": {"name": "by-hand"}}


@pytest.mark.parametrize("name", ["STATE_MACHINE_ARN", "TOPIC_ARN"])
def test_a_missing_environment_variable_is_named(stack: Stack, name: str) -> None:
    with pytest.raises(MissingSetting, match=rf"\b{name}\b"):
        stack.invoke("recover_instances", SWEEP, without=name)
