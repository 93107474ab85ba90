"""What a fresh process needs to import a function: processor time and memory.

Lambda mounts a layer read-only, so Python finds the bytecode that the layer brings and keeps none
of its own. The measured processes do not write any either.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sandbox.process import SandboxError

REPEATS: Final = 5
MEASURED: Final = """
import json, resource, sys, time
sys.path[:0] = sys.argv[2:]
begin = time.process_time()
__import__(sys.argv[1])
seconds = time.process_time() - begin
try:
    with open("/proc/self/status") as lines:  # of this process; ru_maxrss begins with its parent's
        [peak] = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
except FileNotFoundError:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak //= 1024 if sys.platform == "darwin" else 1
print(json.dumps([seconds, peak / 1024]))
"""


@dataclass(frozen=True, slots=True)
class ColdImport:
    """One import in a fresh process: milliseconds of processor time, and peak memory in MB."""

    cpu_ms: float
    peak_mb: float


def measure(
    layer: Path, functions: Mapping[str, Path], *, repeats: int = REPEATS
) -> dict[str, ColdImport]:
    """Return the cold import of `boto3` alone and of each function, by its name.

    `layer` is the folder that Lambda would mount as /opt/python, `functions` are the folders of
    the functions' code. Medians of some fresh starts, which take turns, so that a busy moment of
    the machine strikes all of them. Whatever the layer comes without is compiled each time.
    """
    imports: dict[str, tuple[str, Sequence[Path]]] = {"boto3": ("boto3", [layer])}
    imports |= {name: ("app", [layer, folder]) for name, folder in functions.items()}
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in imports}
    for _ in range(repeats):
        for name, (module, paths) in imports.items():
            samples[name].append(_start(module, paths))
    return {
        name: ColdImport(
            cpu_ms=1000 * statistics.median(seconds for seconds, _ in found),
            peak_mb=statistics.median(peak for _, peak in found),
        )
        for name, found in samples.items()
    }


def _start(module: str, paths: Sequence[Path]) -> tuple[float, float]:
    """Import a module in a fresh interpreter that has nothing but these paths.

    Returns seconds of processor time and MB. Raises SandboxError with what the import says.
    """
    interpreter = Path(sys.base_prefix) / "bin" / "python3"
    completed = subprocess.run(
        [interpreter, "-I", "-B", "-c", MEASURED, module, *map(str, paths)],
        env={"AWS_DEFAULT_REGION": "us-east-1"},
        check=False,
        capture_output=True,
        text=True,
    )
    if completed.returncode:
        raise SandboxError(f"{paths[-1]} cannot be imported: {completed.stderr[-2000:]}")
    seconds, peak = json.loads(completed.stdout)
    return float(seconds), float(peak)
