"""Recovery: what an ended execution has left behind is put back, and nothing else is touched."""

import pytest

from tests.functions.faults import answered
from tests.functions.fleet import launch_one, own_tags_of, set_state, tag, terminate
from tests.functions.left_behind import (
    NOW,
    SINCE,
    SWEEP,
    cycle_of,
    end,
    left_behind,
    recover,
    state_of,
)
from tests.functions.stack import Stack

NEVER_STARTED: dict[str, object] = {"StartingInstances": []}


@pytest.mark.parametrize("status", ["ABORTED", "TIMED_OUT", "FAILED"])
@pytest.mark.parametrize("by", ["event", "sweep"])
def test_an_instance_that_was_cut_off_between_stop_and_start_is_started(
    stack: Stack, status: str, by: str
) -> None:
    left = left_behind(stack, status=status)
    (web,) = left.instance_ids
    answer = recover(stack, left.event if by == "event" else SWEEP)
    assert answer == {"recovered": [web], "waiting": []}
    assert state_of(web) == "running"
    assert cycle_of(web) is None


def test_every_member_of_a_group_is_started(stack: Stack) -> None:
    left = left_behind(stack, 3, group="erp")
    recover(stack, left.event)
    assert [state_of(each) for each in left.instance_ids] == ["running"] * 3


@pytest.mark.parametrize("state", ["stopped", "running"])
def test_an_instance_that_was_stopped_before_is_left_as_it_is(stack: Stack, state: str) -> None:
    left = left_behind(stack, before="stopped", state=state)
    (cold,) = left.instance_ids
    with answered("ec2", "StartInstances", NEVER_STARTED) as starts:
        recover(stack, left.event)
    assert starts == []
    assert cycle_of(cold) is None
    assert "InstanceStranded" not in stack.events()


def test_members_are_put_back_each_to_its_own_state(stack: Stack) -> None:
    left = left_behind(stack, 2, group="erp")
    cold, web = left.instance_ids
    before = f"execution={left.execution} before=stopped since=2026-11-22T03:00:05Z"
    tag([cold], {"stillpoint:cycle": before})
    recover(stack, left.event)
    assert (state_of(cold), state_of(web)) == ("stopped", "running")
    assert (cycle_of(cold), cycle_of(web)) == (None, None)


@pytest.mark.parametrize("state", ["running", "stopping", "stopped", "pending"])
def test_a_running_execution_is_never_interfered_with(stack: Stack, state: str) -> None:
    left = left_behind(stack, state=state, status="RUNNING")
    (web,) = left.instance_ids
    tags = own_tags_of(web)
    for event in (SWEEP, left.event):
        assert recover(stack, event) == {"recovered": [], "waiting": []}
    assert (state_of(web), own_tags_of(web), stack.events()) == (state, tags, [])


def test_an_execution_that_waits_for_its_redrive_is_not_interfered_with(stack: Stack) -> None:
    left = left_behind(stack, status="PENDING_REDRIVE")
    recover(stack)
    assert state_of(left.instance_ids[0]) == "stopped"


def test_an_event_that_comes_before_its_end_is_visible_is_waited_for(stack: Stack) -> None:
    left = left_behind(stack, status="RUNNING")
    answer = recover(stack, left.event, meanwhile=lambda _: end(left.execution))
    assert answer["recovered"] == left.instance_ids


def test_an_execution_that_still_runs_keeps_only_its_own_instances_back(stack: Stack) -> None:
    busy, left = left_behind(stack, status="RUNNING"), left_behind(stack)
    assert recover(stack)["recovered"] == left.instance_ids
    assert cycle_of(busy.instance_ids[0]) is not None


def test_an_instance_that_runs_long_after_the_end_is_released_without_an_alarm(
    stack: Stack,
) -> None:
    left = left_behind(stack, state="running")
    with answered("ec2", "StartInstances", NEVER_STARTED) as starts:
        assert recover(stack)["recovered"] == left.instance_ids
    assert starts == []
    assert not {"InstanceStranded", "InstanceRecovered"} & set(stack.events())


def test_an_instance_shown_running_just_after_the_end_is_watched_until_that_is_certain(
    stack: Stack,
) -> None:
    left = left_behind(stack, state="running", status="RUNNING")
    (web,) = left.instance_ids
    end(left.execution, ago=5)

    def stop_after_half_a_minute(naps: int) -> None:
        if naps == 6:  # what the execution asked for last is visible only now
            assert cycle_of(web) is not None
            set_state(web, "stopped")

    assert recover(stack, left.event, meanwhile=stop_after_half_a_minute)["recovered"] == [web]
    assert state_of(web) == "running"
    assert cycle_of(web) is None
    assert "InstanceStranded" in stack.events()


