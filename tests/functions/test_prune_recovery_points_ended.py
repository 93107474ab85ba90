"""Instances that are not seen any more: nothing ends before it has been so for a week."""

from datetime import timedelta

import pytest

from stillpoint.errors import PruneIncomplete
from stillpoint.tags import Tag, iso
from tests.functions.prune_cloud import HOME, OVERSEAS, Estate, backup_ended, fates

FINAL = "30d"


def ended_at(estate: Estate, image_id: str, region: str = HOME) -> str | None:
    """Return since when the instance of a recovery point is not seen, as it says itself."""
    tags: dict[str, str] = estate.cloud.images(region)[image_id]["tags"]
    return tags.get(Tag.ENDED_AT)


def sweep(estate: Estate) -> None:
    estate.prune(final_retention=FINAL)


def test_one_night_without_the_schedule_tag_deletes_nothing(estate: Estate) -> None:
    web = estate.instance(retain="3")
    points = estate.daily_points(web, 3, retain="3")
    estate.cloud.wait(days=400)  # as if its backups had failed for a year
    estate.untag(web, Tag.SCHEDULE)
    before = estate.everything()
    sweep(estate)
    assert estate.everything() == before
    assert ended_at(estate, points[2]) == iso(estate.cloud.now)
    assert [ended_at(estate, point) for point in points[:2]] == [None, None]
    estate.cloud.wait(days=1)
    estate.cloud.tag([web], {Tag.SCHEDULE: "daily 03:00"})
    sweep(estate)
    assert ended_at(estate, points[2]) is None
    estate.cloud.wait(days=30)
    sweep(estate)
    assert estate.everything() == before
    assert estate.cloud.events() == []


def test_it_is_believed_a_week_after_it_was_first_written(estate: Estate) -> None:
    web = estate.instance(retain="3")
    points = estate.daily_points(web, 3, retain="3")
    estate.cloud.wait(days=400)
    estate.terminate(web)
    sweep(estate)
    since = estate.cloud.now
    for _ in range(6):
        estate.cloud.wait(days=1)
        sweep(estate)
    estate.until(since + timedelta(days=7, seconds=-1))
    sweep(estate)
    assert estate.images() == set(points)
    assert ended_at(estate, points[2]) == iso(since)
    estate.until(since + timedelta(days=7))
    sweep(estate)
    assert estate.everything() == {HOME: set(), OVERSEAS: set()}
    assert estate.cloud.events() == ["LastPointExpired"]


def test_who_comes_back_and_goes_again_has_a_new_week(estate: Estate) -> None:
    web = estate.instance(retain="3")
    (point,) = estate.daily_points(web, 1, retain="3")
    estate.cloud.wait(days=400)
    for _ in range(3):
        estate.untag(web, Tag.SCHEDULE)
        sweep(estate)
        estate.cloud.wait(days=5)
        estate.cloud.tag([web], {Tag.SCHEDULE: "daily 03:00"})
        sweep(estate)
    estate.untag(web, Tag.SCHEDULE)
    sweep(estate)
    estate.cloud.wait(days=6)
    sweep(estate)
    assert estate.images() == {point}


def test_what_is_written_twice_stays_as_it_was_written_first(estate: Estate) -> None:
    web = estate.instance()
    point = estate.point(web)
    estate.terminate(web)
    sweep(estate)
    first = ended_at(estate, point)
    estate.cloud.wait(days=2)
    estate.cloud.calls.clear()
    sweep(estate)
    assert ended_at(estate, point) == first
    assert not {"CreateTags", "DeleteTags"} & {action for _, action in estate.cloud.calls}


def test_a_disabled_one_says_it_if_none_is_available(estate: Estate) -> None:
    web = estate.instance(retain="1")
    (point,) = estate.daily_points(web, 1, retain="1")
    estate.cloud.call("DisableImage", ImageId=point)
    estate.terminate(web)
    estate.cloud.wait(days=100)
    sweep(estate)
    assert ended_at(estate, point) == iso(estate.cloud.now)
    estate.cloud.wait(days=7)
    sweep(estate)
    assert estate.everything()[HOME] == set()


@pytest.mark.parametrize("now", ["4", "for a while"])
def test_what_its_tags_ask_for_is_not_forgotten_in_that_night(estate: Estate, now: str) -> None:
    web = estate.instance(retain=now)
    points = estate.daily_points(web, 4, retain="1")
    estate.untag(web, Tag.SCHEDULE)
    sweep(estate)
    assert estate.images() == set(points)
    answer = estate.prune({"dry_run": True, "instances": [web]})
    assert len(fates(answer, "kept")) == 4
    estate.cloud.tag([web], {Tag.SCHEDULE: "daily 03:00"})
    sweep(estate)
    assert estate.images() == set(points)


def test_it_is_taken_off_one_that_is_not_the_newest_any_more(estate: Estate) -> None:
    web = estate.instance(retain="2")
    older = estate.point(web, retain="2")
    estate.untag(web, Tag.SCHEDULE)
    sweep(estate)
    estate.cloud.tag([web], {Tag.SCHEDULE: "daily 03:00"})
    newer = estate.point(web, retain="2")
    sweep(estate)
    assert ended_at(estate, older) is None
    estate.cloud.wait(days=100)
    estate.cloud.call("DisableImage", ImageId=newer)
    estate.untag(web, Tag.SCHEDULE)
    sweep(estate)
    assert older in estate.images()


