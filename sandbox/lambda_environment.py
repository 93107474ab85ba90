"""One execution environment of Lambda: a process that runs a function, and nothing else of ours."""

import contextlib
import json
import queue
import subprocess
import sys
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sandbox.lambda_site.bootstrap import RECORD

BOOTSTRAP: Final = Path(__file__).parent / "lambda_site" / "bootstrap.py"
GRACE_SECONDS: Final = 2.0


class FunctionTimeoutError(Exception):
    """The function ran for longer than its Timeout."""


class EnvironmentDiedError(Exception):
    """The function's process ended without an answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One invocation's outcome: `error` is AWS's error document, empty on success."""

    result: Any
    error: dict[str, Any]
    log: str


class ExecutionEnvironment:
    """One process with one function loaded, as AWS keeps it between invocations."""

    def __init__(self, config: dict[str, Any], paths: list[str], variables: dict[str, str]) -> None:
        """Start the process and load the function; a start that failed is in `failure`."""
        self._timeout = float(config.get("Timeout", 3))
        self._log: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            [sys._base_executable, "-I", "-S", str(BOOTSTRAP)],  # type: ignore[attr-defined]
            cwd=paths[0],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=variables,
        )
        self._readers = [
            threading.Thread(target=target, daemon=True)
            for target in (self._read_log, self._read_answers)
        ]
        for thread in self._readers:
            thread.start()
        self._send({"handler": config["Handler"], "paths": paths})
        started = self._answers.get() or {
            "error": {
                "errorType": "Runtime.ExitError",
                "errorMessage": "Runtime exited without providing a reason",
            }
        }
        self.failure: dict[str, Any] = started.get("error") or {}

    def invoke(self, event: object, request_id: str, function_arn: str) -> Answer:
        """Run one invocation.

        Raises FunctionTimeoutError or EnvironmentDiedError; the process is gone then.
        """
        self._send(
            {
                "event": event,
                "request_id": request_id,
                "function_arn": function_arn,
                "timeout": self._timeout,
                "trace_id": f"Root=1-{uuid.uuid4().hex[:8]}-{uuid.uuid4().hex[:24]};Sampled=0",
            }
        )
        try:
            message = self._answers.get(timeout=self._timeout)
        except queue.Empty:
            self.stop()
            raise FunctionTimeoutError from None
        if message is None:
            raise EnvironmentDiedError
        return Answer(message.get("result"), message.get("error") or {}, self._log_of(request_id))

    def log_so_far(self) -> str:
        """What the function printed and nobody has collected."""
        lines = []
        with contextlib.suppress(queue.Empty):
            while (line := self._log.get_nowait()) is not None:
                lines.append(line)
        return "\n".join(lines)

    def stop(self) -> None:
        """End the process, kindly first."""
        self._process.terminate()
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdin is not None  # noqa: S101  opened with PIPE
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        for thread in self._readers:
            thread.join(GRACE_SECONDS)

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None  # noqa: S101  opened with PIPE
        with contextlib.suppress(OSError, ValueError):  # a process that is gone says so below
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def _read_answers(self) -> None:
        assert self._process.stdout is not None  # noqa: S101  opened with PIPE
        with self._process.stdout as answers:
            for line in answers:
                self._answers.put(json.loads(line))
        self._answers.put(None)

    def _read_log(self) -> None:
        assert self._process.stderr is not None  # noqa: S101  opened with PIPE
        with self._process.stderr as log:
            for line in log:
                self._log.put(line.rstrip("\n"))
        self._log.put(None)

    def _log_of(self, request_id: str) -> str:
        lines = []
        while (line := self._log.get()) is not None and line != f"{RECORD}{request_id}":
            lines.append(line)
        return "\n".join(lines)
