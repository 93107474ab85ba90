from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillpoint.instance import Instance
from stillpoint.plan import Plan, Status, Trigger, execution_name
from stillpoint.planning import make_plan
from stillpoint.schedule import fingerprint
from stillpoint.standing import PAUSE
from stillpoint.tags import Cursor, Tag
from tests.unit.builders import an_instance, at, limits, schedules, verdict

OCCURRENCE = at("2026-11-22 03:00")
FAILED = at("2026-11-22 03:25")
READY = FAILED + PAUSE


def failed(
    instance_id: str = "i-0a",
    *,
    times: int = 1,
    occurrence: datetime = OCCURRENCE,
    failed_at: datetime = FAILED,
    schedule: str = "daily 03:00",
    **facts: Any,  # noqa: ANN401 (those of `an_instance`)
) -> Instance:
    """Return an instance whose backup of an occurrence has failed so many times."""
    cursor = Cursor(occurrence, fingerprint(schedules(schedule)), times, failed_at)
    return an_instance(instance_id, schedule=schedule, tags={Tag.LAST: cursor.render()}, **facts)


def plan_at(
    now: datetime,
    *instances: Instance,
    attempts: int = 2,
    room: int = 10,
) -> Plan:
    """Return the plan of a stack that makes so many attempts in all."""
    bounds = replace(limits(room), max_attempts=attempts)
    return make_plan(instances, now=now, limits=bounds)


def names(made: Plan) -> list[str]:
    """Return the names of the executions that a plan starts."""
    return [backup.execution_name for backup in made.backups]


def test_the_first_attempt_has_the_plain_name_and_the_others_their_number() -> None:
    assert execution_name("i-0a", OCCURRENCE, 1) == "i-0a-20261122T030000Z"
    assert execution_name("i-0a", OCCURRENCE, 2) == "i-0a-20261122T030000Z-2"


def test_no_name_of_an_execution_is_longer_than_step_functions_takes() -> None:
    assert len(execution_name("group-" + "x" * 40, OCCURRENCE, 9)) <= 80


def test_a_failed_backup_is_tried_again_after_the_pause() -> None:
    (backup,) = plan_at(READY, failed(name="web")).backups
    assert backup.execution_name == "i-0a-20261122T030000Z-2"
    assert (backup.occurrence, backup.schedule) == (OCCURRENCE, "daily 03:00 UTC")
    assert backup.trigger is Trigger.SCHEDULE
    assert backup.to_input()["attempt"] == 2


def test_what_made_it_fail_is_given_ten_minutes_to_pass() -> None:
    assert timedelta(minutes=10) == PAUSE
    made = plan_at(READY - timedelta(seconds=1), failed())
    assert made.backups == ()
    assert verdict(made).status is Status.IDLE


@pytest.mark.parametrize(("attempts", "times"), [(1, 1), (2, 2), (2, 3), (3, 3)])
def test_the_last_attempt_is_the_last(attempts: int, times: int) -> None:
    assert plan_at(READY, failed(times=times), attempts=attempts).backups == ()


def test_as_many_attempts_are_made_as_the_stack_allows() -> None:
    made = plan_at(READY, failed(times=2), attempts=3)
    assert names(made) == ["i-0a-20261122T030000Z-3"]


def test_another_attempt_is_made_within_the_catch_up_window_only() -> None:
    late = failed(failed_at=at("2026-11-22 08:45"))
    assert names(plan_at(at("2026-11-22 09:00"), late)) == ["i-0a-20261122T030000Z-2"]
    too_late = plan_at(at("2026-11-22 09:00:01"), late)
    assert (too_late.backups, too_late.missed) == ((), ())


def test_after_a_refusal_there_is_no_other_attempt() -> None:
    refused = an_instance(seen="2026-11-22 03:00", problem="refused 2026-11-22T03:00:00Z: spot")
    assert plan_at(READY, refused).backups == ()


