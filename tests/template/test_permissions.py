"""Every role may do what its code does and nothing else, and every rule notices when broken."""

import re
from pathlib import Path
from typing import Any

import pytest

from sandbox.template import DEFINITION, TEMPLATE
from stillpoint.tags import Tag
from tests.template import iam
from tests.template.asl import all_states
from tests.template.broken_statements import BREAKS, Rule, a_statement
from tests.template.cloudformation import Stack
from tests.template.iam import INSTANCES, MADE, Statement
from tests.template.sdk_calls import actions_of

# Each function by its folder, with its role.
ROLES = {
    "plan_backups": "PlanBackupsRole",
    "prepare_backup": "PrepareBackupRole",
    "isolate_instances": "IsolateInstancesRole",
    "freeze_instances": "FreezeInstancesRole",
    "rejoin_instances": "RejoinInstancesRole",
    "complete_backup": "CompleteBackupRole",
    "alert_stranded": "AlertStrandedRole",
    "recover_instances": "RecoverInstancesRole",
    "prune_recovery_points": "PruneRecoveryPointsRole",
    "copy_recovery_points": "CopyRecoveryPointsRole",
    "check_configuration": "CheckConfigurationRole",
    "guard_deletion": "GuardDeletionRole",
}
MACHINE = "BackupStateMachineRole"
PLANNER, COMPLETION, RECOVERY = "PlanBackupsRole", "CompleteBackupRole", "RecoverInstancesRole"
PRUNING, COPYING = "PruneRecoveryPointsRole", "CopyRecoveryPointsRole"
ISOLATION, FREEZING, RETURN = "IsolateInstancesRole", "FreezeInstancesRole", "RejoinInstancesRole"
# The function that asks nothing of AWS: what it looks at comes with the call.
CALLS_NOTHING = "check_configuration"

# What Lambda does with a function's role before and after our code (Lambda Developer Guide,
# "Defining Lambda function permissions with an execution role").
WRITE_LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}
LEAVE_DEAD_LETTERS = {"sqs:SendMessage"}
# The functions that are invoked asynchronously and again and again, each with its queue.
QUEUES = {
    PLANNER: "<DeadLetterQueue.Arn>",
    RECOVERY: "<RecoveryDeadLetterQueue.Arn>",
}
# To publish to a topic with a key of one's own takes the use of the key (SNS Developer Guide,
# "Managing Amazon SNS encryption keys and costs").
USE_TOPIC_KEY = {"kms:Decrypt", "kms:GenerateDataKey*"}
# To start an instance with a volume encrypted by a key of one's own, in the name of the caller
# (EBS User Guide, "Requirements for Amazon EBS encryption").
ATTACH_ENCRYPTED_VOLUMES = {
    "kms:CreateGrant",
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncrypt*",
}
# To copy a snapshot that is encrypted by a key of one's own, and to encrypt the copy by another
# (EBS User Guide, "Copy an Amazon EBS snapshot").
COPY_ENCRYPTED_SNAPSHOTS = {
    "kms:CreateGrant",
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:GenerateDataKey*",
    "kms:ReEncrypt*",
}
# EC2 looks for references to images in the name of the caller (EC2 User Guide, "Identify your
# resources referencing selected AMIs").
LOOK_FOR_REFERENCES = {
    "ec2:DescribeInstances",
    "ec2:DescribeLaunchTemplates",
    "ec2:DescribeLaunchTemplateVersions",
}
# What the copying does in other Regions alone.
WITH_COPIES = iam.REMOVALS | iam.SAFEGUARDS | {"ec2:CopyImage", "kms:DescribeKey"}

RULES: list[Rule] = [
    iam.wildcard_actions,
    iam.unscoped_resources,
    iam.fixed_partitions,
    iam.destructive_actions,
    iam.changes_of_what_is_not_ours,
    iam.reach_into_other_regions,
    iam.reach_beyond_scheduled_instances,
    iam.reach_into_other_guests,
    iam.foreign_mute_rules,
    iam.foreign_tags,
]

