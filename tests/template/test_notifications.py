"""Whatever goes wrong is heard of: the alarms, and the topic with its key."""

import itertools
import re
from collections.abc import Mapping
from typing import Any

import pytest

from tests.template.cloudformation import Stack

TOPIC = "<NotificationTopic>"
PUBLISHERS = {"cloudwatch.amazonaws.com"}

# What each alarm watches: metrics of a namespace, and which of their dimensions.
MACHINE = {"Name": "StateMachineArn", "Value": "<BackupStateMachine>"}
STACK = {"Name": "service", "Value": "${AWS::StackName}"}
PLANNER = {"Name": "FunctionName", "Value": "<PlanBackupsFunction>"}
RECOVERY = {"Name": "FunctionName", "Value": "<RecoverInstancesFunction>"}
PRUNING = {"Name": "FunctionName", "Value": "<PruneRecoveryPointsFunction>"}
COPYING = {"Name": "FunctionName", "Value": "<CopyRecoveryPointsFunction>"}
QUEUE = {"Name": "QueueName", "Value": "<DeadLetterQueue.QueueName>"}
RECOVERY_QUEUE = {"Name": "QueueName", "Value": "<RecoveryDeadLetterQueue.QueueName>"}
LETTERS = {"ApproximateNumberOfMessagesVisible"}
ENDS = {"ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"}
ALARMS: dict[str, tuple[str, set[str], list[dict[str, str]]]] = {
    "BackupFailedAlarm": ("AWS/States", ENDS, [MACHINE]),
    "InstanceStrandedAlarm": ("Stillpoint", {"InstanceStranded", "InstanceOutOfService"}, [STACK]),
    "PlannerFailingAlarm": ("AWS/Lambda", {"Errors"}, [PLANNER]),
    "PlannerSilentAlarm": ("AWS/Lambda", {"Invocations"}, [PLANNER]),
    "DeadLettersAlarm": ("AWS/SQS", LETTERS, [QUEUE]),
    "RecoveryFailingAlarm": ("AWS/Lambda", {"Errors"}, [RECOVERY]),
    "RecoverySilentAlarm": ("AWS/Lambda", {"Invocations"}, [RECOVERY]),
    "RetentionFailingAlarm": ("AWS/Lambda", {"Errors"}, [PRUNING, COPYING]),
    "CopyingSilentAlarm": ("AWS/Lambda", {"Invocations"}, [COPYING]),
    "RecoveryDeadLettersAlarm": ("AWS/SQS", LETTERS, [RECOVERY_QUEUE]),
}
# The alarm that is of no use unless there are Regions to copy to.
OF_COPIES = "CopyingSilentAlarm"
# Each alarm on silence, with the schedule rule of what it listens to.
SILENCES = {
    "PlannerSilentAlarm": "PlanBackupsFunctionTick",
    "RecoverySilentAlarm": "RecoverInstancesFunctionSweep",
    "CopyingSilentAlarm": "CopyRecoveryPointsFunctionTick",
}


def silences(stack: Stack) -> dict[str, Mapping[str, Any]]:
    """The alarms of a stack on silence."""
    alarms = stack.of_type("AWS::CloudWatch::Alarm").items()
    return {name: alarm for name, alarm in alarms if name.endswith("SilentAlarm")}


def counted(alarm: Mapping[str, Any]) -> Mapping[str, Any]:
    """The one metric that an alarm on silence counts."""
    (found,) = (each["MetricStat"] for each in alarm["Metrics"] if "MetricStat" in each)
    metric: Mapping[str, Any] = found
    return metric


