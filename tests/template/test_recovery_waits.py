"""How long the recovery waits, against how long the functions may run."""

from datetime import timedelta
from typing import Any

from stillpoint.aws.recover_instances import TIME
from stillpoint.recovery import FUNCTIONS_END
from tests.template.asl import all_states
from tests.template.cloudformation import Stack

TO_FINISH = timedelta(seconds=25)
"""What one step of the recovery may still need when it begins at the last moment."""


def timeout_of(stack: Stack, logical_id: str) -> timedelta:
    return timedelta(seconds=stack.properties(logical_id)["Timeout"])


def called_functions(definition: dict[str, Any]) -> set[str]:
    """Return the logical ids of the functions that an execution calls."""
    return {
        state["Arguments"]["FunctionName"].strip("${}").removesuffix("Arn")
        for state in all_states(definition).values()
        if state.get("Resource", "").endswith(":lambda:invoke")
    }


def test_no_function_that_an_execution_called_runs_any_more_when_its_instances_are_put_back(
    any_stack: Stack, definition: dict[str, Any]
) -> None:
    called = called_functions(definition)
    assert {"IsolateInstancesFunction", "RejoinInstancesFunction"} <= called
    for logical_id in called:
        assert timeout_of(any_stack, logical_id) < FUNCTIONS_END, logical_id


def test_the_recovery_begins_nothing_that_its_timeout_would_cut_off(any_stack: Stack) -> None:
    assert timeout_of(any_stack, "RecoverInstancesFunction") >= TIME + TO_FINISH
