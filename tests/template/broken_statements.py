"""Statements that break the rules for permissions, one for each way that a rule must notice."""

from collections.abc import Callable
from typing import Any

from stillpoint.tags import Tag
from tests.template import iam
from tests.template.iam import INSTANCES, MADE, ON_OURS, Condition, Statement

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
CYCLE_KEY = {"ForAllValues:StringEquals": {"aws:TagKeys": [Tag.CYCLE]}}

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
    (iam.destructive_actions, a_statement(["ec2:DescribeVolumes", "ec2:DeleteVolume"], "*")),
    (iam.destructive_actions, a_statement("iam:CreateUser", "*")),
    (
        iam.removal_of_what_is_not_ours,
        a_statement(["ec2:DescribeImages", "ec2:DeregisterImage"], "*", ON_OURS),
    ),
    (iam.removal_of_what_is_not_ours, a_statement("ec2:DeregisterImage", IMAGES)),
    (iam.removal_of_what_is_not_ours, a_statement("ec2:DeleteSnapshot", SNAPSHOTS)),
    (
        iam.removal_of_what_is_not_ours,
        a_statement("ec2:DeleteSnapshot", SNAPSHOTS, if_tagged(Tag.STACK)),  # of any stack
    ),
    (
        iam.removal_of_what_is_not_ours,
        a_statement(
            "ec2:DeregisterImage",
            IMAGES,
            {"StringEqualsIfExists": ON_OURS["StringEquals"]},  # true where there is no tag
        ),
    ),
    (
        iam.removal_of_what_is_not_ours,
        a_statement("ec2:DeleteSnapshot", [SNAPSHOTS, INSTANCES], ON_OURS),
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
]
