"""Metric lines in logs, and alarms over what they record."""

import json
from typing import Any

import pytest

from sandbox.alarms import UnsupportedExpressionError, expression_value, verdict
from sandbox.metrics import Datum, parse


def line(values: dict[str, Any], dimensions: list[list[str]]) -> str:
    metrics = [{"Name": name, "Unit": "Count"} for name in values if name[0].isupper()]
    directive = {"Namespace": "Stillpoint", "Dimensions": dimensions, "Metrics": metrics}
    return json.dumps({"_aws": {"CloudWatchMetrics": [directive]}, **values})


def test_a_metric_line_becomes_one_datum_per_value_and_set_of_dimensions() -> None:
    log = line({"Done": [1.0, 2.0], "service": "a"}, [["service"], []])
    assert [(each.value, each.dimensions) for each in parse(log)] == [
        (1.0, {"service": "a"}),
        (2.0, {"service": "a"}),
        (1.0, {}),
        (2.0, {}),
    ]


def test_other_lines_are_passed_over() -> None:
    log = "\n".join(["START", '{"level": "INFO"}', '{"_aws": broken', line({"Done": 3}, [[]])])
    assert list(parse(log)) == [Datum("Stillpoint", "Done", "Count", 3.0, {})]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("FILL(a, 0) + FILL(b, 0)", 2.0),
        ("a * 2 - 1 / 4", 3.75),
        ("a + b", None),
        ("b", None),
    ],
)
def test_metric_math(text: str, value: float | None) -> None:
    assert expression_value(text, {"a": 2.0, "b": None}) == value


@pytest.mark.parametrize("text", ["RATE(a)", "c + 1", "a if a else 1", "'a'"])
def test_metric_math_that_is_not_known_is_refused(text: str) -> None:
    with pytest.raises(UnsupportedExpressionError, match="cannot evaluate"):
        expression_value(text, {"a": 2.0})


def alarm(**more: object) -> dict[str, Any]:
    return {
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 0,
        "EvaluationPeriods": 3,
        **more,
    }


@pytest.mark.parametrize(
    ("settings", "points", "state"),
    [
        ({}, [1.0, 1.0, 1.0], "ALARM"),
        ({}, [1.0, 0.0, 1.0], "OK"),
        ({"DatapointsToAlarm": 2}, [1.0, 0.0, 1.0], "ALARM"),
        ({}, [None, None, None], "INSUFFICIENT_DATA"),
        ({"TreatMissingData": "ignore"}, [None, None, None], None),
        ({"TreatMissingData": "notBreaching"}, [None, None, None], "OK"),
        ({"TreatMissingData": "breaching"}, [None, None, None], "ALARM"),
        ({"TreatMissingData": "breaching"}, [None, 0.0, None], "OK"),
    ],
)
def test_the_state_of_an_alarm(
    settings: dict[str, Any], points: list[float | None], state: str | None
) -> None:
    assert verdict(alarm(**settings), points) == state
