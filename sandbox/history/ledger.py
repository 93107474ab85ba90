"""The ledger: every image that was made, by whom, and what its tags said when it was there."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from sandbox.ec2 import World
from sandbox.ec2.call import CallRecord
from sandbox.ec2.model import Image, SnapshotState
from sandbox.ec2.region import Region
from sandbox.history.oracle import Point, moment
from sandbox.virtual.stack import ACCOUNT, STACK

LEVEL: Final = "stillpoint:consistency"
OCCURRENCE: Final = "stillpoint:occurrence"
COPYING: Final = "stillpoint:copying"
OURS: Final = f":assumed-role/{STACK}-"
"""Part of the ARN with which the stack's functions and its state machine call."""
_MAKING: Final = frozenset({"CreateImage", "CopyImage"})
_DELETING: Final = frozenset({"DeregisterImage", "DeleteSnapshot"})


@dataclass(slots=True)
class Made:
    """An image and what is known of it. `tags` are the last ones that it had.

    `ours` says that the stack made it, and not its owner or anybody else.
    """

    region: str
    image: Image
    instance_id: str
    ours: bool
    tags: Mapping[str, str] = field(default_factory=dict)
    born_with: Mapping[str, str] = field(default_factory=dict)
    _read: tuple[Mapping[str, str], Point | None] = field(default=({}, None), repr=False)

    @property
    def image_id(self) -> str:
        """The image's id."""
        return self.image.image_id

    @property
    def gone(self) -> bool:
        """Whether it is deregistered."""
        return self.image.gone_at is not None

    @property
    def is_point(self) -> bool:
        """Whether it is, or becomes, a recovery point: it says what it is worth."""
        failed = self.image.state_reason is not None
        return not failed and LEVEL in self.tags and OCCURRENCE in self.tags

    def point(self) -> Point:
        """Return it as the oracle sees it."""
        tags = self.tags
        read, point = self._read
        if point is None or read is not tags:
            point = Point(
                self.image_id,
                moment(tags[OCCURRENCE]),
                tags.get("stillpoint:retain", ""),
                tags.get("stillpoint:time-zone", "UTC"),
            )
            self._read = tags, point
        return point


class _Watched(list[CallRecord]):
    """The world's own list of calls, and somebody who is told of each as it happens."""

    def __init__(self, told: Callable[[CallRecord], None]) -> None:
        super().__init__()
        self._told = told

    def append(self, record: CallRecord, /) -> None:
        super().append(record)
        self._told(record)


class Ledger:
    """What there is and was in a world, written down as it happens.

    `by_instance` holds the images that are there, by Region and instance; `fresh` is for whoever
    takes in what is new. `on_gone` is told of each image that is deregistered, `on_snapshot_gone`
    of each snapshot that is deleted, with the call that did it, before anything else happens.
    """

    def __init__(self, world: World) -> None:
        """Watch a new world."""
        self._world = world
        self.made: dict[str, Made] = {}
        self.tags: dict[str, Mapping[str, str]] = {}
        self.on_gone: Callable[[Made, CallRecord], None] = lambda _made, _record: None
        self.on_snapshot_gone: Callable[[str, CallRecord], None] = lambda _id, _record: None
        self.fresh: list[Made] = []
        self.by_instance: defaultdict[tuple[str, str], dict[str, Made]] = defaultdict(dict)
        self._listed: set[str] = set()
        self._images_gone: defaultdict[str, int] = defaultdict(int)
        self._snapshots_gone: defaultdict[str, int] = defaultdict(int)
        world.on_tags = self._tagged
        world.calls = _Watched(self._called)

    def region(self, name: str) -> Region:
        """Return the account's EC2 in a Region."""
        return self._world.region(ACCOUNT, name)

    def available(self, made: Made) -> bool:
        """Whether an image can be launched, or could when it was deregistered."""
        image, place = made.image, self.region(made.region)
        if image.state_reason or image.available_at > self._world.clock.now():
            return False
        snapshots = [place.any_snapshot(volume.snapshot_id) for volume in image.volumes]
        return all(one is not None and one.state is SnapshotState.COMPLETED for one in snapshots)

    def copying(self) -> bool:
        """Whether a copy of any image is still to be made."""
        return bool(self._listed)

    def ours(self) -> Iterator[Made]:
        """Return what the stack made and what is still there."""
        for some in self.by_instance.values():
            yield from (made for made in some.values() if made.ours)

    def _tagged(self, _account: str, _region: str, resource: str, tags: Mapping[str, str]) -> None:
        (self._listed.add if COPYING in tags else self._listed.discard)(resource)
        if not tags:  # it is gone, and what it said is still needed
            return
        self.tags[resource] = tags
        if resource in self.made:
            self.made[resource].tags = tags

    def _called(self, record: CallRecord) -> None:
        place = self.region(record.region)
        if record.action in _MAKING and place.images:
            image = place.images[next(reversed(place.images))]
            if image.image_id not in self.made:
                self._write_down(image, record)
        elif record.action in _DELETING:
            self._strike_out(place, record)

    def _write_down(self, image: Image, record: CallRecord) -> None:
        tags = dict(self.tags.get(image.image_id, {}))
        by_us = OURS in record.principal
        made = Made(record.region, image, image.origin_instance_id, by_us, tags, tags)
        self.made[image.image_id] = made
        self.by_instance[record.region, made.instance_id][image.image_id] = made
        self.fresh.append(made)

    def _strike_out(self, place: Region, record: CallRecord) -> None:
        for image_id in _newest(place.gone_images, self._images_gone[place.name]):
            made = self.made[image_id]
            del self.by_instance[made.region, made.instance_id][image_id]
            self.on_gone(made, record)
        self._images_gone[place.name] = len(place.gone_images)
        for snapshot_id in _newest(place.gone_snapshots, self._snapshots_gone[place.name]):
            self.on_snapshot_gone(snapshot_id, record)
        self._snapshots_gone[place.name] = len(place.gone_snapshots)


def _newest(gone: dict[str, Any], known: int) -> list[str]:
    """Return the ids that were added to a dictionary since it had so many."""
    return [*islice(reversed(gone), len(gone) - known)][::-1]
