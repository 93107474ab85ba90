"""Definitions that break the rules, one for each way that a rule must notice."""

import copy
from collections.abc import Callable
from typing import Any

from tests.template import asl_rules, asl_variables, backup_rules

type Definition = dict[str, Any]
type Rule = Callable[[Definition], list[str]]
type Path = tuple[str | int, ...]

# Each way to break a rule: the path of what is put into the real definition, with its new value
# (GONE takes it away), and what the rule says of it.
GONE = object()
CAPTURE = ("States", "CaptureMembers", "ItemProcessor")
START = ("States", "StartMembers", "ItemProcessor", "States", "StartInstance")
NOW = "{% $now() %}"
ENDLESS_STARTS = (
    "AlertStranded, AllRunning?, AnyToRejoinMeanwhile?, DescribeStarting, PublishStranded,"
    " RejoinThoseBack, StartDeadline?, StartMembers, TellOfBlindness?, WaitForStart,"
    " WaitToStartAgain go round without a deadline"
)

BREAKS: list[tuple[Rule, Path, object, str]] = [
    (
        asl_rules.unreachable_states,
        ("States", "AlertStranded", "Catch", 0, "Next"),
        "StartDeadline?",
        "PublishStranded cannot be reached",
    ),
    (
        asl_rules.unreachable_states,
        ("States", "AllRunning?", "Choices", 1, "Next"),
        "ReleaseInstances",
        "AlertRecovered cannot be reached",
    ),
    (
        asl_rules.unreachable_states,
        (*CAPTURE, "States", "ImageFound?", "Default"),
        "CreateImage",
        "WaitToCreateImage cannot be reached",
    ),
    (
        asl_rules.dangling_targets,
        ("States", "WaitForStop", "Next"),
        "LookAgain",
        "WaitForStop leads to LookAgain, which is not there",
    ),
    (
        asl_rules.dangling_targets,
        ("States", "DescribeStopping", "Catch", 0, "Next"),
        "Resume",
        "DescribeStopping leads to Resume, which is not there",
    ),
    (
        asl_rules.dangling_targets,
        (*CAPTURE, "States", "DescribeImage", "Next"),
        "BeginResume",  # it exists, in another scope
        "DescribeImage leads to BeginResume, which is not there",
    ),
    (
        asl_rules.dangling_targets,
        (*CAPTURE, "StartAt"),
        "MakeImage",
        "StartAt names MakeImage, which is not there",
    ),
    (
        asl_rules.dangling_targets,
        ("States", "AllStopped?", "Default"),
        GONE,
        "AllStopped? must either lead on in every case or end",
    ),
    (
        asl_rules.dangling_targets,
        ("States", "WaitForStart", "End"),
        True,
        "WaitForStart must either lead on in every case or end",
    ),
    (
        asl_rules.repeated_names,
        (*CAPTURE, "States", "WaitForStop"),
        {"Type": "Wait", "Seconds": 1, "Next": "CreateImage"},
        "WaitForStop is there twice",
    ),
    (
        asl_rules.states_without_comment,
        (*START, "Comment"),
        "",
        "StartInstance has no Comment",
    ),
    (
        asl_rules.states_without_comment,
        ("Comment",),
        GONE,
        "The machine has no Comment",
    ),
    (
        asl_rules.badly_named_states,
        ("States", "Refused"),
        {"Type": "Choice", "Choices": [], "Default": "StopMembers"},
        "Refused is no good name for a Choice",
    ),
    (
        asl_rules.badly_named_states,
        ("States", "Polling"),
        {"Type": "Wait", "Seconds": 1, "Next": "StopMembers"},
        "Polling is no good name for a Wait",
    ),
    (
        asl_rules.badly_named_states,
        ("States", "Handler"),
        {"Type": "Fail"},
        "Handler is no good name for a Fail",
    ),
    (
        asl_rules.tasks_without_timeout,
        (*START, "TimeoutSeconds"),
        GONE,
        "StartInstance has no TimeoutSeconds",
    ),
    (
        asl_rules.tasks_without_timeout,
        ("TimeoutSeconds",),
        GONE,
        "The machine has no TimeoutSeconds",
    ),
    (
        asl_rules.uncaught_errors,
        (*CAPTURE, "States", "CreateImage", "Catch"),
        GONE,
        "CreateImage does not catch States.ALL last",
    ),
    (
        asl_rules.uncaught_errors,
        ("States", "CaptureMembers", "Catch", 0, "ErrorEquals"),
        ["States.TaskFailed"],
        "CaptureMembers does not catch States.ALL last",
    ),
    (
        asl_rules.uncaught_errors,
        (*CAPTURE, "States", "CaptureFailed"),
        {"Type": "Fail", "Error": "CaptureFailed", "Cause": "No image."},
        "CaptureFailed fails inside the Map CaptureMembers",
    ),
    (
        asl_rules.reckless_retries,
        (*START, "Retry", 0, "JitterStrategy"),
        "NONE",
        "StartInstance retries States.TaskFailed, States.Timeout without restraint",
    ),
    (
        asl_rules.reckless_retries,
        (*START, "Retry", 0, "MaxAttempts"),
        GONE,
        "StartInstance retries States.TaskFailed, States.Timeout without restraint",
    ),
    (
        asl_rules.reckless_retries,
        (*START, "Retry", 0, "MaxDelaySeconds"),
        GONE,
        "StartInstance retries States.TaskFailed, States.Timeout without restraint",
    ),
    (
        asl_rules.reckless_retries,
        ("States", "PrepareBackup", "Retry", 0, "BackoffRate"),
        1,
        (
            "PrepareBackup retries Lambda.ServiceException, Lambda.AWSLambdaException,"
            " Lambda.SdkClientException, Lambda.TooManyRequestsException, Lambda.Unknown,"
            " Runtime.ExitError, Sandbox.Timedout, States.Timeout, AwsUnavailable without restraint"
        ),
    ),
    (
        asl_rules.reckless_retries,
        (*START, "Retry", 0, "ErrorEquals"),
        ["States.ALL"],
        "StartInstance retries everything, even what cannot pass",
    ),
    (
        asl_rules.unknown_errors,
        (*START, "Retry", 0, "ErrorEquals"),
        ["Ec2.InsufficientInstanceCapacity"],
        "StartInstance matches Ec2.InsufficientInstanceCapacity, which nothing raises",
    ),
    (
        asl_rules.unknown_errors,
        ("States", "PrepareBackup", "Retry", 0, "ErrorEquals", 7),
        "AwsUnavailble",
        "PrepareBackup matches AwsUnavailble, which nothing raises",
    ),
    (
        asl_rules.jsonpath_fields,
        ("States", "WaitForImages", "SecondsPath"),
        "$.wait_seconds",
        "WaitForImages has the JSONPath field SecondsPath",
    ),
    (
        asl_rules.jsonpath_fields,
        ("States", "Refused?", "Choices", 0, "Variable"),
        "$.refusals",
        "Refused? has the JSONPath field Variable",
    ),
    (asl_rules.jsonpath_fields, ("QueryLanguage",), GONE, "The machine is not JSONata"),
    (
        asl_rules.unclean_stops,
        ("States", "StopMembers", "ItemProcessor", "States", "StopInstance", "Arguments", "Force"),
        False,
        "StopInstance uses Force",
    ),
    (
        asl_rules.batched_calls,
        (*START, "Arguments", "InstanceIds"),
        "{% $members.instance_id %}",
        "StartInstance does not name exactly one instance",
    ),
    (
        asl_rules.silent_failures,
        ("States", "BackupFailed", "Cause"),
        GONE,
        "BackupFailed fails without Cause",
    ),
    (
        asl_rules.busy_loops,
        ("States", "AllStopped?", "Default"),
        "DescribeStopping",
        "AllStopped?, DescribeStopping go round without a Wait",
    ),
    (
        asl_variables.unknown_functions,
        ("States", "WaitForStop", "Seconds"),
        "{% $eval('3') %}",
        "WaitForStop calls $eval, which is not there",
    ),
    (
        asl_variables.unassigned_variables,
        ("States", "StartMembers", "Catch", 0, "Assign", "round_from"),
        GONE,
        "WaitForStart uses $round_from, which may be unassigned",
    ),
    (
        asl_variables.unassigned_variables,
        ("States", "PrepareBackup", "Assign", "alerted_at"),
        GONE,
        "AllRunning? uses $alerted_at, which may be unassigned",
    ),
    (
        asl_variables.unassigned_variables,
        (*CAPTURE, "States", "FindImage", "Assign", "looks"),
        GONE,
        "WaitForSnapshots uses $looks, which may be unassigned",
    ),
    (
        asl_variables.unassigned_variables,
        ("States", "BeginResume", "Assign", "resumed_for"),
        "{% $image_id %}",  # assigned, but inside a Map
        "BeginResume uses $image_id, which may be unassigned",
    ),
    (
        asl_variables.shadowed_variables,
        (*CAPTURE, "States", "FindImage", "Assign", "stopped_at"),
        {},
        "a state in CaptureMembers assigns $stopped_at, a variable of the scope around it",
    ),
    (
        asl_variables.shadowed_variables,
        ("States", "WaitForStop", "Seconds"),
        "{% ($checks := 3; $checks) %}",
        "WaitForStop hides the variable $checks",
    ),
    (
        asl_variables.unused_variables,
        ("States", "BeginResume", "Assign", "began"),
        NOW,
        "$began is assigned and never used",
    ),
    (
        asl_variables.misplaced_states_fields,
        ("States", "WaitForStart", "Assign"),
        {"starts": "{% $states.result %}"},
        "WaitForStart reads $states.result where there is none",
    ),
    (
        asl_variables.misplaced_states_fields,
        ("States", "StartMembers", "Assign", "starts"),
        "{% $states.errorOutput.Cause %}",
        "StartMembers reads $states.errorOutput where there is none",
    ),
    (
        asl_variables.misplaced_states_fields,
        ("States", "StartMembers", "Catch", 0, "Assign", "starts"),
        "{% $states.result %}",
        "StartMembers reads $states.result where there is none",
    ),
    (
        backup_rules.every_way_after_a_stop_leads_to_resume,
        ("States", "StopsAccepted?", "Choices", 0, "Next"),
        "CompleteBackup",
        "CompleteBackup can be reached from StopMembers without BeginResume",
    ),
    (
        backup_rules.every_way_after_a_stop_leads_to_resume,
        ("States", "CaptureMembers", "Next"),
        "BackupFailed",
        "BackupFailed can be reached from StopMembers without BeginResume",
    ),
    (
        backup_rules.every_error_after_a_stop_leads_to_resume,
        ("States", "DescribeStopping", "Catch", 0, "Next"),
        "CaptureMembers",
        "DescribeStopping handles an error at CaptureMembers",
    ),
    (
        backup_rules.every_way_from_resume_is_judged,
        ("States", "ReleaseInstances", "Next"),
        "BackupSucceeded",
        "BackupSucceeded can be reached from BeginResume without CompleteBackup",
    ),
    (
        backup_rules.every_way_from_resume_is_judged,
        ("States", "AlertRecovered", "Catch", 0, "Next"),
        "BackupFailed",
        "BackupFailed can be reached from BeginResume without CompleteBackup",
    ),
    (
        backup_rules.no_error_is_forgiven,
        ("States", "CompleteBackup", "Catch", 0, "Next"),
        "Completed?",
        "CompleteBackup handles an error and succeeds at BackupSucceeded",
    ),
    (
        backup_rules.no_error_is_forgiven,
        ("States", "AlertRecovered", "Catch", 0, "Next"),
        "BackupSucceeded",
        "AlertRecovered handles an error and succeeds at BackupSucceeded",
    ),
    (
        backup_rules.no_error_is_forgiven,
        ("States", "PublishFailure", "Catch", 0, "Next"),
        "BackupSucceeded",
        "PublishFailure handles an error and succeeds at BackupSucceeded",
    ),
    (
        backup_rules.every_loop_has_a_deadline,
        ("States", "AllStopped?", "Choices", 3),
        GONE,
        "AllStopped?, DescribeStopping, WaitForStop go round without a deadline",
    ),
    (
        backup_rules.every_loop_has_a_deadline,
        ("States", "AllStopped?", "Choices", 3, "Condition"),
        "{% $toMillis($now()) - $toMillis($quiesce_from) > 1200000 and $count($gone) > 0 %}",
        "AllStopped?, DescribeStopping, WaitForStop go round without a deadline",
    ),
    (
        backup_rules.every_loop_has_a_deadline,
        ("States", "DescribeStopping", "Assign", "quiesce_from"),
        NOW,
        "AllStopped?, DescribeStopping, WaitForStop go round without a deadline",
    ),
    (
        backup_rules.every_loop_has_a_deadline,
        ("States", "AllStopped?", "Choices", 0, "Next"),
        "WaitForStop",
        "AllStopped?, DescribeStopping, WaitForStop go round without a deadline",
    ),
    (
        backup_rules.every_loop_has_a_deadline,
        ("States", "AllRunning?", "Choices", 5),
        GONE,
        "AllRunning?, DescribeStarting, WaitForStart go round without a deadline",
    ),
    (
        backup_rules.every_loop_has_a_deadline,
        ("States", "AlertStranded", "Assign", "resume_from"),  # an alert must not gain time
        NOW,
        ENDLESS_STARTS,
    ),
    (
        backup_rules.every_loop_has_a_deadline,
        ("States", "StartDeadline?", "Choices", 0, "Next"),
        "WaitToStartAgain",
        ENDLESS_STARTS,
    ),
]


def broken(definition: Definition, path: Path, value: object) -> Definition:
    """A copy of the definition that has `value` at `path`."""
    changed = copy.deepcopy(definition)
    place: Any = changed
    for step in path[:-1]:
        place = place[step]
    if value is GONE:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return changed
