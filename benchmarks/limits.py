"""What the figures must reach, and in words what falls short."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from benchmarks import agreement

type Report = Mapping[str, Any]
type Judge = Callable[[Any], Iterator[str]]

LARGEST: Final = 1000
MOST_MEDIAN: Final = 1.15
MOST_P99: Final = 1.5
MOST_OF_BOUND: Final = 1.25
MOST_USD: Final = 0.002
MOST_EVENTS: Final = 2500
"""A tenth of what a Standard workflow may have."""
MOST_PLANNER_MB: Final = 256
MOST_PLANNER_SECONDS: Final = 10
MOST_PLANNER_SLOPE: Final = 1.2
"""What an instance of the largest fleet costs the planner, against one of a tenth as many."""
MOST_WORST_AT_REAL_SPEED: Final = 1.3


def shortfalls(report: Report) -> list[str]:
    """Return what falls short, in words, of the parts that were measured."""
    parts: Mapping[str, Judge] = {
        "fleets": _fleets,
        "history": _history,
        "planner": _planner,
        "real_speed": _real_speed,
    }
    measured = {name: judge for name, judge in parts.items() if name in report}
    return [words for name, judge in measured.items() for words in judge(report[name])]


def _fleets(fleets: list[Mapping[str, Any]]) -> Iterator[str]:
    for fleet in fleets:
        where = f"{fleet['instances']:,} instances"
        lost = fleet["instances"] - fleet["succeeded"]
        if lost:
            yield f"{where}: {lost} backups were lost or failed"
        for name in ("false_claims", "errors", "stranded", "violations"):
            if fleet[name]:
                yield f"{where}: {name.replace('_', ' ')}: {fleet[name]}"
        if fleet["instances"] == LARGEST:
            yield from _largest(where, fleet)


def _largest(where: str, fleet: Mapping[str, Any]) -> Iterator[str]:
    ratio, usd = fleet["downtime_ratio"], fleet["usd_per_backup"]["orchestration"]
    yield from _over(f"{where}: median downtime / floor", ratio["median"], MOST_MEDIAN)
    yield from _over(f"{where}: p99 of downtime / floor", ratio["p99"], MOST_P99)
    yield from _over(f"{where}: time / bound", fleet["bound_ratio"], MOST_OF_BOUND)
    if usd >= MOST_USD:
        yield f"{where}: a backup's orchestration is {usd} USD, not less than {MOST_USD}"


def _history(history: Mapping[str, Any]) -> Iterator[str]:
    hours = history["image_seconds"][1] / 3600
    yield from _over(
        f"history events with an AMI of {hours:.0f} h", history["events_most"], MOST_EVENTS
    )
    if history["succeeded"] < history["instances"]:
        yield f"backups with an AMI of {hours:.0f} h were lost or failed"


def _planner(planner: Mapping[str, Any]) -> Iterator[str]:
    for row in planner["ticks"]:
        where = f"the planner with {row['instances']:,} instances"
        yield from _over(f"{where}: peak MB", row["peak_mb"], MOST_PLANNER_MB)
        yield from _over(f"{where}: seconds", row["seconds"], MOST_PLANNER_SECONDS)
    what = "the planner's cost of an instance, largest fleet / next"
    yield from _over(what, planner["slope"], MOST_PLANNER_SLOPE)


def _real_speed(report: Mapping[str, Any]) -> Iterator[str]:
    own = report["policies"]["stillpoint"]
    yield from _over("real speed: median downtime / floor", own["median"], MOST_MEDIAN)
    yield from _over("real speed: worst downtime / floor", own["worst"], MOST_WORST_AT_REAL_SPEED)
    if own["succeeded"] < own["backups"]:
        yield f"real speed: {own['backups'] - own['succeeded']} backups did not succeed"
    if report["false_claims"]:
        yield f"{report['false_claims']} dirty images are claimed file-system consistent"
    found = report["agreement"]
    for name in ("mean", "worst"):
        what = f"agreement of simulated and real downtime: {name} difference"
        yield from _over(what, abs(found[name]), agreement.MOST)


def _over(what: str, value: float, most: float) -> Iterator[str]:
    if value > most:
        yield f"{what} is {value:g}, more than {most:g}"
