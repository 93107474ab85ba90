"""What pruning once got wrong, or nearly."""

import pytest

from stillpoint.tags import Tag
from tests.functions.prune_cloud import HOME, OVERSEAS, Estate, backup_ended, fates


def own_snapshot_with_our_tags(estate: Estate, web: str, image_id: str) -> str:
    """Let the owner take a snapshot of their own, and tag it as ours are."""
    reservation = estate.cloud.call("DescribeInstances", InstanceIds=[web])["Reservations"][0]
    volume = reservation["Instances"][0]["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    tags = estate.cloud.snapshots()[estate.snapshots_of(image_id)[0]]["tags"]
    snapshot_id = str(estate.cloud.call("CreateSnapshot", VolumeId=volume)["SnapshotId"])
    estate.cloud.tag([snapshot_id], tags)
    return snapshot_id


def test_an_owners_own_snapshot_that_carries_our_tags_is_not_ours(estate: Estate) -> None:
    web = estate.instance()
    own = own_snapshot_with_our_tags(estate, web, estate.point(web))
    estate.cloud.wait(days=10)
    assert estate.prune()["orphans"] == []
    assert own in estate.cloud.snapshots()


def test_the_snapshots_of_an_owners_copy_are_no_orphans_and_count_for_no_limit(
    estate: Estate,
) -> None:
    points = [estate.point(estate.instance(volumes=2)) for _ in range(2)]
    image = estate.cloud.images()[points[0]]
    copy = estate.copied_by_hand(points[0], "web-by-hand", image["tags"])
    estate.untag(points[1], Tag.STACK)  # taken over by its owner
    estate.cloud.wait(days=10)
    assert estate.dry_run()["orphans"] == []
    assert estate.prune(max_deletions_per_sweep="1")["orphans"] == []
    assert estate.images() == {*points, copy}


def test_the_snapshots_of_an_owners_copy_in_the_recycle_bin_stay(estate: Estate) -> None:
    estate.cloud.world.set_recycle_bin(
        image_days=7, snapshot_days=None, account="000000000000", region=HOME
    )
    point = estate.point(estate.instance())
    image = estate.cloud.images()[point]
    copy = estate.copied_by_hand(point, "web-by-hand", image["tags"])
    snapshots = estate.snapshots_of(copy)
    estate.cloud.wait(days=10)
    estate.cloud.call("DeregisterImage", ImageId=copy)
    estate.prune()
    assert set(snapshots) < set(estate.cloud.snapshots())


def test_an_image_whose_copy_tag_cannot_be_read_is_not_ours(estate: Estate) -> None:
    web = estate.instance(retain="1")
    points = [estate.point(web, retain="1") for _ in range(2)]
    estate.cloud.tag([points[0]], {Tag.COPY_OF: "somewhere"})
    estate.prune(backup_ended(web))
    assert estate.images() == set(points)


def test_an_owners_copy_with_numbers_behind_our_name_is_not_ours(estate: Estate) -> None:
    web = estate.instance(retain="1")
    points = [estate.point(web, retain="1") for _ in range(2)]
    image = estate.cloud.images()[points[0]]
    copies = {
        estate.copied_by_hand(points[0], image["name"] + suffix, image["tags"])
        for suffix in ("-1", "-2-3", "-02", "-c1", "-c2-c3", "-c2-2")
    }
    estate.prune()
    assert estate.images() == {points[1], *copies}


def test_the_last_one_is_told_of_only_if_it_is_gone(estate: Estate) -> None:
    web = estate.instance(retain="1d")
    points = [estate.point(web, retain="2") for _ in range(3)]
    estate.cloud.tag([points[2]], {Tag.HOLD: "true"})
    estate.terminate(web)
    estate.let_it_be_believed()
    estate.cloud.wait(days=33)
    estate.prune(final_retention="30d")
    assert estate.images() == {points[2]}
    assert estate.cloud.events() == []
    estate.untag(points[2], Tag.HOLD)
    estate.prune(final_retention="30d")
    (message,) = estate.cloud.messages("LastPointExpired")
    assert [report["image_id"] for report in message["instances"]] == [points[2]]


def test_of_several_that_go_at_last_the_newest_alone_is_told_of(estate: Estate) -> None:
    web = estate.instance(retain="2")
    points = [estate.point(web, retain="2") for _ in range(2)]
    estate.terminate(web)
    estate.let_it_be_believed()
    estate.cloud.wait(days=33)
    estate.prune(final_retention="30d")
    (message,) = estate.cloud.messages("LastPointExpired")
    assert [report["image_id"] for report in message["instances"]] == [points[1]]


def test_only_recovery_points_that_are_still_there_are_told_of_as_damaged(
    estate: Estate,
) -> None:
    web = estate.instance(retain="1", volumes=2)
    expired, _ = estate.point(web, retain="1"), estate.point(web, retain="1")
    estate.fail_the_next_image()
    failed, unproven = estate.point(web), estate.point(web)
    estate.untag(unproven, Tag.CONSISTENCY)
    for image_id in (expired, failed, unproven):
        estate.lose_snapshots(estate.snapshots_of(image_id)[0])
    estate.prune()
    assert estate.cloud.events() == []


def test_one_that_has_lost_its_only_snapshot_is_told_of_before_it_goes(estate: Estate) -> None:
    web = estate.instance()
    ruined = estate.point(web)
    estate.lose_snapshots(*estate.snapshots_of(ruined))
    estate.cloud.wait(days=3)
    estate.prune()
    (message,) = estate.cloud.messages("RecoveryPointDamaged")
    assert [report["image_id"] for report in message["instances"]] == [ruined]


def test_what_has_expired_is_not_counted_as_an_orphan_too(estate: Estate) -> None:
    web = estate.instance(retain="1")
    ruined, newer = estate.point(web, retain="1"), estate.point(web, retain="1")
    estate.lose_snapshots(*estate.snapshots_of(ruined))
    estate.cloud.wait(days=3)
    answer = estate.prune(max_deletions_per_sweep="1")
    assert fates(answer, "expired") == {ruined}
    assert answer["orphans"] == []
    assert estate.images() == {newer}


def test_an_image_that_nothing_proves_stays_if_the_proven_one_has_lost_its_snapshots(
    estate: Estate,
) -> None:
    web = estate.instance(volumes=2)
    ruined, unproven = estate.point(web), estate.point(web)
    estate.lose_snapshots(*estate.snapshots_of(ruined))
    estate.untag(unproven, Tag.CONSISTENCY)
    estate.cloud.wait(days=3)
    estate.prune()
    assert unproven in estate.images()


def test_a_hold_on_a_snapshot_that_has_lost_our_tags_holds(estate: Estate) -> None:
    web = estate.instance(retain="1")
    points = [estate.point(web, retain="1") for _ in range(2)]
    (snapshot,) = estate.snapshots_of(points[0])
    estate.untag(snapshot, Tag.STACK)
    estate.cloud.tag([snapshot], {Tag.HOLD: "true"})
    estate.prune()
    assert estate.images() == set(points)


def test_orphaned_snapshots_wait_if_no_time_is_left(estate: Estate) -> None:
    web = estate.instance()
    points = [estate.point(web) for _ in range(2)]
    estate.cloud.call("DeregisterImage", ImageId=points[0])
    estate.cloud.wait(days=3)
    with pytest.raises(Exception, match="no time was left"):
        estate.prune(seconds=29)
    assert len(estate.cloud.snapshots()) == 2


def test_what_cannot_be_launched_says_so_and_not_that_it_will_be(estate: Estate) -> None:
    web = estate.instance()
    disabled = estate.point(web)
    estate.cloud.call("DisableImage", ImageId=disabled)
    (row,) = estate.prune({"dry_run": True, "instances": [web]})["recovery_points"]
    assert row["fate"] == "kept"
    assert row["reason"] != "it is not available yet"


def test_what_was_deleted_and_what_was_spared_is_in_the_log(
    estate: Estate, caplog: pytest.LogCaptureFixture
) -> None:
    web = estate.instance(retain="1")
    points = [estate.point(web, retain="1") for _ in range(3)]
    estate.cloud.tag([points[1]], {Tag.HOLD: "true"})
    estate.prune()
    logged = [vars(record) for record in caplog.records if "fate" in vars(record)]
    assert [(row["image_id"], row["fate"]) for row in logged] == [
        (points[0], "expired"),
        (points[1], "spared"),
    ]
    assert logged[1]["reason"] == "it is held until the tag is removed"


def test_copies_have_snapshots_that_are_ours(estate: Estate) -> None:
    web = estate.instance()
    copies = [estate.copy(estate.point(web)) for _ in range(2)]
    estate.cloud.call("DeregisterImage", region=OVERSEAS, ImageId=copies[0])
    estate.cloud.wait(days=3)
    estate.prune()
    assert set(estate.cloud.snapshots(OVERSEAS)) == set(estate.snapshots_of(copies[1], OVERSEAS))
