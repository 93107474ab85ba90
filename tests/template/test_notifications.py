"""Whatever goes wrong is heard of: alarms, rules, the topic with its key, and dead letters."""

from typing import Any

import pytest

from tests.template.cloudformation import Stack

TOPIC = "<NotificationTopic>"
QUEUE = "<DeadLetterQueue.Arn>"
PUBLISHERS = {"cloudwatch.amazonaws.com", "events.amazonaws.com"}

# What each alarm watches.
ALARMS = {
    "BackupFailedAlarm": {
        ("AWS/States", "ExecutionsFailed"),
        ("AWS/States", "ExecutionsTimedOut"),
        ("AWS/States", "ExecutionsAborted"),
    },
    "InstanceStrandedAlarm": {("Stillpoint", "InstanceStranded")},
    "PlannerFailingAlarm": {("AWS/Lambda", "Errors")},
    "PlannerSilentAlarm": {("AWS/Lambda", "Invocations")},
    "DeadLettersAlarm": {("AWS/SQS", "ApproximateNumberOfMessagesVisible")},
}
# What the metrics of AWS's services are about.
DIMENSIONS = {
    "AWS/States": {"Name": "StateMachineArn", "Value": "<BackupStateMachine>"},
    "AWS/Lambda": {"Name": "FunctionName", "Value": "<PlanBackupsFunction>"},
    "AWS/SQS": {"Name": "QueueName", "Value": "<DeadLetterQueue.QueueName>"},
    "Stillpoint": {"Name": "service", "Value": "${AWS::StackName}"},
}


