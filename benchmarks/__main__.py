"""`make bench`: downtime against its floor, calls, transitions, price and cold imports."""

import argparse
import json
import sys
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks import cold_import, downtime
from benchmarks.downtime import Run
from benchmarks.policies import POLICIES
from benchmarks.price import usd
from sandbox import deploy, session
from sandbox.process import ROOT, SandboxError

REPORT: Final = ROOT / "build" / "bench" / "report.json"
IMAGE_SECONDS: Final = (90, 150)
"""How long an AMI is pending: shortened from minutes or hours, because it is not downtime."""
MOST_MEDIAN: Final = 1.15
MOST_WORST: Final = 1.30


def main() -> int:
    """Run the benchmark. Exit status 1 if a figure falls short."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--instances", type=int, default=20, help="size of each fleet (20)")
    parser.add_argument("--seed", type=int, default=1, help="of the emulated EC2 (1)")
    options = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    try:
        runs = _run(options.instances, options.seed, console)
    except SandboxError as error:
        console.print(str(error), markup=False)
        return 1
    build = deploy.build(deploy.Project())[0].parent
    report = _report(runs, cold_import.ratios(build))
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2) + "\n")
    _show(console, runs, report)
    failures = _failures(runs)
    for failure in failures:
        console.print(f"FALLS SHORT  {failure}", markup=False)
    console.print(f"Report: {REPORT.relative_to(ROOT)}")
    return 1 if failures else 0


def _run(size: int, seed: int, console: Console) -> dict[str, Run]:
    with session.deployed(
        scale=1,
        seed=seed,
        parameters={"MaxConcurrentBackups": str(size), "NotifySuccess": "false"},
        physics={"image_seconds": list(IMAGE_SECONDS)},
        say=console.print,
    ) as running:
        fleet_of = {policy: downtime.launch(running, policy, size) for policy in POLICIES}
        runs = {}
        for policy, fleet in fleet_of.items():
            console.print(f"{policy}: backing up {size} instances")
            runs[policy] = downtime.measure(running, policy, fleet, console.print)
        return runs


def _report(runs: dict[str, Run], cold: dict[str, float]) -> dict[str, Any]:
    own = runs["stillpoint"]
    return {
        "downtime_ratio": {"median": round(own.median, 3), "worst": round(own.worst, 3)},
        "policies": {
            name: {
                "downtime_ratio_median": round(run.median, 3),
                "downtime_ratio_worst": round(run.worst, 3),
                "dirty_images": run.dirty_images,
            }
            for name, run in runs.items()
        },
        "per_backup": {
            "api_calls": round(own.api_calls / own.backups, 1),
            "state_transitions": round(own.transitions / own.backups, 1),
            "lambda_ms": round(sum(own.lambda_ms.values()) / own.backups, 1),
            "usd": round(usd(own), 6),
        },
        "cold_import_ratio": {name: round(ratio, 2) for name, ratio in cold.items()},
        "false_claims": sum(run.false_claims for run in runs.values()),
        "image_pending_seconds": list(IMAGE_SECONDS),
    }


def _show(console: Console, runs: dict[str, Run], report: dict[str, Any]) -> None:
    low, high = IMAGE_SECONDS
    table = Table(
        title=f"Downtime divided by its floor, at real speed; AMIs pending {low} to {high} s"
    )
    for heading in ("started again when", "median", "worst", "dirty images", "succeeded"):
        table.add_column(heading, justify="right" if table.columns else "left")
    for name, run in runs.items():
        table.add_row(
            name,
            f"{run.median:.3f}",
            f"{run.worst:.3f}",
            f"{run.dirty_images} of {len(run.ratios)}",
            f"{run.succeeded} of {run.backups}",
        )
    console.print(table)
    per = report["per_backup"]
    console.print(
        f"One backup: {per['api_calls']} EC2 calls, {per['state_transitions']} state transitions,"
        f" {per['lambda_ms']} ms of Lambda, {per['usd']:.5f} USD"
    )
    cold = ", ".join(f"{name} {ratio}" for name, ratio in report["cold_import_ratio"].items())
    console.print(f"Cold import divided by that of boto3 alone: {cold}")


def _failures(runs: dict[str, Run]) -> list[str]:
    own = runs["stillpoint"]
    false_claims = sum(run.false_claims for run in runs.values())
    checks = {
        f"median downtime / floor is {own.median:.3f}, more than {MOST_MEDIAN}": own.median
        > MOST_MEDIAN,
        f"worst downtime / floor is {own.worst:.3f}, more than {MOST_WORST}": own.worst
        > MOST_WORST,
        f"{false_claims} dirty images are claimed file-system consistent": false_claims > 0,
        f"{own.backups - own.succeeded} backups did not succeed": own.succeeded < own.backups,
    }
    return [words for words, failed in checks.items() if failed]


if __name__ == "__main__":
    sys.exit(main())