# The roles that may do what changes more than a tag; the copying may only if there are Regions.
START = {MACHINE, RECOVERY}
REMOVE = {COMPLETION, RECOVERY, PRUNING}
HOLDERS = {
    "ec2:StopInstances": {MACHINE},
    "ec2:CreateImage": {MACHINE},
    "ec2:StartInstances": START,
    "ec2:DeregisterImage": REMOVE | {COPYING},
    "ec2:DeleteSnapshot": REMOVE | {COPYING},
    "ec2:CopyImage": {COPYING},
    "ec2:EnableImageDeregistrationProtection": {COMPLETION, COPYING},
    "ec2:LockSnapshot": {COMPLETION, COPYING},
    "ec2:ModifyImageAttribute": {COMPLETION, COPYING},
    "ec2:ModifySnapshotAttribute": {COMPLETION, COPYING},
    iam.UNPROTECT: {PRUNING},
    "ec2:UnlockSnapshot": set(),
    "autoscaling:EnterStandby": {ISOLATION},
    "autoscaling:ExitStandby": {RETURN, RECOVERY},
    "elasticloadbalancing:DeregisterTargets": {ISOLATION},
    "elasticloadbalancing:RegisterTargets": {RETURN, RECOVERY},
    "cloudwatch:PutAlarmMuteRule": {ISOLATION},
    "cloudwatch:DeleteAlarmMuteRule": {RETURN, RECOVERY},
    "ssm:SendCommand": {ISOLATION, FREEZING, RETURN, RECOVERY, MACHINE},
    "ssm:CancelCommand": {ISOLATION, FREEZING, RETURN, RECOVERY},
    "states:StartExecution": {PLANNER},
    "lambda:InvokeFunction": {MACHINE},
    "events:DisableRule": {"GuardDeletionRole"},
    "events:EnableRule": {"GuardDeletionRole"},
    "sqs:SendMessage": set(QUEUES),
}


def name_of(rule: Rule) -> str:
    return rule.__name__


def around(actions: set[str], stack: Stack) -> set[str]:
    """What publishing, starting and copying take besides the permission to do so."""
    found = set()
    if "sns:Publish" in actions:
        found |= USE_TOPIC_KEY
    if "ec2:StartInstances" in actions and stack.given("KmsKeyArns"):
        found |= ATTACH_ENCRYPTED_VOLUMES
    if "ec2:CopyImage" in actions and stack.given("KmsKeyArns"):
        found |= COPY_ENCRYPTED_SNAPSHOTS
    if "ec2:CopyImage" in actions and stack.given("CopyKmsKeyArns"):
        found |= COPY_ENCRYPTED_SNAPSHOTS
    if "ec2:DescribeImageReferences" in actions:
        found |= LOOK_FOR_REFERENCES
    return found


@pytest.mark.parametrize("role", [*ROLES.values(), MACHINE])
@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_the_role_keeps_the_rule(rule: Rule, role: str, any_stack: Stack) -> None:
    assert rule(iam.statements(any_stack, role)) == []


@pytest.mark.parametrize(
    ("rule", "statement"), BREAKS, ids=[f"{rule.__name__}: {each}" for rule, each in BREAKS]
)
def test_the_rule_notices_a_statement_that_breaks_it(rule: Rule, statement: Statement) -> None:
    good = a_statement("ec2:DescribeInstances", "*")
    assert rule([good]) == []
    assert len(rule([good, statement])) == 1


def test_every_rule_is_shown_to_notice_something() -> None:
    assert {rule for rule, _ in BREAKS} == set(RULES)


@pytest.mark.parametrize("field", ["NotAction", "NotResource", "NotPrincipal"])
def test_a_statement_that_grants_all_but_what_it_names_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Statement.parse({"Effect": "Allow", "Action": "*", "Resource": "*", field: "x"})


def test_each_function_and_the_state_machine_has_a_role_of_its_own(any_stack: Stack) -> None:
    functions = any_stack.of_type("AWS::Lambda::Function")
    machines = any_stack.of_type("AWS::StepFunctions::StateMachine")
    used = [each["Role"] for each in functions.values()]
    used += [each["RoleArn"] for each in machines.values()]
    assert sorted(used) == sorted(f"<{role}.Arn>" for role in [*ROLES.values(), MACHINE])
    assert any_stack.of_type("AWS::IAM::Role").keys() == {*ROLES.values(), MACHINE}


@pytest.mark.parametrize(("action", "expected"), HOLDERS.items())
def test_only_the_roles_that_need_it_may(action: str, expected: set[str], any_stack: Stack) -> None:
    copying_alone = action in WITH_COPIES and not any_stack.given("CopyRegions")
    assert iam.holders(any_stack, action) == expected - ({COPYING} if copying_alone else set())


