"""Lambda in this process: the real handlers, each with its environment, role and timeout."""

import importlib
import json
import os
import uuid
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final

from sandbox.template import ROOT
from sandbox.virtual import quotas
from sandbox.virtual.front_door import Caller, Killed
from sandbox.virtual.journal import Journal
from sandbox.virtual.meter import Invoked, Meter, Principal
from sandbox.virtual.quotas import Quotas
from sandbox.virtual.scheduler import Scheduler
from sandbox.virtual.stack import ACCOUNT, Stack

type Handler = Callable[[Any, Any], Any]

COLD_START: Final = 0.8  # seconds of virtual time before a handler begins
# Lambda Developer Guide, "Asynchronous invocation": the pauses after an error of the function, the
# first and the longest after throttling, and how old an event becomes.
ASYNC_DELAYS: Final = (60.0, 120.0)
THROTTLED_DELAYS: Final = (1.0, 300.0)
EVENT_AGE: Final = 6 * 3600.0
THROTTLED: Final = "TooManyRequestsException"
PLANNER: Final = "plan_backups"

_running: ContextVar["Invocation | None"] = ContextVar("invocation", default=None)


def running() -> "Invocation | None":
    """Return the invocation that this thread runs, if it runs one."""
    return _running.get()


@dataclass(frozen=True, slots=True)
class Answer:
    """What an invocation came to. `error` is the error's name, empty on success."""

    payload: Any
    error: str = ""
    message: str = ""

    @property
    def document(self) -> str:
        """The error as AWS's runtime words it."""
        return json.dumps({"errorType": self.error, "errorMessage": self.message})


@dataclass(slots=True)
class Invocation:
    """One run of one handler, which is killed at `deadline`."""

    function: str
    variables: Mapping[str, str]
    deadline: float
    scheduler: Scheduler
    caller: Caller = field(init=False)

    def alive(self) -> None:
        """Go on in this function's environment. Raises Killed if its time is up."""
        if self.scheduler.now() >= self.deadline:
            raise Killed(timed_out=True)
        for name in _owned - self.variables.keys():
            os.environ.pop(name, None)
        os.environ.update(self.variables)

    def sleep(self, seconds: float) -> None:
        """Do what time.sleep does in a function. Raises Killed if its time runs out meanwhile."""
        self.scheduler.sleep(min(seconds, self.deadline - self.scheduler.now()))
        self.alive()

    def hang(self) -> None:
        """Do nothing until the function is killed."""
        self.sleep(self.deadline - self.scheduler.now())


_owned: set[str] = set()


