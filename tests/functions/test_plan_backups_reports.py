"""What a tick tells people: invalid policies, missed occurrences, metrics."""

from datetime import timedelta
from typing import Any

import pytest

from stillpoint.errors import PlannerIncomplete
from stillpoint.tags import LastRecoveryPoint, Tag
from tests.functions.faults import refused, throttled
from tests.functions.fleet import cursor, fill_tags, launch, launch_one, own_tags_of, tag
from tests.functions.samples import sample
from tests.functions.stack import NOW, Stack

TICK = sample("plan_backups_tick")
TWO_DAYS_AGO = "2026-11-20 03:00"
MORNING = NOW + timedelta(hours=9)


def problem_of(instance_id: str) -> str | None:
    return own_tags_of(instance_id).get("problem")


def test_an_invalid_policy_is_said_on_the_instance_and_by_one_message(stack: Stack) -> None:
    web = launch_one(name="web", schedule="daily 25:00", seen=None)
    stack.invoke("plan_backups", TICK)
    stack.invoke("plan_backups", TICK)
    problem = problem_of(web)
    assert problem is not None
    assert problem.startswith("policy: stillpoint:schedule: 25:00 is not a time of day")
    (message,) = stack.messages()
    assert (message["event"], message["severity"]) == ("PolicyInvalid", "warning")
    (row,) = message["instances"]
    assert (row["instance_id"], row["name"], row["state"]) == (web, "web", "running")
    assert "'25:00' is not a time of day" in row["why"]
    assert "Correct the instance's tags" in message["text"]
    assert message["attributes"]["instance_id"] == web


def test_another_problem_is_said_anew(stack: Stack) -> None:
    web = launch_one(schedule="daily 25:00", seen=None)
    stack.invoke("plan_backups", TICK)
    tag([web], {Tag.SCHEDULE: "hourly"})
    stack.invoke("plan_backups", TICK)
    assert [("25:00" in m["text"], "hourly" in m["text"]) for m in stack.messages()] == [
        (True, False),
        (False, True),
    ]


def test_when_the_policy_is_mended_the_problem_is_taken_away(stack: Stack) -> None:
    web = launch_one(schedule="daily 25:00", seen=None)
    stack.invoke("plan_backups", TICK)
    tag([web], {Tag.SCHEDULE: "daily 05:00"})
    stack.invoke("plan_backups", TICK)
    assert problem_of(web) is None
    assert "last" in own_tags_of(web)
    assert stack.events() == ["PolicyInvalid"]


def test_a_refusal_of_an_earlier_backup_is_not_the_planners_to_take_away(stack: Stack) -> None:
    refusal = "refused 2026-11-21T03:00:00Z: stop-protection"
    web = launch_one(schedule="daily 05:00", seen=None, problem=refusal)
    stack.invoke("plan_backups", TICK)
    assert problem_of(web) == refusal


def test_an_invalid_policy_does_not_keep_others_from_their_backup(stack: Stack) -> None:
    bad = launch_one(schedule="nonsense", seen=None)
    good = launch_one()
    stack.invoke("plan_backups", TICK)
    assert list(stack.executions()) == [f"{good}-20261122T030000Z"]
    assert problem_of(bad)


def test_a_problem_that_cannot_be_written_is_not_said_every_minute(stack: Stack) -> None:
    web = launch_one(schedule="daily 25:00", seen=None)
    fill_tags(web)
    for _ in range(3):
        with pytest.raises(PlannerIncomplete, match="TagLimitExceeded"):
            stack.invoke("plan_backups", TICK)
    assert stack.events() == []


def test_a_problem_that_could_not_be_sent_is_said_at_the_next_tick(stack: Stack) -> None:
    web = launch_one(schedule="daily 25:00", seen=None)
    with (
        throttled("sns", "Publish"),
        pytest.raises(PlannerIncomplete, match="publishing PolicyInvalid"),
    ):
        stack.invoke("plan_backups", TICK)
    stack.invoke("plan_backups", TICK)
    assert stack.events() == ["PolicyInvalid"]
    assert problem_of(web)


def test_an_occurrence_that_could_not_start_in_time_is_missed_once(stack: Stack) -> None:
    web = launch_one(name="web")
    stack.invoke("plan_backups", TICK, now=MORNING)
    stack.invoke("plan_backups", TICK, now=MORNING)
    (message,) = stack.messages()
    assert (message["event"], message["severity"]) == ("BackupMissed", "error")
    assert message["occurrence"] == "2026-11-22T03:00:00Z"
    assert [row["name"] for row in message["instances"]] == ["web"]
    assert "could not start within 6 hours" in message["why"]
    assert "backup_now" in message["remedy"]
    assert own_tags_of(web) == {"last": cursor("daily 03:00", "2026-11-22 03:00")}
    assert stack.executions() == {}


