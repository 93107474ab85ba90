"""What EventBridge invokes, when, and what becomes of what it or Lambda gives up."""

from typing import Any

import pytest

from tests.template.cloudformation import Stack

# Each rule with the function that it invokes.
RULES = {
    "PlanBackupsFunctionTick": "PlanBackupsFunction",
    "RecoverInstancesFunctionExecutionEnded": "RecoverInstancesFunction",
    "RecoverInstancesFunctionSweep": "RecoverInstancesFunction",
}
# Each function that is invoked by a rule, with the queue for its dead letters.
QUEUES = {
    "PlanBackupsFunction": "DeadLetterQueue",
    "RecoverInstancesFunction": "RecoveryDeadLetterQueue",
}

each_rule = pytest.mark.parametrize(("rule", "function"), RULES.items())
each_queue = pytest.mark.parametrize(("function", "queue"), QUEUES.items())


def target_of(stack: Stack, rule: str) -> dict[str, Any]:
    (target,) = stack.properties(rule)["Targets"]
    return dict(target)


def test_there_is_no_rule_and_no_queue_but_these(any_stack: Stack) -> None:
    assert any_stack.of_type("AWS::Events::Rule").keys() == RULES.keys()
    assert any_stack.of_type("AWS::SQS::Queue").keys() == set(QUEUES.values())
    assert set(RULES.values()) == QUEUES.keys()
    assert not any_stack.of_type("AWS::Scheduler::Schedule")


@each_rule
def test_a_rule_is_enabled_and_hands_its_event_on_as_it_is(
    rule: str, function: str, any_stack: Stack
) -> None:
    assert any_stack.properties(rule).get("State", "ENABLED") == "ENABLED"
    target = target_of(any_stack, rule)
    assert target["Arn"] == f"<{function}.Arn>"
    assert not target.keys() & {"Input", "InputPath", "InputTransformer"}


def test_the_schedule_rule_ticks_as_often_as_the_parameter_says(any_stack: Stack) -> None:
    rule = any_stack.properties("PlanBackupsFunctionTick")
    minutes = int(any_stack.parameters["TickInterval"])
    assert rule["ScheduleExpression"] == f"rate({minutes} minute{'s' if minutes > 1 else ''})"


def test_the_recovery_looks_every_five_minutes_for_what_no_event_told_of(any_stack: Stack) -> None:
    rule = any_stack.properties("RecoverInstancesFunctionSweep")
    assert rule["ScheduleExpression"] == "rate(5 minutes)"
    assert "EventPattern" not in rule


def test_the_recovery_is_told_of_every_execution_of_ours_that_ended_badly(
    any_stack: Stack,
) -> None:
    rule = any_stack.properties("RecoverInstancesFunctionExecutionEnded")
    assert rule["EventPattern"] == {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {
            "stateMachineArn": ["<BackupStateMachine>"],
            "status": ["FAILED", "TIMED_OUT", "ABORTED"],
        },
    }
    assert "ScheduleExpression" not in rule


def test_eventbridge_may_invoke_each_function_by_its_own_rules_alone(any_stack: Stack) -> None:
    permissions = any_stack.of_type("AWS::Lambda::Permission").values()
    assert all(each["Action"] == "lambda:InvokeFunction" for each in permissions)
    assert sorted(
        (each["Principal"], each["SourceArn"], each["FunctionName"]) for each in permissions
    ) == sorted(
        ("events.amazonaws.com", f"<{rule}.Arn>", f"<{function}>")
        for rule, function in RULES.items()
    )


@each_rule
def test_what_a_rule_gives_up_becomes_a_dead_letter_of_its_function(
    rule: str, function: str, any_stack: Stack
) -> None:
    target = target_of(any_stack, rule)
    assert target["DeadLetterConfig"] == {"Arn": f"<{QUEUES[function]}.Arn>"}
    assert target["RetryPolicy"]["MaximumRetryAttempts"] >= 1


@each_queue
def test_what_a_function_gives_up_becomes_a_dead_letter_after_another_try(
    function: str, queue: str, any_stack: Stack
) -> None:
    assert any_stack.properties(function)["DeadLetterConfig"] == {"TargetArn": f"<{queue}.Arn>"}
    (tried,) = (
        each
        for each in any_stack.of_type("AWS::Lambda::EventInvokeConfig").values()
        if each["FunctionName"] == f"<{function}>"
    )
    assert tried["MaximumRetryAttempts"] >= 1
    assert tried["Qualifier"] == "$LATEST"


def test_an_ended_execution_is_not_given_up_before_an_hour(any_stack: Stack) -> None:
    target = target_of(any_stack, "RecoverInstancesFunctionExecutionEnded")
    (tried,) = (
        each
        for each in any_stack.of_type("AWS::Lambda::EventInvokeConfig").values()
        if each["FunctionName"] == "<RecoverInstancesFunction>"
    )
    assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] >= 3600
    assert tried["MaximumEventAgeInSeconds"] >= 3600


@each_queue
def test_rules_of_this_account_may_leave_dead_letters_and_nobody_else(
    function: str, queue: str, any_stack: Stack
) -> None:
    del function
    # One policy for one queue: SQS takes no policy with statements on several (SQS Developer Guide,
    # "Special Information for SQS Policies").
    (policy,) = (
        each
        for each in any_stack.of_type("AWS::SQS::QueuePolicy").values()
        if f"<{queue}>" in each["Queues"]
    )
    assert policy["Queues"] == [f"<{queue}>"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert (statement["Effect"], statement["Action"]) == ("Allow", "sqs:SendMessage")
    assert statement["Resource"] == f"<{queue}.Arn>"
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": "${AWS::AccountId}"}}


@each_queue
def test_dead_letters_are_encrypted_and_kept_as_long_as_sqs_can(
    function: str, queue: str, any_stack: Stack
) -> None:
    del function
    properties = any_stack.properties(queue)
    assert properties["SqsManagedSseEnabled"] is True
    assert properties["MessageRetentionPeriod"] == 14 * 24 * 3600
