"""CreateImage: an image of an instance."""

from collections.abc import Mapping
from typing import Any

from sandbox.ec2.call import Call
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.image_requests import check_kinds, check_name_is_free, check_words
from sandbox.ec2.imaging import begin, check_pending
from sandbox.ec2.launching import tags_for
from sandbox.ec2.model import Attachment, Image, ImageSource, ImageVolume, Instance, InstanceState
from sandbox.ec2.region import Operation, Region

_IMAGEABLE = frozenset({InstanceState.RUNNING, InstanceState.STOPPING, InstanceState.STOPPED})


def create_image(region: Region, call: Call) -> dict[str, Any]:
    """Begin to make an image of an instance; the answer comes before any snapshot exists."""
    params = call.params
    name, description = params.get("Name", ""), params.get("Description", "")
    check_words(name, description)
    instance = region.instance(params.get("InstanceId", ""), call.at)
    specifications = params.get("TagSpecifications") or []
    check_kinds(specifications)
    image_tags, snapshot_tags = (tags_for(kind, specifications) for kind in ("image", "snapshot"))
    if instance.state not in _IMAGEABLE:
        message = f"Invalid value '{instance.instance_id}' for instanceId. Instance is not in "
        message += "state 'running' or 'stopping' or 'stopped'"
        raise Ec2Error("InvalidParameterValue", message)
    check_name_is_free(region, name, call.at)
    volumes, excluded = _volumes(region, instance, params.get("BlockDeviceMappings") or [])
    for volume in volumes:
        check_pending(region, region.volume(volume.volume_id))
    image = Image(
        image_id=region.new_id("ami"),
        name=name,
        description=description,
        source_instance_id=instance.instance_id,
        origin_instance_id=instance.instance_id,
        created_at=call.at,
        visible_at=region.visible_at(call.at),
        available_at=call.at + instance.draw("image_seconds"),
        no_reboot=bool(params.get("NoReboot", False)),
        volumes=volumes,
        excluded_volumes=excluded,
        root_device_name=instance.facts["RootDeviceName"],
        architecture=instance.facts["Architecture"],
        platform_details=instance.facts["PlatformDetails"],
        snapshot_tags=snapshot_tags,
        source_image=ImageSource(region.name, instance.facts["ImageId"]),
    )
    region.add_image(image)
    region.tags.create(image.image_id, image_tags)
    instance.record("image_requested", call.at, call.principal, image_id=image.image_id)
    begin(region, image, instance, call)
    if instance.down:
        instance.down.image_ids.append(image.image_id)
    return {"ImageId": image.image_id}


def volume_to_capture(region: Region, attachment: Attachment) -> ImageVolume:
    """Return an attached volume as an image has it whose call changes nothing about it."""
    volume = region.volume(attachment.volume_id)
    return ImageVolume(
        device=attachment.device,
        volume_id=volume.volume_id,
        size=volume.size,
        volume_type=volume.volume_type,
        encrypted=volume.encrypted,
        delete_on_termination=attachment.delete_on_termination,
    )


def _volumes(
    region: Region, instance: Instance, requested: list[Mapping[str, Any]]
) -> tuple[list[ImageVolume], list[str]]:
    """Return what is to be captured, the root first, and the ids of the excluded volumes."""
    changes = {entry.get("DeviceName"): entry for entry in requested}
    volumes, excluded = [], []
    root = instance.facts["RootDeviceName"]
    for attachment in sorted(
        instance.attachments, key=lambda one: (one.device != root, one.device)
    ):
        change = changes.pop(attachment.device, {})
        if "NoDevice" in change:
            excluded.append(attachment.volume_id)
            continue
        captured = volume_to_capture(region, attachment)
        ebs = change.get("Ebs") or {}
        if "DeleteOnTermination" in ebs:
            captured.delete_on_termination = bool(ebs["DeleteOnTermination"])
        volumes.append(captured)
    if changes:
        message = f"The device '{min(map(str, changes))}' is not attached to the instance."
        raise Ec2Error("InvalidBlockDeviceMapping", message)
    return volumes, excluded


ACTIONS: dict[str, Operation] = {"CreateImage": create_image}
