"""Further attempts: what a failed backup writes down, and what the planner makes of it."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from stillpoint.errors import PlannerIncomplete
from stillpoint.tags import Cursor
from tests.functions.captured import SOON, a_captured, a_failure
from tests.functions.faults import refused, throttled
from tests.functions.fleet import launch_one, own_tags_of, set_state, tag
from tests.functions.left_behind import end
from tests.functions.samples import a_backup_of, sample
from tests.functions.stack import Stack
from tests.unit.builders import at

TICK = sample("plan_backups_tick")
DUE, READY = at("2026-11-22 03:00:30"), at("2026-11-22 03:12")
OCCURRENCE = at("2026-11-22 03:00")


def cursor_of(instance_id: str) -> Cursor:
    """Return what the instance's cursor says."""
    cursor = Cursor.parse(own_tags_of(instance_id)["last"])
    assert cursor is not None
    return cursor


def plan(stack: Stack, now: datetime, *, attempts: str = "2") -> list[str]:
    """Let the planner's tick come at a time; return the names of what it started."""
    answer = stack.invoke("plan_backups", TICK, now=now, variables={"MAX_ATTEMPTS": attempts})
    return [backup["execution"] for backup in answer["backups"]]


def prepare(stack: Stack, instance_id: str, attempt: int) -> dict[str, Any]:
    """Let Prepare of an attempt run and return its answer."""
    event = a_backup_of(instance_id)
    event["execution"] = name_of(instance_id, attempt)
    event["backup"] |= {"group": None, "group_id": instance_id, "attempt": attempt}
    return stack.invoke("prepare_backup", event)


def name_of(instance_id: str, attempt: int) -> str:
    return f"{instance_id}-20261122T030000Z" + (f"-{attempt}" if attempt > 1 else "")


def one_that_failed(*, at_time: datetime = SOON, **facts: Any) -> str:  # noqa: ANN401
    """Return an instance whose first attempt has failed."""
    web = launch_one(name="web", seen="2026-11-22 03:00", **facts)
    failed = Cursor(OCCURRENCE, cursor_of(web).fingerprint, 1, at_time)
    tag([web], {"stillpoint:last": failed.render()})
    return web


def test_a_failed_backup_is_written_on_the_cursor_of_every_member(stack: Stack) -> None:
    backup = a_captured(stack, 2)
    good, bad = backup.instance_ids
    backup.complete(failures=[a_failure(bad)], captures=backup.event["captures"][:1])
    for instance_id in (good, bad):
        cursor = cursor_of(instance_id)
        assert (cursor.occurrence, cursor.failed_attempts) == (OCCURRENCE, 1)
        assert cursor.failed_at == SOON


def test_a_failure_that_left_good_recovery_points_asks_for_no_other_attempt(
    stack: Stack,
) -> None:
    backup = a_captured(stack)
    backup.complete(failures=[a_failure(backup.instance_ids[0], "resume")])
    assert cursor_of(backup.instance_ids[0]).failed_at is None


def test_a_refused_backup_asks_for_no_other_attempt(stack: Stack) -> None:
    web = launch_one(seen="2026-11-22 03:00")
    event = sample("complete_backup_refused")
    event["backup"]["members"][0]["instance_id"] = web
    stack.invoke("complete_backup", event)
    assert cursor_of(web).failed_at is None


def test_a_failure_is_reported_even_if_the_mark_cannot_be_written(stack: Stack) -> None:
    backup = a_captured(stack, 2)
    removed, web = backup.instance_ids  # the owner has taken the schedule off one of them
    about = f"'ResourceId.1': '{removed}'"
    with refused("ec2", "CreateTags", "UnauthorizedOperation", about=about):
        answer = backup.complete(failures=[a_failure()], captures=[])
    assert answer["status"] == "failed"
    assert stack.events() == ["BackupFailed"]
    assert (cursor_of(removed).failed_attempts, cursor_of(web).failed_attempts) == (0, 1)


def test_the_planner_waits_ten_minutes_and_starts_the_second_attempt(stack: Stack) -> None:
    web = one_that_failed()
    assert plan(stack, SOON + timedelta(minutes=9, seconds=59)) == []
    assert plan(stack, SOON + timedelta(minutes=10)) == [name_of(web, 2)]
    assert stack.executions()[name_of(web, 2)]["attempt"] == 2
    assert stack.events() == []


def test_the_same_tick_delivered_twice_makes_one_second_attempt(stack: Stack) -> None:
    web = one_that_failed()
    assert plan(stack, READY) == plan(stack, READY) == [name_of(web, 2)]
    assert len(stack.executions()) == 1


