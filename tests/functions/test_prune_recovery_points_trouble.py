"""Pruning that AWS hinders, that is too much, or that is cut short."""

import pytest

from stillpoint.errors import PruneIncomplete, TooManyDeletions
from stillpoint.tags import Tag
from tests.functions.prune_cloud import HOME, OVERSEAS, Estate, backup_ended, fates

# ---------------------------------------------------------------- the results of each snapshot


@pytest.mark.parametrize("code", ["missing-permissions", "internal-error", "client-error"])
def test_a_snapshot_that_did_not_go_with_its_image_is_deleted_by_itself(
    estate: Estate, code: str
) -> None:
    web = estate.instance(retain="1", volumes=3)
    points = estate.daily_points(web, 2, retain="1")
    estate.cloud.world.faults.add({"name": "snapshot-delete-refused", "return_code": code})
    answer = estate.prune(backup_ended(web))
    assert answer["failures"] == []
    assert estate.images() == {points[1]}
    assert set(estate.cloud.snapshots()) == set(estate.snapshots_of(points[1]))


def test_one_that_cannot_be_deleted_either_is_reported_and_goes_later_as_an_orphan(
    estate: Estate,
) -> None:
    web = estate.instance(retain="1", volumes=3)
    points = estate.daily_points(web, 3, retain="1")
    stays = estate.snapshots_of(points[0])[2]
    estate.cloud.world.faults.add(
        {"name": "snapshot-delete-refused", "return_code": "missing-permissions"}
    )
    estate.cloud.refuse("DeleteSnapshot", "UnauthorizedOperation", 403)
    with pytest.raises(PruneIncomplete, match=f"{stays} of {points[0]} stays: deleting {stays}"):
        estate.prune(backup_ended(web))
    assert estate.images() == {points[2]}
    assert set(estate.cloud.snapshots()) == {stays, *estate.snapshots_of(points[2])}
    estate.cloud.refusals.clear()
    estate.prune()
    assert stays not in estate.cloud.snapshots()


