"""What is left over of backups and copies that failed, and what has been damaged."""

from sandbox.virtual.stack import ACCOUNT
from stillpoint.tags import Tag
from tests.functions.prune_cloud import HOME, OVERSEAS, Estate, backup_ended, fates, reasons


def lose_image(estate: Estate, image_id: str, region: str = HOME) -> list[str]:
    """Deregister an image by hand, as was usual before the snapshots could be taken along."""
    snapshots = estate.snapshots_of(image_id, region)
    estate.cloud.call("DeregisterImage", region=region, ImageId=image_id)
    return snapshots


def test_snapshots_whose_image_is_gone_are_deleted_after_two_days(estate: Estate) -> None:
    web = estate.instance(volumes=2)
    kept, lost = estate.point(web), estate.point(web)
    snapshots = lose_image(estate, lost)
    estate.cloud.wait(hours=47)
    estate.prune()
    assert set(snapshots) < set(estate.cloud.snapshots())
    estate.cloud.wait(hours=2)
    answer = estate.prune()
    assert reasons(answer, "orphaned") == dict.fromkeys(snapshots, "no image uses it")
    assert set(estate.cloud.snapshots()) == set(estate.snapshots_of(kept))


def test_orphans_are_looked_for_in_every_region(estate: Estate) -> None:
    web = estate.instance()
    copies = [estate.copy(estate.point(web)) for _ in range(2)]
    lose_image(estate, copies[0], OVERSEAS)
    estate.cloud.wait(days=3)
    estate.prune()
    assert set(estate.cloud.snapshots(OVERSEAS)) == set(estate.snapshots_of(copies[1], OVERSEAS))
    assert len(estate.cloud.snapshots(HOME)) == 2


def test_orphans_are_not_looked_for_after_a_backup(estate: Estate) -> None:
    web = estate.instance()
    lose_image(estate, estate.point(web))
    estate.cloud.wait(days=3)
    answer = estate.prune(backup_ended(web))
    assert answer["orphans"] == []
    assert len(estate.cloud.snapshots()) == 1


def test_failed_images_go_with_what_snapshots_they_have(estate: Estate) -> None:
    web = estate.instance(volumes=2)
    kept = estate.point(web)
    estate.fail_the_next_image()
    failed = estate.point(web)
    estate.cloud.wait(days=1)
    estate.prune()
    assert estate.images() == {kept, failed}
    estate.cloud.wait(days=1)
    answer = estate.prune()
    assert reasons(answer, "orphaned") == {failed: "it is in state failed"}
    assert estate.images() == {kept}
    assert set(estate.cloud.snapshots()) == set(estate.snapshots_of(kept))


def test_a_failed_image_goes_even_if_it_is_all_that_an_instance_has(estate: Estate) -> None:
    estate.fail_the_next_image()
    estate.point(estate.instance())
    estate.cloud.wait(days=3)
    estate.prune()
    assert estate.everything() == {HOME: set(), OVERSEAS: set()}


def test_failed_copies_go(estate: Estate) -> None:
    point = estate.point(estate.instance())
    estate.cloud.world.faults.add({"name": "copy-failed"})
    failed = estate.copy(point)
    estate.cloud.wait(days=3)
    answer = estate.prune()
    assert fates(answer, "orphaned") == {failed}
    assert estate.everything()[OVERSEAS] == set()
    assert estate.images(HOME) == {point}


def test_an_image_that_nothing_proves_goes_if_its_instance_has_a_better_one(
    estate: Estate,
) -> None:
    web, erp = estate.instance(), estate.instance()
    proven, unproven, alone = estate.point(web), estate.point(web), estate.point(erp)
    for image_id in (unproven, alone):
        estate.untag(image_id, Tag.CONSISTENCY)
    estate.cloud.wait(days=3)
    answer = estate.prune()
    assert reasons(answer, "orphaned") == {unproven: "nothing proves what it holds"}
    assert reasons(answer, "spared") == {alone: "its instance has no other"}
    assert estate.images() == {proven, alone}


