"""CreateImage, DescribeImages and DeregisterImage."""

import re
from collections.abc import Mapping
from typing import Any

from sandbox.ec2 import tags
from sandbox.ec2.call import Call
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.filters import Extractor, matcher, page
from sandbox.ec2.imaging import begin, check_pending
from sandbox.ec2.launching import tags_for
from sandbox.ec2.model import Image, ImageState, ImageVolume, Instance, InstanceState
from sandbox.ec2.moments import iso
from sandbox.ec2.region import Operation, Region, check_id

# The stricter of the two sets that AWS documents, that of the error InvalidAMIName.Malformed.
_NAME = re.compile(r"[A-Za-z0-9()./_-]{3,128}")
MAX_DESCRIPTION = 255
_IMAGEABLE = frozenset({InstanceState.RUNNING, InstanceState.STOPPING, InstanceState.STOPPED})


def create_image(region: Region, call: Call) -> dict[str, Any]:
    """Begin to make an image of an instance; the answer comes before any snapshot exists."""
    params = call.params
    name, description = params.get("Name", ""), params.get("Description", "")
    _check_words(name, description)
    instance = region.instance(params.get("InstanceId", ""), call.at)
    specifications = params.get("TagSpecifications") or []
    _check_kinds(specifications)
    image_tags, snapshot_tags = (tags_for(kind, specifications) for kind in ("image", "snapshot"))
    if instance.state not in _IMAGEABLE:
        message = f"Invalid value '{instance.instance_id}' for instanceId. Instance is not in "
        message += "state 'running' or 'stopping' or 'stopped'"
        raise Ec2Error("InvalidParameterValue", message)
    _check_name_is_free(region, name, call.at)
    volumes, excluded = _volumes(region, instance, params.get("BlockDeviceMappings") or [])
    for volume in volumes:
        check_pending(region, region.volume(volume.volume_id))
    image = Image(
        image_id=region.new_id("ami"),
        name=name,
        description=description,
        source_instance_id=instance.instance_id,
        created_at=call.at,
        visible_at=region.visible_at(call.at),
        available_at=call.at + instance.draw("image_seconds"),
        no_reboot=bool(params.get("NoReboot", False)),
        volumes=volumes,
        excluded_volumes=excluded,
        root_device_name=instance.facts["RootDeviceName"],
        architecture=instance.facts["Architecture"],
        platform_details=instance.facts["PlatformDetails"],
        snapshot_tags=snapshot_tags,
    )
    region.images[image.image_id] = image
    region.tags.create(image.image_id, image_tags)
    instance.record("image_requested", call.at, call.principal, image_id=image.image_id)
    begin(region, image, instance, call)
    if instance.down:
        instance.down.image_ids.append(image.image_id)
    return {"ImageId": image.image_id}


def describe_images(region: Region, call: Call) -> dict[str, Any]:
    """List images by ids, owners or filters; an id that is gone gives nothing, not an error."""
    ids = call.params.get("ImageIds") or []
    for image_id in ids:
        check_id(image_id, "ami", "InvalidAMIID.Malformed")
        image = region.images.get(image_id)
        if image is None or image.visible_at > call.at:
            message = f"The image id '[{image_id}]' does not exist"
            raise Ec2Error("InvalidAMIID.NotFound", message)
    owners = set(call.params.get("Owners") or ["self"])
    matches = matcher(
        call.params.get("Filters"),
        _filters(region),
        lambda image: region.tags.seen(image.image_id, call.at),
    )
    listed = [
        image
        for image in region.images.values()
        if (not ids or image.image_id in ids)
        and owners & {"self", region.account}
        and _is_listed(image, call.at)
        and matches(image)
    ]
    found, token = page(sorted(listed, key=lambda one: one.image_id), call.params, lowest=1)
    return {"Images": [_view(region, image, call.at) for image in found], "NextToken": token}


def deregister_image(region: Region, call: Call) -> dict[str, Any]:
    """Deregister an image, and delete its snapshots if asked to.

    A snapshot that another image uses is skipped, and the call succeeds all the same (EC2 API
    Reference, DeregisterImage).
    """
    image = region.image(call.params.get("ImageId", ""), call.at)
    image.state = ImageState.DEREGISTERED
    image.gone_at = call.at
    region.tags.forget(image.image_id)
    if not call.params.get("DeleteAssociatedSnapshots", False):
        return {"Return": True}
    results = []
    for volume in image.volumes:
        snapshot = region.snapshots.get(volume.snapshot_id or "")
        if snapshot is None or snapshot.deleted:
            continue
        code = "skipped" if user_of(region, snapshot.snapshot_id) else "success"
        if code == "success":
            region.delete_snapshot(snapshot)
        results.append({"SnapshotId": snapshot.snapshot_id, "ReturnCode": code})
    return {"Return": True, "DeleteSnapshotResults": results}


def user_of(region: Region, snapshot_id: str) -> Image | None:
    """Return an image that is registered and uses this snapshot."""
    for image in region.images.values():
        in_use = any(volume.snapshot_id == snapshot_id for volume in image.volumes)
        if in_use and image.state is not ImageState.DEREGISTERED:
            return image
    return None