def test_a_snapshot_that_another_image_uses_stays(estate: Estate) -> None:
    web = estate.instance(retain="1", volumes=2)
    points = estate.daily_points(web, 2, retain="1")
    shared = estate.snapshots_of(points[0])
    owners = estate.cloud.call(
        "RegisterImage",
        Name="web-restored",
        RootDeviceName="/dev/xvda",
        BlockDeviceMappings=[
            {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": shared[0]}},
        ],
    )["ImageId"]
    answer = estate.prune(backup_ended(web))
    assert answer["failures"] == []
    assert estate.images() == {points[1], owners}
    assert set(estate.cloud.snapshots()) == {shared[0], *estate.snapshots_of(points[1])}
    estate.cloud.wait(days=3)
    estate.prune()
    assert shared[0] in estate.cloud.snapshots()
    estate.cloud.call("DeregisterImage", ImageId=owners)
    estate.prune()
    assert shared[0] not in estate.cloud.snapshots()


def test_an_image_that_cannot_be_deregistered_is_reported_and_tried_again(
    estate: Estate,
) -> None:
    web, erp = estate.instance(retain="1"), estate.instance(retain="1")
    of_web = estate.daily_points(web, 2, retain="1")
    of_erp = estate.daily_points(erp, 2, retain="1")
    estate.cloud.world.faults.add(
        {
            "name": "api-error",
            "action": "DeregisterImage",
            "instance": web,
            "code": "UnauthorizedOperation",
            "status": 403,
        }
    )
    with pytest.raises(PruneIncomplete, match=f"deregistering {of_web[0]}"):
        estate.prune()
    assert estate.images() == {*of_web, of_erp[1]}
    (message,) = estate.cloud.messages("PruningFailed")
    assert of_web[0] in message["why"]
    assert "no instance in particular" in message["text"].splitlines()[0]
    estate.prune()
    assert estate.images() == {of_web[1], of_erp[1]}


def test_protection_that_cannot_be_taken_off_leaves_the_image_as_it_is(estate: Estate) -> None:
    points = estate.daily_points(estate.instance(retain="1"), 2, retain="1")
    estate.cloud.call("EnableImageDeregistrationProtection", ImageId=points[0])
    estate.cloud.tag([points[0]], {Tag.PROTECTED: "deregistration"})
    estate.cloud.refuse("DisableImageDeregistrationProtection", "UnauthorizedOperation", 403)
    with pytest.raises(PruneIncomplete, match="taking the protection off"):
        estate.prune()
    assert estate.images() == set(points)


# ---------------------------------------------------------------- too much at once


def test_too_much_at_once_halts_everything_and_people_are_told(estate: Estate) -> None:
    web, erp = estate.instance(retain="1"), estate.instance(retain="3")
    estate.daily_points(web, 6, retain="1")
    estate.daily_points(erp, 4, retain="3")
    estate.cloud.wait(days=3)
    before = estate.everything()
    with pytest.raises(TooManyDeletions) as halted:
        estate.prune(max_deletions_per_sweep="5")
    assert (halted.value.planned, halted.value.limit) == (6, 5)
    assert halted.value.by_instance == {web: 5, erp: 1}
    assert estate.everything() == before
    (message,) = estate.cloud.messages()
    assert message["event"] == "PruningHalted"
    assert message["severity"] == "error"
    assert "6 recovery points would be deleted and at most 5 may be" in message["why"]
    assert '{"max_deletions": N}' in message["remedy"]
    assert [(report["instance_id"], report["why"]) for report in message["instances"]] == [
        (web, "5 would be deleted"),
        (erp, "1 would be deleted"),
    ]


def test_copies_and_orphans_count_too_and_what_is_spared_does_not(estate: Estate) -> None:
    web = estate.instance(retain="1", copy_to=OVERSEAS)
    points = estate.daily_points(web, 4, retain="1")
    for image_id in points[:3]:
        estate.copy(image_id)
    estate.cloud.call("DeregisterImage", ImageId=points[0])
    estate.cloud.tag([points[1]], {Tag.HOLD: "true"})
    estate.cloud.wait(days=3)
    with pytest.raises(TooManyDeletions, match="4 recovery points"):
        estate.prune(max_deletions_per_sweep="3")
    answer = estate.prune(max_deletions_per_sweep="4")
    assert len(fates(answer, "expired")) == 3
    assert len(fates(answer, "orphaned")) == 1


def test_people_can_allow_more_once(estate: Estate) -> None:
    points = estate.daily_points(estate.instance(retain="1"), 6, retain="1")
    with pytest.raises(TooManyDeletions):
        estate.prune({"max_deletions": 4}, max_deletions_per_sweep="100")
    assert len(
        estate.prune(max_deletions_per_sweep="2", event={"dry_run": True})["recovery_points"]
    )
    assert estate.images() == set(points)
    estate.prune({"max_deletions": 5}, max_deletions_per_sweep="2")
    assert estate.images() == {points[5]}


# ---------------------------------------------------------------- outages


def test_while_one_region_is_out_the_other_is_pruned(estate: Estate) -> None:
    web = estate.instance(retain="1", copy_to=OVERSEAS)
    points = estate.daily_points(web, 2, retain="1")
    copies = [estate.copy(image_id) for image_id in points]
    fault = estate.cloud.world.faults.add({"name": "region-outage", "region": OVERSEAS})
    with pytest.raises(PruneIncomplete, match=f"reading the images in {OVERSEAS}"):
        estate.prune()
    assert estate.cloud.events() == ["PruningFailed"]
    assert OVERSEAS in estate.cloud.messages("PruningFailed")[0]["why"]
    estate.cloud.world.faults.clear(fault)
    assert estate.images(HOME) == {points[1]}
    assert estate.images(OVERSEAS) == set(copies)
    estate.prune()
    assert estate.images(OVERSEAS) == {copies[1]}


def test_an_outage_after_a_backup_is_an_error_and_no_message(estate: Estate) -> None:
    web = estate.instance(retain="1")
    points = estate.daily_points(web, 2, retain="1")
    estate.cloud.world.faults.add({"name": "region-outage", "region": OVERSEAS})
    with pytest.raises(PruneIncomplete):
        estate.prune(backup_ended(web))
    assert estate.images() == {points[1]}
    assert estate.cloud.events() == []


def test_nothing_is_deleted_if_the_instances_cannot_be_read(estate: Estate) -> None:
    points = estate.daily_points(estate.instance(retain="1"), 3, retain="1")
    estate.cloud.refuse("DescribeInstances", "UnauthorizedOperation", 403)
    with pytest.raises(Exception, match="reading the instances"):
        estate.prune()
    assert estate.images() == set(points)


@pytest.mark.parametrize(
    "action",
    [
        *("DescribeImageReferences", "DescribeLockedSnapshots", "DescribeLaunchConfigurations"),
        "DescribeAutoScalingGroups",
    ],
)
def test_nothing_is_deleted_if_it_cannot_be_told_what_is_in_use(
    estate: Estate, action: str
) -> None:
    points = estate.daily_points(estate.instance(retain="1"), 2, retain="1")
    estate.fail_the_next_image()
    failed = estate.point(estate.instance())
    estate.cloud.wait(days=3)
    estate.cloud.refuse(action, "UnauthorizedOperation", 403)
    with pytest.raises(PruneIncomplete):
        estate.prune()
    assert estate.images() == {*points, failed}


def test_no_orphan_is_deleted_if_the_recycle_bin_cannot_be_read(estate: Estate) -> None:
    points = estate.daily_points(estate.instance(retain="1"), 3, retain="1")
    lost = estate.snapshots_of(points[0])
    estate.cloud.call("DeregisterImage", ImageId=points[0])
    estate.cloud.wait(days=3)
    estate.cloud.refuse("ListImagesInRecycleBin", "UnauthorizedOperation", 403)
    with pytest.raises(PruneIncomplete, match="reading the Recycle Bin"):
        estate.prune()
    assert estate.images() == {points[2]}
    assert set(lost) < set(estate.cloud.snapshots())


def test_a_message_that_cannot_be_sent_undoes_nothing(estate: Estate) -> None:
    web = estate.instance(retain="1")
    point = estate.point(web, retain="1")
    estate.terminate(web)
    estate.let_it_be_believed()
    estate.cloud.wait(days=33)
    estate.cloud.refuse("Publish", "AuthorizationError", 403)
    with pytest.raises(PruneIncomplete, match="publishing LastPointExpired"):
        estate.prune(final_retention="30d")
    assert point not in estate.images()


def test_what_there_is_no_time_for_is_left_for_the_next_time(estate: Estate) -> None:
    points = estate.daily_points(estate.instance(retain="1"), 3, retain="1")
    with pytest.raises(PruneIncomplete, match="no time was left") as cut_short:
        estate.prune(seconds=29)
    assert all(image_id in str(cut_short.value) for image_id in points[:2])
    assert estate.images() == set(points)
    estate.prune()
    assert estate.images() == {points[2]}


def test_the_oldest_go_first_in_whatever_region(estate: Estate) -> None:
    web, erp = (estate.instance(retain="1", copy_to=OVERSEAS) for _ in range(2))
    points = []
    for _ in range(3):
        points += [estate.point(web, retain="1"), estate.point(erp, retain="1")]
    copies = [estate.copy(image_id) for image_id in points]
    answer = estate.prune()
    order = [row["image_id"] for row in answer["recovery_points"]]
    expected = [each for pair in zip(points[:4], copies[:4], strict=True) for each in pair]
    assert [{*order[at : at + 2]} for at in range(0, 8, 2)] == [
        {*expected[at : at + 2]} for at in range(0, 8, 2)
    ]
    assert estate.images(HOME) == set(points[4:])


# ---------------------------------------------------------------- what is told of it


def test_the_sweep_says_which_retention_on_an_image_it_cannot_read(estate: Estate) -> None:
    web = estate.instance(retain="1")
    points = [estate.point(web, retain="1"), estate.point(web, retain="soon")]
    with pytest.raises(PruneIncomplete, match=f"{web} in {HOME}: nothing expires"):
        estate.prune()
    assert estate.images() == set(points)
    assert "PruningFailed" in estate.cloud.events()


def test_a_dry_run_says_how_many_it_would_be_and_how_many_may_be(estate: Estate) -> None:
    web = estate.instance(retain="1")
    estate.daily_points(web, 4, retain="1")
    answer = estate.dry_run()
    assert (answer["deletions"], answer["limit"]) == (3, 100)
