"""A sample of the fault matrix: a fault at every point, and what has to hold after it."""

import json
import math
import re
from collections.abc import Sequence

import pytest

from sandbox.faults import command, matrix, report, strikes, walks
from sandbox.faults.case import Case
from sandbox.faults.result import Result
from sandbox.faults.workers import Worker, play_all
from sandbox.process import ROOT
from sandbox.virtual.mischief import CALL_FAULTS, FUNCTION_FAULTS, STATE_FAULTS, Fault, Kind

WALKS = 6


@pytest.fixture(scope="module")
def bases() -> list[Result]:
    return list(play_all(matrix.base_cases()))


@pytest.fixture(scope="module")
def cases(bases: list[Result]) -> list[Case]:
    return command.all_cases(bases, 1)


def broken(results: Sequence[Result]) -> dict[str, tuple[str, ...]]:
    return {each.case.name: each.violations for each in results if not each.held}


def test_every_way_through_the_cycle_ends_well(bases: list[Result]) -> None:
    assert broken(bases) == {}


@pytest.mark.parametrize("name", ["clean", "service", "freezes"])
def test_the_straight_way_succeeds_at_once(bases: list[Result], name: str) -> None:
    [clean] = [each for each in bases if each.case.point == name]
    assert clean.verdict == "unharmed"
    assert clean.told == ("BackupSucceeded",)


def test_what_is_claimed_is_what_was_proven(bases: list[Result]) -> None:
    outcomes = {each.case.point: each.outcome for each in bases}
    for name, level in {
        "service": {"web": "file-system", "api": "file-system", "app": "application"},
        # The applications of one went on before it was captured, whatever its freeze.
        "freezes": {"lone": "application", "hasty": "file-system", "win": "application"},
    }.items():
        for instance, claimed in level.items():
            assert f"{instance} {claimed}/{claimed}" in outcomes[name]


@pytest.mark.timeout(900)  # a hundred runs, on a machine that may be busy
def test_whatever_goes_wrong_at_any_point_everything_comes_right(cases: list[Case]) -> None:
    assert broken(list(play_all(matrix.sample(cases)))) == {}


@pytest.mark.timeout(600)
def test_several_faults_at_once_do_no_more_harm(cases: list[Case]) -> None:
    assert broken(list(play_all(walks.walks(cases, 1, WALKS)))) == {}


def test_the_matrix_is_complete(bases: list[Result], cases: list[Case]) -> None:
    pairs = {(fault.caller, fault.action, fault.kind) for case in cases for fault in case.faults}
    for base in bases:
        states = {name for name, _ in base.states}
        for name in states:
            assert {(name, "", kind) for kind in STATE_FAULTS} <= pairs
        for caller, action, _ in base.calls:
            kinds = CALL_FAULTS if caller in states else (*CALL_FAULTS, *FUNCTION_FAULTS)
            assert {(caller, action, kind) for kind in kinds} <= pairs
    assert len(cases) >= 1500
    assert len({case.name for case in cases}) == len(cases)


def test_the_sample_has_points_once_and_those_around_sparsely(cases: list[Case]) -> None:
    chosen = [case.point for case in matrix.sample(cases)]
    points = {case.point: case.fleet for case in cases}
    alone = {point for point, fleet in points.items() if fleet in {"stops", "methods", "paced"}}
    around = points.keys() - alone
    assert len(set(chosen)) == len(chosen)
    assert alone <= set(chosen)
    assert len(around.intersection(chosen)) == math.ceil(len(around) / matrix.SPARSE)


def test_the_sample_strikes_who_waits_for_a_turn(cases: list[Case]) -> None:
    chosen = {case.point for case in matrix.sample(cases)}
    assert {f"paced+{point}" for point in strikes.PACES} <= chosen
    assert {"paced", "WaitForTurn", "owner-at-WaitForTurn"} <= chosen


def test_the_points_of_the_state_machine_are_all_met(bases: list[Result]) -> None:
    definition = json.loads((ROOT / "statemachine" / "backup.asl.json").read_text())
    met = {name for base in bases for name, _ in base.states}
    assert states_of(definition) - met == set()


