"""Prepare: what is written ahead, and what happens when it cannot be."""

import pytest

from stillpoint.errors import AwsRefused, AwsUnavailable, MalformedInput, MissingSetting
from stillpoint.tags import Cycle, Tag
from tests.functions.faults import throttled
from tests.functions.fleet import (
    cursor,
    fill_tags,
    launch,
    launch_one,
    own_tags_of,
    stop,
    tags_of,
)
from tests.functions.samples import a_backup_of
from tests.functions.stack import NOW, Stack
from tests.unit.builders import at

EXECUTION = "group-erp-20261122T030000Z"
LATER = at("2026-11-22 03:01:00")
SEEN, HANDLED = (cursor("daily 03:00", f"2026-11-{day} 03:00") for day in (21, 22))


def cycle(execution: str = EXECUTION, before: str = "running") -> str:
    return Cycle(execution, before, NOW).render()


def test_the_state_machine_is_told_how_to_image_each_member(stack: Stack) -> None:
    web = launch_one()
    answer = stack.invoke("prepare_backup", a_backup_of(web, accept=["public-ip"]))
    assert answer == {
        "refusals": [],
        "warnings": [],
        "isolates": False,
        "rejoins": False,
        "members": [
            {
                "instance_id": web,
                "name": "web",
                "method": "stop",
                "order": 0,
                "state_before": "running",
                "platform": "linux",
                "image_name": f"stillpoint-{web}-20261122T030000Z",
                "description": f"Made by Stillpoint of {web} for the occurrence"
                " 2026-11-22T03:00:00Z",
                "undo": "nothing",
                "tags": [
                    {"Key": "stillpoint:stack", "Value": "stillpoint"},
                    {"Key": "stillpoint:instance", "Value": web},
                    {"Key": "stillpoint:execution", "Value": EXECUTION},
                    {"Key": "stillpoint:occurrence", "Value": "2026-11-22T03:00:00Z"},
                ],
            }
        ],
    }


def test_members_keep_the_order_in_which_they_are_to_be_stopped(stack: Stack) -> None:
    ids = launch(3)
    answer = stack.invoke("prepare_backup", a_backup_of(*reversed(ids)))
    assert [member["instance_id"] for member in answer["members"]] == list(reversed(ids))


@pytest.mark.parametrize("method", ["stop", "reboot", "none"])
def test_the_cycle_and_the_cursor_are_written_before_anything_is_touched(
    stack: Stack, method: str
) -> None:
    ids = launch(2)
    stack.invoke("prepare_backup", a_backup_of(*ids, method=method))
    for instance_id in ids:
        assert own_tags_of(instance_id) == {"cycle": cycle(), "last": HANDLED}


def test_an_instance_that_was_stopped_already_is_remembered_as_such(stack: Stack) -> None:
    web = launch_one()
    stop(web)
    answer = stack.invoke("prepare_backup", a_backup_of(web))
    assert answer["members"][0]["state_before"] == "stopped"
    assert own_tags_of(web)["cycle"] == cycle(before="stopped")


def test_preparing_again_gives_the_same_answer_and_writes_nothing_new(stack: Stack) -> None:
    ids = launch(2)
    first = stack.invoke("prepare_backup", a_backup_of(*ids))
    written = [own_tags_of(instance_id) for instance_id in ids]
    assert stack.invoke("prepare_backup", a_backup_of(*ids), now=LATER) == first
    assert [own_tags_of(instance_id) for instance_id in ids] == written


def test_preparing_again_finishes_what_was_begun(stack: Stack) -> None:
    ids = launch(2)
    with throttled("ec2", "CreateTags", about=ids[1]), pytest.raises(AwsUnavailable):
        stack.invoke("prepare_backup", a_backup_of(*ids))
    assert "cycle" not in own_tags_of(ids[1])
    stack.invoke("prepare_backup", a_backup_of(*ids))
    assert [own_tags_of(instance_id)["cycle"] for instance_id in ids] == [cycle(), cycle()]


def test_the_cycle_says_what_the_answer_says_even_if_the_instance_was_stopped_in_between(
    stack: Stack,
) -> None:
    web = launch_one()
    stack.invoke("prepare_backup", a_backup_of(web))
    stop(web)
    answer = stack.invoke("prepare_backup", a_backup_of(web))
    assert answer["members"][0]["state_before"] == "stopped"
    assert own_tags_of(web)["cycle"] == cycle(before="stopped")


@pytest.mark.parametrize("seen", ["2026-11-22 03:00", "2026-11-22 04:00"])
def test_a_cursor_never_goes_back(stack: Stack, seen: str) -> None:
    web = launch_one(seen=seen)
    stack.invoke("prepare_backup", a_backup_of(web))
    assert own_tags_of(web)["last"] == cursor("daily 03:00", seen)


