"""CloudWatch alarms as documented: dimensions, M out of N, missing data, and metric math of sums.

ministack's evaluation merges all dimensions of a metric, knows no missing data and refuses
expressions. Periods end at the moment of the evaluation instead of on full minutes, so an alarm
may come up to a period earlier than on AWS.
"""

import ast
import contextlib
import operator
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from ministack.core.responses import set_request_account_id, set_request_region
from ministack.services import cloudwatch, sqs
from ministack.services.cloudformation import provisioners

from sandbox.clock import Clock

SWEEP_SECONDS: Final = 60.0  # simulated, between two evaluations of all alarms
COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanOrEqualToThreshold": operator.le,
    "LessThanThreshold": operator.lt,
}
STATISTICS: Final[dict[str, Callable[[list[float]], float]]] = {
    "Average": lambda values: sum(values) / len(values),
    "Maximum": max,
    "Minimum": min,
    "SampleCount": len,
    "Sum": sum,
}
ARITHMETIC: Final[dict[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class UnsupportedExpressionError(ValueError):
    """The metric math is more than numbers, metric ids, + - * / and FILL."""


def expression_value(text: str, values: dict[str, float | None]) -> float | None:
    """Return the value of a metric math expression, None if data are missing.

    Raises UnsupportedExpressionError.
    """

    def value(node: ast.expr) -> float | None:
        match node:
            case ast.Constant(value=int() | float() as number):
                return float(number)
            case ast.Name(id=name) if name in values:
                return values[name]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
                operands = value(left), value(right)
                if operands[0] is None or operands[1] is None:
                    return None
                return ARITHMETIC[type(op)](operands[0], operands[1])
            case ast.Call(func=ast.Name(id="FILL"), args=[filled, default]):
                known = value(filled)
                return value(default) if known is None else known
            case _:
                raise UnsupportedExpressionError(
                    f"the sandbox cannot evaluate the metric math {text!r}"
                )

    return value(ast.parse(text, mode="eval").body)


def verdict(alarm: dict[str, Any], points: list[float | None]) -> str | None:
    """Return the state that an alarm's points put it in, None to leave it as it is.

    The newest point comes first; a missing one is None.
    """
    missing = {"breaching": True, "notBreaching": False}.get(
        alarm.get("TreatMissingData", "missing")
    )
    compare, threshold = COMPARISONS[alarm["ComparisonOperator"]], float(alarm["Threshold"])
    breaching = [missing if point is None else compare(point, threshold) for point in points]
    if all(each is None for each in breaching):
        return None if alarm.get("TreatMissingData") == "ignore" else "INSUFFICIENT_DATA"
    needed = int(alarm.get("DatapointsToAlarm") or alarm["EvaluationPeriods"])
    return "ALARM" if sum(each is True for each in breaching) >= needed else "OK"


def _points(alarm: dict[str, Any], now: float) -> list[float | None]:
    periods = range(int(alarm["EvaluationPeriods"]))
    if "Metrics" not in alarm:
        metric = {key: alarm.get(key) for key in ("Namespace", "MetricName", "Dimensions")}
        return [
            _statistic(metric, alarm["Statistic"], int(alarm["Period"]), n, now) for n in periods
        ]
    points = []
    for number in periods:
        values: dict[str, float | None] = {}
        for query in alarm["Metrics"]:
            if stat := query.get("MetricStat"):
                values[query["Id"]] = _statistic(
                    stat["Metric"], stat["Stat"], int(stat["Period"]), number, now
                )
        returned = next(query for query in alarm["Metrics"] if query.get("ReturnData", True))
        expression = returned.get("Expression")
        points.append(
            expression_value(expression, values) if expression else values[returned["Id"]]
        )
    return points


def _statistic(
    metric: dict[str, Any], statistic: str, period: int, number: int, now: float
) -> float | None:
    """One statistic over the period that ended `number` periods ago."""
    dimensions = {each["Name"]: each["Value"] for each in metric.get("Dimensions") or []}
    key = (metric["Namespace"], metric["MetricName"], cloudwatch._dims_key(dimensions))
    end = now - number * period
    values = [
        float(point["Value"])
        for point in list(cloudwatch._metrics.get(key) or [])
        if end - period <= point["Timestamp"] < end
    ]
    return STATISTICS[statistic](values) if values else None


def _reach(alarm: dict[str, Any]) -> int:
    """Return how many seconds back an alarm looks: before that it has not seen enough to judge."""
    queries = alarm.get("Metrics", [])
    stats = [query["MetricStat"] for query in queries if "MetricStat" in query]
    period = max((int(each["Period"]) for each in stats), default=alarm["Period"])
    return int(period) * int(alarm["EvaluationPeriods"])


def _evaluate(alarm: dict[str, Any]) -> None:
    """Give an alarm the state that its data ask for, and do its actions if that is a change."""
    now = time.time()
    if now < alarm["AlarmConfigurationUpdatedTimestamp"] + _reach(alarm):
        return
    points = _points(alarm, now)
    state, before = verdict(alarm, points), alarm["StateValue"]
    if state is None or state == before:
        return
    reason = f"{points} against {alarm['ComparisonOperator']} {alarm['Threshold']}"
    alarm.update(StateValue=state, StateReason=reason, StateUpdatedTimestamp=int(now))
    cloudwatch._record_history(alarm["AlarmName"], before, state, reason)
    cloudwatch._dispatch_alarm_actions(alarm, before, state, reason)


def _sweep() -> None:
    scopes = {scoped[:2] for scoped in [*cloudwatch._alarms._data]}
    for account, region in scopes:
        set_request_account_id(account)
        set_request_region(region)
        for queue in list(sqs._queues.values()):
            visible = sum(message["visible_at"] <= time.time() for message in queue["messages"])
            cloudwatch.record_metric(
                "AWS/SQS",
                "ApproximateNumberOfMessagesVisible",
                visible,
                "Count",
                {"QueueName": queue["name"]},
            )
        for alarm in list(cloudwatch._alarms.values()):
            _evaluate(alarm)


def install(clock: Clock) -> None:
    """Replace ministack's evaluation, accept expressions in templates, and evaluate regularly."""
    record_of = provisioners._cw_metric_alarm_record

    def record(name: str, properties: dict[str, Any]) -> dict[str, Any]:
        if not properties.get("Metrics"):
            return dict(record_of(name, properties))
        alarm = dict(
            record_of(name, {**properties, "Metrics": None, "MetricName": "-", "Namespace": "-"})
        )
        return {**alarm, "MetricName": "", "Namespace": "", "Metrics": properties["Metrics"]}

    def sweep_forever() -> None:
        while not clock.sleep(SWEEP_SECONDS):
            with contextlib.suppress(
                RuntimeError
            ):  # a store changed while it was read: the next sweep sees it
                _sweep()

    provisioners._cw_metric_alarm_record = record
    cloudwatch._evaluate_alarm = _evaluate
    threading.Thread(target=sweep_forever, daemon=True, name="alarms").start()
