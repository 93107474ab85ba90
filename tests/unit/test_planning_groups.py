import pytest

from stillpoint.instance import Instance
from stillpoint.plan import Status
from stillpoint.tags import Tag
from tests.unit.builders import an_instance, at, plan, started, verdict


def test_a_group_is_started_as_one_in_the_order_of_its_members() -> None:
    made = plan(
        an_instance("i-0a", group="erp:2", name="db"),
        an_instance("i-0c", group="erp:1"),
        an_instance("i-0b", group="erp:1"),
        an_instance("i-0d", group="crm"),
    )
    assert started(made) == ["group-crm", "group-erp"]
    erp = made.backups[1]
    assert erp.execution_name == "group-erp-20261122T030000Z"
    assert erp.group == "erp"
    assert [member.instance_id for member in erp.members] == ["i-0b", "i-0c", "i-0a"]


def test_a_group_has_been_through_what_any_of_its_members_has_been_through() -> None:
    made = plan(
        an_instance("i-0a", group="erp", seen="2026-11-22 03:00"),
        an_instance("i-0b", group="erp", seen="2026-11-21 03:00"),
    )
    assert made.backups == ()


def test_a_new_member_enrols_without_dragging_its_group_into_the_past() -> None:
    made = plan(an_instance("i-0a", group="erp"), an_instance("i-0b", group="erp", seen=None))
    assert made.backups == ()
    assert list(made.cursors) == ["i-0b"]


def test_one_invalid_member_refuses_its_whole_group_and_is_named() -> None:
    made = plan(
        an_instance("i-0a", group="erp"),
        an_instance("i-0b", group="erp", method="halt", name="db"),
        an_instance("i-0c"),
    )
    assert started(made) == ["i-0c"]
    assert made.problems == {
        "i-0a": "policy: group erp is not backed up because the policy of i-0b db is invalid",
        "i-0b": "policy: stillpoint:method: halt is not a method - write stop - reboot - freeze or"
        " none",
    }
    assert verdict(made, "i-0a").status is Status.INVALID
    assert made.cursors == {}


def test_members_with_different_schedules_refuse_their_group() -> None:
    made = plan(
        an_instance("i-0a", group="erp"),
        an_instance("i-0b", group="erp", schedule="daily 04:00", seen="2026-11-21 04:00"),
    )
    assert made.backups == ()
    assert set(made.problems) == {"i-0a", "i-0b"}
    assert "i-0a and i-0b have different schedules" in made.problems["i-0b"]


def test_schedules_that_mean_the_same_agree_however_they_are_written() -> None:
    other = an_instance("i-0b", group="erp", schedule="DAILY 3:00 utc")
    assert started(plan(an_instance("i-0a", group="erp"), other)) == ["group-erp"]


def test_members_that_may_never_be_down_together_refuse_their_group() -> None:
    made = plan(
        an_instance("i-0a", group="erp", anti_affinity="pair"),
        an_instance("i-0b", group="erp", anti_affinity="pair"),
    )
    assert made.backups == ()
    assert "i-0a and i-0b may never be down together" in made.problems["i-0a"]


@pytest.mark.parametrize(("size", "max_concurrent"), [(3, 2), (41, 100)])
def test_a_group_that_can_never_be_admitted_is_refused(size: int, max_concurrent: int) -> None:
    members = [an_instance(f"i-{number:02}", group="erp") for number in range(size)]
    made = plan(*members, max_concurrent=max_concurrent)
    assert made.backups == ()
    assert len(made.problems) == size
    assert f"has {size} members" in made.problems["i-00"]


def test_a_group_of_forty_is_started() -> None:
    members = [an_instance(f"i-{number:02}", group="erp") for number in range(40)]
    (backup,) = plan(*members, max_concurrent=40).backups
    assert len(backup.members) == 40


def test_a_member_in_a_backup_keeps_its_group_from_starting() -> None:
    made = plan(an_instance("i-0a", group="erp"), an_instance("i-0b", group="erp", in_backup=True))
    assert made.backups == ()
    assert verdict(made, "i-0a").status is Status.IN_BACKUP
    assert "i-0b is in a backup" in verdict(made, "i-0a").reason


def test_a_held_member_holds_its_group() -> None:
    made = plan(
        an_instance("i-0a", group="erp"),
        an_instance("i-0b", group="erp", hold="2026-11-22/2026-11-23"),
    )
    assert made.backups == ()
    assert verdict(made, "i-0a").status is Status.HELD
    assert verdict(made, "i-0a").reason == "i-0b is held until 2026-11-24T00:00:00Z"
    assert not verdict(made, "i-0a").overdue


def test_what_comes_due_during_a_hold_is_not_made_up_for_when_the_hold_is_lifted() -> None:
    held = an_instance(hold="true")
    made = plan(held)
    assert made.cursors["i-0a"].occurrence == at("2026-11-22 03:00")

    lifted = {key: value for key, value in held.tags.items() if key != Tag.HOLD}
    lifted[Tag.LAST] = made.cursors["i-0a"].render()
    after = plan(Instance("i-0a", "running", lifted), now=at("2026-11-22 03:05"))
    assert after.backups == ()


def test_a_hold_that_no_planner_saw_still_skips_its_occurrence() -> None:
    instance = an_instance(hold="2026-11-22T02:00Z/2026-11-22T03:10Z")
    made = plan(instance, now=at("2026-11-22 03:15"))
    assert made.backups == ()
    assert made.cursors["i-0a"].occurrence == at("2026-11-22 03:00")
    assert "is skipped" in verdict(made).reason


def test_a_hold_of_another_day_holds_nothing() -> None:
    assert started(plan(an_instance(hold="2026-12-24/2027-01-02"))) == ["i-0a"]
