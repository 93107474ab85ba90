"""What keeps an image or a snapshot from being deleted: its users, and locks."""

from collections.abc import Collection, Iterator
from datetime import datetime
from itertools import batched
from typing import Any

from stillpoint.aws.client import client, translated
from stillpoint.tags import iso

_IMAGES = 10
"""Images that one call may name (EC2 API Reference, DescribeImageReferences)."""
_SNAPSHOTS = 200
_WHERE: list[dict[str, Any]] = [
    {
        "ResourceType": "ec2:Instance",
        "ResourceTypeOptions": [
            {
                "OptionName": "state-name",  # all but terminated
                "OptionValues": ["pending", "running", "stopping", "stopped", "shutting-down"],
            }
        ],
    },
    {
        "ResourceType": "ec2:LaunchTemplate",
        # All versions: an Auto Scaling group may use an old one. Only ten are the default.
        "ResourceTypeOptions": [{"OptionName": "version-depth", "OptionValues": ["10000"]}],
    },
]


def users_of_images(image_ids: Collection[str], region: str) -> dict[str, str]:
    """Return which of the images are in use, and by what, in words.

    Instances, launch templates in all versions, and so the Auto Scaling groups that launch from
    them; launch configurations and overrides of Auto Scaling groups, which
    DescribeImageReferences does not know.
    """
    if not image_ids:
        return {}
    users: dict[str, list[str]] = {}
    for image_id, user in (*_references(image_ids, region), *_auto_scaling(region)):
        if image_id in image_ids:
            users.setdefault(image_id, []).append(user)
    return {
        image_id: f"it is in use by {names[0]}" + (f" and {len(names) - 1} more") * (len(names) > 1)
        for image_id, names in users.items()
    }


def locked_snapshots(
    snapshot_ids: Collection[str], region: str, now: datetime
) -> dict[str, datetime]:
    """Return which of the snapshots are locked now, and until when."""
    found = {}
    with translated(f"reading the snapshot locks in {region}"):
        for some in batched(snapshot_ids, _SNAPSHOTS, strict=False):
            token: dict[str, str] = {}
            while True:
                answer = client("ec2", region).describe_locked_snapshots(
                    SnapshotIds=list(some), **token
                )
                for row in answer.get("Snapshots", ()):
                    until = row.get("LockExpiresOn")
                    # Of one that is pending the time has not begun to run.
                    if row.get("LockState") != "expired" and (until is None or until > now):
                        found[row["SnapshotId"]] = until or datetime.max.replace(tzinfo=now.tzinfo)
                if not answer.get("NextToken"):
                    break
                token = {"NextToken": answer["NextToken"]}
    return found


def lock_reason(snapshot_id: str, until: datetime) -> str:
    """Return why a locked snapshot keeps what it belongs to, in words."""
    return f"its snapshot {snapshot_id} is locked until {iso(until)}"


def images_in_recycle_bin(region: str) -> frozenset[str]:
    """Return the names of the images that lie in the Recycle Bin."""
    with translated(f"reading the Recycle Bin in {region}"):
        pages = client("ec2", region).get_paginator("list_images_in_recycle_bin")
        return frozenset(
            row.get("Name", "") for page in pages.paginate() for row in page.get("Images", ())
        )


def _references(image_ids: Collection[str], region: str) -> Iterator[tuple[str, str]]:
    with translated(f"reading the uses of images in {region}"):
        pages = client("ec2", region).get_paginator("describe_image_references")
        for some in batched(sorted(image_ids), _IMAGES, strict=False):
            for page in pages.paginate(ImageIds=list(some), ResourceTypes=_WHERE):
                for row in page.get("ImageReferences", ()):
                    yield row["ImageId"], row.get("Arn", row.get("ResourceType", ""))


def _auto_scaling(region: str) -> Iterator[tuple[str, str]]:
    with translated(f"reading the Auto Scaling groups in {region}"):
        service = client("autoscaling", region)
        for page in service.get_paginator("describe_launch_configurations").paginate():
            for row in page["LaunchConfigurations"]:
                name = row["LaunchConfigurationName"]
                yield row.get("ImageId", ""), f"the launch configuration {name}"
        for page in service.get_paginator("describe_auto_scaling_groups").paginate():
            for row in page["AutoScalingGroups"]:
                template = row.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {})
                for override in template.get("Overrides", ()):
                    group = row["AutoScalingGroupName"]
                    yield override.get("ImageId", ""), f"the Auto Scaling group {group}"
