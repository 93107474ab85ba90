"""The processes that play cases side by side."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Final

from sandbox.faults.case import Case
from sandbox.faults.result import Result
from sandbox.process import ROOT, SandboxError

PATIENCE: Final = 600.0  # real seconds for one case; most take one or two of a processor


class Worker:
    """One process that lives in virtual time, and another one after it has died."""

    def __init__(self) -> None:
        self._process = _start()

    def play(self, case: Case, *, history: bool, sabotage: str = "") -> Result:
        """Play a case. A process that dies or hangs over it is a violation in itself.

        `sabotage` names one of `sandbox.faults.sabotage`.
        """
        answer = self._ask({"case": case.to_json(), "history": history, "sabotage": sabotage})
        if answer:
            return Result.from_json(json.loads(answer))
        return Result.broken(case, self._last_words())

    def play_scenario(self, name: str, seed: int) -> dict[str, Any]:
        """Play a scenario file; see `sandbox.virtual.scenarios.Played`. Raises SandboxError."""
        answer = self._ask({"scenario": name, "seed": seed})
        if not answer:
            raise SandboxError(self._last_words())
        return dict(json.loads(answer))

    def _ask(self, request: dict[str, Any]) -> str:
        """Return the answer, or nothing if the process has died or was killed for its silence.

        Whoever does not wait for an answer finds another process: the answer belongs to nobody.
        """
        if self._process.poll() is not None:
            self.close()
            self._process = _start()
        assert self._process.stdin is not None  # noqa: S101  opened with PIPE
        assert self._process.stdout is not None  # noqa: S101
        alarm = threading.Timer(PATIENCE, self._process.kill)
        alarm.start()
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return self._process.stdout.readline()
        except OSError:
            return ""
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            alarm.cancel()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _last_words(self) -> str:
        _, errors = self._process.communicate()
        return errors.strip()[-2000:] or f"no answer within {PATIENCE:g} seconds"


def _start() -> subprocess.Popen[str]:
    paths = [str(ROOT), str(ROOT / "layers" / "stillpoint")]
    return subprocess.Popen(
        [sys.executable, "-m", "sandbox.faults.worker"],
        cwd=ROOT,
        env={**_environment(), "PYTHONPATH": os.pathsep.join(paths)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _environment() -> dict[str, str]:
    """Return what a worker needs of this process's environment: nothing of AWS's."""
    return {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}


def play_all(
    cases: Iterable[Case], *, processes: int | None = None, history: bool = False
) -> Iterator[Result]:
    """Play cases side by side and yield their results as they come."""
    waiting: queue.SimpleQueue[Case] = queue.SimpleQueue()
    number = 0
    for case in cases:
        waiting.put(case)
        number += 1
    results: queue.SimpleQueue[Result] = queue.SimpleQueue()
    stopped = threading.Event()

    def work() -> None:
        worker = Worker()
        try:
            while not stopped.is_set():
                try:
                    case = waiting.get_nowait()
                except queue.Empty:
                    return
                results.put(worker.play(case, history=history))
        finally:
            worker.close()

    count = max(1, min(processes or os.cpu_count() or 1, number))
    threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(number):
            yield results.get()
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
