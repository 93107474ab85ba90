"""Step Functions' API around the interpreter: starting once, stopping, timing out, telling."""

import contextvars
import json
import random
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from ministack.core.responses import error_response_json, get_region, json_response
from ministack.services import stepfunctions as emulated

from sandbox.clock import Clock
from sandbox.emulated_services import EmulatedServices
from sandbox.host_faults import HostFaults
from sandbox.interpreter import Execution, ExecutionTimedOut, Interrupted
from sandbox.tasks import StateError, Tasks

MAX_NAME: Final = 80
METRICS: Final = {
    "RUNNING": "ExecutionsStarted",
    "SUCCEEDED": "ExecutionsSucceeded",
    "FAILED": "ExecutionsFailed",
    "TIMED_OUT": "ExecutionsTimedOut",
    "ABORTED": "ExecutionsAborted",
}
FORBIDDEN_IN_NAME: Final = frozenset(' \t\r\n<>{}[]?*"#%\\^|~`$&,;:/')


@dataclass(frozen=True, slots=True)
class Engine:
    """What executions need, and those that ran or are running."""

    clock: Clock
    faults: HostFaults
    seed: int
    executions: dict[str, Execution]

    def report(self) -> dict[str, dict[str, Any]]:
        """Status, transitions and positions of every execution by ARN, JSON-ready."""
        answer = {}
        for arn, execution in list(self.executions.items()):
            record = emulated._executions.get(arn) or {}
            answer[arn] = {
                "name": arn.rpartition(":")[2],
                "status": record.get("status", ""),
                "error": record.get("error"),
                "cause": record.get("cause"),
                "input": json.loads(record.get("input") or "null"),
                "output": json.loads(record.get("output") or "null"),
                "transitions": execution.transitions,
                "events": execution.events,
                "positions": {
                    path: asdict(each) for path, each in list(execution.positions.items())
                },
            }
        return answer

    def run(self, arn: str) -> None:
        """Take an execution from its start to its end; the body of its thread."""
        record = emulated._executions[arn]
        machine = emulated._state_machines[record["stateMachineArn"]]
        definition = json.loads(machine["definition"])
        execution_input = json.loads(record["input"])

        def on_enter(state: str) -> None:
            if self.faults.take("execution-aborted", state=state, execution=record["name"]):
                emulated._stop_execution(
                    {"executionArn": arn, "error": "Sandbox.ExecutionAborted", "cause": state}
                )
                execution.stop()

        execution = Execution(
            definition,
            _context(record, machine, execution_input),
            clock=self.clock,
            tasks=Tasks(EmulatedServices(machine["roleArn"], get_region())),
            record=lambda kind, details: emulated._add_event(record, kind, details),
            on_enter=on_enter,
            chance=random.Random(f"{self.seed}/{record['name']}"),
        )
        self.executions[arn] = execution
        self._finish(execution, record, execution_input)
        execution.positions.clear()

    @staticmethod
    def _finish(execution: Execution, record: dict[str, Any], execution_input: Any) -> None:
        try:
            output = json.dumps(execution.run(execution_input))
        except Interrupted:
            return  # StopExecution has already written the status
        except ExecutionTimedOut:
            _end(record, "TIMED_OUT", "ExecutionTimedOut", {})
        except StateError as failure:
            details = {"error": failure.error, "cause": failure.cause}
            _end(
                record,
                "FAILED",
                "ExecutionFailed",
                {"executionFailedEventDetails": details},
                **details,
            )
        except Exception as error:
            details = {"error": "States.Runtime", "cause": f"{type(error).__name__}: {error}"}
            _end(
                record,
                "FAILED",
                "ExecutionFailed",
                {"executionFailedEventDetails": details},
                **details,
            )
            raise
        else:
            details = {"output": output}
            _end(
                record,
                "SUCCEEDED",
                "ExecutionSucceeded",
                {"executionSucceededEventDetails": details},
                **details,
            )


def _context(
    record: dict[str, Any], machine: dict[str, Any], execution_input: Any
) -> dict[str, Any]:
    return {
        "Execution": {
            "Id": record["executionArn"],
            "Input": execution_input,
            "Name": record["name"],
            "RoleArn": machine["roleArn"],
            "StartTime": record["startDate"],
            "RedriveCount": 0,
        },
        "StateMachine": {"Id": record["stateMachineArn"], "Name": machine["name"]},
    }


def _end(
    record: dict[str, Any], status: str, event: str, details: dict[str, Any], **values: str
) -> None:
    if record["status"] != "RUNNING":
        return  # somebody stopped it at the same moment, and said so first
    record.update(status=status, stopDate=emulated.now_iso(), **values)
    emulated._add_event(record, event, details)
    emulated._emit_execution_status_event(record)


def _count(record: dict[str, Any]) -> None:
    """Record the metric of a status change, as AWS does for every state machine."""
    from ministack.services import cloudwatch  # noqa: PLC0415  after ministack's set-up

    dimensions = {"StateMachineArn": record["stateMachineArn"]}
    cloudwatch.record_metric("AWS/States", METRICS[record["status"]], 1, "Count", dimensions)


def _refused_start(data: Mapping[str, Any]) -> Any:
    """AWS's answer to a StartExecution that starts nothing, or None if it is to go ahead."""
    name = data.get("name")
    if name is None:
        return None
    if not 1 <= len(name) <= MAX_NAME or FORBIDDEN_IN_NAME & set(name):
        return error_response_json("InvalidName", f"Invalid Name: '{name}'", 400)
    machine = emulated._state_machines.get(data.get("stateMachineArn", ""))
    if machine is None:
        return None
    arn = f"{machine['stateMachineArn'].replace(':stateMachine:', ':execution:')}:{name}"
    record = emulated._executions.get(arn)
    if record is None:
        return None
    if record["status"] == "RUNNING" and record["input"] == data.get("input", "{}"):
        return json_response({"executionArn": arn, "startDate": record["startDate"]})
    return error_response_json("ExecutionAlreadyExists", f"Execution Already Exists: '{arn}'", 400)


def install(clock: Clock, faults: HostFaults, seed: int) -> Engine:
    """Put the interpreter in the place of ministack's, and AWS's rules around it."""
    engine = Engine(clock, faults, seed, {})
    start, stop, emit = (
        emulated._start_execution,
        emulated._stop_execution,
        emulated._emit_execution_status_event,
    )
    starting = threading.Lock()

    def start_execution(data: dict[str, Any]) -> Any:
        with starting:
            return _refused_start(data) or start(data)

    def stop_execution(data: dict[str, Any]) -> Any:
        answer = stop(data)
        execution = engine.executions.get(data.get("executionArn", ""))
        if execution is not None:
            execution.stop()
        return answer

    def emit_later(record: dict[str, Any]) -> None:
        """Events leave on a thread of their own: a slow target does not hold up an execution."""
        _count(record)
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(emit, dict(record)), daemon=True).start()

    emulated._start_execution = start_execution
    emulated._stop_execution = stop_execution
    emulated._emit_execution_status_event = emit_later
    emulated._run_execution = engine.run
    return engine
