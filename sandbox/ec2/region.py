"""One account's EC2 in one Region: what is in it, and how things are found."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.ec2.agenda import Agenda
from sandbox.ec2.call import Call
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.faults import Fault, FaultBook, FaultName
from sandbox.ec2.keys import KeyRing
from sandbox.ec2.model import (
    Image,
    ImageState,
    Instance,
    LaunchTemplate,
    Snapshot,
    Volume,
)
from sandbox.ec2.moments import iso
from sandbox.ec2.physics import Dice, Physics
from sandbox.ec2.recycling import RecycleBin
from sandbox.ec2.tags import TagBook
from sandbox.ec2.throttle import Throttle

_ID = re.compile(r"(i|ami|snap|vol)-(?:[0-9a-f]{8}|[0-9a-f]{17})")


@dataclass(slots=True)
class Region:
    """The resources of one account in one Region, and what governs them.

    What a caller can see or use is in `images` and `snapshots`. What was deregistered or deleted
    is kept apart for the truth, so that a long history costs the calls nothing. `places` holds
    all Regions of the world by account and name, this one too.
    """

    account: str
    name: str
    physics: Physics
    seed: str
    faults: FaultBook
    tags: TagBook
    throttle: Throttle
    places: Mapping[tuple[str, str], "Region"]
    keys: KeyRing
    agenda: Agenda = field(default_factory=Agenda)
    instances: dict[str, Instance] = field(default_factory=dict)
    volumes: dict[str, Volume] = field(default_factory=dict)
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)
    gone_snapshots: dict[str, Snapshot] = field(default_factory=dict)
    gone_images: dict[str, Image] = field(default_factory=dict)
    recycle_bin: RecycleBin = field(default_factory=RecycleBin)
    templates: dict[str, LaunchTemplate] = field(default_factory=dict)
    launches: dict[str, list[str]] = field(default_factory=dict)
    copies: dict[str, tuple[Mapping[str, Any], str]] = field(default_factory=dict)
    pending_copies: set[str] = field(default_factory=set)
    violations: list[dict[str, Any]] = field(default_factory=list)
    dice: Dice = field(init=False)
    _named: dict[str, Image] = field(default_factory=dict)
    _of_volume: dict[str, list[Snapshot]] = field(default_factory=dict)
    _ids_of_volume: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Seed the draws that belong to no instance."""
        self.dice = Dice(f"{self.seed}/{self.account}/{self.name}")

    def new_id(self, prefix: str) -> str:
        """Return a fresh id such as `vol-0123456789abcdef0`."""
        return f"{prefix}-0{self.dice.hex_digits(prefix, 16)}"

    def visible_at(self, now: float) -> float:
        """Return when something that is made at `now` becomes visible."""
        return now + self.dice.draw("visibility_seconds", self.physics.visibility_seconds)

    def instance(self, instance_id: str, now: float) -> Instance:
        """Return a visible instance, or raise InvalidInstanceID.*."""
        check_id(instance_id, "i", "InvalidInstanceID.Malformed")
        instance = self.instances.get(instance_id)
        if instance is None or instance.visible_at > now:
            message = f"The instance ID '{instance_id}' does not exist"
            raise Ec2Error("InvalidInstanceID.NotFound", message)
        return instance

    def volume(self, volume_id: str) -> Volume:
        """Return a volume, or raise InvalidVolume.NotFound."""
        if volume_id not in self.volumes:
            raise Ec2Error("InvalidVolume.NotFound", f"The volume '{volume_id}' does not exist.")
        return self.volumes[volume_id]

    def snapshot(self, snapshot_id: str, now: float) -> Snapshot:
        """Return a visible snapshot, or raise InvalidSnapshot*."""
        check_id(snapshot_id, "snap", "InvalidSnapshotID.Malformed")
        snapshot = self.snapshots.get(snapshot_id)
        if snapshot is None or snapshot.visible_at > now:
            message = f"The snapshot '{snapshot_id}' does not exist."
            raise Ec2Error("InvalidSnapshot.NotFound", message)
        return snapshot

    def image(self, image_id: str, now: float) -> Image:
        """Return a visible image that is not deregistered, or raise InvalidAMIID.*."""
        check_id(image_id, "ami", "InvalidAMIID.Malformed")
        if image_id in self.gone_images:
            raise unavailable(image_id)
        image = self.images.get(image_id)
        if image is None or image.visible_at > now:
            message = f"The image id '[{image_id}]' does not exist"
            raise Ec2Error("InvalidAMIID.NotFound", message)
        return image

    def available_image(self, image_id: str, now: float) -> Image:
        """Return a visible image that can be used now, or raise InvalidAMIID.*.

        EC2 API Reference, error InvalidAMIID.Unavailable: it "has been deregistered and is no
        longer available, or is not in a state from which you can launch an instance or modify
        attributes".
        """
        image = self.image(image_id, now)
        if image.state is not ImageState.AVAILABLE:
            raise unavailable(image_id)
        return image

    def any_image(self, image_id: str) -> Image | None:
        """Return an image, registered or not, if there ever was one with this id."""
        return self.images.get(image_id) or self.gone_images.get(image_id)

    def any_snapshot(self, snapshot_id: str | None) -> Snapshot | None:
        """Return a snapshot, deleted or not, if there ever was one with this id."""
        key = snapshot_id or ""
        return self.snapshots.get(key) or self.gone_snapshots.get(key)

    def origin(self, instance_id: str) -> Instance | None:
        """Return an instance of this account, in whichever Region it is, if there ever was one."""
        for place in (self, *self.places.values()):
            if place.account == self.account and instance_id in place.instances:
                return place.instances[instance_id]
        return None

    def instance_name(self, instance_id: str) -> str | None:
        """Return the Name tag of an instance of this account, in whichever Region it is."""
        for place in (self, *self.places.values()):
            if place.account == self.account and instance_id in place.instances:
                return place.tags.current(instance_id).get("Name")
        return None

    def fault(self, name: FaultName, call: Call, *instance_ids: str) -> Fault | None:
        """Return the fault `name` if it strikes this call for one of these instances."""
        return self.faults.take(name, call, {id_: self.instance_name(id_) for id_ in instance_ids})

    def violate(self, call: Call, what: str) -> None:
        """Note that a caller did what Stillpoint must never do."""
        self.violations.append(
            {
                "at": iso(call.at),
                "action": call.action,
                "by": call.principal,
                "instances": list(call.instances),
                "what": what,
            }
        )

    def snapshots_of_volume(self, volume_id: str) -> list[Snapshot]:
        """Return a volume's snapshots in the order of their initiation.

        Of those that are deleted, only what limits still ask for is there: the last one.
        """
        return self._of_volume.get(volume_id, [])

    def snapshot_ids_of_volume(self, volume_id: str) -> list[str]:
        """Return the ids of all snapshots that there ever were of a volume, copies too."""
        return self._ids_of_volume.get(volume_id, [])

    def add_snapshot(self, snapshot: Snapshot) -> None:
        """Store a new snapshot."""
        self.snapshots[snapshot.snapshot_id] = snapshot
        self._ids_of_volume.setdefault(snapshot.volume_id, []).append(snapshot.snapshot_id)
        if snapshot.copy_of is None:
            known = [one for one in self.snapshots_of_volume(snapshot.volume_id) if not one.deleted]
            self._of_volume[snapshot.volume_id] = [*known, snapshot]

    def delete_snapshot(self, snapshot: Snapshot, now: float) -> None:
        """Delete a snapshot: it goes to the Recycle Bin if a rule says so, or for good."""
        snapshot.deleted = True
        self.gone_snapshots[snapshot.snapshot_id] = self.snapshots.pop(snapshot.snapshot_id)
        self._throw_away(snapshot.snapshot_id, now, self.recycle_bin.snapshot_days)

    def restore_snapshot(self, snapshot: Snapshot) -> None:
        """Take a snapshot out of the Recycle Bin."""
        del self.recycle_bin.kept[snapshot.snapshot_id]
        snapshot.deleted = False
        self.snapshots[snapshot.snapshot_id] = self.gone_snapshots.pop(snapshot.snapshot_id)

    def add_image(self, image: Image) -> None:
        """Store a new image, which uses the snapshots that it has so far."""
        self.images[image.image_id] = image
        self._named[image.name] = image
        self._use_snapshots(image)

    def remove_image(self, image: Image, now: float) -> None:
        """Deregister an image: it goes to the Recycle Bin if a rule says so, or for good."""
        was = image.state
        image.state, image.gone_at = ImageState.DEREGISTERED, now
        self.gone_images[image.image_id] = self.images.pop(image.image_id)
        for volume in image.volumes:
            if snapshot := self.any_snapshot(volume.snapshot_id):
                snapshot.users.discard(image.image_id)
        self._throw_away(image.image_id, now, self.recycle_bin.image_days, was)

    def restore_image(self, image: Image) -> None:
        """Take an image out of the Recycle Bin, in the state that it had."""
        binned = self.recycle_bin.kept.pop(image.image_id)
        image.state, image.gone_at = binned.state or ImageState.AVAILABLE, None
        del self.gone_images[image.image_id]
        self.add_image(image)

    def named(self, name: str) -> Image | None:
        """Return the image that got a name last, even if it is gone."""
        return self._named.get(name)

    def name_holder(self, name: str, now: float) -> Image | None:
        """Return the image that has a name, or had it a moment ago."""
        image = self.named(name)
        if image is None or image.gone_at is None:
            return image
        return image if now < image.gone_at + self.physics.name_release_seconds else None

    def _use_snapshots(self, image: Image) -> None:
        """Let the snapshots of an image know that it uses them."""
        for volume in image.volumes:
            if snapshot := self.any_snapshot(volume.snapshot_id):
                snapshot.users.add(image.image_id)

    def _throw_away(
        self, resource_id: str, now: float, days: int | None, was: ImageState | None = None
    ) -> None:
        """Keep something in the Recycle Bin for some days, with its tags, or forget it now."""

        def leave(moment: float) -> None:
            binned = self.recycle_bin.kept.get(resource_id)
            if binned and binned.exits_at <= moment:
                del self.recycle_bin.kept[resource_id]
                self.tags.forget(resource_id)

        if days is None:
            self.tags.forget(resource_id)
        else:
            self.agenda.at(self.recycle_bin.keep(resource_id, now, days, was), leave)


def unavailable(image_id: str) -> Ec2Error:
    """Return the error for an image that is not there any more, or not usable."""
    message = f"The image ID '{image_id}' is no longer available"
    return Ec2Error("InvalidAMIID.Unavailable", message)


def check_id(resource_id: str, prefix: str, code: str) -> None:
    """Raise an Ec2Error `code` if `resource_id` is not an id with this prefix."""
    match = _ID.fullmatch(resource_id)
    if match is None or match.group(1) != prefix:
        raise Ec2Error(code, f'Invalid id: "{resource_id}"')


type Operation = Callable[[Region, Call], Mapping[str, Any]]
