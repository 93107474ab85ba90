"""A tick with more to say and to write than one call, one message or one minute holds."""

from contextlib import AbstractContextManager
from datetime import timedelta
from unittest import mock

import pytest

from stillpoint.aws import plan_backups as carrying_out
from stillpoint.errors import PlannerIncomplete
from tests.functions.faults import answered, refused, throttled
from tests.functions.fleet import cursor, launch, launch_one, own_tags_of
from tests.functions.samples import sample
from tests.functions.stack import NOW, Stack

TICK = sample("plan_backups_tick")
DRY_RUN = sample("plan_backups_dry_run")
MORNING = NOW + timedelta(hours=9)


def few_writes(number: int) -> AbstractContextManager[object]:
    return mock.patch.object(carrying_out, "MOST_WRITES", number)


def told(stack: Stack) -> list[str]:
    return sorted(
        row["instance_id"] for message in stack.messages() for row in message["instances"]
    )


def test_many_invalid_policies_are_told_in_few_messages_each_of_them_once(stack: Stack) -> None:
    bad = launch(120, schedule="daily 25:00", seen=None)
    with answered("ec2", "CreateTags", {}) as writes:
        stack.invoke("plan_backups", TICK)
    assert len(writes) == 3
    assert [len(message["instances"]) for message in stack.messages()] == [50, 50, 20]
    assert told(stack) == sorted(bad)
    assert all("25:00" in row["why"] for m in stack.messages() for row in m["instances"])
    (document,) = stack.metrics()
    assert sum(document["PolicyInvalid"]) == 120


def test_what_is_told_of_many_is_written_on_each_and_not_told_again(stack: Stack) -> None:
    bad = [*launch(3, schedule="daily 25:00", seen=None), launch_one(schedule="x", seen=None)]
    stack.invoke("plan_backups", TICK)
    stack.invoke("plan_backups", TICK)
    assert len(stack.messages()) == 1
    assert told(stack) == sorted(bad)
    assert all("problem" in own_tags_of(each) for each in bad)


def test_many_problems_that_could_not_be_sent_are_all_told_at_the_next_tick(stack: Stack) -> None:
    bad = [*launch(3, schedule="daily 25:00", seen=None), launch_one(schedule="x", seen=None)]
    with throttled("sns", "Publish"), pytest.raises(PlannerIncomplete):
        stack.invoke("plan_backups", TICK)
    assert not any("problem" in own_tags_of(each) for each in bad)
    stack.invoke("plan_backups", TICK)
    assert told(stack) == sorted(bad)


def test_what_exceeds_the_writes_of_one_tick_is_done_by_the_next(stack: Stack) -> None:
    bad = [launch_one(schedule=f"daily 25:0{minute}", seen=None) for minute in range(5)]
    with few_writes(2):
        for minute, expected in enumerate([2, 4, 5, 5]):
            stack.invoke("plan_backups", TICK, now=NOW + timedelta(minutes=minute))
            assert len(told(stack)) == expected
    assert told(stack) == sorted(bad)


def test_backups_start_however_much_else_there_is_to_write(stack: Stack) -> None:
    launch(3, schedule="daily 25:00", seen=None)
    launch(3, schedule="daily 05:00", seen=None)
    good = launch_one()
    with few_writes(0):
        stack.invoke("plan_backups", TICK)
    assert list(stack.executions()) == [f"{good}-20261122T030000Z"]
    assert stack.messages() == []


def test_those_that_cannot_be_written_do_not_use_up_the_writes_of_the_others(stack: Stack) -> None:
    fresh = [launch_one(schedule=f"daily 05:0{minute}", seen=None) for minute in range(6)]
    stuck, fine = sorted(fresh)[:3], sorted(fresh)[3:]
    with few_writes(2):
        for minute in range(6):
            with refused("ec2", "CreateTags", "TagLimitExceeded", about=stuck[0]):
                try:
                    stack.invoke("plan_backups", TICK, now=NOW + timedelta(minutes=minute))
                except PlannerIncomplete:
                    continue
    assert all("last" in own_tags_of(each) for each in [*fine, *stuck[1:]])


def test_one_of_many_that_cannot_be_tagged_is_found_in_few_calls(stack: Stack) -> None:
    fresh = launch(64, schedule="daily 05:00", seen=None)
    with (
        refused("ec2", "CreateTags", "TagLimitExceeded", about=fresh[7]) as calls,
        pytest.raises(PlannerIncomplete, match="TagLimitExceeded"),
    ):
        stack.invoke("plan_backups", TICK)
    assert len(calls) == 7
    assert [each for each in fresh if "last" not in own_tags_of(each)] == [fresh[7]]


def test_many_missed_occurrences_are_told_in_few_messages_and_only_once(stack: Stack) -> None:
    missed = [
        *launch(60),
        *launch(3, group="erp"),
        *launch(1, schedule="daily 02:00", seen="2026-11-21 02:00"),
    ]
    stack.invoke("plan_backups", TICK, now=MORNING)
    stack.invoke("plan_backups", TICK, now=MORNING)
    first, second = stack.messages()
    assert told(stack) == sorted(missed)
    rows = {row["instance_id"]: row["why"] for row in [*first["instances"], *second["instances"]]}
    assert rows[missed[-1]] == "it was due at 2026-11-22T02:00:00Z"
    assert rows[missed[60]] == "it was due at 2026-11-22T03:00:00Z, with its group erp"
    assert "could not start within 6 hours" in first["why"]
    assert own_tags_of(missed[0]) == {"last": cursor("daily 03:00", "2026-11-22 03:00")}


def test_what_was_told_of_many_is_not_told_again_when_the_rest_cannot_be(stack: Stack) -> None:
    missed = launch(60)
    with (
        refused("sns", "Publish", "AuthorizationError", about=max(missed), status=403),
        pytest.raises(PlannerIncomplete),
    ):
        stack.invoke("plan_backups", TICK, now=MORNING)
    stack.invoke("plan_backups", TICK, now=MORNING)
    assert told(stack) == sorted(missed)


def test_a_tick_lists_as_many_instances_as_are_worth_it_and_a_dry_run_all(stack: Stack) -> None:
    launch(900, schedule="daily 05:00", seen="2026-11-21 05:00")
    tick, dry_run = stack.invoke("plan_backups", TICK), stack.invoke("plan_backups", DRY_RUN)
    assert 0 < len(tick["instances"]) < 900
    assert tick["left_out"] == 900 - len(tick["instances"])
    assert tick["note"].startswith(f"{tick['left_out']} of 900 instances are left out")
    assert (len(dry_run["instances"]), dry_run["left_out"]) == (900, 0)