@pytest.mark.parametrize("value", ["", "gibberish", "2026-11-21T03:00:00Z"])
def test_a_cursor_that_cannot_be_read_is_left_to_the_planner(stack: Stack, value: str) -> None:
    web = launch_one(tags={Tag.LAST: value})
    stack.invoke("prepare_backup", a_backup_of(web))
    assert own_tags_of(web) == {"cycle": cycle(), "last": value}


def test_the_cycle_of_another_execution_is_never_overwritten(stack: Stack) -> None:
    other = cycle("i-0a-20261121T030000Z")
    web = launch_one(tags={Tag.CYCLE: other})
    answer = stack.invoke("prepare_backup", a_backup_of(web))
    assert answer["members"] == []
    assert [refusal["code"] for refusal in answer["refusals"]] == ["other-backup"]
    assert "i-0a-20261121T030000Z" in answer["refusals"][0]["reason"]
    assert own_tags_of(web)["cycle"] == other


@pytest.mark.parametrize("value", ["", "\N{FLOPPY DISK}", "execution=mine"])
def test_a_cycle_that_cannot_be_read_is_not_overwritten_either(stack: Stack, value: str) -> None:
    web = launch_one(tags={Tag.CYCLE: value})
    assert stack.invoke("prepare_backup", a_backup_of(web))["members"] == []
    assert own_tags_of(web)["cycle"] == value


def test_one_refusal_refuses_the_group_and_no_member_is_tagged_with_a_cycle(
    stack: Stack,
) -> None:
    good, bad = launch_one(), launch_one(instance_type="mac2.metal")
    answer = stack.invoke("prepare_backup", a_backup_of(good, bad))
    assert answer["members"] == []
    assert [row["instance_id"] for row in answer["refusals"]] == [bad]
    for instance_id in (good, bad):
        assert own_tags_of(instance_id) == {
            "last": HANDLED,
            "problem": f"refused 2026-11-22T03:00:00Z: mac _{bad}_",
        }


def test_a_refusal_says_everything_that_a_message_needs(stack: Stack) -> None:
    web = launch_one(instance_type="mac2.metal")
    (refusal,) = stack.invoke("prepare_backup", a_backup_of(web))["refusals"]
    assert refusal == {
        "instance_id": web,
        "name": "web",
        "state": "running",
        "code": "mac",
        "reason": "A Mac host is scrubbed after a stop and may be away for hours: a Mac instance is"
        " neither stopped nor rebooted. (mac2.metal)",
        "remedy": "Set stillpoint:method to none.",
    }


def test_a_refusal_that_cannot_be_written_is_still_told(stack: Stack) -> None:
    full = launch_one(instance_type="mac2.metal")
    fill_tags(full)
    answer = stack.invoke("prepare_backup", a_backup_of(full))
    assert [row["code"] for row in answer["refusals"]] == ["mac"]
    assert "problem" not in own_tags_of(full)


def test_an_instance_without_room_for_the_cycle_is_not_backed_up(stack: Stack) -> None:
    full = launch_one()
    fill_tags(full)
    before = tags_of(full)
    with pytest.raises(AwsRefused, match="TagLimitExceeded"):
        stack.invoke("prepare_backup", a_backup_of(full))
    assert tags_of(full) == before


def test_the_problem_of_many_refusals_fits_the_tag(stack: Stack) -> None:
    ids = launch(40, instance_type="mac2.metal")
    answer = stack.invoke("prepare_backup", a_backup_of(*ids))
    assert len(answer["refusals"]) == 40
    assert len(own_tags_of(ids[0])["problem"]) == 256


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"execution": EXECUTION},
        {"execution": EXECUTION, "backup": None},
        {"execution": EXECUTION, "backup": {"members": [], "occurrence": "yesterday"}},
        {
            "execution": EXECUTION,
            "backup": {"members": "all", "occurrence": "2026-11-22T03:00:00Z"},
        },
        a_backup_of("i-0123456789abcdef0", method="sideways"),
        a_backup_of("i-0123456789abcdef0", accept=None),
        {
            "execution": EXECUTION,
            "backup": {
                "occurrence": "2026-11-22T03:00:00Z",
                "members": [{"instance_id": "i-0123456789abcdef0"}],
            },
        },
    ],
)
def test_an_event_that_cannot_be_read_is_a_clear_error(stack: Stack, event: object) -> None:
    with pytest.raises(MalformedInput, match="prepare_backup was given a backup that it cannot"):
        stack.invoke("prepare_backup", event)


@pytest.mark.parametrize("name", ["STACK_NAME", "KMS_KEY_ARNS"])
def test_a_missing_environment_variable_is_named(stack: Stack, name: str) -> None:
    with pytest.raises(MissingSetting, match=rf"\b{name}\b"):
        stack.invoke("prepare_backup", a_backup_of(launch_one()), without=name)
