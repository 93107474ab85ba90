"""How an image comes about.

CreateImage answers at once with a pending image. Its snapshots are initiated one after the other
a moment later, each with a StartTime of its own; each holds what had reached its volume at that
time. They complete much later, and the image becomes available after the last of them.
"""

from functools import partial

from sandbox.ec2.call import Call
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.faults import FaultName
from sandbox.ec2.lifecycle import reboot
from sandbox.ec2.model import (
    Image,
    ImageState,
    ImageVolume,
    Instance,
    InstanceState,
    Snapshot,
    SnapshotState,
    StateReason,
    Volume,
)
from sandbox.ec2.region import Region

# EBS User Guide, "Quotas for Amazon EBS": pending snapshots per volume.
MAX_PENDING = 5
MAX_PENDING_THROUGHPUT_OPTIMIZED = 1
# EC2 API Reference, error SnapshotCreationPerVolumeRateExceeded: "Wait at least 15 seconds".
SNAPSHOT_INTERVAL = 15.0
IMAGE_FAILURE = StateReason("Server.InternalError", "Server.InternalError: Internal error")


def begin(region: Region, image: Image, instance: Instance, call: Call) -> None:
    """Set the creation of a stored image going."""
    _plan_faults(region, image, call)
    if image.no_reboot or instance.state is not InstanceState.RUNNING:
        _initiate_all(region, image, instance, call.at)
    else:
        while_down = partial(_initiate_all, region, image, instance)
        reboot(region, instance, call, "image_reboot", while_down)


def check_pending(region: Region, volume: Volume) -> None:
    """Raise ConcurrentSnapshotLimitExceeded if the volume has as many snapshots pending as may be.

    CreateImage checks this when it is called; what changes until a snapshot is initiated, and the
    rate per volume, shows in the image alone.
    """
    snapshots = region.snapshots_of_volume(volume.volume_id)
    pending = sum(1 for snap in snapshots if _is_incomplete(snap))
    slow = volume.volume_type in ("st1", "sc1")
    if pending >= (MAX_PENDING_THROUGHPUT_OPTIMIZED if slow else MAX_PENDING):
        message = "Maximum allowed in-progress snapshots for a single volume exceeded."
        raise Ec2Error("ConcurrentSnapshotLimitExceeded", message)


def check_volume(region: Region, volume: Volume, now: float) -> None:
    """Raise Ec2Error if no snapshot of the volume may be initiated now."""
    check_pending(region, volume)
    snapshots = region.snapshots_of_volume(volume.volume_id)
    if snapshots and now - snapshots[-1].started_at < SNAPSHOT_INTERVAL:
        message = "The maximum per volume CreateSnapshot request rate has been exceeded. "
        message += "Use an increasing or variable sleep interval between requests."
        raise Ec2Error("SnapshotCreationPerVolumeRateExceeded", message)


def take_snapshot(
    region: Region, volume: Volume, now: float, completes_at: float, description: str
) -> Snapshot:
    """Initiate a snapshot of `volume`: it holds what the volume holds now."""
    snapshot = Snapshot(
        snapshot_id=region.new_id("snap"),
        volume_id=volume.volume_id,
        volume_size=volume.size,
        encrypted=volume.encrypted,
        kms_key_id=volume.kms_key_id,
        description=description,
        started_at=now,
        visible_at=region.visible_at(now),
        completes_at=completes_at,
        dirty_bytes=volume.dirty_bytes(now),
        at_rest=volume.at_rest,
    )
    region.add_snapshot(snapshot)
    region.agenda.at(completes_at, partial(complete, snapshot))
    return snapshot


def fail(image: Image, reason: StateReason, _now: float) -> None:
    """Let a pending image fail; the snapshots that it has stay behind."""
    if image.state is ImageState.PENDING:
        image.state, image.state_reason = ImageState.FAILED, reason


