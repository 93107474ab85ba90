"""What the planner can be asked for, and what it says to anything else."""

import pytest

from stillpoint.errors import InvalidText, MalformedInput, MissingSetting
from tests.functions.fleet import launch, launch_one, own_tags_of, stop, tag, terminate
from tests.functions.samples import sample
from tests.functions.stack import NOW, Stack

TICK = sample("plan_backups_tick")
DRY_RUN = sample("plan_backups_dry_run")
UNKNOWN = "i-0123456789abcdef0"


def test_a_dry_run_tells_how_everyone_stands_and_when_they_are_next(stack: Stack) -> None:
    due = launch_one(name="due")
    later = launch_one(name="later", schedule="daily 05:00 Asia/Seoul", seen="2026-11-21 20:00")
    held = launch_one(name="held", hold="true")
    answer = stack.invoke("plan_backups", DRY_RUN)
    assert answer["dry_run"] is True
    assert answer["now"] == "2026-11-22T03:00:30Z"
    assert [row["execution"] for row in answer["backups"]] == [f"{due}-20261122T030000Z"]
    rows = {row["instance_id"]: row for row in answer["instances"]}
    assert rows[due] == {
        "instance_id": due,
        "name": "due",
        "status": "starting",
        "reason": "starts now, for 2026-11-22T03:00:00Z",
        "next": "2026-11-23T03:00:00Z",
        "overdue": False,
    }
    assert (rows[later]["status"], rows[later]["next"]) == ("idle", "2026-11-22T20:00:00Z")
    assert rows[held]["status"] == "held"
    assert "is held" in rows[held]["reason"]


def test_a_dry_run_starts_nothing_writes_nothing_says_nothing_and_counts_nothing(
    stack: Stack,
) -> None:
    due = launch_one()
    fresh = launch_one(seen=None)
    invalid = launch_one(schedule="nonsense", seen=None)
    mended = launch_one(problem="policy: something was wrong")
    before = {each: own_tags_of(each) for each in (due, fresh, invalid, mended)}
    stack.invoke("plan_backups", DRY_RUN)
    assert {each: own_tags_of(each) for each in before} == before
    assert stack.executions() == {}
    assert stack.messages() == []
    assert stack.metrics() == []


def test_a_backup_that_is_asked_for_starts_at_once_and_alone(stack: Stack) -> None:
    asked = launch_one(schedule="daily 05:00", seen="2026-11-21 05:00")
    due = launch_one()
    answer = stack.invoke("plan_backups", {"backup_now": [asked]})
    ((name, backup),) = stack.executions().items()
    assert name == f"{asked}-20261122T030000Z"
    assert (backup["schedule"], backup["trigger"]) == ("on-demand", "on-demand")
    assert answer["not_started"] == []
    assert due not in str(answer["backups"])


def test_asking_for_one_member_backs_up_its_group(stack: Stack) -> None:
    asked, other = launch(2, group="erp", schedule="daily 05:00")
    stack.invoke("plan_backups", {"backup_now": [asked]})
    ((_, backup),) = stack.executions().items()
    assert sorted(m["instance_id"] for m in backup["members"]) == sorted([asked, other])


def test_asking_twice_within_a_minute_starts_one_backup(stack: Stack) -> None:
    asked = launch_one(schedule="daily 05:00")
    for _ in range(2):
        stack.invoke("plan_backups", {"backup_now": [asked]})
    assert len(stack.executions()) == 1


def test_what_is_asked_for_and_not_started_is_told_with_the_reason(stack: Stack) -> None:
    invalid = launch_one(schedule="nonsense", seen=None)
    held = launch_one(hold="true")
    busy = launch_one(cycle="execution=x before=running since=2026-11-22T02:59:00Z")
    untagged = launch_one(schedule=None)
    gone = launch_one()
    terminate(gone)
    asked = [invalid, held, busy, untagged, gone, UNKNOWN]
    answer = stack.invoke("plan_backups", {"backup_now": asked})
    reasons = {row["instance_id"]: row["reason"] for row in answer["not_started"]}
    assert reasons.keys() == set(asked)
    assert "'nonsense' is not a schedule" in reasons[invalid]
    assert "is held" in reasons[held]
    assert "is in a backup since 2026-11-22T02:59:00Z by x" in reasons[busy]
    assert reasons[gone] == "it is terminated"
    for each in (untagged, UNKNOWN):
        assert reasons[each] == "no instance of this id has the tag stillpoint:schedule"
    assert stack.executions() == {}


