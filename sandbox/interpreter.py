"""One execution of a JSONata state machine, as AWS documents Standard workflows.

Replaces ministack's interpreter, which ends a stopped execution only at its outer states, waits
without regard to deadlines, keeps no account of transitions, and lets one Map iteration's
variables leak into another's.
"""

import json
import math
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final

from sandbox import expressions, rules
from sandbox.clock import iso
from sandbox.expressions import QueryEvaluationError
from sandbox.parallel import Parallel, on_threads
from sandbox.signals import Signal
from sandbox.surroundings import Time, Work
from sandbox.tasks import StateError

# Events that AWS adds when a task begins: scheduled, started.
EVENTS_BEFORE_TASK: Final = 2


class Interrupted(Exception):
    """The execution was stopped, or the Map around this iteration has failed."""


class ExecutionTimedOut(Exception):
    """The state machine's TimeoutSeconds have passed."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where one thread of an execution is.

    `since` is simulated epoch seconds, `item` a Map's item.
    """

    state: str
    since: float
    item: Any = None


@dataclass(slots=True)
class Frame:
    """A scope of states: the execution itself, or one iteration of a Map."""

    path: str
    context: dict[str, Any]
    variables: dict[str, Any]
    stopped: Signal = field(default_factory=Signal)
    spoiled: bool = False


