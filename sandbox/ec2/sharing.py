"""Who else may use an image or a snapshot: launch and volume-creation permissions.

EC2 User Guide, "Share an AMI with specific AWS accounts": what is encrypted under the AWS managed
key cannot be shared. The API is seen to refuse it with the two errors below.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.ec2.call import Call
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.image_requests import check_words
from sandbox.ec2.image_views import protection_word
from sandbox.ec2.model import Image, Snapshot
from sandbox.ec2.region import Operation, Region

_ACCOUNT = re.compile(r"\d{12}")
LAUNCH = "launchPermission"
CREATE_VOLUME = "createVolumePermission"
# EBS User Guide, "Share an Amazon EBS snapshot": at most 500 changes in one request.
MAX_SNAPSHOT_CHANGES = 500


def modify_image_attribute(region: Region, call: Call) -> dict[str, Any]:
    """Change the launch permissions or the description of an image that is available."""
    params = call.params
    image = region.available_image(params.get("ImageId", ""), call.at)
    description = params.get("Description")
    if params.get("Attribute") == "description":
        description = {"Value": params.get("Value", "")}
    if description is not None:
        check_words(image.name, description.get("Value", ""))
        image.description = description.get("Value", "")
        return {}
    added, removed = _changes(params, "LaunchPermission", LAUNCH, "InvalidAMIAttributeItemValue")
    if added:
        _check_image_key(region, image)
    image.launch_permissions = (image.launch_permissions | added) - removed
    return {}


def describe_image_attribute(region: Region, call: Call) -> dict[str, Any]:
    """Return one attribute of an image."""
    image = region.image(call.params.get("ImageId", ""), call.at)
    values: dict[str, dict[str, Any]] = {
        LAUNCH: {"LaunchPermissions": _users(image.launch_permissions)},
        "description": {"Description": {"Value": image.description}},
        "deregistrationProtection": {
            "DeregistrationProtection": {"Value": protection_word(image.protection)}
        },
        "productCodes": {"ProductCodes": []},
    }
    return {"ImageId": image.image_id, **_chosen(values, call)}


def modify_snapshot_attribute(region: Region, call: Call) -> dict[str, Any]:
    """Change who may create volumes from a snapshot."""
    snapshot = region.snapshot(call.params.get("SnapshotId", ""), call.at)
    added, removed = _changes(
        call.params, "CreateVolumePermission", CREATE_VOLUME, "InvalidParameterValue"
    )
    if len(added) + len(removed) > MAX_SNAPSHOT_CHANGES:
        message = f"More than {MAX_SNAPSHOT_CHANGES} changes in one request"
        raise Ec2Error("InvalidParameterValue", message)
    if added and _under_default_key(region, snapshot):
        message = "Encrypted snapshots with EBS default key cannot be shared"
        raise Ec2Error("OperationNotPermitted", message)
    snapshot.permissions = (snapshot.permissions | added) - removed
    return {}


def describe_snapshot_attribute(region: Region, call: Call) -> dict[str, Any]:
    """Return one attribute of a snapshot."""
    snapshot = region.snapshot(call.params.get("SnapshotId", ""), call.at)
    values: dict[str, dict[str, Any]] = {
        CREATE_VOLUME: {"CreateVolumePermissions": _users(snapshot.permissions)},
        "productCodes": {"ProductCodes": []},
    }
    return {"SnapshotId": snapshot.snapshot_id, **_chosen(values, call)}


def _chosen(values: Mapping[str, dict[str, Any]], call: Call) -> dict[str, Any]:
    """Return the attribute that a request asks for, or raise InvalidParameterValue."""
    attribute = call.params.get("Attribute", "")
    if attribute not in values:
        message = f"Value ({attribute}) for parameter attribute is invalid. Unknown attribute."
        raise Ec2Error("InvalidParameterValue", message)
    return values[attribute]


def _changes(
    params: Mapping[str, Any], structure: str, attribute: str, code: str
) -> tuple[set[str], set[str]]:
    """Return the accounts that a request adds and removes, in either of its two forms."""
    given = params.get(structure)
    if given is not None:
        added, removed = _accounts(given.get("Add")), _accounts(given.get("Remove"))
    elif params.get("Attribute") == attribute and params.get("OperationType") in ("add", "remove"):
        users = set(map(str, params.get("UserIds") or []))
        added, removed = (users, set()) if params["OperationType"] == "add" else (set(), users)
    else:
        raise Ec2Error("InvalidParameterCombination", "No attributes specified.")
    for account in sorted(added | removed):
        if not _ACCOUNT.fullmatch(account):
            raise Ec2Error(code, f'Invalid attribute item value "{account}" for userId item type.')
    return added, removed


def _accounts(entries: Sequence[Mapping[str, str]] | None) -> set[str]:
    """Return the accounts of a list; raise UnsupportedOperation for whom the sandbox lacks."""
    for entry in entries or []:
        if not entry.get("UserId"):
            message = "The sandbox's EC2 shares with accounts only"
            raise Ec2Error("UnsupportedOperation", message)
    return {entry["UserId"] for entry in entries or []}


def _users(accounts: set[str]) -> list[dict[str, str]]:
    """Return accounts as EC2 lists them."""
    return [{"UserId": account} for account in sorted(accounts)]


def _check_image_key(region: Region, image: Image) -> None:
    """Raise InvalidParameter for an image of which a snapshot is under the AWS managed key."""
    for volume in image.volumes:
        snapshot = region.any_snapshot(volume.snapshot_id)
        if snapshot and _under_default_key(region, snapshot):
            message = "Snapshots encrypted with the AWS Managed CMK can't be shared. Specify "
            raise Ec2Error("InvalidParameter", message + "another snapshot.")


def _under_default_key(region: Region, snapshot: Snapshot) -> bool:
    """Say whether a snapshot is encrypted under the AWS managed key."""
    return snapshot.encrypted and region.keys.is_default(snapshot.kms_key_id)


ACTIONS: dict[str, Operation] = {
    "ModifyImageAttribute": modify_image_attribute,
    "DescribeImageAttribute": describe_image_attribute,
    "ModifySnapshotAttribute": modify_snapshot_attribute,
    "DescribeSnapshotAttribute": describe_snapshot_attribute,
}
