"""The permissions of a role, and the rules for them.

Every rule takes statements and returns a sentence for each one that breaks it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stillpoint.scripts import CONSENT_TAG
from stillpoint.tags import Tag
from tests.template.cloudformation import Stack

ARN = "arn:${AWS::Partition}:ec2:${AWS::Region}:"
INSTANCES = f"{ARN}${{AWS::AccountId}}:instance/*"
LICENCES = (
    "arn:${AWS::Partition}:license-manager:${AWS::Region}:${AWS::AccountId}:license-configuration:*"
)
MADE = frozenset({f"{ARN}:image/*", f"{ARN}:snapshot/*"})
"""Images and snapshots: their ARNs have no account."""
ANY_REGION = "arn:${AWS::Partition}:ec2:*:"
COPIED_IMAGES = f"{ANY_REGION}:image/*"
COPIED = frozenset({COPIED_IMAGES, f"{ANY_REGION}:snapshot/*"})
"""The same in whatever Region."""
OWN_IMAGES = f"{ARN}:image/*"
KEYS = "arn:${AWS::Partition}:kms:${AWS::Region}:${AWS::AccountId}:key/*"
ANY_KEYS = KEYS.replace("${AWS::Region}", "*")

SSM = "arn:${AWS::Partition}:ssm:${AWS::Region}:"
DOCUMENTS = f"{SSM}${{AWS::AccountId}}:document/*"
FREEZE_DOCUMENT = f"{SSM}${{AWS::AccountId}}:document/<FreezeDocument>"
VSS_DOCUMENT = f"{SSM}:document/AWSEC2-VssInstallAndSnapshot"
MUTE_RULES = (
    "arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm-mute-rule:stillpoint-*"
)
ALARMS = "arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:*"

COPY_REGIONS = ["eu-central-1", "us-west-2"]
"""The Regions that the tests' stack copies to."""

# KMS knows these only as families of actions (SNS Developer Guide, "Managing Amazon SNS encryption
# keys"; EBS User Guide, "Requirements for Amazon EBS encryption").
FAMILIES = frozenset({"kms:GenerateDataKey*", "kms:ReEncrypt*"})

NEVER = frozenset(
    {
        *("ec2:TerminateInstances", "ec2:RebootInstances", "ec2:ModifyInstanceAttribute"),
        *("ec2:DeleteVolume", "ec2:DetachVolume", "ec2:DisableImage", "ec2:UnlockSnapshot"),
        *("ec2:RunInstances", "ec2:CopySnapshot", "ec2:ModifySnapshotTier"),
        *("iam:PassRole", "sts:AssumeRole"),
        *("autoscaling:DetachInstances", "autoscaling:SetDesiredCapacity"),
        *("autoscaling:UpdateAutoScalingGroup", "autoscaling:ResumeProcesses"),
        *("autoscaling:SetInstanceHealth", "autoscaling:TerminateInstanceInAutoScalingGroup"),
        *("cloudwatch:DisableAlarmActions", "cloudwatch:PutMetricAlarm"),
        *("elasticloadbalancing:DeleteTargetGroup", "elasticloadbalancing:ModifyTargetGroup"),
        *("ssm:StartSession", "ssm:StartAutomationExecution", "ssm:UpdateDocument"),
    }
)

REMOVALS = frozenset({"ec2:DeregisterImage", "ec2:DeleteSnapshot"})
"""What can destroy a recovery point."""
UNPROTECT = "ec2:DisableImageDeregistrationProtection"
SAFEGUARDS = frozenset(
    {
        *("ec2:ModifyImageAttribute", "ec2:ModifySnapshotAttribute"),
        *("ec2:EnableImageDeregistrationProtection", "ec2:LockSnapshot"),
    }
)
"""What shares, protects and locks a recovery point."""

# Actions that are authorised on no resource (Service Authorization Reference), or that list what
# cannot be named before.
WITHOUT_RESOURCE = (
    *("autoscaling:Describe", "ec2:Describe", "ec2:ListImagesInRecycleBin"),
    *("cloudwatch:DescribeAlarms", "cloudwatch:ListAlarmMuteRules"),
    *("elasticloadbalancing:Describe", "ssm:DescribeInstanceInformation"),
    *("ssm:CancelCommand", "ssm:GetCommandInvocation", "ssm:ListCommand"),
)

