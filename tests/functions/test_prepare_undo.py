"""Prepare: what may have to be undone is written before anything is done."""

from collections.abc import Iterator

import pytest

from stillpoint.errors import AwsUnavailable, MalformedInput
from stillpoint.isolation import Registration, Undo
from stillpoint.tags import Tag
from tests.functions.cloud import Crash, Moment, crash
from tests.functions.surrounded import EXECUTION, SCALING, SCRIPTS, Scene, a_scene, everything

CALLS = 20
"""How many calls one Prepare of the scene with everything makes."""


@pytest.fixture
def scene(_aws: None) -> Iterator[Scene]:
    with a_scene() as made:
        yield made


def undo_of(scene: Scene, instance_id: str) -> Undo | None:
    """Return what the instance says may have to be undone, or None if it says nothing."""
    value = scene.tags(instance_id).get(Tag.UNDO)
    return None if value is None else Undo.parse(value)


def refused(scene: Scene) -> list[str]:
    """Return the codes of the refusals."""
    event = {"execution": EXECUTION, "backup": scene.backup, "isolates": True}
    answer = scene.cloud.invoke("prepare_backup", event)
    return [row["code"] for row in answer["refusals"]]


def id_of(arn: str) -> str:
    return arn.rpartition("/")[2]


def test_everything_around_a_member_is_written_with_its_cycle_in_one_call(scene: Scene) -> None:
    db = scene.member("db", pre=SCRIPTS)
    group = scene.target_group("db", db)
    scene.cloud.calls.clear()
    answer = scene.prepare()
    assert (answer["isolates"], answer["rejoins"]) == (True, True)
    place = Registration(id_of(group), None, was_healthy=True)
    assert undo_of(scene, db) == Undo(scripts=True, muted=True, targets=(place,))
    assert Tag.CYCLE in scene.tags(db)
    assert scene.asked("CreateTags") == 1


def test_a_member_with_nothing_around_it_has_nothing_to_undo(scene: Scene) -> None:
    web = scene.member()
    answer = scene.prepare(mute=False)
    assert (answer["isolates"], answer["rejoins"]) == (False, False)
    assert undo_of(scene, web) is None
    assert Tag.CYCLE in scene.tags(web)


def test_a_frozen_member_has_a_thaw_to_be_read_and_nothing_to_undo(scene: Scene) -> None:
    db = scene.member("db", method="freeze")
    scene.target_group("db", db)
    answer = scene.prepare()
    assert (answer["isolates"], answer["rejoins"]) == (False, True)
    assert undo_of(scene, db) is None


def test_what_an_earlier_backup_has_left_there_refuses_the_next_and_is_not_forgotten(
    scene: Scene,
) -> None:
    web, db = scene.member(), scene.member("db", order=1, pre=SCRIPTS)
    scene.cloud.tag([web], {Tag.UNDO: "standby muted"})
    assert refused(scene) == ["not-put-back"]
    assert scene.tags(web)[Tag.UNDO] == "standby muted"
    assert undo_of(scene, db) is None


def test_an_execution_of_an_earlier_definition_stops_nothing_that_it_cannot_isolate(
    scene: Scene,
) -> None:
    db = scene.member("db", pre=SCRIPTS)
    event = {"execution": EXECUTION, "backup": scene.backup}
    with pytest.raises(MalformedInput, match="earlier version of the state machine"):
        scene.cloud.invoke("prepare_backup", event)
    assert Tag.CYCLE not in scene.tags(db)


def test_one_member_to_isolate_is_enough_and_the_others_carry_no_tag_for_it(scene: Scene) -> None:
    plain, scripted = scene.member("plain"), scene.member("scripted", order=1, post=SCRIPTS)
    assert scene.prepare(mute=False)["isolates"] is True
    assert undo_of(scene, plain) is None
    assert undo_of(scene, scripted) == Undo(scripts=True)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("stop", Undo(standby=True, scripts=True, muted=True)),
        ("reboot", Undo(scripts=True, muted=True)),
        ("freeze", Undo(scripts=True)),
        ("none", Undo(scripts=True)),
    ],
)
def test_only_a_stop_takes_a_member_out_of_service(
    scene: Scene, method: str, expected: Undo
) -> None:
    web = scene.member(method=method, pre=SCRIPTS, post=SCRIPTS)
    scene.scaling_group(web, arns=[scene.target_group("web")])
    scene.prepare()
    assert undo_of(scene, web) == expected


def test_nothing_is_done_around_a_member_that_does_not_run(scene: Scene) -> None:
    cold = scene.member(pre=SCRIPTS)
    scene.target_group("web", cold)
    scene.cloud.call("StopInstances", InstanceIds=[cold])
    scene.cloud.wait(minutes=3)
    assert scene.prepare()["isolates"] is False
    assert undo_of(scene, cold) is None


def test_alarms_are_muted_only_if_the_stack_says_so(scene: Scene) -> None:
    web = scene.member(pre=SCRIPTS)
    scene.prepare(mute=False)
    assert undo_of(scene, web) == Undo(scripts=True)


def test_what_standby_takes_care_of_is_not_taken_away_as_well(scene: Scene) -> None:
    web = scene.member()
    own, extra = scene.target_group("own"), scene.target_group("extra", web, port=8080)
    scene.scaling_group(web, arns=[own])
    scene.prepare(mute=False)
    place = Registration(id_of(extra), 8080, was_healthy=True)
    assert undo_of(scene, web) == Undo(standby=True, targets=(place,))


