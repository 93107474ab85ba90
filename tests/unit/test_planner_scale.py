"""The planner's time and memory in front of a large fleet, in bounds that leave room for chance."""

import pytest

from benchmarks import planner
from benchmarks.planner import PlannerFigures, Ticks
from benchmarks.planner_fleet import Fleet, Scene, Schedules
from stillpoint.aws.plan_backups import MOST_WRITES
from stillpoint.plan_events import MOST_IN_ONE

MANY = 2000
ROOM_MB = 40
"""A page with all that EC2 says, and 2,000 instances of which little is kept."""


@pytest.fixture(scope="module")
def one() -> Ticks:
    return planner.ticks(Fleet(1, Schedules.ONE, Scene.IDLE), warm=1)


@pytest.fixture(scope="module")
def many() -> Ticks:
    return planner.ticks(Fleet(MANY, Schedules.ZONES, Scene.IDLE), warm=1)


def test_a_large_fleet_costs_little_time_for_each_instance(many: Ticks) -> None:
    assert many.warm < MANY * 0.001  # a second for a thousand; it takes less than half of that
    assert many.cold < MANY * 0.001 + 2


def test_a_large_fleet_is_never_in_memory_with_all_that_ec2_says(one: Ticks, many: Ticks) -> None:
    assert many.peak_mb < one.peak_mb + ROOM_MB


def test_a_usual_tick_writes_nothing_logs_little_and_answers_little(many: Ticks) -> None:
    assert many.calls == {"DescribeInstances": MANY // 500}
    assert many.logged < 5000
    assert many.answered < 120_000


def test_a_fleet_that_is_new_is_enrolled_within_the_writes_of_a_few_ticks() -> None:
    found = planner.ticks(Fleet(MANY, Schedules.MANY, Scene.NEW), warm=1)
    assert found.calls["CreateTags"] == MOST_WRITES


def test_a_fleet_without_a_valid_policy_is_told_of_in_few_messages() -> None:
    found = planner.ticks(Fleet(MANY, Schedules.ONE, Scene.INVALID), warm=1)
    assert found.calls["Publish"] == MANY / MOST_IN_ONE


def test_the_slope_compares_an_instance_of_the_two_largest_fleets() -> None:
    figures = [
        PlannerFigures(size, usual, usual, usual, 1.0, 1.0, 1.0, 1)
        for size, usual in ((10, 90.0), (1000, 500.0), (100, 40.0))
    ]
    assert planner.slope(figures) == pytest.approx(0.5 / 0.4)
