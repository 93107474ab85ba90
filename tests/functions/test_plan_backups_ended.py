"""Ticks that meet an execution which has ended and has written nothing on its instances."""

from datetime import timedelta
from typing import Any
from unittest import mock

import pytest

from stillpoint.aws import executions
from stillpoint.aws import plan_backups as carrying_out
from stillpoint.errors import PlannerIncomplete
from stillpoint.tags import Cursor
from tests.functions.faults import answered, refused, throttled
from tests.functions.fleet import launch, launch_one, own_tags_of, tag
from tests.functions.left_behind import end, recover
from tests.functions.samples import sample
from tests.functions.stack import NOW, Stack

TICK = sample("plan_backups_tick")
MINUTE = timedelta(minutes=1)


def tick(stack: Stack, minute: int = 0) -> list[str]:
    """Let a tick come so many minutes later; return what runs because of it."""
    variables = {"MAX_CONCURRENT_BACKUPS": "100"}
    answer = stack.invoke("plan_backups", TICK, now=NOW + minute * MINUTE, variables=variables)
    return [backup["execution"] for backup in answer["backups"]]


def cut_off(stack: Stack, status: str = "ABORTED", *, error: str = "", cause: str = "") -> str:
    """Let a backup be started and end while it waits for its turn; return its execution."""
    (execution,) = tick(stack)
    end(execution, status, error=error, cause=cause)
    return execution


def failures_of(instance_id: str) -> int:
    """Return how many attempts at the occurrence the cursor says have failed."""
    cursor = Cursor.parse(own_tags_of(instance_id)["last"])
    assert cursor is not None
    return cursor.failed_attempts


@pytest.mark.parametrize(
    ("status", "error"), [("ABORTED", ""), ("TIMED_OUT", ""), ("FAILED", "States.Runtime")]
)
def test_an_execution_that_could_report_nothing_is_told_by_the_tick_that_meets_it(
    stack: Stack, status: str, error: str
) -> None:
    web = launch_one(name="web")
    execution = cut_off(stack, status, error=error, cause="Somebody did it.")
    stack.metrics()
    assert tick(stack, 1) == []
    tick(stack, 2)
    (message,) = stack.messages()
    assert (message["event"], message["severity"]) == ("BackupFailed", "error")
    assert message["why"] == f"Its execution ended as {status}. Somebody did it."
    assert message["execution_arn"].endswith(f":{execution}")
    assert [(row["instance_id"], row["state"]) for row in message["instances"]] == [
        (web, "running")
    ]
    assert "tries the backup again if an attempt is left" in message["remedy"]
    assert failures_of(web) == 1
    assert [each["BackupFailed"] for each in stack.metrics() if "BackupFailed" in each] == [[1.0]]


def test_a_group_is_told_as_one_and_every_member_is_marked(stack: Stack) -> None:
    members = launch(3, group="erp")
    cut_off(stack)
    tick(stack, 1)
    (message,) = stack.messages()
    assert (message["group"], message["occurrence"]) == ("erp", "2026-11-22T03:00:00Z")
    assert sorted(row["instance_id"] for row in message["instances"]) == sorted(members)
    assert [failures_of(each) for each in members] == [1, 1, 1]


def test_the_planner_and_the_recovery_say_the_same(stack: Stack) -> None:
    web = launch_one(name="web")
    execution = cut_off(stack, cause="Somebody did it.")
    event = sample("recover_instances_execution_aborted")
    event["detail"]["name"] = execution
    before = own_tags_of(web)["last"]
    recover(stack, event)
    tag([web], {"stillpoint:last": before})
    tick(stack, 1)
    recovery, planner = stack.messages()
    for key in ("event", "why", "remedy", "instances", "group", "occurrence", "execution_arn"):
        assert planner[key] == recovery[key]


def test_what_has_been_told_since_the_plan_was_made_is_not_told_again(stack: Stack) -> None:
    web = launch_one()
    execution = cut_off(stack, "FAILED", error="AwsRefused")
    reported = f"{own_tags_of(web)['last'].replace('2026-11-21', '2026-11-22')} failed=1"
    reported += " at=2026-11-22T03:00:40Z"
    start = executions.start

    def report_meanwhile(*args: Any, **options: Any) -> executions.Start:  # noqa: ANN401
        tag([web], {"stillpoint:last": reported})
        return start(*args, **options)

    with mock.patch.object(executions, "start", report_meanwhile):
        assert tick(stack, 1) == []
    assert execution in stack.executions()
    assert stack.events() == []
    assert own_tags_of(web)["last"] == reported


def test_a_failure_that_could_not_be_told_is_told_at_the_next_tick(stack: Stack) -> None:
    web = launch_one()
    cut_off(stack)
    with throttled("sns", "Publish"), pytest.raises(PlannerIncomplete, match="BackupFailed"):
        tick(stack, 1)
    assert failures_of(web) == 0
    tick(stack, 2)
    assert stack.events() == ["BackupFailed"]
    assert failures_of(web) == 1


def test_a_message_that_is_refused_does_not_cost_the_second_attempt(stack: Stack) -> None:
    web = launch_one()
    cut_off(stack)
    with (
        refused("sns", "Publish", "AuthorizationError", status=403),
        pytest.raises(PlannerIncomplete, match="BackupFailed"),
    ):
        tick(stack, 1)
    assert failures_of(web) == 1
    assert tick(stack, 11) == [f"{web}-20261122T030000Z-2"]


def test_a_tick_looks_at_a_bounded_number_of_executions_and_the_next_ones_at_the_rest(
    stack: Stack,
) -> None:
    webs = launch(5)
    for execution in tick(stack):
        end(execution)
    with mock.patch.object(carrying_out, "MOST_LOOKS", 2):
        running = [len(tick(stack, minute)) for minute in (1, 2, 3)]
    assert running == [3, 1, 0]
    assert [failures_of(each) for each in webs] == [1] * 5
    assert stack.events() == ["BackupFailed"] * 5


def test_a_doubled_tick_over_many_backups_asks_for_few_of_them(stack: Stack) -> None:
    webs = launch(60)
    assert len(tick(stack)) == 60
    tag(webs, {"Name": "renamed meanwhile"})
    running = {"status": "RUNNING", "input": "{}"}
    with answered("stepfunctions", "DescribeExecution", running) as looks:
        assert len(tick(stack)) == 60
    assert len(looks) == 50
