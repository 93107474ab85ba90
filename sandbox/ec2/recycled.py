"""What callers see of the Recycle Bin: its lists, and restoring from it.

EC2 API Reference, ListImagesInRecycleBin and ListSnapshotsInRecycleBin, and EBS User Guide,
"Recover AMIs from the Recycle Bin": an image whose snapshots are gone or in the bin themselves
cannot be restored; the snapshots have to be restored first.
"""

from typing import Any

from sandbox.ec2.call import Call
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.filters import page
from sandbox.ec2.image_requests import check_name_is_free
from sandbox.ec2.model import Image, Snapshot
from sandbox.ec2.moments import instant
from sandbox.ec2.region import Operation, Region
from sandbox.ec2.snapshots import view


def list_images(region: Region, call: Call) -> dict[str, Any]:
    """List the images in the Recycle Bin, in pages."""
    wanted = set(call.params.get("ImageIds") or [])
    kept = [key for key in sorted(region.recycle_bin.kept) if key in region.gone_images]
    chosen = [region.gone_images[key] for key in kept if not wanted or key in wanted]
    found, token = page(chosen, call.params)
    entries = [
        {
            "ImageId": image.image_id,
            "Name": image.name,
            "Description": image.description or None,
            **_times(region, image.image_id),
        }
        for image in found
    ]
    return {"Images": entries, "NextToken": token}


def list_snapshots(region: Region, call: Call) -> dict[str, Any]:
    """List the snapshots in the Recycle Bin, in pages."""
    wanted = set(call.params.get("SnapshotIds") or [])
    kept = [key for key in sorted(region.recycle_bin.kept) if key in region.gone_snapshots]
    chosen = [region.gone_snapshots[key] for key in kept if not wanted or key in wanted]
    found, token = page(chosen, call.params)
    entries = [
        {
            "SnapshotId": snapshot.snapshot_id,
            "VolumeId": snapshot.volume_id,
            "Description": snapshot.description,
            **_times(region, snapshot.snapshot_id),
        }
        for snapshot in found
    ]
    return {"Snapshots": entries, "NextToken": token}


def restore_image(region: Region, call: Call) -> dict[str, Any]:
    """Bring an image back as it was; its name must be free and its snapshots must be there."""
    image = _image(region, call.params.get("ImageId", ""))
    holder = region.name_holder(image.name, call.at)
    if holder is not None and holder is not image:
        check_name_is_free(region, image.name, call.at)
    for volume in image.volumes:
        if volume.snapshot_id and volume.snapshot_id not in region.snapshots:
            message = f"The snapshot '{volume.snapshot_id}' does not exist."
            raise Ec2Error("InvalidSnapshot.NotFound", message)
    region.restore_image(image)
    return {"Return": True}


def restore_snapshot(region: Region, call: Call) -> dict[str, Any]:
    """Bring a snapshot back as it was."""
    snapshot = _snapshot(region, call.params.get("SnapshotId", ""))
    region.restore_snapshot(snapshot)
    shown = view(region, snapshot, call.at)
    return {key: shown[key] for key in _RESTORED}


_RESTORED = (
    *("SnapshotId", "VolumeId", "VolumeSize", "State", "StartTime", "Progress", "OwnerId"),
    *("Description", "Encrypted"),
)


def _image(region: Region, image_id: str) -> Image:
    """Return an image in the Recycle Bin, or raise InvalidAMIID.NotFound."""
    if image_id not in region.recycle_bin.kept or image_id not in region.gone_images:
        message = f"The image id '[{image_id}]' does not exist"
        raise Ec2Error("InvalidAMIID.NotFound", message)
    return region.gone_images[image_id]


def _snapshot(region: Region, snapshot_id: str) -> Snapshot:
    """Return a snapshot in the Recycle Bin, or raise InvalidSnapshot.NotFound."""
    if snapshot_id not in region.recycle_bin.kept or snapshot_id not in region.gone_snapshots:
        message = f"The snapshot '{snapshot_id}' does not exist."
        raise Ec2Error("InvalidSnapshot.NotFound", message)
    return region.gone_snapshots[snapshot_id]


def _times(region: Region, resource_id: str) -> dict[str, Any]:
    """Return since when and until when something is in the Recycle Bin."""
    binned = region.recycle_bin.kept[resource_id]
    return {
        "RecycleBinEnterTime": instant(binned.entered_at),
        "RecycleBinExitTime": instant(binned.exits_at),
    }


ACTIONS: dict[str, Operation] = {
    "ListImagesInRecycleBin": list_images,
    "ListSnapshotsInRecycleBin": list_snapshots,
    "RestoreImageFromRecycleBin": restore_image,
    "RestoreSnapshotFromRecycleBin": restore_snapshot,
}
