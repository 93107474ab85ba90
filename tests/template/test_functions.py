"""Each function of the template is the one that the code is written for."""

import os
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from aws_lambda_powertools import Metrics
from aws_lambda_powertools.shared import constants

from sandbox.template import ROOT
from stillpoint.aws import settings
from stillpoint.aws.copy_recovery_points import RESERVE_SECONDS
from stillpoint.aws.executions import execution_arn
from stillpoint.aws.prune_recovery_points import ENOUGH_SECONDS
from stillpoint.aws.recover_instances import PATIENCE
from stillpoint.aws.settings import CompleteSettings, CopySettings, PlanSettings, PruneSettings
from stillpoint.messages import EventName
from tests.template import iam
from tests.template.asl import all_states
from tests.template.cloudformation import Recorder, Stack
from tests.template.sdk_calls import metrics_of, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable

# The functions by their folders.
FUNCTIONS = {
    "plan_backups": "PlanBackupsFunction",
    "prepare_backup": "PrepareBackupFunction",
    "isolate_instances": "IsolateInstancesFunction",
    "freeze_instances": "FreezeInstancesFunction",
    "rejoin_instances": "RejoinInstancesFunction",
    "complete_backup": "CompleteBackupFunction",
    "alert_stranded": "AlertStrandedFunction",
    "recover_instances": "RecoverInstancesFunction",
    "prune_recovery_points": "PruneRecoveryPointsFunction",
    "copy_recovery_points": "CopyRecoveryPointsFunction",
    "check_configuration": "CheckConfigurationFunction",
    "guard_deletion": "GuardDeletionFunction",
}
# Those that need to know nothing of their stack.
WITHOUT_SETTINGS = {"check_configuration", "guard_deletion"}
# What Lambda itself sets (Lambda Developer Guide, "Defined runtime environment variables").
BY_LAMBDA = {"AWS_REGION": "eu-west-1"}

each_function = pytest.mark.parametrize(("folder", "name"), FUNCTIONS.items())


def environment_of(stack: Stack, name: str) -> dict[str, str]:
    """A function's environment: on AWS every value is a text."""
    variables = stack.properties(name)["Environment"]["Variables"]
    return {key: str(each) for key, each in variables.items()}


def log_group_of(stack: Stack, name: str) -> str:
    group: str = stack.properties(name)["LoggingConfig"]["LogGroup"]
    return group.strip("<>")


def test_every_folder_with_a_handler_is_a_function(
    any_stack: Stack, template: dict[str, Any]
) -> None:
    assert any_stack.of_type("AWS::Lambda::Function").keys() == set(FUNCTIONS.values())
    folders = {path.parent.name for path in (ROOT / "functions").glob("*/app.py")}
    assert folders == FUNCTIONS.keys()
    for folder, name in FUNCTIONS.items():
        assert template["Resources"][name]["Properties"]["CodeUri"] == f"functions/{folder}"
        assert any_stack.properties(name)["Handler"] == "app.handler"


@each_function
def test_a_function_has_the_layer_the_runtime_and_the_architecture_of_the_stack(
    folder: str, name: str, any_stack: Stack
) -> None:
    del folder
    (layer,) = any_stack.of_type("AWS::Lambda::LayerVersion")
    function = any_stack.properties(name)
    assert function["Layers"] == [f"<{layer}>"]
    assert function["Runtime"] == "python3.13"
    assert function["Architectures"] == [any_stack.parameters["Architecture"]]


@each_function
def test_a_functions_environment_is_what_its_settings_read(
    folder: str, name: str, any_stack: Stack, template: dict[str, Any]
) -> None:
    everywhere = template["Globals"]["Function"]["Environment"]["Variables"].keys()
    variables = environment_of(any_stack, name)
    recorder = Recorder(variables | BY_LAMBDA)
    read = settings_of(folder)
    assert len(read) == (0 if folder in WITHOUT_SETTINGS else 1)
    with mock.patch("stillpoint.aws.settings.os.environ", recorder):
        for name_of_class in read:
            getattr(settings, name_of_class).from_env()
    assert bool(recorder.asked) == bool(read)
    assert (recorder.asked - BY_LAMBDA.keys()) | everywhere == variables.keys()


