"""Lambda as AWS runs it: clean processes, warm environments, counted and billed.

Replaces ministack's warm worker, which runs functions inside this virtual environment (so a
requirement missing from a layer goes unnoticed) and reports every error as Runtime.HandlerError.
"""

import json
import math
import os
import shutil
import sys
import threading
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from sandbox.clock import Clock
from sandbox.host_faults import HostFaults
from sandbox.lambda_environment import (
    Answer,
    EnvironmentDiedError,
    ExecutionEnvironment,
    FunctionTimeoutError,
)
from sandbox.lambda_site import shifted_time

RUNTIME: Final = f"python{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(slots=True)
class FunctionStats:
    """What one function has cost so far.

    Times are real milliseconds: a function's work is not accelerated.
    """

    invocations: int = 0
    errors: int = 0
    timeouts: int = 0
    cold_starts: int = 0
    billed_ms: int = 0
    init_ms: int = 0
    durations_ms: list[int] = field(default_factory=list)
    last_error: str = ""


class LambdaHost:
    """The warm environments of every function, and what they cost."""

    def __init__(
        self, clock: Clock, faults: HostFaults, state: Path, on_log: Callable[[str], None]
    ) -> None:
        """`state` is a folder for unpacked code; `on_log` receives every invocation's log text."""
        self._clock = clock
        self._faults = faults
        self._code = state / "lambda"
        self._on_log = on_log
        self._lock = threading.Lock()
        self._idle: dict[str, list[ExecutionEnvironment]] = {}
        self._busy: set[ExecutionEnvironment] = set()
        self.stats: dict[str, FunctionStats] = {}

    def report(self) -> dict[str, dict[str, Any]]:
        """The statistics of every function by name, JSON-ready."""
        with self._lock:
            return {name: asdict(stats) for name, stats in self.stats.items()}

    def execute(self, function: dict[str, Any], event: object, request_id: str) -> dict[str, Any]:
        """Run one invocation of ministack's function record and answer in ministack's shape."""
        config = function.get("config") or function
        name = config["FunctionName"]
        if config["Runtime"] != RUNTIME:
            message = f"the sandbox runs {RUNTIME} functions only, not {config['Runtime']}"
            return _failed({"errorType": "Runtime.Unknown", "errorMessage": message}, "")
        fault = self._faults.take("lambda-crash", function=name) or self._faults.take(
            "lambda-timeout", function=name
        )
        started = shifted_time.real_monotonic()
        if fault is not None:
            answer, cold, init = self._pretend(fault.name, config, request_id), False, 0.0
        else:
            answer, cold, init = self._run(config, function["code_zip"], event, request_id)
        seconds = shifted_time.real_monotonic() - started - init
        self._account(name, answer, cold=cold, init=init, seconds=seconds)
        self._on_log(answer.log)
        return (
            _failed(answer.error, answer.log)
            if answer.error
            else {"body": answer.result, "log": answer.log}
        )

    def stop(self) -> None:
        """End every process."""
        with self._lock:
            environments = [*self._busy, *(each for idle in self._idle.values() for each in idle)]
            self._idle.clear()
        for environment in environments:
            environment.stop()

    def _run(
        self, config: dict[str, Any], code: bytes, event: object, request_id: str
    ) -> tuple[Answer, bool, float]:
        key, stale = self._key(config), f"{config['FunctionArn']}|"
        with self._lock:
            outdated = [each for each in self._idle if each.startswith(stale) and each != key]
            retired = [environment for each in outdated for environment in self._idle.pop(each)]
            idle = self._idle.setdefault(key, [])
            environment = idle.pop() if idle else None
        for each in retired:
            each.stop()
        cold, init = environment is None, 0.0
        if environment is None:
            started = shifted_time.real_monotonic()
            environment = ExecutionEnvironment(
                config, self._paths(config, code), self._variables(config)
            )
            init = shifted_time.real_monotonic() - started
            if environment.failure:
                return (
                    Answer(
                        None,
                        {**environment.failure, "requestId": request_id},
                        environment.log_so_far(),
                    ),
                    cold,
                    init,
                )
        with self._lock:
            self._busy.add(environment)
        try:
            answer = environment.invoke(event, request_id, config["FunctionArn"])
        except FunctionTimeoutError:
            answer = Answer(None, _timed_out(config, request_id), environment.log_so_far())
        except EnvironmentDiedError:
            environment.stop()
            answer = Answer(None, _exited(request_id), environment.log_so_far())
        else:
            with self._lock:
                self._idle.setdefault(key, []).append(environment)
        finally:
            with self._lock:
                self._busy.discard(environment)
        return answer, cold, init

    def _pretend(self, fault: str, config: dict[str, Any], request_id: str) -> Answer:
        if fault == "lambda-timeout":
            threading.Event().wait(self._clock.real_seconds(float(config.get("Timeout", 3))))
            return Answer(None, _timed_out(config, request_id), "")
        return Answer(None, _exited(request_id), "")

    def _account(
        self, name: str, answer: Answer, *, cold: bool, init: float, seconds: float
    ) -> None:
        with self._lock:
            stats = self.stats.setdefault(name, FunctionStats())
            duration = math.ceil(seconds * 1000)
            stats.invocations += 1
            stats.errors += bool(answer.error)
            stats.timeouts += answer.error.get("errorType") == "Sandbox.Timedout"
            stats.cold_starts += cold
            stats.billed_ms += duration
            stats.init_ms += math.ceil(init * 1000)
            stats.durations_ms.append(duration)
            if answer.error:
                stats.last_error = f"{answer.error['errorType']}: {answer.error['errorMessage']}"

    @staticmethod
    def _key(config: dict[str, Any]) -> str:
        parts = {
            name: config.get(name)
            for name in ("CodeSha256", "Layers", "Environment", "Timeout", "MemorySize")
        }
        return f"{config['FunctionArn']}|{json.dumps(parts, sort_keys=True, default=str)}"

    def _paths(self, config: dict[str, Any], code: bytes) -> list[str]:
        from ministack.services.lambda_svc import _resolve_layer_zip  # noqa: PLC0415  after ministack's set-up

        root = self._unpacked(config["CodeSha256"], partial(bytes, code))
        paths = [str(root)]
        for layer in config.get("Layers") or []:
            arn = layer if isinstance(layer, str) else layer["Arn"]
            folder = self._unpacked(arn, partial(_resolve_layer_zip, layer))
            candidates = (folder / "python" / "lib" / RUNTIME / "site-packages", folder / "python")
            paths += [str(each) for each in candidates if each.is_dir()]
        return paths

    def _unpacked(self, identity: str, content: Callable[[], bytes]) -> Path:
        """Return the folder with an archive's files.

        Archives are immutable, so one unpacking serves every environment.
        """
        folder = self._code / uuid.uuid5(uuid.NAMESPACE_URL, identity).hex
        with self._lock:
            if not folder.is_dir():
                partial = folder.with_suffix(".partial")
                shutil.rmtree(partial, ignore_errors=True)
                with zipfile.ZipFile(BytesIO(content())) as archive:
                    archive.extractall(partial)
                partial.rename(folder)
        return folder

    def _variables(self, config: dict[str, Any]) -> dict[str, str]:
        """Return the environment of a function's process.

        It holds what AWS sets and what the function configures, nothing of this process.
        """
        from ministack.core.lambda_runtime import execution_credentials  # noqa: PLC0415  after ministack's set-up

        region = config["FunctionArn"].split(":")[3]
        log_group = (config.get("LoggingConfig") or {}).get(
            "LogGroup"
        ) or f"/aws/lambda/{config['FunctionName']}"
        variables = {
            "AWS_DEFAULT_REGION": region,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{RUNTIME}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config.get("MemorySize", 128)),
            "AWS_LAMBDA_FUNCTION_NAME": config["FunctionName"],
            "AWS_LAMBDA_FUNCTION_VERSION": config.get("Version", "$LATEST"),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": f"[$LATEST]{uuid.uuid4().hex}",
            "AWS_REGION": region,
            "HOME": "/tmp",  # noqa: S108  as on AWS
            "LAMBDA_TASK_ROOT": "/var/task",
            "LANG": "en_US.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "TZ": ":UTC",
            "_HANDLER": config["Handler"],
            **self._clock.environment(),
            **execution_credentials(config),
        }
        configured = (config.get("Environment") or {}).get("Variables") or {}
        return {**configured, **variables}