def test_an_instance_that_still_runs_a_minute_after_the_end_is_released(stack: Stack) -> None:
    left = left_behind(stack, state="running", status="RUNNING")
    end(left.execution, ago=5)
    assert recover(stack, left.event)["recovered"] == left.instance_ids


def test_an_instance_that_is_still_stopping_is_started_as_soon_as_it_has_stopped(
    stack: Stack,
) -> None:
    left = left_behind(stack, state="stopping")
    (web,) = left.instance_ids

    def stopped_after_ten_seconds(naps: int) -> None:
        if naps == 2:
            set_state(web, "stopped")

    assert recover(stack, meanwhile=stopped_after_ten_seconds)["recovered"] == [web]
    assert state_of(web) == "running"


@pytest.mark.parametrize("state", ["stopping", "pending"])
def test_what_takes_longer_than_an_invocation_is_left_to_the_next_sweep(
    stack: Stack, state: str
) -> None:
    left = left_behind(stack, state=state)
    naps: list[int] = []
    assert recover(stack, meanwhile=naps.append)["waiting"] == left.instance_ids
    assert len(naps) * 5 <= 90
    assert cycle_of(left.instance_ids[0]) is not None


def test_an_instance_that_was_terminated_is_forgotten(stack: Stack) -> None:
    left = left_behind(stack, 2, group="erp")
    gone, web = left.instance_ids
    terminate(gone)
    assert recover(stack) == {"recovered": [web], "waiting": []}
    assert state_of(gone) == "terminated"
    assert all(row["instance_id"] != gone for row in stranded_rows(stack))


def stranded_rows(stack: Stack) -> list[dict[str, str]]:
    told = [message for message in stack.messages() if message["event"] == "InstanceStranded"]
    return [row for message in told for row in message["instances"]]


def test_an_instance_whose_schedule_was_taken_away_in_mid_backup_comes_back_too(
    stack: Stack,
) -> None:
    left = left_behind(stack, schedule=None)
    assert recover(stack)["recovered"] == left.instance_ids


def test_the_same_event_delivered_twice_does_nothing_the_second_time(stack: Stack) -> None:
    left = left_behind(stack)
    recover(stack, left.event)
    told = stack.events()
    assert recover(stack, left.event) == {"recovered": [], "waiting": []}
    assert stack.events() == told


def test_a_late_event_does_not_disturb_the_backup_that_has_begun_since(stack: Stack) -> None:
    old = left_behind(stack)
    (web,) = old.instance_ids
    recover(stack, old.event)
    newer = "execution=i-0a-20261122T040000Z before=running since=2026-11-22T04:00:05Z"
    tag([web], {"stillpoint:cycle": newer})
    set_state(web, "stopped")
    recover(stack, old.event, now=NOW.replace(hour=4, minute=1))
    assert (state_of(web), own_tags_of(web)["cycle"]) == ("stopped", newer)


def test_an_execution_that_nobody_knows_is_given_a_quarter_of_an_hour(stack: Stack) -> None:
    unknown = f"execution=i-0a-20261122T030000Z before=running since={SINCE:%FT%T}Z"
    web = launch_one(name="web", tags={"stillpoint:cycle": unknown})
    set_state(web, "stopped")
    recover(stack, now=SINCE.replace(minute=14))
    assert state_of(web) == "stopped"
    recover(stack, now=SINCE.replace(minute=16))
    assert state_of(web) == "running"
    stranded, recovered = stack.messages()
    assert stranded["why"] == "The execution in charge of it does not exist."
    assert recovered["event"] == "InstanceRecovered"


def test_the_event_of_an_execution_that_nobody_knows_is_harmless(stack: Stack) -> None:
    left = left_behind(stack)
    event = left.event
    event["detail"]["name"] = "i-0b-20261122T030000Z"
    assert recover(stack, event) == {"recovered": [], "waiting": []}
    assert state_of(left.instance_ids[0]) == "stopped"


def test_an_execution_that_succeeded_but_could_not_release_is_released(stack: Stack) -> None:
    left = left_behind(stack, state="running", status="SUCCEEDED")
    assert recover(stack)["recovered"] == left.instance_ids
    assert stack.events() == []


def test_instances_that_are_in_no_backup_are_not_even_looked_at(stack: Stack) -> None:
    idle, foreign = launch_one(), launch_one(schedule=None)
    for instance_id in (idle, foreign):
        set_state(instance_id, "stopped")
    assert recover(stack) == {"recovered": [], "waiting": []}
    assert (state_of(idle), state_of(foreign)) == ("stopped", "stopped")
