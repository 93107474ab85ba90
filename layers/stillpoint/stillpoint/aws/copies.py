"""Copies in other Regions: finding ours, and having EC2 make one."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from botocore.exceptions import ClientError

from stillpoint.aws import images
from stillpoint.aws.client import client, error_code, translated
from stillpoint.aws.settings import CopySettings
from stillpoint.copying import Copy, attempt_of, client_token, key_for, occurrence_of
from stillpoint.image import Image
from stillpoint.ownership import CopySource, copy_name, is_ours
from stillpoint.tags import Tag, iso

_NOT_COPIED = frozenset(
    {
        Tag.COPYING,
        Tag.COPY_TO,
        Tag.ENDED_AT,
        Tag.HOLD,
        Tag.PROTECTED,
        Tag.SHARED_WITH,
    }
)
"""Tags that say what is to be done, or was done, with the local image alone."""
_QUOTAS = frozenset({"ResourceLimitExceeded", "ConcurrentSnapshotLimitExceeded"})


class Start(StrEnum):
    """What came of asking for a copy."""

    STARTED = "started"
    QUOTA_REACHED = "quota reached"
    """As many are on their way as the Region takes; it passes."""
    NAME_TAKEN = "name taken"
    """The name that the copy would have is another image's."""


def with_work(stack: str) -> list[Image]:
    """Return the recovery points of this Region that are still to be copied somewhere."""
    filters = [{"Name": "tag-key", "Values": [Tag.COPYING]}, images.tagged(Tag.STACK, [stack])]
    return [
        image
        for image in images.find_images(filters)
        if is_ours(image.name, image.tags, stack=stack, source_region=None)
    ]


def read_again(image_id: str) -> Image | None:
    """Return a recovery point of this Region as it is now, or None if it is gone."""
    return next(images.find_images([{"Name": "image-id", "Values": [image_id]}]), None)


def copies_of(
    sources: Sequence[Image], *, region: str, settings: CopySettings
) -> dict[str, list[Copy]]:
    """Return our copies in a Region of each of the images, by the image's id."""
    by_source = {_source(source, settings): source for source in sources}
    found: list[tuple[Image, Image]] = []
    for some in images.in_batches(by_source):
        for image in images.find_images([images.tagged(Tag.COPY_OF, some)], region=region):
            source = by_source.get(image.tags.get(Tag.COPY_OF, ""))
            if source is not None and image.state != "deregistered" and _ours(image, settings):
                found.append((source, image))
    ids = [snapshot_id for _, image in found for snapshot_id in image.snapshot_ids]
    snapshots = {
        snapshot.snapshot_id: snapshot
        for some in images.in_batches(ids)
        for snapshot in images.find_snapshots(
            [{"Name": "snapshot-id", "Values": list(some)}], region=region
        )
    }
    copies: dict[str, list[Copy]] = {}
    for source, image in found:
        attempt = attempt_of(image.name, source)
        if attempt is not None:
            shown = tuple(snapshots[i] for i in image.snapshot_ids if i in snapshots)
            copies.setdefault(source.image_id, []).append(Copy(image, attempt, shown))
    return copies


def start_copy(
    source: Image, attempt: int, *, region: str, settings: CopySettings, now: datetime
) -> Start:
    """Have EC2 copy an image to a Region.

    A repeated call is the same request, by its token. If the name is taken, the copy may be there
    already: then it is as if it had been started. Raises AwsRefused and AwsUnavailable.
    """
    name = copy_name(source.name, attempt)
    key = key_for(region, settings.kms_key_arns)
    encryption: dict[str, Any] = {"Encrypted": True} if key or settings.encrypt else {}
    if key:
        encryption |= {"KmsKeyId": key}
    rows = [{"Key": k, "Value": v} for k, v in copy_tags(source, settings).items()]
    with translated(f"copying {source.image_id} to {region}"):
        try:
            client("ec2", region).copy_image(
                SourceImageId=source.image_id,
                SourceRegion=settings.region,
                Name=name,
                Description=_description(source, settings),
                ClientToken=client_token(source, region, attempt, now),
                CopyImageTags=False,
                TagSpecifications=[
                    {"ResourceType": kind, "Tags": rows} for kind in ("image", "snapshot")
                ],
                **encryption,
            )
        except ClientError as error:
            if error_code(error) in _QUOTAS:
                return Start.QUOTA_REACHED
            if error_code(error) == "IdempotentParameterMismatch":
                return Start.STARTED  # the request has been made, with tags or a key of before
            if error_code(error) != "InvalidAMIName.Duplicate":
                raise
            return _who_has_the_name(name, source, region, settings)
    return Start.STARTED


def copy_tags(source: Image, settings: CopySettings) -> dict[str, str]:
    """Return the tags of a copy and of its snapshots: those of the source, and where it is from.

    They are no more than the source has: its work list is not among them.
    """
    tags = {
        key: value
        for key, value in source.tags.items()
        if not key.startswith("aws:") and key not in _NOT_COPIED
    }
    return tags | {Tag.COPY_OF: _source(source, settings)}


def _who_has_the_name(name: str, source: Image, region: str, settings: CopySettings) -> Start:
    holders = images.find_images([{"Name": "name", "Values": [name]}], region=region)
    wanted = _source(source, settings)
    ours = any(_ours(i, settings) and i.tags.get(Tag.COPY_OF) == wanted for i in holders)
    return Start.STARTED if ours else Start.NAME_TAKEN


def _ours(image: Image, settings: CopySettings) -> bool:
    return is_ours(image.name, image.tags, stack=settings.stack_name, source_region=settings.region)


def _source(source: Image, settings: CopySettings) -> str:
    return CopySource(settings.region, source.image_id).render()


def _description(source: Image, settings: CopySettings) -> str:
    instance_id = source.tags.get(Tag.INSTANCE, "")
    return (
        f"Stillpoint copy of {source.image_id} in {settings.region}:"
        f" {instance_id} at {iso(occurrence_of(source))}"
    )