def test_an_image_without_any_of_its_snapshots_goes(estate: Estate) -> None:
    web = estate.instance(volumes=2)
    ruined, sound = estate.point(web), estate.point(web)
    estate.lose_snapshots(*estate.snapshots_of(ruined))
    estate.cloud.wait(days=3)
    answer = estate.prune()
    assert reasons(answer, "orphaned") == {ruined: "none of its snapshots exists"}
    assert estate.images() == {sound}


def test_one_that_has_lost_some_is_told_of_and_stays_until_it_expires(estate: Estate) -> None:
    web = estate.instance(retain="2", volumes=2)
    damaged = estate.point(web, retain="2")
    estate.lose_snapshots(estate.snapshots_of(damaged)[1])
    estate.cloud.wait(days=3)
    estate.prune()
    (message,) = estate.cloud.messages("RecoveryPointDamaged")
    (report,) = message["instances"]
    assert report["image_id"] == damaged
    assert report["instance_id"] == web
    assert report["why"] == f"1 of its 2 snapshots in {HOME} are gone"
    assert report["consistency"] == "file-system"
    assert "consistency:    file-system" in message["text"]
    assert "state now" not in message["text"]
    newer = [estate.point(web, retain="2") for _ in range(2)]
    estate.prune()
    assert estate.images() == set(newer)
    assert len(estate.cloud.snapshots()) == 4


def test_what_is_damaged_is_told_by_the_daily_sweep_alone(estate: Estate) -> None:
    web = estate.instance(volumes=2)
    estate.lose_snapshots(estate.snapshots_of(estate.point(web))[0])
    estate.prune(backup_ended(web))
    estate.dry_run()
    assert estate.cloud.events() == []


def test_an_orphan_that_is_held_or_locked_or_in_use_stays(estate: Estate) -> None:
    web = estate.instance()
    held, locked, free = (lose_image(estate, estate.point(web))[0] for _ in range(3))
    good = estate.point(web)
    estate.cloud.tag([held], {Tag.HOLD: "true"})
    estate.cloud.call("LockSnapshot", SnapshotId=locked, LockMode="governance", LockDuration=30)
    estate.fail_the_next_image()
    failed = estate.point(web)
    estate.cloud.tag([failed], {Tag.HOLD: "true"})
    estate.cloud.wait(days=3)
    answer = estate.prune()
    assert fates(answer, "spared") == {held, locked, failed}
    assert fates(answer, "orphaned") == {free}
    assert {held, locked} < set(estate.cloud.snapshots())
    assert estate.images() == {good, failed}


def test_the_snapshots_of_an_image_in_the_recycle_bin_stay_as_long_as_it(estate: Estate) -> None:
    estate.cloud.world.set_recycle_bin(
        image_days=7, snapshot_days=None, account=ACCOUNT, region=HOME
    )
    web = estate.instance()
    point, newer = estate.point(web), estate.point(web)
    snapshots = lose_image(estate, point)
    estate.cloud.wait(days=3)
    answer = estate.prune()
    assert reasons(answer, "spared") == dict.fromkeys(snapshots, "its image is in the Recycle Bin")
    estate.cloud.call("RestoreImageFromRecycleBin", ImageId=point)
    estate.prune()
    assert {*estate.snapshots_of(point), *estate.snapshots_of(newer)} == set(
        estate.cloud.snapshots()
    )
    lose_image(estate, point)
    estate.cloud.wait(days=8)
    estate.prune()
    assert set(estate.cloud.snapshots()) == set(estate.snapshots_of(newer))


def test_the_snapshots_of_a_deregistered_point_stay_while_its_instance_has_no_other(
    estate: Estate,
) -> None:
    web, erp = estate.instance(volumes=2), estate.instance()
    lost, others = estate.point(web), lose_image(estate, estate.point(erp))
    estate.point(erp)
    (tagless, kept) = snapshots = lose_image(estate, lost)
    estate.untag(tagless, Tag.CONSISTENCY)
    estate.cloud.wait(days=3)
    answer = estate.prune()
    assert reasons(answer, "spared") == {kept: "its instance has no recovery point"}
    assert fates(answer, "orphaned") == {tagless, *others}
    assert set(snapshots) & set(estate.cloud.snapshots()) == {kept}
    newer = estate.point(web)
    estate.prune()
    assert kept not in estate.cloud.snapshots()
    assert newer in estate.images()


