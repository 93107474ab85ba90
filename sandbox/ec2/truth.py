"""The truth about a world: what each snapshot misses, and how long each instance was down.

This is what the product's claims are checked against. All times are UTC text such as
`2026-11-22T03:00:05.123Z`, durations are seconds. The report:

    instances   id, name, state, `events` (what, at, by, ...), `downs`
    downs       kind (`stop`, `reboot`, `image_reboot`), began_at, down_at, start_requested_at,
                up_at, downtime_seconds (null while it lasts) and floor_seconds: what this stop,
                the initiation of its last snapshot and this start took by themselves
    images      id, name, instance, state, no_reboot, tags, dirty_bytes (sum), at_rest (all),
                application (whether its applications were quiesced at each snapshot),
                missing_volumes, excluded_volumes, copy_of, recycled_until, `snapshots`. A copy
                has no instance_id, as EC2 shows none; origin_instance_id and instance_name are
                those of the instance whose data it holds, copy_of is `REGION:IMAGE`
    snapshots   (of an image, or lone ones) id, volume, start_time, state, dirty_bytes, at_rest,
                tags, copy_of
    violations  calls that Stillpoint must never make
"""

from collections.abc import Iterable
from typing import Any

from sandbox.ec2.model import DownPeriod, Image, ImageState, Instance, Snapshot
from sandbox.ec2.moments import iso
from sandbox.ec2.region import Region


def report(regions: Iterable[Region], now: float) -> dict[str, Any]:
    """Return the truth about all Regions, ready for JSON."""
    places = list(regions)
    return {
        "now": iso(now),
        "instances": [
            _instance(place, instance) for place in places for instance in place.instances.values()
        ],
        "images": [_image(place, image) for place in places for image in _images(place)],
        "snapshots": [
            _snapshot(place, snapshot) for place in places for snapshot in place.snapshots.values()
        ],
        "violations": [violation for place in places for violation in place.violations],
    }


def _images(region: Region) -> list[Image]:
    """Return all images that there ever were, in the order of their creation."""
    every = [*region.gone_images.values(), *region.images.values()]
    return sorted(every, key=lambda image: image.created_at)


def _instance(region: Region, instance: Instance) -> dict[str, Any]:
    """Return the truth about one instance."""
    lasting = [instance.down] if instance.down else []
    return {
        "instance_id": instance.instance_id,
        "name": region.instance_name(instance.instance_id),
        "account": region.account,
        "region": region.name,
        "state": instance.state.value,
        "guest_up": instance.guest_up,
        "tags": region.tags.current(instance.instance_id),
        "volumes": [attachment.volume_id for attachment in instance.attachments],
        "events": [
            {"what": event.what, "at": iso(event.at), "by": event.by, **event.details}
            for event in instance.events
        ],
        "downs": [_down(region, period) for period in [*instance.downs, *lasting]],
    }


def _down(region: Region, period: DownPeriod) -> dict[str, Any]:
    """Return the truth about one down period."""
    return {
        "kind": period.kind,
        "began_at": iso(period.began_at),
        "down_at": _iso_or_none(period.down_at),
        "start_requested_at": _iso_or_none(period.start_requested_at),
        "up_at": _iso_or_none(period.up_at),
        "image_ids": list(period.image_ids),
        "downtime_seconds": _between(period.began_at, period.up_at),
        "floor_seconds": floor_of(region, period),
    }


def floor_of(region: Region, period: DownPeriod) -> float | None:
    """Return how short a down period could have been, or None while that is not known.

    It is the stop itself, the time from the last CreateImage that did not fail to the initiation
    of its last snapshot, and the start itself. EC2 does all of this alone when it reboots an
    instance: that has no waste.
    """
    if period.down_at is None or period.up_at is None or period.start_requested_at is None:
        return None
    if period.kind != "stop":
        return _between(period.began_at, period.up_at)
    images = [region.any_image(image_id) for image_id in period.image_ids]
    captured = [image for image in images if image and image.state is not ImageState.FAILED]
    initiation = 0.0
    if captured and captured[-1].initiated_at:
        initiation = max(captured[-1].initiated_at) - captured[-1].created_at
    stopping = period.down_at - period.began_at
    starting = period.up_at - period.start_requested_at
    return round(stopping + initiation + starting, 3)


def _image(region: Region, image: Image) -> dict[str, Any]:
    """Return the truth about one image."""
    found = [region.any_snapshot(volume.snapshot_id) for volume in image.volumes]
    snapshots = [snapshot for snapshot in found if snapshot is not None]
    missing = [volume.volume_id for volume in image.volumes if volume.snapshot_id is None]
    reason, copied = image.state_reason, image.copied_from
    binned = region.recycle_bin.kept.get(image.image_id)
    return {
        "image_id": image.image_id,
        "name": image.name,
        "account": region.account,
        "region": region.name,
        "instance_id": image.source_instance_id or None,
        "instance_name": region.instance_name(image.origin_instance_id),
        "origin_instance_id": image.origin_instance_id,
        "copy_of": f"{copied.region}:{copied.image_id}" if copied else None,
        "recycled_until": _iso_or_none(binned.exits_at if binned else None),
        "state": image.state.value,
        "state_reason": reason.message if reason else None,
        "no_reboot": image.no_reboot,
        "created_at": iso(image.created_at),
        "available_at": iso(image.available_at),
        "tags": region.tags.current(image.image_id),
        "dirty_bytes": sum(snapshot.dirty_bytes for snapshot in snapshots),
        "at_rest": bool(snapshots) and all(snapshot.at_rest for snapshot in snapshots),
        "application": _quiesced(region, image),
        "missing_volumes": missing,
        "excluded_volumes": list(image.excluded_volumes),
        "snapshots": [_snapshot(region, snapshot) for snapshot in snapshots],
    }


def _quiesced(region: Region, image: Image) -> bool:
    """Say whether the applications were quiesced at each snapshot of an image.

    A copy holds what its source holds.
    """
    while (copied := image.copied_from) is not None:
        region = region.places[region.account, copied.region]
        source = region.any_image(copied.image_id)
        if source is None:
            return False
        image = source
    instance = region.origin(image.origin_instance_id)
    if instance is None or not image.initiated_at:
        return False
    return all(instance.guest.quiesced(moment) for moment in image.initiated_at)


def _snapshot(region: Region, snapshot: Snapshot) -> dict[str, Any]:
    """Return the truth about one snapshot."""
    return {
        "snapshot_id": snapshot.snapshot_id,
        "volume_id": snapshot.volume_id,
        "image_id": snapshot.image_id,
        "region": region.name,
        "copy_of": snapshot.copy_of,
        "start_time": iso(snapshot.started_at),
        "state": "deleted" if snapshot.deleted else snapshot.state.value,
        "dirty_bytes": snapshot.dirty_bytes,
        "at_rest": snapshot.at_rest,
        "tags": region.tags.current(snapshot.snapshot_id),
    }


def _iso_or_none(moment: float | None) -> str | None:
    """Return a moment as text, or None."""
    return None if moment is None else iso(moment)


def _between(begin: float, end: float | None) -> float | None:
    """Return the seconds from `begin` to `end`, or None if it has not ended."""
    return None if end is None else round(end - begin, 3)
