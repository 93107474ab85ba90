"""AMIs and their snapshots, and the volumes that they come from."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import batched
from typing import Any

from botocore.exceptions import ClientError

from stillpoint.aws.client import client, error_code, translated
from stillpoint.aws.ec2 import tags_of
from stillpoint.errors import AwsRefused
from stillpoint.recovery_point import Snapshot
from stillpoint.tags import Tag, iso

_FILTER_VALUES = 200


@dataclass(frozen=True, slots=True)
class Image:
    """An AMI of ours. `state` is EC2's name: pending, available, failed, ..."""

    image_id: str
    state: str
    state_reason: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Volume:
    """An attached EBS volume. `kms_key_arn` is None if it is not encrypted."""

    volume_id: str
    instance_ids: tuple[str, ...]
    kms_key_arn: str | None


def images_of(execution: str) -> dict[str, Image]:
    """Return the images that an execution made, by the id of the instance."""
    found = _images([_of_execution(execution)])
    return {image.tags.get(Tag.INSTANCE, ""): image for image in found}


def images_for(instance_id: str, occurrence: datetime) -> list[Image]:
    """Return the images of an instance for an occurrence, of whichever attempt."""
    return _images(_of_occurrence(instance_id, occurrence))


def _images(filters: list[dict[str, Any]]) -> list[Image]:
    with translated("reading the images"):
        pages = client("ec2").get_paginator("describe_images")
        rows = [
            row
            for page in pages.paginate(Owners=["self"], Filters=filters, IncludeDisabled=True)
            for row in page["Images"]
        ]
    return [
        Image(
            image_id=row["ImageId"],
            state=row["State"],
            state_reason=row.get("StateReason", {}).get("Message", ""),
            tags=tags_of(row),
        )
        for row in rows
    ]


def snapshots_of(execution: str) -> dict[str, list[Snapshot]]:
    """Return the snapshots that an execution made, by the id of the instance."""
    return _snapshots([_of_execution(execution)], by=Tag.INSTANCE)


def snapshots_for(instance_id: str, occurrence: datetime) -> dict[str, list[Snapshot]]:
    """Return the snapshots of an instance for an occurrence, by the name of the execution."""
    return _snapshots(_of_occurrence(instance_id, occurrence), by=Tag.EXECUTION)


def _snapshots(filters: list[dict[str, Any]], *, by: Tag) -> dict[str, list[Snapshot]]:
    with translated("reading the snapshots"):
        pages = client("ec2").get_paginator("describe_snapshots")
        rows = [
            row
            for page in pages.paginate(OwnerIds=["self"], Filters=filters)
            for row in page["Snapshots"]
        ]
    found: dict[str, list[Snapshot]] = {}
    for row in rows:
        found.setdefault(tags_of(row).get(by, ""), []).append(
            Snapshot(
                snapshot_id=row["SnapshotId"],
                volume_id=row["VolumeId"],
                state=row["State"],
                started_at=row["StartTime"],
                completed_at=row.get("CompletionTime"),
            )
        )
    return found


def volumes_attached_to(instance_ids: Collection[str]) -> list[Volume]:
    """Return the EBS volumes attached to any of the instances."""
    with translated("reading the volumes"):
        pages = client("ec2").get_paginator("describe_volumes")
        return [
            _volume(row)
            for ids in batched(instance_ids, _FILTER_VALUES, strict=False)
            for page in pages.paginate(
                Filters=[{"Name": "attachment.instance-id", "Values": list(ids)}]
            )
            for row in page["Volumes"]
        ]


@dataclass(frozen=True, slots=True)
class Key:
    """A KMS key. `aws_managed` keys may be used through EC2 by every principal of the account."""

    aws_managed: bool
    enabled: bool


def describe_key(kms_key_arn: str) -> Key | None:
    """Return what KMS says of a key, or None if it may not be looked at: it is somebody's own.

    A key that is disabled or about to be deleted does not disturb a running instance, whose
    volumes keep their data keys, but the next start needs it (KMS Developer Guide, "How unusable
    KMS keys affect data keys").
    """
    try:
        with translated(f"reading the key {kms_key_arn}"):
            row = client("kms").describe_key(KeyId=kms_key_arn)["KeyMetadata"]
    except AwsRefused as error:
        cause = error.__cause__
        if isinstance(cause, ClientError) and error_code(cause) in {
            "AccessDeniedException",
            "NotFoundException",
        }:
            return None
        raise
    return Key(row["KeyManager"] == "AWS", row.get("KeyState", "Enabled") == "Enabled")


def deregister(image_id: str) -> frozenset[str]:
    """Deregister an image, and return which of its snapshots were deleted with it.

    An image that is gone already is as wanted. The call succeeds whatever becomes of a snapshot:
    one that another image uses, or that may not be deleted, stays (EC2 API Reference,
    DeregisterImage, DeleteSnapshotResults).
    """
    with translated(f"deregistering {image_id}"):
        try:
            answer = client("ec2").deregister_image(
                ImageId=image_id, DeleteAssociatedSnapshots=True
            )
        except ClientError as error:
            if error_code(error) not in {"InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"}:
                raise
            return frozenset()
    return frozenset(
        result["SnapshotId"]
        for result in answer.get("DeleteSnapshotResults", ())
        if result.get("ReturnCode") == "success"
    )


def delete_snapshot(snapshot_id: str) -> None:
    """Delete a snapshot; one that is gone already is as wanted."""
    with translated(f"deleting {snapshot_id}"):
        try:
            client("ec2").delete_snapshot(SnapshotId=snapshot_id)
        except ClientError as error:
            if error_code(error) != "InvalidSnapshot.NotFound":
                raise


def _volume(row: dict[str, Any]) -> Volume:
    return Volume(
        volume_id=row["VolumeId"],
        instance_ids=tuple(attachment["InstanceId"] for attachment in row["Attachments"]),
        kms_key_arn=row.get("KmsKeyId") if row.get("Encrypted") else None,
    )


def _of_execution(execution: str) -> dict[str, Any]:
    return {"Name": f"tag:{Tag.EXECUTION}", "Values": [execution]}


def _of_occurrence(instance_id: str, occurrence: datetime) -> list[dict[str, Any]]:
    return [
        {"Name": f"tag:{Tag.INSTANCE}", "Values": [instance_id]},
        {"Name": f"tag:{Tag.OCCURRENCE}", "Values": [iso(occurrence)]},
    ]
