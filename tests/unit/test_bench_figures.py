"""The benchmark's arithmetic: the bound, the agreement, and what falls short."""

import copy
from typing import Any

import pytest

from benchmarks import bound, limits
from benchmarks.agreement import Agreement
from benchmarks.tables import tables
from sandbox.ec2 import Physics


def report() -> dict[str, Any]:
    """Return a report in which nothing falls short."""
    return {
        "fleets": [
            {
                "instances": size,
                "succeeded": size,
                "failed": 0,
                "missed": 0,
                "captured_seconds": 60.0 + size / 2,
                "bound_seconds": 50.0 + size / 2,
                "bound_ratio": 1.1,
                "bound_is_set_by": "StartInstances",
                "downtime_ratio": {"median": 1.1, "p99": 1.2, "worst": 1.3},
                "throttled_calls": 0,
                "api_calls_per_backup": 50.0,
                "transitions_per_backup": 70.0,
                "rates": [
                    {
                        "action": "StartInstances",
                        "size": 5.0,
                        "refill": 2.0,
                        "calls_per_backup": 1.0,
                        "backups_per_second": 2.0,
                    }
                ],
                "peak": {
                    "instances_in_a_backup": 20,
                    "executions": 20,
                    "invocations": 3,
                    "transitions_per_second": 9,
                },
                "usd_per_backup": {"orchestration": 0.0019},
                "bytes_per_backup": {"logs": 1000, "metrics": 500},
                "false_claims": 0,
                "errors": {},
                "stranded": [],
                "violations": [],
            }
            for size in (1, 20, 100, 1000)
        ],
        "history": {
            "image_seconds": [86_000, 86_300],
            "succeeded": 6,
            "instances": 6,
            "events_most": 656,
            "events_limit": 25_000,
            "transitions_most": 215,
            "orchestration_usd": 0.0065,
        },
        "planner": {
            "ticks": [
                {
                    "instances": size,
                    "usual_ms": size / 10,
                    "due_ms": size / 5,
                    "cold_ms": size / 4,
                    "seconds": size / 4000,
                    "lambda_seconds": size / 1200,
                    "peak_mb": 80 + size / 100,
                    "logged": 5000,
                }
                for size in (1000, 10_000)
            ],
            "slope": 1.0,
        },
        "real_speed": {
            "instances": 20,
            "policies": {
                "stillpoint": {
                    "median": 1.09,
                    "worst": 1.2,
                    "dirty_images": 0,
                    "backups": 20,
                    "succeeded": 20,
                }
            },
            "false_claims": 0,
            "agreement": {"instances": 20, "mean": -0.01, "worst": 0.04, "beyond": 0},
        },
    }


@pytest.mark.parametrize(
    ("instances", "seconds"), [(1, 0.0), (5, 0.0), (20, 7.5), (100, 47.5), (1000, 497.5)]
)
def test_starting_a_fleet_takes_half_a_second_an_instance_once_the_bucket_is_empty(
    instances: int, seconds: float
) -> None:
    assert bound.least_seconds("StartInstances", instances) == seconds
    assert bound.bound_seconds(instances, 48.0) == seconds + 48.0


def test_no_other_call_that_a_backup_needs_is_slower_than_starting() -> None:
    assert bound.slowest_action(1000) == "StartInstances"
    for action in bound.LEAST_CALLS:
        assert bound.least_seconds(action, 1000) <= bound.least_seconds("StartInstances", 1000)


def test_the_bucket_of_instances_counts_beside_that_of_requests() -> None:
    assert [each.size for each in bound.limits("StartInstances")] == [5, 1000]
    assert [each.size for each in bound.limits("CreateImage")] == [50]


def test_an_undisturbed_capture_is_a_stop_and_one_snapshot_after_the_other() -> None:
    physics = Physics().changed(
        {"stop_seconds": (20, 40), "first_snapshot_seconds": 1, "next_snapshot_seconds": (0, 2)}
    )
    assert bound.alone_seconds(physics, 1) == 31
    assert bound.alone_seconds(physics, 4) == 34


def test_agreement_is_a_share_of_the_downtime_at_real_speed() -> None:
    found = Agreement(real={"a": 100.0, "b": 50.0}, simulated={"a": 104.0, "b": 47.0})
    assert found.differences == pytest.approx({"a": 0.04, "b": -0.06})
    assert found.mean == pytest.approx(1 / 150)
    assert found.worst == pytest.approx(0.06)
    assert found.to_json()["beyond"] == 1


def test_nothing_falls_short_of_a_report_that_reaches_everything() -> None:
    assert limits.shortfalls(report()) == []


def test_a_part_that_was_not_measured_does_not_fall_short() -> None:
    assert limits.shortfalls({}) == []


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("fleets", 3, "succeeded"), 999, "1,000 instances: 1 backups were lost or failed"),
        (("fleets", 0, "succeeded"), 0, "1 instances: 1 backups were lost or failed"),
        (("fleets", 1, "false_claims"), 2, "20 instances: false claims: 2"),
        (("fleets", 1, "errors"), {"x": 3}, "20 instances: errors: {'x': 3}"),
        (("fleets", 1, "stranded"), ["x"], "20 instances: stranded: ['x']"),
        (("fleets", 3, "downtime_ratio", "median"), 1.16, "median downtime / floor is 1.16"),
        (("fleets", 3, "downtime_ratio", "p99"), 1.51, "p99 of downtime / floor is 1.51"),
        (("fleets", 3, "bound_ratio"), 1.26, "time / bound is 1.26, more than 1.25"),
        (("fleets", 3, "usd_per_backup", "orchestration"), 0.002, "is 0.002 USD, not less"),
        (("history", "events_most"), 2501, "an AMI of 24 h is 2501, more than 2500"),
        (("history", "succeeded"), 5, "backups with an AMI of 24 h were lost or failed"),
        (("planner", "ticks", 1, "peak_mb"), 257, "10,000 instances: peak MB is 257"),
        (("planner", "ticks", 0, "seconds"), 10.5, "1,000 instances: seconds is 10.5"),
        (("planner", "slope"), 1.3, "largest fleet / next is 1.3, more than 1.2"),
        (("real_speed", "policies", "stillpoint", "median"), 1.2, "real speed: median"),
        (("real_speed", "policies", "stillpoint", "worst"), 1.4, "real speed: worst"),
        (("real_speed", "policies", "stillpoint", "succeeded"), 19, "1 backups did not succeed"),
        (("real_speed", "false_claims"), 1, "1 dirty images are claimed"),
        (("real_speed", "agreement", "mean"), -0.06, "mean difference is 0.06"),
        (("real_speed", "agreement", "worst"), 0.07, "worst difference is 0.07"),
    ],
)
def test_each_figure_that_falls_short_is_said_in_words(
    path: tuple[str | int, ...], value: object, words: str
) -> None:
    changed: Any = copy.deepcopy(report())
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    [said] = limits.shortfalls(changed)
    assert words in said


def test_only_the_largest_fleet_is_held_to_the_bound() -> None:
    changed = report()
    changed["fleets"][1]["bound_ratio"] = 1.8
    assert limits.shortfalls(changed) == []


def test_every_row_of_a_table_has_a_cell_for_each_heading() -> None:
    found = list(tables(report()))
    assert {"speed", "use", "rates", "history", "planner", "policies", "agreement"} == {
        each.name for each in found
    }
    for each in found:
        assert each.rows
        assert all(len(row) == len(each.headings) for row in each.rows)