def test_no_more_attempts_are_made_than_the_stack_allows(stack: Stack) -> None:
    one_that_failed()
    assert plan(stack, READY, attempts="1") == []
    assert stack.executions() == {}


def test_after_the_catch_up_window_nothing_is_tried_again_or_called_missed(stack: Stack) -> None:
    one_that_failed(at_time=at("2026-11-22 08:55"))
    assert plan(stack, at("2026-11-22 09:06")) == []
    assert stack.events() == []


def test_prepare_of_the_second_attempt_clears_the_mark_of_the_first(stack: Stack) -> None:
    web = one_that_failed()
    assert prepare(stack, web, 2)["refusals"] == []
    assert cursor_of(web) == Cursor(OCCURRENCE, cursor_of(web).fingerprint)
    assert f"execution={name_of(web, 2)} " in own_tags_of(web)["cycle"]


def test_each_attempt_gives_its_image_a_name_of_its_own(stack: Stack) -> None:
    web = one_that_failed()
    first, second = launch_one(), prepare(stack, web, 2)["members"][0]
    assert second["image_name"] == f"stillpoint-{web}-20261122T030000Z-2"
    (member,) = prepare(stack, first, 1)["members"]
    assert member["image_name"] == f"stillpoint-{first}-20261122T030000Z"


def test_prepare_run_again_does_not_clear_what_a_later_occurrence_has_written(
    stack: Stack,
) -> None:
    web = launch_one(seen="2026-11-23 03:00")
    prepare(stack, web, 2)
    assert cursor_of(web).occurrence == at("2026-11-23 03:00")


def test_a_second_attempt_that_is_refused_is_the_last(stack: Stack) -> None:
    web = one_that_failed()
    set_state(web, "stopping")
    assert prepare(stack, web, 2)["refusals"] != []
    assert cursor_of(web).failed_at is None
    set_state(web, "running")
    assert plan(stack, READY + timedelta(hours=1), attempts="9") == []


@pytest.mark.parametrize("status", ["FAILED", "ABORTED", "TIMED_OUT"])
def test_an_execution_that_failed_before_it_could_write_the_cursor_is_tried_again(
    stack: Stack, status: str
) -> None:
    web = launch_one()
    plan(stack, DUE)
    end(name_of(web, 1), status)
    assert plan(stack, DUE + timedelta(minutes=1)) == []
    assert cursor_of(web).failed_attempts == 1
    assert plan(stack, DUE + timedelta(minutes=5)) == []
    assert plan(stack, DUE + timedelta(minutes=11)) == [name_of(web, 2)]


@pytest.mark.parametrize(("status", "error"), [("SUCCEEDED", ""), ("FAILED", "BackupRefused")])
def test_an_execution_that_was_done_before_the_cursor_was_seen_is_not_tried_again(
    stack: Stack, status: str, error: str
) -> None:
    web = launch_one()
    plan(stack, DUE)
    end(name_of(web, 1), status, error=error)
    assert plan(stack, DUE + timedelta(minutes=1)) == []
    assert cursor_of(web) == Cursor(OCCURRENCE, cursor_of(web).fingerprint)
    assert plan(stack, DUE + timedelta(hours=1)) == []
    assert len(stack.executions()) == 1


def test_a_second_attempt_that_ended_before_it_could_write_the_cursor_is_the_last(
    stack: Stack,
) -> None:
    web = one_that_failed()
    plan(stack, READY)
    end(name_of(web, 2))
    plan(stack, READY + timedelta(minutes=1))
    assert cursor_of(web).failed_attempts == 2
    assert plan(stack, READY + timedelta(hours=1)) == []


def test_a_mark_that_is_throttled_is_written_at_the_next_tick(stack: Stack) -> None:
    web = launch_one()
    plan(stack, DUE)
    end(name_of(web, 1))
    with throttled("ec2", "CreateTags"), pytest.raises(PlannerIncomplete):
        plan(stack, DUE + timedelta(minutes=1))
    plan(stack, DUE + timedelta(minutes=2))
    assert cursor_of(web).failed_attempts == 1


def test_a_newer_occurrence_is_started_instead_of_another_attempt(stack: Stack) -> None:
    web = one_that_failed()
    assert plan(stack, at("2026-11-23 03:00:30")) == [f"{web}-20261123T030000Z"]
    assert stack.executions()[f"{web}-20261123T030000Z"]["attempt"] == 1