class Lambdas:
    """The functions of a stack."""

    def __init__(
        self,
        stack: Stack,
        scheduler: Scheduler,
        journal: Journal,
        meter: Meter | None = None,
        allowed: Quotas = quotas.DEFAULT,
    ) -> None:
        """Load every function's handler."""
        self._stack = stack
        self._scheduler = scheduler
        self._journal = journal
        self._meter = meter or Meter()
        self._allowed = allowed.concurrent_invocations
        self._at_work = 0
        self._functions = stack.of_type("AWS::Lambda::Function")
        for properties in self._functions.values():
            _owned.update(_variables(properties))
        self._handlers = {name: self._load(name) for name in self._functions}
        self._asynchronous = {
            each["FunctionName"]: each
            for each in stack.of_type("AWS::Lambda::EventInvokeConfig").values()
        }
        self.errors: list[tuple[float, str, str]] = []
        self.dead_letters: list[tuple[float, str]] = []

    def name(self, logical_id: str) -> str:
        """Return what a function is called in faults and histories: `plan_backups`."""
        return self._stack.folders[logical_id].name

    def properties(self, logical_id: str) -> Mapping[str, Any]:
        """Return what the template says of a function."""
        return self._functions[logical_id]

    def invoke(self, logical_id: str, event: Any) -> Answer:
        """Run a function once and wait for it; refuse it if too many run already."""
        function = self.name(logical_id)
        if self._at_work >= self._allowed:
            self._meter.refused[function] += 1
            self._journal.note("lambda", f"{function}: {THROTTLED}")
            return Answer(None, THROTTLED, "Rate Exceeded.")
        self._at_work += 1
        began_at = self._scheduler.now()
        try:
            self._scheduler.sleep(COLD_START)
            ready_at = self._scheduler.now()
            answer = self._run(logical_id, event)
        finally:
            self._at_work -= 1
        self._meter.invocations.append(
            Invoked(function, began_at, ready_at, self._scheduler.now(), answer.error)
        )
        return answer

    def _run(self, logical_id: str, event: Any) -> Answer:
        properties = self._functions[logical_id]
        function = self.name(logical_id)
        invocation = Invocation(
            function,
            _variables(properties),
            self._scheduler.now() + float(properties.get("Timeout", 3)),
            self._scheduler,
        )
        role = self._stack.logical_id(properties["Role"])
        name = self._stack.names[role]
        principal = f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{function}"
        kind = Principal.PLANNER if function == PLANNER else Principal.FUNCTION
        invocation.caller = Caller(
            function, principal, role, invocation.alive, invocation.hang, kind
        )
        token = _running.set(invocation)
        try:
            invocation.alive()
            handler = self._handlers[logical_id]
            payload = handler(json.loads(json.dumps(event)), _context(properties, invocation))
            answer = Answer(json.loads(json.dumps(payload)))
        except Killed as killed:
            error = "Sandbox.Timedout" if killed.timed_out else "Lambda.Unknown"
            message = "timed out" if killed.timed_out else "signal: killed"
            answer = Answer(None, error, f"The function {function}: {message}")
        except Exception as error:  # noqa: BLE001  an unhandled error is an answer, as on AWS
            answer = Answer(None, type(error).__name__, str(error))
        finally:
            _running.reset(token)
        if answer.error:
            self.errors.append((self._scheduler.now(), function, answer.error))
            self._journal.note("lambda", f"{function}: {answer.error}: {answer.message[:150]}")
        return answer

    def invoke_later(self, logical_id: str, event: Any) -> None:
        """Run a function as EventBridge does: more tries, then the dead-letter queue."""
        settings = self._asynchronous.get(self._stack.names[logical_id], {})
        expires_at = self._scheduler.now() + float(
            settings.get("MaximumEventAgeInSeconds", EVENT_AGE)
        )
        most = int(settings.get("MaximumRetryAttempts", len(ASYNC_DELAYS)))
        delays = iter(ASYNC_DELAYS[:most])
        pause, longest = THROTTLED_DELAYS
        while error := self.invoke(logical_id, event).error:
            delay: float | None
            if error == THROTTLED:
                delay, pause = pause, min(2 * pause, longest)
            else:
                delay = next(delays, None)
            if delay is None or self._scheduler.now() + delay > expires_at:
                break
            self._scheduler.sleep(delay)
        else:
            return
        self.dead_letters.append((self._scheduler.now(), self.name(logical_id)))
        self._journal.note("dead", f"{self.name(logical_id)}: an event is given up")

    def _load(self, logical_id: str) -> Handler:
        """Import a handler with the function's environment, where Powertools looks for its own."""
        os.environ.update(_variables(self._functions[logical_id]))
        module, _, attribute = self._functions[logical_id]["Handler"].rpartition(".")
        package = ".".join(self._stack.folders[logical_id].relative_to(ROOT).parts)
        handler: Handler = getattr(importlib.import_module(f"{package}.{module}"), attribute)
        return handler


def _variables(properties: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment variables that the template gives to a function."""
    return {
        name: str(value)
        for name, value in properties.get("Environment", {}).get("Variables", {}).items()
    }


def _context(properties: Mapping[str, Any], invocation: Invocation) -> Any:
    """Return the context object that AWS hands to a handler."""

    def left() -> int:
        return int((invocation.deadline - invocation.scheduler.now()) * 1000)

    return SimpleNamespace(
        function_name=invocation.function,
        memory_limit_in_mb=properties.get("MemorySize", 128),
        invoked_function_arn=f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{invocation.function}",
        aws_request_id=str(uuid.uuid4()),
        get_remaining_time_in_millis=left,
    )
