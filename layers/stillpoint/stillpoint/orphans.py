"""Orphans: what is ours in one Region and belongs to no recovery point."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from stillpoint.image import Image
from stillpoint.ownership import has_our_name
from stillpoint.pruning import is_point
from stillpoint.recovery_point import Snapshot, recall
from stillpoint.tags import Tag

OLD_ENOUGH = timedelta(hours=48)
"""No backup and no copy is still at work on something older: an AMI takes up to 24 hours."""
STUCK_AFTER = timedelta(days=7)
"""An image that is pending for so long does not become available any more."""
FAILED_STATES = frozenset({"failed", "error", "invalid"})


@dataclass(frozen=True, slots=True)
class Orphan:
    """An image or a snapshot that nothing needs, and why.

    `spared` says why it is left alone all the same.
    """

    reason: str
    image: Image | None = None
    snapshot: Snapshot | None = None
    spared: str = ""

    @property
    def resource_id(self) -> str:
        """The image's or the snapshot's id."""
        if self.image is not None:
            return self.image.image_id
        return self.snapshot.snapshot_id if self.snapshot is not None else ""

    @property
    def instance_id(self) -> str:
        """The instance that it was made of."""
        made = self.image or self.snapshot
        return made.tags.get(Tag.INSTANCE, "") if made is not None else ""


def missing_snapshots(image: Image, existing: Collection[str]) -> list[str]:
    """Return those of an image's snapshots that do not exist any more."""
    return [snapshot_id for snapshot_id in image.snapshot_ids if snapshot_id not in existing]


def orphaned_images(
    images: Sequence[Image], existing: Collection[str], now: datetime, final: timedelta | None
) -> list[Orphan]:
    """Return which of our images in a Region are no recovery points and never will be.

    `existing` are the ids of the snapshots that exist. An image that nothing proves is left as it
    is while it is all that its instance has, until it is older than `final`, if that is not None.
    """
    covered = _covered(images, existing)
    found = []
    for image in images:
        if image.created_at is None or now - image.created_at < OLD_ENOUGH:
            continue
        is_old = final is not None and now - image.created_at > final
        is_only = image.tags.get(Tag.INSTANCE, "") not in covered and not is_old
        spared = "its instance has no other" if is_only else ""
        if image.state in FAILED_STATES:
            found.append(Orphan(f"it is in state {image.state}", image=image))
        elif image.snapshot_ids and set(missing_snapshots(image, existing)) == set(
            image.snapshot_ids
        ):
            found.append(Orphan("none of its snapshots exists", image=image))
        elif recall(image.tags).level is None:
            found.append(Orphan("nothing proves what it holds", image=image, spared=spared))
        elif image.state == "pending" and now - image.created_at > STUCK_AFTER:
            found.append(Orphan("it has been pending for a week", image=image, spared=spared))
    return found


def orphaned_snapshots(  # noqa: PLR0913, PLR0917 (all that there is, and the time)
    snapshots: Iterable[Snapshot],
    images: Sequence[Image],
    existing: Collection[str],
    in_recycle_bin: Collection[str],
    now: datetime,
    final: timedelta | None,
) -> list[Orphan]:
    """Return which of our snapshots in a Region no image of ours uses.

    Those of a proven recovery point whose image somebody has deregistered are left as they are
    while they are all that their instance has, until they are older than `final`: an image can
    be registered of them.

    `in_recycle_bin` are the names of the images in the Recycle Bin: one that is restored from
    there needs its snapshots (EC2 User Guide, "Recover deleted AMIs with Recycle Bin").
    """
    used = {snapshot_id for image in images for snapshot_id in image.snapshot_ids}
    # A pending image does not show all of its snapshots yet.
    coming = {
        _made_for(image)
        for image in images
        if image.state == "pending"
        and (image.created_at is None or now - image.created_at <= STUCK_AFTER)
    }
    covered = _covered(images, existing)
    found = []
    for snapshot in snapshots:
        if snapshot.snapshot_id in used or _made_for(snapshot) in coming:
            continue
        age = now - snapshot.started_at
        if age < OLD_ENOUGH:
            continue
        is_all = (
            recall(snapshot.tags).level is not None
            and snapshot.tags.get(Tag.INSTANCE, "") not in covered
            and (final is None or age <= final)
        )
        spared = "its instance has no recovery point" if is_all else ""
        spared = spared or _in_bin(snapshot, in_recycle_bin)
        found.append(Orphan("no image uses it", snapshot=snapshot, spared=spared))
    return found


def _covered(images: Iterable[Image], existing: Collection[str]) -> frozenset[str]:
    """Return the instances that have a recovery point which can be launched."""
    return frozenset(
        image.tags.get(Tag.INSTANCE, "")
        for image in images
        if is_point(image) and image.state == "available" and not missing_snapshots(image, existing)
    )


def _made_for(made: Image | Snapshot) -> tuple[str, str]:
    return made.tags.get(Tag.INSTANCE, ""), made.tags.get(Tag.OCCURRENCE, "")


def _in_bin(snapshot: Snapshot, names: Collection[str]) -> str:
    found = any(has_our_name(name, snapshot.tags) for name in names)
    return "its image is in the Recycle Bin" if found else ""
