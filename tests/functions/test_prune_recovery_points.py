"""Pruning when a backup has succeeded, once a day, and when people ask what would go."""

import pytest

from stillpoint.tags import Tag
from tests.functions.prune_cloud import DAILY, HOME, OVERSEAS, Estate, backup_ended, fates, reasons


def test_the_end_of_a_backup_prunes_its_instances_alone(estate: Estate) -> None:
    web, erp = estate.instance(retain="2"), estate.instance(retain="2")
    of_web = estate.daily_points(web, 4, retain="2")
    of_erp = estate.daily_points(erp, 4, retain="2")
    answer = estate.prune(backup_ended(web))
    assert estate.images() == {*of_web[2:], *of_erp}
    assert set(estate.cloud.snapshots()) == {
        snapshot for image_id in estate.images() for snapshot in estate.snapshots_of(image_id)
    }
    assert fates(answer, "expired") == set(of_web[:2])
    assert answer["kept"] == 2
    assert answer["failures"] == []
    assert estate.cloud.events() == []


def test_the_members_of_a_group_are_pruned_together(estate: Estate) -> None:
    web, erp = estate.instance(retain="1"), estate.instance(retain="1")
    points = [*estate.daily_points(web, 2, retain="1"), *estate.daily_points(erp, 2, retain="1")]
    estate.prune(backup_ended(web, erp))
    assert estate.images() == {points[1], points[3]}


def test_a_backup_whose_members_the_event_does_not_tell_prunes_nothing(estate: Estate) -> None:
    points = estate.daily_points(estate.instance(retain="1"), 3, retain="1")
    event = {"detail-type": "Step Functions Execution Status Change", "detail": {"input": None}}
    assert estate.prune(event)["recovery_points"] == []
    assert estate.images() == set(points)


def test_the_daily_sweep_prunes_every_instance_in_every_region(estate: Estate) -> None:
    web = estate.instance(retain="2", volumes=2, copy_to=OVERSEAS)
    erp = estate.instance(retain="1")
    of_web = estate.daily_points(web, 3, retain="2")
    of_erp = estate.daily_points(erp, 2, retain="1")
    copies = [estate.copy(image_id) for image_id in of_web]
    answer = estate.prune(DAILY)
    assert estate.images(HOME) == {*of_web[1:], of_erp[1]}
    assert estate.images(OVERSEAS) == set(copies[1:])
    assert len(estate.cloud.snapshots(HOME)) == 2 * 2 + 1
    assert len(estate.cloud.snapshots(OVERSEAS)) == 2 * 2
    assert fates(answer, "expired") == {of_web[0], of_erp[0], copies[0]}


def test_pruning_again_deletes_nothing_more(estate: Estate) -> None:
    estate.daily_points(estate.instance(retain="2"), 4, retain="2")
    estate.prune()
    left = estate.everything()
    answer = estate.prune()
    assert answer["recovery_points"] == answer["orphans"] == []
    assert estate.everything() == left


def test_a_longer_retention_on_the_instance_counts_at_once(estate: Estate) -> None:
    web = estate.instance(retain="2")
    points = estate.daily_points(web, 4, retain="2")
    estate.cloud.tag([web], {Tag.RETAIN: "3"})
    estate.prune()
    assert estate.images() == set(points[1:])


def test_a_shorter_one_from_the_next_backup_on(estate: Estate) -> None:
    web = estate.instance(retain="4")
    points = estate.daily_points(web, 4, retain="4")
    estate.cloud.tag([web], {Tag.RETAIN: "2"})
    estate.prune()
    assert estate.images() == set(points)
    pending = estate.point(web, retain="2", ready=False)
    estate.prune()
    assert estate.images() == {*points, pending}
    estate.cloud.wait(minutes=10)
    estate.prune(backup_ended(web))
    assert estate.images() == {*points, pending}
    estate.prune()
    assert estate.images() == {points[3], pending}


def test_the_stacks_default_counts_for_an_instance_without_a_tag(estate: Estate) -> None:
    points = estate.daily_points(estate.instance(), 4, retain="1")
    estate.prune(default_retain="3")
    assert estate.images() == set(points[1:])


def test_nothing_of_an_instance_expires_while_its_retention_cannot_be_read(
    estate: Estate,
) -> None:
    web, erp = estate.instance(retain="for a while"), estate.instance(retain="1")
    of_web = estate.daily_points(web, 3, retain="1")
    of_erp = estate.daily_points(erp, 3, retain="1")
    answer = estate.prune({"dry_run": True, "instances": [web]})
    assert "cannot be read" in reasons(answer, "kept")[of_web[0]]
    estate.prune()
    assert estate.images() == {*of_web, of_erp[2]}


