import pytest

from stillpoint.instance import Instance
from stillpoint.plan import Status, Verdict
from stillpoint.tags import Cursor, Tag, iso
from tests.unit.builders import NOW, an_instance, at, plan, started, verdict


def test_a_due_instance_is_started_once_with_all_that_its_execution_needs() -> None:
    made = plan(
        an_instance(
            name="web", retain="30d", accept="public-ip", method="reboot", post="erp-scripts"
        )
    )
    (backup,) = made.backups
    assert backup.execution_name == "i-0a-20261122T030000Z"
    assert backup.to_input() == {
        "group": None,
        "group_id": "i-0a",
        "occurrence": "2026-11-22T03:00:00Z",
        "schedule": "daily 03:00 UTC",
        "trigger": "schedule",
        "attempt": 1,
        "begins_at": iso(NOW),
        "members": [
            {
                "instance_id": "i-0a",
                "name": "web",
                "method": "reboot",
                "order": 0,
                "retain": "30d",
                "accept": ["public-ip"],
                "copy_to": [],
                "time_zone": "UTC",
                "pre": None,
                "post": "erp-scripts",
            }
        ],
    }
    assert verdict(made) == Verdict(
        "i-0a",
        "web",
        Status.STARTING,
        "starts now, for 2026-11-22T03:00:00Z",
        next_occurrence=at("2026-11-23 03:00"),
    )
    assert made.cursors == {}


def test_an_instance_seen_for_the_first_time_is_enrolled_and_not_stopped() -> None:
    made = plan(an_instance(seen=None))
    assert made.backups == ()
    assert set(made.cursors) == {"i-0a"}
    assert made.cursors["i-0a"].occurrence == NOW
    assert verdict(made).status is Status.IDLE
    assert "first seen" in verdict(made).reason


@pytest.mark.parametrize(
    "last",
    ["", "nonsense", "2026-11-20T03:00:00Z 00000000", "2030-01-01T00:00:00Z {fingerprint}"],
)
def test_a_cursor_that_says_nothing_about_this_schedule_counts_as_none(last: str) -> None:
    fingerprint = an_instance().tags[Tag.LAST].split()[1]
    tag = last.format(fingerprint=fingerprint)
    made = plan(an_instance(tags={Tag.LAST: tag}))
    assert made.backups == ()
    assert made.cursors == {"i-0a": Cursor(NOW, fingerprint)}


def test_an_edited_schedule_enrols_the_instance_anew() -> None:
    before = an_instance(schedule="daily 05:00", seen="2026-11-21 05:00")
    edited = Instance("i-0a", "running", {**before.tags, Tag.SCHEDULE: "daily 02:00"})
    made = plan(edited)
    assert made.backups == ()
    assert made.cursors["i-0a"].occurrence == NOW


def test_nothing_is_due_between_two_occurrences() -> None:
    made = plan(an_instance(seen="2026-11-22 03:00"))
    assert (made.backups, made.cursors, made.problems) == ((), {}, {})
    assert verdict(made).status is Status.IDLE
    assert verdict(made).next_occurrence == at("2026-11-23 03:00")


def test_of_several_schedules_the_newest_occurrence_is_run_for_all_of_them() -> None:
    made = plan(an_instance(schedule="daily 02:00; daily 02:30", seen="2026-11-21 02:30"))
    (backup,) = made.backups
    assert backup.occurrence == at("2026-11-22 02:30")
    assert backup.schedule == "daily 02:30 UTC"


def test_an_occurrence_within_the_catch_up_window_is_started_late() -> None:
    made = plan(an_instance(), now=at("2026-11-22 09:00"))
    assert started(made) == ["i-0a"]


def test_an_occurrence_beyond_the_catch_up_window_is_given_up_and_reported_once() -> None:
    instance = an_instance(name="web")
    made = plan(instance, now=at("2026-11-22 09:00:01"))
    assert made.backups == ()
    (missed,) = made.missed
    assert (missed.group_id, missed.occurrence) == ("i-0a", at("2026-11-22 03:00"))
    assert (missed.instance_ids, missed.names) == (("i-0a",), ("web",))
    assert verdict(made).status is Status.MISSED
    assert verdict(made).overdue

    told = Instance("i-0a", "running", {**instance.tags, Tag.LAST: made.cursors["i-0a"].render()})
    again = plan(told, now=at("2026-11-22 09:01:00"))
    assert again.missed == ()
    assert verdict(again).status is Status.IDLE


