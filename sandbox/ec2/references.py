"""DescribeImageReferences: which instances and launch templates name an image.

EC2 User Guide, "Identify your resources referencing specified AMIs": at most 10 images in a
request. Unless options say otherwise, instances in all states count, terminated ones too, and of
each launch template the 10 latest versions.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from sandbox.ec2.call import Call
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.filters import page
from sandbox.ec2.instance_views import is_listed
from sandbox.ec2.model import InstanceState
from sandbox.ec2.region import Operation, Region, check_id

MAX_IMAGES = 10
INSTANCE, TEMPLATE = "ec2:Instance", "ec2:LaunchTemplate"
_ELSEWHERE = ("ssm:Parameter", "imagebuilder:ImageRecipe", "imagebuilder:ContainerRecipe")
_DEFAULT_STATES = [state.value for state in InstanceState]
_DEFAULT_DEPTH = ["10"]
MAX_DEPTH = 10_000

type Options = Mapping[str, list[str]]


def describe_image_references(region: Region, call: Call) -> dict[str, Any]:
    """List who names the given images, which need not exist, in pages."""
    ids = dict.fromkeys(call.params.get("ImageIds") or [])
    if not 1 <= len(ids) <= MAX_IMAGES:
        message = f"Specify 1 to {MAX_IMAGES} image IDs, not {len(ids)}"
        raise Ec2Error("InvalidParameterValue", message)
    for image_id in ids:
        check_id(image_id, "ami", "InvalidAMIID.Malformed")
    kinds = _kinds(call.params)
    references: list[dict[str, str]] = []
    if INSTANCE in kinds:
        references += _instances(region, set(ids), kinds[INSTANCE], call.at)
    if TEMPLATE in kinds:
        references += _templates(region, set(ids), kinds[TEMPLATE])
    references.sort(key=lambda one: (one["ImageId"], one["ResourceType"], one["Arn"]))
    found, token = page(references, call.params, lowest=1)
    return {"ImageReferences": list(found), "NextToken": token}


def _kinds(params: Mapping[str, Any]) -> dict[str, Options]:
    """Return the types of resources to look at, each with its options."""
    kinds: dict[str, Options] = {}
    if params.get("IncludeAllResourceTypes", False):
        kinds = {kind: {} for kind in (INSTANCE, TEMPLATE, *_ELSEWHERE)}
    for entry in params.get("ResourceTypes") or []:
        kind = entry.get("ResourceType")
        if kind not in (INSTANCE, TEMPLATE, *_ELSEWHERE):
            message = f"Value ({kind}) for parameter ResourceType is invalid"
            raise Ec2Error("InvalidParameterValue", message)
        kinds[kind] = {
            option.get("OptionName", ""): option.get("OptionValues") or []
            for option in entry.get("ResourceTypeOptions") or []
        }
    if not kinds:
        message = "Either IncludeAllResourceTypes or ResourceTypes must be specified."
        raise Ec2Error("MissingParameter", message)
    return kinds


def _option(options: Options, name: str, default: list[str]) -> list[str]:
    """Return the values of the one option that a type has; raise Ec2Error for another one."""
    if unknown := options.keys() - {name}:
        message = f"Value ({min(unknown)}) for parameter OptionName is invalid"
        raise Ec2Error("InvalidParameterValue", message)
    return options.get(name) or default


def _instances(
    region: Region, ids: set[str], options: Options, now: float
) -> Iterator[dict[str, str]]:
    """Return the references of instances that were launched from one of the images."""
    states = set(_option(options, "state-name", _DEFAULT_STATES))
    for instance in region.instances.values():
        image_id = instance.facts["ImageId"]
        if image_id in ids and is_listed(instance, now) and instance.state.value in states:
            arn = f"arn:aws:ec2:{region.name}:{region.account}:instance/{instance.instance_id}"
            yield {"ImageId": image_id, "ResourceType": INSTANCE, "Arn": arn}


def _templates(region: Region, ids: set[str], options: Options) -> Iterator[dict[str, str]]:
    """Return the references of launch templates, each once for an image."""
    (depth,) = _option(options, "version-depth", _DEFAULT_DEPTH)
    if not depth.isdecimal() or not 1 <= int(depth) <= MAX_DEPTH:
        message = f"Value ({depth}) for option version-depth is invalid: 1 to {MAX_DEPTH}"
        raise Ec2Error("InvalidParameterValue", message)
    for template in region.templates.values():
        latest = sorted(template.versions)[-int(depth) :]
        named = {template.versions[number].data.get("ImageId") for number in latest}
        arn = f"arn:aws:ec2:{region.name}:{region.account}:launch-template/{template.template_id}"
        for image_id in ids & named:
            yield {"ImageId": image_id, "ResourceType": TEMPLATE, "Arn": arn}


ACTIONS: dict[str, Operation] = {"DescribeImageReferences": describe_image_references}
