"""The stack's deletion begins with its guard, and a refusal leaves a running backup whole."""

from typing import Any

import pytest

from tests.template import iam
from tests.template.cloudformation import Stack

GUARD = "DeletionGuard"
# What a backup under way needs, besides what these refer to themselves.
NEEDED = {
    "BackupStateMachine",
    "PrepareBackupFunction",
    "CompleteBackupFunction",
    "AlertStrandedFunction",
    "RecoverInstancesFunctionExecutionEndedPermission",
    "RecoverInstancesFunctionSweepPermission",
    "NotificationTopicPolicy",
}
# What looks after recovery points alone. A backup under way does without.
AFTERWARDS = {"PruneRecoveryPointsRole", "CopyRecoveryPointsRole", "CheckConfigurationRole"}
OPTIONAL = {"VolumeKeysPolicy", "EmailSubscription"}


def references(value: object) -> set[str]:
    """The logical ids that a resolved value refers to."""
    if isinstance(value, str):
        name = value.removeprefix("<").removesuffix(">").partition(".")[0]
        return {name} if value.startswith("<") and value.endswith(">") else set()
    parts: Any = value.values() if isinstance(value, dict) else value
    if isinstance(parts, int | float | None):
        return set()
    return {found for part in parts for found in references(part)}


def outliving(stack: Stack, name: str) -> set[str]:
    """Everything that CloudFormation deletes only after a resource."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        resource = stack.resources[waiting.pop()]
        depends = resource.get("DependsOn", [])
        direct = {depends} if isinstance(depends, str) else set(depends)
        new = (
            (direct | references(resource.get("Properties", {}))) & stack.resources.keys()
        ) - found
        found |= new
        waiting.extend(new)
    return found


def test_whatever_a_backup_under_way_needs_outlives_the_guard(any_stack: Stack) -> None:
    kept = outliving(any_stack, GUARD)
    assert kept >= NEEDED | (OPTIONAL & any_stack.resources.keys())
    roles = any_stack.of_type("AWS::IAM::Role").keys()
    assert kept & roles == roles - AFTERWARDS
    assert {"NotificationTopic", "TopicKey", "RecoverInstancesFunction"} <= kept


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_the_guard_names_what_nothing_else_would_keep(name: str, any_stack: Stack) -> None:
    assert name in any_stack.resources[GUARD]["DependsOn"]


def test_nothing_waits_for_the_guard(any_stack: Stack) -> None:
    waiting = {name for name in any_stack.resources if GUARD in outliving(any_stack, name)}
    assert waiting == set()


def test_the_guard_switches_the_rule_of_the_planner_and_may_switch_no_other(
    any_stack: Stack,
) -> None:
    guard = any_stack.properties(GUARD)
    assert guard["ServiceToken"] == "<GuardDeletionFunction.Arn>"
    assert guard["PlannerRule"] == "<PlanBackupsFunctionTick>"
    (switching,) = (
        each
        for each in iam.statements(any_stack, "GuardDeletionRole")
        if any(action.startswith("events:") for action in each.actions)
    )
    assert set(switching.actions) == {"events:DisableRule", "events:EnableRule"}
    assert switching.resources == ("<PlanBackupsFunctionTick.Arn>",)


def test_cloudformation_waits_longer_than_the_guard_may_take(any_stack: Stack) -> None:
    timeout = any_stack.properties("GuardDeletionFunction")["Timeout"]
    assert any_stack.properties(GUARD)["ServiceTimeout"] > timeout
