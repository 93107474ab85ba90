"""Recovery: many instances at once, little time, and readings that are not true any more."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest
from botocore.exceptions import ClientError

from stillpoint.aws import ec2, recover_instances
from stillpoint.aws.clear_up import clear_up
from stillpoint.aws.left_behind import execution_of, report_left_stranded, why_not_back
from stillpoint.errors import AwsUnavailable
from stillpoint.tags import Tag
from tests.functions.faults import throttled
from tests.functions.fleet import own_tags_of, set_state, tag, terminate
from tests.functions.left_behind import (
    NOW,
    SWEEP,
    Clock,
    cycle_of,
    left_behind,
    recover,
    state_of,
)
from tests.functions.stack import Stack

NEWER = "execution=i-0a-20261122T040000Z before=running since=2026-11-22T04:00:05Z"
TIMEOUT = 300
MACHINE = "arn:aws:states:eu-west-1:123456789012:stateMachine:backup"


@contextmanager
def slow_starts(seconds: float, refuse: Callable[[int], str] = lambda _: "") -> Iterator[Clock]:
    """Let each start take so long; `refuse` gives the code of what is refused, by its number."""
    clock = Clock(NOW)
    times = mock.Mock(wraps=datetime)
    times.now.side_effect = lambda _zone: clock.now
    start, calls = ec2.start, iter(range(100_000))

    def slowly(instance_id: str) -> None:
        clock.now += timedelta(seconds=seconds)
        if code := refuse(next(calls)):
            error = ClientError({"Error": {"Code": code}}, "StartInstances")
            raise AwsUnavailable(f"starting {instance_id}: {code}") from error
        start(instance_id)

    with (
        mock.patch.multiple(recover_instances, datetime=times, time=clock),
        mock.patch.object(ec2, "start", slowly),
    ):
        yield clock


def told_of(stack: Stack, event: str) -> list[set[str]]:
    """Return the ids of the instances in each message of an event."""
    return [
        {row["instance_id"] for row in message["instances"]}
        for message in stack.messages()
        if message["event"] == event
    ]


def seconds_of(clock: Clock) -> float:
    return (clock.now - NOW).total_seconds()


def test_a_sweep_starts_all_that_there_is_time_for_before_anything_else(stack: Stack) -> None:
    left = left_behind(stack, 60, group="erp")
    with slow_starts(3) as clock:
        answer = stack.invoke("recover_instances", SWEEP)
    assert answer == {"recovered": sorted(left.instance_ids), "waiting": []}
    assert seconds_of(clock) < TIMEOUT
    assert sorted(len(ids) for ids in told_of(stack, "InstanceStranded")) == [10, 50]
    assert sorted(len(ids) for ids in told_of(stack, "InstanceRecovered")) == [10, 50]


def test_those_there_was_no_time_for_are_told_once_at_the_end(stack: Stack) -> None:
    left = left_behind(stack, 12, group="erp")
    with slow_starts(30) as clock:
        stack.invoke("recover_instances", SWEEP)
    started = {each for each in left.instance_ids if state_of(each) == "running"}
    assert len(started) == 8  # in the 240 seconds that there are for starts
    assert seconds_of(clock) < TIMEOUT
    assert told_of(stack, "InstanceStranded") == [started, set(left.instance_ids) - started]


def test_one_that_is_throttled_does_not_bring_about_messages_on_the_others(stack: Stack) -> None:
    left = left_behind(stack, 5, group="erp")
    with slow_starts(1, lambda call: "RequestLimitExceeded" if call == 0 else ""):
        answer = stack.invoke("recover_instances", SWEEP)
    assert answer["recovered"] == sorted(left.instance_ids)
    first, others = told_of(stack, "InstanceStranded")
    assert (len(first), len(others)) == (1, 4)


@pytest.mark.parametrize("code", ["RequestLimitExceeded", "InsufficientInstanceCapacity"])
@pytest.mark.parametrize("seconds", [0, 1, 7, 15])
def test_the_last_look_ends_in_time(stack: Stack, code: str, seconds: float) -> None:
    left_behind(stack, 5, group="erp")
    with slow_starts(seconds, lambda _: code) as clock:
        stack.invoke("recover_instances", SWEEP)
    assert seconds_of(clock) <= recover_instances.TIME.total_seconds()


def test_starts_that_are_refused_do_not_keep_the_others_from_coming_back(stack: Stack) -> None:
    left_behind(stack, 30, group="erp")
    back = left_behind(stack, state="running")
    with slow_starts(15, lambda _: "InsufficientInstanceCapacity"):
        answer = stack.invoke("recover_instances", SWEEP)
    assert answer["recovered"] == back.instance_ids


def test_an_alert_is_not_noted_over_the_cycle_of_a_new_backup(stack: Stack) -> None:
    left = left_behind(stack)

    def taken_over(*args: object) -> None:
        report_left_stranded(*args)  # type: ignore[arg-type]
        tag(left.instance_ids, {Tag.CYCLE: NEWER})

    with mock.patch.object(recover_instances, "report_left_stranded", taken_over):
        recover(stack)
    assert own_tags_of(left.instance_ids[0])["cycle"] == NEWER


def test_what_is_read_is_not_acted_on_for_long(stack: Stack) -> None:
    left = left_behind(stack, 3, group="erp", state="running")
    reads: list[float] = []
    by_id = ec2.instances_by_id
    with slow_starts(0) as clock:

        def slowly(*args: object, **options: object) -> bool:
            clock.now += timedelta(seconds=40)
            assert clear_up(*args, **options)  # type: ignore[arg-type]
            return False

        def read(instance_ids: list[str]) -> object:
            reads.append(seconds_of(clock))
            return by_id(instance_ids)

        with (
            mock.patch.object(recover_instances, "clear_up", slowly),
            mock.patch.object(ec2, "instances_by_id", read),
        ):
            answer = stack.invoke("recover_instances", SWEEP)
    assert answer["recovered"] == sorted(left.instance_ids)
    assert {0, 45, 90} <= set(reads)


def test_an_instance_is_put_back_into_service_only_if_nothing_has_changed(stack: Stack) -> None:
    left = left_behind(stack, 4, group="erp", state="running")
    same, stopped, other, gone = ec2.instances_by_id(left.instance_ids).values()
    set_state(stopped.instance_id, "stopping")
    tag([other.instance_id], {Tag.CYCLE: NEWER})
    terminate(gone.instance_id)
    assert why_not_back(same) == ""
    assert why_not_back(stopped) == "it is stopping"
    assert why_not_back(other) == "its execution is not in charge of it any more"
    assert why_not_back(gone) == "it is terminated"


def told_end(**facts: object) -> dict[str, object]:
    return {
        "executionArn": f"{MACHINE.replace('stateMachine', 'execution')}:name",
        "name": "name",
        "status": "ABORTED",
        "error": None,
        "cause": "Somebody did it.",
        "input": '{"members": []}',
        "stopDate": int(NOW.timestamp() * 1000),
    } | facts


def test_an_event_that_tells_all_is_the_execution_itself() -> None:
    execution = execution_of(told_end(), MACHINE, NOW)
    assert execution is not None
    assert (execution.name, execution.status, execution.error) == ("name", "ABORTED", "")
    assert (execution.cause, execution.ended_at) == ("Somebody did it.", NOW.astimezone(UTC))
    assert execution.instance_ids == []


@pytest.mark.parametrize(
    "facts",
    [
        {"input": None},
        {"stopDate": None},
        {"status": "RUNNING"},
        {"executionArn": f"{MACHINE}:other"},
        {"stopDate": int(NOW.timestamp() * 1000) - 121_000},
    ],
)
def test_an_event_that_tells_less_or_comes_late_is_not_believed(facts: dict[str, object]) -> None:
    assert execution_of(told_end(**facts), MACHINE, NOW) is None


def test_an_event_without_an_error_is_not_believed() -> None:
    detail = told_end()
    del detail["error"]
    assert execution_of(detail, MACHINE, NOW) is None


def test_step_functions_is_not_asked_for_what_the_event_tells(stack: Stack) -> None:
    left = left_behind(stack)
    event = left.event
    machine = stack.state_machine_arn
    event["detail"] |= {
        "executionArn": f"{machine.replace('stateMachine', 'execution')}:{left.execution}",
        "stopDate": int(NOW.timestamp() * 1000) - 100_000,
    }
    event["detail"]["input"] = event["detail"]["input"].replace(
        "i-0a1b2c3d4e5f60003", left.instance_ids[0]
    )
    with throttled("stepfunctions", "DescribeExecution", about=f'{left.execution}"') as asked:
        answer = recover(stack, event)
    assert (answer["recovered"], asked) == (left.instance_ids, [])
    assert cycle_of(left.instance_ids[0]) is None
