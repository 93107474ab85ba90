"""Sharing, locking and protecting a recovery point that is available."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from stillpoint.aws import images
from stillpoint.aws.client import client
from stillpoint.aws.safeguards import Trouble, apply_safeguards, report_safeguards
from stillpoint.aws.settings import Safeguards
from stillpoint.errors import AwsUnavailable
from stillpoint.image import Image
from stillpoint.messages import EventName
from stillpoint.recovery_point import Snapshot
from stillpoint.tags import Tag
from tests.functions.faults import answered, refused, throttled
from tests.functions.fleet import attach_volume, capture, launch_one, tag, tags_of
from tests.functions.stack import Stack
from tests.unit.builders import at

FRIEND, PARTNER = "111111111111", "222222222222"
EXECUTION = "i-0a-20261122T030000Z"
CAPTURED, NOW = at("2026-11-22 03:00:40"), at("2026-11-22 03:40")
NOTHING = Safeguards(share_with=(), deregistration_protection=False, lock_days=0)
SHARED = replace(NOTHING, share_with=(FRIEND, PARTNER))
LOCKED = replace(NOTHING, lock_days=30)
PROTECTED = replace(NOTHING, deregistration_protection=True)
UNTIL = "2026-12-22T03:00:40Z"


class Point:
    """An available image of two volumes, as EC2 shows it."""

    def __init__(self, *, kms_key_arn: str | None = None) -> None:
        self._kms_key_arn = kms_key_arn
        instance_id = launch_one(name="web")
        attach_volume(instance_id)
        self.image_id, self.snapshot_ids = capture(
            instance_id, execution=EXECUTION, initiated_at=CAPTURED
        )
        tag([self.image_id], {Tag.CAPTURED_AT: "2026-11-22T03:00:40Z", "Name": "web"})

    @property
    def image(self) -> Image:
        (image,) = images.images_of(EXECUTION).values()
        return image

    @property
    def snapshots(self) -> list[Snapshot]:
        """Return both; moto does not say which key encrypts one."""
        (shown,) = images.snapshots_of(EXECUTION).values()
        first, second = sorted(shown, key=lambda one: self.snapshot_ids.index(one.snapshot_id))
        return [first, replace(second, kms_key_arn=self._kms_key_arn)]

    def apply(self, safeguards: Safeguards, *, now: datetime = NOW, **image: Any) -> list[str]:  # noqa: ANN401 (facts of an image)
        """Return the sentences of the troubles."""
        shown = replace(self.image, **image)
        troubles = apply_safeguards(shown, self.snapshots, safeguards, now=now)
        return [f"{trouble.event}: {trouble.sentence}" for trouble in troubles]

    def launchers(self) -> set[str]:
        answer = client("ec2").describe_image_attribute(
            ImageId=self.image_id, Attribute="launchPermission"
        )
        return {row["UserId"] for row in answer["LaunchPermissions"]}

    def copiers(self) -> list[set[str]]:
        """Return the accounts that may make volumes of each snapshot."""
        answers = [
            client("ec2").describe_snapshot_attribute(
                SnapshotId=snapshot_id, Attribute="createVolumePermission"
            )
            for snapshot_id in self.snapshot_ids
        ]
        return [{row["UserId"] for row in a["CreateVolumePermissions"]} for a in answers]

    @contextmanager
    def locks(self, **lock: Any) -> Iterator[list[str]]:  # noqa: ANN401 (members of the answer)
        """Let the first snapshot have a lock, and yield the requests to lock one."""
        row = {"SnapshotId": self.snapshot_ids[0], **lock}
        with (
            answered("ec2", "DescribeLockedSnapshots", {"Snapshots": [row] if lock else []}),
            answered("ec2", "LockSnapshot", {}) as requests,
        ):
            yield requests


@pytest.fixture
def point(_aws: None) -> Point:
    return Point()


@pytest.fixture
def encrypted(_aws: None) -> Point:
    """Return one whose second volume is encrypted."""
    return Point(kms_key_arn=client("kms").create_key()["KeyMetadata"]["Arn"])


@pytest.fixture
def protecting(_aws: None) -> Iterator[list[str]]:
    """Answer the calls that turn the protection on, and return their requests."""
    with answered("ec2", "EnableImageDeregistrationProtection", {"Return": "true"}) as requests:
        yield requests


def test_nothing_is_done_that_was_not_asked_for(point: Point) -> None:
    before = tags_of(point.image_id)
    operations = ["ModifyImageAttribute", "ModifySnapshotAttribute", "LockSnapshot"]
    operations += ["DescribeLockedSnapshots", "EnableImageDeregistrationProtection", "CreateTags"]
    with ExitStack() as stack:
        requests = [stack.enter_context(refused("ec2", name, "Refused")) for name in operations]
        assert point.apply(NOTHING) == []
    assert requests == [[]] * len(operations)
    assert tags_of(point.image_id) == before


def test_other_accounts_may_launch_the_image_and_copy_its_snapshots(point: Point) -> None:
    assert point.apply(SHARED) == []
    assert point.launchers() == {FRIEND, PARTNER}
    assert point.copiers() == [{FRIEND, PARTNER}, {FRIEND, PARTNER}]
    assert tags_of(point.image_id)["stillpoint:shared-with"] == f"{FRIEND} {PARTNER}"


def test_what_is_shared_already_is_not_shared_again(point: Point) -> None:
    point.apply(replace(NOTHING, share_with=(FRIEND,)))
    with refused("ec2", "ModifyImageAttribute", "Refused", about=FRIEND) as requests:
        assert point.apply(SHARED) == []
    assert requests == []
    assert point.launchers() == {FRIEND, PARTNER}
    assert tags_of(point.image_id)["stillpoint:shared-with"] == f"{FRIEND} {PARTNER}"


@pytest.mark.parametrize("operation", ["ModifyImageAttribute", "ModifySnapshotAttribute"])
def test_an_account_that_ec2_refuses_does_not_keep_the_others_out(
    point: Point, operation: str
) -> None:
    with refused("ec2", operation, "InvalidParameterValue", about=FRIEND):
        (trouble,) = point.apply(SHARED)
    assert trouble.startswith("SharingFailed: AWS refused sharing ")
    assert f"with {FRIEND}" in trouble
    assert "InvalidParameterValue" in trouble
    assert PARTNER in point.launchers()
    assert all(PARTNER in accounts for accounts in point.copiers())
    assert tags_of(point.image_id)["stillpoint:shared-with"] == PARTNER


def test_the_tag_names_as_many_accounts_as_it_holds(point: Point) -> None:
    accounts = tuple(f"{number:012}" for number in range(1, 31))
    point.apply(replace(NOTHING, share_with=accounts))
    assert point.launchers() == set(accounts)
    value = tags_of(point.image_id)["stillpoint:shared-with"]
    assert value.split() == list(accounts[:19])
    assert len(value) <= 256


def test_a_tag_that_cannot_be_written_does_not_undo_the_sharing(point: Point) -> None:
    with refused("ec2", "CreateTags", "TagLimitExceeded"):
        assert point.apply(SHARED) == []
    assert point.launchers() == {FRIEND, PARTNER}


def key_metadata(manager: str) -> dict[str, Any]:
    return {"KeyMetadata": {"KeyId": "k", "KeyManager": manager, "KeyState": "Enabled"}}


def test_what_the_aws_managed_key_encrypts_is_refused_without_trying(
    encrypted: Point,
) -> None:
    with (
        answered("kms", "DescribeKey", key_metadata("AWS")) as looked_at,
        refused("ec2", "ModifyImageAttribute", "Refused") as tried,
    ):
        (trouble,) = encrypted.apply(SHARED)
    assert (len(looked_at), tried) == (1, [])
    assert f"SharingFailed: It cannot be shared with {FRIEND}, {PARTNER}" in trouble
    assert f"which no other account can use, encrypts {encrypted.snapshot_ids[1]}." in trouble
    assert Tag.SHARED_WITH not in tags_of(encrypted.image_id)


def test_a_customer_managed_key_is_up_to_its_owner(
    encrypted: Point,
) -> None:
    assert encrypted.apply(SHARED) == []
    assert encrypted.launchers() == {FRIEND, PARTNER}


def test_a_key_that_may_not_be_looked_at_is_somebodys_own(
    encrypted: Point,
) -> None:
    with refused("kms", "DescribeKey", "AccessDeniedException"):
        assert encrypted.apply(SHARED) == []
    assert encrypted.launchers() == {FRIEND, PARTNER}


def test_a_key_that_kms_refuses_to_describe_is_told(
    encrypted: Point,
) -> None:
    with refused("kms", "DescribeKey", "InvalidArnException"):
        (trouble,) = encrypted.apply(SHARED)
    assert trouble.startswith("SharingFailed: AWS refused reading the key arn:")
    assert encrypted.launchers() == set()


def test_snapshots_are_locked_in_governance_mode_from_the_capture_on(point: Point) -> None:
    with point.locks() as requests:
        assert point.apply(LOCKED) == []
    assert len(requests) == 2
    for request, snapshot_id in zip(requests, point.snapshot_ids, strict=True):
        assert f"'SnapshotId': '{snapshot_id}'" in request
        assert "'LockMode': 'governance'" in request
        assert f"'ExpirationDate': '{UNTIL}'" in request


@pytest.mark.parametrize(
    ("now", "locked"), [("2026-12-21 03:00:40", 2), ("2026-12-21 03:00:41", 0), ("2027-01-01", 0)]
)
def test_what_ec2_can_no_longer_lock_for_so_short_a_time_stays_unlocked(
    point: Point, now: str, locked: int
) -> None:
    with point.locks() as requests:
        assert point.apply(LOCKED, now=at(now)) == []
    assert len(requests) == locked


@pytest.mark.parametrize(
    ("state", "ends", "is_set"),
    [
        ("governance", "2026-12-22 03:00:40", False),
        ("governance", "2026-12-22 03:00:39", True),
        ("governance", "2030-01-01", False),
        ("compliance", "2026-12-01", False),
        ("compliance-cooloff", "2026-12-01", False),
        ("expired", "2026-11-22", True),
    ],
)
def test_a_lock_is_never_shortened_and_one_in_compliance_mode_never_touched(
    point: Point, state: str, ends: str, is_set: bool
) -> None:
    with point.locks(LockState=state, LockExpiresOn=at(ends)) as requests:
        assert point.apply(LOCKED) == []
    first, second = point.snapshot_ids
    assert any(second in request for request in requests)
    assert any(first in request for request in requests) is is_set


def test_one_snapshot_that_cannot_be_locked_does_not_leave_the_other_unlocked(
    point: Point,
) -> None:
    first, second = point.snapshot_ids
    with (
        refused("ec2", "LockSnapshot", "IncorrectState", about=first),
        point.locks() as requests,
    ):
        (trouble,) = point.apply(LOCKED)
    assert trouble.startswith(f"ProtectionFailed: AWS refused locking {first} until {UNTIL}")
    assert [second in request for request in requests] == [True]


def test_locks_that_may_not_be_read_are_not_overwritten(point: Point) -> None:
    with (
        refused("ec2", "DescribeLockedSnapshots", "UnauthorizedOperation"),
        point.locks() as requests,
    ):
        (trouble,) = point.apply(LOCKED)
    assert "AWS refused reading the locks" in trouble
    assert requests == []


def test_an_image_that_does_not_say_when_it_was_captured_is_not_locked_in_silence(
    point: Point,
) -> None:
    with point.locks() as requests:
        (trouble,) = point.apply(LOCKED, tags={})
    assert trouble.startswith("ProtectionFailed: Its tag stillpoint:captured-at does not say")
    assert requests == []


def test_an_image_is_marked_as_protected_by_us_and_protected_without_a_cooldown(
    point: Point, protecting: list[str]
) -> None:
    assert point.apply(PROTECTED) == []
    (request,) = protecting
    assert point.image_id in request
    assert "'WithCooldown': 'false'" in request
    assert tags_of(point.image_id)["stillpoint:protected"] == "deregistration"


def test_the_mark_is_there_even_if_the_protection_fails(point: Point) -> None:
    with refused("ec2", "EnableImageDeregistrationProtection", "UnauthorizedOperation"):
        (trouble,) = point.apply(PROTECTED)
    assert trouble.startswith(f"ProtectionFailed: AWS refused protecting {point.image_id}")
    assert tags_of(point.image_id)["stillpoint:protected"] == "deregistration"


def test_what_cannot_be_marked_is_not_protected_because_nobody_would_take_it_off(
    point: Point, protecting: list[str]
) -> None:
    with refused("ec2", "CreateTags", "TagLimitExceeded"):
        (trouble,) = point.apply(PROTECTED)
    assert f"ProtectionFailed: AWS refused tagging {point.image_id}" in trouble
    assert protecting == []


@pytest.mark.parametrize("word", ["enabled", "enabled-with-cooldown", "enabled-without-cooldown"])
def test_what_somebody_has_protected_stays_theirs(
    point: Point, protecting: list[str], word: str
) -> None:
    assert point.apply(PROTECTED, protection=word) == []
    assert protecting == []
    assert Tag.PROTECTED not in tags_of(point.image_id)


def test_a_mark_of_a_call_that_was_cut_short_is_followed_by_the_protection(
    point: Point, protecting: list[str]
) -> None:
    tag([point.image_id], {Tag.PROTECTED: "deregistration"})
    with refused("ec2", "CreateTags", "Refused") as tagged:
        assert point.apply(PROTECTED, protection="disabled") == []
    assert len(protecting) == 1
    assert tagged == []


@pytest.mark.parametrize(
    ("operation", "safeguards"),
    [
        ("ModifyImageAttribute", SHARED),
        ("ModifySnapshotAttribute", SHARED),
        ("CreateTags", SHARED),
        ("DescribeLockedSnapshots", LOCKED),
        ("LockSnapshot", LOCKED),
        ("CreateTags", PROTECTED),
        ("EnableImageDeregistrationProtection", PROTECTED),
    ],
)
def test_what_aws_cannot_do_now_is_left_to_another_call(
    point: Point, operation: str, safeguards: Safeguards
) -> None:
    with throttled("ec2", operation), point.locks(), pytest.raises(AwsUnavailable):
        point.apply(safeguards)


def troubled(point: Point, *events: EventName) -> tuple[Image, list[Trouble]]:
    return point.image, [Trouble(event, f"A sentence of {event}.") for event in events]


def test_each_kind_of_trouble_is_told_once_with_every_image(stack: Stack, point: Point) -> None:
    both = troubled(point, EventName.SHARING_FAILED, EventName.PROTECTION_FAILED)
    report_safeguards(
        [both, troubled(point, EventName.SHARING_FAILED), troubled(point)],
        topic_arn=stack.topic_arn,
        now=NOW.astimezone(UTC),
        execution_arn="arn:execution",
    )
    sharing, protection = stack.messages()
    assert (sharing["event"], protection["event"]) == ("SharingFailed", "ProtectionFailed")
    assert [row["image_id"] for row in sharing["instances"]] == [point.image_id] * 2
    (row,) = protection["instances"]
    assert row["why"] == "A sentence of ProtectionFailed."
    assert (row["name"], row["instance_id"]) == ("web", point.image.tags[Tag.INSTANCE])
    assert protection["occurrence"] == "2026-11-22T03:00:00Z"
    assert protection["execution_arn"] == "arn:execution"
    assert protection["severity"] == "warning"
    assert "The recovery point is good" in protection["remedy"]


def test_without_trouble_nothing_is_told(stack: Stack, point: Point) -> None:
    report_safeguards([troubled(point)], topic_arn=stack.topic_arn, now=NOW)
    assert stack.messages() == []


def test_a_message_says_in_which_region_the_copy_is(stack: Stack, point: Point) -> None:
    report_safeguards(
        [troubled(point, EventName.SHARING_FAILED)],
        topic_arn=stack.topic_arn,
        now=NOW,
        region="us-west-2",
    )
    (message,) = stack.messages()
    assert message["instances"][0]["why"] == "In us-west-2: A sentence of SharingFailed."


def test_safeguards_of_a_copy_are_applied_where_it_is(point: Point) -> None:
    elsewhere = client("ec2", "us-west-2")
    image_id = elsewhere.copy_image(
        SourceRegion="eu-west-1", SourceImageId=point.image_id, Name="copy"
    )["ImageId"]
    copy = replace(point.image, image_id=image_id)
    safeguards = replace(NOTHING, share_with=(FRIEND,))
    assert apply_safeguards(copy, [], safeguards, region="us-west-2", now=NOW) == ()
    answer = elsewhere.describe_image_attribute(ImageId=image_id, Attribute="launchPermission")
    assert answer["LaunchPermissions"] == [{"UserId": FRIEND}]
    assert point.launchers() == set()
    tags = elsewhere.describe_images(ImageIds=[image_id])["Images"][0]["Tags"]
    assert {"Key": "stillpoint:shared-with", "Value": FRIEND} in tags