def test_of_an_instance_that_is_gone_the_last_one_stays_until_final_retention(
    estate: Estate,
) -> None:
    web = estate.instance(retain="7d")
    points = estate.daily_points(web, 3, retain="7d")
    copy = estate.copy(points[2])
    estate.terminate(web)
    estate.let_it_be_believed(final_retention="30d")
    estate.cloud.wait(days=3)
    estate.prune(final_retention="30d")
    assert estate.images() == {points[2]}
    assert estate.cloud.events() == []
    estate.cloud.wait(days=20)
    estate.prune(final_retention="30d")
    assert estate.everything() == {HOME: set(), OVERSEAS: set()}
    (message,) = estate.cloud.messages("LastPointExpired")
    assert {report["image_id"] for report in message["instances"]} == {points[2], copy}
    assert {report["instance_id"] for report in message["instances"]} == {web}
    assert {report["consistency"] for report in message["instances"]} == {"file-system"}
    assert "consistency:    file-system" in message["text"]
    assert "state now" not in message["text"]
    estate.prune(final_retention="30d")
    assert estate.cloud.events() == ["LastPointExpired"]


def test_the_last_one_stays_for_ever_if_that_is_asked_for(estate: Estate) -> None:
    web = estate.instance(retain="7d")
    points = estate.daily_points(web, 2, retain="7d")
    estate.terminate(web)
    estate.let_it_be_believed(final_retention="forever")
    estate.cloud.wait(days=3000)
    estate.prune(final_retention="forever")
    assert estate.images() == {points[1]}


def test_the_copies_expire_by_what_there_is_in_their_own_region(estate: Estate) -> None:
    web = estate.instance(retain="2", copy_to=OVERSEAS)
    points = estate.daily_points(web, 4, retain="2")
    copies = [estate.copy(points[0]), estate.copy(points[1])]
    estate.prune()
    assert estate.images(HOME) == set(points[2:])
    assert estate.images(OVERSEAS) == set(copies)


def test_a_copy_goes_when_a_newer_one_is_complete_and_not_before(estate: Estate) -> None:
    web = estate.instance(retain="1", copy_to=OVERSEAS)
    points = estate.daily_points(web, 2, retain="1")
    old = estate.copy(points[0])
    new = estate.copy(points[1], ready=False)
    estate.prune(backup_ended(web))
    assert estate.images(OVERSEAS) == {old, new}
    estate.cloud.wait(minutes=25)
    estate.prune(backup_ended(web))
    assert estate.images(OVERSEAS) == {new}


def test_a_dry_run_deletes_nothing_and_tells_the_fate_of_each(estate: Estate) -> None:
    web = estate.instance(retain="2", copy_to=OVERSEAS)
    points = estate.daily_points(web, 4, retain="2")
    copy = estate.copy(points[0])
    estate.cloud.tag([points[0]], {Tag.HOLD: "true"})
    before = estate.everything()
    answer = estate.dry_run()
    assert answer["dry_run"] is True
    assert estate.everything() == before
    assert fates(answer, "expired") == {points[1]}
    assert fates(answer, "spared") == {points[0]}
    assert fates(answer, "kept") == set()
    assert answer["kept"] == 4
    (row,) = [row for row in answer["recovery_points"] if row["fate"] == "expired"]
    assert (row["region"], row["instance_id"]) == (HOME, web)
    assert row["occurrence"]
    assert reasons(answer, "spared")[points[0]] == "it is held until the tag is removed"
    assert copy in estate.images(OVERSEAS)


def test_a_dry_run_for_some_instances_tells_of_what_is_kept_too(estate: Estate) -> None:
    web, erp = estate.instance(retain="1", copy_to=OVERSEAS), estate.instance(retain="1")
    of_web = estate.daily_points(web, 2, retain="1")
    estate.daily_points(erp, 2, retain="1")
    copy = estate.copy(of_web[1])
    answer = estate.prune({"dry_run": True, "instances": [web]})
    assert fates(answer, "expired") == {of_web[0]}
    assert fates(answer, "kept") == {of_web[1], copy}
    assert {row["region"] for row in answer["recovery_points"]} == {HOME, OVERSEAS}
    assert all(row["instance_id"] == web for row in answer["recovery_points"])
    assert all(row["occurrence"] for row in answer["recovery_points"])


def test_the_outcome_is_counted(estate: Estate, capsys: pytest.CaptureFixture[str]) -> None:
    points = estate.daily_points(estate.instance(retain="1"), 4, retain="1")
    estate.cloud.tag([points[0]], {Tag.HOLD: "true"})
    capsys.readouterr()
    estate.prune()
    printed = capsys.readouterr().out
    for name, value in {
        "RecoveryPointsExpired": 2,
        "RecoveryPointsSpared": 1,
        "OrphansRemoved": 0,
        "RecoveryPoints": 2,
    }.items():
        assert f'"{name}":[{value:.1f}]' in printed.replace(" ", "")


def test_no_schedule_and_no_backup_at_all_is_no_trouble(estate: Estate) -> None:
    answer = estate.prune()
    assert answer["kept"] == 0
    assert answer["recovery_points"] == answer["orphans"] == answer["failures"] == []