def test_the_settings_come_out_as_the_parameters_went_in(full_stack: Stack) -> None:
    with mock.patch.dict(os.environ, environment_of(full_stack, "PrepareBackupFunction")):
        keys = settings.PrepareSettings.from_env().kms_key_arns
    assert keys == set(full_stack.parameters["KmsKeyArns"])
    with mock.patch.dict(os.environ, environment_of(full_stack, "CompleteBackupFunction")):
        assert CompleteSettings.from_env().notify_success is False
    given = full_stack.parameters
    with mock.patch.dict(os.environ, environment_of(full_stack, "CopyRecoveryPointsFunction")):
        copying = CopySettings.from_env()
    assert copying.encrypt is True
    assert list(copying.kms_key_arns) == given["CopyKmsKeyArns"]
    assert list(copying.safeguards.share_with) == given["ShareWithAccounts"]
    assert copying.safeguards.deregistration_protection is True
    assert copying.safeguards.lock_days == int(given["SnapshotLockDays"])
    with mock.patch.dict(os.environ, environment_of(full_stack, "PruneRecoveryPointsFunction")):
        pruning = PruneSettings.from_env()
    assert pruning.max_deletions == int(given["MaxDeletionsPerSweep"])
    assert pruning.final_retention == given["FinalRetention"]


def test_every_function_that_knows_the_regions_of_copies_knows_the_same(any_stack: Stack) -> None:
    given = tuple(region for region in any_stack.parameters["CopyRegions"] if region)
    readers: dict[str, Callable[[], PlanSettings | CopySettings | PruneSettings]] = {
        "plan_backups": PlanSettings.from_env,
        "copy_recovery_points": CopySettings.from_env,
        "prune_recovery_points": PruneSettings.from_env,
    }
    for folder, read in readers.items():
        with mock.patch.dict(os.environ, environment_of(any_stack, FUNCTIONS[folder])):
            assert read().copy_regions == given


def test_a_recovery_point_and_its_copies_have_the_same_safeguards(any_stack: Stack) -> None:
    with mock.patch.dict(os.environ, environment_of(any_stack, "CompleteBackupFunction")):
        local = CompleteSettings.from_env().safeguards
    with mock.patch.dict(os.environ, environment_of(any_stack, "CopyRecoveryPointsFunction")):
        assert CopySettings.from_env().safeguards == local
    with mock.patch.dict(os.environ, environment_of(any_stack, "PlanBackupsFunction")):
        assert PlanSettings.from_env().lock_days == local.lock_days


def test_no_key_at_all_is_no_key(any_stack: Stack) -> None:
    given = [arn for arn in any_stack.parameters["KmsKeyArns"] if arn]
    with mock.patch.dict(os.environ, environment_of(any_stack, "PrepareBackupFunction")):
        assert sorted(settings.PrepareSettings.from_env().kms_key_arns) == sorted(given)


@each_function
def test_the_variables_of_powertools_are_ones_that_it_reads(
    folder: str, name: str, any_stack: Stack
) -> None:
    del folder
    known = {each for each in vars(constants).values() if isinstance(each, str)}
    ours = {key for key in environment_of(any_stack, name) if key.startswith("POWERTOOLS_")}
    assert ours
    assert ours <= known


@each_function
def test_a_function_logs_to_a_group_of_its_own_that_forgets(
    folder: str, name: str, any_stack: Stack
) -> None:
    groups = any_stack.of_type("AWS::Logs::LogGroup")
    assert len(groups) == len(FUNCTIONS)
    group = groups[log_group_of(any_stack, name)]
    assert group["LogGroupName"] == f"/aws/lambda/${{AWS::StackName}}-{folder.replace('_', '-')}"
    assert group["RetentionInDays"] == any_stack.parameters["LogRetentionDays"]


@each_function
def test_a_function_may_write_to_its_own_log_group_alone(
    folder: str, name: str, any_stack: Stack
) -> None:
    del folder
    role = any_stack.properties(name)["Role"].removeprefix("<").removesuffix(".Arn>")
    (logging,) = (
        each
        for each in iam.statements(any_stack, role)
        if any(action.startswith("logs:") for action in each.actions)
    )
    assert logging.resources == (f"<{log_group_of(any_stack, name)}.Arn>",)


