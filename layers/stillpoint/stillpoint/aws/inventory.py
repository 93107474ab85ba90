"""The inventory: everything in one Region that this stack has made of some instances, or of all."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from stillpoint.aws import images
from stillpoint.image import Image
from stillpoint.ownership import CopySource, is_ours
from stillpoint.recovery_point import Snapshot
from stillpoint.tags import Tag


@dataclass(frozen=True, slots=True)
class Inventory:
    """Our images and snapshots in a Region.

    `existing` are the ids of all snapshots that exist, as far as our images name them: one from
    which somebody took our tags is not among `snapshots`.
    """

    region: str
    images: tuple[Image, ...]
    snapshots: tuple[Snapshot, ...]
    existing: frozenset[str]

    def sources_of_pending_copies(self) -> frozenset[str]:
        """Return the ids of the images of which a copy is under way here."""
        sources = (
            CopySource.parse(image.tags.get(Tag.COPY_OF, ""))
            for image in self.images
            if image.state == "pending"
        )
        return frozenset(source.image_id for source in sources if source is not None)


def take_inventory(
    stack: str, *, region: str, home: str, instance_ids: Collection[str] | None
) -> Inventory:
    """Return what the stack has made in a Region, of these instances or of all.

    `home` is the Region that the stack is in; elsewhere it has copies of what it made there.
    """
    source_region = None if region == home else home
    found = tuple(
        image
        for filters in _filters(stack, instance_ids)
        for image in images.find_images(filters, region=region)
        if is_ours(image.name, image.tags, stack=stack, source_region=source_region)
    )
    snapshots = tuple(
        snapshot
        for filters in _filters(stack, instance_ids)
        for snapshot in images.find_snapshots(filters, region=region)
        if _source_region(snapshot) == source_region
    )
    existing = {snapshot.snapshot_id for snapshot in snapshots}
    unseen = {each for image in found for each in image.snapshot_ids} - existing
    for some in images.in_batches(sorted(unseen)):
        by_id = [{"Name": "snapshot-id", "Values": list(some)}]
        existing |= {each.snapshot_id for each in images.find_snapshots(by_id, region=region)}
    return Inventory(region, found, snapshots, frozenset(existing))


def _filters(stack: str, instance_ids: Collection[str] | None) -> Iterator[list[dict[str, Any]]]:
    ours = images.tagged(Tag.STACK, [stack])
    if instance_ids is None:
        yield [ours]
        return
    for some in images.in_batches(instance_ids):
        yield [ours, images.tagged(Tag.INSTANCE, some)]


def _source_region(snapshot: Snapshot) -> str | None:
    source = CopySource.parse(snapshot.tags.get(Tag.COPY_OF, ""))
    return source.region if source else None
