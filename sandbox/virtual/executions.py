"""Step Functions in virtual time: its API around the sandbox's interpreter."""

import json
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sandbox import service_calls
from sandbox.clock import iso
from sandbox.interpreter import Execution, ExecutionTimedOut, Interrupted
from sandbox.service_calls import ServiceError
from sandbox.tasks import StateError, Tasks
from sandbox.virtual.front_door import Caller, ResponseLost
from sandbox.virtual.lambdas import THROTTLED, Lambdas
from sandbox.virtual.meter import Principal
from sandbox.virtual.mischief import STATE_FAULTS, Kind
from sandbox.virtual.quotas import Turnstile
from sandbox.virtual.run import Run
from sandbox.virtual.services import REQUEST_ID
from sandbox.virtual.stack import ACCOUNT, Stack

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.virtual.front_door import FrontDoor
    from sandbox.virtual.mischief import Fault

# "DescribeExecution and ListExecutions are eventually consistent" (Step Functions API Reference).
STALENESS: Final = (0.0, 8.0)  # seconds
# Errors that a definition without mistakes never meets.
BUGS: Final = frozenset({"States.Runtime", "States.QueryEvaluationError"})

# Types of states that can have a Catch.
CATCHING: Final = frozenset({"Task", "Map"})

_state: ContextVar[str] = ContextVar("state", default="")


@dataclass(slots=True)
class Record:
    """One execution. Moments are epoch seconds; `visible_at` is when its latest status is.

    It `may_fail` once a state has failed that cannot have a Catch, and its `map_may_fail` once that
    was inside a Map, or the Map itself. `transitions` and `events` are counted when it has ended.
    """

    arn: str
    name: str
    input: str
    started_at: float
    status: str = "RUNNING"
    ended_at: float | None = None
    error: str = ""
    cause: str = ""
    output: str = ""
    visible_at: float = 0.0
    interpreter: Execution | None = None
    visited: list[str] = field(default_factory=list)
    may_fail: bool = False
    map_may_fail: bool = False
    transitions: int = 0
    events: int = 0

    def seen(self, now: float) -> str:
        """Return the status that a call at `now` shows; empty if it shows no execution yet."""
        if now >= self.visible_at:
            return self.status
        return "RUNNING" if self.ended_at is not None else ""

    @property
    def members(self) -> tuple[str, ...]:
        """The ids of the instances that it was started for."""
        return tuple(row["instance_id"] for row in self._rows)

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(row.get("name", "") for row in self._rows)

    @property
    def _rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.input).get("members", [])
        return rows


