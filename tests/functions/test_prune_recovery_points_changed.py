"""A changed retention is left to the daily sweep; a backup deletes what it makes surplus."""

import pytest

from stillpoint.errors import TooManyDeletions
from stillpoint.tags import Tag
from tests.functions.prune_cloud import HOME, OVERSEAS, Estate, backup_ended, fates, reasons

CHANGED = "its retention was changed: left to the daily sweep"


def test_a_backup_leaves_what_a_changed_retention_makes_expire_to_the_sweep(
    estate: Estate,
) -> None:
    web, other = estate.instance(retain="2"), estate.instance(retain="2")
    points = [estate.point(web, retain="9") for _ in range(4)]
    points += [estate.point(web, retain="2") for _ in range(3)]
    few = [estate.point(other, retain="2") for _ in range(3)]
    answer = estate.prune(backup_ended(web, other))
    assert fates(answer, "expired") == {points[4], few[0]}
    assert reasons(answer, "spared") == dict.fromkeys(points[:4], CHANGED)
    assert estate.cloud.events() == []
    with pytest.raises(TooManyDeletions):
        estate.prune(max_deletions_per_sweep="3")
    estate.prune(max_deletions_per_sweep="4")
    assert estate.images() == {*points[5:], *few[1:]}


def test_the_retention_in_a_region_is_that_of_the_newest_copy_there(estate: Estate) -> None:
    web = estate.instance(retain="1", copy_to=OVERSEAS)
    points = [estate.point(web, retain=text) for text in ("5", "5", "1", "1")]
    copies = [estate.copy(image_id) for image_id in points[:3]]
    answer = estate.prune(backup_ended(web))
    assert fates(answer, "expired") == {points[2]}
    assert reasons(answer, "spared") == dict.fromkeys([*points[:2], *copies[:2]], CHANGED)
    estate.prune()
    assert estate.images(HOME) == {points[3]}
    assert estate.images(OVERSEAS) == {copies[2]}


def test_a_longer_retention_leaves_nothing_to_the_sweep_for_long(estate: Estate) -> None:
    web = estate.instance(retain="3")
    points = [estate.point(web, retain=text) for text in ("1", "1", "3", "3", "3")]
    answer = estate.prune(backup_ended(web))
    assert reasons(answer, "spared") == dict.fromkeys(points[:2], CHANGED)
    estate.prune()
    assert estate.images() == set(points[2:])


def test_a_default_that_was_mistyped_deletes_nothing_of_thirty_instances(estate: Estate) -> None:
    instances = [estate.instance() for _ in range(30)]
    made = [
        estate.point(instance_id, ready=False, retain=retain)
        for retain in ("5", "5", "5", "5", "5", "1")
        for instance_id in instances
    ]
    estate.cloud.wait(minutes=10)
    before = estate.everything()
    for instance_id in instances:
        answer = estate.prune(backup_ended(instance_id), default_retain="1")
        assert set(reasons(answer, "spared").values()) == {CHANGED}
        assert len(fates(answer, "spared")) == 5
    with pytest.raises(TooManyDeletions) as halted:
        estate.prune(default_retain="1")
    assert halted.value.planned == 150
    assert halted.value.by_instance == dict.fromkeys(instances, 5)
    assert estate.everything() == before
    assert estate.cloud.events() == ["PruningHalted"]
    # Put right, it costs nothing but what would have gone anyway.
    assert fates(estate.prune(default_retain="5"), "expired") == set(made[:30])


def test_what_an_outage_of_the_pruning_has_left_goes_with_the_next_backups(
    estate: Estate,
) -> None:
    web, erp = estate.instance(retain="2"), estate.instance(retain="3d")
    of_web = [estate.point(web, retain="2") for _ in range(12)]
    of_erp = estate.daily_points(erp, 12, retain="3d")
    answer = estate.prune(backup_ended(web))
    assert fates(answer, "expired") == set(of_web[:10])
    assert fates(answer, "spared") == set()
    estate.prune(backup_ended(erp))
    assert estate.images() == {*of_web[10:], *of_erp[9:]}


def test_a_hold_is_the_reason_that_is_told_if_the_retention_was_changed_too(
    estate: Estate,
) -> None:
    web = estate.instance(retain="1")
    points = [estate.point(web, retain=text) for text in ("5", "5", "1")]
    estate.cloud.tag([points[0]], {Tag.HOLD: "true"})
    answer = estate.prune(backup_ended(web))
    assert reasons(answer, "spared") == {
        points[0]: "it is held until the tag is removed",
        points[1]: CHANGED,
    }