def test_a_target_that_its_owner_is_taking_away_is_not_brought_back(scene: Scene) -> None:
    web = scene.member()
    arn = scene.target_group("web", web)
    scene.cloud.ask(
        "elbv2", "DeregisterTargets", TargetGroupArn=arn, Targets=[{"Id": web, "Port": 80}]
    )
    assert scene.prepare(mute=False)["isolates"] is False
    assert undo_of(scene, web) is None


def test_a_target_that_was_not_healthy_before_need_not_be_so_after(scene: Scene) -> None:
    web = scene.member()
    arn = scene.target_group("web", web)
    scene.cloud.companions.balancing.unhealthy.add(web)
    scene.prepare(mute=False)
    assert undo_of(scene, web) == Undo(targets=(Registration(id_of(arn), None, False),))


def test_a_member_that_its_owner_has_put_into_standby_stays_there(scene: Scene) -> None:
    web, other = scene.member(), scene.member("other")
    scene.scaling_group(web, other)
    scene.members.pop()
    scene.cloud.ask(
        *("autoscaling", "EnterStandby"),
        AutoScalingGroupName=SCALING,
        InstanceIds=[web],
        ShouldDecrementDesiredCapacity=True,
    )
    scene.cloud.wait(minutes=1)
    assert scene.prepare(mute=False)["isolates"] is False
    assert undo_of(scene, web) is None


def test_members_that_do_not_leave_their_group_room_together_are_refused(scene: Scene) -> None:
    pair = scene.member(), scene.member("other", order=1)
    scene.scaling_group(*pair)
    scene.resize(MinSize=1)
    assert refused(scene) == ["standby-not-possible"] * 2
    for instance_id in pair:
        assert not scene.tags(instance_id).keys() & {Tag.CYCLE, Tag.UNDO}


def test_a_member_whose_owner_does_not_accept_standby_is_refused_and_not_marked(
    scene: Scene,
) -> None:
    web, db = scene.member(), scene.member("db", order=1, pre=SCRIPTS)
    scene.scaling_group(web)
    scene.members[0]["accept"] = []
    assert refused(scene) == ["auto-scaling"]
    for instance_id in (web, db):
        assert not scene.tags(instance_id).keys() & {Tag.CYCLE, Tag.UNDO}


def test_more_places_than_a_tag_can_hold_refuse_the_backup(scene: Scene) -> None:
    web = scene.member()
    for number in range(10):
        scene.target_group(f"web-{number}", web)
    assert refused(scene) == ["too-many-targets"]
    assert Tag.UNDO not in scene.tags(web)


def test_a_script_whose_owner_does_not_let_it_be_run_refuses_the_backup(scene: Scene) -> None:
    web = scene.member(pre=SCRIPTS)
    scene.cloud.ask(
        *("ssm", "RemoveTagsFromResource"),
        ResourceType="Document",
        ResourceId=SCRIPTS,
        TagKeys=["DLMScriptsAccess"],
    )
    assert refused(scene) == ["script-unusable"]
    assert Tag.UNDO not in scene.tags(web)


def test_a_guest_that_cannot_be_reached_refuses_the_backup_before_anything_is_done(
    scene: Scene,
) -> None:
    db = scene.member("db", pre=SCRIPTS)
    scene.configure(db, agent_online=False)
    scene.cloud.wait(minutes=10)
    assert refused(scene) == ["not-managed"]
    assert Tag.UNDO not in scene.tags(db)


def test_an_input_of_an_earlier_version_has_no_scripts(scene: Scene) -> None:
    web = scene.member()
    for row in scene.members:
        del row["pre"], row["post"]
    scene.prepare()
    assert undo_of(scene, web) == Undo(muted=True)


def test_preparing_again_gives_the_same_answer_and_the_same_tags() -> None:
    with everything() as scene:
        first = scene.prepare()
        tags = [scene.tags(each) for each in scene.ids]
        scene.cloud.wait(seconds=30)
        assert scene.prepare() == first
        assert [scene.tags(each) for each in scene.ids] == tags


def test_the_number_of_calls_of_one_prepare() -> None:
    with everything() as scene:
        scene.prepare()
        assert len(scene.cloud.calls) == CALLS


@pytest.mark.parametrize("call", range(CALLS))
def test_a_crash_before_any_call_leaves_no_member_without_its_undo(call: int) -> None:
    with everything() as scene:
        scene.cloud.moment = Moment(call, crash)
        event = {"execution": EXECUTION, "backup": scene.backup, "isolates": True}
        with pytest.raises(Crash):
            scene.cloud.invoke("prepare_backup", event, {"MUTE_ALARMS": "true"})
        for instance_id in scene.ids:
            tags = scene.tags(instance_id)
            assert (Tag.CYCLE in tags) == (Tag.UNDO in tags)
        scene.prepare()
        assert [undo_of(scene, each) is not None for each in scene.ids] == [True, True]
        assert scene.stops() == []


def test_while_a_companion_of_ec2_does_not_answer_nothing_is_decided() -> None:
    with everything() as scene:
        scene.cloud.refuse("DescribeTargetHealth", "ServiceUnavailable", 503)
        event = {"execution": EXECUTION, "backup": scene.backup, "isolates": True}
        with pytest.raises(AwsUnavailable, match="ServiceUnavailable"):
            scene.cloud.invoke("prepare_backup", event)
        for instance_id in scene.ids:
            assert Tag.CYCLE not in scene.tags(instance_id)
