"""After a failed backup: removing what is half-made, and asking for another attempt."""

from collections.abc import Iterable
from datetime import datetime

from stillpoint.aws import ec2, images
from stillpoint.aws.telemetry import logger
from stillpoint.errors import StillpointError
from stillpoint.image import Image
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


def is_surplus(image: Image, occurrence: datetime, attempt: int) -> bool:
    """Return whether an earlier attempt left a good image of the same instance and occurrence.

    An occurrence has one recovery point. After a failed attempt it is the older image, which is
    available sooner; after one that succeeded it is the new one.
    """
    if attempt == 1:
        return False
    instance_id = image.tags.get(Tag.INSTANCE, "")
    return any(
        is_good(other) and other.image_id != image.image_id
        for other in images.images_for(instance_id, occurrence)
    )


def discard(
    image: Image | None, snapshots: Iterable[Snapshot], *, region: str | None = None
) -> list[str]:
    """Remove an image that is no recovery point, and its snapshots; return what stayed, in words.

    The caller has made sure that it is no recovery point. IAM makes sure that it is ours. `region`
    is where they are, if that is not the function's own.
    """
    results: dict[str, str] = {}
    if image is not None and image.state != "deregistered":
        try:
            results = images.deregister(image.image_id, region=region)
        except StillpointError as error:
            logger.exception("A half-made image could not be removed")
            return [f"The image {image.image_id} could not be removed: {error}"]
    stayed = []
    for snapshot in snapshots:
        if results.get(snapshot.snapshot_id) == "success":
            continue
        try:
            images.delete_snapshot(snapshot.snapshot_id, region=region)
        except StillpointError as error:
            logger.exception("A half-made snapshot could not be removed")
            stayed.append(f"The snapshot {snapshot.snapshot_id} could not be removed: {error}")
    return stayed


def is_markable(instance: Instance, occurrence: datetime) -> bool:
    """Return whether a failure of the occurrence can be written on the instance's cursor."""
    cursor = Cursor.parse(instance.tags.get(Tag.LAST, ""))
    return Tag.SCHEDULE in instance.tags and cursor is not None and cursor.occurrence <= occurrence


def is_news(instance: Instance, occurrence: datetime, attempt: int) -> bool:
    """Return whether the instance's cursor does not say yet that this attempt failed."""
    cursor = Cursor.parse(instance.tags.get(Tag.LAST, ""))
    if cursor is None or not is_markable(instance, occurrence):
        return False
    return cursor.occurrence < occurrence or cursor.failed_attempts < attempt


def mark_failed(instance: Instance, occurrence: datetime, attempt: int, now: datetime) -> None:
    """Write on an instance that an attempt failed, unless that is no news.

    The planner reads it and makes another attempt if there is one left. One that has lost its
    schedule gets no other attempt, and may not be written on.
    """
    cursor = Cursor.parse(instance.tags.get(Tag.LAST, ""))
    if cursor is not None and is_news(instance, occurrence, attempt):
        failed = Cursor(occurrence, cursor.fingerprint, attempt, now)
        ec2.create_tags([instance.instance_id], {Tag.LAST: failed.render()})


def handled_tag(instance: Instance, occurrence: datetime) -> dict[str, str]:
    """Return the cursor to write: this occurrence is handled, whatever failed before.

    It is empty if the cursor says so already, or is past it.
    """
    cursor = Cursor.parse(instance.tags.get(Tag.LAST, ""))
    if cursor is None or cursor.occurrence > occurrence:
        return {}
    handled = Cursor(occurrence, cursor.fingerprint)
    return {} if cursor == handled else {Tag.LAST: handled.render()}
