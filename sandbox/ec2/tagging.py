"""CreateTags and DeleteTags on instances, volumes, snapshots and images."""

from typing import Any

from sandbox.ec2 import tags
from sandbox.ec2.call import Call
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.region import Operation, Region

MAX_RESOURCES = 1000
PREFIXES = ("i-", "vol-", "snap-", "ami-")


def create_tags(region: Region, call: Call) -> dict[str, Any]:
    """Add or overwrite tags; nothing changes if one resource would end with too many."""
    resources = _resources(region, call)
    wanted = tags.from_request(call.params.get("Tags") or [])
    if not wanted:
        raise Ec2Error("MissingParameter", "The request must contain the parameter Tag")
    for resource_id in resources:
        tags.check_count({**region.tags.current(resource_id), **wanted})
    for resource_id in resources:
        region.tags.merge(resource_id, wanted, region.visible_at(call.at))
    return {}


def delete_tags(region: Region, call: Call) -> dict[str, Any]:
    """Remove tags by key, or by key and value; without a list remove all but reserved ones."""
    resources = _resources(region, call)
    entries = call.params.get("Tags")
    doomed = {entry.get("Key", ""): entry.get("Value") for entry in entries or []}
    if any(key.startswith(tags.RESERVED) for key in doomed):
        message = "Tag keys starting with 'aws:' are reserved for internal use"
        raise Ec2Error("InvalidParameterValue", message)
    for resource_id in resources:
        visible_at = region.visible_at(call.at)
        if entries is None:
            region.tags.remove_all(resource_id, visible_at)
        else:
            region.tags.remove(resource_id, doomed, visible_at)
    return {}


def _resources(region: Region, call: Call) -> list[str]:
    """Return the resources that a request names; raise Ec2Error if one does not exist."""
    resources: list[str] = list(dict.fromkeys(call.params.get("Resources") or []))
    if not resources:
        raise Ec2Error("MissingParameter", "The request must contain the parameter ResourceId")
    if len(resources) > MAX_RESOURCES:
        message = f"More than {MAX_RESOURCES} resources in one request"
        raise Ec2Error("InvalidParameterValue", message)
    for resource_id in resources:
        _check_exists(region, resource_id, call.at)
    return resources


def _check_exists(region: Region, resource_id: str, now: float) -> None:
    """Raise the Ec2Error of its kind if a resource does not exist."""
    match resource_id.split("-", 1)[0]:
        case "i":
            region.instance(resource_id, now)
        case "ami":
            region.image(resource_id, now)
        case "snap":
            region.snapshot(resource_id, now)
        case "vol":
            region.volume(resource_id)
        case _:
            raise Ec2Error("InvalidID", f"The ID '{resource_id}' is not valid")


ACTIONS: dict[str, Operation] = {"CreateTags": create_tags, "DeleteTags": delete_tags}
