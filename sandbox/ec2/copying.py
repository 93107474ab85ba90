"""CopyImage: an image in this Region that is made of one in another, or in this one.

The call is made in the destination Region and answers at once with a pending image. Its snapshots
exist from the beginning, with the arbitrary VolumeId `vol-ffffffff` (EBS User Guide, "Copy an
Amazon EBS snapshot"); they complete before the image becomes available. The KMS key is looked at
later: with a bad one the call "can appear to complete even though you provided an invalid
identifier" and fails in the end (EC2 API Reference, CopyImage, KmsKeyId).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sandbox.ec2.call import Call
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.faults import FaultName
from sandbox.ec2.image_requests import check_kinds, check_name_is_free, check_words, require
from sandbox.ec2.imaging import complete, fail, finish
from sandbox.ec2.launching import tags_for
from sandbox.ec2.model import (
    Image,
    ImageSource,
    ImageState,
    ImageVolume,
    Snapshot,
    SnapshotState,
    StateReason,
)
from sandbox.ec2.region import Operation, Region
from sandbox.ec2.tags import RESERVED, check_count

ANY_VOLUME = "vol-ffffffff"
# EC2 User Guide, "How Amazon EC2 AMI copy works": a destination Region is limited to 300
# concurrent AMI copies.
MAX_CONCURRENT = 300
# How long it takes until a key turns out to be unusable.
KEY_CHECK_SECONDS = 30.0
KEY_MESSAGE = "Given key ID is not accessible"
BAD_KEY = StateReason("Client.InternalError", f"Client.InternalError: {KEY_MESSAGE}")
SOURCE_GONE = StateReason(
    "Client.InternalError", "Client.InternalError: The source of the copy is no longer available"
)
COPY_FAILURE = StateReason("Server.InternalError", "Server.InternalError: Internal error")


@dataclass(frozen=True, slots=True)
class _Encryption:
    """What a request says of encryption: whether to encrypt, and with which key."""

    wanted: bool
    key: str | None


def copy_image(region: Region, call: Call) -> dict[str, Any]:
    """Begin to copy an image; the same ClientToken copies only once.

    EC2 API Reference, "Ensuring idempotency in Amazon EC2 API requests": a token that comes again
    with other parameters is refused with IdempotentParameterMismatch.
    """
    request = {key: value for key, value in call.params.items() if key not in _NOT_THE_REQUEST}
    token = call.params.get("ClientToken")
    if token and token in region.copies:
        earlier, image_id = region.copies[token]
        if earlier != request:
            message = "The client token was used with other parameters before."
            raise Ec2Error("IdempotentParameterMismatch", message)
        return {"ImageId": image_id}
    place, source = _source(region, call)
    specifications = call.params.get("TagSpecifications") or []
    check_words(call.params["Name"], call.params.get("Description", ""))
    check_kinds(specifications)
    image_tags, snapshot_tags = (tags_for(kind, specifications) for kind in ("image", "snapshot"))
    if call.params.get("CopyImageTags", False):
        image_tags = _own_tags(place.tags.current(source.image_id)) | image_tags
        check_count(image_tags)
    encryption = _encryption(call.params)
    check_name_is_free(region, call.params["Name"], call.at)
    _check_limit(region)
    image = _new_image(region, place, source, call)
    for volume in source.volumes:
        snapshot = _new_snapshot(region, place, image, volume, encryption)
        image.volumes.append(_new_volume(volume, snapshot))
        region.tags.create(snapshot.snapshot_id, snapshot_tags)
    region.add_image(image)
    region.tags.create(image.image_id, image_tags)
    region.pending_copies.add(image.image_id)
    _let_it_run(region, image, call)
    if token:
        region.copies[token] = request, image.image_id
    return {"ImageId": image.image_id}


_NOT_THE_REQUEST = frozenset({"ClientToken", "DryRun"})


def fail_copies_of(region: Region, source: Image, now: float) -> None:
    """Fail what is being copied from an image that has just been deregistered, in any Region."""
    gone = ImageSource(region.name, source.image_id)
    for place in (each for each in region.places.values() if each.account == region.account):
        for image_id in _pending(place):
            image = place.images[image_id]
            if image.copied_from == gone:
                _fail(place, image, SOURCE_GONE, SOURCE_GONE.message, now)


def _source(region: Region, call: Call) -> tuple[Region, Image]:
    """Return the image to copy and its Region; raise InvalidAMIID.* if it cannot be copied."""
    image_id, name, _ = require(call.params, "SourceImageId", "SourceRegion", "Name")
    place = region.places.get((region.account, name))
    if place is None:
        message = f"The image id '[{image_id}]' does not exist"
        raise Ec2Error("InvalidAMIID.NotFound", message)
    return place, place.available_image(image_id, call.at)


def _own_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that CopyImageTags copies: all but those of AWS itself."""
    return {key: value for key, value in tags.items() if not key.startswith(RESERVED)}


def _encryption(params: Mapping[str, Any]) -> _Encryption:
    """Return what a request says of encryption; raise Ec2Error for a key without it."""
    wanted, key = bool(params.get("Encrypted", False)), params.get("KmsKeyId")
    if key and not wanted:
        message = "The parameter KmsKeyId requires the parameter Encrypted to be set."
        raise Ec2Error("InvalidParameterDependency", message)
    return _Encryption(wanted, key)