class Executions:
    """The executions of the stack's state machine."""

    def __init__(self, stack: Stack, lambdas: Lambdas, run: Run) -> None:
        self.records: dict[str, Record] = {}
        self.on_end: Callable[[dict[str, Any]], None] = lambda _detail: None
        self.on_owner: Callable[[Fault, Record], None] = lambda _fault, _record: None
        self.door: FrontDoor | None = None
        logical_id, self._definition = stack.state_machine()
        self._types = dict(_state_types(self._definition))
        self._machine_arn = stack.arns[logical_id]
        self._machine_name = stack.names[logical_id]
        properties = stack.resources[logical_id]["Properties"]
        self._role_arn = properties["RoleArn"]
        self._role = stack.logical_id(self._role_arn)
        self._stack = stack
        self._lambdas = lambdas
        self._run = run
        self._chance = run.chance("executions")
        self._turnstile = Turnstile(run.quotas)

    @property
    def running(self) -> frozenset[str]:
        """The names of the executions that run."""
        return frozenset(one.name for one in self.records.values() if one.status == "RUNNING")

    # -- the API ---------------------------------------------------------------

    def start(self, params: dict[str, Any]) -> dict[str, Any]:
        """StartExecution: a name starts once; the same again while it runs is no error."""
        self._turnstile.admit("StartExecution", self._run.scheduler.now())
        name, text = params["name"], params.get("input", "{}")
        arn = f"{self._machine_arn.replace(':stateMachine:', ':execution:')}:{name}"
        known = self.records.get(arn)
        if known is not None:
            if known.status == "RUNNING" and known.input == text:
                return {"executionArn": arn, "startDate": known.started_at}
            message = f"Execution Already Exists: '{arn}'"
            raise ServiceError("ExecutionAlreadyExists", message, 400, REQUEST_ID)
        now = self._run.scheduler.now()
        record = Record(arn, name, text, now, visible_at=now + self._chance.uniform(*STALENESS))
        self.records[arn] = record
        self._run.journal.note("execution", f"{name}: started")
        self._run.scheduler.spawn(f"execution {name}", lambda: self._play(record))
        return {"executionArn": arn, "startDate": now}

    def describe(self, params: dict[str, Any]) -> dict[str, Any]:
        """DescribeExecution, as stale as it may be."""
        self._turnstile.admit("DescribeExecution", self._run.scheduler.now())
        record = self.records.get(params["executionArn"])
        status = record.seen(self._run.scheduler.now()) if record else ""
        if record is None or not status:
            message = f"Execution Does Not Exist: '{params['executionArn']}'"
            raise ServiceError("ExecutionDoesNotExist", message, 400, REQUEST_ID)
        shown = self._row(record, status)
        shown["input"] = record.input
        if status != "RUNNING":
            shown.update(error=record.error, cause=record.cause)
            if record.output:
                shown["output"] = record.output
        return shown

    def list(self, params: dict[str, Any]) -> dict[str, Any]:
        """ListExecutions, newest first, all on one page, as stale as they may be."""
        wanted = params.get("statusFilter")
        rows = []
        for record in sorted(self.records.values(), key=lambda one: -one.started_at):
            status = record.seen(self._run.scheduler.now())
            if status and wanted in {None, status}:
                rows.append(self._row(record, status))
        return {"executions": rows}

    def stop(self, params: dict[str, Any]) -> dict[str, Any]:
        """StopExecution: no Catch runs, nothing is cleaned up."""
        record = self.records[params["executionArn"]]
        if record.status == "RUNNING":
            self._end(record, "ABORTED", params.get("error", ""), params.get("cause", ""))
            if record.interpreter is not None:
                record.interpreter.stop()
        return {"stopDate": record.ended_at}

    def _row(self, record: Record, status: str) -> dict[str, Any]:
        row: dict[str, Any] = {
            "executionArn": record.arn,
            "stateMachineArn": self._machine_arn,
            "name": record.name,
            "status": status,
            "startDate": record.started_at,
        }
        if status != "RUNNING":
            row["stopDate"] = record.ended_at
        return row

    def report(self) -> dict[str, dict[str, Any]]:
        """Return every execution by ARN, as the sandbox's server reports them."""
        return {
            arn: {
                "name": record.name,
                "status": record.status,
                "error": record.error or None,
                "cause": record.cause or None,
                "input": json.loads(record.input),
            }
            for arn, record in self.records.items()
        }

    # -- running ----------------------------------------------------------------

    def _play(self, record: Record) -> None:
        """Take an execution from its start to its end."""
        document = json.loads(record.input)
        interpreter = record.interpreter = Execution(
            self._definition,
            self._context(record, document),
            clock=self._run.scheduler,
            tasks=Tasks(_RoleServices(self)),
            record=lambda kind, details: self._failure(record, kind, details),
            on_enter=lambda state: self._entered(record, state),
            chance=self._run.chance(record.name),
            parallel=self._run.scheduler.parallel,
            pace=self._pace,
            history_limit=self._run.quotas.history_events,
        )
        try:
            output = json.dumps(interpreter.run(document))
        except Interrupted:
            return  # whoever stopped it has written the status
        except ExecutionTimedOut:
            self._end(record, "TIMED_OUT", "", "")
        except StateError as failure:
            self._end(record, "FAILED", failure.error, failure.cause)
        else:
            record.output = output
            self._end(record, "SUCCEEDED", "", "")
        finally:
            record.transitions, record.events = interpreter.transitions, interpreter.events
            record.interpreter = None

    def _pace(self) -> float:
        """Take note of a transition, and return the seconds that it has to wait."""
        now = self._run.scheduler.now()
        wait = self._turnstile.transition(now)
        self._run.meter.transition(now, wait)
        return wait

    def _entered(self, record: Record, state: str) -> None:
        _state.set(state)
        self._run.journal.entered(state)
        self._run.journal.note("state", f"{record.name}: {state}")
        record.visited.append(state)
        fault = self._run.mischief.state(state, record.names)
        if fault is None:
            return
        self._run.journal.note("fault", f"{fault.kind} as {record.name} enters {state}")
        if fault.kind not in STATE_FAULTS:
            self.on_owner(fault, record)
        elif fault.kind is Kind.STOPPED:
            self.stop({"executionArn": record.arn})
        elif record.interpreter is not None and fault.kind is Kind.SPOILED:
            kind, outer = self._types[state], state in self._definition["States"]
            record.may_fail |= outer and kind not in CATCHING
            record.map_may_fail |= kind == "Map" or (not outer and kind not in CATCHING)
            record.interpreter.spoil()
        elif record.interpreter is not None:
            record.interpreter.expire()

    def _failure(self, record: Record, kind: str, details: dict[str, Any]) -> None:
        """Note failed states, and what only a mistake in the definition can bring about."""
        if kind not in {"TaskFailed", "MapFailed"}:
            return
        [failure] = details.values()
        text = f"{record.name}: {failure['error']}: {failure['cause'][:200]}"
        self._run.journal.note("failure", text)
        if kind == "MapFailed" and not record.map_may_fail:
            self._run.journal.surprise(f"{text}: an iteration that fails stops its neighbours")
        self._look_for_bugs(failure["error"], text)

    def _look_for_bugs(self, error: str, text: str) -> None:
        if error in BUGS and Kind.SPOILED not in self._run.mischief.kinds:
            self._run.journal.surprise(text)

    def _end(self, record: Record, status: str, error: str, cause: str) -> None:
        if record.status != "RUNNING":
            return
        now = self._run.scheduler.now()
        record.status, record.ended_at, record.error, record.cause = status, now, error, cause
        record.visible_at = now + self._chance.uniform(*STALENESS)
        self._run.journal.note("execution", f"{record.name}: {status} {error} {cause[:160]}")
        self._look_for_bugs(error, f"{record.name}: {error}: {cause[:300]}")
        last = record.visited[-1] if record.visited else ""
        if status == "FAILED" and self._types.get(last) != "Fail" and not record.may_fail:
            self._run.journal.surprise(f"{record.name} failed in {last}: nothing caught {error}")
        self.on_end(
            {
                "executionArn": record.arn,
                "stateMachineArn": self._machine_arn,
                "name": record.name,
                "status": status,
                "startDate": int(record.started_at * 1000),
                "stopDate": int(now * 1000),
                "input": record.input,
                "output": record.output or None,
                "error": error or None,
                "cause": cause or None,
            }
        )

    def _context(self, record: Record, document: Any) -> dict[str, Any]:
        return {
            "Execution": {
                "Id": record.arn,
                "Input": document,
                "Name": record.name,
                "RoleArn": self._role_arn,
                "StartTime": iso(record.started_at),
                "RedriveCount": 0,
            },
            "StateMachine": {"Id": self._machine_arn, "Name": self._machine_name},
        }

    # -- what its states call ---------------------------------------------------

    def call_service(self, service: str, action: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Make a state's call with the machine's role. Raises ServiceError."""
        assert self.door is not None  # noqa: S101  set before anything runs
        call = service_calls.prepare(service, action, arguments)
        name = call.operation.service_model.service_name
        role = self._stack.names[self._role]
        principal = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/states"
        caller = Caller(_state.get(), principal, self._role, kind=Principal.STATE_MACHINE)
        headers = {key.lower(): str(value) for key, value in call.headers.items()}
        try:
            status, body = self.door.call(caller, name, headers, call.body.decode())
        except ResponseLost:
            message = "Unable to execute HTTP request: Read timed out"
            raise ServiceError("SdkClientException", message, 500, REQUEST_ID) from None
        return service_calls.parse(call, status, {}, body)

    def call_function(self, arguments: dict[str, Any], timeout: float | None) -> dict[str, Any]:
        """Invoke a function for a state. Raises StateError."""
        logical_id = self._stack.logical_id(arguments["FunctionName"])
        payload = arguments.get("Payload", {})
        thread = self._run.scheduler.spawn(
            f"invocation {logical_id}", lambda: self._lambdas.invoke(logical_id, payload)
        )
        if not self._run.scheduler.join(thread, timeout or float("inf")):
            raise StateError("States.Timeout", f"no answer within {timeout:g} seconds")
        if thread.failure is not None:
            raise thread.failure
        answer = thread.result
        if answer.error == THROTTLED:
            raise StateError(f"Lambda.{THROTTLED}", answer.message)
        if answer.error:
            raise StateError(answer.error, answer.document)
        return {"ExecutedVersion": "$LATEST", "Payload": answer.payload, "StatusCode": 200}


def _state_types(machine: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Return the type of every state of a machine, those inside its Maps too."""
    for name, state in machine["States"].items():
        yield name, state["Type"]
        if "ItemProcessor" in state:
            yield from _state_types(state["ItemProcessor"])


class _RoleServices:
    """What the machine's role may call, in the shape that Task states want."""

    def __init__(self, executions: Executions) -> None:
        self._executions = executions

    def call(self, service: str, action: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call an action of a service."""
        return self._executions.call_service(service, action, arguments)

    def invoke(self, arguments: dict[str, Any], timeout: float | None) -> dict[str, Any]:
        """Invoke a function."""
        return self._executions.call_function(arguments, timeout)
