"""What is ours in a Region and belongs to no recovery point."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillpoint.image import Image
from stillpoint.orphans import (
    FAILED_STATES,
    OLD_ENOUGH,
    STUCK_AFTER,
    Orphan,
    missing_snapshots,
    orphaned_images,
    orphaned_snapshots,
)
from stillpoint.pruning import is_point
from stillpoint.recovery_point import Snapshot, image_name
from stillpoint.tags import Tag, iso
from tests.unit.builders import at

NOW = at("2026-11-22 12:00")
OCCURRENCE = at("2026-11-01 03:00")
LONG_AGO, JUST_OLD = timedelta(days=21), OLD_ENOUGH
DAY = timedelta(days=1)
JUST_YOUNG = OLD_ENOUGH - timedelta(seconds=1)


def the_tags(instance_id: str = "i-0a", occurrence: datetime = OCCURRENCE) -> dict[str, str]:
    return {
        Tag.STACK: "stillpoint",
        Tag.INSTANCE: instance_id,
        Tag.OCCURRENCE: iso(occurrence),
    }


def an_image(
    image_id: str = "ami-1",
    *,
    state: str = "available",
    level: str | None = "crash",
    instance_id: str = "i-0a",
    occurrence: datetime = OCCURRENCE,
    age: timedelta | None = LONG_AGO,
    snapshots: tuple[str, ...] = ("snap-1", "snap-2"),
) -> Image:
    tags = the_tags(instance_id, occurrence) | ({Tag.CONSISTENCY: level} if level else {})
    return Image(
        image_id=image_id,
        name=image_name(instance_id, occurrence),
        state=state,
        state_reason="",
        tags=tags,
        volumes=2,
        snapshot_ids=snapshots,
        created_at=None if age is None else NOW - age,
    )


def a_snapshot(
    snapshot_id: str = "snap-9",
    *,
    age: timedelta = LONG_AGO,
    instance_id: str = "i-0a",
    occurrence: datetime = OCCURRENCE,
    level: str | None = None,
) -> Snapshot:
    return Snapshot(
        snapshot_id=snapshot_id,
        volume_id="vol-1",
        state="completed",
        started_at=NOW - age,
        tags=the_tags(instance_id, occurrence) | ({Tag.CONSISTENCY: level} if level else {}),
    )


EVERYTHING = frozenset({"snap-1", "snap-2", "snap-3", "snap-4"})


def images_found(
    *images: Image, existing: frozenset[str] = EVERYTHING, final: timedelta | None = None
) -> dict[str, str]:
    """Return the reasons by the id of the orphaned image; of a spared one with the reason."""
    found = orphaned_images(images, existing, NOW, final)
    return {
        orphan.resource_id: orphan.reason + (f", but {orphan.spared}" if orphan.spared else "")
        for orphan in found
    }


def snapshots_found(
    *snapshots: Snapshot,
    images: tuple[Image, ...] = (),
    existing: frozenset[str] = EVERYTHING,
    binned: tuple[str, ...] = (),
    final: timedelta | None = None,
) -> dict[str, str]:
    """Return why each orphaned snapshot is spared, or an empty text, by its id."""
    found = orphaned_snapshots(snapshots, images, existing, binned, NOW, final)
    return {orphan.resource_id: orphan.spared for orphan in found}


# ---------------------------------------------------------------- images


def test_an_unproven_image_stays_as_the_only_one_until_the_final_retention() -> None:
    unproven = an_image(level=None)
    assert unproven.created_at is not None
    age = NOW - unproven.created_at
    spared = {"ami-1": "nothing proves what it holds, but its instance has no other"}
    assert images_found(unproven) == images_found(unproven, final=age) == spared
    gone = {"ami-1": "nothing proves what it holds"}
    assert images_found(unproven, final=age - timedelta(seconds=1)) == gone


def test_a_recovery_point_is_no_orphan() -> None:
    assert images_found(*(an_image(state=s) for s in ("available", "disabled"))) == {}
    assert images_found(an_image(state="pending", age=STUCK_AFTER)) == {}


def test_one_that_is_pending_for_more_than_a_week_is_stuck() -> None:
    stuck = an_image(state="pending", age=STUCK_AFTER + timedelta(seconds=1), snapshots=())
    assert images_found(stuck, an_image("ami-2")) == {"ami-1": "it has been pending for a week"}
    assert timedelta(days=7) == STUCK_AFTER


def test_it_stays_as_the_only_one_until_the_final_retention() -> None:
    stuck = an_image(state="pending")
    spared = {"ami-1": "it has been pending for a week, but its instance has no other"}
    assert images_found(stuck) == images_found(stuck, final=LONG_AGO) == spared
    assert images_found(stuck, an_image("ami-2", instance_id="i-0b")) == spared
    gone = {"ami-1": "it has been pending for a week"}
    assert images_found(stuck, final=LONG_AGO - timedelta(seconds=1)) == gone


@pytest.mark.parametrize("state", sorted(FAILED_STATES))
@pytest.mark.parametrize("level", ["crash", None])
def test_a_failed_image_is_one_even_if_it_is_all_that_there_is(
    state: str, level: str | None
) -> None:
    assert images_found(an_image(state=state, level=level)) == {"ami-1": f"it is in state {state}"}


def test_an_image_that_has_lost_all_of_its_snapshots_is_one() -> None:
    assert images_found(an_image(), existing=frozenset()) == {
        "ami-1": "none of its snapshots exists"
    }


def test_one_that_has_lost_some_of_them_is_damaged_and_no_orphan() -> None:
    image, existing = an_image(), frozenset({"snap-1"})
    assert images_found(image, existing=existing) == {}
    assert missing_snapshots(image, existing) == ["snap-2"]


def test_one_that_shows_no_snapshots_yet_has_lost_none() -> None:
    young = an_image(state="pending", snapshots=(), age=STUCK_AFTER)
    assert images_found(young, existing=frozenset()) == {}


def test_an_image_that_nothing_proves_is_one_if_its_instance_has_one_that_is_proven() -> None:
    unproven, proven = an_image("ami-1", level=None), an_image("ami-2")
    assert images_found(unproven, proven) == {"ami-1": "nothing proves what it holds"}


@pytest.mark.parametrize(
    "other",
    [
        an_image("ami-2", instance_id="i-0b"),
        an_image("ami-2", state="pending", age=STUCK_AFTER),
        an_image("ami-2", state="disabled"),
        an_image("ami-2", snapshots=("snap-1", "snap-lost")),
        an_image("ami-2", level=None, age=timedelta(0)),
    ],
)
def test_it_is_left_alone_while_its_instance_has_nothing_better(other: Image) -> None:
    assert images_found(an_image("ami-1", level=None), other) == {
        "ami-1": "nothing proves what it holds, but its instance has no other"
    }


@pytest.mark.parametrize(
    "image",
    [
        an_image(state="failed", age=JUST_YOUNG),
        an_image(level=None, age=JUST_YOUNG),
        an_image(state="pending", level=None, age=timedelta(0)),
        an_image(state="failed", age=None),
    ],
)
def test_what_may_still_be_at_work_is_no_orphan(image: Image) -> None:
    assert images_found(image, an_image("ami-2"), existing=frozenset()) == {
        "ami-2": "none of its snapshots exists"
    }


def test_after_the_grace_to_the_second_it_is() -> None:
    assert images_found(an_image(state="failed", age=JUST_OLD)) != {}


# ---------------------------------------------------------------- snapshots


def test_a_snapshot_that_no_image_uses_is_an_orphan() -> None:
    image = an_image(snapshots=("snap-1",))
    assert snapshots_found(a_snapshot("snap-1"), a_snapshot("snap-9"), images=(image,)) == {
        "snap-9": ""
    }


@pytest.mark.parametrize("state", ["pending", "available", "disabled", "failed"])
def test_one_that_an_image_in_whatever_state_uses_is_none(state: str) -> None:
    image = an_image(state=state, level=None)
    assert snapshots_found(a_snapshot("snap-1"), a_snapshot("snap-2"), images=(image,)) == {}


def test_the_snapshots_of_a_young_backup_may_get_their_image_yet() -> None:
    assert snapshots_found(a_snapshot(age=JUST_YOUNG)) == {}
    assert snapshots_found(a_snapshot(age=JUST_OLD)) == {"snap-9": ""}


def test_a_pending_image_may_still_be_about_to_show_a_snapshot_of_its_own() -> None:
    pending = an_image(state="pending", snapshots=(), age=STUCK_AFTER)
    another = an_image("ami-2", state="pending", occurrence=at("2026-11-02 03:00"), age=DAY)
    assert snapshots_found(a_snapshot(), images=(pending,)) == {}
    assert snapshots_found(a_snapshot(), images=(replace(pending, created_at=None),)) == {}
    assert snapshots_found(a_snapshot(), images=(another,)) == {"snap-9": ""}
    assert snapshots_found(a_snapshot(instance_id="i-0b"), images=(pending,)) == {"snap-9": ""}


def test_one_that_is_stuck_is_waited_for_no_longer() -> None:
    stuck = an_image(state="pending", snapshots=(), age=STUCK_AFTER + timedelta(seconds=1))
    assert snapshots_found(a_snapshot(), images=(stuck,)) == {"snap-9": ""}


ALL_THERE_IS = {"snap-9": "its instance has no recovery point"}


def test_the_snapshots_of_a_deregistered_point_stay_as_all_that_its_instance_has() -> None:
    proven, unproven = a_snapshot(level="crash"), a_snapshot("snap-8")
    assert snapshots_found(proven, unproven) == ALL_THERE_IS | {"snap-8": ""}
    assert snapshots_found(a_snapshot(level="perfect")) == {"snap-9": ""}


def test_they_stay_until_the_final_retention_to_the_second() -> None:
    proven = a_snapshot(level="crash")
    assert snapshots_found(proven, final=LONG_AGO) == ALL_THERE_IS
    assert snapshots_found(proven, final=LONG_AGO - timedelta(seconds=1)) == {"snap-9": ""}


@pytest.mark.parametrize(
    ("image", "is_better"),
    [
        (an_image(), True),
        (an_image(instance_id="i-0b"), False),
        (an_image(state="pending", age=DAY, occurrence=at("2026-11-21 03:00")), False),
        (an_image(state="disabled"), False),
        (an_image(level=None), False),
        (an_image(snapshots=("snap-1", "snap-lost")), False),
    ],
)
def test_they_go_when_their_instance_has_a_point_that_can_be_launched(
    image: Image, is_better: bool
) -> None:
    found = snapshots_found(a_snapshot(level="crash"), images=(image,))
    assert found == ({"snap-9": ""} if is_better else ALL_THERE_IS)


@pytest.mark.parametrize("suffix", ["", "-2", "-c2", "-2-c3"])
def test_the_snapshots_of_an_image_in_the_recycle_bin_wait_with_it(suffix: str) -> None:
    name = image_name("i-0a", OCCURRENCE) + suffix
    assert snapshots_found(a_snapshot(), binned=("somebody's", name)) == {
        "snap-9": "its image is in the Recycle Bin"
    }


def test_other_images_in_the_recycle_bin_keep_nothing() -> None:
    names = ("", "web", image_name("i-0a", at("2026-11-02 03:00")), image_name("i-0b", OCCURRENCE))
    assert snapshots_found(a_snapshot(), binned=names) == {"snap-9": ""}


def test_an_orphan_tells_what_it_is_and_whose() -> None:
    image, snapshot = Orphan("why", image=an_image()), Orphan("why", snapshot=a_snapshot())
    assert (image.resource_id, image.instance_id) == ("ami-1", "i-0a")
    assert (snapshot.resource_id, snapshot.instance_id) == ("snap-9", "i-0a")


# ---------------------------------------------------------------- whatever there is

AGES = st.sampled_from([timedelta(0), JUST_YOUNG, JUST_OLD, LONG_AGO])
SNAPSHOT_IDS = st.sampled_from(sorted(EVERYTHING))
IMAGES = st.lists(
    st.builds(
        an_image,
        st.integers(0, 99).map(lambda number: f"ami-{number}"),
        state=st.sampled_from(["available", "available", "pending", "disabled", "failed"]),
        level=st.sampled_from(["crash", "crash", None]),
        instance_id=st.sampled_from(["i-0a", "i-0b"]),
        age=st.none() | AGES,
        snapshots=st.lists(SNAPSHOT_IDS, unique=True, max_size=3).map(tuple),
    ),
    max_size=8,
    unique_by=lambda image: image.image_id,
)
SNAPSHOTS = st.lists(
    st.builds(
        a_snapshot,
        SNAPSHOT_IDS,
        age=AGES,
        instance_id=st.sampled_from(["i-0a", "i-0b"]),
        level=st.sampled_from(["crash", None]),
    ),
    max_size=4,
    unique_by=lambda snapshot: snapshot.snapshot_id,
)


@given(IMAGES, st.frozensets(SNAPSHOT_IDS))
def test_no_sound_recovery_point_and_nothing_young_is_ever_an_orphan(
    images: list[Image], existing: frozenset[str]
) -> None:
    for orphan in orphaned_images(images, existing, NOW, None):
        image = orphan.image
        assert image is not None
        assert image.created_at is not None
        assert NOW - image.created_at >= OLD_ENOUGH
        is_stuck = image.state == "pending" and NOW - image.created_at > STUCK_AFTER
        assert is_stuck or not (is_point(image) and existing.intersection(image.snapshot_ids))


@given(IMAGES, st.frozensets(SNAPSHOT_IDS))
def test_what_is_not_spared_is_never_all_that_an_instance_has(
    images: list[Image], existing: frozenset[str]
) -> None:
    found = orphaned_images(images, existing, NOW, None)
    goes = {orphan.resource_id for orphan in found if not orphan.spared}
    for image in images:
        lost_all = image.snapshot_ids and not existing.intersection(image.snapshot_ids)
        if image.image_id in goes and image.state not in FAILED_STATES and not lost_all:
            assert any(
                each.image_id not in goes and each.state == "available" and is_point(each)
                for each in images
                if each.tags[Tag.INSTANCE] == image.tags[Tag.INSTANCE]
            )


@given(IMAGES, SNAPSHOTS)
def test_no_snapshot_that_is_used_or_young_is_ever_an_orphan(
    images: list[Image], snapshots: list[Snapshot]
) -> None:
    used = {snapshot_id for image in images for snapshot_id in image.snapshot_ids}
    orphans = orphaned_snapshots(snapshots, images, EVERYTHING, (), NOW, None)
    found = {orphan.resource_id for orphan in orphans}
    assert not found & used
    assert not found & {s.snapshot_id for s in snapshots if NOW - s.started_at < OLD_ENOUGH}