def _failed(error: dict[str, Any], log: str) -> dict[str, Any]:
    return {"body": error, "error": True, "function_error": "Unhandled", "log": log}


def _timed_out(config: dict[str, Any], request_id: str) -> dict[str, Any]:
    seconds = float(config.get("Timeout", 3))
    message = f"RequestId: {request_id} Error: Task timed out after {seconds:.2f} seconds"
    return {"errorType": "Sandbox.Timedout", "errorMessage": message}


def _exited(request_id: str) -> dict[str, Any]:
    message = f"RequestId: {request_id} Error: Runtime exited with error: signal: killed"
    return {"errorType": "Runtime.ExitError", "errorMessage": message}


def _not_here(*_args: object, **_kwargs: object) -> None:
    """Stand for what ministack records at one of the callers, as it is recorded for all here."""


def install(host: LambdaHost, clock: Clock) -> None:
    """Put `host` in the place of ministack's warm workers.

    Every caller's invocations get their metrics.
    """
    from ministack.services import eventbridge, lambda_svc  # noqa: PLC0415  after ministack's set-up

    emit_metrics, emit_logs = lambda_svc._emit_lambda_metrics, lambda_svc._emit_lambda_logs

    def execute(function: dict[str, Any], event: object, request_id: str) -> dict[str, Any]:
        started = shifted_time.real_monotonic()
        result = host.execute(function, event, request_id)
        duration = (shifted_time.real_monotonic() - started) * 1000
        name = (function.get("config") or function)["FunctionName"]
        emit_metrics(name, duration_ms=duration, error=bool(result.get("error")), throttle=False)
        return result

    def emit_real_duration(
        function: dict[str, Any],
        request_id: str,
        log: str,
        failed: Any,
        duration_ms: int,
        **rest: Any,
    ) -> None:
        emit_logs(function, request_id, log, failed, math.ceil(duration_ms / clock.scale), **rest)

    def dispatch_asynchronously(arn: str, payload: str) -> None:
        """Invoke as EventBridge does: two more tries, then the dead-letter queue.

        Lambda Developer Guide, "Asynchronous invocation".
        """
        function, config, _ = lambda_svc._get_func_record_for_ref(arn)
        if function and config:
            record = lambda_svc._execution_record_for_config(function, config)
            lambda_svc.invoke_async_with_retry(record, json.loads(payload))

    lambda_svc._execute_function_warm = execute
    lambda_svc._emit_lambda_metrics = lambda *_args, **_kwargs: None
    lambda_svc._emit_lambda_logs = emit_real_duration
    eventbridge._dispatch_to_lambda = dispatch_asynchronously