def watched(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """The metrics of an alarm, whether it has one or an expression over several."""
    queries = alarm.get("Metrics", ())
    return [each["MetricStat"]["Metric"] for each in queries if "MetricStat" in each] or [alarm]


def test_there_is_an_alarm_for_everything_that_can_go_wrong(any_stack: Stack) -> None:
    left_out = set() if any_stack.given("CopyRegions") else {OF_COPIES}
    assert any_stack.of_type("AWS::CloudWatch::Alarm").keys() == ALARMS.keys() - left_out


def test_every_alarm_watches_its_metrics_and_tells_the_topic(any_stack: Stack) -> None:
    for name, properties in any_stack.of_type("AWS::CloudWatch::Alarm").items():
        alarm = dict(properties)
        namespace, names, dimensions = ALARMS[name]
        metrics = watched(alarm)
        assert {each["MetricName"] for each in metrics} == names
        assert {each["Namespace"] for each in metrics} == {namespace}
        shown = [each["Dimensions"] for each in metrics]
        assert [each for each, _ in itertools.groupby(shown)] == [[each] for each in dimensions]
        assert alarm["AlarmActions"] == [TOPIC]
        assert alarm.get("ActionsEnabled", True) is True
        assert alarm["AlarmDescription"].endswith((".", "?"))


@pytest.mark.parametrize(
    "name", ["BackupFailedAlarm", "InstanceStrandedAlarm", "RetentionFailingAlarm"]
)
def test_an_alarm_on_several_metrics_adds_up_everything_that_it_watches(
    name: str, any_stack: Stack
) -> None:
    queries = any_stack.properties(name)["Metrics"]
    (returned,) = (each for each in queries if each.get("ReturnData", True))
    summed = [each["Id"] for each in queries if each is not returned]
    assert returned["Expression"] == " + ".join(f"FILL({one}, 0)" for one in summed)


def test_an_alarm_on_trouble_fires_at_the_first_and_one_on_silence_without_data(
    any_stack: Stack,
) -> None:
    for name, alarm in any_stack.of_type("AWS::CloudWatch::Alarm").items():
        silent = name.endswith("SilentAlarm")
        assert alarm["TreatMissingData"] == ("breaching" if silent else "notBreaching")
        assert (alarm["ComparisonOperator"], alarm["Threshold"]) == (
            ("LessThanThreshold", 1) if silent else ("GreaterThanThreshold", 0)
        )


@pytest.mark.parametrize("name", ["RecoveryFailingAlarm", "RecoveryDeadLettersAlarm"])
def test_a_recovery_that_does_not_work_is_heard_of_within_minutes(
    name: str, any_stack: Stack
) -> None:
    alarm = any_stack.properties(name)
    assert (alarm["EvaluationPeriods"], alarm.get("DatapointsToAlarm", 1)) == (1, 1)
    assert alarm["Period"] <= 300
    assert "stillpoint:cycle" in alarm["AlarmDescription"]  # what to look for


def test_the_planner_is_not_called_silent_between_two_ticks(
    any_stack: Stack, template: dict[str, Any]
) -> None:
    longest = max(template["Parameters"]["TickInterval"]["AllowedValues"])
    assert counted(any_stack.properties("PlannerSilentAlarm"))["Period"] >= 2 * 60 * longest


def test_nothing_that_is_on_time_is_called_silent(any_stack: Stack) -> None:
    for name, alarm in silences(any_stack).items():
        expression = any_stack.properties(SILENCES[name])["ScheduleExpression"]
        minutes = re.fullmatch(r"rate\((\d+) minutes?\)", expression)
        assert minutes is not None, expression
        assert counted(alarm)["Period"] >= 2 * 60 * int(minutes[1])
        assert counted(alarm)["Stat"] == "Sum"


def test_an_alarm_on_silence_counts_no_data_as_no_invocation(any_stack: Stack) -> None:
    for alarm in silences(any_stack).values():
        queries = alarm["Metrics"]
        (returned,) = (each for each in queries if each.get("ReturnData", True))
        assert returned["Expression"] == "FILL(counted, 0)"
        assert [each["Id"] for each in queries if "MetricStat" in each] == ["counted"]


def test_the_topic_is_encrypted_with_a_key_of_ours_that_publishers_may_use(
    any_stack: Stack,
) -> None:
    assert any_stack.properties("NotificationTopic")["KmsMasterKeyId"] == "<TopicKey>"
    key = any_stack.properties("TopicKey")
    assert key["EnableKeyRotation"] is True
    statements = key["KeyPolicy"]["Statement"]
    (statement,) = (each for each in statements if "Service" in each["Principal"])
    assert {statement["Principal"]["Service"]} == PUBLISHERS
    assert statement["Effect"] == "Allow"
    assert set(statement["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey*"}


def test_the_account_can_always_administer_the_key(any_stack: Stack) -> None:
    statements = any_stack.properties("TopicKey")["KeyPolicy"]["Statement"]
    (own,) = (each for each in statements if "AWS" in each["Principal"])
    assert own["Principal"] == {"AWS": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}
    assert (own["Effect"], own["Action"]) == ("Allow", "kms:*")


def test_alarms_of_this_account_may_publish_to_the_topic_and_nobody_else(
    any_stack: Stack,
) -> None:
    policy = any_stack.properties("NotificationTopicPolicy")
    assert policy["Topics"] == [TOPIC]
    statements = policy["PolicyDocument"]["Statement"]
    assert {each["Principal"]["Service"] for each in statements} == PUBLISHERS
    for each in statements:
        assert (each["Effect"], each["Action"], each["Resource"]) == ("Allow", "sns:Publish", TOPIC)
        assert each["Condition"] == {"StringEquals": {"aws:SourceAccount": "${AWS::AccountId}"}}


def test_an_address_is_subscribed_if_there_is_one(any_stack: Stack) -> None:
    address = any_stack.parameters["NotificationEmail"]
    subscribed = list(any_stack.of_type("AWS::SNS::Subscription").values())
    assert subscribed == (
        [{"TopicArn": TOPIC, "Protocol": "email", "Endpoint": address}] if address else []
    )
