"""A state whose expressions fail: caught where a Catch can be, else the end of the execution."""

from typing import Any

import pytest

from sandbox.tasks import StateError
from tests.sandbox.test_host_interpreter import Run, machine

CAUGHT = {"ErrorEquals": ["States.ALL"], "Output": "{% $states.errorOutput.Error %}", "Next": "C"}


def spoiled_at(name: str, states: dict[str, Any]) -> Run:
    run = Run(machine(**states))

    def entered(state: str) -> None:
        run.entered.append(state)
        if state == name:
            run.execution.spoil()

    run.execution._on_enter = entered
    return run


def test_a_task_that_cannot_be_evaluated_is_caught_and_never_called() -> None:
    task = {"Type": "Task", "Resource": "work", "Catch": [CAUGHT], "Next": "B"}
    states = {"A": task, "B": {"Type": "Fail"}, "C": {"Type": "Succeed"}}
    run = spoiled_at("A", states)
    assert run(1) == "States.QueryEvaluationError"
    assert run.tasks.calls == []


def test_a_choice_that_cannot_be_evaluated_ends_the_execution() -> None:
    choice = {"Type": "Choice", "Choices": [{"Condition": "{% true %}", "Next": "B"}]}
    run = spoiled_at("A", {"A": choice, "B": {"Type": "Succeed"}})
    with pytest.raises(StateError, match=r"States\.QueryEvaluationError"):
        run(1)


def test_only_the_state_that_is_being_entered_is_spoiled() -> None:
    task = {"Type": "Task", "Resource": "work", "Catch": [CAUGHT], "Next": "B"}
    states = {"A": {"Type": "Pass", "Next": "T"}, "T": task, "B": {"Type": "Succeed"}}
    run = spoiled_at("nowhere", {**states, "C": {"Type": "Fail"}})
    run.execution.spoil()  # before anything is entered
    assert run(1) == 1
