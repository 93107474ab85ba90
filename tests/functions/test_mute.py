"""Muting: which alarms are silent during a backup, and that they are not silent for ever."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from stillpoint.aws.mute import alarms_of, mute
from stillpoint.errors import AwsRefused, AwsUnavailable
from stillpoint.isolation import DONE
from tests.functions.alone import unmute
from tests.functions.played import Refusal, playing, until_it_succeeds
from tests.unit.builders import at

EXECUTION = "i-0a-20261122T030000Z"
RULE = f"stillpoint-{EXECUTION}"
NOW = at("2026-11-22 03:00:30")
WEB, DB = "i-0a", "i-0b"


def watching(*instance_ids: str) -> dict[str, Any]:
    """Return what an alarm on one metric, or on an expression of several, says of them."""
    metrics = [
        {"Dimensions": [{"Name": "InstanceId", "Value": each}, {"Name": "disk", "Value": "/"}]}
        for each in instance_ids
    ]
    if len(metrics) == 1:
        return metrics[0]
    stats = [{"Id": f"m{n}", "MetricStat": {"Metric": each}} for n, each in enumerate(metrics)]
    return {"Metrics": [*stats, {"Id": "e", "Expression": "SUM(METRICS())"}]}


@dataclass
class Alarms:
    """Alarms by name, and mute rules by name."""

    alarms: dict[str, dict[str, Any]] = field(default_factory=dict)
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    status: str = "ACTIVE"
    page: int = 100
    refusals: dict[str, Refusal] = field(default_factory=dict)

    def call(self, action: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        if action in self.refusals:
            raise self.refusals[action]
        if action == "DescribeAlarms":
            assert params["AlarmTypes"] == ["MetricAlarm"]
            rows = [{"AlarmName": name, **alarm} for name, alarm in self.alarms.items()]
            return self._paged("MetricAlarms", rows, params)
        if action == "ListAlarmMuteRules":
            prefix = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm-mute-rule:"
            rows = [{"AlarmMuteRuleArn": prefix + name} for name in self.rules]
            return self._paged("AlarmMuteRuleSummaries", rows, params)
        if action == "GetAlarmMuteRule":
            if params["AlarmMuteRuleName"] not in self.rules:
                raise Refusal("ResourceNotFoundException", status=404)
            return {"Status": self.status}
        if action == "PutAlarmMuteRule":
            assert set(params["MuteTargets"]["AlarmNames"]) <= self.alarms.keys()
            assert 1 <= len(params["MuteTargets"]["AlarmNames"]) <= 100
            self.rules[params["Name"]] = dict(params)
            return {}
        assert action == "DeleteAlarmMuteRule"
        self.rules.pop(params["AlarmMuteRuleName"], None)
        return {}

    def _paged(self, key: str, rows: list[Any], params: Mapping[str, Any]) -> dict[str, Any]:
        begin = int(params.get("NextToken", 0))
        end = begin + self.page
        more = {"NextToken": str(end)} if end < len(rows) else {}
        return {key: rows[begin:end], **more}

    @property
    def silent(self) -> set[str]:
        """The names of the alarms that a rule mutes."""
        return {n for rule in self.rules.values() for n in rule["MuteTargets"]["AlarmNames"]}


def many(count: int) -> Alarms:
    return Alarms({f"web-{number:03}": watching(WEB) for number in range(count)})


def test_the_alarms_of_the_instances_are_found_and_those_of_others_are_not() -> None:
    alarms = {
        "web-status": watching(WEB),
        "both": watching(WEB, DB),
        "with-another": watching(WEB, "i-0c"),
        "of-another": watching("i-0c"),
        "queue": {"Dimensions": [{"Name": "QueueName", "Value": WEB}]},
        "whole-region": {"Dimensions": []},
    }
    with playing("cloudwatch", Alarms(alarms, page=2)) as played:
        assert alarms_of([WEB, DB]) == ("both", "web-status")
        assert alarms_of([WEB]) == ("web-status",)
    assert len(played.asked("DescribeAlarms")) == 6


def test_alarms_are_muted_from_the_next_minute_for_two_hours_whatever_happens() -> None:
    model = many(2)
    with playing("cloudwatch", model):
        assert mute(EXECUTION, [WEB], NOW) == DONE
    (rule,) = model.rules.values()
    assert rule["Name"] == RULE
    assert rule["Rule"]["Schedule"] == {
        "Expression": "at(2026-11-22T03:01)",
        "Duration": "PT2H",
        "Timezone": "UTC",
    }
    assert rule["ExpireDate"] == at("2026-11-22 05:01")
    assert rule["MuteTargets"] == {"AlarmNames": ["web-000", "web-001"]}
    assert len(rule["Description"]) <= 1024


def test_one_rule_mutes_a_hundred_alarms_and_more_need_more() -> None:
    model = many(250)
    with playing("cloudwatch", model):
        mute(EXECUTION, [WEB], NOW)
        assert list(model.rules) == [f"{RULE}.3", f"{RULE}.2", RULE]
        assert model.silent == model.alarms.keys()
        assert unmute(EXECUTION) == DONE
        assert model.rules == {}


def test_without_an_alarm_there_is_no_rule() -> None:
    model = Alarms({"of-another": watching(DB)})
    with playing("cloudwatch", model):
        assert mute(EXECUTION, [WEB], NOW) == DONE
    assert model.rules == {}


def test_a_repetition_does_not_move_the_window() -> None:
    model = many(1)
    with playing("cloudwatch", model) as played:
        mute(EXECUTION, [WEB], NOW)
        before = dict(model.rules)
        mute(EXECUTION, [WEB], NOW + timedelta(minutes=5))
        assert model.rules == before
        assert len(played.asked("PutAlarmMuteRule")) == 1


def test_a_rule_that_has_ended_is_made_anew() -> None:
    model = many(1)
    with playing("cloudwatch", model) as played:
        mute(EXECUTION, [WEB], NOW)
        model.status = "EXPIRED"
        mute(EXECUTION, [WEB], NOW + timedelta(hours=3))
        assert len(played.asked("PutAlarmMuteRule")) == 2


@pytest.mark.parametrize("fault", ["unavailable_at", "lost_at"])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_whichever_call_fails_all_are_muted_and_none_stays_so(fault: str, number: int) -> None:
    model = many(150)
    with playing("cloudwatch", model) as played:
        setattr(played, fault, number)
        until_it_succeeds(lambda: mute(EXECUTION, [WEB], NOW))
        assert model.silent == model.alarms.keys()
        setattr(played, fault, len(played.calls) + number)
        until_it_succeeds(lambda: unmute(EXECUTION))
        assert model.rules == {}


def test_a_crash_in_between_leaves_nothing_that_is_not_found() -> None:
    model = many(250)
    with playing("cloudwatch", model) as played:
        played.unavailable_at = 7  # the third rule is never made
        with pytest.raises(AwsUnavailable):
            mute(EXECUTION, [WEB], NOW)
        assert list(model.rules) == [f"{RULE}.3", f"{RULE}.2"]
        unmute(EXECUTION)
    assert model.rules == {}


def test_the_rules_of_others_stay() -> None:
    model = many(1)
    others = [f"{RULE}.x", f"{RULE}2", "stillpoint-i-0b-20261122T030000Z", "maintenance"]
    model.rules = {name: {} for name in [*others, RULE, f"{RULE}.2"]}
    model.page = 2
    with playing("cloudwatch", model):
        unmute(EXECUTION)
    assert list(model.rules) == others


def test_what_was_never_muted_is_unmuted() -> None:
    with playing("cloudwatch", Alarms()) as played:
        assert unmute(EXECUTION) == DONE
    assert played.asked("DeleteAlarmMuteRule") == [{"AlarmMuteRuleName": RULE}]


@pytest.mark.parametrize("action", ["GetAlarmMuteRule", "DescribeAlarms", "PutAlarmMuteRule"])
def test_what_is_forbidden_is_refused(action: str) -> None:
    model = many(1)
    model.refusals[action] = Refusal("AccessDenied", status=403)
    with playing("cloudwatch", model), pytest.raises(AwsRefused, match="AccessDenied"):
        mute(EXECUTION, [WEB], NOW)
