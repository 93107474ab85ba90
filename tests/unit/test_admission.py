from dataclasses import replace

import pytest

from stillpoint.plan import Plan, Status
from tests.unit.builders import an_instance, at, plan, started, verdict


def test_the_oldest_occurrence_goes_first() -> None:
    made = plan(
        an_instance("i-0a", schedule="daily 03:00"),
        an_instance("i-0b", schedule="daily 02:00", seen="2026-11-21 02:00"),
        max_concurrent=1,
    )
    assert started(made) == ["i-0b"]
    assert verdict(made, "i-0a").status is Status.WAITING
    assert "waits for room: 1 of at most 1" in verdict(made, "i-0a").reason


def test_instances_that_are_in_a_backup_take_room() -> None:
    busy = [an_instance(f"i-1{n}", in_backup=True) for n in range(2)]
    made = plan(*busy, an_instance("i-0a"), an_instance("i-0b"), max_concurrent=3)
    assert started(made) == ["i-0a"]


def test_a_large_group_is_not_overtaken_by_small_ones() -> None:
    made = plan(
        an_instance("i-0a", in_backup=True),
        an_instance("i-0b", group="erp"),
        an_instance("i-0c", group="erp"),
        an_instance("i-0d"),
        max_concurrent=2,
    )
    assert made.backups == ()
    assert "waits in line behind group erp" in verdict(made, "i-0d").reason


def test_of_an_anti_affinity_pair_one_starts_and_one_waits_without_holding_up_others() -> None:
    made = plan(
        an_instance("i-0a", anti_affinity="pair"),
        an_instance("i-0b", anti_affinity="pair"),
        an_instance("i-0c"),
    )
    assert started(made) == ["i-0a", "i-0c"]
    assert verdict(made, "i-0b").status is Status.WAITING
    assert verdict(made, "i-0b").reason == (
        "waits for its anti-affinity peer: i-0a starts its backup now"
    )


@pytest.mark.parametrize("state", ["stopped", "stopping", "pending"])
def test_a_peer_that_is_not_running_makes_the_other_wait(state: str) -> None:
    peer = an_instance("i-0b", anti_affinity="pair", state=state, seen="2026-11-22 03:00")
    made = plan(an_instance(anti_affinity="pair"), peer)
    assert made.backups == ()
    assert verdict(made).reason == f"waits for its anti-affinity peer: i-0b is {state}"


def test_a_peer_with_an_invalid_policy_still_counts() -> None:
    peer = an_instance("i-0b", anti_affinity="pair", state="stopped", method="halt")
    assert plan(an_instance(anti_affinity="pair"), peer).backups == ()


def test_a_peer_that_is_gone_does_not_count() -> None:
    peer = an_instance("i-0b", anti_affinity="pair", state="terminated")
    assert started(plan(an_instance(anti_affinity="pair"), peer)) == ["i-0a"]


def test_a_stopped_instance_does_not_wait_for_itself() -> None:
    peer = an_instance("i-0b", anti_affinity="pair", seen="2026-11-22 03:00")
    made = plan(an_instance(anti_affinity="pair", state="stopped"), peer)
    assert started(made) == ["i-0a"]


def test_the_method_none_takes_nothing_down_and_needs_no_peer_but_takes_room() -> None:
    instances = [
        an_instance("i-0a", anti_affinity="pair", method="none"),
        an_instance("i-0b", anti_affinity="pair", state="stopped", seen="2026-11-22 03:00"),
        an_instance("i-0c"),
    ]
    assert started(plan(*instances)) == ["i-0a", "i-0c"]
    assert started(plan(*instances, max_concurrent=1)) == ["i-0a"]


def test_waiting_for_more_than_an_hour_is_overdue() -> None:
    peer = an_instance("i-0b", anti_affinity="pair", state="stopped", seen="2026-11-22 03:00")
    waiting = an_instance(anti_affinity="pair")
    assert not verdict(plan(waiting, peer, now=at("2026-11-22 04:00"))).overdue
    assert verdict(plan(waiting, peer, now=at("2026-11-22 04:00:01"))).overdue


def test_a_peer_that_has_just_started_is_not_back_yet() -> None:
    def pair(launched: str) -> Plan:
        peer = an_instance("i-0b", anti_affinity="pair", seen="2026-11-22 03:00")
        return plan(an_instance(anti_affinity="pair"), replace(peer, launch_time=at(launched)))

    assert verdict(pair("2026-11-22 02:55")).reason.endswith("i-0b has just started")
    assert started(pair("2026-11-22 02:45")) == ["i-0a"]


def test_a_peer_without_a_schedule_counts_and_is_no_business_of_ours_otherwise() -> None:
    peer = an_instance("i-0b", anti_affinity="pair", state="stopped", schedule=None)
    made = plan(an_instance(anti_affinity="pair"), peer)
    assert made.backups == ()
    assert [one.instance_id for one in made.verdicts] == ["i-0a"]


def test_a_stranded_instance_and_a_large_group_do_not_stop_the_whole_fleet() -> None:
    stranded = an_instance("i-99", in_backup=True)
    group = [an_instance(f"i-0{n}", group="erp") for n in range(5)]
    small = an_instance("i-f0")
    at_once = plan(stranded, *group, small, max_concurrent=5)
    assert started(at_once) == []
    later = plan(stranded, *group, small, max_concurrent=5, now=at("2026-11-22 04:30"))
    assert started(later) == ["i-f0"]


def test_anti_affinity_holds_between_members_of_different_groups() -> None:
    made = plan(
        an_instance("i-0a", group="blue", anti_affinity="pair"),
        an_instance("i-0b", group="blue"),
        an_instance("i-0c", group="green", anti_affinity="pair"),
        an_instance("i-0d", group="green"),
    )
    assert started(made) == ["group-blue"]
    assert verdict(made, "i-0d").reason == (
        "waits for its anti-affinity peer: i-0a starts its backup now"
    )


def test_a_peer_that_the_recovery_is_still_bringing_back_makes_a_whole_group_wait() -> None:
    # It runs again, and its cycle stays on it until it is back in service.
    returning = an_instance("i-0z", anti_affinity="pair", in_backup=True)
    group = [
        an_instance("i-0a", group="erp", anti_affinity="pair"),
        an_instance("i-0b", group="erp"),
    ]
    made = plan(replace(returning, launch_time=at("2026-11-22 02:00")), *group)
    assert started(made) == []
    assert verdict(made, "i-0b").reason == ("waits for its anti-affinity peer: i-0z is in a backup")


def test_a_freeze_takes_down_as_far_as_anti_affinity_goes() -> None:
    made = plan(
        an_instance("i-0a", anti_affinity="pair", method="freeze"),
        an_instance("i-0b", anti_affinity="pair", method="freeze"),
    )
    assert started(made) == ["i-0a"]