def test_the_state_machine_waits_longer_than_a_function_may_take(
    any_stack: Stack, definition: dict[str, Any]
) -> None:
    substitutions = any_stack.properties("BackupStateMachine")["DefinitionSubstitutions"]
    waited = {
        state["Arguments"]["FunctionName"].strip("${}"): state["TimeoutSeconds"]
        for state in all_states(definition).values()
        if state.get("Resource", "").endswith(":lambda:invoke")
    }
    assert len(waited) == 6
    for substitution, seconds in waited.items():
        function = substitutions[substitution].removeprefix("<").removesuffix(".Arn>")
        assert seconds > any_stack.properties(function)["Timeout"]


def test_the_definition_and_the_template_agree_on_what_is_filled_in(
    any_stack: Stack, definition: dict[str, Any]
) -> None:
    machine = any_stack.properties("BackupStateMachine")
    assert machine["StateMachineType"] == "STANDARD"
    assert machine["DefinitionSubstitutions"].keys() == set(placeholders(definition))


def placeholders(value: object) -> Iterator[str]:
    """The names of everything like ${Name} in a definition."""
    if isinstance(value, str):
        for part in value.split("${")[1:]:
            yield part.partition("}")[0]
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from placeholders(each)
    elif isinstance(value, list):
        for each in value:
            yield from placeholders(each)


def resources_of(stack: Stack, role: str, action: str) -> tuple[str, ...]:
    """What a role may do something on; it says so once."""
    (found,) = (each for each in iam.statements(stack, role) if action in each.actions)
    return found.resources


def test_the_planner_starts_executions_of_the_backup_state_machine_alone(
    any_stack: Stack,
) -> None:
    machines = resources_of(any_stack, "PlanBackupsRole", "states:StartExecution")
    assert machines == ("<BackupStateMachine>",)


@pytest.mark.parametrize("role", ["PlanBackupsRole", "RecoverInstancesRole"])
def test_a_function_reads_executions_of_the_backup_state_machine_alone(
    role: str, any_stack: Stack
) -> None:
    arn = "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}"
    machine = f"{arn}:stateMachine:<BackupStateMachine.Name>"
    readable = resources_of(any_stack, role, "states:DescribeExecution")
    assert readable == (execution_arn(machine, "*"),)


def test_the_recovery_has_time_left_when_its_patience_is_over(any_stack: Stack) -> None:
    timeout = timedelta(seconds=any_stack.properties("RecoverInstancesFunction")["Timeout"])
    assert timeout >= PATIENCE + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("folder", "reserve"),
    [("prune_recovery_points", ENOUGH_SECONDS), ("copy_recovery_points", RESERVE_SECONDS)],
)
def test_a_function_that_stops_in_time_has_much_more_time_than_that(
    folder: str, reserve: int, any_stack: Stack
) -> None:
    assert any_stack.properties(FUNCTIONS[folder])["Timeout"] >= 10 * reserve


def emitted(stack: Stack, function: str, metric: str) -> dict[str, Any]:
    """The log line that makes CloudWatch count a metric, in a function's environment."""
    with mock.patch.dict(os.environ, environment_of(stack, function)):
        metrics = Metrics()
        metrics.add_metric(metric, "Count", 1)
        line = dict(metrics.serialize_metric_set())
        metrics.clear_metrics()
    return line


@pytest.mark.parametrize(
    ("folder", "names"),
    [
        ("alert_stranded", [EventName.INSTANCE_STRANDED]),
        ("recover_instances", [EventName.INSTANCE_STRANDED, EventName.INSTANCE_OUT_OF_SERVICE]),
    ],
)
def test_the_alarm_on_stranded_instances_watches_the_metrics_that_the_function_emits(
    folder: str, names: list[EventName], any_stack: Stack
) -> None:
    queries = any_stack.properties("InstanceStrandedAlarm")["Metrics"]
    watched = [each["MetricStat"]["Metric"] for each in queries if "MetricStat" in each]
    by_name = {metric["MetricName"]: metric for metric in watched}
    for name in names:
        line = emitted(any_stack, FUNCTIONS[folder], name)
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == by_name[name]["Namespace"] == "Stillpoint"
        (dimensions,) = directive["Dimensions"]
        shown = [{"Name": dimension, "Value": line[dimension]} for dimension in dimensions]
        assert by_name[name]["Dimensions"] == shown
    assert set(names) == by_name.keys() & {EventName[name] for name in metrics_of(folder)}
