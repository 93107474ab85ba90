"""Counting how the fleet stands, at every tick."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from aws_lambda_powertools.metrics import MetricUnit

from stillpoint.aws.telemetry import metrics
from stillpoint.instance import Instance
from stillpoint.plan import Plan, Status
from stillpoint.tags import Tag

MOST_VALUES = 100
"""Values of one metric in a document (CloudWatch User Guide, "Embedded metric format")."""
_UNPROTECTED = frozenset({Status.INVALID, Status.HELD, Status.GONE})


def count(plan: Plan, instances: Iterable[Instance], started: int, now: datetime) -> None:
    """Add the metrics of one tick, at which so many backups were started."""
    statuses = Counter(verdict.status for verdict in plan.verdicts)
    refused = sum(i.tags.get(Tag.PROBLEM, "").startswith("refused") for i in instances)
    protected = sum(n for status, n in statuses.items() if status not in _UNPROTECTED) - refused
    counts = {
        "InstancesProtected": protected,
        "InstancesInvalid": statuses[Status.INVALID],
        "InstancesHeld": statuses[Status.HELD],
        "InstancesRefused": refused,
        "InstancesOverdue": sum(verdict.overdue for verdict in plan.verdicts),
        "BackupsStarted": started,
        "BackupsWaiting": statuses[Status.WAITING],
    }
    for name, value in counts.items():
        metrics.add_metric(name, MetricUnit.Count, value)
    ages = [
        (now - verdict.recovery_point_at).total_seconds()
        for verdict in plan.verdicts
        if verdict.recovery_point_at is not None
    ]
    for age in representatives(ages):
        metrics.add_metric("RecoveryPointAge", MetricUnit.Seconds, age)


def representatives(values: Iterable[float]) -> Sequence[float]:
    """Return at most 100 of the values, evenly from the least to the greatest of them.

    Their least, their greatest and, nearly, their percentiles are those of all: a value of every
    instance at every minute would cost more in logs than the planner itself.
    """
    ordered = sorted(values)
    if len(ordered) <= MOST_VALUES:
        return ordered
    last, steps = len(ordered) - 1, MOST_VALUES - 1
    return [ordered[round(step * last / steps)] for step in range(MOST_VALUES)]
