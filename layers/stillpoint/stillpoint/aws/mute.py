"""Muting: a rule that keeps the alarms of instances from acting while they are down."""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from itertools import batched
from typing import Any

from botocore.exceptions import ClientError

from stillpoint.aws.client import client, error_code, translated
from stillpoint.aws.once import Once
from stillpoint.isolation import DONE, Progress
from stillpoint.mute import ALARMS_OF_ONE_RULE, Window, concerns_only, is_of, rule_name, window

_NOT_THERE = frozenset({"ResourceNotFound", "ResourceNotFoundException"})


def alarms_of(instance_ids: Collection[str]) -> tuple[str, ...]:
    """Return the names of the metric alarms of the instances, and of no others, sorted.

    An alarm on a metric, or on an expression of several, is theirs by the dimension InstanceId.
    """
    with translated("reading the alarms"):
        pages = client("cloudwatch").get_paginator("describe_alarms")
        return tuple(
            sorted(
                alarm["AlarmName"]
                for page in pages.paginate(AlarmTypes=["MetricAlarm"])
                for alarm in page["MetricAlarms"]
                if concerns_only(_instances_named_by(alarm), instance_ids)
            )
        )


def mute(execution: str, instance_ids: Collection[str], now: datetime) -> Progress:
    """Mute the alarms of the instances from the next full minute on; done at once.

    The rule with the first name is made last: if it is there, all are, and their time is not moved
    by a repetition. They end by themselves.
    """
    if _is_muted(rule_name(execution)):
        return DONE
    alarms = alarms_of(instance_ids)
    rules = list(enumerate(batched(alarms, ALARMS_OF_ONE_RULE, strict=False), start=1))
    when = window(now)
    for number, names in reversed(rules):
        _put(rule_name(execution, number), names, when)
    return DONE


class MuteRules:
    """The names of all mute rules at one look, read when first asked for."""

    def __init__(self) -> None:
        """Read nothing yet."""
        self._names = Once(_names)

    def of(self, execution: str) -> set[str]:
        """Return the names of the rules of an execution, with the first one in any case."""
        return {rule_name(execution), *(n for n in self._names(None) if is_of(n, execution))}


def unmute(execution: str, rules: MuteRules) -> Progress:
    """Remove the mute rules of an execution; done at once.

    An alarm that is in the state ALARM then acts (CloudWatch API Reference, DeleteAlarmMuteRule,
    which also says that deleting a rule that does not exist is no error).
    """
    for name in sorted(rules.of(execution)):
        with translated(f"removing the mute rule {name}"):
            client("cloudwatch").delete_alarm_mute_rule(AlarmMuteRuleName=name)
    return DONE


def _put(name: str, alarms: Collection[str], when: Window) -> None:
    with translated(f"making the mute rule {name}"):
        client("cloudwatch").put_alarm_mute_rule(
            Name=name,
            Description="Made by Stillpoint: these alarms are silent during a backup",
            Rule={
                "Schedule": {
                    "Expression": when.expression,
                    "Duration": when.duration,
                    "Timezone": "UTC",
                }
            },
            MuteTargets={"AlarmNames": list(alarms)},
            ExpireDate=when.ends_at,
        )


def _is_muted(name: str) -> bool:
    """Return whether a mute rule is in force, or will be."""
    with translated(f"reading the mute rule {name}"):
        try:
            rule = client("cloudwatch").get_alarm_mute_rule(AlarmMuteRuleName=name)
        except ClientError as error:
            if error_code(error) not in _NOT_THERE:
                raise
            return False
    return bool(rule.get("Status") != "EXPIRED")


def _names(_: None) -> list[str]:
    """Read the names of the mute rules."""
    with translated("reading the mute rules"):
        pages = client("cloudwatch").get_paginator("list_alarm_mute_rules")
        return [
            row["AlarmMuteRuleArn"].rpartition(":alarm-mute-rule:")[2]
            for page in pages.paginate()
            for row in page["AlarmMuteRuleSummaries"]
        ]


def _instances_named_by(alarm: Mapping[str, Any]) -> Iterator[str]:
    """Yield the ids of the instances whose metrics an alarm watches."""
    metrics = [alarm] + [
        each["MetricStat"]["Metric"] for each in alarm.get("Metrics", ()) if "MetricStat" in each
    ]
    for metric in metrics:
        for dimension in metric.get("Dimensions", ()):
            if dimension["Name"] == "InstanceId":
                yield dimension["Value"]