def test_they_stay_until_final_retention(estate: Estate) -> None:
    (snapshot,) = lose_image(estate, estate.point(estate.instance()))
    estate.cloud.wait(days=29)
    estate.prune(final_retention="30d")
    assert set(estate.cloud.snapshots()) == {snapshot}
    estate.cloud.wait(days=2)
    estate.prune(final_retention="forever")
    assert set(estate.cloud.snapshots()) == {snapshot}
    estate.prune(final_retention="30d")
    assert estate.cloud.snapshots() == {}


def test_an_image_that_hangs_goes_after_a_week_and_as_the_only_one_after_final_retention(
    estate: Estate,
) -> None:
    web, erp = estate.instance(volumes=2), estate.instance()
    good = estate.point(web)
    for instance_id in (web, erp):
        estate.cloud.world.configure(instance_id, image_seconds=1e9)
    stuck, only = estate.point(web, ready=False), estate.point(erp, ready=False)
    estate.cloud.wait(days=6, hours=23)
    assert estate.prune()["orphans"] == []
    estate.cloud.wait(hours=2)
    answer = estate.prune()
    assert reasons(answer, "orphaned") == {stuck: "it has been pending for a week"}
    assert reasons(answer, "spared") == {only: "its instance has no other"}
    assert estate.images() == {good, only}
    assert len(estate.cloud.snapshots()) == 2 + 1
    estate.cloud.wait(days=30)
    estate.prune(final_retention="30d")
    assert estate.images() == {good}


def test_what_expires_can_be_restored_from_the_recycle_bin(estate: Estate) -> None:
    estate.cloud.world.set_recycle_bin(image_days=7, snapshot_days=14, account=ACCOUNT, region=HOME)
    points = [estate.point(estate.instance(retain="1"), retain="1")]
    web = estate.cloud.images()[points[0]]["tags"][Tag.INSTANCE]
    snapshots = estate.snapshots_of(points[0])
    points.append(estate.point(web, retain="1"))
    estate.prune()
    assert estate.images() == {points[1]}
    estate.cloud.call("RestoreSnapshotFromRecycleBin", SnapshotId=snapshots[0])
    estate.cloud.call("RestoreImageFromRecycleBin", ImageId=points[0])
    estate.cloud.tag([points[0]], {Tag.HOLD: "true"})
    estate.cloud.wait(days=3)
    estate.prune()
    assert estate.images() == set(points)


def test_the_snapshots_of_an_image_still_pending_are_no_orphans(estate: Estate) -> None:
    web = estate.instance(volumes=3)
    estate.cloud.world.configure(web, image_seconds=86400 * 5)
    pending = estate.point(web)
    estate.cloud.wait(days=4)
    estate.prune()
    assert estate.images() == {pending}
    assert len(estate.cloud.snapshots()) == 3


def test_an_owners_own_snapshots_are_nobodys_orphans(estate: Estate) -> None:
    web = estate.instance()
    estate.point(web)
    (instance,) = estate.cloud.call("DescribeInstances", InstanceIds=[web])["Reservations"]
    volume = instance["Instances"][0]["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    own = estate.cloud.call("CreateSnapshot", VolumeId=volume)["SnapshotId"]
    estate.cloud.wait(days=30)
    estate.prune()
    assert own in estate.cloud.snapshots()


def test_a_dry_run_names_the_orphans_and_leaves_them(estate: Estate) -> None:
    web = estate.instance()
    snapshots = lose_image(estate, estate.point(web))
    kept = estate.snapshots_of(estate.point(web))
    estate.cloud.wait(days=3)
    answer = estate.dry_run()
    assert fates(answer, "orphaned") == set(snapshots)
    assert set(estate.cloud.snapshots()) == {*snapshots, *kept}
