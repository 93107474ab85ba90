"""Copying when something goes wrong: in EC2, in a Region, on the way, or in the function itself."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest

from stillpoint.errors import CopyIncomplete
from stillpoint.tags import Tag
from tests.functions.cloud import Cloud, Crash, Moment, cloud_at, crash
from tests.functions.stack import REGION
from tests.functions.test_copy_recovery_points import (
    CENTRAL,
    NOTHING,
    WEST,
    a_point,
    look,
    pair,
    work_of,
)
from tests.unit.builders import at

KEY = f"arn:aws:kms:{WEST}:000000000000:key/99999999-2222-3333-4444-555555555555"


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with cloud_at(at("2026-11-22 03:00")) as made:
        yield made


def try_to_look(cloud: Cloud, variables: Mapping[str, str] | None = None) -> None:
    """Invoke the function, which may report that not all could be done."""
    with suppress(CopyIncomplete):
        look(cloud, variables)


def test_a_failed_copy_is_removed_with_its_snapshots_and_made_again_after_a_pause(
    cloud: Cloud,
) -> None:
    image_id = a_point(cloud, volumes=2)
    cloud.world.faults.add({"name": "copy-failed"})
    look(cloud)
    cloud.wait(minutes=2)
    assert look(cloud) == NOTHING | {"failed": [pair(image_id)]}
    assert work_of(cloud, image_id) == f"{WEST}=1@{cloud.now:%Y%m%dT%H%M%SZ}"
    assert (cloud.images(WEST), cloud.snapshots(WEST)) == ({}, {})
    cloud.wait(minutes=4)
    assert look(cloud) == NOTHING | {"waiting": [pair(image_id)]}
    cloud.wait(minutes=1)
    assert look(cloud) == NOTHING | {"started": [pair(image_id)]}
    cloud.wait(minutes=20)
    assert look(cloud) == NOTHING | {"completed": [pair(image_id)]}
    (copy,) = cloud.copies(image_id, WEST).values()
    assert copy["name"].endswith("-c2")
    assert cloud.events() == []


def test_a_failed_attempt_is_written_down_before_anything_is_removed(cloud: Cloud) -> None:
    a_point(cloud)
    cloud.world.faults.add({"name": "copy-failed"})
    look(cloud)
    cloud.wait(minutes=2)
    cloud.calls.clear()
    look(cloud)
    changes = [call for call in cloud.calls if not call[1].startswith("Describe")]
    assert changes[:2] == [(REGION, "CreateTags"), (WEST, "DeregisterImage")]


def test_a_failure_that_cannot_be_written_down_is_found_again(cloud: Cloud) -> None:
    image_id = a_point(cloud)
    cloud.world.faults.add({"name": "copy-failed"})
    look(cloud)
    cloud.wait(minutes=2)
    cloud.refuse("CreateTags", "InternalError", 500)
    with pytest.raises(CopyIncomplete, match=image_id):
        look(cloud)
    assert len(cloud.copies(image_id, WEST)) == 1
    cloud.refusals.clear()
    assert look(cloud)["failed"] == [pair(image_id)]
    assert cloud.copies(image_id, WEST) == {}


def test_a_key_that_cannot_be_used_is_told_of_with_the_words_of_ec2(cloud: Cloud) -> None:
    image_id = a_point(cloud)
    variables = {"COPY_KMS_KEY_ARNS": KEY}
    for _ in range(40):
        look(cloud, variables)
        cloud.wait(minutes=5)
    (message,) = cloud.messages("CopyFailed")
    assert message["severity"] == "error"
    assert "Given key ID is not accessible" in message["instances"][0]["why"]
    assert message["instances"][0]["image_id"] == image_id
    assert "CopyKmsKeyArns" in message["remedy"]
    assert str(work_of(cloud, image_id)).endswith(":alerted")
    for _ in range(3):
        cloud.wait(hours=6)
        look(cloud)
    assert work_of(cloud, image_id) is None
    assert cloud.events() == ["CopyFailed", "CopySucceeded"]
    assert len(cloud.copies(image_id, WEST)) == len(cloud.snapshots(WEST)) == 1


def test_a_copy_that_hangs_is_told_of_after_a_day_and_given_up_after_a_week(cloud: Cloud) -> None:
    image_id = a_point(cloud)
    cloud.world.faults.add({"name": "copy-stuck"})
    look(cloud)
    begun = cloud.now
    cloud.wait(hours=23)
    assert look(cloud)["waiting"] == [pair(image_id)]
    assert cloud.events() == []
    cloud.wait(hours=1)
    assert look(cloud)["waiting"] == [pair(image_id)]
    (message,) = cloud.messages("CopyFailed")
    assert "is pending, 0 of 1 snapshots are complete" in message["instances"][0]["why"]
    assert "state now" not in message["text"]
    (hanging,) = cloud.copies(image_id, WEST)
    cloud.wait(seconds=(begun - cloud.now).total_seconds() + 7 * 86400 - 60)
    assert look(cloud)["waiting"] == [pair(image_id)]
    assert set(cloud.copies(image_id, WEST)) == {hanging}
    cloud.wait(minutes=1)
    assert look(cloud)["failed"] == [pair(image_id)]
    assert cloud.copies(image_id, WEST) == {}
    cloud.wait(minutes=5)
    look(cloud)
    cloud.wait(minutes=20)
    look(cloud)
    assert cloud.events() == ["CopyFailed", "CopySucceeded"]


def test_a_refused_copy_counts_and_is_told_of_after_the_third_time(cloud: Cloud) -> None:
    image_id = a_point(cloud)
    cloud.refuse("CopyImage", "UnauthorizedOperation", 403)
    assert look(cloud)["failed"] == [pair(image_id)]
    for _ in range(10):
        cloud.wait(minutes=5)
        look(cloud)
    assert [action for _, action in cloud.calls].count("CopyImage") == 3
    (message,) = cloud.messages("CopyFailed")
    assert "UnauthorizedOperation" in message["instances"][0]["why"]


@pytest.mark.parametrize("status", [503, 500])
def test_what_ec2_cannot_do_now_is_no_failed_attempt(cloud: Cloud, status: int) -> None:
    first, second = a_point(cloud), a_point(cloud)
    cloud.refuse("CopyImage", "RequestLimitExceeded", status)
    with pytest.raises(CopyIncomplete, match="RequestLimitExceeded"):
        look(cloud)
    assert (work_of(cloud, first), work_of(cloud, second)) == (WEST, WEST)
    assert [action for _, action in cloud.calls].count("CopyImage") == 5  # the SDK's tries of one
    cloud.refusals.clear()
    assert len(look(cloud)["started"]) == 2


def test_the_outage_of_a_region_holds_up_no_other_and_is_told_of_after_a_day(
    cloud: Cloud,
) -> None:
    image_id = a_point(cloud, f"{WEST} {CENTRAL}")
    outage = cloud.world.faults.add({"name": "region-outage", "region": CENTRAL})
    with pytest.raises(CopyIncomplete, match=CENTRAL):
        look(cloud)
    cloud.wait(minutes=20)
    try_to_look(cloud)
    assert work_of(cloud, image_id) == CENTRAL
    assert len(cloud.copies(image_id, WEST)) == 1
    assert cloud.events() == []
    for _ in range(3):
        cloud.wait(hours=9)
        try_to_look(cloud)
    (message,) = cloud.messages("CopyFailed")
    assert CENTRAL in message["instances"][0]["why"]
    assert work_of(cloud, image_id) == f"{CENTRAL}:alerted"
    cloud.world.faults.clear(outage)
    look(cloud)
    cloud.wait(minutes=20)
    look(cloud)
    assert work_of(cloud, image_id) is None
    assert cloud.events() == ["CopyFailed", "CopySucceeded"]


def test_many_points_are_told_of_in_one_message(cloud: Cloud) -> None:
    ids = {a_point(cloud) for _ in range(3)}
    cloud.refuse("CopyImage", "ResourceLimitExceeded")
    cloud.wait(hours=24)
    look(cloud)
    (message,) = cloud.messages("CopyFailed")
    assert {row["image_id"] for row in message["instances"]} == ids
    assert "quota" in message["instances"][0]["why"]


@pytest.mark.parametrize("minutes", [5, 90])
def test_a_copy_whose_answer_was_lost_is_made_once(cloud: Cloud, minutes: int) -> None:
    image_id = a_point(cloud)
    cloud.world.faults.add({"name": "lost-response", "action": "CopyImage", "times": 5})
    with pytest.raises(CopyIncomplete):
        look(cloud)
    cloud.wait(minutes=minutes)
    look(cloud)
    cloud.wait(minutes=20)
    try_to_look(cloud)
    assert work_of(cloud, image_id) is None
    assert len(cloud.images(WEST)) == 1


def test_a_copy_that_is_not_shown_yet_is_not_made_twice(cloud: Cloud) -> None:
    image_id = a_point(cloud)
    look(cloud)
    copies = cloud.copies(image_id, WEST)
    place = cloud.world.region("000000000000", WEST)
    for copy_id in copies:
        place.images[copy_id].visible_at += 7200
    cloud.wait(minutes=55)
    for _ in range(3):
        look(cloud)
        cloud.wait(minutes=5)
    cloud.wait(hours=2)
    look(cloud)
    assert cloud.copies(image_id, WEST).keys() == copies.keys()
    assert work_of(cloud, image_id) is None


def test_a_work_list_that_ec2_shows_late_loses_nothing() -> None:
    with cloud_at(at("2026-11-22 03:00"), visibility_seconds=1) as cloud:
        image_id = a_point(cloud, f"{WEST} {CENTRAL}")
        cloud.tag([image_id], {Tag.COPYING: f"{WEST}=2@20261121T000000Z {CENTRAL}"})
        cloud.wait(seconds=2)
        cloud.world.faults.add({"name": "copy-failed", "region": WEST})
        look(cloud)
        cloud.wait(minutes=20)
        look(cloud)
        failed_at = f"{cloud.now:%Y%m%dT%H%M%SZ}"
        cloud.wait(seconds=2)
        assert work_of(cloud, image_id) == f"{WEST}=3@{failed_at}:alerted"


def test_a_point_that_is_deleted_meanwhile_needs_no_copy(cloud: Cloud) -> None:
    image_id = a_point(cloud)
    cloud.refuse("CopyImage", "InvalidAMIID.Unavailable")

    def delete() -> None:
        cloud.call("DeregisterImage", ImageId=image_id)

    cloud.moment = Moment(2, delete)
    assert look(cloud)["failed"] == [pair(image_id)]
    assert look(cloud) == NOTHING
    assert cloud.events() == []


def test_a_copy_that_somebody_deleted_before_it_was_done_is_made_again(cloud: Cloud) -> None:
    image_id = a_point(cloud)
    look(cloud)
    (copy_id,) = cloud.copies(image_id, WEST)
    cloud.call("DeregisterImage", region=WEST, ImageId=copy_id, DeleteAssociatedSnapshots=True)
    cloud.wait(hours=1)
    look(cloud)
    cloud.wait(minutes=20)
    look(cloud)
    assert work_of(cloud, image_id) is None
    assert len(cloud.copies(image_id, WEST)) == 1


def test_a_message_that_cannot_be_sent_is_sent_at_the_next_look(cloud: Cloud) -> None:
    image_id = a_point(cloud)
    cloud.refuse("CopyImage", "UnauthorizedOperation", 403)
    cloud.refuse("Publish", "InternalError", 500)
    for _ in range(8):
        try_to_look(cloud)
        cloud.wait(minutes=5)
    assert not str(work_of(cloud, image_id)).endswith(":alerted")
    del cloud.refusals["Publish"]
    look(cloud)
    look(cloud)
    assert cloud.events() == ["CopyFailed"]
    assert str(work_of(cloud, image_id)).endswith(":alerted")


def test_a_topic_that_refuses_does_not_keep_a_copy_on_the_list(cloud: Cloud) -> None:
    image_id = a_point(cloud)
    cloud.tag([image_id], {Tag.COPYING: f"{WEST}:alerted"})
    look(cloud)
    cloud.wait(minutes=20)
    cloud.refuse("Publish", "AuthorizationError", 403)
    with pytest.raises(CopyIncomplete, match="CopySucceeded"):
        look(cloud)
    assert work_of(cloud, image_id) is None


# A life with everything in it: one Region is done at once, the other fails, is told of, and comes.
LOOKS_AFTER = (0, 25, 65, 25)
"""Minutes before each look."""


def live(cloud: Cloud, happening: Callable[[], None] | None, calls: int) -> int:
    """Look until all is done; something happens at a call, and then the function is called again.

    Returns how many calls were made.
    """
    image_id = a_point(cloud, f"{WEST} {CENTRAL}", volumes=2)
    cloud.tag([image_id], {Tag.COPYING: f"{WEST}=2@20261121T000000Z {CENTRAL}"})
    cloud.world.faults.add({"name": "copy-failed", "region": WEST})
    cloud.calls.clear()
    if happening is not None:
        cloud.moment = Moment(calls, happening)
    for minutes in LOOKS_AFTER:
        cloud.wait(minutes=minutes)
        try:
            look(cloud)
        except Crash:
            look(cloud)
    made = len(cloud.calls)
    look(cloud)
    return made


def end_of(cloud: Cloud) -> dict[str, Any]:
    """Return all that there is in the end: names without the attempt, states and tags."""
    return {
        region: sorted(
            [
                (image["name"].partition("Z")[0], image["state"], sorted(image["tags"].items()))
                for image in cloud.images(region).values()
            ]
            + [
                ("", snapshot["state"], sorted(snapshot["tags"].items()))
                for snapshot in cloud.snapshots(region).values()
            ]
        )
        for region in (REGION, WEST, CENTRAL)
    }


def a_life(
    happening: Callable[[Cloud], Callable[[], None]] | None, calls: int = 0
) -> tuple[int, dict[str, Any], list[str]]:
    """Return how many calls a life takes, its end, and what was told."""
    with cloud_at(at("2026-11-22 03:00")) as cloud:
        made = live(cloud, happening(cloud) if happening else None, calls)
        assert cloud.moment is None
        return made, end_of(cloud), cloud.events()


def test_a_crash_at_any_call_changes_nothing_in_the_end() -> None:
    calls, end, told = a_life(None)
    assert told == ["CopyFailed", "CopySucceeded"]
    assert [len(end[region]) for region in (REGION, WEST, CENTRAL)] == [3, 3, 3]
    for number in range(calls):
        _, its_end, its_told = a_life(lambda _: crash, number)
        assert its_end == end, number
        assert set(its_told) == set(told), number


def test_two_invocations_at_once_come_to_the_same_end_and_people_are_told() -> None:
    # One that writes between another's reading and writing of the same tag is overwritten: then
    # an attempt may be counted once less, and the all-clear may be missing.
    calls, end, told = a_life(None)
    for number in range(calls):
        _, its_end, its_told = a_life(lambda cloud: lambda: try_to_look(cloud), number)
        assert its_end == end, number
        assert "CopyFailed" in its_told, number
        assert set(its_told) <= set(told), number