def test_neither_a_dry_run_nor_a_backup_writes_it_or_takes_it_off(estate: Estate) -> None:
    web, erp = estate.instance(), estate.instance()
    gone, there = estate.point(web), estate.point(erp, ended_at="2026-09-01T00:00:00Z")
    estate.untag(web, Tag.SCHEDULE)
    estate.dry_run()
    estate.prune({"dry_run": True, "instances": [web, erp]})
    estate.prune(backup_ended(web, erp))
    assert ended_at(estate, gone) is None
    assert ended_at(estate, there) == "2026-09-01T00:00:00Z"
    sweep(estate)
    assert ended_at(estate, gone) == iso(estate.cloud.now)
    assert ended_at(estate, there) is None


def test_the_end_is_written_in_each_region_by_itself(estate: Estate) -> None:
    web = estate.instance(retain="1", copy_to=OVERSEAS)
    point = estate.point(web, retain="1")
    copy = estate.copy(point)
    estate.cloud.wait(days=100)
    estate.terminate(web)
    fault = estate.cloud.world.faults.add({"name": "region-outage", "region": OVERSEAS})
    with pytest.raises(PruneIncomplete):
        sweep(estate)
    estate.cloud.world.faults.clear(fault)
    estate.cloud.wait(days=3)
    sweep(estate)
    assert ended_at(estate, copy, OVERSEAS) == iso(estate.cloud.now)
    estate.cloud.wait(days=4)
    sweep(estate)
    assert estate.everything()[HOME] == set()
    assert estate.images(OVERSEAS) == {copy}
    estate.cloud.wait(days=3)
    sweep(estate)
    assert estate.everything()[OVERSEAS] == set()


@pytest.mark.parametrize("value", ["", "soon", "2026-13-01T00:00:00Z"])
def test_what_cannot_be_read_there_is_no_end(estate: Estate, value: str) -> None:
    web = estate.instance(retain="1")
    point = estate.point(web, retain="1", ended_at=value)
    estate.terminate(web)
    estate.cloud.wait(days=400)
    sweep(estate)
    assert estate.images() == {point}


def test_an_end_that_cannot_be_written_is_a_failure_and_is_written_later(estate: Estate) -> None:
    web, erp = estate.instance(retain="1"), estate.instance(retain="1")
    point = estate.point(web, retain="1")
    of_erp = [estate.point(erp, retain="1") for _ in range(2)]
    estate.terminate(web)
    estate.cloud.refuse("CreateTags", "UnauthorizedOperation", 403)
    with pytest.raises(PruneIncomplete, match=f"tagging {point}"):
        sweep(estate)
    assert estate.images() == {point, of_erp[1]}
    (message,) = estate.cloud.messages("PruningFailed")
    assert point in message["why"]
    estate.cloud.refusals.clear()
    estate.cloud.wait(days=8)
    sweep(estate)
    assert ended_at(estate, point) == iso(estate.cloud.now)


# ---------------------------------------------------------------- not copied there any more


def test_where_it_is_not_copied_any_more_its_copies_go_like_those_of_one_that_is_gone(
    estate: Estate,
) -> None:
    web = estate.instance(retain="2", copy_to=OVERSEAS)
    points = [estate.point(web, retain="2") for _ in range(3)]
    copies = [estate.copy(image_id) for image_id in points[1:]]
    sweep(estate)
    estate.untag(web, Tag.COPY_TO)
    estate.cloud.wait(days=31)
    sweep(estate)
    assert ended_at(estate, copies[1], OVERSEAS) == iso(estate.cloud.now)
    assert estate.images(OVERSEAS) == set(copies)
    estate.cloud.wait(days=7)
    sweep(estate)
    assert estate.everything()[OVERSEAS] == set()
    assert estate.images(HOME) == set(points[1:])
    assert [ended_at(estate, point) for point in points[1:]] == [None, None]
    (message,) = estate.cloud.messages("LastPointExpired")
    assert {report["image_id"] for report in message["instances"]} == {copies[1]}


@pytest.mark.parametrize("text", [OVERSEAS, f"eu-north-1, {OVERSEAS.upper()}"])
def test_where_it_is_copied_nothing_ends(estate: Estate, text: str) -> None:
    web = estate.instance(retain="2", copy_to=text)
    copy = estate.copy(estate.point(web, retain="2"))
    estate.cloud.wait(days=400)
    sweep(estate)
    estate.cloud.wait(days=7)
    sweep(estate)
    assert ended_at(estate, copy, OVERSEAS) is None
    assert estate.images(OVERSEAS) == {copy}


def test_a_backup_prunes_copies_whose_end_is_believed_and_no_others(estate: Estate) -> None:
    web = estate.instance(retain="1")
    long_ago = iso(estate.cloud.now - timedelta(days=8))
    copy = estate.copy(estate.point(web, retain="1"), ended_at=long_ago)
    estate.cloud.wait(days=31)
    other = estate.instance(retain="1")
    another = estate.copy(estate.point(other, retain="1"))
    estate.cloud.wait(days=31)
    answer = estate.prune(backup_ended(web, other), final_retention=FINAL)
    assert fates(answer, "expired") == {copy}
    assert estate.images(OVERSEAS) == {another}