def test_an_instance_in_a_backup_is_not_started_again() -> None:
    made = plan(an_instance(in_backup=True), now=at("2026-11-22 04:30"))
    assert made.backups == ()
    assert verdict(made).status is Status.IN_BACKUP
    assert "since 2026-11-22T03:00:00Z by i-0a-20261122T030000Z" in verdict(made).reason
    assert verdict(made).overdue


def test_a_cycle_tag_that_cannot_be_read_still_protects_the_instance() -> None:
    made = plan(an_instance(tags={Tag.CYCLE: "\x00"}))
    assert made.backups == ()
    assert "cannot be read" in verdict(made).reason


def test_an_instance_that_lost_its_schedule_in_mid_backup_still_counts_as_down() -> None:
    lost = an_instance("i-0b", schedule=None, in_backup=True, problem="policy: gone")
    made = plan(an_instance(), lost, max_concurrent=1)
    assert made.backups == ()
    assert verdict(made, "i-0b").status is Status.IN_BACKUP
    assert made.problems_cleared == ("i-0b",)


@pytest.mark.parametrize("state", ["terminated", "shutting-down"])
def test_an_instance_that_is_gone_is_ignored_with_a_reason(state: str) -> None:
    gone = an_instance(
        state=state, in_backup=True, schedule="nonsense", seen=None, problem="policy: old"
    )
    made = plan(gone, an_instance("i-0b"), max_concurrent=1)
    assert started(made) == ["i-0b"]
    assert verdict(made) == Verdict("i-0a", "", Status.GONE, f"it is {state}")
    assert (made.problems, made.problems_cleared) == ({}, ())


def test_an_instance_that_is_stopped_already_is_backed_up_too() -> None:
    assert started(plan(an_instance(state="stopped"))) == ["i-0a"]


def test_one_of_two_sightings_of_an_instance_that_knows_of_a_backup_is_believed() -> None:
    sightings = [an_instance(in_backup=True), an_instance()]
    assert plan(*sightings) == plan(*reversed(sightings))
    assert plan(*sightings).backups == ()


def test_a_problem_is_told_once_and_again_when_it_changes() -> None:
    made = plan(an_instance(schedule="dayly", seen=None))
    (value,) = made.problems.values()
    assert value.startswith("policy: stillpoint:schedule: dayly is not a schedule")
    assert plan(an_instance(schedule="dayly", seen=None, problem=value)).problems == {}
    assert set(plan(an_instance(schedule="x", seen=None, problem=value)).problems) == {"i-0a"}


def test_a_problem_fits_a_tag_whatever_caused_it() -> None:
    hostile = "\x00\x1b💾'" * 64
    made = plan(an_instance(schedule=hostile, seen=None, method=hostile, retain=hostile))
    assert len(made.problems["i-0a"]) <= 256
    assert made.problems["i-0a"].isprintable()


def test_a_mended_policy_loses_its_problem_tag() -> None:
    assert plan(an_instance(problem="policy: old")).problems_cleared == ("i-0a",)


def test_a_problem_that_another_function_wrote_is_left_alone() -> None:
    made = plan(an_instance(problem="refused: instance-store"))
    assert made.problems_cleared == ()
    assert made.problems == {}


def test_a_schedule_whose_last_occurrence_is_over_is_a_problem() -> None:
    once = "cron(0 3 22 11 ? 2026)"
    before = an_instance(schedule=once, seen="2026-11-21 00:00")
    assert started(plan(before)) == ["i-0a"]
    after = an_instance(schedule=once, seen="2026-11-22 03:00")
    assert plan(after).problems == {
        "i-0a": "policy: stillpoint:schedule: cron 0 3 22 11 _ 2026 UTC never occurs again"
    }
    assert set(plan(an_instance(schedule="cron(0 3 * * ? 2020)", seen=None)).problems) == {"i-0a"}


def test_an_invalid_instance_is_not_enrolled_and_does_not_disturb_others() -> None:
    made = plan(an_instance(schedule="x", seen=None), an_instance("i-0b"))
    assert made.cursors == {}
    assert started(made) == ["i-0b"]


def test_the_newest_recovery_point_is_reported() -> None:
    point = "2026-11-21T03:01:12Z ami-0abc file-system"
    made = plan(an_instance(recovery_point=point), an_instance("i-0b", recovery_point="?"))
    assert verdict(made).recovery_point_at == at("2026-11-21 03:01:12")
    assert verdict(made, "i-0b").recovery_point_at is None
