"""How long a function takes to import, beside `import boto3` alone, in the layer as built."""

import statistics
import subprocess
import sys
from pathlib import Path
from typing import Final

REPEATS: Final = 7
FOLDERS: Final = {
    "plan_backups": "PlanBackupsFunction",
    "prepare_backup": "PrepareBackupFunction",
    "complete_backup": "CompleteBackupFunction",
    "alert_stranded": "AlertStrandedFunction",
}
TIMED: Final = """
import sys, time
sys.path[:0] = sys.argv[2:]
begin = time.perf_counter()
__import__(sys.argv[1])
print(time.perf_counter() - begin)
"""


def ratios(build: Path) -> dict[str, float]:
    """Return each function's import time divided by that of boto3, medians of a few fresh starts.

    `build` is the folder that `sam build` made. The starts take turns, so that a busy moment of
    the machine strikes all of them.
    """
    layer = build / "StillpointLayer" / "python"
    samples: dict[str, list[float]] = {name: [] for name in ["boto3", *FOLDERS]}
    for _ in range(REPEATS):
        samples["boto3"].append(_seconds("boto3", layer))
        for name, folder in FOLDERS.items():
            samples[name].append(_seconds("app", layer, build / folder))
    medians = {name: statistics.median(values) for name, values in samples.items()}
    return {name: medians[name] / medians["boto3"] for name in FOLDERS}


def _seconds(module: str, *paths: Path) -> float:
    """Import a module in a fresh interpreter that has nothing but these paths."""
    interpreter = Path(sys.base_prefix) / "bin" / "python3"
    completed = subprocess.run(
        [interpreter, "-I", "-c", TIMED, module, *map(str, paths)],
        env={"AWS_DEFAULT_REGION": "us-east-1"},
        check=True,
        capture_output=True,
        text=True,
    )
    return float(completed.stdout)
