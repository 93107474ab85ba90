"""Alarm mute rules: when they hold, what they may say, and that deleting one twice is no error."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.sandbox.companion_lab import ACCOUNT, CompanionLab
from tests.sandbox.ec2_lab import HOME, START


@pytest.fixture
def lab() -> CompanionLab:
    return CompanionLab()


def put(
    lab: CompanionLab,
    *,
    name: str = "backup",
    expression: str = "at(2026-11-22T03:00)",
    duration: str = "PT2H",
    alarms: tuple[str, ...] = ("cpu",),
    zone: str = "",
    **more: object,
) -> str:
    """Put a rule; return the error, if it is one."""
    schedule = {"Expression": expression, "Duration": duration}
    if zone:
        schedule["Timezone"] = zone
    return lab.refusal(
        *("cloudwatch", "PutAlarmMuteRule"),
        Name=name,
        Rule={"Schedule": schedule},
        MuteTargets={"AlarmNames": list(alarms)},
        **more,
    )


def status(lab: CompanionLab, name: str = "backup") -> str:
    return str(lab.ask("cloudwatch", "GetAlarmMuteRule", AlarmMuteRuleName=name)["Status"])


def is_muted(lab: CompanionLab, alarm: str = "cpu") -> bool:
    return lab.companions.muting.is_muted(alarm, ACCOUNT, HOME)


def test_a_rule_mutes_its_alarms_from_its_moment_on_and_ends_by_itself(lab: CompanionLab) -> None:
    assert put(lab, expression="at(2026-11-22T03:10)") == ""
    assert (status(lab), is_muted(lab)) == ("SCHEDULED", False)
    lab.wait(600)
    assert (status(lab), is_muted(lab), is_muted(lab, "disk")) == ("ACTIVE", True, False)
    lab.wait(7199)
    assert is_muted(lab)
    lab.wait(1)
    assert (status(lab), is_muted(lab)) == ("EXPIRED", False)


def test_a_rule_of_the_same_name_is_replaced(lab: CompanionLab) -> None:
    put(lab)
    put(lab, alarms=("disk",))
    assert (is_muted(lab), is_muted(lab, "disk")) == (False, True)


def test_a_rule_that_is_deleted_mutes_nothing_and_may_be_deleted_again(lab: CompanionLab) -> None:
    put(lab)
    for _ in range(2):
        lab.ask("cloudwatch", "DeleteAlarmMuteRule", AlarmMuteRuleName="backup")
    assert not is_muted(lab)
    gone = lab.refusal("cloudwatch", "GetAlarmMuteRule", AlarmMuteRuleName="backup")
    assert gone.startswith("ResourceNotFoundException")


def test_the_moment_is_in_the_rule_s_time_zone(lab: CompanionLab) -> None:
    assert put(lab, expression="at(2026-11-22T12:00)", zone="Asia/Seoul") == ""
    assert status(lab) == "ACTIVE"


def test_a_rule_holds_between_its_start_and_its_end_only(lab: CompanionLab) -> None:
    put(lab, StartDate=datetime.fromtimestamp(START + 60, UTC))
    assert status(lab) == "SCHEDULED"
    lab.wait(60)
    assert status(lab) == "ACTIVE"
    put(lab, ExpireDate=datetime.fromtimestamp(START, UTC))
    assert status(lab) == "EXPIRED"


@pytest.mark.parametrize(
    "rule",
    [
        {"expression": "in two hours"},
        {"expression": "at(2026-13-22T03:00)"},
        {"expression": "at(2026-11-22T03:00:00)"},
        {"expression": "at(2026-11-22T03:00)", "zone": "Nowhere/Else"},
        {"expression": "cron(0 2 * *)"},
        {"duration": "PT30S"},
        {"duration": "P16D"},
        {"duration": "2 hours"},
        {"duration": "PT"},
        {"alarms": tuple(f"alarm-{number}" for number in range(101))},
    ],
)
def test_what_is_no_rule_is_refused(lab: CompanionLab, rule: dict[str, Any]) -> None:
    assert put(lab, **rule).startswith("ValidationError: ")
    assert lab.companions.truth()["mute_rules"] == []


@pytest.mark.parametrize("duration", ["PT1M", "P15D", "P1DT2H3M4S", "PT2H"])
def test_durations_from_a_minute_to_fifteen_days_are_good(lab: CompanionLab, duration: str) -> None:
    assert put(lab, duration=duration) == ""


def test_rules_are_listed_by_alarm_and_status_in_pages(lab: CompanionLab) -> None:
    put(lab, name="a")
    put(lab, name="b", alarms=("disk",))
    put(lab, name="c", expression="cron(0 2 * * SUN)")

    def names(**query: object) -> list[str]:
        rows = lab.ask("cloudwatch", "ListAlarmMuteRules", **query)["AlarmMuteRuleSummaries"]
        return [row["AlarmMuteRuleArn"].rpartition(":")[2] for row in rows]

    assert names() == ["a", "b", "c"]
    assert names(AlarmName="cpu") == ["a", "c"]
    assert names(Statuses=["SCHEDULED"]) == ["c"]
    assert names(MaxRecords=2) == ["a", "b"]
    assert names(MaxRecords=2, NextToken="2") == ["c"]


def test_the_alarms_that_were_put_are_described(lab: CompanionLab) -> None:
    dimension = {"Name": "InstanceId", "Value": "i-1"}
    for name in ("cpu", "disk"):
        lab.ask("cloudwatch", "PutMetricAlarm", AlarmName=name, Dimensions=[dimension])
    found = lab.ask("cloudwatch", "DescribeAlarms", AlarmTypes=["MetricAlarm"])["MetricAlarms"]
    assert [(row["AlarmName"], row["Dimensions"]) for row in found] == [
        ("cpu", [dimension]),
        ("disk", [dimension]),
    ]
    assert found[0]["AlarmArn"].endswith(":alarm:cpu")
    for query in ({"AlarmNames": ["disk"]}, {"AlarmNamePrefix": "di"}):
        rows = lab.ask("cloudwatch", "DescribeAlarms", **query)["MetricAlarms"]
        assert [row["AlarmName"] for row in rows] == ["disk"]
    composite = lab.ask("cloudwatch", "DescribeAlarms", AlarmTypes=["CompositeAlarm"])
    assert composite["MetricAlarms"] == []


def test_the_truth_says_what_is_muted_until_when(lab: CompanionLab) -> None:
    put(lab)
    assert lab.companions.truth()["mute_rules"] == [
        {
            "name": "backup",
            "region": HOME,
            "alarms": ["cpu"],
            "status": "ACTIVE",
            "ends_at": "2026-11-22T05:00:00.000Z",
        }
    ]
