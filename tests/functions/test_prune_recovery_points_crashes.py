"""Whatever call a pruning dies at, and whichever fails or goes astray: it ends the same."""

from datetime import timedelta
from functools import cache

import pytest

from stillpoint.tags import Tag, iso
from tests.functions.cloud import Crash, Moment, crash
from tests.functions.prune_cloud import OVERSEAS, REGIONS, Estate, an_estate, fates

CALLS = 37
"""How many calls one sweep of the scene makes."""
FINAL = "2d"


def set_the_scene(estate: Estate) -> None:
    """Let there be something of everything that a sweep meets."""
    web = estate.instance(retain="1", volumes=2, copy_to=OVERSEAS)
    gone = estate.instance(retain="1d")
    last = estate.point(gone, retain="1d", ended_at=iso(estate.cloud.now - timedelta(days=5)))
    lately = estate.instance(retain="1d")
    estate.copy(estate.point(lately, retain="1d"))
    for instance_id in (gone, lately):
        estate.terminate(instance_id)
    points = [estate.point(web, retain="1") for _ in range(5)]
    for image_id in (points[0], points[3]):
        estate.copy(image_id)
    estate.cloud.tag([points[1]], {Tag.HOLD: "true"})
    for image_id in (points[2], last):
        estate.cloud.call("EnableImageDeregistrationProtection", ImageId=image_id)
        estate.cloud.tag([image_id], {Tag.PROTECTED: "deregistration"})
    estate.cloud.call("DeregisterImage", ImageId=points[0])
    estate.fail_the_next_image()
    estate.point(web)
    estate.cloud.world.faults.add({"name": "copy-failed"})
    estate.copy(points[4], name=estate.cloud.images()[points[4]]["name"] + "-c2")
    estate.cloud.wait(days=3)
    estate.cloud.calls.clear()


@cache
def undisturbed() -> tuple[dict[str, set[str]], int, set[str]]:
    """Return what is left, the calls that it took, and what went, if nothing happens."""
    with an_estate() as estate:
        set_the_scene(estate)
        answer = estate.prune(final_retention=FINAL)
        calls = len(estate.cloud.calls)
        assert answer["failures"] == []
        assert estate.cloud.events() == ["LastPointExpired"]
        return estate.everything(), calls, fates(answer, "expired") | fates(answer, "orphaned")


def test_the_scene_has_something_of_everything() -> None:
    left, calls, went = undisturbed()
    assert calls == CALLS
    with an_estate() as estate:
        set_the_scene(estate)
        assert {image["state"] for image in estate.cloud.images().values()} == {
            *("available", "failed")
        }
        assert len(estate.images()) == 6 + 2 - 1
        assert len(estate.images(OVERSEAS)) == 3 + 1
        # Of the recovery points: the two older ones, the last one of what is gone, a copy. Of the
        # orphans: two snapshots, a failed image, a failed copy.
        assert len(went) == 8
        estate.prune(final_retention=FINAL)
        assert len(estate.images()) == 3
        assert len(estate.images(OVERSEAS)) == 2
        assert estate.everything() == left


def ends_written(estate: Estate) -> int:
    """Return how many images say since when their instance is not seen."""
    return sum(
        Tag.ENDED_AT in image["tags"]
        for region in REGIONS
        for image in estate.cloud.images(region).values()
    )


@pytest.mark.parametrize("call", range(CALLS))
def test_a_crash_before_any_call_is_made_good_by_the_next_pruning(call: int) -> None:
    left, _, _ = undisturbed()
    with an_estate() as estate:
        set_the_scene(estate)
        estate.cloud.moment = Moment(call, crash)
        with pytest.raises(Crash):
            estate.prune(final_retention=FINAL)
        everything = estate.everything()
        assert all(left[region] <= everything[region] for region in left)
        estate.prune(final_retention=FINAL)
        assert estate.everything() == left
        # Of the one that went lately, in both Regions.
        assert ends_written(estate) == 2


@pytest.mark.parametrize("call", range(CALLS))
@pytest.mark.parametrize("is_lost", [False, True], ids=["failed", "lost"])
def test_a_call_that_fails_or_whose_answer_is_lost_once_changes_nothing(
    call: int, is_lost: bool
) -> None:
    left, calls, went = undisturbed()
    with an_estate() as estate:
        set_the_scene(estate)
        estate.bumps.call, estate.bumps.is_lost = call, is_lost
        answer = estate.prune(final_retention=FINAL)
        assert len(estate.cloud.calls) >= calls + 1
        assert answer["failures"] == []
        assert fates(answer, "expired") | fates(answer, "orphaned") == went
        assert estate.everything() == left
        assert ends_written(estate) == 2
        assert set(estate.cloud.events()) == {"LastPointExpired"}


@pytest.mark.parametrize("seconds_between", [1, 3600])
def test_two_prunings_one_after_the_other_are_as_one(seconds_between: int) -> None:
    left, _, _ = undisturbed()
    with an_estate() as estate:
        set_the_scene(estate)
        for _ in range(3):
            estate.prune(final_retention=FINAL)
            estate.cloud.wait(seconds=seconds_between)
        assert estate.everything() == left
        assert estate.cloud.events() == ["LastPointExpired"]
