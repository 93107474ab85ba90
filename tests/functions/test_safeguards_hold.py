"""What the safeguards are worth: against deletion, in any Region, and after any interruption."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from sandbox.ec2.errors import Ec2Error
from stillpoint.aws import images
from stillpoint.aws.safeguards import Trouble, apply_safeguards
from stillpoint.aws.settings import Safeguards
from stillpoint.errors import AwsUnavailable
from stillpoint.tags import parse_iso
from tests.functions.cloud import Cloud, Crash, Moment, cloud_at, crash
from tests.unit.builders import at

ELSEWHERE = "eu-central-1"
FRIEND, PARTNER = "111111111111", "222222222222"
ALL = Safeguards(share_with=(FRIEND, PARTNER), deregistration_protection=True, lock_days=30)
LOCK = Safeguards(share_with=(), deregistration_protection=False, lock_days=30)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with cloud_at(at("2026-11-22 02:55")) as made:
        yield made


@pytest.fixture
def image_id(cloud: Cloud) -> str:
    return cloud.recovery_point(cloud.launch(volumes=2))


def apply(
    cloud: Cloud, image_id: str, safeguards: Safeguards, region: str | None = None
) -> tuple[Trouble, ...]:
    """Apply safeguards to an image as EC2 shows it now."""
    (image,) = images.find_images([{"Name": "image-id", "Values": [image_id]}], region=region)
    of_image = [{"Name": "snapshot-id", "Values": list(image.snapshot_ids)}]
    snapshots = list(images.find_snapshots(of_image, region=region))
    return apply_safeguards(image, snapshots, safeguards, region=region, now=cloud.now)


def state_of(cloud: Cloud, image_id: str, **region: str) -> dict[str, Any]:
    """Return who may use an image, and what keeps it and its snapshots from being deleted."""
    image = cloud.images(**region)[image_id]
    snapshot_ids = image["snapshots"]
    (row,) = cloud.call("DescribeImages", ImageIds=[image_id], **region)["Images"]
    launch = cloud.call(
        "DescribeImageAttribute", ImageId=image_id, Attribute="launchPermission", **region
    )
    create = [
        cloud.call(
            "DescribeSnapshotAttribute",
            SnapshotId=each,
            Attribute="createVolumePermission",
            **region,
        )
        for each in snapshot_ids
    ]
    locks = cloud.call("DescribeLockedSnapshots", SnapshotIds=snapshot_ids, **region)
    return {
        "tags": image["tags"],
        "protection": row["DeregistrationProtection"],
        "launch": launch["LaunchPermissions"],
        "create": [answer["CreateVolumePermissions"] for answer in create],
        "locks": {
            r["SnapshotId"]: (r["LockState"], r["LockExpiresOn"]) for r in locks["Snapshots"]
        },
    }


def delete(cloud: Cloud, image_id: str) -> dict[str, str]:
    """Deregister an image as anybody may try, and return what became of its snapshots."""
    answer = cloud.call("DeregisterImage", ImageId=image_id, DeleteAssociatedSnapshots=True)
    return {row["SnapshotId"]: row["ReturnCode"] for row in answer["DeleteSnapshotResults"]}


def test_nobody_deletes_what_is_protected_and_locked(cloud: Cloud, image_id: str) -> None:
    snapshot_ids = cloud.images()[image_id]["snapshots"]
    assert apply(cloud, image_id, ALL) == ()
    with pytest.raises(Ec2Error):
        delete(cloud, image_id)
    cloud.call("DisableImageDeregistrationProtection", ImageId=image_id)
    assert "success" not in delete(cloud, image_id).values()
    cloud.wait(days=30)
    for snapshot_id in snapshot_ids:
        cloud.call("DeleteSnapshot", SnapshotId=snapshot_id)
    assert cloud.snapshots() == {}


def test_a_lock_ends_so_many_days_after_the_capture_however_late_it_is_set(
    cloud: Cloud, image_id: str
) -> None:
    captured = parse_iso(cloud.images()[image_id]["tags"]["stillpoint:captured-at"])
    assert captured is not None
    cloud.wait(days=20)
    apply(cloud, image_id, LOCK)
    locks = state_of(cloud, image_id)["locks"]
    assert list(locks.values()) == [("governance", captured + timedelta(days=30))] * 2


def test_a_longer_lock_of_the_owners_stays_and_a_shorter_one_is_prolonged(
    cloud: Cloud, image_id: str
) -> None:
    longer, shorter = cloud.images()[image_id]["snapshots"]
    for snapshot_id, days in ((longer, 365), (shorter, 7)):
        cloud.call("LockSnapshot", SnapshotId=snapshot_id, LockMode="governance", LockDuration=days)
    before = state_of(cloud, image_id)["locks"]
    assert apply(cloud, image_id, LOCK) == ()
    after = state_of(cloud, image_id)["locks"]
    assert after[longer] == before[longer]
    assert str(after[shorter][1]) > str(before[shorter][1])


def test_a_copy_is_guarded_in_its_own_region(cloud: Cloud, image_id: str) -> None:
    tags = cloud.images()[image_id]["tags"]
    answer = cloud.call(
        "CopyImage",
        region=ELSEWHERE,
        SourceRegion="eu-west-1",
        SourceImageId=image_id,
        Name=cloud.images()[image_id]["name"],
        TagSpecifications=[
            {
                "ResourceType": "image",
                "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
            }
        ],
    )
    copy = str(answer["ImageId"])
    cloud.wait(hours=1)
    before = state_of(cloud, image_id)
    assert apply(cloud, copy, ALL, ELSEWHERE) == ()
    found = state_of(cloud, copy, region=ELSEWHERE)
    assert found["launch"] == [{"UserId": FRIEND}, {"UserId": PARTNER}]
    assert found["create"] == [found["launch"]] * 2
    assert len(found["locks"]) == 2
    assert found["protection"] == "enabled-without-cooldown"
    assert state_of(cloud, image_id) == before


def test_a_process_that_dies_at_any_call_leaves_no_other_end(cloud: Cloud) -> None:
    instance_id = cloud.launch(volumes=2)
    died, deaths = True, 0
    while died:
        image_id = cloud.recovery_point(instance_id)
        cloud.moment = Moment(deaths, crash)
        with suppress(Crash):
            apply(cloud, image_id, ALL)
        died, cloud.moment = cloud.moment is None, None
        deaths += died
        assert apply(cloud, image_id, ALL) == ()
        found = state_of(cloud, image_id)
        assert found["launch"] == [{"UserId": FRIEND}, {"UserId": PARTNER}]
        assert found["create"] == [found["launch"]] * 2
        assert len(found["locks"]) == 2
        assert found["protection"] == "enabled-without-cooldown"
        assert found["tags"]["stillpoint:shared-with"] == f"{FRIEND} {PARTNER}"
        assert found["tags"]["stillpoint:protected"] == "deregistration"
    # Two readings, six permissions and their tag, the locks read and set, the mark, the protection.
    assert deaths == 14


def test_all_that_is_done_needs_no_further_call_that_changes_anything(
    cloud: Cloud, image_id: str
) -> None:
    apply(cloud, image_id, ALL)
    cloud.calls.clear()
    assert apply(cloud, image_id, ALL) == ()
    changing = [action for _, action in cloud.calls if not action.startswith("Describe")]
    assert changing == []


@pytest.mark.parametrize(
    "action",
    ["ModifyImageAttribute", "DescribeLockedSnapshots", "EnableImageDeregistrationProtection"],
)
def test_an_outage_is_waited_out_and_a_refusal_is_told(
    cloud: Cloud, image_id: str, action: str
) -> None:
    cloud.refuse(action, "InternalError", 500)
    with pytest.raises(AwsUnavailable):
        apply(cloud, image_id, ALL)
    cloud.refuse(action, "UnauthorizedOperation")
    assert apply(cloud, image_id, ALL) != ()
    cloud.refusals.clear()
    assert apply(cloud, image_id, ALL) == ()
    assert state_of(cloud, image_id)["protection"] == "enabled-without-cooldown"
