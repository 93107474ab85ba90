"""The whole: the real template, built, deployed, ticking, and judged by the EC2 model."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from sandbox import demo, run
from sandbox.phases import PHASES
from sandbox.progress import deployed_phases
from sandbox.session import Session

pytestmark = pytest.mark.deployed

type Play = Callable[[str], run.Report]


@pytest.fixture
def report(played: Play) -> run.Report:
    return played(demo.FLEET)


def test_the_demo_s_fleet_is_backed_up_and_every_claim_is_true(report: run.Report) -> None:
    assert report.failures == []
    assert {each.outcome for each in report.outcomes} == {
        *("succeeded", "refused", "invalid", "held"),
    }


def test_downtime_is_short_where_nobody_waits_for_a_neighbour(report: run.Report) -> None:
    alone = {each.name: each for each in report.outcomes if each.name in {"web", "database"}}
    for outcome in alone.values():
        assert outcome.downtime_seconds is not None
        assert outcome.floor_seconds is not None
        # Twenty times as fast: half a second of this machine is ten of the instance's.
        assert outcome.downtime_seconds < outcome.floor_seconds + 30


def test_the_report_of_the_demo_says_what_happened(
    report: run.Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "REPORT", tmp_path / "demo" / "report.json")
    demo._write(report, 20.0)
    written = json.loads((tmp_path / "demo" / "report.json").read_text())
    assert written["time_scale"] == 20.0
    assert tuple(written["instances"][0]) == demo.REPORTED
    assert {each["event"] for each in written["messages"]} >= {"BackupSucceeded", "PolicyInvalid"}
    web = next(each for each in written["instances"] if each["name"] == "web")
    assert (web["retain"], web["kept"], web["expired"]) == ("7d 4w 12m 1y", 24, 3)
    assert web["service"] == "site healthy"
    wiki = next(each for each in written["instances"] if each["name"] == "wiki")
    assert wiki["method"] == "freeze"
    assert wiki["frozen"].endswith("ended by hold-over")
    (copy,) = web["copies"]
    assert (copy["region"], copy["state"], copy["lacks"]) == ("eu-west-1", "available", [])


def test_an_execution_that_is_over_is_not_started_again(
    session: Session, report: run.Report
) -> None:
    assert report.outcomes
    states = session.aws.client("stepfunctions")
    arn, execution = next(iter(session.control.executions().items()))
    with pytest.raises(ClientError, match="ExecutionAlreadyExists"):
        states.start_execution(
            stateMachineArn=session.resources["BackupStateMachine"],
            name=execution["name"],
            input=states.describe_execution(executionArn=arn)["input"],
        )


def test_every_state_of_the_deployed_machine_belongs_to_a_phase(session: Session) -> None:
    phases = deployed_phases(session)
    assert set(phases.values()) == set(PHASES)


def test_functions_cost_what_they_cost_and_fail_only_where_they_must(
    session: Session, report: run.Report
) -> None:
    assert report.outcomes
    lambdas = session.control.lambdas()
    pruning = session.resources["PruneRecoveryPointsFunction"]
    assert "TooManyDeletions" in lambdas[pruning]["last_error"]
    assert [name for name, each in lambdas.items() if each["errors"]] == [pruning]
    assert all(each["billed_ms"] > 0 for each in lambdas.values())


@pytest.mark.parametrize("name", ["lost-response", "hung-guest"])
def test_a_fault_has_the_end_that_its_scenario_expects(
    played: Play, report: run.Report, name: str
) -> None:
    assert report.outcomes
    assert played(name).failures == []