class Execution:
    """Runs a definition from its first state to its end.

    It runs on the calling thread, and its Map iterations as `parallel` runs them.
    """

    def __init__(
        self,
        definition: dict[str, Any],
        context: dict[str, Any],
        *,
        clock: Time,
        tasks: Work,
        record: Callable[[str, dict[str, Any]], None],
        on_enter: Callable[[str], None],
        chance: random.Random,
        parallel: Parallel = on_threads,
        pace: Callable[[], float] = lambda: 0.0,
        history_limit: int = rules.HISTORY_LIMIT,
    ) -> None:
        """`record` takes history events, `on_enter` hears of every state before it runs.

        `pace` is called for every transition and returns the seconds that it has to wait.
        """
        self._definition = definition
        self._clock = clock
        self._tasks = tasks
        self._record = record
        self._on_enter = on_enter
        self._chance = chance
        self._parallel = parallel
        self._pace = pace
        self._history_limit = history_limit
        self._lock = threading.Lock()
        self._root = Frame("", context, {})
        self._frames = {"": self._root}
        limit = definition.get("TimeoutSeconds")
        self._deadline = math.inf if limit is None else clock.now() + float(limit)
        self._timed_out = False
        self.events = 1
        self._entering: Frame | None = None
        self.transitions = 0
        self.positions: dict[str, Position] = {}

    def run(self, execution_input: Any) -> Any:
        """Return the output. Raises StateError, Interrupted or ExecutionTimedOut."""
        try:
            return self._run_states(self._root, self._definition, execution_input)
        except Interrupted:
            if self._timed_out:  # an iteration noticed it, and this is one of its neighbours
                raise ExecutionTimedOut from None
            raise

    def stop(self) -> None:
        """End at the next state boundary, and end every wait now."""
        self._stop_below("")

    def expire(self) -> None:
        """Let TimeoutSeconds be over now: the next state to begin finds that out."""
        self._deadline = self._clock.now()

    def spoil(self) -> None:
        """Let the expressions of the state that is being entered fail, whatever they are.

        An evaluation has limits of time and memory that no definition can be sure of (Step
        Functions Developer Guide, "Transforming data with JSONata"). To be called by `on_enter`.
        """
        if self._entering is not None:
            self._entering.spoiled = True

    # -- states ---------------------------------------------------------------

    def _run_states(self, frame: Frame, machine: dict[str, Any], value: Any) -> Any:
        states, name = machine["States"], machine["StartAt"]
        while name is not None:
            state = states[name]
            self._enter(frame, name, state, value)
            try:
                value, following = self._run_state(frame, state, value)
            except QueryEvaluationError as error:
                raise StateError("States.QueryEvaluationError", str(error)) from error
            self._event(
                f"{state['Type']}StateExited",
                {"name": name, "output": value},
                "stateExitedEventDetails",
            )
            name = following
        self.positions.pop(frame.path, None)
        return value

    def _run_state(self, frame: Frame, state: dict[str, Any], value: Any) -> tuple[Any, str | None]:
        match state["Type"]:
            case "Pass":
                return self._leave(
                    frame, state, value, value, {"result": self._output(frame, state, value, value)}
                )
            case "Succeed":
                return self._output(frame, state, value, value), None
            case "Fail":
                raise StateError(
                    self._render(frame, state.get("Error", "States.Fail"), value),
                    self._render(frame, state.get("Cause", ""), value),
                )
            case "Choice":
                return self._choose(frame, state, value)
            case "Wait":
                self._wait(frame, state, value)
                return self._leave(frame, state, value, value, {})
            case "Task":
                return self._with_retry(
                    frame, state, value, lambda: self._run_task(frame, state, value)
                )
            case "Map":
                return self._with_retry(
                    frame, state, value, lambda: self._run_map(frame, state, value)
                )
            case unknown:
                raise StateError("States.Runtime", f"the sandbox knows no state of type {unknown}")

    def _choose(self, frame: Frame, state: dict[str, Any], value: Any) -> tuple[Any, str | None]:
        for choice in state["Choices"]:
            condition = self._render(frame, choice["Condition"], value)
            if not isinstance(condition, bool):
                raise QueryEvaluationError(f"a condition must be true or false, not {condition!r}")
            if condition:
                return self._leave(frame, choice, value, value, {})
        if "Default" not in state:
            raise StateError(
                "States.NoChoiceMatched", "no condition is true and there is no Default"
            )
        output, _ = self._leave(frame, state, value, value, {})
        return output, state["Default"]

    def _wait(self, frame: Frame, state: dict[str, Any], value: Any) -> None:
        if "Seconds" in state:
            seconds = self._render(frame, state["Seconds"], value)
            if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds < 0:
                raise QueryEvaluationError(
                    f"Seconds must be a whole number of seconds, not {seconds!r}"
                )
        else:
            timestamp = self._render(frame, state["Timestamp"], value)
            seconds = datetime.fromisoformat(timestamp).timestamp() - self._clock.now()
        self._sleep(frame, seconds)

    def _run_task(self, frame: Frame, state: dict[str, Any], value: Any) -> tuple[Any, str | None]:
        arguments = (
            self._render(frame, state["Arguments"], value) if "Arguments" in state else value
        )
        timeout = self._render(frame, state.get("TimeoutSeconds"), value)
        self._count_events(EVENTS_BEFORE_TASK)
        result = expressions.plain(
            self._tasks.run(state["Resource"], rules.within_limit(arguments), timeout)
        )
        self._count_events(1)
        return self._leave(frame, state, value, rules.within_limit(result), {"result": result})

    # -- Map ------------------------------------------------------------------

    def _run_map(self, frame: Frame, state: dict[str, Any], value: Any) -> tuple[Any, str | None]:
        items = self._render(frame, state["Items"], value) if "Items" in state else value
        if not isinstance(items, list):
            raise QueryEvaluationError(f"Items must be an array, not {items!r}")
        concurrency = (
            self._render(frame, state.get("MaxConcurrency", 0), value) or rules.INLINE_MAP_LIMIT
        )
        prefix = f"{frame.path}/{frame.context['State']['Name']}"
        self._event("MapStateStarted", {"length": len(items)}, "mapStateStartedEventDetails")
        if not items:
            return self._leave(frame, state, value, [], {"result": []})
        results = self._parallel(
            [
                partial(self._iterate, frame, state, value, f"{prefix}[{index}]", index, item)
                for index, item in enumerate(items)
            ],
            min(concurrency, rules.INLINE_MAP_LIMIT, len(items)),
            # "All iterations stop when the Map state fails" (Developer Guide, "Map state").
            lambda: self._stop_below(prefix),
        )
        return self._leave(frame, state, value, results, {"result": results})

    def _iterate(
        self, outer: Frame, state: dict[str, Any], value: Any, path: str, index: int, item: Any
    ) -> Any:
        frame = Frame(
            path,
            {**outer.context, "Map": {"Item": {"Index": index, "Value": item}}},
            dict(outer.variables),
        )
        with self._lock:
            self._frames[path] = frame
            if outer.stopped.is_set():
                frame.stopped.set()
        try:
            selector = state.get("ItemSelector")
            start = item if selector is None else self._render(frame, selector, value)
            self._event("MapIterationStarted", {"index": index}, "mapIterationStartedEventDetails")
            output = self._run_states(frame, state["ItemProcessor"], start)
            self._event(
                "MapIterationSucceeded", {"index": index}, "mapIterationSucceededEventDetails"
            )
            return output
        finally:
            self.positions.pop(path, None)
            with self._lock:
                del self._frames[path]

    # -- errors ---------------------------------------------------------------

    def _with_retry(
        self,
        frame: Frame,
        state: dict[str, Any],
        value: Any,
        attempt: Callable[[], tuple[Any, str | None]],
    ) -> tuple[Any, str | None]:
        retriers, used = (
            state.get("Retry", []),
            dict.fromkeys(range(len(state.get("Retry", []))), 0),
        )
        entered = frame.context["State"]
        while True:
            frame.context["State"] = {**entered, "RetryCount": sum(used.values())}
            try:
                return attempt()
            except QueryEvaluationError as error:
                failure = StateError("States.QueryEvaluationError", str(error))
            except StateError as error:
                failure = error
            self._event(
                f"{state['Type']}Failed",
                {"error": failure.error, "cause": failure.cause},
                f"{state['Type'].lower()}FailedEventDetails",
            )
            number = next(
                (n for n, each in enumerate(retriers) if rules.matches(each, failure)), None
            )
            if number is None or used[number] >= retriers[number].get("MaxAttempts", 3):
                return self._catch(frame, state, value, failure)
            self._sleep(frame, rules.retry_delay(retriers[number], used[number], self._chance))
            used[number] += 1
            self._make_transition(frame)  # retries count, too (Step Functions pricing)

    def _catch(
        self, frame: Frame, state: dict[str, Any], value: Any, failure: StateError
    ) -> tuple[Any, str | None]:
        frame.spoiled = False  # what is caught has been evaluated in vain, and is over
        for catcher in state.get("Catch", []):
            if rules.matches(catcher, failure):
                error = {"Error": failure.error, "Cause": failure.cause}
                return self._leave(frame, catcher, value, error, {"errorOutput": error})
        raise failure

    # -- data -----------------------------------------------------------------

    def _render(self, frame: Frame, template: Any, value: Any, **more: Any) -> Any:
        if frame.spoiled:
            raise QueryEvaluationError("the evaluation has exceeded its limits")
        states = {"input": value, "context": frame.context, **more}
        return expressions.render(template, frame.variables, states)

    def _output(
        self, frame: Frame, holder: dict[str, Any], value: Any, default: Any, **more: Any
    ) -> Any:
        return (
            self._render(frame, holder["Output"], value, **more) if "Output" in holder else default
        )

    def _leave(
        self, frame: Frame, holder: dict[str, Any], value: Any, default: Any, more: dict[str, Any]
    ) -> tuple[Any, str | None]:
        """Return output and next state of a state, choice or catcher.

        Assign sees the variables as they were on entry.
        """
        output = rules.within_limit(self._output(frame, holder, value, default, **more))
        assigned = self._render(frame, holder.get("Assign", {}), value, **more)
        frame.variables.update(rules.within_limit(assigned))
        return output, holder.get("Next")

    # -- the course of things -------------------------------------------------

    def _enter(self, frame: Frame, name: str, state: dict[str, Any], value: Any) -> None:
        now = self._clock.now()
        item = frame.context.get("Map", {}).get("Item", {}).get("Value")
        self.positions[frame.path] = Position(name, now, item)
        frame.spoiled, self._entering = False, frame
        self._on_enter(name)
        self._check(frame)
        self._make_transition(frame)
        now = self._clock.now()
        frame.context["State"] = {"Name": name, "EnteredTime": iso(now), "RetryCount": 0}
        details = {"name": name, "input": value}
        self._event(f"{state['Type']}StateEntered", details, "stateEnteredEventDetails")

    def _make_transition(self, frame: Frame) -> None:
        self.transitions += 1
        if (delay := self._pace()) > 0:
            self._sleep(frame, delay)

    def _check(self, frame: Frame) -> None:
        if frame.stopped.is_set():
            raise Interrupted
        if self._clock.now() >= self._deadline:
            self._timed_out = True
            self.stop()
            raise ExecutionTimedOut

    def _sleep(self, frame: Frame, seconds: float) -> None:
        self._clock.sleep(min(seconds, self._deadline - self._clock.now()), frame.stopped)
        self._check(frame)

    def _stop_below(self, prefix: str) -> None:
        with self._lock:
            for path, frame in self._frames.items():
                if path.startswith(prefix):
                    frame.stopped.set()

    def _event(self, kind: str, details: dict[str, Any], key: str) -> None:
        self._count_events(1)
        texts = {"input", "output"}
        self._record(
            kind,
            {
                key: {
                    name: json.dumps(each) if name in texts else each
                    for name, each in details.items()
                }
            },
        )

    def _count_events(self, number: int) -> None:
        with self._lock:
            self.events += number
            if self.events > self._history_limit:
                text = f"the execution has reached {self._history_limit} history events"
                raise StateError("States.Runtime", text)
