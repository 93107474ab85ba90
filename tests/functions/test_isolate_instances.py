"""Isolating: out of service and quiet before anything is stopped, or nothing is stopped at all."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from stillpoint.errors import AwsRefused, AwsUnavailable, MalformedInput
from stillpoint.tags import Tag
from tests.functions.surrounded import (
    EXECUTION,
    IN_SERVICE,
    ISOLATION_CALLS,
    PLACES,
    SCRIPTS,
    Scene,
    a_scene,
    errors,
    everything,
)

CHANGES = ["PutAlarmMuteRule", "EnterStandby", "DeregisterTargets", "SendCommand"]
ISOLATED = {"status": "isolated", "warnings": [], "failures": []}


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


def assert_isolated(full: Scene) -> None:
    """Nobody serves, the pre-script was run, the alarms are muted, and nothing was harmed."""
    web, db = full.ids
    assert full.places() == {web: ["erp-asg Standby"], db: []}
    assert set(full.ran()) == {(db, "pre-script")}
    (rule,) = full.mute_rules()
    assert rule["alarms"] == ["erp-db-cpu", "erp-web-cpu"]
    assert (full.stops(), full.violations()) == ([], [])


def test_a_group_is_isolated_and_nothing_is_stopped(full: Scene) -> None:
    assert full.isolated() == ISOLATED
    assert_isolated(full)
    assert len(full.cloud.calls) == ISOLATION_CALLS
    assert full.cloud.now - full.since < timedelta(minutes=1)


def test_it_says_what_it_waits_for_and_when_to_look_again(full: Scene) -> None:
    answer = full.isolate()
    web, db = full.ids
    assert answer["status"] == "waiting"
    assert answer["wait_seconds"] == 5
    assert f"{web}: it enters Standby in the group erp-asg" in answer["waiting"]
    assert f"{db}: it drains from api:8080, db:80" in answer["waiting"]


def test_a_look_that_is_repeated_does_nothing_twice(full: Scene) -> None:
    for _ in range(40):
        full.checks = 0
        full.isolate()
        full.cloud.wait(seconds=2)  # so long a command may not be visible
    assert_isolated(full)
    assert [full.asked(action) for action in CHANGES] == [1, 1, 2, 1]


def test_no_script_is_run_before_everybody_is_out_of_service(full: Scene) -> None:
    web, db = full.ids
    while not full.ran():
        full.isolate()
        full.cloud.wait(seconds=1)
    assert full.places() == {web: ["erp-asg Standby"], db: []}


def test_pre_scripts_are_run_in_the_order_of_the_group(scene: Scene) -> None:
    last, first, twin = (
        scene.member(name, order=order, pre=SCRIPTS)
        for name, order in (("last", 9), ("first", 2), ("twin", 2))
    )
    scene.prepare(mute=False)
    assert scene.isolated() == ISOLATED
    *begun, end = scene.ran()
    assert set(begun) == {(first, "pre-script"), (twin, "pre-script")}
    assert end == (last, "pre-script")


def test_members_of_one_place_do_not_wait_for_one_another(scene: Scene) -> None:
    pair = [scene.member(name, pre=SCRIPTS) for name in ("one", "two")]
    for instance_id in pair:
        scene.script(instance_id, pre={"seconds": 60})
    scene.prepare(mute=False)
    scene.isolated()
    assert scene.cloud.now - scene.since < timedelta(seconds=100)


def test_a_post_script_alone_is_not_run_before(scene: Scene) -> None:
    scene.member(post=SCRIPTS)
    scene.prepare(mute=False)
    assert scene.isolated() == ISOLATED
    assert scene.ran() == []


def test_a_pre_script_that_fails_ends_the_backup_before_anything_is_stopped(full: Scene) -> None:
    web, db = full.ids
    full.script(db, pre={"exit": 201, "stderr": "the database does not answer"})
    answer = full.isolated()
    assert (answer["status"], errors(answer)) == ("failed", [(db, "PreScriptFailed")])
    (failure,) = answer["failures"]
    assert failure["phase"] == "quiesce"
    assert "the pre-script failed (exit code 201)" in failure["cause"]
    assert "the database does not answer" in failure["cause"]
    assert full.stops() == []
    assert full.rejoined()["status"] == "rejoined"
    assert full.places() == {web: IN_SERVICE, db: PLACES}
    assert full.ran() == [(db, "pre-script")]
    assert full.mute_rules() == []


def test_after_one_that_fails_no_later_pre_script_is_run(scene: Scene) -> None:
    first, later = (scene.member(f"m{n}", order=n, pre=SCRIPTS) for n in (1, 2))
    scene.script(first, pre={"exit": 1})
    scene.prepare(mute=False)
    assert errors(scene.isolated()) == [(first, "PreScriptFailed")]
    scene.cloud.wait(minutes=5)
    assert scene.ran(later) == []


def test_a_pre_script_whose_failure_is_accepted_is_a_warning_and_the_next_are_run(
    scene: Scene,
) -> None:
    first = scene.member("first", order=1, pre=SCRIPTS, accept=["pre-script-failed"])
    later = scene.member("later", order=2, pre=SCRIPTS)
    scene.script(first, pre={"exit": 1})
    scene.prepare(mute=False)
    answer = scene.isolated()
    (warning,) = answer["warnings"]
    assert (answer["status"], answer["failures"]) == ("isolated", [])
    assert (warning["instance_id"], warning["code"]) == (first, "pre-script-failed")
    assert "exit code is 1" in warning["reason"]
    assert warning["remedy"].startswith("Mend the script")
    assert scene.ran() == [(first, "pre-script"), (later, "pre-script")]


def test_a_pre_script_that_hangs_is_cancelled_and_has_failed(scene: Scene) -> None:
    db = scene.member("db", pre=SCRIPTS)
    scene.script(db, pre={"hangs": True})
    scene.prepare(mute=False)
    answer = scene.isolated()
    assert errors(answer) == [(db, "PreScriptFailed")]
    assert "did not end within 120 s and was cancelled" in answer["failures"][0]["cause"]
    assert scene.asked("CancelCommand") == 1
    assert scene.cloud.now - scene.since < timedelta(minutes=5)


def test_a_guest_whose_agent_has_died_meanwhile_fails_in_words(scene: Scene) -> None:
    db = scene.member("db", pre=SCRIPTS)
    scene.prepare(mute=False)
    scene.configure(db, agent_online=False)
    answer = scene.isolated()
    assert errors(answer) == [(db, "PreScriptFailed")]
    assert "the agent" in answer["failures"][0]["cause"]
    assert scene.cloud.now - scene.since < timedelta(minutes=5)


def test_a_document_that_was_deleted_meanwhile_fails_in_words(scene: Scene) -> None:
    db = scene.member("db", pre=SCRIPTS)
    scene.prepare(mute=False)
    scene.cloud.ask("ssm", "DeleteDocument", Name=SCRIPTS)
    answer = scene.isolated()
    assert errors(answer) == [(db, "PreScriptFailed")]
    assert "InvalidDocument" in answer["failures"][0]["cause"]


def test_a_member_that_is_gone_fails_the_group_and_nothing_is_done(full: Scene) -> None:
    web, db = full.ids
    full.cloud.call("TerminateInstances", InstanceIds=[web])
    answer = full.isolate()
    assert (answer["status"], errors(answer)) == ("failed", [(web, "InstanceGone")])
    assert [full.asked(action) for action in CHANGES] == [0, 0, 0, 0]
    assert full.places()[db] == PLACES


def test_a_group_that_has_shrunk_meanwhile_does_not_let_its_member_out(full: Scene) -> None:
    web, db = full.ids
    full.resize(MinSize=1)
    answer = full.isolated()
    assert errors(answer) == [(web, "StandbyRefused")]
    assert "DesiredCapacity 1 and MinSize 1" in answer["failures"][0]["cause"]
    assert full.ran() == []
    # Its neighbour may be out by then, and comes back.
    full.cloud.wait(minutes=1)
    assert full.rejoined()["status"] == "rejoined"
    assert full.places() == {web: IN_SERVICE, db: PLACES}


def test_a_member_that_left_its_group_meanwhile_is_not_stopped(full: Scene) -> None:
    web, _ = full.ids
    groups = full.cloud.companions.autoscaling._groups
    for found in groups.values():
        del found["erp-asg"].members[web]
    answer = full.isolated()
    assert errors(answer) == [(web, "StandbyRefused")]
    assert "does not know the instance" in answer["failures"][0]["cause"]


@pytest.mark.parametrize("value", ["", "sideways", "standby 73e2d6bc:80?"])
def test_a_tag_that_somebody_spoils_changes_nothing(full: Scene, value: str) -> None:
    full.cloud.tag(full.ids, {Tag.UNDO: value})
    assert full.isolated() == ISOLATED
    assert_isolated(full)


@pytest.mark.parametrize("value", ["", "sideways", "standby 73e2d6bc:80?"])
def test_a_tag_that_nobody_can_read_is_named_and_nothing_is_done(full: Scene, value: str) -> None:
    web, db = full.ids
    full.undos = {}  # of an execution that an earlier version has started
    full.cloud.tag([db], {Tag.UNDO: value})
    with pytest.raises(MalformedInput, match=rf"stillpoint:undo of {db} cannot be read"):
        full.isolate()
    assert [full.asked(action) for action in CHANGES] == [0, 0, 0, 0]
    assert full.places()[web] == IN_SERVICE


@pytest.mark.parametrize("action", ["DescribeAlarms", "GetAlarmMuteRule", "PutAlarmMuteRule"])
@pytest.mark.parametrize("status", [400, 503])
def test_an_alarm_that_may_ring_is_no_reason_to_have_no_backup(
    full: Scene, action: str, status: int
) -> None:
    full.cloud.refuse(action, "AccessDenied", status)
    assert full.isolated() == ISOLATED
    assert full.mute_rules() == []


def test_alarms_are_muted_at_the_first_look_alone(full: Scene) -> None:
    full.isolated()
    assert full.asked("DescribeAlarms", "GetAlarmMuteRule", "PutAlarmMuteRule") == 3


def test_what_prepare_has_just_written_is_waited_for_until_ec2_shows_it(full: Scene) -> None:
    for instance_id in full.ids:
        full.release(instance_id)
    with pytest.raises(AwsUnavailable, match="EC2 does not show yet that"):
        full.isolate()
    assert [full.asked(action) for action in CHANGES] == [0, 0, 0, 0]


def test_a_member_that_another_backup_is_in_charge_of_is_left_alone(full: Scene) -> None:
    web, _ = full.ids
    other = full.tags(web)[Tag.CYCLE].replace(EXECUTION, "web-20261122T030000Z")
    full.cloud.tag([web], {Tag.CYCLE: other})
    with pytest.raises(AwsUnavailable, match=f"in charge of {web}"):
        full.isolate()
    assert [full.asked(action) for action in CHANGES] == [0, 0, 0, 0]


def test_a_member_with_nothing_to_undo_is_left_as_it_is(scene: Scene) -> None:
    scene.member("plain", order=1)
    db = scene.member("db", order=2, pre=SCRIPTS)
    scene.prepare(mute=False)
    scene.cloud.calls.clear()
    assert scene.isolated() == ISOLATED
    assert scene.ran() == [(db, "pre-script")]
    assert [scene.asked(action) for action in CHANGES] == [0, 0, 0, 1]


def test_a_member_that_came_into_a_group_meanwhile_is_not_stopped(scene: Scene) -> None:
    web = scene.member("web")
    scene.member("db", order=1, pre=SCRIPTS)
    scene.prepare(mute=False)
    scene.scaling_group(web)
    answer = scene.isolated()
    assert (answer["status"], errors(answer)) == ("failed", [(web, "StandbyRefused")])
    assert "Its group would replace it" in answer["failures"][0]["cause"]
    assert (scene.ran(), scene.stops()) == ([], [])


@pytest.mark.parametrize("action", ["EnterStandby", "DeregisterTargets"])
def test_a_permission_that_is_missing_is_an_error_of_its_own(full: Scene, action: str) -> None:
    full.cloud.refuse(action, "AccessDenied", 403)
    with pytest.raises(AwsRefused, match="AccessDenied"):
        full.isolate()
    assert full.stops() == []


@pytest.mark.parametrize(
    "action",
    [
        *("DescribeInstances", "DescribeAutoScalingInstances", "DescribeTargetHealth"),
        *("EnterStandby", "DeregisterTargets"),
    ],
)
def test_while_aws_does_not_answer_the_state_machine_tries_again(full: Scene, action: str) -> None:
    full.cloud.refuse(action, "ServiceUnavailable", 503)
    with pytest.raises(AwsUnavailable):
        full.isolate()
    full.cloud.refusals.clear()
    assert full.isolated() == ISOLATED
    assert_isolated(full)


@pytest.mark.parametrize("call", range(ISOLATION_CALLS))
def test_a_crash_before_any_call_is_made_good_by_the_next_look(full: Scene, call: int) -> None:
    full.crash_at(call)
    assert full.isolated() == ISOLATED
    assert full.has_crashed
    assert_isolated(full)
    assert [full.asked(action) for action in CHANGES] == [1, 1, 2, 1]


@pytest.mark.parametrize("call", range(ISOLATION_CALLS))
def test_a_call_whose_answer_is_lost_changes_nothing(full: Scene, call: int) -> None:
    full.bumps.call, full.bumps.is_lost = call, True
    assert full.isolated() == ISOLATED
    assert_isolated(full)


EVENT = {"execution": EXECUTION, "since": "2026-11-22T03:00:00Z", "checks": 0}


@pytest.mark.parametrize(
    "event",
    [
        {},
        EVENT,
        EVENT | {"backup": None},
        EVENT | {"backup": {"members": [{"instance_id": "i-0123456789abcdef0"}]}},
        EVENT | {"backup": {"members": []}, "since": "yesterday"},
        EVENT | {"backup": {"members": []}, "checks": None},
    ],
)
def test_an_event_that_cannot_be_read_is_a_clear_error(scene: Scene, event: object) -> None:
    with pytest.raises(MalformedInput, match="isolate_instances was given a backup that it cannot"):
        scene.cloud.invoke("isolate_instances", event)
