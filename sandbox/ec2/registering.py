"""RegisterImage: an owner's own image of snapshots that are there already."""

from typing import Any

from sandbox.ec2.call import Call
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.image_requests import check_kinds, check_name_is_free, check_words
from sandbox.ec2.launching import ROOT_DEVICE, tags_for
from sandbox.ec2.model import Image, ImageState, ImageVolume, Snapshot, SnapshotState
from sandbox.ec2.region import Operation, Region


def register_image(region: Region, call: Call) -> dict[str, Any]:
    """Register an image, available at once, of completed snapshots that other images may use too.

    EC2 API Reference, RegisterImage: its snapshots are named in the block device mapping.
    """
    params = call.params
    check_words(params.get("Name", ""), params.get("Description", ""))
    specifications = params.get("TagSpecifications") or []
    check_kinds(specifications)
    check_name_is_free(region, params["Name"], call.at)
    mappings = [each for each in params.get("BlockDeviceMappings") or [] if each.get("Ebs")]
    found = [region.snapshot(each["Ebs"].get("SnapshotId", ""), call.at) for each in mappings]
    if not found or any(one.state is not SnapshotState.COMPLETED for one in found):
        message = "An image needs a root snapshot, and all of its snapshots completed."
        raise Ec2Error("InvalidBlockDeviceMapping", message)
    made_of = region.any_image(found[0].image_id or "")
    image = Image(
        image_id=region.new_id("ami"),
        name=params["Name"],
        description=params.get("Description", ""),
        source_instance_id="",
        origin_instance_id=made_of.origin_instance_id if made_of else "",
        created_at=call.at,
        visible_at=region.visible_at(call.at),
        available_at=call.at,
        no_reboot=True,
        volumes=[
            _volume(each["DeviceName"], snapshot)
            for each, snapshot in zip(mappings, found, strict=True)
        ],
        excluded_volumes=[],
        root_device_name=params.get("RootDeviceName") or ROOT_DEVICE,
        architecture=params.get("Architecture") or "x86_64",
        platform_details="Linux/UNIX",
        snapshot_tags={},
        state=ImageState.AVAILABLE,
    )
    region.add_image(image)
    region.tags.create(image.image_id, tags_for("image", specifications))
    return {"ImageId": image.image_id}


def _volume(device: str, snapshot: Snapshot) -> ImageVolume:
    """Return a volume of an image that is made of a snapshot."""
    return ImageVolume(
        device=device,
        volume_id=snapshot.volume_id,
        size=snapshot.volume_size,
        volume_type="gp2",
        encrypted=snapshot.encrypted,
        delete_on_termination=True,
        snapshot_id=snapshot.snapshot_id,
    )


ACTIONS: dict[str, Operation] = {"RegisterImage": register_image}