OUR_TAGS = frozenset({Tag.CYCLE, Tag.LAST, Tag.PROBLEM, Tag.RECOVERY_POINT, Tag.UNDO})
"""The keys that Stillpoint writes on instances."""
WORK_LIST = frozenset({Tag.COPYING})
"""The key that the copying writes on images, and takes off them."""
SAFEGUARD_TAGS = frozenset({Tag.PROTECTED, Tag.SHARED_WITH})
"""The keys that it writes on copies."""
END_TAGS = frozenset({Tag.ENDED_AT})
"""The key that the pruning writes on images and copies, and takes off them."""

type Condition = Mapping[str, Mapping[str, Any]]

ON_SCHEDULED: Condition = {"Null": {f"aws:ResourceTag/{Tag.SCHEDULE}": "false"}}
ON_IN_CYCLE: Condition = {"Null": {f"aws:ResourceTag/{Tag.CYCLE}": "false"}}
WITH_CONSENT: Condition = {"StringEquals": {f"aws:ResourceTag/{CONSENT_TAG}": "true"}}
"""On documents whose owner lets them be run as scripts."""
BY_CREATE_IMAGE: Condition = {"StringEquals": {"ec2:CreateAction": "CreateImage"}}
OF_THE_NAME: Condition = {"StringEquals": {f"aws:ResourceTag/{Tag.STACK}": "${AWS::StackName}"}}
"""Of this stack or of one with its name in another Region, which copies to this one."""
ON_OURS: Condition = {**OF_THE_NAME, "Null": {f"aws:ResourceTag/{Tag.COPY_OF}": "true"}}
MADE_OURS: Condition = {"StringEquals": {f"aws:RequestTag/{Tag.STACK}": "${AWS::StackName}"}}

