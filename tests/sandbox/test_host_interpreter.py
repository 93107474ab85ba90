"""Standard workflows as AWS documents them."""

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from sandbox import rules
from sandbox.clock import Clock
from sandbox.interpreter import Execution, ExecutionTimedOut, Interrupted
from sandbox.tasks import StateError

type Json = Any
type Work = Callable[[Json], Json]

MAP_ITEM = {"Type": "Task", "Resource": "work", "End": True}


class FakeTasks:
    """Runs a function in the place of every task, and remembers the arguments."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.calls: list[Json] = []

    def run(self, _resource: str, arguments: Json, _timeout: float | None) -> Json:
        self.calls.append(arguments)
        return self._work(arguments)


class Run:
    """One execution under test, at 200 simulated seconds per second."""

    def __init__(
        self, definition: dict[str, Json], work: Work = lambda arguments: arguments
    ) -> None:
        self.tasks = FakeTasks(work)
        self.events: list[str] = []
        self.entered: list[str] = []
        self.clock = Clock.starting_now(scale=200)
        self.execution = Execution(
            {"QueryLanguage": "JSONata", **definition},
            {"Execution": {"Name": "one"}},
            clock=self.clock,
            tasks=self.tasks,
            record=lambda kind, _details: self.events.append(kind),
            on_enter=self.entered.append,
            chance=random.Random(1),
        )

    def __call__(self, execution_input: Json = None) -> Json:
        return self.execution.run(execution_input)


def machine(**states: dict[str, Json]) -> dict[str, Json]:
    return {"StartAt": next(iter(states)), "States": states}


def mapped(items: list[Json], item: dict[str, Json], **more: Json) -> dict[str, Json]:
    return {
        "Type": "Map",
        "Items": items,
        "ItemProcessor": {"StartAt": "Item", "States": {"Item": item}},
        "End": True,
        **more,
    }


def failing_first(times: int, error: str) -> Work:
    """Work that fails so many times before it succeeds."""
    left = iter(range(times))

    def work(arguments: Json) -> Json:
        if next(left, None) is not None:
            raise StateError(error, "for the test")
        return arguments

    return work


def test_states_pass_their_output_on() -> None:
    run = Run(
        machine(
            A={"Type": "Pass", "Output": {"n": "{% $states.input.n + 1 %}"}, "Next": "B"},
            B={"Type": "Task", "Resource": "work", "Next": "C"},
            C={"Type": "Succeed"},
        )
    )
    assert run({"n": 1}) == {"n": 2}
    assert run.entered == ["A", "B", "C"]
    assert run.execution.transitions == 3


def test_assign_sees_the_variables_as_they_were_on_entry() -> None:
    run = Run(
        machine(
            A={"Type": "Pass", "Assign": {"x": 1, "y": 2}, "Next": "B"},
            B={"Type": "Pass", "Assign": {"x": "{% $y %}", "y": "{% $x %}"}, "Next": "C"},
            C={"Type": "Pass", "Output": "{% [$x, $y] %}", "End": True},
        )
    )
    assert run() == [2, 1]


def test_variables_of_an_iteration_stay_in_it() -> None:
    def bump(number: Json) -> Json:
        time.sleep(0.01)
        return number

    item = {**MAP_ITEM, "Assign": {"mine": "{% $states.result %}"}, "Output": "{% $outer %}"}
    run = Run(
        machine(
            A={"Type": "Pass", "Assign": {"outer": 7}, "Next": "M"},
            M={**mapped([1, 2, 3], item), "Next": "B"},
            B={"Type": "Pass", "Output": "{% $exists($mine) %}", "End": True},
        ),
        bump,
    )
    assert run() is False


def test_a_choice_takes_the_first_true_condition_or_the_default() -> None:
    choice = {
        "Type": "Choice",
        "Choices": [
            {"Condition": "{% $states.input > 10 %}", "Next": "Big"},
            {"Condition": "{% $states.input > 5 %}", "Next": "Middle"},
        ],
        "Default": "Small",
    }
    ends = {
        name: {"Type": "Pass", "Output": name, "End": True} for name in ("Big", "Middle", "Small")
    }
    assert [Run(machine(C=choice, **ends))(number) for number in (11, 6, 1)] == [
        "Big",
        "Middle",
        "Small",
    ]


def test_a_choice_without_a_true_condition_fails() -> None:
    choice = {"Type": "Choice", "Choices": [{"Condition": "{% false %}", "Next": "C"}]}
    with pytest.raises(StateError, match=r"States\.NoChoiceMatched"):
        Run(machine(C=choice))()


def test_a_fail_state_ends_with_its_error_and_cause() -> None:
    with pytest.raises(StateError) as caught:
        Run(machine(F={"Type": "Fail", "Error": "Named", "Cause": "{% 'a' & 'b' %}"}))()
    assert (caught.value.error, caught.value.cause) == ("Named", "ab")


def test_a_wait_lasts_in_simulated_time() -> None:
    run = Run(machine(W={"Type": "Wait", "Seconds": "{% 20 + 20 %}", "End": True}))
    before = run.clock.now()
    run()
    assert 40 <= run.clock.now() - before < 2000


def test_a_retrier_tries_again_and_each_try_is_a_transition() -> None:
    retry = [{"ErrorEquals": ["Busy"], "MaxAttempts": 3, "IntervalSeconds": 1}]
    run = Run(machine(T={**MAP_ITEM, "Retry": retry}), failing_first(3, "Busy"))
    assert run("done") == "done"
    assert len(run.tasks.calls) == 4
    assert run.execution.transitions == 4


def test_a_retrier_that_is_used_up_leads_to_the_catcher() -> None:
    run = Run(
        machine(
            T={
                **MAP_ITEM,
                "Retry": [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 1}],
                "Catch": [
                    {
                        "ErrorEquals": ["States.ALL"],
                        "Assign": {"seen": "{% $states.errorOutput.Error %}"},
                        "Output": "{% $states.errorOutput.Cause %}",
                        "Next": "Undo",
                    }
                ],
            },
            Undo={"Type": "Pass", "Output": "{% [$seen, $states.input] %}", "End": True},
        ),
        failing_first(9, "Broken"),
    )
    assert run() == ["Broken", "for the test"]


def test_an_expression_that_fails_in_a_task_can_be_caught() -> None:
    run = Run(
        machine(
            T={
                **MAP_ITEM,
                "Output": "{% $states.result.missing %}",
                "Catch": [{"ErrorEquals": ["States.QueryEvaluationError"], "Next": "Undo"}],
            },
            Undo={"Type": "Succeed"},
        )
    )
    run({})
    assert run.entered == ["T", "Undo"]


@pytest.mark.parametrize(
    ("names", "error", "caught"),
    [
        (["States.ALL"], "Anything", True),
        (["States.ALL"], "States.Timeout", True),
        (["States.TaskFailed"], "Anything", True),
        (["States.TaskFailed"], "States.Timeout", False),
        (["States.ALL"], "States.DataLimitExceeded", False),
        (["States.DataLimitExceeded"], "States.DataLimitExceeded", True),
        (["States.ALL"], "States.Runtime", False),
        (["States.Runtime"], "States.Runtime", False),
        (["Other"], "Anything", False),
    ],
)
def test_what_an_error_name_catches(names: list[str], error: str, caught: bool) -> None:
    assert rules.matches({"ErrorEquals": names}, StateError(error, "")) is caught


def test_a_delay_grows_is_capped_and_can_be_jittered() -> None:
    retrier = {"IntervalSeconds": 2, "BackoffRate": 3, "MaxDelaySeconds": 100}
    chance = random.Random(1)
    assert [rules.retry_delay(retrier, used, chance) for used in range(5)] == [2, 6, 18, 54, 100]
    jittered = {**retrier, "JitterStrategy": "FULL"}
    assert all(0 <= rules.retry_delay(jittered, 4, chance) <= 100 for _ in range(50))


def test_a_map_returns_its_results_in_order_and_offers_the_item() -> None:
    item = {**MAP_ITEM, "Arguments": "{% $states.context.Map.Item.Index %}"}
    run = Run(machine(M=mapped(["a", "b", "c"], item)))
    assert run() == [0, 1, 2]
    assert run.execution.transitions == 4


def test_a_map_over_nothing_returns_nothing() -> None:
    assert Run(machine(M=mapped([], MAP_ITEM)))() == []


def test_a_map_of_one_at_a_time_keeps_the_order() -> None:
    running, most = 0, 0

    def work(arguments: Json) -> Json:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.01)
        running -= 1
        return arguments

    run = Run(machine(M=mapped([1, 2, 3], MAP_ITEM, MaxConcurrency=1)), work)
    assert run() == [1, 2, 3]
    assert most == 1


def test_an_iteration_that_fails_stops_its_neighbours() -> None:
    def work(number: Json) -> Json:
        if number == 1:
            raise StateError("Broken", "")
        return number

    states = {
        "Item": {"Type": "Task", "Resource": "work", "Next": "Long"},
        "Long": {"Type": "Wait", "Seconds": 100_000, "End": True},
    }
    state = {**mapped([1, 2, 3], {}), "ItemProcessor": {"StartAt": "Item", "States": states}}
    started = time.monotonic()
    with pytest.raises(StateError, match="Broken"):
        Run(machine(M=state), work)()
    assert time.monotonic() - started < 30


def test_a_stopped_execution_ends_in_all_its_iterations_and_waits() -> None:
    wait = {"Type": "Wait", "Seconds": 100_000, "End": True}
    run = Run(machine(M=mapped([1, 2, 3], wait)))
    threading.Timer(0.2, run.execution.stop).start()
    started = time.monotonic()
    with pytest.raises(Interrupted):
        run()
    assert time.monotonic() - started < 30


def test_the_execution_s_timeout_ends_a_wait() -> None:
    wait = {"Type": "Wait", "Seconds": 100_000, "End": True}
    with pytest.raises(ExecutionTimedOut):
        Run({**machine(W=wait), "TimeoutSeconds": 20})()


def test_a_timeout_that_an_iteration_notices_is_the_execution_s() -> None:
    poll = {
        "A": {"Type": "Wait", "Seconds": 1, "Next": "B"},
        "B": {"Type": "Wait", "Seconds": 1, "Next": "A"},
    }
    state = {**mapped([1, 2, 3, 4], {}), "ItemProcessor": {"StartAt": "A", "States": poll}}
    with pytest.raises(ExecutionTimedOut):
        Run({**machine(M=state), "TimeoutSeconds": 20})()


def test_positions_say_where_every_iteration_is() -> None:
    seen: dict[str, tuple[str, Json]] = {}

    def look(arguments: Json) -> Json:
        positions = dict(run.execution.positions)
        seen.update({path: (each.state, each.item) for path, each in positions.items()})
        return arguments

    run = Run(machine(M=mapped([{"id": "i-1"}], MAP_ITEM)), look)
    run()
    assert seen == {"": ("M", None), "/M[0]": ("Item", {"id": "i-1"})}
    assert run.execution.positions == {}


def test_a_payload_over_the_limit_fails_and_is_not_caught_by_all() -> None:
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Undo"}]
    run = Run(
        machine(T={**MAP_ITEM, "Catch": catch}, Undo={"Type": "Succeed"}),
        lambda _: "x" * (rules.PAYLOAD_LIMIT + 1),
    )
    with pytest.raises(StateError, match=r"States\.DataLimitExceeded"):
        run()


def test_an_execution_fails_at_the_limit_of_its_history() -> None:
    endless = machine(
        A={"Type": "Pass", "Next": "B"},
        B={"Type": "Pass", "Next": "A"},
    )
    with pytest.raises(StateError, match="25000 history events"):
        Run(endless)()
