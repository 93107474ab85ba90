"""`python -m sandbox simulate`: a fleet is backed up in one night, in virtual time."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from sandbox.process import ROOT, SandboxError
from sandbox.simulation.night import Night, Spread
from sandbox.simulation.setting import Setting

PATIENCE: Final = 4 * 3600.0  # real seconds


def main(setting: Setting, path: Path | None) -> int:
    """Play a night and say what came of it; the exit status is 1 if a backup did not succeed."""
    night = simulate(setting)
    if path is not None:
        path.write_text(json.dumps(night.to_json(), indent=2) + "\n")
    for line in lines(night):
        print(line)
    lost = night.count("succeeded") < night.instances
    return 1 if lost or night.stranded or night.false_claims or night.violations else 0


def simulate(setting: Setting) -> Night:
    """Play a night in a process of its own. Raises SandboxError if that fails."""
    paths = [str(ROOT), str(ROOT / "layers" / "stillpoint")]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    # The order in which sets are walked through must not differ from one night to the next.
    fixed = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "0"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "sandbox.simulation.worker"],
            cwd=ROOT,
            env={**environment, **fixed},
            input=json.dumps(setting.to_json()),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise SandboxError(f"the night broke off: {error.stderr.strip()[-2000:]}") from error
    return Night.from_json(json.loads(done.stdout))


def lines(night: Night) -> Iterator[str]:
    """Return what a person wants to read of a night."""
    for heading, text in _figures(night):
        yield f"{heading:28}{text}"
    for kind, actions in night.calls.items():
        yield f"calls of the {kind}: {_counts(actions)}"
    for name, use in night.functions.items():
        yield (
            f"function {name}: {use.invocations} invocations, {use.billed_ms} ms,"
            f" {use.errors} errors, {use.refused} refused,"
            f" {use.log_bytes} bytes of logs, {use.metric_bytes} of metrics"
        )
    for violation in night.violations:
        yield f"VIOLATED  {violation}"


def _figures(night: Night) -> Iterator[tuple[str, str]]:
    outcomes = (f"{night.count(each)} {each}" for each in ("succeeded", "failed", "missed"))
    yield "backups", ", ".join(outcomes)
    yield "all captured after", f"{night.captured_seconds:.0f} s"
    yield "all running again after", f"{night.all_back_seconds:.0f} s"
    yield "last execution ended after", f"{night.ended_seconds:.0f} s"
    median, p99, worst = (f"{night.ratio(share):.3f}" for share in (0.5, 0.99, 1))
    yield "downtime / floor", f"median {median}, p99 {p99}, worst {worst}"
    yield "calls for a backup", f"{night.calls_per_backup:.1f}"
    yield "throttled calls", _counts(night.throttled)
    yield "state transitions", _spread(night.transitions)
    yield "  at most in a second", f"{night.peaks.transitions_per_second}"
    yield "  delayed", f"{night.delayed_transitions}"
    yield "history events", _spread(night.history_events)
    yield "executions at once", f"{night.peaks.executions}"
    yield "instances in a backup", f"{night.peaks.backups} at once"
    yield "invocations at once", f"{night.peaks.invocations}"
    yield "price of a backup", f"{night.price.orchestration:.5f} USD"
    yield "  transitions", f"{night.price.transitions:.5f} USD"
    yield "  functions", f"{night.price.functions:.5f} USD"
    yield "logs for a backup", f"{night.price.logs:.5f} USD"
    yield "planner for a backup", f"{night.price.planner:.5f} USD"
    yield "milliseconds of a tick", _spread(night.planner_ms)
    yield "errors", _counts(night.errors)
    yield "people were told", _counts(night.messages)
    yield "levels claimed", f"{_counts(night.claims)}; {night.false_claims} false"
    yield "not running at the end", ", ".join(night.stranded) or "none"
    yield "seconds on this machine", f"{night.seconds:.0f}, CPU {night.cpu_seconds:.0f}"
    yield "memory on this machine", f"{night.peak_memory_mb:.0f} MB"


def _spread(spread: Spread) -> str:
    return f"mean {spread.mean:.1f}, most {spread.worst:.0f}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items())) or "none"
