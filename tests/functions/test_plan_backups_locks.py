"""Planning: what the stack would lock for longer than it is kept is not backed up."""

from tests.functions.fleet import launch_one, own_tags_of, tag
from tests.functions.samples import sample
from tests.functions.stack import Stack
from tests.unit.builders import at

TICK = sample("plan_backups_tick")
LOCKED = {"SNAPSHOT_LOCK_DAYS": "30"}
PROBLEM = (
    "policy: stillpoint:retain: 14 keeps some recovery points for 14 days only and the stack locks"
    " their snapshots for 30 days - keep them longer or lower SnapshotLockDays"
)


def test_a_lock_that_outlasts_the_retention_is_told_once_and_nothing_is_started(
    stack: Stack,
) -> None:
    web, kept = launch_one(), launch_one(retain="30d")
    for minute in ("03:00:20", "03:01:20", "04:17:00"):
        stack.invoke("plan_backups", TICK, now=at(f"2026-11-22 {minute}"), variables=LOCKED)
        assert own_tags_of(web)["problem"] == PROBLEM
    assert list(stack.executions()) == [f"{kept}-20261122T030000Z"]
    (message,) = stack.messages()
    assert message["event"] == "PolicyInvalid"
    assert message["instances"][0]["instance_id"] == web
    assert "lower SnapshotLockDays" in message["instances"][0]["why"]


def test_it_is_backed_up_as_soon_as_it_is_kept_for_long_enough(stack: Stack) -> None:
    web = launch_one()
    stack.invoke("plan_backups", TICK, variables=LOCKED)
    tag([web], {"stillpoint:retain": "31"})
    stack.invoke("plan_backups", TICK, now=at("2026-11-22 03:05"), variables=LOCKED)
    assert "problem" not in own_tags_of(web)
    assert list(stack.executions()) == [f"{web}-20261122T030000Z"]


def test_without_a_lock_any_retention_will_do(stack: Stack) -> None:
    web = launch_one(retain="1")
    stack.invoke("plan_backups", TICK)
    assert list(stack.executions()) == [f"{web}-20261122T030000Z"]
