"""Every role may do what its code does and nothing else, and every rule notices when broken."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stillpoint.tags import Tag
from tests.template import iam
from tests.template.asl import all_states
from tests.template.cloudformation import DEFINITION, TEMPLATE, Stack
from tests.template.iam import INSTANCES, MADE, Statement
from tests.template.sdk_calls import actions_of

type Rule = Callable[[list[Statement]], list[str]]

# Each function by its folder, with its role.
ROLES = {
    "plan_backups": "PlanBackupsRole",
    "prepare_backup": "PrepareBackupRole",
    "complete_backup": "CompleteBackupRole",
    "alert_stranded": "AlertStrandedRole",
}
MACHINE = "BackupStateMachineRole"

# What Lambda does with a function's role before and after our code (Lambda Developer Guide,
# "Defining Lambda function permissions with an execution role").
WRITE_LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}
LEAVE_DEAD_LETTERS = {"sqs:SendMessage"}
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

RULES: list[Rule] = [
    iam.wildcard_actions,
    iam.unscoped_resources,
    iam.fixed_partitions,
    iam.destructive_actions,
    iam.reach_beyond_scheduled_instances,
    iam.foreign_tags,
]


def name_of(rule: Rule) -> str:
    return rule.__name__


def around(actions: set[str]) -> set[str]:
    """What publishing takes besides the permission to publish."""
    return USE_TOPIC_KEY if "sns:Publish" in actions else set()


@pytest.mark.parametrize("role", [*ROLES.values(), MACHINE])
@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_the_role_keeps_the_rule(rule: Rule, role: str, any_stack: Stack) -> None:
    assert rule(iam.statements(any_stack, role)) == []


def a_statement(
    actions: str | list[str], resources: str | list[str], condition: dict[str, Any] | None = None
) -> Statement:
    row = {"Effect": "Allow", "Action": actions, "Resource": resources}
    return Statement.parse(row | ({"Condition": condition} if condition else {}))


def if_tagged(key: Tag, missing: str = "false") -> dict[str, Any]:
    return {"Null": {f"aws:ResourceTag/{key}": missing}}


ON_OURS = {"StringEquals": {f"aws:ResourceTag/{Tag.STACK}": "${AWS::StackName}"}}
OUR_KEYS = {"ForAllValues:StringEquals": {"aws:TagKeys": [Tag.CYCLE, Tag.LAST]}}
PRESENT = {"aws:TagKeys": "false"}
SCHEDULED = {f"aws:ResourceTag/{Tag.SCHEDULE}": "false"}

BREAKS: list[tuple[Rule, Statement]] = [
    (iam.wildcard_actions, a_statement("ec2:*", INSTANCES)),
    (iam.wildcard_actions, a_statement(["ec2:StopInstances", "ec2:Describe*"], INSTANCES)),
    (iam.wildcard_actions, a_statement("*", INSTANCES)),
    (iam.unscoped_resources, a_statement("ec2:StopInstances", "*")),
    (iam.unscoped_resources, a_statement(["ec2:DescribeInstances", "ec2:CreateTags"], "*")),
    (iam.unscoped_resources, a_statement("sns:Publish", ["<NotificationTopic>", "*"])),
    (iam.fixed_partitions, a_statement("sns:Publish", "arn:aws:sns:eu-west-1:111122223333:t")),
    (iam.fixed_partitions, a_statement("sns:Publish", "arn:*:sns:*:*:*")),
    (iam.destructive_actions, a_statement("ec2:TerminateInstances", INSTANCES)),
    (iam.destructive_actions, a_statement(["ec2:DescribeImages", "ec2:DeregisterImage"], "*")),
    (iam.destructive_actions, a_statement("iam:CreateUser", "*")),
    (iam.reach_beyond_scheduled_instances, a_statement("ec2:StopInstances", INSTANCES)),
    (
        iam.reach_beyond_scheduled_instances,
        a_statement("ec2:StopInstances", INSTANCES, if_tagged(Tag.CYCLE)),
    ),
    (
        iam.reach_beyond_scheduled_instances,
        a_statement("ec2:StartInstances", INSTANCES, if_tagged(Tag.HOLD)),
    ),
    (
        iam.reach_beyond_scheduled_instances,
        a_statement("ec2:CreateImage", INSTANCES, if_tagged(Tag.SCHEDULE, missing="true")),
    ),
    (iam.reach_beyond_scheduled_instances, a_statement("ec2:CreateImage", sorted(MADE))),
    (iam.foreign_tags, a_statement("ec2:CreateTags", INSTANCES, {"Null": SCHEDULED})),
    (iam.foreign_tags, a_statement("ec2:CreateTags", INSTANCES, {"Null": PRESENT, **OUR_KEYS})),
    (iam.foreign_tags, a_statement("ec2:CreateTags", INSTANCES, {"Null": SCHEDULED, **OUR_KEYS})),
    (
        iam.foreign_tags,
        a_statement(
            "ec2:CreateTags",
            INSTANCES,
            {
                "Null": SCHEDULED | PRESENT,
                "ForAllValues:StringEquals": {"aws:TagKeys": [Tag.LAST, Tag.SCHEDULE]},
            },
        ),
    ),
    (iam.foreign_tags, a_statement("ec2:DeleteTags", INSTANCES, OUR_KEYS)),
    (iam.foreign_tags, a_statement("ec2:DeleteTags", INSTANCES)),
    (iam.foreign_tags, a_statement("ec2:CreateTags", sorted(MADE))),
    (iam.foreign_tags, a_statement("ec2:DeleteTags", sorted(MADE), ON_OURS)),
]


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


def test_no_role_has_a_managed_policy_or_a_name(any_stack: Stack) -> None:
    for role in any_stack.of_type("AWS::IAM::Role").values():
        assert not role.keys() & {"ManagedPolicyArns", "PermissionsBoundary", "RoleName"}
    assert not any_stack.of_type("AWS::IAM::ManagedPolicy")
    assert not any_stack.of_type("AWS::IAM::Policy")


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
    assert called
    by_lambda = WRITE_LOGS | (LEAVE_DEAD_LETTERS if function == "plan_backups" else set())
    assert iam.granted(iam.statements(any_stack, role)) == called | around(called) | by_lambda


def test_the_calls_of_a_function_are_found_through_the_modules_that_it_uses() -> None:
    assert "ec2:DescribeInstances" in actions_of("alert_stranded")
    assert "states:StartExecution" in actions_of("plan_backups")
    assert "ec2:DescribeVolumes" in actions_of("prepare_backup")  # through a paginator
    assert "ec2:CreateTags" not in actions_of("alert_stranded")  # of a module that it uses, too


# What each role's code writes on instances and takes off them.
KEYS = [
    ("PlanBackupsRole", {Tag.LAST, Tag.PROBLEM}, {Tag.PROBLEM}),
    ("PrepareBackupRole", {Tag.CYCLE, Tag.LAST, Tag.PROBLEM}, set()),
    ("CompleteBackupRole", {Tag.RECOVERY_POINT}, {Tag.CYCLE, Tag.PROBLEM}),
    ("AlertStrandedRole", set(), set()),
    (MACHINE, set(), {Tag.CYCLE}),
]


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
    expected = called | around(called)
    if any_stack.parameters["KmsKeyArns"] != [""]:
        expected |= ATTACH_ENCRYPTED_VOLUMES
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


def test_the_keys_of_volumes_are_used_through_ec2_alone(full_stack: Stack) -> None:
    found = [
        each
        for each in iam.statements(full_stack, MACHINE)
        if set(each.resources) & set(full_stack.parameters["KmsKeyArns"])
    ]
    assert iam.granted(found) == ATTACH_ENCRYPTED_VOLUMES
    for each in found:
        assert set(each.resources) == set(full_stack.parameters["KmsKeyArns"])
        assert each.condition["StringLike"] == {"kms:ViaService": "ec2.*.${AWS::URLSuffix}"}
        if "kms:CreateGrant" in each.actions:
            assert each.condition["Bool"] == {"kms:GrantIsForAWSResource": "true"}


def test_what_is_published_goes_to_the_topic_with_its_own_key(any_stack: Stack) -> None:
    for found in iam.roles(any_stack).values():
        for each in found:
            if "sns:Publish" in each.actions:
                assert each.resources == ("<NotificationTopic>",)
            if "kms:GenerateDataKey*" in each.actions:
                assert each.resources == ("<TopicKey.Arn>",)


@pytest.mark.parametrize("path", [TEMPLATE, DEFINITION], ids=lambda path: path.name)
def test_no_arn_is_of_one_partition(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"arn:aws[\w-]*:.*", text)
    assert "arn:${" in text
