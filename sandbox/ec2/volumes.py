"""CreateVolume, AttachVolume, DetachVolume, DeleteVolume and DescribeVolumes."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sandbox.ec2 import tags
from sandbox.ec2.call import Call
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.filters import Extractor, candidates, matcher, page
from sandbox.ec2.keys import default_key
from sandbox.ec2.launching import attach, tags_for
from sandbox.ec2.model import Attachment, Volume
from sandbox.ec2.moments import second
from sandbox.ec2.region import Operation, Region

if TYPE_CHECKING:
    from sandbox.ec2.filters import Lookup


def create_volume(region: Region, call: Call) -> dict[str, Any]:
    """Make a volume that is attached to nothing."""
    params = call.params
    key = params.get("KmsKeyId")
    encrypted = bool(params.get("Encrypted", False)) or key is not None
    volume_tags = tags_for("volume", params.get("TagSpecifications") or [])
    volume = Volume(
        volume_id=region.new_id("vol"),
        size=int(params.get("Size", 8)),
        volume_type=params.get("VolumeType", "gp2"),
        created_at=call.at,
        availability_zone=params.get("AvailabilityZone") or f"{region.name}a",
        encrypted=encrypted,
        kms_key_id=(key or default_key(region.account, region.name)) if encrypted else None,
        snapshot_id=params.get("SnapshotId", ""),
        iops=params.get("Iops"),
        throughput=params.get("Throughput"),
        multi_attach=bool(params.get("MultiAttachEnabled", False)),
    )
    region.volumes[volume.volume_id] = volume
    region.tags.create(volume.volume_id, volume_tags)
    return _view(region, volume, call.at)


def attach_volume(region: Region, call: Call) -> dict[str, Any]:
    """Attach a volume to an instance, whose guest begins to write to it if it is up."""
    volume = region.volume(call.params.get("VolumeId", ""))
    instance = region.instance(call.params.get("InstanceId", ""), call.at)
    device = call.params.get("Device", "")
    if volume.attachments and not volume.multi_attach:
        message = f"{volume.volume_id} is already attached to an instance"
        raise Ec2Error("VolumeInUse", message)
    if any(attachment.device == device for attachment in instance.attachments):
        message = f"Invalid value '{device}' for unixDevice. Attachment point {device} is already "
        raise Ec2Error("InvalidParameterValue", message + "in use")
    attach(instance, volume, device, call.at, delete=False)
    return _attachment(volume.attachments[-1])


def detach_volume(region: Region, call: Call) -> dict[str, Any]:
    """Detach a volume from its instance."""
    volume = region.volume(call.params.get("VolumeId", ""))
    wanted = call.params.get("InstanceId")
    for attachment in volume.attachments:
        if wanted in (None, attachment.instance_id):
            volume.attachments.remove(attachment)
            region.instances[attachment.instance_id].attachments.remove(attachment)
            return {**_attachment(attachment), "State": "detached"}
    message = f"Volume '{volume.volume_id}' is in the 'available' state."
    raise Ec2Error("IncorrectState", message)


def delete_volume(region: Region, call: Call) -> dict[str, Any]:
    """Delete a volume that is attached to nothing."""
    volume = region.volume(call.params.get("VolumeId", ""))
    if volume.attachments:
        instance_id = volume.attachments[0].instance_id
        message = f"Volume {volume.volume_id} is currently attached to {instance_id}"
        raise Ec2Error("VolumeInUse", message)
    del region.volumes[volume.volume_id]
    region.tags.forget(volume.volume_id)
    return {}


def _candidates(region: Region, call: Call) -> Iterable[Volume]:
    """Return the volumes that can match a request's filters."""

    def attached(instance_id: str) -> list[str]:
        instance = region.instances.get(instance_id)
        return [one.volume_id for one in instance.attachments] if instance else []

    lookups: dict[str, Lookup] = {
        "volume-id": lambda value: [value],
        "attachment.instance-id": attached,
    }
    filters = call.params.get("Filters")
    return candidates(filters, region.volumes, lookups, region.tags.holders)


def describe_volumes(region: Region, call: Call) -> dict[str, Any]:
    """List volumes by ids or filters, in pages."""
    ids = call.params.get("VolumeIds") or []
    matches = matcher(
        call.params.get("Filters"),
        _FILTERS,
        lambda volume: region.tags.seen(volume.volume_id, call.at),
    )
    named = [region.volume(volume_id) for volume_id in dict.fromkeys(ids)]
    some = named if ids else _candidates(region, call)
    listed = [volume for volume in some if matches(volume)]
    found, token = page(sorted(listed, key=lambda one: one.volume_id), call.params)
    return {"Volumes": [_view(region, one, call.at) for one in found], "NextToken": token}


def _attachment(attachment: Attachment) -> dict[str, Any]:
    """Return an attachment as EC2 shows it."""
    return {
        "VolumeId": attachment.volume_id,
        "InstanceId": attachment.instance_id,
        "Device": attachment.device,
        "State": "attached",
        "AttachTime": second(attachment.attached_at),
        "DeleteOnTermination": attachment.delete_on_termination,
    }


def _view(region: Region, volume: Volume, now: float) -> dict[str, Any]:
    """Return one volume as DescribeVolumes shows it."""
    return {
        "VolumeId": volume.volume_id,
        "Size": volume.size,
        "VolumeType": volume.volume_type,
        "State": _state(volume),
        "CreateTime": second(volume.created_at),
        "AvailabilityZone": volume.availability_zone,
        "SnapshotId": volume.snapshot_id,
        "Encrypted": volume.encrypted,
        "KmsKeyId": volume.kms_key_id,
        "Iops": volume.iops,
        "Throughput": volume.throughput,
        "MultiAttachEnabled": volume.multi_attach,
        "Attachments": [_attachment(attachment) for attachment in volume.attachments],
        "Tags": tags.to_response(region.tags.seen(volume.volume_id, now)),
    }


def _state(volume: Volume) -> str:
    """Return the state of a volume by EC2's name."""
    return "in-use" if volume.attachments else "available"


_FILTERS: dict[str, Extractor[Volume]] = {
    "volume-id": lambda volume: [volume.volume_id],
    "volume-type": lambda volume: [volume.volume_type],
    "status": lambda volume: [_state(volume)],
    "encrypted": lambda volume: ["true" if volume.encrypted else "false"],
    "multi-attach-enabled": lambda volume: ["true" if volume.multi_attach else "false"],
    "availability-zone": lambda volume: [volume.availability_zone],
    "attachment.instance-id": lambda volume: [one.instance_id for one in volume.attachments],
    "attachment.device": lambda volume: [one.device for one in volume.attachments],
}

ACTIONS: dict[str, Operation] = {
    "CreateVolume": create_volume,
    "AttachVolume": attach_volume,
    "DetachVolume": detach_volume,
    "DeleteVolume": delete_volume,
    "DescribeVolumes": describe_volumes,
}
