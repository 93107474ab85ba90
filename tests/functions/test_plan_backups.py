"""Ticks: what is enrolled and started, and what happens when it is not."""

import pytest

from stillpoint.errors import AwsUnavailable, PlannerIncomplete
from stillpoint.tags import Cursor, Tag
from tests.functions.faults import refused, small_pages, throttled
from tests.functions.fleet import cursor, fill_tags, launch, launch_one, own_tags_of, stop, tag
from tests.functions.samples import sample
from tests.functions.stack import Stack
from tests.unit.builders import at

TICK = sample("plan_backups_tick")
NEXT_MINUTE = at("2026-11-22 03:01:30")


def execution_of(instance_id: str, occurrence: str = "20261122T030000Z") -> str:
    return f"{instance_id}-{occurrence}"


def statuses(answer: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    return {row["instance_id"]: row["status"] for row in answer["instances"]}


def test_the_first_tick_enrols_an_instance_and_starts_nothing(stack: Stack) -> None:
    web = launch_one(seen=None)
    answer = stack.invoke("plan_backups", TICK)
    assert own_tags_of(web) == {"last": cursor("daily 03:00", "2026-11-22 03:00:30")}
    assert statuses(answer) == {web: "idle"}
    assert stack.executions() == {}


def test_a_due_instance_is_started_with_what_its_backup_needs_to_know(stack: Stack) -> None:
    web = launch_one(name="web", accept="public-ip")
    answer = stack.invoke("plan_backups", TICK)
    backup = {
        "group": None,
        "group_id": web,
        "occurrence": "2026-11-22T03:00:00Z",
        "schedule": "daily 03:00 UTC",
        "trigger": "schedule",
        "members": [
            {
                "instance_id": web,
                "name": "web",
                "method": "stop",
                "order": 0,
                "retain": "14",
                "accept": ["public-ip"],
                "copy_to": [],
                "time_zone": "UTC",
                "pre": None,
                "post": None,
            }
        ],
    }
    ((name, given),) = stack.executions().items()
    assert name == execution_of(web)
    assert backup.items() <= given.items()
    assert answer["backups"] == [{"execution": execution_of(web)} | given]
    assert answer["dry_run"] is False
    assert stack.events() == []


def test_a_group_is_started_as_one(stack: Stack) -> None:
    db = launch_one(group="erp:2")
    app = launch_one(group="erp:1")
    stack.invoke("plan_backups", TICK)
    ((name, backup),) = stack.executions().items()
    assert name == "group-erp-20261122T030000Z"
    assert [member["instance_id"] for member in backup["members"]] == [app, db]


def test_the_same_tick_delivered_twice_starts_nothing_twice(stack: Stack) -> None:
    launch_one()
    first = stack.invoke("plan_backups", TICK)
    second = stack.invoke("plan_backups", TICK)
    assert len(stack.executions()) == 1
    assert first["backups"] == second["backups"]
    assert stack.events() == []


def test_a_backup_that_runs_with_another_input_is_left_to_run(stack: Stack) -> None:
    web = launch_one()
    stack.invoke("plan_backups", TICK)
    tag([web], {"Name": "renamed meanwhile"})
    answer = stack.invoke("plan_backups", TICK, now=NEXT_MINUTE)
    assert [row["execution"] for row in answer["backups"]] == [execution_of(web)]
    assert len(stack.executions()) == 1
    assert own_tags_of(web) == {"last": cursor("daily 03:00", "2026-11-21 03:00")}


def test_a_backup_that_ended_before_it_could_write_the_cursor_is_not_repeated(
    stack: Stack,
) -> None:
    web = launch_one()
    stack.invoke("plan_backups", TICK)
    stack.end_execution(execution_of(web))
    answer = stack.invoke("plan_backups", TICK, now=NEXT_MINUTE)
    assert answer["backups"] == []
    handled = Cursor.parse(own_tags_of(web)["last"])
    assert handled is not None
    assert handled.occurrence == at("2026-11-22 03:00")
    stack.invoke("plan_backups", TICK, now=NEXT_MINUTE)
    assert len(stack.executions()) == 1


def test_an_instance_that_its_backup_has_stopped_is_left_alone(stack: Stack) -> None:
    web = launch_one(cycle="execution=x before=running since=2026-11-22T03:00:05Z")
    stop(web)
    assert statuses(stack.invoke("plan_backups", TICK)) == {web: "in_backup"}
    assert stack.executions() == {}


def test_no_more_instances_are_taken_down_than_the_stack_allows(stack: Stack) -> None:
    launch(3)
    answer = stack.invoke("plan_backups", TICK, variables={"MAX_CONCURRENT_BACKUPS": "2"})
    assert sorted(statuses(answer).values()) == ["starting", "starting", "waiting"]
    assert len(stack.executions()) == 2


def test_an_instance_without_our_tags_is_nobodys_business(stack: Stack) -> None:
    launch_one(schedule=None, tags={"Name": "private"})
    assert stack.invoke("plan_backups", TICK)["instances"] == []


def test_two_hundred_and_fifty_instances_are_read_page_by_page(stack: Stack) -> None:
    for _ in range(5):
        launch(50, schedule="daily 05:00", seen=None)
    with small_pages("DescribeInstances", 2) as pages:
        answer = stack.invoke("plan_backups", TICK)
    assert len(pages) == 3
    assert len(answer["instances"]) == 250
    assert stack.invoke("plan_backups", TICK)["instances"][0]["reason"] == "nothing is due"


def test_an_instance_that_cannot_be_tagged_does_not_keep_others_from_enrolment(
    stack: Stack,
) -> None:
    full, *others = launch(4, seen=None)
    fill_tags(full)
    with pytest.raises(PlannerIncomplete, match=full) as incomplete:
        stack.invoke("plan_backups", TICK)
    assert "TagLimitExceeded" in str(incomplete.value)
    assert not any(other in str(incomplete.value) for other in others)
    assert all("last" in own_tags_of(other) for other in others)


def test_a_backup_that_cannot_be_started_does_not_disturb_the_others(stack: Stack) -> None:
    poor, *others = launch(3)
    with (
        refused("stepfunctions", "StartExecution", "ExecutionLimitExceeded", about=poor),
        pytest.raises(PlannerIncomplete, match=f"starting the backup {poor}"),
    ):
        stack.invoke("plan_backups", TICK)
    assert stack.executions().keys() == {execution_of(other) for other in others}


def test_what_failed_at_one_tick_is_done_at_the_next(stack: Stack) -> None:
    web = launch_one()
    with throttled("stepfunctions", "StartExecution"), pytest.raises(PlannerIncomplete):
        stack.invoke("plan_backups", TICK)
    stack.invoke("plan_backups", TICK, now=NEXT_MINUTE)
    assert stack.executions().keys() == {execution_of(web)}


def test_a_failing_tick_still_counts_what_it_did(stack: Stack) -> None:
    poor, _ = launch(2)
    with (
        throttled("stepfunctions", "StartExecution", about=poor),
        pytest.raises(PlannerIncomplete),
    ):
        stack.invoke("plan_backups", TICK)
    (counted,) = stack.metrics()
    assert counted["BackupsStarted"] == [1.0]
    assert counted["InstancesProtected"] == [2.0]


def test_a_planner_that_cannot_see_the_instances_starts_nothing(stack: Stack) -> None:
    launch_one()
    with (
        throttled("ec2", "DescribeInstances"),
        pytest.raises(AwsUnavailable, match="reading the instances"),
    ):
        stack.invoke("plan_backups", TICK)
    assert stack.executions() == {}


def test_an_unreadable_cycle_tag_keeps_the_planner_away(stack: Stack) -> None:
    web = launch_one(tags={Tag.CYCLE: "?"})
    assert statuses(stack.invoke("plan_backups", TICK)) == {web: "in_backup"}
