"""`python -m sandbox history`: three years of recovery points, and what a judge says of them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sandbox.process import ROOT, SandboxError
from sandbox.tables import aligned

PATIENCE: Final = 3600.0  # real seconds


def main(*, full: bool, days: int | None, seed: int) -> int:
    """Play a history and say what came of it; the exit status is 1 if anything was wrong."""
    result = play(full=full, days=days, seed=seed)
    for line in lines(result):
        print(line)
    return 1 if result["violations"] else 0


def play(
    *, full: bool, days: int | None = None, seed: int = 1, sabotage: str = ""
) -> dict[str, Any]:
    """Play a history in a process of its own, and return its `Result` as a dictionary.

    `sabotage` names one of `sandbox.history.sabotage`. Raises SandboxError if the process fails.
    """
    request = {"full": full, "days": days, "seed": f"{seed}", "sabotage": sabotage}
    paths = [str(ROOT), str(ROOT / "layers" / "stillpoint")]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "sandbox.history.worker", json.dumps(request)],
            cwd=ROOT,
            env={**environment, "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise SandboxError(f"the history broke off: {error.stderr.strip()[-2000:]}") from error
    return dict(json.loads(done.stdout))


def lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Return what a person wants to read of a result."""
    counts: Mapping[str, int] = result["counts"]
    kept = ", ".join(f"{number} in {region}" for region, number in result["kept"].items())
    yield from aligned(
        [
            ("simulated days", f"{result['days']}, {'in full' if result['full'] else 'short way'}"),
            ("recovery points made", f"{counts.get('made', 0)}"),
            ("copied", f"{counts.get('copied', 0)}"),
            ("expired", f"{counts.get('expired', 0)}"),
            ("kept", kept),
            ("of these spared", f"{len(result['spared'])}"),
            ("orphans left", f"{len(result['orphans'])}"),
            ("wrong deletions", f"{len(result['wrong'])}"),
            ("sweeps compared", f"{counts.get('comparisons', 0)}"),
            ("calls of EC2", f"{counts['calls']}"),
            ("people were told", _told(result["told"])),
            ("seconds", f"{result['seconds']:.0f}"),
        ]
    )
    for label, *reasons in result["spared"].values():
        yield f"spared    {label} {'; '.join(reasons)}"
    for violation in result["violations"]:
        yield f"VIOLATED  {violation}"


def _told(events: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(events.items())) or "nothing"
