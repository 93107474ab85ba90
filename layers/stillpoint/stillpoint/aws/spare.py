"""Sparing: why something that has expired is left alone all the same."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from stillpoint.aws.inventory import Inventory
from stillpoint.aws.usage import lock_reason, locked_snapshots, users_of_images
from stillpoint.image import Image
from stillpoint.pruning import hold_on, protection_of
from stillpoint.tags import Tag, parse_iso

COPIED_WITHIN = timedelta(days=7)
"""How long an expired recovery point waits for its copies; CopyFailed is told after a day."""


class Spare:
    """What is known in one Region of what may not be deleted.

    `copies` are the inventories of the Regions that this one's images are copied to, `unknown`
    those of these Regions that do not answer.
    """

    def __init__(
        self,
        inventory: Inventory,
        *,
        copies: Mapping[str, Inventory],
        unknown: Sequence[str],
        zone: ZoneInfo,
        now: datetime,
    ) -> None:
        """Look at one Region at an instant; `zone` is where the days of a hold begin."""
        self._inventory = inventory
        self._sources = {
            region: copied.sources_of_pending_copies() for region, copied in copies.items()
        }
        self._unknown = unknown
        self._zone = zone
        self._now = now
        known = (*inventory.snapshots, *inventory.strays)
        self._tags = {each.snapshot_id: each.tags for each in known}

    def reasons(self, images: Sequence[Image], snapshot_ids: Sequence[str]) -> dict[str, str]:
        """Return which of the images and of the snapshots without an image are spared, and why.

        AWS is asked about those alone that nothing on themselves spares.
        """
        found = {image.image_id: self._own_reason(image) for image in images}
        found |= {
            key: hold_on(self._tags.get(key, {}), self._zone, self._now) for key in snapshot_ids
        }
        left = [image for image in images if not found[image.image_id]]
        loose = [key for key in snapshot_ids if not found[key]]
        if not left and not loose:
            return {key: why for key, why in found.items() if why}
        region = self._inventory.region
        found |= users_of_images({image.image_id for image in left}, region)
        owners = {key: image.image_id for image in left for key in image.snapshot_ids}
        owners |= {key: key for key in loose}
        existing = [key for key in owners if key in self._inventory.existing]
        for snapshot_id, until in locked_snapshots(existing, region, self._now).items():
            found[owners[snapshot_id]] = lock_reason(snapshot_id, until)
        return {key: why for key, why in found.items() if why}

    def _own_reason(self, image: Image) -> str:
        """Return the reason that the image, its snapshots or its copies give."""
        held = (
            hold_on(tags, self._zone, self._now)
            for tags in (image.tags, *(self._tags.get(key, {}) for key in image.snapshot_ids))
        )
        return next((why for why in (*held, protection_of(image), self._copying(image)) if why), "")

    def _copying(self, image: Image) -> str:
        for region, sources in self._sources.items():
            if image.image_id in sources:
                return f"it is being copied to {region}"
        if Tag.COPYING not in image.tags:
            return ""
        if self._unknown:
            return f"it may be being copied to {self._unknown[0]}, which does not answer"
        occurrence = parse_iso(image.tags.get(Tag.OCCURRENCE, ""))
        is_young = occurrence is not None and self._now - occurrence < COPIED_WITHIN
        return "it is still to be copied" if is_young else ""
