"""An AMI of ours, as far as a backup needs to know it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Image:
    """What DescribeImages says about one image.

    `state` is EC2's name: pending, available, failed, ... `volumes` is the number of EBS volumes
    that it maps, `snapshot_ids` are those of their snapshots that it shows. `protection` is EC2's
    word for its deregistration protection, or empty.
    """

    image_id: str
    name: str
    state: str
    state_reason: str
    tags: Mapping[str, str]
    volumes: int = 0
    snapshot_ids: tuple[str, ...] = ()
    protection: str = ""
    created_at: datetime | None = None