def test_the_recovery_starts_only_what_is_in_a_cycle(any_stack: Stack) -> None:
    (starting,) = (
        each
        for each in iam.statements(any_stack, RECOVERY)
        if "ec2:StartInstances" in each.actions and each.resources != (iam.LICENCES,)
    )
    assert starting.actions == ("ec2:StartInstances",)
    assert starting.resources == (INSTANCES,)
    assert starting.condition == iam.ON_IN_CYCLE


@pytest.mark.parametrize("role", sorted(REMOVE))
def test_what_is_removed_carries_the_ownership_tag_of_this_stack_and_is_no_copy(
    role: str, any_stack: Stack
) -> None:
    (removing,) = (
        each
        for each in iam.statements(any_stack, role)
        if iam.REMOVALS & set(each.actions) and set(each.resources) == MADE
    )
    assert set(removing.actions) == iam.REMOVALS | ({iam.UNPROTECT} if role == PRUNING else set())
    assert removing.condition == iam.ON_OURS


def test_no_role_has_a_managed_policy_or_a_name(any_stack: Stack) -> None:
    for role in any_stack.of_type("AWS::IAM::Role").values():
        assert not role.keys() & {"ManagedPolicyArns", "PermissionsBoundary", "RoleName"}
    assert not any_stack.of_type("AWS::IAM::ManagedPolicy")
    assert not any_stack.of_type("AWS::IAM::RolePolicy")


