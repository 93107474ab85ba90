"""The cloud in virtual time and the deployed sandbox come to the same end by the same way."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sandbox import run, scenario
from sandbox.faults.workers import Worker
from sandbox.outcomes import CopyOutcome, Outcome
from sandbox.session import Message
from tests.sandbox.conftest import SEED

# Simulated: at twenty times the speed, a second and a half of a busy machine.
TOLERANCE = 30.0
BOTH = ("fleet", "hung-guest", "lost-response")
VIRTUAL_ONLY = (
    *("copy-failed", "isolation"),
    *("agent-offline", "freeze-fails", "script-fails", "standby-refused"),
    *("access-denied", "image-failed", "no-capacity", "no-kms-grant", "server-error"),
    *("snapshot-never-initiated", "throttle"),
)


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    started = Worker()
    yield started
    started.close()


def outcomes_of(answer: dict[str, Any]) -> dict[str, Outcome]:
    return {row["name"]: outcome_of(row) for row in answer["outcomes"]}


def outcome_of(row: dict[str, Any]) -> Outcome:
    copies = tuple(CopyOutcome(**copy) for copy in row["copies"])
    return Outcome(**{**row, "copies": copies})


def messages_of(answer: dict[str, Any]) -> list[Message]:
    return [Message("", "", {"event": each, "severity": "any"}, {}) for each in answer["events"]]


@pytest.mark.parametrize("name", [*BOTH, *VIRTUAL_ONLY])
def test_a_scenario_ends_as_its_file_expects(worker: Worker, name: str) -> None:
    answer = worker.play_scenario(name, SEED)
    outcomes = list(outcomes_of(answer).values())
    assert run.judge(scenario.load(name), outcomes, messages_of(answer)) == []


@pytest.mark.deployed
@pytest.mark.parametrize("name", BOTH)
def test_both_clouds_agree(
    worker: Worker, played: Callable[[str], run.Report], session: object, name: str
) -> None:
    assert session
    deployed, answer = played(name), worker.play_scenario(name, SEED)
    virtual = outcomes_of(answer)
    for real in deployed.outcomes:
        other = virtual[real.name]
        assert (other.outcome, other.state_after) == (real.outcome, real.state_after)
        assert (other.consistency, other.images) == (real.consistency, real.images)
        assert (other.retain, other.kept, other.expired) == (real.retain, real.kept, real.expired)
        assert [copy.state for copy in other.copies] == [copy.state for copy in real.copies]
        assert (other.service, other.scripts) == (real.service, real.scripts)
        assert other.downtime_seconds == pytest.approx(real.downtime_seconds, abs=TOLERANCE)
        assert other.floor_seconds == pytest.approx(real.floor_seconds, abs=1.0)
    assert sorted(answer["events"]) == sorted(
        message.event for message in deployed.messages if message.severity
    )
