"""DeregisterImage and DeleteSnapshot, and what they find in their way.

DeregisterImage can take the snapshots of its image along. It succeeds even if a snapshot stays:
each has a result of its own (EC2 API Reference, DeregisterImage, DeleteSnapshotReturnCode).
"""

from typing import Any

from sandbox.ec2.call import Call
from sandbox.ec2.copying import fail_copies_of
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.faults import FaultName
from sandbox.ec2.locking import is_locked
from sandbox.ec2.model import Image, Snapshot
from sandbox.ec2.region import Operation, Region


def deregister_image(region: Region, call: Call) -> dict[str, Any]:
    """Deregister an image that is not protected, and delete its snapshots if asked to.

    EC2 User Guide, "Protect an Amazon EC2 AMI from deregistration": a protected image "can't be
    deregistered by any user, regardless of their IAM permissions". The page names no error; this
    one is EC2's for an operation that is not allowed.
    """
    image = region.image(call.params.get("ImageId", ""), call.at)
    if image.protection.holds(call.at):
        message = f"The image '{image.image_id}' is protected from deregistration."
        raise Ec2Error("OperationNotPermitted", message)
    snapshots = _snapshots(region, image)
    region.remove_image(image, call.at)
    fail_copies_of(region, image, call.at)
    if not call.params.get("DeleteAssociatedSnapshots", False):
        return {"Return": True}
    refused = _refused(region, image, snapshots, call)
    results = []
    for snapshot in snapshots:
        code = refused.get(snapshot.snapshot_id) or _obstacle(snapshot, call.at) or "success"
        if code == "success":
            region.delete_snapshot(snapshot, call.at)
        results.append({"SnapshotId": snapshot.snapshot_id, "ReturnCode": code})
    return {"Return": True, "DeleteSnapshotResults": results}


def delete_snapshot(region: Region, call: Call) -> dict[str, Any]:
    """Delete a snapshot that no image uses, not even a disabled one, and that is not locked.

    EBS User Guide, "Amazon EBS snapshot lock", names no error for a locked one; this one is
    EC2's for an operation that is not allowed.
    """
    snapshot = region.snapshot(call.params.get("SnapshotId", ""), call.at)
    if snapshot.users:
        message = f"The snapshot {snapshot.snapshot_id} is currently in use by "
        raise Ec2Error("InvalidSnapshot.InUse", message + min(snapshot.users))
    if is_locked(snapshot, call.at):
        message = f"The snapshot '{snapshot.snapshot_id}' is locked and cannot be deleted."
        raise Ec2Error("OperationNotPermitted", message)
    region.delete_snapshot(snapshot, call.at)
    return {}


def _snapshots(region: Region, image: Image) -> list[Snapshot]:
    """Return the snapshots of an image that still exist."""
    found = [region.snapshots.get(volume.snapshot_id or "") for volume in image.volumes]
    return [snapshot for snapshot in found if snapshot is not None]


def _refused(region: Region, image: Image, snapshots: list[Snapshot], call: Call) -> dict[str, str]:
    """Return the results that permissions and faults give to snapshots, by their ids."""
    refused = dict.fromkeys(call.forbidden, "missing-permissions")
    fault = region.fault(FaultName.SNAPSHOT_DELETE_REFUSED, call, image.origin_instance_id)
    if fault and snapshots:
        refused[snapshots[fault.volume % len(snapshots)].snapshot_id] = fault.return_code
    return refused


def _obstacle(snapshot: Snapshot, now: float) -> str | None:
    """Return the result for a snapshot that cannot be deleted, or None for one that can."""
    if snapshot.users:
        return "skipped"
    return "client-error" if is_locked(snapshot, now) else None


ACTIONS: dict[str, Operation] = {
    "DeregisterImage": deregister_image,
    "DeleteSnapshot": delete_snapshot,
}
