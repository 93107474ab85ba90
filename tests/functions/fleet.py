"""Instances, volumes, images and snapshots to act on, made in moto by calls and by hand."""

from collections.abc import Mapping
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from moto.ec2.models import ec2_backends

from stillpoint.aws.client import client
from stillpoint.recovery_point import creation_tags, image_name
from stillpoint.schedule import fingerprint
from stillpoint.tags import Cursor, Tag
from tests.functions.stack import ACCOUNT, REGION
from tests.unit.builders import at, schedules

OCCURRENCE = at("2026-11-22 03:00")
SOME_IMAGE = "ami-12345678"


def backend() -> Any:  # noqa: ANN401 (moto's models have no types to speak of)
    """Return moto's own state of EC2, for what no call can change."""
    return ec2_backends[ACCOUNT][REGION]


def launch(
    count: int = 1,
    *,
    schedule: str | None = "daily 03:00",
    seen: str | None = "2026-11-21 03:00",
    name: str = "",
    instance_type: str = "m5.large",
    tags: Mapping[str, str] | None = None,
    **owner: str,
) -> list[str]:
    """Launch instances whose schedule has been handled up to `seen`, and return their ids.

    Further keywords are Stillpoint's own tags, so `group="erp"` is `stillpoint:group`.
    """
    found = {"Name": name} if name else {}
    if schedule is not None:
        found[Tag.SCHEDULE] = schedule
        if seen is not None:
            found[Tag.LAST] = cursor(schedule, seen)
    found |= {f"stillpoint:{key.replace('_', '-')}": value for key, value in owner.items()}
    answer = client("ec2").run_instances(
        ImageId=SOME_IMAGE,
        MinCount=count,
        MaxCount=count,
        InstanceType=instance_type,
    )
    instance_ids = [row["InstanceId"] for row in answer["Instances"]]
    tag(instance_ids, found | dict(tags or {}))
    return instance_ids


def launch_one(**facts: Any) -> str:  # noqa: ANN401 (those of `launch`)
    """Launch one instance and return its id."""
    (instance_id,) = launch(1, **facts)
    return instance_id


def cursor(schedule: str, seen: str) -> str:
    """Return the cursor tag of a schedule that has been handled up to an instant."""
    return Cursor(at(seen), fingerprint(schedules(schedule))).render()


def tag(resource_ids: list[str], tags: Mapping[str, str]) -> None:
    """Put tags on resources; by hand, because AWS lets nobody write `aws:` ones."""
    backend().create_tags(resource_ids, dict(tags))


def tags_of(resource_id: str) -> dict[str, str]:
    """Return the tags of any resource."""
    rows = client("ec2").describe_tags(Filters=[{"Name": "resource-id", "Values": [resource_id]}])[
        "Tags"
    ]
    return {row["Key"]: row["Value"] for row in rows}


def own_tags_of(resource_id: str) -> dict[str, str]:
    """Return what Stillpoint has written on an instance, without the prefix."""
    written = {Tag.CYCLE, Tag.LAST, Tag.PROBLEM, Tag.RECOVERY_POINT}
    tags = tags_of(resource_id)
    return {key.removeprefix("stillpoint:"): tags[key] for key in written if key in tags}


def fill_tags(resource_id: str, count: int = 50) -> None:
    """Give a resource so many tags that there is no room for another."""
    missing = count - len(tags_of(resource_id))
    tag([resource_id], {f"owner-{number:02}": "x" for number in range(missing)})


def stop(instance_id: str) -> None:
    """Stop an instance by hand."""
    client("ec2").stop_instances(InstanceIds=[instance_id])


def terminate(instance_id: str) -> None:
    """Terminate an instance."""
    client("ec2").terminate_instances(InstanceIds=[instance_id])


def attach_volume(instance_id: str, *, kms_key_id: str | None = None) -> str:
    """Attach one more volume, encrypted if a key is given, and return its id."""
    ec2 = client("ec2")
    letters = "fghijk"
    used = len(volumes_of(instance_id)) - 1
    encryption: dict[str, Any] = {"Encrypted": True, "KmsKeyId": kms_key_id} if kms_key_id else {}
    volume: str = ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=8, **encryption)["VolumeId"]
    ec2.attach_volume(VolumeId=volume, InstanceId=instance_id, Device=f"/dev/sd{letters[used]}")
    return volume


def volumes_of(instance_id: str) -> list[str]:
    """Return the ids of the volumes that are attached to an instance."""
    (reservation,) = client("ec2").describe_instances(InstanceIds=[instance_id])["Reservations"]
    mappings = reservation["Instances"][0]["BlockDeviceMappings"]
    return [mapping["Ebs"]["VolumeId"] for mapping in mappings]


def set_launch_time(instance_id: str, moment: datetime) -> None:
    """Say when an instance was last started."""
    backend().get_instance(instance_id).launch_time = moment


def capture(
    instance_id: str,
    *,
    execution: str,
    initiated_at: datetime,
    state: str = "available",
) -> tuple[str, list[str]]:
    """Make what CreateImage makes: a tagged AMI, and a tagged snapshot of every volume.

    Return their ids. moto refuses snapshot tags in CreateImage and snapshots only a volume of
    its own, so the snapshots are made one by one.
    """
    ec2 = client("ec2")
    born = creation_tags(
        stack="stillpoint", instance_id=instance_id, execution=execution, occurrence=OCCURRENCE
    )
    image_id = ec2.create_image(InstanceId=instance_id, Name=image_name(instance_id, OCCURRENCE))[
        "ImageId"
    ]
    set_image_state(image_id, state)
    snapshot_ids = []
    for volume_id in volumes_of(instance_id):
        snapshot_id = ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]
        snapshot_ids.append(snapshot_id)
        backend().snapshots[snapshot_id].start_time = initiated_at
    tag([image_id, *snapshot_ids], born)
    return image_id, snapshot_ids


def set_image_state(image_id: str, state: str, reason: str = "") -> None:
    """Put an image into a state that moto does not bring it into."""
    image = backend().amis[image_id]
    image.state = state
    image.state_reason = {"Code": "Server.InternalError", "Message": reason} if reason else None


def set_state(instance_id: str, state: str, *, reason: str = "") -> None:
    """Put an instance into a state, with EC2's reason for it."""
    instance = backend().get_instance(instance_id)
    instance._state.name = state
    instance.state_reason.message = reason


def change(instance_id: str, **facts: object) -> None:
    """Change what EC2 says about an instance, by moto's names; `placement` is a dictionary."""
    instance = backend().get_instance(instance_id)
    for name, value in facts.items():
        if name == "placement" and isinstance(value, Mapping):
            vars(instance.placement).update(value)
        else:
            setattr(instance, name, value)


def snapshot(volume_id: str, *, state: str, started_at: datetime) -> str:
    """Make a snapshot that somebody else makes of a volume, and return its id."""
    snapshot_id: str = client("ec2").create_snapshot(VolumeId=volume_id)["SnapshotId"]
    made = backend().snapshots[snapshot_id]
    made.status, made.start_time = state, started_at
    return snapshot_id


def lend_public_ip(instance_id: str) -> None:
    """Let the instance's public address be one of Amazon's, as it is unless it is an Elastic IP."""
    nic = backend().get_instance(instance_id).nics[0]
    amazon = SimpleNamespace(account_id="amazon", address_by_ip=nic.ec2_backend.address_by_ip)
    nic.ec2_backend = amazon