def test_a_missed_group_is_told_as_one(stack: Stack) -> None:
    launch(3, group="erp")
    stack.invoke("plan_backups", TICK, now=MORNING)
    (message,) = stack.messages()
    assert message["group"] == message["attributes"]["group"] == "erp"
    assert len(message["instances"]) == 3


def test_a_missed_occurrence_that_could_not_be_told_is_told_at_the_next_tick(
    stack: Stack,
) -> None:
    launch_one()
    with (
        throttled("sns", "Publish"),
        pytest.raises(PlannerIncomplete, match="publishing BackupMissed"),
    ):
        stack.invoke("plan_backups", TICK, now=MORNING)
    stack.invoke("plan_backups", TICK, now=MORNING)
    stack.invoke("plan_backups", TICK, now=MORNING)
    assert stack.events() == ["BackupMissed"]


def test_a_message_that_is_refused_does_not_keep_others_from_their_backup(stack: Stack) -> None:
    launch_one(schedule="nonsense", seen=None)
    good = launch_one()
    with (
        refused("sns", "Publish", "AuthorizationError", status=403),
        pytest.raises(PlannerIncomplete),
    ):
        stack.invoke("plan_backups", TICK)
    assert list(stack.executions()) == [f"{good}-20261122T030000Z"]


def a_mixed_fleet() -> None:
    launch_one()  # starts
    launch_one(schedule="daily 05:00", seen=None)  # is enrolled
    launch_one(schedule="nonsense", seen=None)  # is invalid
    launch_one(hold="true")  # is held
    launch_one(schedule="daily 05:00", seen=None, problem="refused 2026-11-21T03:00:00Z: spot")
    point = LastRecoveryPoint(NOW - timedelta(hours=2), "ami-0a", "file-system")
    launch_one(schedule="daily 05:00", seen=None, recovery_point=point.render())


def counted(stack: Stack) -> dict[str, Any]:
    """Return the values of the only metric document that was printed since last time."""
    (document,) = stack.metrics()
    (directive,) = document["_aws"]["CloudWatchMetrics"]
    return {metric["Name"]: document[metric["Name"]] for metric in directive["Metrics"]}


def test_a_tick_counts_how_the_fleet_stands(stack: Stack) -> None:
    a_mixed_fleet()
    stack.invoke("plan_backups", TICK)
    assert counted(stack) == {
        "PolicyInvalid": [1.0],
        "InstancesProtected": [3.0],
        "InstancesInvalid": [1.0],
        "InstancesHeld": [1.0],
        "InstancesRefused": [1.0],
        "InstancesOverdue": [0.0],
        "BackupsStarted": [1.0],
        "BackupsWaiting": [0.0],
        "RecoveryPointAge": [7200.0],
    }


def test_an_occurrence_that_waits_for_more_than_an_hour_is_overdue(stack: Stack) -> None:
    launch(2)
    now = NOW + timedelta(hours=2)
    stack.invoke("plan_backups", TICK, now=now, variables={"MAX_CONCURRENT_BACKUPS": "1"})
    numbers = counted(stack)
    assert (numbers["InstancesOverdue"], numbers["BackupsWaiting"]) == ([1.0], [1.0])


def test_metrics_have_the_service_as_their_only_dimension(stack: Stack) -> None:
    a_mixed_fleet()
    stack.invoke("plan_backups", TICK)
    (document,) = stack.metrics()
    (directive,) = document["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Stillpoint"
    assert directive["Dimensions"] == [["service"]]
    assert document["service"] == "stillpoint"
    assert "i-" not in str(document)


def test_a_large_fleet_counts_a_hundred_ages_of_recovery_points_the_oldest_among_them(
    stack: Stack,
) -> None:
    for instance_id, hours in zip(launch(120, schedule="daily 05:00"), range(120), strict=True):
        point = LastRecoveryPoint(NOW - timedelta(hours=hours), "ami-0a", "crash")
        tag([instance_id], {Tag.RECOVERY_POINT: point.render()})
    stack.invoke("plan_backups", TICK)
    documents = stack.metrics()
    ages = [age for document in documents for age in document.get("RecoveryPointAge", [])]
    assert len(ages) == 100
    assert (min(ages), max(ages)) == (0, 119 * 3600)
    assert set(ages) <= {hours * 3600.0 for hours in range(120)}
    assert sum(document.get("InstancesProtected", [0])[0] for document in documents) == 120


def test_what_was_due_two_days_ago_is_one_missed_occurrence(stack: Stack) -> None:
    launch_one(seen=TWO_DAYS_AGO)
    stack.invoke("plan_backups", TICK, now=MORNING)
    assert stack.events() == ["BackupMissed"]