def _plan_faults(region: Region, image: Image, call: Call) -> None:
    """Ask the faults what is going to go wrong with this image."""
    source = image.source_instance_id
    if image.volumes:
        if lost := region.fault(FaultName.SNAPSHOT_NEVER_INITIATED, call, source):
            image.volumes[lost.volume % len(image.volumes)].initiated = False
        if broken := region.fault(FaultName.SNAPSHOT_ERROR, call, source):
            volume = image.volumes[broken.volume % len(image.volumes)]
            volume.error_delay = broken.delay_seconds
    if failure := region.fault(FaultName.IMAGE_FAILED, call, source):
        region.agenda.at(call.at + failure.delay_seconds, partial(fail, image, IMAGE_FAILURE))


def _initiate_all(region: Region, image: Image, instance: Instance, now: float) -> float:
    """Put the initiation of each snapshot on the agenda; return the moment of the last."""
    moment = now
    for index, volume in enumerate(image.volumes):
        gap = "next_snapshot_seconds" if index else "first_snapshot_seconds"
        moment += instance.draw(gap)
        region.agenda.at(moment, partial(_initiate, region, image, instance, volume))
    image.available_at = max(image.available_at, moment + 1)
    region.agenda.at(image.available_at, partial(finish, region, image))
    return moment


def _initiate(
    region: Region, image: Image, instance: Instance, volume: ImageVolume, now: float
) -> None:
    """Initiate the snapshot of one volume, or fail the image if that cannot be done."""
    if image.state is not ImageState.PENDING or not volume.initiated:
        return
    source = region.volumes.get(volume.volume_id)
    try:
        if source is None:
            fail(image, IMAGE_FAILURE, now)
            return
        check_volume(region, source, now)
    except Ec2Error as error:
        # CreateImage has long answered: the limit shows as a failed image only.
        text = f"{IMAGE_FAILURE.message}: {error.message}"
        fail(image, StateReason(IMAGE_FAILURE.code, text), now)
        return
    share = instance.draw("snapshot_share")
    snapshot = take_snapshot(
        region,
        source,
        now,
        now + share * (image.available_at - now),
        f"Created by CreateImage({image.source_instance_id}) for {image.image_id}",
    )
    snapshot.image_id = image.image_id
    volume.snapshot_id = snapshot.snapshot_id
    snapshot.users.add(image.image_id)
    region.tags.create(snapshot.snapshot_id, image.snapshot_tags)
    instance.record(
        "snapshot_initiated",
        now,
        image_id=image.image_id,
        snapshot_id=snapshot.snapshot_id,
        volume_id=snapshot.volume_id,
    )
    image.initiated_at.append(now)
    if volume.error_delay is not None:
        region.agenda.at(now + volume.error_delay, partial(_break, image, snapshot))


def _break(image: Image, snapshot: Snapshot, now: float) -> None:
    """Let a snapshot end in `error`, and its image with it."""
    if snapshot.state is SnapshotState.PENDING:
        snapshot.state = SnapshotState.ERROR
        snapshot.state_message = "An internal error occurred while the snapshot was created"
        fail(image, IMAGE_FAILURE, now)


def complete(snapshot: Snapshot, now: float) -> None:
    """Let a snapshot complete."""
    if snapshot.state is SnapshotState.PENDING and not snapshot.deleted:
        snapshot.state, snapshot.completed_at = SnapshotState.COMPLETED, now


def finish(region: Region, image: Image, _now: float) -> None:
    """Let the image become available if all of its snapshots are complete."""
    snapshots = [region.snapshots.get(volume.snapshot_id or "") for volume in image.volumes]
    complete = all(snap and snap.state is SnapshotState.COMPLETED for snap in snapshots)
    if image.state is ImageState.PENDING and complete:
        image.state = ImageState.AVAILABLE


def _is_incomplete(snapshot: Snapshot) -> bool:
    """Say whether a snapshot counts as in progress; one in error does, until it is deleted."""
    return not snapshot.deleted and snapshot.state is not SnapshotState.COMPLETED