def test_a_newer_occurrence_wins() -> None:
    (backup,) = plan_at(at("2026-11-22 04:00"), failed(schedule="rate(1 hour)")).backups
    assert backup.occurrence > OCCURRENCE
    assert backup.attempt == 1


def test_while_an_execution_is_in_charge_there_is_no_other_attempt() -> None:
    busy = failed(
        cycle="execution=i-0a-20261122T030000Z-2 before=running since=2026-11-22T03:36:00Z"
    )
    assert plan_at(READY, busy).backups == ()


def test_an_attempt_under_hold_is_given_up() -> None:
    made = plan_at(READY, failed(hold="true"))
    assert made.backups == ()
    assert made.cursors["i-0a"] == Cursor(OCCURRENCE, fingerprint(schedules("daily 03:00")))


def test_a_mark_of_another_schedule_says_nothing() -> None:
    edited = Instance("i-0a", "running", {**failed().tags, Tag.SCHEDULE: "daily 02:00"})
    made = plan_at(READY, edited)
    assert made.backups == ()
    assert made.cursors["i-0a"].failed_at is None


def test_a_backup_that_was_asked_for_by_hand_is_tried_again_as_such() -> None:
    by_hand = failed(occurrence=at("2026-11-22 03:17"))
    (backup,) = plan_at(READY, by_hand).backups
    assert (backup.trigger, backup.schedule) == (Trigger.ON_DEMAND, "on-demand")
    assert backup.execution_name == "i-0a-20261122T031700Z-2"


def test_a_group_is_tried_again_as_a_whole() -> None:
    marked, unmarked = failed("i-0a", group="erp"), an_instance("i-0b", group="erp")
    behind = Instance("i-0b", "running", {**unmarked.tags, Tag.LAST: marked.tags[Tag.LAST][:29]})
    (backup,) = plan_at(READY, marked, behind).backups
    assert backup.execution_name == "group-erp-20261122T030000Z-2"
    assert [member.instance_id for member in backup.members] == ["i-0a", "i-0b"]


def test_the_number_of_a_groups_attempt_is_that_of_its_worst_member() -> None:
    members = failed("i-0a", group="erp", times=1), failed("i-0b", group="erp", times=2)
    assert plan_at(READY, *members).backups == ()
    assert names(plan_at(READY, *members, attempts=3)) == ["group-erp-20261122T030000Z-3"]


def test_another_attempt_waits_for_room_like_any_other_backup() -> None:
    busy = an_instance("i-0b", in_backup=True)
    made = plan_at(READY, failed(), busy, room=1)
    assert made.backups == ()
    assert verdict(made).status is Status.WAITING


def test_another_attempt_waits_for_an_anti_affinity_peer_that_is_down() -> None:
    peer = failed("i-0b", anti_affinity="ha", state="stopped", times=2)
    made = plan_at(READY, failed(anti_affinity="ha"), peer)
    assert made.backups == ()
    assert "anti-affinity peer" in verdict(made).reason


def test_the_same_tick_twice_names_the_same_attempt() -> None:
    assert names(plan_at(READY, failed())) == names(plan_at(READY, failed()))


@given(
    times=st.integers(1, 9),
    attempts=st.integers(1, 9),
    failed_after=st.integers(0, 600),
    minutes=st.integers(0, 13 * 60),
)
def test_no_attempt_is_too_early_too_late_or_one_too_many(
    times: int, attempts: int, failed_after: int, minutes: int
) -> None:
    failed_at = OCCURRENCE + timedelta(minutes=failed_after)
    now = failed_at + timedelta(minutes=minutes)
    made = plan_at(now, failed(times=times, failed_at=failed_at), attempts=attempts)
    allowed = (
        times < attempts and now >= failed_at + PAUSE and now <= OCCURRENCE + timedelta(hours=6)
    )
    assert [backup.attempt for backup in made.backups] == ([times + 1] if allowed else [])
