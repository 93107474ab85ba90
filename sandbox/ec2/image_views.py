"""DescribeImages: what a caller sees of images."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sandbox.ec2 import tags
from sandbox.ec2.call import Call
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.filters import Extractor, candidates, matcher, page
from sandbox.ec2.model import DeregistrationProtection, Image, ImageState
from sandbox.ec2.moments import iso
from sandbox.ec2.region import Operation, Region, check_id

if TYPE_CHECKING:
    from sandbox.ec2.filters import Lookup

_HIDDEN = frozenset({ImageState.DEREGISTERED, ImageState.DISABLED})


def describe_images(region: Region, call: Call) -> dict[str, Any]:
    """List images by ids, owners or filters; an id that is gone gives nothing, not an error.

    Disabled images are listed only if asked for (EC2 API Reference, DescribeImages,
    IncludeDisabled).
    """
    ids = dict.fromkeys(call.params.get("ImageIds") or [])
    named = [_named(region, image_id, call.at) for image_id in ids]
    with_disabled = bool(call.params.get("IncludeDisabled", False))
    owners = set(call.params.get("Owners") or ["self"])
    matches = matcher(
        call.params.get("Filters"),
        _filters(region),
        lambda image: region.tags.seen(image.image_id, call.at),
    )
    listed = [
        image
        for image in (named if ids else _candidates(region, call))
        if owners & {"self", region.account}
        and _is_listed(image, call.at, with_disabled=with_disabled)
        and matches(image)
    ]
    found, token = page(sorted(listed, key=lambda one: one.image_id), call.params, lowest=1)
    return {"Images": [_view(region, image, call.at) for image in found], "NextToken": token}


def _candidates(region: Region, call: Call) -> Iterable[Image]:
    """Return the images that can match a request's filters."""
    lookups: dict[str, Lookup] = {
        "image-id": lambda value: [value],
        "name": lambda value: [one.image_id] if (one := region.named(value)) else [],
    }
    filters = call.params.get("Filters")
    return candidates(filters, region.images, lookups, region.tags.holders)


def _named(region: Region, image_id: str, now: float) -> Image:
    """Return an image that a caller may know, registered or not; raise InvalidAMIID.*."""
    check_id(image_id, "ami", "InvalidAMIID.Malformed")
    image = region.any_image(image_id)
    if image is None or image.visible_at > now:
        message = f"The image id '[{image_id}]' does not exist"
        raise Ec2Error("InvalidAMIID.NotFound", message)
    return image


def _is_listed(image: Image, now: float, *, with_disabled: bool) -> bool:
    """Say whether DescribeImages shows an image."""
    hidden = {ImageState.DEREGISTERED} if with_disabled else _HIDDEN
    return image.visible_at <= now and image.state not in hidden


def _view(region: Region, image: Image, now: float) -> dict[str, Any]:
    """Return one image as DescribeImages shows it.

    A mapping has no SnapshotId until the snapshot of its volume is initiated.
    """
    reason, source = image.state_reason, image.source_image
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
        "SourceInstanceId": image.source_instance_id or None,
        "SourceImageId": source.image_id if source else None,
        "SourceImageRegion": source.region if source else None,
        "DeregistrationProtection": protection_word(image.protection),
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
        "source-instance-id": lambda image: (
            [image.source_instance_id] * bool(image.source_instance_id)
        ),
        "source-image-id": lambda image: (
            [image.source_image.image_id] if image.source_image else []
        ),
        "source-image-region": lambda image: (
            [image.source_image.region] if image.source_image else []
        ),
        "architecture": lambda image: [image.architecture],
        "is-public": lambda _: ["false"],
        "image-type": lambda _: ["machine"],
        "root-device-type": lambda _: ["ebs"],
        "root-device-name": lambda image: [image.root_device_name],
        "block-device-mapping.snapshot-id": lambda image: [
            volume.snapshot_id for volume in image.volumes if volume.snapshot_id
        ],
    }


def protection_word(protection: DeregistrationProtection) -> str:
    """Return deregistration protection as Image.DeregistrationProtection words it.

    The words are those that the API is seen to use. What it says in the cooldown is not known:
    here it says `disabled`, as DisableImageDeregistrationProtection was asked to bring about.
    """
    if not protection.enabled:
        return "disabled"
    return f"enabled-{'with' if protection.with_cooldown else 'without'}-cooldown"


ACTIONS: dict[str, Operation] = {"DescribeImages": describe_images}
