"""EBS volumes: which are attached to an instance, and what encrypts them."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import batched
from typing import Any

from stillpoint.aws.client import client, translated

_FILTER_VALUES = 200


@dataclass(frozen=True, slots=True)
class Volume:
    """An attached EBS volume. `kms_key_arn` is None if it is not encrypted.

    `volume_type` is such as `gp3`.
    """

    volume_id: str
    instance_ids: tuple[str, ...]
    kms_key_arn: str | None
    volume_type: str = ""


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


def _volume(row: dict[str, Any]) -> Volume:
    return Volume(
        volume_id=row["VolumeId"],
        instance_ids=tuple(attachment["InstanceId"] for attachment in row["Attachments"]),
        kms_key_arn=row.get("KmsKeyId") if row.get("Encrypted") else None,
        volume_type=row.get("VolumeType", ""),
    )
