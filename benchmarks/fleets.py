"""Fleets of several sizes that are due at the same minute, each in a night of virtual time."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from typing import Any, Final

from botocore.session import get_session

from benchmarks.bound import alone_seconds, bound_seconds, limits, slowest_action
from sandbox.ec2 import Physics
from sandbox.rules import HISTORY_LIMIT
from sandbox.simulation.command import simulate
from sandbox.simulation.night import Night
from sandbox.simulation.setting import Setting

SIZES: Final = (1, 20, 100, 1000)
ALL_DAY: Final = (86_000.0, 86_300.0)
"""Seconds that an AMI is pending: nearly the 24 hours after which a backup gives it up."""
VOLUME_COUNTS: Final = 6
"""A night's instances have one to six volumes, so a fleet of six has one of each kind."""
PROCESSES: Final = 2
PLANNER: Final = "planner"

type Say = Callable[[str], None]


def measure(sizes: Sequence[int], seed: int, say: Say) -> tuple[dict[int, Night], Night]:
    """Return the night of each fleet by its size, and one in which AMIs are pending all day.

    The nights run in processes of their own, two at a time, the largest fleet first.
    """
    settings = {size: Setting(size, seed=seed) for size in sorted(sizes, reverse=True)}
    all_day = Setting(VOLUME_COUNTS, seed=seed, physics={"image_seconds": ALL_DAY})
    with ThreadPoolExecutor(PROCESSES) as pool:
        nights = {size: pool.submit(simulate, each) for size, each in settings.items()}
        long_night = pool.submit(simulate, all_day)
        for size, night in nights.items():
            done = night.result()
            say(f"  {size} instances: {done.seconds:.0f} s, {done.peak_memory_mb:.0f} MB")
        return {size: nights[size].result() for size in sorted(sizes)}, long_night.result()


def figures(night: Night) -> dict[str, Any]:
    """Return what the report says of a night; seconds count from the due minute."""
    bound = bound_seconds(night.instances, alone_of(night))
    return {
        "instances": night.instances,
        "succeeded": night.count("succeeded"),
        "failed": night.count("failed"),
        "missed": night.count("missed"),
        "captured_seconds": round(night.captured_seconds, 1),
        "bound_seconds": round(bound, 1),
        "bound_ratio": round(night.captured_seconds / bound, 3),
        "bound_is_set_by": slowest_action(night.instances),
        "all_back_seconds": round(night.all_back_seconds, 1),
        "downtime_ratio": {
            "median": round(night.ratio(0.5), 3),
            "p99": round(night.ratio(0.99), 3),
            "worst": round(night.ratio(1), 3),
        },
        "throttled_calls": sum(night.throttled.values()),
        "throttled_by_action": dict(night.throttled),
        "api_calls_per_backup": round(night.calls_per_backup, 1),
        "calls": {who: dict(actions) for who, actions in night.calls.items()},
        "rates": _rates(night),
        "transitions_per_backup": round(night.transitions.mean, 1),
        "transitions_most": round(night.transitions.worst),
        "history_events_most": round(night.history_events.worst),
        "peak": {
            "instances_in_a_backup": night.peaks.backups,
            "executions": night.peaks.executions,
            "invocations": night.peaks.invocations,
            "transitions_per_second": night.peaks.transitions_per_second,
        },
        "planner_tick_ms": {
            "mean": round(night.planner_ms.mean),
            "most": round(night.planner_ms.worst),
        },
        "usd_per_backup": {
            "orchestration": round(night.price.orchestration, 6),
            "transitions": round(night.price.transitions, 6),
            "functions": round(night.price.functions, 6),
            "logs": round(night.price.logs, 6),
            "planner": round(night.price.planner, 6),
        },
        "bytes_per_backup": {
            # of all functions: what the planner and the sweeps write in the night is shared
            "logs": _each(night, (use.log_bytes for use in night.functions.values())),
            "metrics": _each(night, (use.metric_bytes for use in night.functions.values())),
        },
        "errors": dict(night.errors),
        "messages": dict(night.messages),
        "false_claims": night.false_claims,
        "stranded": list(night.stranded),
        "violations": list(night.violations),
        "simulated_in_seconds": round(night.seconds, 1),
        "simulated_in_mb": round(night.peak_memory_mb),
    }


def history(night: Night) -> dict[str, Any]:
    """Return what the report says of executions whose AMIs are pending all day."""
    return {
        "image_seconds": list(ALL_DAY),
        "succeeded": night.count("succeeded"),
        "instances": night.instances,
        "events_most": round(night.history_events.worst),
        "events_limit": HISTORY_LIMIT,
        "transitions_most": round(night.transitions.worst),
        "orchestration_usd": round(night.price.orchestration, 6),
    }


def alone_of(night: Night) -> float:
    """Return what an instance of a night takes to be captured if nothing holds it up: the mean."""
    physics = Physics().changed(night.setting.physics)
    seconds = [alone_seconds(physics, backup.volumes) for backup in night.backups]
    return sum(seconds) / len(seconds)


def _rates(night: Night) -> list[dict[str, Any]]:
    """Return what a backup draws on each of EC2's buckets, the one that allows least first.

    Calls of the state machine and of the functions, their repetitions included; the planner's are
    made for the whole fleet.
    """
    known = get_session().get_service_model("ec2").operation_names
    calls: Counter[str] = Counter()
    for who in night.calls.keys() - {PLANNER}:
        calls.update({name: number for name, number in night.calls[who].items() if name in known})
    rows = []
    for action, number in calls.items():
        limit = min(limits(action), key=lambda each: each.refill)
        a_backup = number / night.instances
        rows.append(
            {
                "action": action,
                "size": limit.size,
                "refill": limit.refill,
                "calls_per_backup": round(a_backup, 2),
                "backups_per_second": round(limit.refill / a_backup, 2),
            }
        )
    return sorted(rows, key=itemgetter("backups_per_second", "action"))


def _each(night: Night, totals: Iterable[int]) -> int:
    """Return one instance's share of some totals."""
    return round(sum(totals) / night.instances)
