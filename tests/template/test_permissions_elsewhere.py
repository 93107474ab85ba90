"""What the roles may do in other Regions, and with whose keys."""

import itertools
import json
from importlib import resources
from typing import Any

import pytest

from stillpoint.tags import Tag
from tests.template import iam
from tests.template.cloudformation import Stack, stack
from tests.template.conftest import COPY_KEYS, KEY
from tests.template.iam import COPIED, COPY_REGIONS, OWN_IMAGES, Statement
from tests.template.test_permissions import (
    ATTACH_ENCRYPTED_VOLUMES,
    COMPLETION,
    COPY_ENCRYPTED_SNAPSHOTS,
    COPYING,
    FREEZING,
    ISOLATION,
    MACHINE,
    PRUNING,
    RECOVERY,
    RETURN,
    ROLES,
    START,
)

# The parameters that bring policies of their own, each with a value.
OPTIONS = {
    "KmsKeyArns": f"{KEY}/1111",
    "CopyRegions": ",".join(COPY_REGIONS),
    "CopyKmsKeyArns": ",".join(COPY_KEYS),
}
# The policies beside the roles: on which roles they are, and what they need.
POLICIES: dict[str, tuple[set[str], set[str]]] = {
    "LookAroundPolicy": ({ISOLATION, RETURN, RECOVERY}, set()),
    "ReturnPolicy": ({RETURN, RECOVERY}, set()),
    "RunScriptsPolicy": ({ISOLATION, RETURN, RECOVERY}, set()),
    "CommandPolicy": ({ISOLATION, FREEZING, RETURN, RECOVERY}, set()),
    "FreezePolicy": ({FREEZING, RETURN}, set()),
    "VolumeKeysPolicy": (START, {"KmsKeyArns"}),
    "MakeCopiesPolicy": ({COPYING}, {"CopyRegions"}),
    "RemoveCopiesPolicy": ({COPYING, PRUNING}, {"CopyRegions"}),
    "PruneCopiesPolicy": ({PRUNING}, {"CopyRegions"}),
    "CopyFromKeysPolicy": ({COPYING}, {"CopyRegions", "KmsKeyArns"}),
    "CopyToKeysPolicy": ({COPYING}, {"CopyRegions", "CopyKmsKeyArns"}),
}
THROUGH_EC2 = {"kms:ViaService": "ec2.*.${AWS::URLSuffix}"}
EVERY_ROLE = pytest.mark.parametrize("role", [*ROLES.values(), MACHINE])


def elsewhere(found: list[Statement]) -> list[Statement]:
    """The statements about images and snapshots of any Region."""
    return [each for each in found if COPIED & set(each.resources)]


@pytest.mark.parametrize(
    "given",
    [
        set(names)
        for size in range(len(OPTIONS) + 1)
        for names in itertools.combinations(OPTIONS, size)
    ],
    ids=lambda names: "+".join(sorted(names)) or "nothing",
)
def test_a_policy_beside_the_roles_is_there_only_if_it_is_of_use(
    given: set[str], transformed_template: dict[str, Any]
) -> None:
    made = stack(transformed_template, {name: OPTIONS[name] for name in given})
    policies = made.of_type("AWS::IAM::Policy")
    assert policies.keys() == {name for name, (_, needs) in POLICIES.items() if needs <= given}
    for name, policy in policies.items():
        assert policy.keys() == {"PolicyName", "PolicyDocument", "Roles"}
        assert sorted(policy["Roles"]) == sorted(f"<{role}>" for role in POLICIES[name][0])


@EVERY_ROLE
def test_only_the_pruning_and_the_copying_reach_into_other_regions(
    role: str, any_stack: Stack
) -> None:
    reaches = role in {PRUNING, COPYING} and any_stack.given("CopyRegions")
    assert bool(elsewhere(iam.statements(any_stack, role))) == reaches


def test_whatever_is_done_with_copies_is_done_with_our_own_in_the_regions_of_the_stack(
    full_stack: Stack,
) -> None:
    for role in (PRUNING, COPYING):
        for each in elsewhere(iam.statements(full_stack, role)):
            equal = each.condition["StringEquals"]
            assert equal["aws:RequestedRegion"] == full_stack.parameters["CopyRegions"]
            if "ec2:CreateAction" in equal:
                continue  # tags of what is being made, which is authorised for itself
            scope = "RequestTag" if "ec2:CopyImage" in each.actions else "ResourceTag"
            assert equal[f"aws:{scope}/{Tag.STACK}"] == "${AWS::StackName}"
            assert each.condition["StringLike"] == {
                f"aws:{scope}/{Tag.COPY_OF}": iam.OUR_COPIES_ARE_OF
            }


def test_a_copy_is_tagged_at_its_creation_and_then_only_with_its_safeguards(
    full_stack: Stack,
) -> None:
    found = iam.statements(full_stack, COPYING)
    tagging = [each for each in elsewhere(found) if "ec2:CreateTags" in each.actions]
    assert iam.BY_COPY_IMAGE in [each.condition for each in tagging]
    assert iam.written_keys(tagging, "ec2:CreateTags", iam.COPIED_IMAGES) == iam.SAFEGUARD_TAGS


