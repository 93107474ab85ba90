"""A night in virtual time: what it measures, that it repeats itself, and that every limit holds."""

import json
from dataclasses import replace

import pytest

from sandbox.buckets import Limit
from sandbox.simulation.command import lines, simulate
from sandbox.simulation.night import Backup, Night, Spread
from sandbox.simulation.setting import Setting
from sandbox.virtual.quotas import Quotas

QUICK = {"image_seconds": (300, 600)}


def night_of(instances: int, **changes: object) -> Night:
    return simulate(replace(Setting(instances, physics=QUICK), **changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def night() -> Night:
    """Twenty instances, and nothing special."""
    return night_of(20)


def test_every_backup_of_a_quiet_night_succeeds(night: Night) -> None:
    assert [night.count(each) for each in ("succeeded", "failed", "missed")] == [20, 0, 0]
    assert night.executions == {"SUCCEEDED": 20}
    assert night.claims == {"file-system": 20}
    assert night.false_claims == 0
    assert (night.stranded, night.violations, night.errors, night.messages) == ((), (), {}, {})


def test_a_night_is_measured_from_the_worlds_truth(night: Night) -> None:
    assert [backup.volumes for backup in night.backups[:7]] == [1, 2, 3, 4, 5, 6, 1]
    for backup in night.backups:
        assert backup.began_after is not None
        assert backup.captured_after is not None
        assert backup.up_after is not None
        assert 0 < backup.began_after < backup.captured_after < backup.up_after
        assert backup.up_after - backup.began_after == pytest.approx(backup.downtime)
        assert 1 <= backup.ratio < 1.5
    assert night.captured_seconds == max(backup.captured_after or 0 for backup in night.backups)
    assert night.all_back_seconds == max(backup.up_after or 0 for backup in night.backups)
    assert night.captured_seconds < night.all_back_seconds < night.ended_seconds


def test_what_a_night_uses_is_counted(night: Night) -> None:
    machine = night.calls["state machine"]
    assert (machine["StopInstances"], machine["CreateImage"], machine["StartInstances"]) == (
        (20, 20, 20 + night.throttled.get("StartInstances", 0))
    )
    assert night.calls["planner"]["StartExecution"] == 20
    assert night.functions["prepare_backup"].invocations == 20
    assert night.functions["plan_backups"].metric_bytes > 0
    assert 1 < night.peaks.backups <= 20
    assert night.peaks.executions <= 20
    assert night.peaks.transitions_per_second >= night.transitions.mean * 20 / night.ended_seconds
    assert night.price.transitions == pytest.approx(night.transitions.mean * 0.025 / 1000)
    assert night.history_events.worst > night.transitions.worst
    assert night.planner_ms.worst >= night.planner_ms.mean > 0


def test_the_same_night_comes_to_the_same_end(night: Night) -> None:
    assert night_of(20) == night


def test_another_seed_is_another_night(night: Night) -> None:
    other = night_of(20, seed=2)
    assert other.count("succeeded") == 20
    assert [each.downtime for each in other.backups] != [each.downtime for each in night.backups]


def test_an_instances_own_durations_depend_on_seed_and_name_alone(night: Night) -> None:
    """So a fleet of another size, which begins otherwise, has the same floors."""
    floors = [backup.floor for backup in night_of(7, at_once=True).backups]
    assert floors == pytest.approx([backup.floor for backup in night.backups[:7]], abs=0.002)


def test_a_night_survives_its_way_through_json(night: Night) -> None:
    document = json.loads(json.dumps(night.to_json()))
    assert Night.from_json(document).to_json() == night.to_json()
    assert document["succeeded"] == document["instances"] == 20
    assert any(line.startswith("downtime / floor") for line in lines(night))


def test_beside_a_neighbour_there_is_less_of_everything() -> None:
    alone = night_of(12, quotas=Quotas())
    crowded = night_of(12, quotas=Quotas(neighbour=0.9))
    assert crowded.throttled.get("StartInstances", 0) > alone.throttled.get("StartInstances", 0)
    assert crowded.all_back_seconds > alone.all_back_seconds
    assert crowded.count("succeeded") == 12


def test_all_come_back_from_a_mass_abort() -> None:
    aborted = night_of(12, killed_after=75)
    assert aborted.executions["ABORTED"] > 0
    assert aborted.functions["recover_instances"].invocations >= aborted.executions["ABORTED"]
    assert aborted.stranded == ()
    assert aborted.false_claims == 0


def test_transitions_beyond_the_limit_wait(night: Night) -> None:
    slow = night_of(6, quotas=Quotas(state_transitions=Limit(1, 1)))
    assert night.delayed_transitions == 0
    assert slow.delayed_transitions > 0
    assert slow.count("succeeded") == 6
    assert slow.captured_seconds > night.captured_seconds


def test_an_execution_with_too_long_a_history_fails_and_its_instance_comes_back() -> None:
    short = night_of(2, quotas=Quotas(history_events=60), parameters={"MaxAttempts": "1"})
    assert short.executions == {"FAILED": 2}
    assert short.errors["FAILED: States.Runtime"] == 2
    assert short.count("failed") == 2
    assert short.stranded == ()


def test_invocations_beyond_the_concurrency_are_refused_and_come_later() -> None:
    narrow = night_of(6, quotas=Quotas(concurrent_invocations=1))
    assert sum(use.refused for use in narrow.functions.values()) > 0
    assert narrow.peaks.invocations == 1
    assert narrow.stranded == ()


def test_executions_start_no_faster_than_the_limit_allows() -> None:
    slow = night_of(6, quotas=Quotas(start_execution=Limit(1, 0.5)))
    assert slow.throttled["StartExecution"] > 0
    assert slow.count("succeeded") == 6


def backup(downtime: float, floor: float) -> Backup:
    return Backup("a", 1, "succeeded", 1, 1.0, 2.0, 3.0, downtime, floor)


def test_a_ratio_is_that_of_the_nearest_rank(night: Night) -> None:
    ratios = replace(night, backups=tuple(backup(100 + n, 100) for n in range(1, 101)))
    assert [ratios.ratio(share) for share in (0.5, 0.99, 1)] == [1.5, 1.99, 2.0]
    assert replace(night, backups=(backup(0, 0),)).ratio(0.5) == 0


def test_a_spread_of_nothing_is_nothing() -> None:
    assert Spread.of([]) == Spread(0, 0)
    assert Spread.of([1, 3]) == Spread(2, 3)