OUR_COPIES_ARE_OF = "${AWS::Region}:*"
ELSEWHERE = {"aws:RequestedRegion": COPY_REGIONS}
# CopyImage knows no tag of its source (Service Authorization Reference, "Amazon EC2").
TO_COPY_REGIONS: Condition = {"StringEquals": ELSEWHERE}
BY_COPY_IMAGE: Condition = {"StringEquals": {"ec2:CreateAction": "CopyImage", **ELSEWHERE}}
ON_OUR_COPIES: Condition = {
    "StringEquals": {**OF_THE_NAME["StringEquals"], **ELSEWHERE},
    "StringLike": {f"aws:ResourceTag/{Tag.COPY_OF}": OUR_COPIES_ARE_OF},
}
COPIED_OURS: Condition = {
    "StringEquals": {**MADE_OURS["StringEquals"], **ELSEWHERE},
    "StringLike": {f"aws:RequestTag/{Tag.COPY_OF}": OUR_COPIES_ARE_OF},
}


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a policy."""

    effect: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    condition: Condition

    @classmethod
    def parse(cls, row: Mapping[str, Any]) -> "Statement":
        """Return the statement; NotAction and NotResource, which grant the unnamed, are refused."""
        known = {"Sid", "Effect", "Action", "Resource", "Condition"}
        if unknown := row.keys() - known:
            raise ValueError(f"a statement must not have {', '.join(sorted(unknown))}")
        actions, resources = _listed(row["Action"]), _listed(row["Resource"])
        return cls(row["Effect"], actions, resources, row.get("Condition", {}))

    def __str__(self) -> str:
        """The actions and the resources."""
        return f"{', '.join(self.actions)} on {', '.join(self.resources)}"


def statements(stack: Stack, role: str) -> list[Statement]:
    """Every statement of a role: of its own policies and of those that are put on it."""
    documents = [each["PolicyDocument"] for each in stack.properties(role).get("Policies", ())]
    documents += [
        policy["PolicyDocument"]
        for policy in stack.of_type("AWS::IAM::Policy").values()
        if f"<{role}>" in policy["Roles"]
    ]
    return [Statement.parse(row) for document in documents for row in document["Statement"]]


def roles(stack: Stack) -> dict[str, list[Statement]]:
    """The statements of every role of the stack, by its logical id."""
    return {role: statements(stack, role) for role in stack.of_type("AWS::IAM::Role")}


def holders(stack: Stack, action: str) -> set[str]:
    """The roles that may do something, on whatever."""
    return {role for role, found in roles(stack).items() if action in granted(found)}


def granted(found: Iterable[Statement]) -> set[str]:
    """Every action that the statements allow."""
    return {action for each in found for action in each.actions}


def wildcard_actions(found: Iterable[Statement]) -> list[str]:
    """Every action has a full name."""
    return [
        f"{action} is a wildcard"
        for each in found
        for action in each.actions
        if "*" in action and action not in FAMILIES
    ]


def unscoped_resources(found: Iterable[Statement]) -> list[str]:
    """Everything is allowed on named resources; only what describes or lists has none."""
    return [
        f"{each} is not scoped"
        for each in found
        if any(resource == "*" for resource in each.resources)
        and not all(action.startswith(WITHOUT_RESOURCE) for action in each.actions)
    ]


def fixed_partitions(found: Iterable[Statement]) -> list[str]:
    """Every ARN is of the partition that the stack is in, or refers to one of its resources."""
    return [
        f"{resource} names no partition of the stack's own"
        for each in found
        for resource in each.resources
        if not resource.startswith(("arn:${AWS::Partition}:", "<")) and resource != "*"
    ]


def destructive_actions(found: Iterable[Statement]) -> list[str]:
    """No instance is terminated, rebooted or changed, no volume lost, no lock or right taken."""
    return [
        f"{action} is never needed"
        for each in found
        for action in each.actions
        if action in NEVER or action.startswith("iam:")
    ]


def changes_of_what_is_not_ours(found: Iterable[Statement]) -> list[str]:
    """Only images and snapshots with the ownership tag of this stack are removed or changed.

    A stack of the same name may live in another Region. So in this Region only those are that are
    no copies, which may be from there, and in others only those that are copies from this one.
    """
    return [
        f"{action} is allowed on {', '.join(each.resources)} if {dict(each.condition)}"
        for each in found
        for action in each.actions
        if action in REMOVALS | SAFEGUARDS | {UNPROTECT}
        and not (frozenset(each.resources) <= MADE and each.condition == ON_OURS)
        and not (frozenset(each.resources) <= COPIED and each.condition == ON_OUR_COPIES)
    ]


def reach_into_other_regions(found: Iterable[Statement]) -> list[str]:
    """What is allowed in any Region is allowed in those that the stack copies to alone."""
    return [
        f"{each} is allowed if {dict(each.condition)}"
        for each in found
        if any(_region_of(arn) == "*" for arn in each.resources)
        and each.condition.get("StringEquals", {}).get("aws:RequestedRegion") != COPY_REGIONS
    ]


def reach_beyond_scheduled_instances(found: Iterable[Statement]) -> list[str]:
    """Only scheduled instances are stopped and imaged; those in a cycle may be started as well.

    An image and its snapshots are made only with the ownership tag, and a copy only elsewhere and
    if it says that it is one.
    """
    allowed: dict[str, list[tuple[frozenset[str], Condition]]] = {
        "ec2:StopInstances": [(frozenset({INSTANCES}), ON_SCHEDULED)],
        "ec2:StartInstances": [
            (frozenset({INSTANCES}), ON_SCHEDULED),
            (frozenset({INSTANCES}), ON_IN_CYCLE),
            # No instance: what a start of a licensed instance is authorised on as well.
            (frozenset({LICENCES}), {}),
        ],
        "ec2:CreateImage": [(frozenset({INSTANCES}), ON_SCHEDULED), (MADE, MADE_OURS)],
        "ec2:CopyImage": [(MADE, TO_COPY_REGIONS), (COPIED, COPIED_OURS)],
    }
    return [
        f"{action} is allowed on {', '.join(each.resources)} if {dict(each.condition)}"
        for each in found
        for action in each.actions
        if action in allowed and (frozenset(each.resources), each.condition) not in allowed[action]
    ]


def reach_into_other_guests(found: Iterable[Statement]) -> list[str]:
    """Something is run only in instances that are in a cycle, and only what is meant for it.

    That is Stillpoint's own document, AWS's that makes VSS snapshots, and those with consent.
    """
    allowed: list[tuple[frozenset[str], Condition]] = [
        (frozenset({INSTANCES}), ON_IN_CYCLE),
        (frozenset({DOCUMENTS}), WITH_CONSENT),
        (frozenset({FREEZE_DOCUMENT}), {}),
        (frozenset({FREEZE_DOCUMENT, VSS_DOCUMENT}), {}),
    ]
    return [
        f"{each} is allowed if {dict(each.condition)}"
        for each in found
        if "ssm:SendCommand" in each.actions
        and (frozenset(each.resources), each.condition) not in allowed
    ]


def foreign_mute_rules(found: Iterable[Statement]) -> list[str]:
    """Only mute rules with a name of ours are made, read and removed; they may name any alarm."""
    return [
        f"{action} is allowed on {', '.join(each.resources)}"
        for each in found
        for action in each.actions
        if action.endswith("AlarmMuteRule")
        and set(each.resources)
        - ({MUTE_RULES, ALARMS} if action == "cloudwatch:PutAlarmMuteRule" else {MUTE_RULES})
    ]


def foreign_tags(found: Iterable[Statement]) -> list[str]:
    """On instances only our own keys are written, on images and snapshots only what is ours.

    Which instances: those with a schedule. A cycle is put on no other, because it is what opens
    StartInstances; one that is there may be rewritten and taken off.

    ForAllValues is true of an empty set, so the keys must be there as well (IAM User Guide,
    "Set operators for multivalued context keys").
    """
    problems = []
    for each in found:
        for action in {"ec2:CreateTags", "ec2:DeleteTags"} & set(each.actions):
            resources = frozenset(each.resources)
            on_instances = resources == {INSTANCES} and _only_our_keys(each, action)
            on_images = (
                resources == {OWN_IMAGES}
                and each.condition in (_only(WORK_LIST, ON_OURS), _only(END_TAGS, ON_OURS))
            ) or (resources == {COPIED_IMAGES} and each.condition == _only(END_TAGS, ON_OUR_COPIES))
            on_made = action == "ec2:CreateTags" and (
                (resources <= MADE and each.condition in (ON_OURS, BY_CREATE_IMAGE))
                or (resources <= COPIED and each.condition == BY_COPY_IMAGE)
                or (
                    resources == {COPIED_IMAGES}
                    and each.condition == _only(SAFEGUARD_TAGS, ON_OUR_COPIES)
                )
            )
            if not on_instances and not on_images and not on_made:
                where = f"{', '.join(each.resources)} if {dict(each.condition)}"
                problems.append(f"{action} is allowed on {where}")
    return problems


def written_keys(found: Iterable[Statement], action: str, arn: str = INSTANCES) -> set[str]:
    """The tag keys that a role may write on (CreateTags) or take off (DeleteTags) instances.

    Another `arn` asks for those on images, as far as they are named.
    """
    return {
        key
        for each in found
        if action in each.actions and each.resources == (arn,)
        for key in each.condition["ForAllValues:StringEquals"]["aws:TagKeys"]
    }


def parts_of(arn: str) -> list[str]:
    """The parts of an ARN; what CloudFormation fills in is empty."""
    return re.sub(r"\$\{[^}]+\}", "", arn).split(":")


def _only(keys: Iterable[str], condition: Condition) -> Condition:
    """The condition, and that these keys are written and no others."""
    written = {"ForAllValues:StringEquals": {"aws:TagKeys": sorted(keys)}}
    return {**condition, "Null": {**condition.get("Null", {}), "aws:TagKeys": "false"}, **written}


def _only_our_keys(statement: Statement, action: str) -> bool:
    condition = statement.condition
    present = condition.get("Null", {})
    keys = condition.get("ForAllValues:StringEquals", {}).get("aws:TagKeys", ["*"])
    scheduled = present.get(f"aws:ResourceTag/{Tag.SCHEDULE}") == "false"
    rewritten = present.get(f"aws:ResourceTag/{Tag.CYCLE}") == "false" and set(keys) == {Tag.CYCLE}
    return (
        set(keys) <= OUR_TAGS
        and present.get("aws:TagKeys") == "false"
        # Ours may be taken off even where the owner has taken the schedule off before.
        and (scheduled or rewritten or action == "ec2:DeleteTags")
        and condition.keys() == {"Null", "ForAllValues:StringEquals"}
    )


def _region_of(resource: str) -> str:
    """The Region in an ARN, empty if it is the stack's own or no ARN."""
    parts = parts_of(resource)
    return parts[3] if parts[0] == "arn" else ""


def _listed(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