@pytest.mark.parametrize("role", ROLES.values())
def test_only_lambda_takes_the_role_of_a_function(role: str, any_stack: Stack) -> None:
    (trusted,) = any_stack.properties(role)["AssumeRolePolicyDocument"]["Statement"]
    assert trusted["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert (trusted["Effect"], trusted["Action"]) == ("Allow", "sts:AssumeRole")


def test_only_step_functions_for_this_account_takes_the_role_of_the_state_machine(
    any_stack: Stack,
) -> None:
    (trusted,) = any_stack.properties(MACHINE)["AssumeRolePolicyDocument"]["Statement"]
    assert trusted["Principal"] == {"Service": "states.amazonaws.com"}
    assert trusted["Condition"] == {"StringEquals": {"aws:SourceAccount": "${AWS::AccountId}"}}


def test_every_statement_allows(any_stack: Stack) -> None:
    effects = {each.effect for found in iam.roles(any_stack).values() for each in found}
    assert effects == {"Allow"}


@pytest.mark.parametrize(("function", "role"), ROLES.items())
def test_a_function_may_do_exactly_what_its_code_does(
    function: str, role: str, any_stack: Stack
) -> None:
    called = actions_of(function)
    assert bool(called) == (function != CALLS_NOTHING)
    if role == COPYING and not any_stack.given("CopyRegions"):
        called -= WITH_COPIES
    by_lambda = WRITE_LOGS | (LEAVE_DEAD_LETTERS if role in QUEUES else set())
    expected = called | around(called, any_stack) | by_lambda
    assert iam.granted(iam.statements(any_stack, role)) == expected


@pytest.mark.parametrize(("role", "queue"), QUEUES.items())
def test_a_function_leaves_its_dead_letters_in_its_own_queue(
    role: str, queue: str, any_stack: Stack
) -> None:
    (leaving,) = (
        each for each in iam.statements(any_stack, role) if "sqs:SendMessage" in each.actions
    )
    assert leaving.resources == (queue,)
    (function,) = (
        each
        for each in any_stack.of_type("AWS::Lambda::Function").values()
        if each["Role"] == f"<{role}.Arn>"
    )
    assert function["DeadLetterConfig"] == {"TargetArn": queue}


def test_the_calls_of_a_function_are_found_through_the_modules_that_it_uses() -> None:
    assert "ec2:DescribeInstances" in actions_of("alert_stranded")
    assert "states:StartExecution" in actions_of("plan_backups")
    assert "ec2:DescribeVolumes" in actions_of("prepare_backup")  # through a paginator
    assert "events:DisableRule" in actions_of("guard_deletion")  # through a variable
    assert "ec2:DeleteSnapshot" in actions_of("recover_instances")  # through a module of modules
    assert "ec2:CopyImage" in actions_of("copy_recovery_points")  # by a client of another Region
    assert "ec2:LockSnapshot" in actions_of("complete_backup")  # through an attribute, handed on
    assert "autoscaling:EnterStandby" in actions_of("isolate_instances")
    assert "autoscaling:EnterStandby" not in actions_of("rejoin_instances")  # of a module of both
    assert "elasticloadbalancing:RegisterTargets" in actions_of("recover_instances")
    assert "ec2:CreateTags" not in actions_of("alert_stranded")  # of a module that it uses, too


# What each role's code writes on instances and takes off them.
KEYS = [
    ("PlanBackupsRole", {Tag.LAST, Tag.PROBLEM}, {Tag.PROBLEM}),
    ("PrepareBackupRole", {Tag.CYCLE, Tag.LAST, Tag.PROBLEM, Tag.UNDO}, set()),
    (ISOLATION, set(), set()),
    (FREEZING, set(), set()),
    (RETURN, set(), set()),
    ("CompleteBackupRole", {Tag.LAST, Tag.RECOVERY_POINT}, {Tag.CYCLE, Tag.PROBLEM, Tag.UNDO}),
    ("AlertStrandedRole", set(), set()),
    ("RecoverInstancesRole", {Tag.CYCLE, Tag.LAST}, {Tag.CYCLE, Tag.UNDO}),
    (PRUNING, set(), set()),
    (COPYING, set(), set()),
    ("CheckConfigurationRole", set(), set()),
    ("GuardDeletionRole", set(), set()),
    (MACHINE, set(), {Tag.CYCLE, Tag.UNDO}),
]


def test_the_tags_of_every_role_are_known() -> None:
    assert [role for role, *_ in KEYS] == [*ROLES.values(), MACHINE]


@pytest.mark.parametrize(("role", "written", "taken_off"), KEYS)
def test_a_role_writes_only_the_tags_that_its_code_writes(
    role: str, written: set[Tag], taken_off: set[Tag], any_stack: Stack
) -> None:
    found = iam.statements(any_stack, role)
    assert iam.written_keys(found, "ec2:CreateTags") == written
    assert iam.written_keys(found, "ec2:DeleteTags") == taken_off


def integrations(definition: dict[str, Any]) -> set[str]:
    """The IAM actions of the state machine's Tasks."""
    actions = set()
    for state in all_states(definition).values():
        _, found, resource = state.get("Resource", "").partition(":states:::")
        if resource == "lambda:invoke":
            actions.add("lambda:InvokeFunction")
        elif found:
            service, operation = resource.removeprefix("aws-sdk:").split(":")
            actions.add(f"{service}:{operation[0].upper()}{operation[1:]}")
        if "TagSpecifications" in state.get("Arguments", {}):
            actions.add("ec2:CreateTags")
    return actions


def test_the_state_machine_may_do_exactly_what_its_definition_does(
    any_stack: Stack, definition: dict[str, Any]
) -> None:
    called = integrations(definition)
    assert {"ec2:StopInstances", "sns:Publish", "lambda:InvokeFunction"} <= called
    expected = called | around(called, any_stack)
    assert iam.granted(iam.statements(any_stack, MACHINE)) == expected


def test_the_state_machine_invokes_its_own_functions_alone(any_stack: Stack) -> None:
    (invoking,) = (
        each
        for each in iam.statements(any_stack, MACHINE)
        if "lambda:InvokeFunction" in each.actions
    )
    machine = any_stack.properties("BackupStateMachine")
    named = {v for k, v in machine["DefinitionSubstitutions"].items() if k.endswith("FunctionArn")}
    assert set(invoking.resources) == named


def test_what_is_published_goes_to_the_topic_with_its_own_key(any_stack: Stack) -> None:
    for found in iam.roles(any_stack).values():
        for each in found:
            if "sns:Publish" in each.actions:
                assert each.resources == ("<NotificationTopic>",)
            if USE_TOPIC_KEY & set(each.actions) and "<TopicKey.Arn>" in each.resources:
                assert set(each.actions) == USE_TOPIC_KEY
                assert each.resources == ("<TopicKey.Arn>",)


@pytest.mark.parametrize("path", [TEMPLATE, DEFINITION], ids=lambda path: path.name)
def test_no_arn_is_of_one_partition(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"arn:aws[\w-]*:.*", text)
    assert "arn:${" in text