def test_a_backup_that_is_asked_for_stays_within_the_limits(stack: Stack) -> None:
    peer = launch_one(anti_affinity="ha", schedule="daily 05:00")
    stop(peer)
    asked = launch_one(anti_affinity="ha", schedule="daily 05:00")
    answer = stack.invoke("plan_backups", {"backup_now": [asked]})
    assert stack.executions() == {}
    assert "waits for its anti-affinity peer" in answer["not_started"][0]["reason"]


def test_asking_for_a_backup_reports_and_enrols_nobody_else(stack: Stack) -> None:
    invalid = launch_one(schedule="nonsense", seen=None)
    fresh = launch_one(seen=None)
    stack.invoke("plan_backups", {"backup_now": [launch_one()]})
    assert own_tags_of(invalid) == own_tags_of(fresh) == {}
    assert stack.messages() == []


def test_it_can_be_asked_what_a_backup_at_once_would_do(stack: Stack) -> None:
    asked = launch_one(schedule="daily 05:00")
    answer = stack.invoke("plan_backups", {"backup_now": [asked], "dry_run": True})
    assert [row["execution"] for row in answer["backups"]] == [f"{asked}-20261122T030000Z"]
    assert stack.executions() == {}


@pytest.mark.parametrize(
    "event", [None, [], "tick", 7, {}, {"backup_now": "all"}, {"dry": True}, {"dry_run": "yes"}]
)
def test_a_malformed_event_is_answered_with_the_forms_and_changes_nothing(
    stack: Stack, event: object
) -> None:
    web = launch_one(seen=None)
    with pytest.raises(MalformedInput) as refused:
        stack.invoke("plan_backups", event)
    for form in ("schedule rule", '{"backup_now": ["i-0123456789abcdef0"]}', '{"dry_run": true}'):
        assert form in str(refused.value)
    assert own_tags_of(web) == {}


@pytest.mark.parametrize(
    "name",
    [
        *("STACK_NAME", "STATE_MACHINE_ARN", "TOPIC_ARN", "TIME_ZONE", "DEFAULT_TIME"),
        *("DEFAULT_RETAIN", "CATCH_UP_HOURS", "MAX_CONCURRENT_BACKUPS"),
    ],
)
def test_a_missing_environment_variable_is_named(stack: Stack, name: str) -> None:
    with pytest.raises(MissingSetting, match=rf"\b{name}\b"):
        stack.invoke("plan_backups", TICK, without=name)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("TIME_ZONE", "Mars/Phobos", "Mars/Phobos"),
        ("DEFAULT_TIME", "25:00", "not a time of day"),
        ("DEFAULT_RETAIN", "for ever", "not a retention rule"),
    ],
)
def test_a_stack_parameter_that_makes_no_sense_is_a_clear_error(
    stack: Stack, name: str, value: str, reason: str
) -> None:
    with pytest.raises(InvalidText, match=reason):
        stack.invoke("plan_backups", TICK, variables={name: value})


def test_the_stacks_defaults_fill_in_what_a_tag_leaves_out(stack: Stack) -> None:
    web = launch_one(schedule="daily", seen=None)
    variables = {"TIME_ZONE": "Asia/Seoul", "DEFAULT_TIME": "12:00", "DEFAULT_RETAIN": "30d"}
    stack.invoke("plan_backups", TICK, variables=variables)
    answer = stack.invoke("plan_backups", {"backup_now": [web]}, variables=variables)
    assert answer["instances"][0]["next"] == "2026-11-23T03:00:00Z"
    assert answer["backups"][0]["members"][0]["retain"] == "30d"


def test_an_instance_that_was_renamed_after_its_backup_began_is_shown_by_its_name_now(
    stack: Stack,
) -> None:
    web = launch_one(name="web")
    tag([web], {"Name": "shop"})
    assert stack.invoke("plan_backups", DRY_RUN, now=NOW)["instances"][0]["name"] == "shop"
