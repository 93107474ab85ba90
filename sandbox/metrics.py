"""CloudWatch's embedded metric format: metric lines in a function's log become metrics."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Datum:
    """One value of one metric under one set of dimensions."""

    namespace: str
    name: str
    unit: str
    value: float
    dimensions: dict[str, str]


def parse(log: str) -> Iterator[Datum]:
    """Every datum of the metric lines in a log's text; other lines are passed over.

    The format is that of the CloudWatch User Guide, "Embedded metric format specification".
    """
    for line in log.splitlines():
        if line.startswith("{") and '"_aws"' in line:
            with contextlib.suppress(json.JSONDecodeError):
                yield from _data(json.loads(line))


def _data(document: dict[str, Any]) -> Iterator[Datum]:
    for directive in document["_aws"].get("CloudWatchMetrics", []):
        for metric in directive["Metrics"]:
            values = document.get(metric["Name"], [])
            for keys in directive.get("Dimensions") or [[]]:
                dimensions = {key: str(document[key]) for key in keys}
                for value in values if isinstance(values, list) else [values]:
                    yield Datum(
                        directive["Namespace"],
                        metric["Name"],
                        metric.get("Unit", "None"),
                        float(value),
                        dimensions,
                    )


def record(log: str) -> None:
    """Record the metric lines of a log in the current account and Region."""
    from ministack.services import cloudwatch  # noqa: PLC0415  after ministack's set-up

    for datum in parse(log):
        cloudwatch.record_metric(
            datum.namespace, datum.name, datum.value, datum.unit, datum.dimensions
        )
