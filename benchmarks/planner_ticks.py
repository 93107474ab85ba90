"""Some ticks of the planner's real handler in a fresh process, and what each of them took.

    python planner_ticks.py NUMBER PATH...

`app` and the layer are found in the paths, the settings in the environment, AWS behind
AWS_ENDPOINT_URL. It prints a JSON document with one row for each tick; the first is that of a cold
start, with its imports.
"""

import io
import json
import os
import resource
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from urllib.request import urlopen

CONTEXT: Final = SimpleNamespace(
    function_name="plan-backups",
    memory_limit_in_mb=512,
    invoked_function_arn="arn:aws:lambda:us-east-1:000000000000:function:plan-backups",
    aws_request_id="5a3b0c1e-7d0b-4d43-9a52-7f4a3e0f7b61",
)


class Counted(io.TextIOBase):
    """A standard output of which only the length is kept."""

    length = 0

    def write(self, text: str) -> int:
        """Count the characters; a log line has no others than those of ASCII."""
        self.length += len(text)
        return len(text)


def main() -> None:
    """Tick, and print the rows."""
    number, paths = int(sys.argv[1]), sys.argv[2:]
    sys.path[:0] = paths
    console, logged = sys.stdout, Counted()
    sys.stdout = logged
    rows = [_tick(logged) for _ in range(number)]
    sys.stdout = console
    print(json.dumps(rows))


def _tick(logged: Counted) -> dict[str, Any]:
    """Do what Lambda does for one event, and return what it took."""
    logged.length = 0
    cpu, wall = time.process_time(), time.perf_counter()
    from app import handler  # type: ignore[import-not-found]  # noqa: PLC0415 (part of a cold start)

    event = {
        "detail-type": "Scheduled Event",
        "time": time.strftime("%Y-%m-%dT%H:%M:00Z", time.gmtime()),
    }
    answer = json.dumps(handler(event, CONTEXT))
    return {
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
        "logged": logged.length,
        "answered": len(answer),
        "peak_mb": peak_mb(),
        "calls": _calls(),
    }


def _calls() -> Any:  # noqa: ANN401 (JSON)
    """Return how often each action was called since this was last asked."""
    with urlopen(os.environ["AWS_ENDPOINT_URL"]) as answer:  # noqa: S310 (the benchmark's own server)
        return json.load(answer)


def peak_mb() -> float:
    """Return the most memory that this process has had, in MB.

    Linux's VmHWM is that of the process alone; ru_maxrss begins with that of its parent.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except FileNotFoundError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / (1_000_000 if sys.platform == "darwin" else 1000)
    (kilobytes,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kilobytes) * 1024 / 1_000_000


if __name__ == "__main__":
    main()
