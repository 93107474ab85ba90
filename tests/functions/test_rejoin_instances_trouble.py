"""Rejoining in trouble: one member that cannot go on holds up no other, and nothing is lost."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from stillpoint.errors import AwsUnavailable, MalformedInput
from stillpoint.tags import Tag
from tests.functions.surrounded import (
    EXECUTION,
    IN_SERVICE,
    PLACES,
    RETURN_CALLS,
    SCALING,
    Scene,
    a_scene,
    assert_back,
    errors,
    everything,
)
from tests.functions.template import FREEZE_DOCUMENT

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


def test_a_target_that_does_not_become_healthy_is_given_up_after_half_an_hour(
    full: Scene,
) -> None:
    web, db = full.ids
    full.cloud.companions.balancing.unhealthy.add(db)
    answer = full.rejoined()
    assert timedelta(minutes=30) <= full.cloud.now - full.since <= timedelta(minutes=32)
    assert (answer["status"], answer["unjoined"]) == ("failed", [db])
    assert errors(answer) == [(db, "NotBackInService")]
    assert "unhealthy (Target.FailedHealthChecks) in db:80" in answer["failures"][0]["cause"]
    assert full.places()[web] == IN_SERVICE


def test_a_target_that_was_not_healthy_before_is_not_waited_for(scene: Scene) -> None:
    web = scene.member()
    scene.target_group("web", web)
    scene.cloud.companions.balancing.unhealthy.add(web)
    scene.quiesce()
    assert scene.rejoined()["status"] == "rejoined"
    assert scene.cloud.now - scene.since < timedelta(minutes=1)


def test_a_group_that_was_made_smaller_meanwhile_takes_the_member_back_when_it_can(
    full: Scene,
) -> None:
    web, db = full.ids
    full.resize(MaxSize=0)
    full.begin_rejoin()
    for _ in range(30):
        full.rejoin()
        full.cloud.wait(seconds=10)
    answer = full.rejoin()
    assert (answer["status"], answer["unjoined"]) == ("waiting", [web])
    assert full.places() == {web: ["erp-asg Standby"], db: PLACES}
    full.resize(MaxSize=1)
    assert full.rejoined()["status"] == "rejoined"
    assert_back(full)


def test_a_group_that_stays_too_small_is_named_with_its_numbers(full: Scene) -> None:
    web, _ = full.ids
    full.resize(MaxSize=0)
    answer = full.rejoined()
    assert (answer["status"], errors(answer)) == ("failed", [(web, "NotBackInService")])
    assert "MaxSize 0, and would come to DesiredCapacity 1" in answer["failures"][0]["cause"]
    assert answer["unjoined"] == [web]


def test_alarms_ring_again_only_when_the_last_member_is_back(full: Scene) -> None:
    full.resize(MaxSize=0)
    full.begin_rejoin()
    for _ in range(30):
        full.rejoin()
        full.cloud.wait(seconds=5)
    assert len(full.mute_rules()) == 1
    full.resize(MaxSize=1)
    assert full.rejoined()["status"] == "rejoined"
    assert_back(full)


@pytest.mark.parametrize("action", ["ListAlarmMuteRules", "DeleteAlarmMuteRule"])
@pytest.mark.parametrize("status", [403, 503])
def test_alarms_that_stay_mute_hold_up_nothing_and_end_by_themselves(
    full: Scene, action: str, status: int
) -> None:
    full.cloud.refuse(action, "AccessDenied", status)
    assert full.rejoined()["status"] == "rejoined"
    full.cloud.wait(hours=2)
    assert [rule["status"] for rule in full.mute_rules()] == ["EXPIRED"]


def test_one_that_does_not_run_is_not_handed_to_its_group(full: Scene) -> None:
    web, db = full.ids
    full.cloud.call("StopInstances", InstanceIds=[web])
    full.cloud.wait(minutes=3)
    answer = full.rejoined()
    assert errors(answer) == [(web, "NotBackInService")]
    assert "it is stopped" in answer["failures"][0]["cause"]
    assert full.places() == {web: ["erp-asg Standby"], db: PLACES}
    assert full.violations() == []


def test_one_that_was_terminated_meanwhile_is_not_waited_for(full: Scene) -> None:
    web, db = full.ids
    full.cloud.call("TerminateInstances", InstanceIds=[db])
    full.cloud.wait(minutes=2)
    answer = full.rejoined()
    assert (answer["status"], answer["unjoined"]) == ("rejoined", [])
    assert full.places()[web] == IN_SERVICE


def test_only_those_that_are_back_are_looked_at(full: Scene) -> None:
    web, db = full.ids
    assert full.rejoined(web)["status"] == "rejoined"
    assert full.places() == {web: IN_SERVICE, db: []}
    assert (db, "post-script") not in full.ran()


def test_tags_that_somebody_takes_away_or_spoils_change_nothing(full: Scene) -> None:
    web, db = full.ids
    full.release(db)
    full.cloud.tag([web], {Tag.UNDO: "sideways"})
    assert full.rejoined()["status"] == "rejoined"
    assert_back(full)


def test_a_tag_that_nobody_can_read_holds_up_no_neighbour(full: Scene) -> None:
    web, db = full.ids
    full.undos = {}  # of an execution that an earlier version has started
    value = full.tags(web)[Tag.UNDO]
    full.cloud.tag([web], {Tag.UNDO: "sideways"})
    answer = full.rejoined()
    assert (answer["status"], answer["unjoined"]) == ("failed", [web])
    assert errors(answer) == [(web, "NotBackInService")]
    assert "stillpoint:undo" in answer["failures"][0]["cause"]
    assert full.places() == {web: ["erp-asg Standby"], db: PLACES}
    full.cloud.tag([web], {Tag.UNDO: value})
    assert full.rejoined()["status"] == "rejoined"
    assert_back(full)


def test_a_call_that_is_refused_holds_up_no_neighbour(full: Scene) -> None:
    web, db = full.ids
    full.cloud.refuse("ExitStandby", "AccessDenied", 403)
    answer = full.rejoined()
    assert errors(answer) == [(web, "NotBackInService")]
    assert "AccessDenied" in answer["failures"][0]["cause"]
    assert full.places()[db] == PLACES


def test_a_target_group_and_a_scaling_group_that_are_gone_are_not_waited_for(full: Scene) -> None:
    web, db = full.ids
    balancing, scaling = full.cloud.companions.balancing, full.cloud.companions.autoscaling
    for place in balancing._places.values():
        place.groups.clear()
    for groups in scaling._groups.values():
        del groups[SCALING]
    assert full.rejoined()["status"] == "rejoined"
    assert full.places() == {web: [], db: []}


def test_while_ec2_does_not_answer_the_state_machine_tries_again(full: Scene) -> None:
    full.cloud.refuse("DescribeInstances", "ServiceUnavailable", 503)
    with pytest.raises(AwsUnavailable):
        full.rejoin()
    full.cloud.refusals.clear()
    assert full.rejoined()["status"] == "rejoined"
    assert_back(full)


@pytest.mark.parametrize("call", range(RETURN_CALLS))
def test_a_crash_before_any_call_is_made_good_by_the_next_look(full: Scene, call: int) -> None:
    full.crash_at(call)
    answer = full.rejoined()
    assert (answer["status"], answer["failures"]) == ("rejoined", [])
    assert full.has_crashed
    assert_back(full)
    assert [full.asked(action) for action in CHANGES] == [1, 1, 2]


@pytest.mark.parametrize("call", range(RETURN_CALLS))
def test_a_call_whose_answer_is_lost_changes_nothing(full: Scene, call: int) -> None:
    full.bumps.call, full.bumps.is_lost = call, True
    answer = full.rejoined()
    assert (answer["status"], answer["failures"]) == ("rejoined", [])
    assert_back(full)


def freeze(scene: Scene, instance_id: str) -> None:
    """Let a guest freeze itself, as freeze_instances does, and note it."""
    parameters = {"executionId": [EXECUTION], "command": ["freeze"], "thawSeconds": ["60"]}
    answer = scene.cloud.ask(
        *("ssm", "SendCommand"),
        InstanceIds=[instance_id],
        DocumentName=FREEZE_DOCUMENT,
        Comment=f"{EXECUTION} freeze",
        Parameters=parameters,
    )
    command_id = answer["Command"]["CommandId"]
    scene.frozen.append({"instance_id": instance_id, "command_id": command_id, "vss": False})


def test_what_became_of_a_freeze_is_read_and_a_thaw_that_nobody_asked_for_is_asked_for(
    scene: Scene,
) -> None:
    db = scene.member(method="freeze")
    scene.prepare()
    freeze(scene, db)
    scene.cloud.wait(seconds=12)
    answer = scene.rejoined()
    assert (answer["status"], answer["failures"]) == ("rejoined", [])
    thaw = answer["thaws"][db]
    # The agent cannot take a command while its own file system is frozen.
    assert (thaw["exit_code"], thaw["by"]) == (0, "hold-over")
    assert thaw["until"] > thaw["from"]
    assert scene.asked("SendCommand") == 1


def test_a_freeze_that_its_watchdog_ended_is_told_as_such(scene: Scene) -> None:
    db = scene.member(method="freeze")
    scene.prepare()
    scene.cloud.world.faults.add({"name": "auto-thaw-fires"})
    freeze(scene, db)
    scene.cloud.wait(minutes=2)
    answer = scene.rejoined()
    assert answer["status"] == "rejoined"
    assert answer["thaws"][db]["exit_code"] == 203


EVENT = {
    "execution": EXECUTION,
    "since": "2026-11-22T03:00:00Z",
    "freezes": [],
    "instance_ids": [],
    "backup": {"members": []},
}


@pytest.mark.parametrize(
    "event",
    [
        {},
        EVENT | {"backup": None},
        EVENT | {"instance_ids": ["i-0123456789abcdef0"]},
        EVENT | {"since": "yesterday"},
        EVENT | {"freezes": [{}]},
    ],
)
def test_an_event_that_cannot_be_read_is_a_clear_error(scene: Scene, event: object) -> None:
    with pytest.raises(MalformedInput, match="rejoin_instances was given a backup that it cannot"):
        scene.cloud.invoke("rejoin_instances", event)


def test_a_target_group_that_is_gone_is_told_once_and_nothing_is_put_in_its_place(
    full: Scene,
) -> None:
    web, db = full.ids
    full.delete_target_group("db")
    replacement = full.target_group("db")
    answer = full.rejoined()
    assert (answer["status"], answer["unjoined"]) == ("rejoined", [])
    assert errors(answer) == [(db, "TargetGroupGone")]
    assert "which does not exist any more" in answer["failures"][0]["cause"]
    assert full.places() == {web: IN_SERVICE, db: ["api:8080 healthy"]}
    asked = full.cloud.ask("elbv2", "DescribeTargetHealth", TargetGroupArn=replacement)
    assert asked["TargetHealthDescriptions"] == []


def test_one_that_has_lost_a_place_says_all_that_went_wrong(full: Scene) -> None:
    _, db = full.ids
    full.delete_target_group("db")
    full.script(db, post={"exit": 202})
    answer = full.rejoined()
    assert sorted(errors(answer)) == [(db, "PostScriptFailed"), (db, "TargetGroupGone")]