@EVERY_ROLE
def test_the_copying_writes_its_work_list_on_images_the_pruning_the_end_and_no_other_anything(
    role: str, any_stack: Stack
) -> None:
    found = iam.statements(any_stack, role)
    for action in ("ec2:CreateTags", "ec2:DeleteTags"):
        written = iam.written_keys(found, action, OWN_IMAGES)
        assert written == {PRUNING: iam.END_TAGS, COPYING: iam.WORK_LIST}.get(role, set())


@EVERY_ROLE
def test_the_pruning_writes_the_end_on_copies_and_it_alone_takes_anything_off_them(
    role: str, full_stack: Stack
) -> None:
    found = iam.statements(full_stack, role)
    ends = iam.END_TAGS if role == PRUNING else frozenset()
    safeguards = iam.SAFEGUARD_TAGS if role == COPYING else frozenset()
    written = iam.written_keys(found, "ec2:CreateTags", iam.COPIED_IMAGES)
    assert written == ends | safeguards
    assert iam.written_keys(found, "ec2:DeleteTags", iam.COPIED_IMAGES) == ends


@EVERY_ROLE
def test_the_keys_of_volumes_are_used_by_what_starts_and_copies_and_through_ec2_alone(
    role: str, full_stack: Stack
) -> None:
    copying = COPY_ENCRYPTED_SNAPSHOTS if role == COPYING else set()
    expected = ATTACH_ENCRYPTED_VOLUMES if role in START else copying
    assert used(full_stack, role, "KmsKeyArns") == expected


@EVERY_ROLE
def test_the_keys_of_copies_are_used_by_the_copying_and_through_ec2_alone(
    role: str, full_stack: Stack
) -> None:
    expected = COPY_ENCRYPTED_SNAPSHOTS if role == COPYING else set()
    assert used(full_stack, role, "CopyKmsKeyArns") == expected


def used(stack_of_all: Stack, role: str, parameter: str) -> set[str]:
    """What a role may do with the keys of a parameter: only through EC2, grants only for it."""
    keys = set(stack_of_all.parameters[parameter])
    found = [each for each in iam.statements(stack_of_all, role) if keys & set(each.resources)]
    for each in found:
        assert set(each.resources) == keys
        assert each.condition["StringLike"] == THROUGH_EC2
        if "kms:CreateGrant" in each.actions:
            assert each.condition["Bool"] == {"kms:GrantIsForAWSResource": "true"}
            assert each.actions == ("kms:CreateGrant",)
    return iam.granted(found)


def test_a_key_is_looked_at_where_the_images_are(full_stack: Stack) -> None:
    own, other = (
        [each for each in iam.statements(full_stack, role) if each.actions == ("kms:DescribeKey",)]
        for role in (COMPLETION, COPYING)
    )
    assert [each.resources for each in own] == [(iam.KEYS,)]
    assert [each.resources for each in other] == [(iam.ANY_KEYS,)]
    assert [each.condition for each in other] == [iam.TO_COPY_REGIONS]


# Each of our services with its actions: the types of resources that it is authorised on.
type Types = dict[str, set[str]]


def types_by_action() -> Types:
    """The types of resources that an action is authorised on, as cfn-lint has them.

    They come from the Service Authorization Reference.
    """
    folder = resources.files("cfnlint.data.AdditionalSpecs")
    policies = json.loads((folder / "Policies.json").read_text(encoding="utf-8"))
    return {
        f"{service}:{name}".lower(): set(each.get("Resources", ()))
        for service in ("autoscaling", "cloudwatch", "ec2", "elasticloadbalancing", "ssm")
        for name, each in policies[service]["Actions"].items()
    }


def type_of(arn: str) -> str:
    """The type of resource that an ARN names."""
    return iam.parts_of(arn)[5].partition("/")[0]


@EVERY_ROLE
def test_every_action_is_allowed_on_what_it_is_authorised_on(role: str, full_stack: Stack) -> None:
    known = types_by_action()
    for each in iam.statements(full_stack, role):
        actions = [action for action in each.actions if action.lower() in known]
        if not actions or each.resources == ("*",):
            continue
        named = {type_of(arn) for arn in each.resources}
        for action in actions:
            assert known[action.lower()] & named or iam.LICENCES in each.resources, str(each)
        assert named <= set().union(*(known[action.lower()] for action in actions)) or (
            iam.LICENCES in each.resources
        ), str(each)


def test_what_is_allowed_on_everything_is_authorised_on_nothing(any_stack: Stack) -> None:
    known = types_by_action()
    # It reads an attribute of one instance, but each instance may have any tags.
    known["ec2:describeinstanceattribute"] = set()
    # They list what is there: the owner's alarms, and rules of which only some are ours.
    known["cloudwatch:describealarms"] = known["cloudwatch:listalarmmuterules"] = set()
    for found in iam.roles(any_stack).values():
        for each in found:
            if each.resources == ("*",):
                assert [action for action in each.actions if known[action.lower()]] == []