def watched(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """The metrics of an alarm, whether it has one or an expression over several."""
    queries = alarm.get("Metrics", ())
    return [each["MetricStat"]["Metric"] for each in queries if "MetricStat" in each] or [alarm]


def test_there_is_an_alarm_for_everything_that_can_go_wrong(any_stack: Stack) -> None:
    assert any_stack.of_type("AWS::CloudWatch::Alarm").keys() == ALARMS.keys()


@pytest.mark.parametrize("name", ALARMS)
def test_the_alarm_watches_its_metrics_and_tells_the_topic(name: str, any_stack: Stack) -> None:
    alarm = dict(any_stack.properties(name))
    metrics = watched(alarm)
    assert {(each["Namespace"], each["MetricName"]) for each in metrics} == ALARMS[name]
    assert alarm["AlarmActions"] == [TOPIC]
    assert alarm.get("ActionsEnabled", True) is True
    assert alarm["AlarmDescription"].endswith((".", "?"))
    for each in metrics:
        assert each["Dimensions"] == [DIMENSIONS[each["Namespace"]]]


def test_the_alarm_on_failed_backups_adds_up_everything_that_it_watches(any_stack: Stack) -> None:
    queries = any_stack.properties("BackupFailedAlarm")["Metrics"]
    (returned,) = (each for each in queries if each.get("ReturnData", True))
    summed = [each["Id"] for each in queries if each is not returned]
    assert returned["Expression"] == " + ".join(f"FILL({one}, 0)" for one in summed)


def test_an_alarm_on_trouble_fires_at_the_first_and_one_on_silence_without_data(
    any_stack: Stack,
) -> None:
    for name, alarm in any_stack.of_type("AWS::CloudWatch::Alarm").items():
        silent = name == "PlannerSilentAlarm"
        assert alarm["TreatMissingData"] == ("breaching" if silent else "notBreaching")
        assert (alarm["ComparisonOperator"], alarm["Threshold"]) == (
            ("LessThanThreshold", 1) if silent else ("GreaterThanThreshold", 0)
        )


def test_the_planner_is_not_called_silent_between_two_ticks(
    any_stack: Stack, template: dict[str, Any]
) -> None:
    longest = max(template["Parameters"]["TickInterval"]["AllowedValues"])
    assert any_stack.properties("PlannerSilentAlarm")["Period"] >= 2 * 60 * longest


def test_the_topic_is_encrypted_with_a_key_of_ours_that_publishers_may_use(
    any_stack: Stack,
) -> None:
    assert any_stack.properties("NotificationTopic")["KmsMasterKeyId"] == "<TopicKey>"
    key = any_stack.properties("TopicKey")
    assert key["EnableKeyRotation"] is True
    statements = key["KeyPolicy"]["Statement"]
    (statement,) = (each for each in statements if "Service" in each["Principal"])
    assert set(statement["Principal"]["Service"]) == PUBLISHERS
    assert statement["Effect"] == "Allow"
    assert set(statement["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey*"}
    # A source condition would keep EventBridge from an encrypted topic (EventBridge User Guide,
    # "Amazon SNS permissions").
    assert "Condition" not in statement


def test_the_account_can_always_administer_the_key(any_stack: Stack) -> None:
    statements = any_stack.properties("TopicKey")["KeyPolicy"]["Statement"]
    (own,) = (each for each in statements if "AWS" in each["Principal"])
    assert own["Principal"] == {"AWS": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}
    assert (own["Effect"], own["Action"]) == ("Allow", "kms:*")


def test_alarms_and_rules_may_publish_to_the_topic_and_nobody_else(any_stack: Stack) -> None:
    policy = any_stack.properties("NotificationTopicPolicy")
    assert policy["Topics"] == [TOPIC]
    statements = policy["PolicyDocument"]["Statement"]
    assert {each["Principal"]["Service"] for each in statements} == PUBLISHERS
    for each in statements:
        assert (each["Effect"], each["Action"], each["Resource"]) == ("Allow", "sns:Publish", TOPIC)


def test_an_address_is_subscribed_if_there_is_one(any_stack: Stack) -> None:
    address = any_stack.parameters["NotificationEmail"]
    subscribed = list(any_stack.of_type("AWS::SNS::Subscription").values())
    assert subscribed == (
        [{"TopicArn": TOPIC, "Protocol": "email", "Endpoint": address}] if address else []
    )


def test_the_schedule_rule_ticks_as_often_as_the_parameter_says(any_stack: Stack) -> None:
    rule = any_stack.properties("PlanBackupsFunctionTick")
    minutes = int(any_stack.parameters["TickInterval"])
    assert rule["ScheduleExpression"] == f"rate({minutes} minute{'s' if minutes > 1 else ''})"
    assert rule.get("State", "ENABLED") == "ENABLED"
    (target,) = rule["Targets"]
    assert target["Arn"] == "<PlanBackupsFunction.Arn>"


def test_eventbridge_may_invoke_the_planner_by_that_rule_alone(any_stack: Stack) -> None:
    (permission,) = any_stack.of_type("AWS::Lambda::Permission").values()
    assert permission["FunctionName"] == "<PlanBackupsFunction>"
    assert permission["Principal"] == "events.amazonaws.com"
    assert permission["SourceArn"] == "<PlanBackupsFunctionTick.Arn>"


def test_what_a_rule_or_the_planner_gives_up_becomes_a_dead_letter(any_stack: Stack) -> None:
    rules = any_stack.of_type("AWS::Events::Rule")
    assert len(rules) == 2
    for rule in rules.values():
        for target in rule["Targets"]:
            assert target["DeadLetterConfig"] == {"Arn": QUEUE}
            assert target["RetryPolicy"]["MaximumRetryAttempts"] >= 1
    assert any_stack.properties("PlanBackupsFunction")["DeadLetterConfig"] == {"TargetArn": QUEUE}


def test_rules_of_this_account_may_leave_dead_letters_and_nobody_else(any_stack: Stack) -> None:
    policy = any_stack.properties("DeadLetterQueuePolicy")
    assert policy["Queues"] == ["<DeadLetterQueue>"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert (statement["Effect"], statement["Action"]) == ("Allow", "sqs:SendMessage")
    assert statement["Resource"] == QUEUE
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": "${AWS::AccountId}"}}


def test_dead_letters_are_encrypted_and_kept_as_long_as_sqs_can(any_stack: Stack) -> None:
    queue = any_stack.properties("DeadLetterQueue")
    assert queue["SqsManagedSseEnabled"] is True
    assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600


def test_an_execution_that_cannot_report_itself_is_reported(any_stack: Stack) -> None:
    rule = any_stack.properties("BackupCutOffRule")
    assert rule["EventPattern"] == {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {
            "stateMachineArn": ["<BackupStateMachine>"],
            "status": ["ABORTED", "TIMED_OUT"],
        },
    }
    (target,) = rule["Targets"]
    assert target["Arn"] == TOPIC
    transformer = target["InputTransformer"]
    for name, path in transformer["InputPathsMap"].items():
        assert f"<{name}>" in transformer["InputTemplate"]
        assert path.startswith("$.detail.")
    # To a topic, EventBridge sends a template of text only if each line of it is quoted.
    assert all(
        line.startswith('"') and line.endswith('"')
        for line in transformer["InputTemplate"].splitlines()
    )
