"""The inventory: everything in one Region that this stack has made of some instances, or of all."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from stillpoint.aws import images
from stillpoint.image import Image
from stillpoint.ownership import CopySource, is_our_snapshot, is_ours
from stillpoint.recovery_point import Snapshot
from stillpoint.tags import Tag


@dataclass(frozen=True, slots=True)
class Inventory:
    """Our images and snapshots in a Region.

    `strays` are those of our images' snapshots that do not show that they are ours: somebody took
    our tags from them. `existing` are the ids of both.
    """

    region: str
    images: tuple[Image, ...]
    snapshots: tuple[Snapshot, ...]
    strays: tuple[Snapshot, ...]
    existing: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        """Gather the ids once: they are asked for with every image."""
        found = (each.snapshot_id for each in (*self.snapshots, *self.strays))
        object.__setattr__(self, "existing", frozenset(found))

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
        if is_our_snapshot(snapshot.description, snapshot.tags, source_region=source_region)
    )
    named = {snapshot_id for image in found for snapshot_id in image.snapshot_ids}
    unseen = named - {snapshot.snapshot_id for snapshot in snapshots}
    strays = tuple(
        snapshot
        for some in images.in_batches(sorted(unseen))
        for snapshot in images.find_snapshots(
            [{"Name": "snapshot-id", "Values": list(some)}], region=region
        )
    )
    return Inventory(region, found, snapshots, strays)


def _filters(stack: str, instance_ids: Collection[str] | None) -> Iterator[list[dict[str, Any]]]:
    ours = images.tagged(Tag.STACK, [stack])
    if instance_ids is None:
        yield [ours]
        return
    for some in images.in_batches(instance_ids):
        yield [ours, images.tagged(Tag.INSTANCE, some)]