def _check_words(name: str, description: str) -> None:
    """Raise Ec2Error for a name or a description that EC2 refuses."""
    if not _NAME.fullmatch(name):
        message = "AMI names must be between 3 and 128 characters long, and may contain letters, "
        raise Ec2Error(
            "InvalidAMIName.Malformed", message + "numbers, '(', ')', '.', '-', '/' and '_'"
        )
    if len(description) > MAX_DESCRIPTION:
        message = f"The description exceeds {MAX_DESCRIPTION} characters"
        raise Ec2Error("InvalidParameterValue", message)


def _check_kinds(specifications: list[Mapping[str, Any]]) -> None:
    """Raise Ec2Error for tags on anything but the image and its snapshots."""
    for specification in specifications:
        kind = specification.get("ResourceType")
        if kind not in ("image", "snapshot"):
            message = f"'{kind}' is not a valid taggable resource type for this operation."
            raise Ec2Error("InvalidParameterValue", message)


def _check_name_is_free(region: Region, name: str, now: float) -> None:
    """Raise InvalidAMIName.Duplicate if an image has the name, or had it a moment ago."""
    for image in region.images.values():
        if image.name != name:
            continue
        released = (
            image.state is ImageState.DEREGISTERED
            and image.gone_at is not None
            and now >= image.gone_at + region.physics.name_release_seconds
        )
        if not released:
            message = f"AMI name {name} is already in use by AMI {image.image_id}"
            raise Ec2Error("InvalidAMIName.Duplicate", message)


def _volumes(
    region: Region, instance: Instance, requested: list[Mapping[str, Any]]
) -> tuple[list[ImageVolume], list[str]]:
    """Return what is to be captured, the root first, and the ids of the excluded volumes."""
    changes = {entry.get("DeviceName"): entry for entry in requested}
    volumes, excluded = [], []
    root = instance.facts["RootDeviceName"]
    for attachment in sorted(
        instance.attachments, key=lambda one: (one.device != root, one.device)
    ):
        change = changes.pop(attachment.device, {})
        if "NoDevice" in change:
            excluded.append(attachment.volume_id)
            continue
        volume = region.volume(attachment.volume_id)
        ebs = change.get("Ebs") or {}
        volumes.append(
            ImageVolume(
                device=attachment.device,
                volume_id=volume.volume_id,
                size=volume.size,
                volume_type=volume.volume_type,
                encrypted=volume.encrypted,
                delete_on_termination=bool(
                    ebs.get("DeleteOnTermination", attachment.delete_on_termination)
                ),
            )
        )
    if changes:
        message = f"The device '{min(map(str, changes))}' is not attached to the instance."
        raise Ec2Error("InvalidBlockDeviceMapping", message)
    return volumes, excluded


def _is_listed(image: Image, now: float) -> bool:
    """Say whether DescribeImages shows an image."""
    return image.visible_at <= now and image.state is not ImageState.DEREGISTERED


def _view(region: Region, image: Image, now: float) -> dict[str, Any]:
    """Return one image as DescribeImages shows it.

    A mapping has no SnapshotId until the snapshot of its volume is initiated.
    """
    reason = image.state_reason
    return {
        "ImageId": image.image_id,
        "ImageLocation": f"{region.account}/{image.name}",
        "ImageType": "machine",
        "Name": image.name,
        "Description": image.description or None,
        "State": image.state.value,
        "StateReason": {"Code": reason.code, "Message": reason.message} if reason else None,
        "OwnerId": region.account,
        "Public": False,
        "CreationDate": iso(int(image.created_at)),
        "SourceInstanceId": image.source_instance_id,
        "Architecture": image.architecture,
        "PlatformDetails": image.platform_details,
        "RootDeviceName": image.root_device_name,
        "RootDeviceType": "ebs",
        "VirtualizationType": "hvm",
        "Hypervisor": "xen",
        "EnaSupport": True,
        "BlockDeviceMappings": [
            {
                "DeviceName": volume.device,
                "Ebs": {
                    "SnapshotId": volume.snapshot_id,
                    "VolumeSize": volume.size,
                    "VolumeType": volume.volume_type,
                    "Encrypted": volume.encrypted,
                    "DeleteOnTermination": volume.delete_on_termination,
                },
            }
            for volume in image.volumes
        ],
        "Tags": tags.to_response(region.tags.seen(image.image_id, now)),
    }


def _filters(region: Region) -> dict[str, Extractor[Image]]:
    """Return the filters of DescribeImages."""
    return {
        "image-id": lambda image: [image.image_id],
        "name": lambda image: [image.name],
        "description": lambda image: [image.description],
        "state": lambda image: [image.state.value],
        "owner-id": lambda _: [region.account],
        "source-instance-id": lambda image: [image.source_instance_id],
        "architecture": lambda image: [image.architecture],
        "is-public": lambda _: ["false"],
        "image-type": lambda _: ["machine"],
        "root-device-type": lambda _: ["ebs"],
        "root-device-name": lambda image: [image.root_device_name],
        "block-device-mapping.snapshot-id": lambda image: [
            volume.snapshot_id for volume in image.volumes if volume.snapshot_id
        ],
    }


ACTIONS: dict[str, Operation] = {
    "CreateImage": create_image,
    "DescribeImages": describe_images,
    "DeregisterImage": deregister_image,
}
