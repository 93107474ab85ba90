"""The planner's tick: its time and its memory, from one instance to ten thousand.

The real handler, in a fresh process, with the real SDK, reads its fleet over HTTP from another
process. Time is that of the processor: what Lambda gives of it goes by the function's memory.
"""

import json
import multiprocessing
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from unittest import mock

from benchmarks import planner_server
from benchmarks.planner_fleet import Fleet, Scene, Schedules
from sandbox.process import ROOT, SandboxError
from sandbox.virtual.stack import REGION, make_stack

FUNCTION: Final = "PlanBackupsFunction"
SOURCES: Final = (ROOT / "layers" / "stillpoint", ROOT / "functions" / "plan_backups")
WARM_TICKS: Final = 3
MB_OF_A_PROCESSOR: Final = 1769
"""A function with so much memory has one processor (Lambda Developer Guide, "Configure Lambda
function memory"); one with less has as much less of it."""


@dataclass(frozen=True, slots=True)
class Ticks:
    """What ticks of one process took: seconds of processor time, MB, bytes, and calls by action.

    `cold` is the first tick with its imports, `warm` the median of the others. `logged`, `answered`
    and `calls` are those of the last tick.
    """

    cold: float
    warm: float
    wall: float
    peak_mb: float
    logged: int
    answered: int
    calls: dict[str, int]


@dataclass(frozen=True, slots=True)
class PlannerFigures:
    """What the planner's ticks take with so many tagged instances.

    `usual` is a tick at which nothing is due, `due` one at which everything is, and as many begin
    as the stack lets; `cold` is the first of a process, with everything due. All are milliseconds
    of one processor. `seconds` is the longest of them, `lambda_seconds` how long that takes with
    the memory that the template gives the function. `logged` is what a usual tick writes, in bytes.
    """

    instances: int
    usual_ms: float
    due_ms: float
    cold_ms: float
    seconds: float
    lambda_seconds: float
    peak_mb: float
    logged: int

    def to_json(self) -> dict[str, Any]:
        """Return the figures, rounded to what they are worth."""
        return {
            name: value if isinstance(value, int) else round(value, 2)
            for name, value in asdict(self).items()
        }


def measure(sizes: Sequence[int], code: Sequence[Path] = SOURCES) -> list[PlannerFigures]:
    """Return the figures of fleets of these sizes, with 1,440 schedules in five time zones.

    `code` are the folders with the function and its layer: by default the sources, with the
    packages of this environment. Raises SandboxError with what went wrong.
    """
    return [_figures(size, code) for size in sizes]


def slope(figures: Sequence[PlannerFigures]) -> float:
    """Return what an instance of the largest fleet costs, against one of the next largest."""
    smaller, largest = sorted(figures, key=lambda each: each.instances)[-2:]
    return (largest.usual_ms / largest.instances) / (smaller.usual_ms / smaller.instances)


def ticks(
    fleet: Fleet, *, code: Sequence[Path] = SOURCES, warm: int = WARM_TICKS, **parameters: str
) -> Ticks:
    """Let the planner tick in front of a fleet, in a stack with these parameters.

    Raises SandboxError with what went wrong.
    """
    with _served(fleet) as endpoint:
        rows = _rows(1 + warm, code, _environment(parameters) | {"AWS_ENDPOINT_URL": endpoint})
    first, *others = rows
    return Ticks(
        cold=first["cpu"],
        warm=statistics.median(row["cpu"] for row in others),
        wall=statistics.median(row["wall"] for row in others),
        peak_mb=others[-1]["peak_mb"],
        logged=others[-1]["logged"],
        answered=others[-1]["answered"],
        calls=others[-1]["calls"],
    )


def _figures(size: int, code: Sequence[Path]) -> PlannerFigures:
    usual = ticks(Fleet(size, Schedules.ZONES, Scene.IDLE), code=code)
    due = ticks(Fleet(size, Schedules.ZONES, Scene.DUE), code=code, CatchUpHours="24")
    seconds = max(usual.cold, usual.warm, due.cold, due.warm)
    memory = _function()["MemorySize"]
    return PlannerFigures(
        instances=size,
        usual_ms=1000 * usual.warm,
        due_ms=1000 * due.warm,
        cold_ms=1000 * due.cold,
        seconds=seconds,
        lambda_seconds=seconds * max(1, MB_OF_A_PROCESSOR / memory),
        peak_mb=max(usual.peak_mb, due.peak_mb),
        logged=usual.logged,
    )


def _function(**parameters: str) -> dict[str, Any]:
    """Return the planner's properties in the template."""
    with mock.patch.dict(os.environ, {"AWS_DEFAULT_REGION": REGION}):
        return dict(make_stack(parameters).resources[FUNCTION]["Properties"])


def _environment(parameters: dict[str, str]) -> dict[str, str]:
    """Return the environment that Lambda gives the planner, with credentials that are none."""
    variables = _function(**parameters)["Environment"]["Variables"]
    return {
        **{name: str(value) for name, value in variables.items()},
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
    }


@contextmanager
def _served(fleet: Fleet) -> Iterator[str]:
    """Serve a fleet from a process of its own, and yield where."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=planner_server.serve, args=(fleet, there), daemon=True)
    server.start()
    there.close()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    except EOFError:
        raise SandboxError("the planner's fleet could not be served") from None
    finally:
        here.close()
        server.join()


def _rows(number: int, code: Sequence[Path], environment: dict[str, str]) -> list[dict[str, Any]]:
    """Let a fresh process tick so often, and return what it says of each tick."""
    script = Path(__file__).with_name("planner_ticks.py")
    completed = subprocess.run(
        [sys.executable, "-B", script, str(number), *map(str, code)],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    if completed.returncode:
        raise SandboxError(f"the planner's tick failed:\n{completed.stderr}")
    rows: list[dict[str, Any]] = json.loads(completed.stdout)
    return rows
