"""AMIs and their snapshots: finding ours, and removing them."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import batched
from typing import Any

from botocore.exceptions import ClientError

from stillpoint.aws.client import client, error_code, translated
from stillpoint.aws.ec2 import tags_of
from stillpoint.image import Image
from stillpoint.ownership import has_our_name
from stillpoint.recovery_point import Snapshot
from stillpoint.tags import Tag, iso

_FILTER_VALUES = 200
_PAGE = 1000
_GONE = frozenset({"InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"})


def images_of(execution: str) -> dict[str, Image]:
    """Return the images that an execution made, by the id of the instance."""
    found = find_images([tagged(Tag.EXECUTION, [execution])])
    return {image.tags.get(Tag.INSTANCE, ""): image for image in found}


def images_for(instance_id: str, occurrence: datetime) -> list[Image]:
    """Return the images of an instance for an occurrence, of whichever attempt."""
    return list(find_images(_of_occurrence(instance_id, occurrence)))


def find_images(filters: Iterable[dict[str, Any]], *, region: str | None = None) -> Iterator[Image]:
    """Return the images that match, disabled ones too, and that have a name of ours.

    An owner's own copy of one of them, with all its tags, has another name (see `ownership`).
    """
    with translated(f"reading the images{_in(region)}"):
        pages = client("ec2", region).get_paginator("describe_images")
        for page in pages.paginate(
            Owners=["self"],
            Filters=list(filters),
            IncludeDisabled=True,
            PaginationConfig={"PageSize": _PAGE},
        ):
            for row in page["Images"]:
                image = _image(row)
                if has_our_name(image.name, image.tags):
                    yield image


def snapshots_of(execution: str) -> dict[str, list[Snapshot]]:
    """Return the snapshots that an execution made, by the id of the instance."""
    return _by_tag(find_snapshots([tagged(Tag.EXECUTION, [execution])]), Tag.INSTANCE)


def snapshots_for(instance_id: str, occurrence: datetime) -> dict[str, list[Snapshot]]:
    """Return the snapshots of an instance for an occurrence, by the name of the execution."""
    return _by_tag(find_snapshots(_of_occurrence(instance_id, occurrence)), Tag.EXECUTION)


def find_snapshots(
    filters: Iterable[dict[str, Any]], *, region: str | None = None
) -> Iterator[Snapshot]:
    """Return the snapshots of this account that match."""
    with translated(f"reading the snapshots{_in(region)}"):
        pages = client("ec2", region).get_paginator("describe_snapshots")
        for page in pages.paginate(
            OwnerIds=["self"], Filters=list(filters), PaginationConfig={"PageSize": _PAGE}
        ):
            for row in page["Snapshots"]:
                yield Snapshot(
                    snapshot_id=row["SnapshotId"],
                    volume_id=row["VolumeId"],
                    state=row["State"],
                    started_at=row["StartTime"],
                    completed_at=row.get("CompletionTime"),
                    state_message=row.get("StateMessage", ""),
                    kms_key_arn=row.get("KmsKeyId") if row.get("Encrypted") else None,
                    description=row.get("Description", ""),
                    tags=tags_of(row),
                )


def snapshots_in_use(snapshot_ids: Collection[str], *, region: str | None = None) -> frozenset[str]:
    """Return which of the snapshots any image of this account uses, whoever made it."""
    used: set[str] = set()
    with translated(f"reading the uses of snapshots{_in(region)}"):
        pages = client("ec2", region).get_paginator("describe_images")
        for some in in_batches(sorted(snapshot_ids)):
            by_id = [{"Name": "block-device-mapping.snapshot-id", "Values": list(some)}]
            for page in pages.paginate(
                Owners=["self"],
                Filters=by_id,
                IncludeDisabled=True,
                PaginationConfig={"PageSize": _PAGE},
            ):
                for row in page["Images"]:
                    used.update(_image(row).snapshot_ids)
    return frozenset(used.intersection(snapshot_ids))


def tagged(tag: Tag, values: Collection[str]) -> dict[str, Any]:
    """Return the filter for what has one of these values of a tag, at most 200."""
    return {"Name": f"tag:{tag}", "Values": list(values)}


def deregister(image_id: str, *, region: str | None = None) -> dict[str, str]:
    """Deregister an image, and return what became of each of its snapshots, by id.

    An image that is gone already is as wanted. The call succeeds whatever becomes of a snapshot:
    `success` means that it was deleted, `skipped` that another image uses it, and
    `missing-permissions`, `internal-error` or `client-error` that it stays (EC2 API Reference,
    DeregisterImage, DeleteSnapshotResults).
    """
    with translated(f"deregistering {image_id}{_in(region)}"):
        try:
            answer = client("ec2", region).deregister_image(
                ImageId=image_id, DeleteAssociatedSnapshots=True
            )
        except ClientError as error:
            if error_code(error) not in _GONE:
                raise
            return {}
    return {
        result["SnapshotId"]: result.get("ReturnCode", "")
        for result in answer.get("DeleteSnapshotResults", ())
    }


def delete_snapshot(snapshot_id: str, *, region: str | None = None) -> None:
    """Delete a snapshot; one that is gone already is as wanted."""
    with translated(f"deleting {snapshot_id}{_in(region)}"):
        try:
            client("ec2", region).delete_snapshot(SnapshotId=snapshot_id)
        except ClientError as error:
            if error_code(error) != "InvalidSnapshot.NotFound":
                raise


def in_batches(values: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Return the values in as many as one filter takes (EC2 API Reference, DescribeImages)."""
    return batched(values, _FILTER_VALUES, strict=False)


def _image(row: Mapping[str, Any]) -> Image:
    mapped = [
        mapping["Ebs"] for mapping in row.get("BlockDeviceMappings", ()) if mapping.get("Ebs")
    ]
    created = row.get("CreationDate")
    return Image(
        image_id=row["ImageId"],
        name=row.get("Name", ""),
        state=row["State"],
        state_reason=row.get("StateReason", {}).get("Message", ""),
        tags=tags_of(row),
        volumes=len(mapped),
        # In a pending image some may be missing.
        snapshot_ids=tuple(ebs["SnapshotId"] for ebs in mapped if ebs.get("SnapshotId")),
        protection=row.get("DeregistrationProtection", ""),
        created_at=datetime.fromisoformat(created) if created else None,
    )


def _by_tag(snapshots: Iterable[Snapshot], tag: Tag) -> dict[str, list[Snapshot]]:
    found: dict[str, list[Snapshot]] = {}
    for snapshot in snapshots:
        found.setdefault(snapshot.tags.get(tag, ""), []).append(snapshot)
    return found


def _of_occurrence(instance_id: str, occurrence: datetime) -> list[dict[str, Any]]:
    return [tagged(Tag.INSTANCE, [instance_id]), tagged(Tag.OCCURRENCE, [iso(occurrence)])]


def _in(region: str | None) -> str:
    return f" in {region}" if region else ""
