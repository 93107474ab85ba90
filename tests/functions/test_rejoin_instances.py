"""Rejoining: what was done around the members is undone, in the reverse of its order."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.functions.surrounded import (
    RETURN_CALLS,
    SCRIPTS,
    Scene,
    a_scene,
    assert_back,
    errors,
    everything,
)

CHANGES = ["SendCommand", "ExitStandby", "RegisterTargets"]


@pytest.fixture
def scene() -> Iterator[Scene]:
    with a_scene() as made:
        yield made


@pytest.fixture
def full() -> Iterator[Scene]:
    with everything() as made:
        made.prepare()
        made.isolated()
        made.stop_and_start()
        made.cloud.calls.clear()
        yield made


def test_everything_is_undone_within_a_minute_or_so(full: Scene) -> None:
    _, db = full.ids
    answer = full.rejoined()
    assert (answer["status"], answer["unjoined"], answer["failures"]) == ("rejoined", [], [])
    assert answer["scripts"] == {db: {"pre": "succeeded", "post": "succeeded", "post_exit": 0}}
    assert_back(full)
    assert full.ran() == [(db, "pre-script"), (db, "post-script")]
    assert full.cloud.now - full.since < timedelta(minutes=2)
    assert len(full.cloud.calls) == RETURN_CALLS


def test_it_says_what_it_waits_for_and_when_to_look_again(full: Scene) -> None:
    full.begin_rejoin()
    answer = full.rejoin()
    assert (answer["status"], answer["wait_seconds"]) == ("waiting", 5)
    assert answer["unjoined"] == sorted(full.ids)
    assert answer["failures"] == []


def test_a_look_that_is_repeated_does_nothing_twice(full: Scene) -> None:
    full.begin_rejoin()
    for _ in range(60):
        full.rejoin()
        full.cloud.wait(seconds=2)
    assert_back(full)
    assert [full.asked(action) for action in CHANGES] == [1, 1, 2]


def test_the_application_goes_on_before_it_is_sent_any_requests(full: Scene) -> None:
    _, db = full.ids
    full.script(db, post={"seconds": 60})
    full.begin_rejoin()
    for _ in range(10):
        full.rejoin()
        full.cloud.wait(seconds=5)
    assert full.ran()[-1] == (db, "post-script")
    assert full.places()[db] == []
    full.rejoined()
    assert_back(full)


def test_post_scripts_are_run_in_the_reverse_of_the_groups_order(scene: Scene) -> None:
    first, second, third = (
        scene.member(f"m{order}", order=order, pre=SCRIPTS, post=SCRIPTS) for order in (1, 2, 3)
    )
    scene.quiesce()
    assert scene.rejoined()["status"] == "rejoined"
    stages = [*[(each, "pre-script") for each in (first, second, third)]]
    stages += [(each, "post-script") for each in (third, second, first)]
    assert scene.ran() == stages


def test_one_whose_post_script_is_late_holds_up_those_after_it_and_says_so(scene: Scene) -> None:
    first, last = (scene.member(f"m{n}", order=n, post=SCRIPTS) for n in (1, 2))
    scene.script(last, post={"seconds": 60})
    scene.quiesce()
    scene.begin_rejoin()
    scene.rejoin()
    assert scene.ran() == []
    scene.cloud.wait(seconds=10)
    assert scene.rejoin()["unjoined"] == [*sorted([first, last])]
    assert scene.ran() == [(last, "post-script")]


def test_a_post_script_without_a_pre_script_is_run(scene: Scene) -> None:
    db = scene.member(post=SCRIPTS)
    scene.quiesce()
    answer = scene.rejoined()
    assert answer["scripts"] == {db: {"pre": "none", "post": "succeeded", "post_exit": 0}}


def test_a_pre_script_without_a_post_script_is_told_of(scene: Scene) -> None:
    db = scene.member(pre=SCRIPTS)
    scene.quiesce()
    answer = scene.rejoined()
    assert answer["scripts"] == {db: {"pre": "succeeded", "post": "none", "post_exit": None}}
    assert scene.ran() == [(db, "pre-script")]


def test_after_a_pre_script_that_was_never_run_no_post_script_is(scene: Scene) -> None:
    db = scene.member(pre=SCRIPTS, post=SCRIPTS)
    scene.prepare(mute=False)
    answer = scene.rejoined()
    assert answer["scripts"] == {db: {"pre": "none", "post": "none", "post_exit": None}}
    assert (answer["status"], scene.ran()) == ("rejoined", [])


def test_after_a_pre_script_that_failed_no_post_script_is_run(scene: Scene) -> None:
    db = scene.member(pre=SCRIPTS, post=SCRIPTS, accept=["pre-script-failed"])
    scene.script(db, pre={"exit": 1})
    scene.quiesce()
    answer = scene.rejoined()
    assert answer["scripts"] == {db: {"pre": "failed", "post": "none", "post_exit": None}}
    assert scene.ran() == [(db, "pre-script")]


def test_a_pre_script_that_still_runs_is_waited_for_and_then_cancelled(scene: Scene) -> None:
    hung, poor = (scene.member(name, pre=SCRIPTS, post=SCRIPTS) for name in ("hung", "poor"))
    scene.target_group("web", hung)
    scene.script(hung, pre={"hangs": True})
    scene.script(poor, pre={"exit": 1})
    scene.prepare(mute=False)
    assert errors(scene.isolated()) == [(poor, "PreScriptFailed")]
    answer = scene.rejoined()
    assert answer["status"] == "rejoined"
    assert answer["scripts"][hung]["pre"] == "failed"
    assert scene.cloud.now - scene.since < timedelta(minutes=10)
    assert scene.places()[hung] == ["web:80 healthy"]
    # Nobody knows how far it had come: the application may wait to go on.
    assert scene.ran(hung) == [(hung, "pre-script"), (hung, "post-script")]
    assert scene.ran(poor) == [(poor, "pre-script")]


def test_after_a_pre_script_that_hung_the_application_is_let_go_on(scene: Scene) -> None:
    db = scene.member("db", pre=SCRIPTS, post=SCRIPTS)
    scene.script(db, pre={"hangs": True})
    scene.prepare(mute=False)
    assert errors(scene.isolated()) == [(db, "PreScriptFailed")]
    answer = scene.rejoined()
    assert answer["scripts"] == {db: {"pre": "failed", "post": "succeeded", "post_exit": 0}}


def test_after_a_pre_script_that_never_reached_the_guest_no_post_script_is_run(
    scene: Scene,
) -> None:
    db = scene.member("db", pre=SCRIPTS, post=SCRIPTS)
    scene.prepare(mute=False)
    scene.configure(db, agent_online=False)
    assert errors(scene.isolated()) == [(db, "PreScriptFailed")]
    scene.configure(db, agent_online=True)
    assert scene.rejoined()["scripts"][db]["post"] == "none"
    assert scene.ran() == []


def test_a_post_script_that_fails_is_a_failure_and_holds_up_nothing(full: Scene) -> None:
    _, db = full.ids
    full.script(db, post={"exit": 202, "stderr": "no such table"})
    answer = full.rejoined()
    assert (answer["status"], errors(answer)) == ("rejoined", [(db, "PostScriptFailed")])
    (failure,) = answer["failures"]
    assert failure["phase"] == "resume"
    assert "the post-script failed (exit code 202)" in failure["cause"]
    assert "no such table" in failure["cause"]
    assert answer["scripts"][db] == {"pre": "succeeded", "post": "failed", "post_exit": 202}
    assert_back(full)


def test_a_post_script_that_came_after_the_applications_own_timer_is_no_failure(
    full: Scene,
) -> None:
    _, db = full.ids
    full.script(db, post={"exit": 203})
    answer = full.rejoined()
    assert (answer["status"], answer["failures"]) == ("rejoined", [])
    assert answer["scripts"][db]["post_exit"] == 203


def test_a_post_script_that_hangs_is_cancelled_and_has_failed(full: Scene) -> None:
    _, db = full.ids
    full.script(db, post={"hangs": True})
    answer = full.rejoined()
    assert errors(answer) == [(db, "PostScriptFailed")]
    assert "was cancelled" in answer["failures"][0]["cause"]
    assert_back(full)


def test_an_agent_that_never_comes_online_is_waited_for_some_minutes(full: Scene) -> None:
    _, db = full.ids
    full.configure(db, agent_online=False)
    full.cloud.wait(minutes=10)
    answer = full.rejoined()
    assert (answer["status"], errors(answer)) == ("rejoined", [(db, "PostScriptFailed")])
    assert "its agent is not online yet" in answer["failures"][0]["cause"]
    assert timedelta(minutes=10) <= full.cloud.now - full.since < timedelta(minutes=15)
    assert_back(full)


def test_an_agent_that_comes_late_still_runs_the_post_script(full: Scene) -> None:
    _, db = full.ids
    full.configure(db, agent_online=False)
    full.begin_rejoin()
    assert full.rejoin()["status"] == "waiting"
    full.cloud.wait(minutes=8)
    full.configure(db, agent_online=True)
    assert full.rejoined()["failures"] == []
    assert full.ran()[-1] == (db, "post-script")
