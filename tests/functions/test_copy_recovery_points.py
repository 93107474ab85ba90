"""Copying recovery points to other Regions."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from stillpoint.copying import MAX_PENDING_SNAPSHOTS
from stillpoint.errors import CopyIncomplete
from stillpoint.recovery_point import TAG_LIMIT
from stillpoint.tags import Tag
from tests.functions.cloud import Cloud, cloud_at
from tests.functions.samples import sample
from tests.functions.stack import REGION
from tests.unit.builders import at

WEST, CENTRAL = "us-west-2", "eu-central-1"
VARIABLES = {"COPY_REGIONS": f"{WEST},{CENTRAL}"}
TICK = sample("copy_recovery_points")


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with cloud_at(at("2026-11-22 03:00")) as made:
        yield made


def look(
    cloud: Cloud, variables: Mapping[str, str] | None = None, seconds: float = 600
) -> dict[str, Any]:
    """Invoke the function, with both Regions allowed."""
    return cloud.invoke(
        "copy_recovery_points", TICK, VARIABLES | dict(variables or {}), seconds=seconds
    )


def a_point(cloud: Cloud, regions: str = WEST, *, volumes: int = 1, **tags: str) -> str:
    """Return the id of a recovery point that is to be copied."""
    instance_id = cloud.launch(volumes=volumes)
    own: dict[str, str] = {Tag.COPYING: regions, Tag.COPY_TO: regions} | tags
    return cloud.recovery_point(instance_id, tags=own)


def work_of(cloud: Cloud, image_id: str) -> str | None:
    """Return what is still to be copied, as the tag says it."""
    value: str | None = cloud.images()[image_id]["tags"].get(Tag.COPYING)
    return value


def pair(image_id: str, region: str = WEST) -> dict[str, str]:
    return {"image_id": image_id, "region": region}


NOTHING: dict[str, list[str]] = {"started": [], "completed": [], "waiting": [], "failed": []}


def test_with_nothing_to_copy_only_the_work_list_is_read(cloud: Cloud) -> None:
    cloud.recovery_point(cloud.launch())
    assert look(cloud) == NOTHING
    assert cloud.calls == [(REGION, "DescribeImages")]


def test_a_point_is_copied_and_taken_off_the_work_list(cloud: Cloud) -> None:
    image_id = a_point(cloud)
    assert look(cloud) == NOTHING | {"started": [pair(image_id)]}
    cloud.wait(minutes=5)
    assert look(cloud) == NOTHING | {"waiting": [pair(image_id)]}
    cloud.wait(minutes=20)
    assert look(cloud) == NOTHING | {"completed": [pair(image_id)]}
    assert work_of(cloud, image_id) is None
    assert cloud.images()[image_id]["tags"][Tag.COPY_TO] == WEST
    (copy,) = cloud.copies(image_id, WEST).values()
    assert copy["state"] == "available"
    assert look(cloud) == NOTHING
    assert cloud.events() == []


def test_a_copy_carries_name_tags_and_evidence_and_says_where_it_is_from(cloud: Cloud) -> None:
    image_id = a_point(
        cloud, volumes=2, **{Tag.HOLD: "true", Tag.PROTECTED: "x", Tag.ENDED_AT: "x"}
    )
    look(cloud)
    source = cloud.images()[image_id]
    (copy,) = cloud.copies(image_id, WEST).values()
    expected = {k: v for k, v in source["tags"].items() if k not in {
        Tag.HOLD, Tag.PROTECTED, Tag.COPYING, Tag.COPY_TO, Tag.ENDED_AT,
    }} | {Tag.COPY_OF: f"{REGION}:{image_id}"}  # fmt: skip
    assert copy["name"] == source["name"]
    assert copy["tags"] == expected
    assert expected[Tag.CONSISTENCY] == "file-system"
    snapshots = cloud.snapshots(WEST)
    assert set(copy["snapshots"]) == snapshots.keys()
    assert [snapshot["tags"] for snapshot in snapshots.values()] == [expected, expected]


def test_an_image_with_as_many_tags_as_there_can_be_is_copied(cloud: Cloud) -> None:
    image_id = a_point(cloud)
    room = TAG_LIMIT - len(cloud.images()[image_id]["tags"])
    cloud.tag([image_id], {f"owner-{n}": "x" for n in range(room)})
    assert look(cloud)["started"] == [pair(image_id)]
    (copy,) = cloud.copies(image_id, WEST).values()
    assert f"owner-{room - 1}" in copy["tags"]


def test_every_region_goes_its_own_way(cloud: Cloud) -> None:
    image_id = a_point(cloud, f"{WEST} {CENTRAL}")
    cloud.world.faults.add({"name": "copy-failed", "region": WEST})
    assert look(cloud)["started"] == [pair(image_id, CENTRAL), pair(image_id, WEST)]
    cloud.wait(minutes=20)
    answer = look(cloud)
    assert answer == NOTHING | {"completed": [pair(image_id, CENTRAL)], "failed": [pair(image_id)]}
    work = work_of(cloud, image_id)
    assert work is not None
    assert work.startswith(f"{WEST}=1@20261122T")


def test_an_image_that_is_not_available_yet_is_waited_for(cloud: Cloud) -> None:
    tags: dict[str, str] = {Tag.COPYING: WEST, Tag.COPY_TO: WEST}
    image_id = cloud.recovery_point(cloud.launch(), tags=tags, ready=False)
    assert look(cloud) == NOTHING | {"waiting": [pair(image_id)]}
    assert (WEST, "DescribeImages") not in cloud.calls
    cloud.wait(minutes=10)
    assert look(cloud)["started"] == [pair(image_id)]


def test_a_disabled_image_cannot_be_copied_and_people_are_told_after_a_day(cloud: Cloud) -> None:
    image_id = a_point(cloud)
    cloud.call("DisableImage", ImageId=image_id)
    assert look(cloud)["waiting"] == [pair(image_id)]
    assert cloud.events() == []
    cloud.wait(hours=24)
    assert look(cloud)["waiting"] == [pair(image_id)]
    (message,) = cloud.messages("CopyFailed")
    assert "disabled" in message["instances"][0]["why"]


def test_a_work_list_that_cannot_be_read_begins_anew(cloud: Cloud) -> None:
    image_id = a_point(cloud)
    cloud.tag([image_id], {Tag.COPYING: "everywhere, please"})
    assert look(cloud)["started"] == [pair(image_id)]
    cloud.wait(minutes=20)
    assert look(cloud)["completed"] == [pair(image_id)]
    assert work_of(cloud, image_id) is None


def test_a_work_list_that_cannot_be_read_and_was_not_asked_for_is_removed(cloud: Cloud) -> None:
    image_id = cloud.recovery_point(cloud.launch(), tags={Tag.COPYING: "?"})
    assert look(cloud) == NOTHING
    assert work_of(cloud, image_id) is None


def test_the_region_of_a_key_is_encrypted_with_it(cloud: Cloud) -> None:
    image_id = a_point(cloud, f"{WEST} {CENTRAL}")
    key = cloud.world.region("000000000000", WEST).keys.add("11111111-2222-3333-4444-555555555555")
    look(cloud, {"COPY_KMS_KEY_ARNS": key})
    assert [s["key"] for s in cloud.snapshots(WEST).values()] == [key]
    assert [s["key"] for s in cloud.snapshots(CENTRAL).values()] == [None]
    assert len(cloud.copies(image_id, WEST)) == 1


def test_copies_are_encrypted_if_that_is_asked_for(cloud: Cloud) -> None:
    a_point(cloud)
    look(cloud, {"ENCRYPT_COPIES": "true"})
    (snapshot,) = cloud.snapshots(WEST).values()
    assert snapshot["key"] is not None


def test_a_copy_is_shared_locked_and_protected_before_it_is_off_the_list(cloud: Cloud) -> None:
    image_id = a_point(cloud)
    variables = {
        "SHARE_WITH_ACCOUNTS": "111122223333",
        "DEREGISTRATION_PROTECTION": "true",
        "SNAPSHOT_LOCK_DAYS": "7",
    }
    look(cloud, variables)
    cloud.wait(minutes=20)
    cloud.refuse("LockSnapshot", "RequestLimitExceeded", 503)
    with pytest.raises(CopyIncomplete, match="locking"):
        look(cloud, variables)
    assert work_of(cloud, image_id) == WEST
    cloud.refusals.clear()
    assert look(cloud, variables)["completed"] == [pair(image_id)]
    ((copy_id, copy),) = cloud.copies(image_id, WEST).items()
    permission = cloud.call(
        "DescribeImageAttribute", region=WEST, ImageId=copy_id, Attribute="launchPermission"
    )
    assert permission["LaunchPermissions"] == [{"UserId": "111122223333"}]
    locked = cloud.call("DescribeLockedSnapshots", region=WEST)["Snapshots"]
    assert [row["SnapshotId"] for row in locked] == copy["snapshots"]
    (row,) = cloud.call("DescribeImages", region=WEST, ImageIds=[copy_id])["Images"]
    assert row["DeregistrationProtection"].startswith("enabled")


def test_what_cannot_be_shared_is_told_and_holds_up_nothing(cloud: Cloud) -> None:
    image_id = a_point(cloud)
    variables = {"SHARE_WITH_ACCOUNTS": "111122223333", "ENCRYPT_COPIES": "true"}
    look(cloud, variables)
    cloud.wait(minutes=20)
    assert look(cloud, variables)["completed"] == [pair(image_id)]
    (message,) = cloud.messages("SharingFailed")
    assert "AWS managed key" in message["instances"][0]["why"]


def test_a_region_that_is_not_allowed_any_more_is_given_up_and_people_are_told(
    cloud: Cloud,
) -> None:
    image_id = a_point(cloud, f"{WEST} {CENTRAL}")
    answer = look(cloud, {"COPY_REGIONS": CENTRAL})
    assert answer["failed"] == [pair(image_id)]
    assert answer["started"] == [pair(image_id, CENTRAL)]
    assert work_of(cloud, image_id) == CENTRAL
    (message,) = cloud.messages("CopyFailed")
    assert "CopyRegions" in message["text"]
    assert WEST not in {region for region, _ in cloud.calls}


def test_no_more_snapshots_are_on_their_way_than_a_region_takes(cloud: Cloud) -> None:
    ids = [a_point(cloud, volumes=8) for _ in range(4)]
    assert MAX_PENDING_SNAPSHOTS == 20
    answer = look(cloud)
    assert answer["started"] == sorted((pair(i) for i in ids[:2]), key=lambda p: p["image_id"])
    assert len(answer["waiting"]) == 2
    cloud.wait(minutes=5)
    assert look(cloud)["started"] == []
    cloud.wait(minutes=15)
    answer = look(cloud)
    assert (len(answer["completed"]), len(answer["started"])) == (2, 2)


def test_a_quota_that_is_reached_is_no_error_and_no_failed_attempt(cloud: Cloud) -> None:
    first, second = a_point(cloud), a_point(cloud)
    cloud.refuse("CopyImage", "ResourceLimitExceeded")
    assert look(cloud)["waiting"] == sorted(
        (pair(first), pair(second)), key=lambda p: p["image_id"]
    )
    assert [action for _, action in cloud.calls].count("CopyImage") == 1
    assert work_of(cloud, first) == WEST
    cloud.refusals.clear()
    assert len(look(cloud)["started"]) == 2


def test_nothing_is_begun_when_the_time_is_up(cloud: Cloud) -> None:
    image_id = a_point(cloud)
    assert look(cloud, seconds=29)["waiting"] == [pair(image_id)]
    assert "CopyImage" not in [action for _, action in cloud.calls]
    assert look(cloud, seconds=31)["started"] == [pair(image_id)]


def test_an_owners_own_copy_with_all_our_tags_is_not_taken_for_ours(cloud: Cloud) -> None:
    image_id = a_point(cloud)
    look(cloud)
    (tags,) = [copy["tags"] for copy in cloud.copies(image_id, WEST).values()]
    theirs = cloud.call(
        "CopyImage", region=WEST, SourceImageId=image_id, SourceRegion=REGION, Name="golden-image",
        TagSpecifications=[
            {"ResourceType": "image", "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}
        ],
    )["ImageId"]  # fmt: skip
    ours = next(i for i in cloud.copies(image_id, WEST) if i != theirs)
    cloud.call("DeregisterImage", region=WEST, ImageId=ours, DeleteAssociatedSnapshots=True)
    cloud.wait(hours=1)
    assert cloud.copies(image_id, WEST)[theirs]["state"] == "available"
    assert look(cloud)["started"] == [pair(image_id)]
    cloud.wait(minutes=20)
    assert look(cloud)["completed"] == [pair(image_id)]
    assert theirs in cloud.images(WEST)
    assert len(cloud.copies(image_id, WEST)) == 2


def test_a_name_that_somebody_else_has_is_left_and_the_next_attempt_has_another(
    cloud: Cloud,
) -> None:
    image_id = a_point(cloud)
    name = cloud.images()[image_id]["name"]
    cloud.call("CopyImage", region=WEST, SourceImageId=image_id, SourceRegion=REGION, Name=name)
    assert look(cloud)["failed"] == [pair(image_id)]
    cloud.wait(minutes=5)
    assert look(cloud)["started"] == [pair(image_id)]
    (copy,) = cloud.copies(image_id, WEST).values()
    assert copy["name"] == f"{name}-c2"


def test_the_metrics_say_what_was_copied_and_what_is_to_come(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    a_point(cloud, f"{WEST} {CENTRAL}")
    cloud.world.faults.add({"name": "copy-stuck", "region": CENTRAL})
    look(cloud)
    cloud.wait(minutes=20)
    capsys.readouterr()
    look(cloud)
    printed = capsys.readouterr().out.splitlines()
    (metrics,) = [json.loads(line) for line in printed if '"_aws"' in line]
    assert metrics["CopySucceeded"] == [1.0]
    assert metrics["CopiesPending"] == [1.0]
