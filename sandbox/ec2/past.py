"""Images of the past: they are there with their snapshots as if they had been made long ago.

No call made them and no instance was down for them; they miss nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from sandbox.ec2.images import volume_to_capture
from sandbox.ec2.model import (
    Image,
    ImageSource,
    ImageState,
    Instance,
    Snapshot,
    SnapshotState,
)
from sandbox.ec2.region import Region
from sandbox.ec2.world import World

# From the creation of an image until it was available.
IMAGE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class PastImage:
    """An image to be put into the past; `created_at` is in epoch seconds.

    The tags are those of its snapshots, too.
    """

    name: str
    created_at: float
    tags: Mapping[str, str]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Make one of its JSON form; raise TypeError or ValueError if it is none."""
        past = cls(**row)
        if not past.name or not isinstance(past.tags, Mapping):
            message = "an image of the past has a name, created_at in epoch seconds, and tags"
            raise ValueError(message)
        return cls(str(past.name), float(past.created_at), dict(past.tags))


def put(world: World, instance: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Put images of an instance, given by id or Name tag, into the past of its Region.

    Raise KeyError if there is not one such instance, ValueError or TypeError for what cannot have
    been.
    """
    past = sorted((PastImage.of(row) for row in rows), key=lambda image: image.created_at)
    with world.lock:
        now = world.advance()
        region, source = world._find(instance)
        for each in past:
            if each.created_at + IMAGE_SECONDS > now:
                message = f"the image {each.name} would not be available yet"
                raise ValueError(message)
            if region.name_holder(each.name, now):
                message = f"there is an image with the name {each.name} already"
                raise ValueError(message)
            _put(region, source, each)


def _put(region: Region, instance: Instance, past: PastImage) -> None:
    """Put one image there, available, with a complete snapshot of each volume."""
    image = Image(
        image_id=region.new_id("ami"),
        name=past.name,
        description="",
        source_instance_id=instance.instance_id,
        origin_instance_id=instance.instance_id,
        created_at=past.created_at,
        visible_at=past.created_at,
        available_at=past.created_at + IMAGE_SECONDS,
        no_reboot=True,
        volumes=[],
        excluded_volumes=[],
        root_device_name=instance.facts["RootDeviceName"],
        architecture=instance.facts["Architecture"],
        platform_details=instance.facts["PlatformDetails"],
        snapshot_tags=dict(past.tags),
        state=ImageState.AVAILABLE,
        source_image=ImageSource(region.name, instance.facts["ImageId"]),
    )
    for attachment in instance.attachments:
        volume = region.volume(attachment.volume_id)
        snapshot = Snapshot(
            snapshot_id=region.new_id("snap"),
            volume_id=volume.volume_id,
            volume_size=volume.size,
            encrypted=volume.encrypted,
            kms_key_id=volume.kms_key_id,
            description=f"Created by CreateImage({instance.instance_id}) for {image.image_id}",
            started_at=past.created_at + 1,
            visible_at=past.created_at + 1,
            completes_at=past.created_at + IMAGE_SECONDS / 2,
            dirty_bytes=0,
            at_rest=True,
            image_id=image.image_id,
            state=SnapshotState.COMPLETED,
            completed_at=past.created_at + IMAGE_SECONDS / 2,
        )
        region.add_snapshot(snapshot)
        region.tags.create(snapshot.snapshot_id, past.tags)
        captured = volume_to_capture(region, attachment)
        captured.snapshot_id = snapshot.snapshot_id
        image.volumes.append(captured)
        image.initiated_at.append(snapshot.started_at)
    region.add_image(image)
    region.tags.create(image.image_id, past.tags)
