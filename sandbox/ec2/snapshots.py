"""CreateSnapshot and DescribeSnapshots."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sandbox.ec2 import tags
from sandbox.ec2.call import Call
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.filters import Extractor, candidates, matcher, page
from sandbox.ec2.imaging import check_volume, take_snapshot
from sandbox.ec2.launching import tags_for
from sandbox.ec2.model import Snapshot
from sandbox.ec2.moments import instant
from sandbox.ec2.region import Operation, Region

if TYPE_CHECKING:
    from sandbox.ec2.filters import Lookup


def create_snapshot(region: Region, call: Call) -> dict[str, Any]:
    """Initiate a snapshot of one volume at once."""
    volume = region.volume(call.params.get("VolumeId", ""))
    snapshot_tags = tags_for("snapshot", call.params.get("TagSpecifications") or [])
    check_volume(region, volume, call.at)
    pending = region.dice.draw("image_seconds", region.physics.image_seconds)
    share = region.dice.draw("snapshot_share", region.physics.snapshot_share)
    description = call.params.get("Description", "")
    snapshot = take_snapshot(region, volume, call.at, call.at + pending * share, description)
    region.tags.create(snapshot.snapshot_id, snapshot_tags)
    return view(region, snapshot, call.at)


def describe_snapshots(region: Region, call: Call) -> dict[str, Any]:
    """List snapshots by ids, owners or filters, in pages."""
    ids = call.params.get("SnapshotIds") or []
    if ids and call.params.get("MaxResults") is not None:
        message = "The parameter snapshotSet cannot be used with the parameter maxResults"
        raise Ec2Error("InvalidParameterCombination", message)
    named = [region.snapshot(snapshot_id, call.at) for snapshot_id in dict.fromkeys(ids)]
    owners = set(call.params.get("OwnerIds") or ["self"])
    matches = matcher(
        call.params.get("Filters"),
        _filters(region, call.at),
        lambda snapshot: region.tags.seen(snapshot.snapshot_id, call.at),
    )
    listed = [
        snapshot
        for snapshot in (named if ids else _candidates(region, call))
        if snapshot.visible_at <= call.at
        and owners & {"self", region.account}
        and matches(snapshot)
    ]
    found, token = page(sorted(listed, key=lambda one: one.snapshot_id), call.params)
    return {"Snapshots": [view(region, one, call.at) for one in found], "NextToken": token}


def _candidates(region: Region, call: Call) -> Iterable[Snapshot]:
    """Return the snapshots that can match a request's filters."""
    lookups: dict[str, Lookup] = {
        "snapshot-id": lambda value: [value],
        "volume-id": region.snapshot_ids_of_volume,
    }
    filters = call.params.get("Filters")
    return candidates(filters, region.snapshots, lookups, region.tags.holders)


def view(region: Region, snapshot: Snapshot, now: float) -> dict[str, Any]:
    """Return one snapshot as DescribeSnapshots shows it."""
    completed = snapshot.completed_at
    return {
        "SnapshotId": snapshot.snapshot_id,
        "VolumeId": snapshot.volume_id,
        "VolumeSize": snapshot.volume_size,
        "State": snapshot.state.value,
        "StateMessage": snapshot.state_message or None,
        "StartTime": instant(snapshot.started_at),
        "CompletionTime": instant(completed) if completed is not None else None,
        "Progress": snapshot.progress(now),
        "OwnerId": region.account,
        "Description": snapshot.description,
        "Encrypted": snapshot.encrypted,
        "KmsKeyId": snapshot.kms_key_id,
        "StorageTier": "standard",
        "Tags": tags.to_response(region.tags.seen(snapshot.snapshot_id, now)),
    }


def _filters(region: Region, now: float) -> dict[str, Extractor[Snapshot]]:
    """Return the filters of DescribeSnapshots."""
    return {
        "snapshot-id": lambda snapshot: [snapshot.snapshot_id],
        "volume-id": lambda snapshot: [snapshot.volume_id],
        "volume-size": lambda snapshot: [str(snapshot.volume_size)],
        "status": lambda snapshot: [snapshot.state.value],
        "description": lambda snapshot: [snapshot.description],
        "progress": lambda snapshot: [snapshot.progress(now)],
        "owner-id": lambda _: [region.account],
        "encrypted": lambda snapshot: ["true" if snapshot.encrypted else "false"],
        "storage-tier": lambda _: ["standard"],
    }


ACTIONS: dict[str, Operation] = {
    "CreateSnapshot": create_snapshot,
    "DescribeSnapshots": describe_snapshots,
}