def _pending(region: Region) -> list[str]:
    """Return the ids of the copies in progress, and forget those that have ended."""
    region.pending_copies = {
        image_id
        for image_id in region.pending_copies
        if image_id in region.images and region.images[image_id].state is ImageState.PENDING
    }
    return sorted(region.pending_copies)


def _check_limit(region: Region) -> None:
    """Raise ResourceLimitExceeded if as many copies are in progress as may be."""
    if len(_pending(region)) >= MAX_CONCURRENT:
        message = f"Too many AMI copies in progress. The limit is {MAX_CONCURRENT} in a "
        raise Ec2Error("ResourceLimitExceeded", message + "destination Region.")


def _new_image(region: Region, place: Region, source: Image, call: Call) -> Image:
    """Return a pending copy that has no volumes yet."""
    origin = ImageSource(place.name, source.image_id)
    return Image(
        image_id=region.new_id("ami"),
        name=call.params["Name"],
        description=call.params.get("Description", ""),
        source_instance_id="",
        origin_instance_id=source.origin_instance_id,
        created_at=call.at,
        visible_at=region.visible_at(call.at),
        available_at=call.at + _draw(region, source, "copy_seconds"),
        no_reboot=source.no_reboot,
        volumes=[],
        excluded_volumes=list(source.excluded_volumes),
        root_device_name=source.root_device_name,
        architecture=source.architecture,
        platform_details=source.platform_details,
        snapshot_tags={},
        source_image=origin,
        copied_from=origin,
    )


def _new_snapshot(
    region: Region, place: Region, image: Image, volume: ImageVolume, encryption: _Encryption
) -> Snapshot:
    """Store the pending copy of one snapshot: it misses what its source misses."""
    source = place.snapshots[volume.snapshot_id or ""]
    encrypted = source.encrypted or encryption.wanted
    share = _draw(region, image, "snapshot_share")
    snapshot = Snapshot(
        snapshot_id=region.new_id("snap"),
        volume_id=ANY_VOLUME,
        volume_size=source.volume_size,
        encrypted=encrypted,
        kms_key_id=_key(region, place, source, encryption) if encrypted else None,
        description=(
            f"Copied for DestinationAmi {image.image_id} from SourceAmi "
            f"{image.copied_from.image_id if image.copied_from else ''} for SourceSnapshot "
            f"{source.snapshot_id}. Task created on {int(image.created_at * 1000):,}."
        ),
        started_at=image.created_at,
        visible_at=image.visible_at,
        completes_at=image.created_at + share * (image.available_at - image.created_at),
        dirty_bytes=source.dirty_bytes,
        at_rest=source.at_rest,
        image_id=image.image_id,
        copy_of=source.snapshot_id,
    )
    region.add_snapshot(snapshot)
    return snapshot


def _draw(region: Region, image: Image, quantity: str) -> float:
    """Draw a figure of a copy: by the physics of the instance whose data it holds, if there is one.

    Then a run repeats itself whatever the order in which the images of a fleet are copied.
    """
    if origin := region.origin(image.origin_instance_id):
        return origin.draw(quantity)
    return region.dice.draw(quantity, getattr(region.physics, quantity))


def _key(region: Region, place: Region, source: Snapshot, encryption: _Encryption) -> str:
    """Return the key of a copied snapshot.

    EC2 User Guide, "How Amazon EC2 AMI copy works": without a key in the request a copy in
    another Region is encrypted with the default key there.
    """
    if encryption.key:
        return region.keys.find(encryption.key) or encryption.key
    same_region = place.name == region.name and not encryption.wanted
    return (source.kms_key_id if same_region else None) or region.keys.default


def _new_volume(source: ImageVolume, snapshot: Snapshot) -> ImageVolume:
    """Return a volume of the copy."""
    return ImageVolume(
        device=source.device,
        volume_id=ANY_VOLUME,
        size=source.size,
        volume_type=source.volume_type,
        encrypted=snapshot.encrypted,
        delete_on_termination=source.delete_on_termination,
        snapshot_id=snapshot.snapshot_id,
    )


def _let_it_run(region: Region, image: Image, call: Call) -> None:
    """Put what becomes of a copy on the agenda: its end, or its failure before that."""
    key = call.params.get("KmsKeyId")
    if key and region.keys.find(key) is None:
        bad = partial(_fail, region, image, BAD_KEY, KEY_MESSAGE)
        region.agenda.at(call.at + KEY_CHECK_SECONDS, bad)
        return
    if region.fault(FaultName.COPY_STUCK, call, image.origin_instance_id):
        return
    if fault := region.fault(FaultName.COPY_FAILED, call, image.origin_instance_id):
        broken = partial(_fail, region, image, COPY_FAILURE, "An internal error occurred")
        region.agenda.at(call.at + fault.delay_seconds, broken)
    for volume in image.volumes:
        snapshot = region.snapshots[volume.snapshot_id or ""]
        region.agenda.at(snapshot.completes_at, partial(complete, snapshot))
    region.agenda.at(image.available_at, partial(finish, region, image))


def _fail(region: Region, image: Image, reason: StateReason, message: str, now: float) -> None:
    """Fail a pending copy; its snapshots that are not complete stay behind in error."""
    if image.state is not ImageState.PENDING:
        return
    for volume in image.volumes:
        snapshot = region.snapshots.get(volume.snapshot_id or "")
        if snapshot and snapshot.state is SnapshotState.PENDING:
            snapshot.state, snapshot.state_message = SnapshotState.ERROR, message
    fail(image, reason, now)


ACTIONS: dict[str, Operation] = {"CopyImage": copy_image}
