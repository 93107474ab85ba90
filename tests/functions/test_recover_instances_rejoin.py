"""Recovery: what an execution has left around its instances is undone, whenever it was ended."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial

import pytest

from stillpoint.errors import RecoveryIncomplete
from stillpoint.tags import Cycle, Tag
from tests.functions.cloud import Crash
from tests.functions.surrounded import (
    IN_SERVICE,
    ISOLATION_CALLS,
    PLACES,
    RETURN_CALLS,
    SCRIPTS,
    Scene,
    a_scene,
    assert_back,
    everything,
)

CALLS = 62
"""How many calls the recovery of the scene with everything makes."""
EVERY_SWEEP = timedelta(minutes=5)


@pytest.fixture
def scene() -> Iterator[Scene]:
    with a_scene() as made:
        yield made


@pytest.fixture
def full() -> Iterator[Scene]:
    with everything() as made:
        made.prepare()
        made.cloud.calls.clear()
        yield made


def cut_off(full: Scene, look: Callable[[], object]) -> None:
    """Let the process of a look end at the moment that was set, and the execution with it."""
    with pytest.raises(Crash):
        look()
    full.abort()


def assert_recovered(full: Scene) -> None:
    """Everything is as it was before, and no backup is in charge any more."""
    assert_back(full)
    for instance_id in full.ids:
        assert not full.tags(instance_id).keys() & {Tag.CYCLE, Tag.UNDO}


def let_isolation_end(full: Scene) -> None:
    """Isolate without trying again after a crash."""
    while full.isolate()["status"] == "waiting":
        full.cloud.wait(seconds=5)


def let_return_end(full: Scene) -> None:
    """Rejoin without trying again after a crash."""
    full.begin_rejoin()
    while full.rejoin()["status"] == "waiting":
        full.cloud.wait(seconds=5)


@pytest.mark.parametrize("call", range(ISOLATION_CALLS))
def test_an_execution_that_is_ended_at_any_point_of_the_isolation_is_undone(
    full: Scene, call: int
) -> None:
    full.crash_at(call)
    cut_off(full, partial(let_isolation_end, full))
    full.recovered()
    assert_recovered(full)
    assert full.stops() == []
    _, db = full.ids
    assert full.ran() in ([], [(db, "pre-script"), (db, "post-script")])


@pytest.mark.parametrize("call", range(0, RETURN_CALLS, 2))
def test_an_execution_that_is_ended_at_any_point_of_the_return_is_brought_to_its_end(
    full: Scene, call: int
) -> None:
    full.isolated()
    full.stop_and_start()
    full.crash_at(call)
    cut_off(full, partial(let_return_end, full))
    full.recovered()
    assert_recovered(full)
    _, db = full.ids
    assert full.ran() == [(db, "pre-script"), (db, "post-script")]


@pytest.mark.parametrize("call", range(0, CALLS, 3))
def test_a_recovery_that_crashes_before_any_call_is_made_good_by_the_next_sweep(
    full: Scene, call: int
) -> None:
    full.isolated()
    full.abort()
    full.crash_at(call)
    full.recovered()
    assert full.has_crashed
    assert_recovered(full)
    _, db = full.ids
    assert full.ran() == [(db, "pre-script"), (db, "post-script")]
    assert full.cloud.events().count("InstanceOutOfService") == 0


def test_an_execution_that_was_ended_right_after_prepare_leaves_nothing(full: Scene) -> None:
    full.abort()
    assert full.sweep() == {"recovered": sorted(full.ids), "waiting": []}
    assert_recovered(full)
    assert (full.ran(), full.cloud.events()) == ([], ["BackupFailed"])


def test_what_was_stopped_is_started_before_it_takes_part_again(full: Scene) -> None:
    full.isolated()
    for instance_id in full.ids:
        full.cloud.call("StopInstances", InstanceIds=[instance_id])
    full.cloud.wait(minutes=3)
    full.abort()
    full.cloud.calls.clear()
    full.recovered()
    assert_recovered(full)
    actions = [action for _, action in full.cloud.calls]
    last_start = len(actions) - actions[::-1].index("StartInstances")
    assert actions.index("ExitStandby") >= last_start
    assert actions.index("RegisterTargets") >= last_start
    assert full.cloud.events() == ["InstanceStranded", *TOLD_AFTER]


TOLD_AFTER = ["BackupFailed", "InstanceRecovered", "InstanceRecovered"]


def test_a_running_execution_is_never_interfered_with(full: Scene) -> None:
    full.isolated()
    places, tags = full.places(), [full.tags(each) for each in full.ids]
    full.cloud.wait(hours=1)
    assert full.sweep() == {"recovered": [], "waiting": []}
    assert (full.places(), [full.tags(each) for each in full.ids]) == (places, tags)
    assert full.cloud.events() == []


def test_the_others_are_released_though_one_has_to_wait(full: Scene) -> None:
    web, db = full.ids
    full.isolated()
    full.resize(MaxSize=0)
    full.abort()
    full.sweep(looks=20)
    assert full.places() == {web: ["erp-asg Standby"], db: PLACES}
    assert Tag.CYCLE not in full.tags(db)
    assert full.tags(web).keys() >= {Tag.CYCLE, Tag.UNDO}
    assert len(full.mute_rules()) == 1
    full.resize(MaxSize=1)
    full.recovered()
    assert_recovered(full)


def late(full: Scene) -> tuple[str, str]:
    """Let the group be too small for its member to return; return the members."""
    web, db = full.ids
    full.isolated()
    full.resize(MaxSize=0)
    full.abort()
    return web, db


def sweeps(full: Scene, number: int) -> None:
    """Let so many sweeps follow one another."""
    for _ in range(number):
        before = full.cloud.now
        full.sweep(looks=3)
        full.cloud.wait(seconds=(EVERY_SWEEP - (full.cloud.now - before)).total_seconds())


def test_people_are_told_after_ten_minutes_then_every_hour_and_when_it_is_over(
    full: Scene,
) -> None:
    web, _ = late(full)
    sweeps(full, 2)
    assert full.cloud.messages("InstanceOutOfService") == []
    sweeps(full, 12)
    (told,) = full.cloud.messages("InstanceOutOfService")
    assert told["severity"] == "critical"
    (row,) = told["instances"]
    assert (row["instance_id"], row["state"]) == (web, "running")
    assert "MaxSize 0, and would come to DesiredCapacity 1" in row["why"]
    assert "stillpoint:undo" in told["text"]
    sweeps(full, 12)
    assert len(full.cloud.messages("InstanceOutOfService")) == 2
    full.resize(MaxSize=1)
    full.recovered()
    (recovered,) = full.cloud.messages("InstanceRecovered")
    assert [row["instance_id"] for row in recovered["instances"]] == [web]
    assert_recovered(full)


def test_who_was_told_nothing_gets_no_all_clear(full: Scene) -> None:
    late(full)
    sweeps(full, 1)
    full.resize(MaxSize=1)
    full.recovered()
    assert full.cloud.events() == ["BackupFailed"]


def test_an_alert_that_could_not_be_sent_is_sent_at_the_next_sweep(full: Scene) -> None:
    late(full)
    sweeps(full, 2)
    full.cloud.refuse("Publish", "AuthorizationError", 403)
    with pytest.raises(RecoveryIncomplete, match="publishing InstanceOutOfService"):
        full.sweep(looks=1)
    full.cloud.refusals.clear()
    full.sweep(looks=1)
    assert len(full.cloud.messages("InstanceOutOfService")) == 1


def test_an_alert_that_cannot_be_noted_is_sent_once_by_a_sweep(full: Scene) -> None:
    late(full)
    sweeps(full, 2)
    full.cloud.refuse("CreateTags", "UnauthorizedOperation", 403)
    with pytest.raises(RecoveryIncomplete, match="UnauthorizedOperation"):
        full.sweep(looks=10)
    assert len(full.cloud.messages("InstanceOutOfService")) == 1


def test_the_note_of_an_alert_leaves_the_rest_of_the_cycle_as_it_is(full: Scene) -> None:
    web, _ = late(full)
    before = Cycle.parse(full.tags(web)[Tag.CYCLE])
    undo = full.tags(web)[Tag.UNDO]
    sweeps(full, 3)
    after = Cycle.parse(full.tags(web)[Tag.CYCLE])
    assert before is not None
    assert after is not None
    assert (after.execution, after.since) == (before.execution, before.since)
    assert after.alerted_at is not None
    assert full.tags(web)[Tag.UNDO] == undo


def test_a_post_script_that_fails_is_told_once_and_holds_up_nothing(full: Scene) -> None:
    web, db = full.ids
    full.script(db, post={"exit": 202, "stderr": "no such table"})
    full.isolated()
    full.resize(MaxSize=0)
    full.abort()
    sweeps(full, 2)
    (told,) = full.cloud.messages("InstanceOutOfService")
    (row,) = told["instances"]
    assert row["instance_id"] == db
    assert "the post-script failed (exit code 202)" in row["why"]
    assert full.places()[db] == PLACES
    assert Tag.CYCLE not in full.tags(db)
    assert Tag.CYCLE in full.tags(web)


def test_an_agent_that_never_comes_back_is_told_of_in_the_end(full: Scene) -> None:
    _, db = full.ids
    full.isolated()
    full.configure(db, agent_online=False)
    full.abort()
    full.recovered()
    assert_recovered(full)
    (told, *_) = full.cloud.messages("InstanceOutOfService")
    assert [row["instance_id"] for row in told["instances"]] == [db]
    assert full.ran() == [(db, "pre-script")]


def test_a_tag_that_cannot_be_read_is_told_of_and_holds_up_no_neighbour(full: Scene) -> None:
    web, db = full.ids
    full.isolated()
    value = full.tags(web)[Tag.UNDO]
    full.cloud.tag([web], {Tag.UNDO: "sideways"})
    full.abort()
    sweeps(full, 4)
    assert full.places() == {web: ["erp-asg Standby"], db: PLACES}
    (told,) = full.cloud.messages("InstanceOutOfService")
    assert "cannot be read: 'sideways'" in told["instances"][0]["why"]
    full.cloud.tag([web], {Tag.UNDO: value})
    full.recovered()
    assert_recovered(full)


def test_a_member_that_is_gone_is_forgotten_and_its_neighbour_comes_back(full: Scene) -> None:
    web, db = full.ids
    full.isolated()
    full.cloud.call("TerminateInstances", InstanceIds=[db])
    full.cloud.wait(minutes=2)
    full.abort()
    answer = full.sweep(looks=20)
    assert answer == {"recovered": [web], "waiting": []}
    assert full.places()[web] == IN_SERVICE


def test_post_scripts_are_run_in_the_reverse_of_the_groups_order(scene: Scene) -> None:
    first, last = (scene.member(f"m{n}", order=n, pre=SCRIPTS, post=SCRIPTS) for n in (1, 2))
    scene.quiesce()
    scene.abort()
    scene.recovered()
    assert scene.ran()[2:] == [(last, "post-script"), (first, "post-script")]


def test_of_an_execution_that_is_forgotten_the_scripts_are_those_of_the_tags(
    scene: Scene,
) -> None:
    db = scene.member(pre=SCRIPTS, post=SCRIPTS)
    scene.target_group("db", db)
    scene.cloud.tag([db], {Tag.PRE: SCRIPTS, Tag.POST: SCRIPTS})
    scene.quiesce()
    scene.is_forgotten = True
    scene.cloud.wait(minutes=20)
    scene.recovered()
    assert scene.ran() == [(db, "pre-script"), (db, "post-script")]
    assert scene.places() == {db: ["db:80 healthy"]}
    assert Tag.UNDO not in scene.tags(db)


def test_while_aws_does_not_answer_the_tags_stay(full: Scene) -> None:
    full.isolated()
    full.abort()
    for action in ("DescribeAutoScalingInstances", "DescribeTargetGroups"):
        full.cloud.refuse(action, "ServiceUnavailable", 503)
    full.sweep(looks=2)
    for instance_id in full.ids:
        assert full.tags(instance_id).keys() >= {Tag.CYCLE, Tag.UNDO}
    full.cloud.refusals.clear()
    full.recovered()
    assert_recovered(full)


def test_a_target_group_that_is_gone_is_told_once_by_the_recovery_too(full: Scene) -> None:
    _, db = full.ids
    full.isolated()
    full.delete_target_group("db")
    full.abort()
    full.recovered()
    (told,) = full.cloud.messages("InstanceOutOfService")
    assert told["instances"][0]["instance_id"] == db
    assert "does not exist any more" in told["text"]
    assert full.places()[db] == ["api:8080 healthy"]
