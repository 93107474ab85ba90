"""How long the states wait: for a turn, for a stop, for snapshots, for a start."""

from itertools import pairwise

import pytest

from tests.template.evaluation import CONTEXT, STATES, ago, chosen, member, value

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
    ("rounds", "elapsed", "rejoins", "throttled", "seconds"),
    [
        (1, 0, False, 0, 20),
        (1, 0, True, 0, 8),
        (1, 20, False, 0, 10),
        (1, 59, True, 0, 10),
        (1, 61, False, 0, 15),
        (2, 0, False, 0, 15),
        (1, 0, False, 1, 4),
        (19, 0, True, 2, 4),
        (20, 0, False, 1, 15),
    ],
)
def test_a_start_is_looked_at_when_it_can_be_over(
    rounds: int, elapsed: int, rejoins: bool, throttled: int, seconds: int
) -> None:
    given = {
        "start_rounds": rounds,
        "round_from": ago(seconds=elapsed),
        "rejoins_due": rejoins,
        "throttled": [f"i-{n}" for n in range(throttled)],
    }
    assert value(STATES["WaitForStart"]["Seconds"], given) == seconds


THROTTLED = "Request limit exceeded. (Service: Ec2, Status Code: 503, Request ID: 0a1b)"


@pytest.mark.parametrize(
    ("cause", "is_throttled"),
    [(THROTTLED, True), ("RequestLimitExceeded", True), ("Throttling: Rate exceeded", True)]
    + [(text, False) for text in ("Insufficient capacity. (Service: Ec2)", "Limit of 32 vCPU", "")],
)
def test_a_start_that_ec2_had_no_room_for_is_told_apart(cause: str, is_throttled: bool) -> None:
    assign = STATES["StartMembers"]["Assign"]["throttled"]
    outcomes = [
        {"instance_id": "i-1", "requested_at": ago()},
        {"instance_id": "i-2", "error": "Ec2.Ec2Exception", "cause": cause},
    ]
    assert value(assign, result=outcomes) == (["i-2"] if is_throttled else [])
    assert value(assign, result=[]) == []


@pytest.mark.parametrize(
    ("down", "throttled", "rounds", "leads_to"),
    [
        (["i-1"], ["i-1"], 1, "StartDeadline?"),
        (["i-1", "i-2"], ["i-1", "i-2"], 19, "StartDeadline?"),
        (["i-1", "i-2"], ["i-1"], 1, "AlertStranded"),
        (["i-1"], ["i-1"], 20, "AlertStranded"),
        (["i-1"], [], 1, "AlertStranded"),
        ([], ["i-1"], 1, "StartDeadline?"),
    ],
)
def test_what_waits_for_its_turn_to_start_is_asked_for_again_and_nobody_is_woken(
    down: list[str], throttled: list[str], rounds: int, leads_to: str
) -> None:
    given = {
        "members": [member("i-1"), member("i-2")],
        "running_at": {},
        "gone": [],
        "alerted": [],
        "alerted_at": "",
        "down": down,
        "throttled": throttled,
        "start_rounds": rounds,
        "round_from": ago(seconds=700),
        "rejoins_due": False,
    }
    assert chosen("AllRunning?", given) == leads_to


@pytest.mark.parametrize(
    ("throttled", "rounds", "seconds"),
    [(1, 1, 2), (2, 19, 2), (1, 20, 300), (0, 1, 15), (0, 3, 60), (0, 9, 300)],
)
def test_the_next_round_comes_soon_only_for_what_ec2_had_no_start_left(
    throttled: int, rounds: int, seconds: int
) -> None:
    given = {"throttled": [f"i-{n}" for n in range(throttled)], "start_rounds": rounds}
    assert value(STATES["WaitToStartAgain"]["Seconds"], given) == seconds
