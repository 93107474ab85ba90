"""Statements that break the rules for permissions, one for each way that a rule must notice."""

from collections.abc import Callable
from typing import Any

from stillpoint.tags import Tag
from tests.template import iam
from tests.template.iam import (
    COPIED,
    COPIED_IMAGES,
    COPIED_OURS,
    ELSEWHERE,
    INSTANCES,
    MADE,
    OF_THE_NAME,
    ON_OUR_COPIES,
    ON_OURS,
    OWN_IMAGES,
    TO_COPY_REGIONS,
    Condition,
    Statement,
)

type Rule = Callable[[list[Statement]], list[str]]


def a_statement(
    actions: str | list[str], resources: str | list[str], condition: Condition | None = None
) -> Statement:
    row = {"Effect": "Allow", "Action": actions, "Resource": resources}
    return Statement.parse(row | ({"Condition": condition} if condition else {}))


def if_tagged(key: Tag, missing: str = "false") -> dict[str, Any]:
    return {"Null": {f"aws:ResourceTag/{key}": missing}}


IMAGES, SNAPSHOTS = sorted(MADE)
OUR_KEYS = {"ForAllValues:StringEquals": {"aws:TagKeys": [Tag.CYCLE, Tag.LAST]}}
PRESENT = {"aws:TagKeys": "false"}
SCHEDULED = {f"aws:ResourceTag/{Tag.SCHEDULE}": "false"}
IN_CYCLE = {f"aws:ResourceTag/{Tag.CYCLE}": "false"}
COPYING_KEY = {"ForAllValues:StringEquals": {"aws:TagKeys": [Tag.COPYING]}}
END_KEY = {"ForAllValues:StringEquals": {"aws:TagKeys": [Tag.ENDED_AT]}}
SAFEGUARD_KEYS: dict[str, Any] = {
    "ForAllValues:StringEquals": {"aws:TagKeys": [Tag.PROTECTED, Tag.SHARED_WITH]},
    "Null": PRESENT,
}
COPIED_SNAPSHOTS = next(iter(COPIED - {COPIED_IMAGES}))
ANY_COPIES = {"StringLike": ON_OUR_COPIES["StringLike"]}
IS_COPY = {f"aws:ResourceTag/{Tag.COPY_OF}": "false"}
ON_COPIES_OF_THE_NAME = {**OF_THE_NAME, "Null": IS_COPY}
OF_ANY_REGION = {
    "StringEquals": ON_OUR_COPIES["StringEquals"],
    "StringLike": {f"aws:ResourceTag/{Tag.COPY_OF}": "*"},
}
CYCLE_KEY = {"ForAllValues:StringEquals": {"aws:TagKeys": [Tag.CYCLE]}}

