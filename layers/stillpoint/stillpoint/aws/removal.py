"""Removing an image with its snapshots, in any Region."""

from botocore.exceptions import ClientError

from stillpoint.aws import images
from stillpoint.aws.client import client, error_code, translated
from stillpoint.aws.telemetry import logger
from stillpoint.errors import AwsRefused, StillpointError
from stillpoint.image import Image
from stillpoint.pruning import is_protected_by_us

_USED_BY_ANOTHER = "skipped"
_DELETED = "success"


def remove_image(image: Image, region: str) -> list[str]:
    """Deregister an image and delete its snapshots; return which of them stayed and why, in words.

    A snapshot that another image uses too is that image's (EC2 API Reference, DeregisterImage).
    One that could not be deleted now is an orphan, which the next sweep finds. Raises AwsRefused
    or AwsUnavailable if the image itself stays.
    """
    if is_protected_by_us(image):
        _take_protection_off(image.image_id, region)
    results = images.deregister(image.image_id, region=region)
    stayed = []
    for snapshot_id in image.snapshot_ids:
        if results.get(snapshot_id) in {_DELETED, _USED_BY_ANOTHER}:
            continue
        try:
            remove_snapshot(snapshot_id, region)
        except StillpointError as error:
            logger.exception("A snapshot of an image that is gone could not be deleted")
            stayed.append(f"{snapshot_id} of {image.image_id} stays: {error}")
    return stayed


def remove_snapshot(snapshot_id: str, region: str) -> bool:
    """Delete a snapshot, and return whether it is gone: one that an image uses stays."""
    try:
        images.delete_snapshot(snapshot_id, region=region)
    except AwsRefused as error:
        cause = error.__cause__
        if isinstance(cause, ClientError) and error_code(cause) == "InvalidSnapshot.InUse":
            return False
        raise
    return True


def _take_protection_off(image_id: str, region: str) -> None:
    """Take deregistration protection off an image (EC2 API Reference)."""
    with translated(f"taking the protection off {image_id} in {region}"):
        client("ec2", region).disable_image_deregistration_protection(ImageId=image_id)
