from stillpoint.plan import Trigger
from stillpoint.tags import iso
from tests.unit.builders import NOW, an_instance, at, plan, started


def test_a_backup_on_demand_starts_at_once_and_starts_nothing_else() -> None:
    made = plan(
        an_instance("i-0a", seen=None),
        an_instance("i-0b"),
        an_instance("i-0c", schedule="x", seen=None),
        now=at("2026-11-22 14:07:31"),
        backup_now=["i-0a"],
    )
    (backup,) = made.backups
    assert backup.execution_name == "i-0a-20261122T140700Z"
    assert (backup.schedule, backup.trigger) == ("on-demand", Trigger.ON_DEMAND)
    assert (made.cursors, made.problems, made.missed, made.refusals) == ({}, {}, (), ())


def test_a_member_on_demand_means_its_whole_group_once() -> None:
    made = plan(
        an_instance("i-0a", group="erp"),
        an_instance("i-0b", group="erp"),
        backup_now=["i-0b", "i-0a", "i-0b"],
    )
    assert started(made) == ["group-erp"]
    assert made.refusals == ()


def test_each_instance_that_cannot_be_backed_up_on_demand_is_refused_with_a_reason() -> None:
    made = plan(
        an_instance("i-0a", in_backup=True),
        an_instance("i-0b", hold="true"),
        an_instance("i-0c", method="halt"),
        an_instance("i-0d", state="terminated"),
        an_instance("i-0e", anti_affinity="pair"),
        an_instance("i-0f", anti_affinity="pair"),
        an_instance("i-1a"),
        an_instance("i-1b"),
        backup_now=["i-0a", "i-0b", "i-0c", "i-0d", "i-0e", "i-0f", "i-1a", "i-1b", "i-99"],
        max_concurrent=3,
    )
    assert started(made) == ["i-0e", "i-1a"]
    reasons = {refusal.instance_id: refusal.reason for refusal in made.refusals}
    assert set(reasons) == {"i-0a", "i-0b", "i-0c", "i-0d", "i-0f", "i-1b", "i-99"}
    assert "is in a backup since" in reasons["i-0a"]
    assert reasons["i-0b"] == "i-0b is held until the tag is removed"
    assert "'halt' is not a method" in reasons["i-0c"]
    assert reasons["i-0d"] == "it is terminated"
    assert "anti-affinity peer: i-0e" in reasons["i-0f"]
    assert "waits for room" in reasons["i-1b"]
    assert "has the tag stillpoint:schedule" in reasons["i-99"]


def test_a_backup_on_demand_in_the_minute_of_an_occurrence_is_that_occurrence() -> None:
    scheduled = plan(an_instance()).backups[0]
    on_demand = plan(an_instance(), backup_now=["i-0a"]).backups[0]
    assert on_demand.execution_name == scheduled.execution_name


def test_times_are_of_whole_seconds() -> None:
    made = plan(an_instance(seen=None), now=NOW.replace(microsecond=999_999))
    assert iso(made.cursors["i-0a"].occurrence) == "2026-11-22T03:00:20Z"
    assert made.cursors["i-0a"].occurrence == NOW


def test_on_demand_waits_for_a_peer_that_may_wait_for_its_turn() -> None:
    """Admitted at the last tick, it carries nothing yet that says so."""
    due, peer = (
        an_instance("i-0a", anti_affinity="pair"),
        an_instance("i-0b", schedule="daily 12:00", seen="2026-11-21 12:00", anti_affinity="pair"),
    )
    made = plan(due, peer, backup_now=["i-0b"])
    assert made.backups == ()
    (refusal,) = made.refusals
    assert refusal.reason == (
        "waits for its anti-affinity peer: i-0a may be about to begin its backup"
    )
    assert started(plan(due, peer, backup_now=["i-0a"])) == ["i-0a"]
