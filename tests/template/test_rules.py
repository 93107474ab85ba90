"""What EventBridge invokes, when, and what becomes of what it or Lambda gives up."""

from typing import Any

import pytest

from tests.template.cloudformation import Stack

# Each rule with the function that it invokes.
RULES = {
    "CopyRecoveryPointsFunctionBackupSucceeded": "CopyRecoveryPointsFunction",
    "CopyRecoveryPointsFunctionTick": "CopyRecoveryPointsFunction",
    "PlanBackupsFunctionTick": "PlanBackupsFunction",
    "PruneRecoveryPointsFunctionBackupSucceeded": "PruneRecoveryPointsFunction",
    "PruneRecoveryPointsFunctionSweep": "PruneRecoveryPointsFunction",
    "RecoverInstancesFunctionExecutionEnded": "RecoverInstancesFunction",
    "RecoverInstancesFunctionSweep": "RecoverInstancesFunction",
}
# Each function that is invoked by a rule, with the queue for its dead letters.
QUEUES = {
    "CopyRecoveryPointsFunction": "DeadLetterQueue",
    "PlanBackupsFunction": "DeadLetterQueue",
    "PruneRecoveryPointsFunction": "DeadLetterQueue",
    "RecoverInstancesFunction": "RecoveryDeadLetterQueue",
}

# The rule that is of no use unless there are Regions to copy to. The ticks of the copying go on, to
# give up what was to be copied to Regions that are not named any more.
OF_COPIES = "CopyRecoveryPointsFunctionBackupSucceeded"
# Seconds from a function's failure to Lambda's next try (Lambda Developer Guide, "How Lambda
# handles errors and retries with asynchronous invocation").
FIRST_PAUSE = 60

each_rule = pytest.mark.parametrize(("rule", "function"), RULES.items())
each_queue = pytest.mark.parametrize(("function", "queue"), QUEUES.items())
# What these leave undone, their next look does: a call that fails is no letter to keep.
LOOKS_AGAIN = {"CopyRecoveryPointsFunction", "PruneRecoveryPointsFunction"}
each_own_queue = pytest.mark.parametrize(
    ("function", "queue"), [each for each in QUEUES.items() if each[0] not in LOOKS_AGAIN]
)


def target_of(stack: Stack, rule: str) -> dict[str, Any]:
    (target,) = stack.properties(rule)["Targets"]
    return dict(target)


def invoke_config_of(stack: Stack, function: str) -> dict[str, Any]:
    (found,) = (
        each
        for each in stack.of_type("AWS::Lambda::EventInvokeConfig").values()
        if each["FunctionName"] == f"<{function}>"
    )
    return dict(found)


def test_there_is_no_rule_and_no_queue_but_these(any_stack: Stack) -> None:
    assert any_stack.of_type("AWS::Events::Rule").keys() == RULES.keys()
    assert any_stack.of_type("AWS::SQS::Queue").keys() == set(QUEUES.values())
    assert set(RULES.values()) == QUEUES.keys()
    assert not any_stack.of_type("AWS::Scheduler::Schedule")


@each_rule
def test_a_rule_is_enabled_and_hands_its_event_on_as_it_is(
    rule: str, function: str, any_stack: Stack
) -> None:
    is_of_use = rule != OF_COPIES or any_stack.given("CopyRegions")
    state = any_stack.properties(rule).get("State", "ENABLED")
    assert state == ("ENABLED" if is_of_use else "DISABLED")
    target = target_of(any_stack, rule)
    assert target["Arn"] == f"<{function}.Arn>"
    assert not target.keys() & {"Input", "InputPath", "InputTransformer"}


def test_the_schedule_rule_ticks_as_often_as_the_parameter_says(any_stack: Stack) -> None:
    rule = any_stack.properties("PlanBackupsFunctionTick")
    minutes = int(any_stack.parameters["TickInterval"])
    assert rule["ScheduleExpression"] == f"rate({minutes} minute{'s' if minutes > 1 else ''})"


@pytest.mark.parametrize(
    ("rule", "rate"),
    [
        ("RecoverInstancesFunctionSweep", "rate(5 minutes)"),
        ("CopyRecoveryPointsFunctionTick", "rate(5 minutes)"),
        ("PruneRecoveryPointsFunctionSweep", "rate(24 hours)"),
    ],
)
def test_a_sweep_looks_for_what_no_event_told_of(rule: str, rate: str, any_stack: Stack) -> None:
    assert any_stack.properties(rule)["ScheduleExpression"] == rate
    assert "EventPattern" not in any_stack.properties(rule)


@pytest.mark.parametrize(
    ("rule", "ends"),
    [
        ("RecoverInstancesFunctionExecutionEnded", ["FAILED", "TIMED_OUT", "ABORTED"]),
        ("PruneRecoveryPointsFunctionBackupSucceeded", ["SUCCEEDED"]),
        ("CopyRecoveryPointsFunctionBackupSucceeded", ["SUCCEEDED"]),
    ],
)
def test_a_function_is_told_of_every_execution_of_ours_that_ended_so(
    rule: str, ends: list[str], any_stack: Stack
) -> None:
    properties = any_stack.properties(rule)
    assert properties["EventPattern"] == {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {
            "stateMachineArn": ["<BackupStateMachine>"],
            "status": ends,
        },
    }
    assert "ScheduleExpression" not in properties


def test_every_end_of_an_execution_is_somebodys_business(any_stack: Stack) -> None:
    patterns = [
        rule["EventPattern"]["detail"]["status"]
        for rule in any_stack.of_type("AWS::Events::Rule").values()
        if "EventPattern" in rule
    ]
    heard = {status for statuses in patterns for status in statuses}
    assert heard == {"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"}


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


@each_own_queue
def test_what_a_function_gives_up_becomes_a_dead_letter_after_another_try(
    function: str, queue: str, any_stack: Stack
) -> None:
    assert any_stack.properties(function)["DeadLetterConfig"] == {"TargetArn": f"<{queue}.Arn>"}
    tried = invoke_config_of(any_stack, function)
    assert tried["MaximumRetryAttempts"] >= 1
    assert tried["Qualifier"] == "$LATEST"


@each_own_queue
def test_a_call_that_takes_all_its_time_and_fails_is_not_too_old_for_another_try(
    function: str, queue: str, any_stack: Stack
) -> None:
    del queue
    timeout = any_stack.properties(function)["Timeout"]
    oldest = invoke_config_of(any_stack, function)["MaximumEventAgeInSeconds"]
    assert timeout + FIRST_PAUSE < oldest


@pytest.mark.parametrize("function", sorted(LOOKS_AGAIN))
def test_what_looks_again_is_not_tried_twice(function: str, any_stack: Stack) -> None:
    assert "DeadLetterConfig" not in any_stack.properties(function)
    assert invoke_config_of(any_stack, function)["MaximumRetryAttempts"] == 0


def test_a_sweep_is_over_before_the_next_one(any_stack: Stack) -> None:
    # The planner's ticks and the looks at the copies may overlap: whatever they do, they do once.
    for function, seconds in (
        ("RecoverInstancesFunction", 5 * 60),
        ("PruneRecoveryPointsFunction", 24 * 3600),
    ):
        assert any_stack.properties(function)["Timeout"] < seconds


def test_an_ended_execution_is_not_given_up_before_an_hour(any_stack: Stack) -> None:
    target = target_of(any_stack, "RecoverInstancesFunctionExecutionEnded")
    tried = invoke_config_of(any_stack, "RecoverInstancesFunction")
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
