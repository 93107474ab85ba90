"""How long the states wait: for a turn, for a stop, for snapshots, for a start."""

from itertools import pairwise

import pytest

from tests.template.evaluation import CONTEXT, STATES, ago, value

CAPTURE = STATES["CaptureMembers"]["ItemProcessor"]["States"]
TURN = STATES["WaitForTurn"]["Seconds"]


def turn(**given: object) -> object:
    """Return how long an execution with this in its input waits for its turn."""
    planned = {**CONTEXT["Execution"]["Input"], **given}
    return value(TURN, context={**CONTEXT, "Execution": {**CONTEXT["Execution"], "Input": planned}})


@pytest.mark.parametrize(("seconds", "most"), [(30, 30), (900, 900), (86400, 3600)])
def test_an_execution_waits_for_its_turn_and_never_for_longer_than_an_hour(
    seconds: int, most: int
) -> None:
    waited = turn(begins_at=ago(seconds=-seconds))
    assert isinstance(waited, int)
    assert most - 2 <= waited <= most


@pytest.mark.parametrize("seconds", [0, 60, 86400])
def test_a_turn_that_has_come_is_not_waited_for(seconds: int) -> None:
    assert turn(begins_at=ago(seconds=seconds)) == 0


def test_an_execution_that_an_earlier_planner_started_has_no_turn() -> None:
    assert "begins_at" not in CONTEXT["Execution"]["Input"]
    assert value(TURN) == 0


@pytest.mark.parametrize(
    ("elapsed", "seconds"),
    [(0, 15), (4, 15), (16, 6), (24, 6), (32, 8), (48, 12), (200, 12), (301, 15), (1100, 15)],
)
def test_a_stop_is_looked_at_late_at_first_and_then_ever_less_often(
    elapsed: int, seconds: int
) -> None:
    assert (
        value(STATES["WaitForStop"]["Seconds"], {"quiesce_from": ago(seconds=elapsed)}) == seconds
    )


def test_the_looks_at_a_stop_of_a_minute_are_few_and_the_last_is_not_late() -> None:
    """The downtime that looking late adds is at most a quarter of what the stop itself takes."""
    looks, at = [], 0
    while at < 60:
        at += value(STATES["WaitForStop"]["Seconds"], {"quiesce_from": ago(seconds=at)})
        looks.append(at)
    assert len(looks) <= 8
    assert all(later - earlier <= max(6, earlier / 4) + 1 for earlier, later in pairwise(looks))


@pytest.mark.parametrize(
    ("looks", "volumes", "seconds"),
    [(0, 1, 1), (0, 3, 2), (0, 6, 4), (0, 128, 8), (1, 6, 2), (10, 1, 3), (20, 1, 15)],
)
def test_snapshots_are_looked_for_when_there_can_be_one_of_every_volume(
    looks: int, volumes: int, seconds: int
) -> None:
    given = {"looks": looks, "volumes": [f"vol-{n}" for n in range(volumes)]}
    assert value(CAPTURE["WaitForSnapshots"]["Seconds"], given) == seconds


@pytest.mark.parametrize(
    ("rounds", "elapsed", "seconds"),
    [(1, 0, 20), (1, 20, 10), (1, 59, 10), (1, 61, 15), (2, 0, 15)],
)
def test_a_start_is_looked_at_when_it_can_be_over(rounds: int, elapsed: int, seconds: int) -> None:
    given = {"start_rounds": rounds, "round_from": ago(seconds=elapsed)}
    assert value(STATES["WaitForStart"]["Seconds"], given) == seconds