BREAKS: list[tuple[Rule, Statement]] = [
    (iam.wildcard_actions, a_statement("ec2:*", INSTANCES)),
    (iam.wildcard_actions, a_statement(["ec2:StopInstances", "ec2:Describe*"], INSTANCES)),
    (iam.wildcard_actions, a_statement("*", INSTANCES)),
    (iam.unscoped_resources, a_statement("ec2:StopInstances", "*")),
    (iam.unscoped_resources, a_statement(["ec2:DescribeInstances", "ec2:CreateTags"], "*")),
    (iam.unscoped_resources, a_statement("sns:Publish", ["<NotificationTopic>", "*"])),
    (iam.unscoped_resources, a_statement("autoscaling:UpdateAutoScalingGroup", "*")),
    (iam.unscoped_resources, a_statement("ssm:SendCommand", "*")),
    (iam.unscoped_resources, a_statement("elasticloadbalancing:RegisterTargets", "*")),
    (iam.fixed_partitions, a_statement("sns:Publish", "arn:aws:sns:eu-west-1:111122223333:t")),
    (iam.fixed_partitions, a_statement("sns:Publish", "arn:*:sns:*:*:*")),
    (iam.destructive_actions, a_statement("ec2:TerminateInstances", INSTANCES)),
    (iam.destructive_actions, a_statement(["ec2:DescribeVolumes", "ec2:DeleteVolume"], "*")),
    (iam.destructive_actions, a_statement("iam:CreateUser", "*")),
    (iam.destructive_actions, a_statement("autoscaling:UpdateAutoScalingGroup", INSTANCES)),
    (iam.reach_into_other_guests, a_statement("ssm:SendCommand", INSTANCES)),
    (
        iam.reach_into_other_guests,
        a_statement("ssm:SendCommand", INSTANCES, if_tagged(Tag.SCHEDULE)),
    ),
    (iam.reach_into_other_guests, a_statement("ssm:SendCommand", iam.DOCUMENTS)),
    (
        iam.reach_into_other_guests,
        a_statement("ssm:SendCommand", [iam.FREEZE_DOCUMENT, f"{iam.SSM}:document/*"]),
    ),
    (
        iam.reach_into_other_guests,
        a_statement("ssm:SendCommand", [INSTANCES, iam.DOCUMENTS], iam.WITH_CONSENT),
    ),
    (
        iam.foreign_mute_rules,
        a_statement(
            "cloudwatch:DeleteAlarmMuteRule", iam.MUTE_RULES.removesuffix("stillpoint-*") + "*"
        ),
    ),
    (iam.foreign_mute_rules, a_statement("cloudwatch:DeleteAlarmMuteRule", iam.ALARMS)),
    (iam.destructive_actions, a_statement("ec2:UnlockSnapshot", SNAPSHOTS, ON_OURS)),
    (
        iam.changes_of_what_is_not_ours,
        a_statement(["ec2:DescribeImages", "ec2:DeregisterImage"], "*", ON_OURS),
    ),
    (iam.changes_of_what_is_not_ours, a_statement("ec2:DeregisterImage", IMAGES)),
    (iam.changes_of_what_is_not_ours, a_statement("ec2:DeleteSnapshot", SNAPSHOTS)),
    (
        iam.changes_of_what_is_not_ours,
        a_statement("ec2:DeleteSnapshot", SNAPSHOTS, if_tagged(Tag.STACK)),  # of any stack
    ),
    (
        iam.changes_of_what_is_not_ours,
        a_statement(
            "ec2:DeregisterImage",
            IMAGES,
            # True where there is no tag.
            {"StringEqualsIfExists": ON_OURS["StringEquals"], "Null": ON_OURS["Null"]},
        ),
    ),
    (
        iam.changes_of_what_is_not_ours,
        a_statement("ec2:DeleteSnapshot", [SNAPSHOTS, INSTANCES], ON_OURS),
    ),
    (iam.changes_of_what_is_not_ours, a_statement(iam.UNPROTECT, IMAGES)),
    (iam.changes_of_what_is_not_ours, a_statement("ec2:ModifyImageAttribute", IMAGES)),
    (
        iam.changes_of_what_is_not_ours,
        a_statement("ec2:ModifySnapshotAttribute", SNAPSHOTS, if_tagged(Tag.STACK)),
    ),
    (iam.changes_of_what_is_not_ours, a_statement("ec2:LockSnapshot", SNAPSHOTS, TO_COPY_REGIONS)),
    # Nor does the stack's name alone make it ours here: what has it may be another stack's copy.
    *(
        (iam.changes_of_what_is_not_ours, a_statement(action, resource, condition))
        for condition in (OF_THE_NAME, ON_COPIES_OF_THE_NAME)
        for action, resource in (
            ("ec2:DeregisterImage", IMAGES),
            ("ec2:DeleteSnapshot", SNAPSHOTS),
            (iam.UNPROTECT, IMAGES),
            ("ec2:EnableImageDeregistrationProtection", IMAGES),
            ("ec2:ModifyImageAttribute", IMAGES),
            ("ec2:ModifySnapshotAttribute", SNAPSHOTS),
            ("ec2:LockSnapshot", SNAPSHOTS),
        )
    ),
    (
        iam.changes_of_what_is_not_ours,
        a_statement("ec2:DeregisterImage", IMAGES, {"Null": ON_OURS["Null"]}),  # of anybody
    ),
    # Elsewhere the stack's name alone does not make it ours, nor does being a copy.
    (iam.changes_of_what_is_not_ours, a_statement("ec2:DeregisterImage", COPIED_IMAGES, ON_OURS)),
    (
        iam.changes_of_what_is_not_ours,
        a_statement("ec2:DeregisterImage", COPIED_IMAGES, {"StringEquals": ELSEWHERE}),
    ),
    (
        iam.changes_of_what_is_not_ours,
        a_statement("ec2:DeleteSnapshot", COPIED_SNAPSHOTS, {**TO_COPY_REGIONS, **ANY_COPIES}),
    ),
    (
        iam.changes_of_what_is_not_ours,
        a_statement("ec2:DeleteSnapshot", COPIED_SNAPSHOTS, {**OF_THE_NAME, **ANY_COPIES}),
    ),
    (
        iam.changes_of_what_is_not_ours,
        a_statement(iam.UNPROTECT, COPIED_IMAGES, OF_ANY_REGION),  # another stack's copies, too
    ),
    (
        iam.changes_of_what_is_not_ours,
        a_statement("ec2:DeregisterImage", [*sorted(COPIED), INSTANCES], ON_OUR_COPIES),
    ),
    (iam.reach_into_other_regions, a_statement("ec2:DeregisterImage", COPIED_IMAGES, ON_OURS)),
    (iam.reach_into_other_regions, a_statement("kms:DescribeKey", iam.ANY_KEYS)),
    (
        iam.reach_into_other_regions,
        a_statement(
            "ec2:CopyImage", sorted(COPIED), {"StringEquals": {"aws:RequestedRegion": "*"}}
        ),
    ),
    (
        iam.reach_into_other_regions,
        a_statement("ec2:LockSnapshot", [SNAPSHOTS, COPIED_SNAPSHOTS], ON_OURS),
    ),
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
    # A copy is made only with our tags, and only elsewhere.
    (iam.reach_beyond_scheduled_instances, a_statement("ec2:CopyImage", sorted(COPIED))),
    (
        iam.reach_beyond_scheduled_instances,
        a_statement("ec2:CopyImage", sorted(COPIED), TO_COPY_REGIONS),
    ),
    (iam.reach_beyond_scheduled_instances, a_statement("ec2:CopyImage", sorted(MADE), COPIED_OURS)),
    # Its source is looked at without any tags, so that this would never be allowed.
    (
        iam.reach_beyond_scheduled_instances,
        a_statement("ec2:CopyImage", sorted(MADE), ON_OURS),
    ),
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
    # A cycle on any instance would let any instance be started.
    (iam.foreign_tags, a_statement("ec2:CreateTags", INSTANCES, {"Null": PRESENT, **CYCLE_KEY})),
    (iam.foreign_tags, a_statement("ec2:CreateTags", INSTANCES, {"Null": IN_CYCLE, **CYCLE_KEY})),
    (
        iam.foreign_tags,
        a_statement("ec2:CreateTags", INSTANCES, {"Null": IN_CYCLE | PRESENT, **OUR_KEYS}),
    ),
    (iam.foreign_tags, a_statement("ec2:DeleteTags", INSTANCES, OUR_KEYS)),
    (iam.foreign_tags, a_statement("ec2:DeleteTags", INSTANCES)),
    (iam.foreign_tags, a_statement("ec2:CreateTags", sorted(MADE))),
    (iam.foreign_tags, a_statement("ec2:DeleteTags", sorted(MADE), ON_OURS)),
    # Evidence is not for a copy of another stack of the name.
    (iam.foreign_tags, a_statement("ec2:CreateTags", sorted(MADE), OF_THE_NAME)),
    (iam.foreign_tags, a_statement("ec2:CreateTags", sorted(MADE), ON_COPIES_OF_THE_NAME)),
    (iam.foreign_tags, a_statement("ec2:DeleteTags", OWN_IMAGES, {**OF_THE_NAME, **COPYING_KEY})),
    (
        iam.foreign_tags,
        a_statement("ec2:DeleteTags", OWN_IMAGES, {"Null": PRESENT, **COPYING_KEY}),
    ),
    (
        iam.foreign_tags,
        a_statement(
            "ec2:DeleteTags",
            OWN_IMAGES,
            {
                **OF_THE_NAME,
                "Null": PRESENT,
                "ForAllValues:StringEquals": {"aws:TagKeys": [Tag.COPYING, Tag.STACK]},
            },
        ),
    ),
    # Nor is the end of its instance noted on one.
    *(
        (iam.foreign_tags, a_statement(action, resource, condition))
        for action in ("ec2:CreateTags", "ec2:DeleteTags")
        for resource, condition in (
            (OWN_IMAGES, {**OF_THE_NAME, "Null": PRESENT, **END_KEY}),
            (OWN_IMAGES, {**OF_THE_NAME, "Null": {**PRESENT, **IS_COPY}, **END_KEY}),
            (OWN_IMAGES, {"Null": {**PRESENT, **ON_OURS["Null"]}, **END_KEY}),
            (OWN_IMAGES, {**ON_OURS, **END_KEY}),
            (COPIED_IMAGES, {**OF_ANY_REGION, "Null": PRESENT, **END_KEY}),
            (COPIED_IMAGES, {**ON_OUR_COPIES, **END_KEY}),
            (COPIED_IMAGES, {**TO_COPY_REGIONS, "Null": PRESENT, **END_KEY}),
        )
    ),
    (
        iam.foreign_tags,
        a_statement(
            "ec2:DeleteTags",
            OWN_IMAGES,
            {
                **ON_OURS,
                "Null": {**PRESENT, **ON_OURS["Null"]},
                "ForAllValues:StringEquals": {"aws:TagKeys": [Tag.ENDED_AT, Tag.HOLD]},
            },
        ),
    ),
    (iam.foreign_tags, a_statement("ec2:CreateTags", COPIED_IMAGES, ON_OUR_COPIES)),
    (
        iam.foreign_tags,
        a_statement("ec2:CreateTags", COPIED_IMAGES, {**OF_THE_NAME, **SAFEGUARD_KEYS}),
    ),
    (
        iam.foreign_tags,
        a_statement("ec2:DeleteTags", COPIED_IMAGES, {**ON_OUR_COPIES, **SAFEGUARD_KEYS}),
    ),
    (
        iam.foreign_tags,
        a_statement(
            "ec2:CreateTags",
            sorted(COPIED),
            {"StringEquals": {"ec2:CreateAction": "CopyImage"}},
        ),
    ),
]