def states_of(machine: dict[str, object]) -> set[str]:
    found: set[str] = set()
    states = machine["States"]
    assert isinstance(states, dict)
    for name, state in states.items():
        found.add(name)
        if "ItemProcessor" in state:
            found |= states_of(state["ItemProcessor"])
    return found


def test_a_case_repeats_itself_exactly() -> None:
    fault = Fault(Kind.STOPPED, "WaitForSnapshots", after=600)
    case = Case("WaitForSnapshots", "stop-execution", (fault,), (fault,), seed=7)
    first, second = play_all([case, case], history=True)
    assert first.history == second.history
    assert len(first.history) > 100


def test_a_fault_that_is_meant_for_one_backup_strikes_no_other() -> None:
    fault = Fault(Kind.STOPPED, "WaitForSnapshots", after=600, subject="ha-2")
    case = Case("paced", "one-stopped", (fault,), (fault,), fleet="paced")
    [result] = play_all([case], history=True)
    assert result.held
    [struck] = [line for line in result.history if "stop-execution as" in line]
    [ended] = [line for line in result.history if ": ABORTED" in line]
    [subject] = {name for line in result.history for name in re.findall(r"ha-2 \((i-\w+)\)", line)}
    assert subject in struck
    assert subject in ended


def test_a_fault_that_never_strikes_proves_nothing() -> None:
    fault = Fault(Kind.THROTTLED_ONCE, "prepare_backup", "NoSuchCall")
    [result] = play_all([Case("nowhere", "throttled-once", (fault,), (fault,))])
    assert result.violations == ("the fault throttled-once at prepare_backup never struck",)


class Impatient:
    """What a person does who does not wait for an answer."""

    def readline(self) -> str:
        raise KeyboardInterrupt


def test_an_answer_that_nobody_waited_for_is_not_taken_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = (Case("clean", name, ()) for name in ("first", "second"))
    worker = Worker()
    with monkeypatch.context() as patched:
        patched.setattr(worker._process, "stdout", Impatient())
        with pytest.raises(KeyboardInterrupt):
            worker.play(first, history=False)
    assert worker.play(second, history=False).case == second
    worker.close()


def test_a_recovery_that_may_not_start_anything_goes_on_until_it_may() -> None:
    cut = Fault(Kind.STOPPED, "DescribeSnapshots", after=600)
    deaf = Fault(Kind.ACCESS_DENIED, "recover_instances", "StartInstances", after=600)
    [result] = play_all([Case("test", "test", (cut, deaf))], history=True)
    # It comes back, though not before the owner has given back the permission.
    assert any("UnauthorizedOperation" in line for line in result.history)
    assert result.held
    assert "InstanceStranded" in result.told


def test_a_case_survives_the_way_to_its_worker(cases: list[Case]) -> None:
    for case in cases:
        assert Case.from_json(json.loads(json.dumps(case.to_json()))) == case


def test_the_report_counts_and_names_what_did_not_hold() -> None:
    good = Result(Case("a", "b", ()), "unharmed", "succeeded", (), (), (), (), (), 86_400.0, 1.0)
    bad = Result.broken(Case("c", "d", (), seed=3), "for the test")
    document = report.summary([good, bad], 2.0)
    assert (document["runs"], document["held"]) == (2, 1)
    assert document["violations"][0]["case"] == "c:d"
    assert document["violations"][0]["replay"].endswith("--only 'c:d' --seed 3")
    lines = "\n".join(report.table([good, bad]))
    assert "VIOLATED  d" in lines
    assert "unharmed  b" in lines


def test_walks_repeat_themselves(cases: list[Case]) -> None:
    again = list(walks.walks(cases, 5, 2))
    assert again == list(walks.walks(cases, 5, 2))
    assert [walk.seed for walk in again] == [5, 6]
    assert all(2 <= len(walk.faults) <= walks.MOST for walk in again)
