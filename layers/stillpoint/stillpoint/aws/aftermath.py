"""After a failed backup: removing what is half-made, and asking for another attempt."""

from collections.abc import Iterable
from datetime import datetime

from stillpoint.aws import ec2, images
from stillpoint.aws.images import Image
from stillpoint.aws.telemetry import logger
from stillpoint.errors import StillpointError
from stillpoint.instance import Instance
from stillpoint.recovery_point import Snapshot, recall
from stillpoint.tags import Cursor, Tag

FAILED_STATES = frozenset({"failed", "error", "invalid", "deregistered"})


def is_good(image: Image | None) -> bool:
    """Return whether an image is a recovery point, or becomes one when it is available."""
    return (
        image is not None
        and image.state not in FAILED_STATES
        and recall(image.tags).level is not None
    )


def discard(image: Image | None, snapshots: Iterable[Snapshot]) -> list[str]:
    """Remove an image that is no recovery point, and its snapshots; return what stayed, in words.

    The caller has made sure that it is no recovery point. IAM makes sure that it is ours.
    """
    stayed = []
    try:
        if image is not None and image.state != "deregistered":
            images.deregister(image.image_id)
    except StillpointError as error:
        logger.exception("A half-made image could not be removed")
        return [f"The image {image.image_id if image else ''} could not be removed: {error}"]
    for snapshot in snapshots:
        try:
            images.delete_snapshot(snapshot.snapshot_id)
        except StillpointError as error:
            logger.exception("A half-made snapshot could not be removed")
            stayed.append(f"The snapshot {snapshot.snapshot_id} could not be removed: {error}")
    return stayed


def mark_failed(instance: Instance, occurrence: datetime, attempt: int, now: datetime) -> bool:
    """Write on an instance that an attempt failed; return whether that is news.

    The planner reads it and makes another attempt if there is one left.
    """
    cursor = Cursor.parse(instance.tags.get(Tag.LAST, ""))
    if cursor is None or cursor.occurrence > occurrence:
        return False
    if cursor.occurrence == occurrence and cursor.failed_attempts >= attempt:
        return False
    failed = Cursor(occurrence, cursor.fingerprint, attempt, now)
    ec2.create_tags([instance.instance_id], {Tag.LAST: failed.render()})
    return True
