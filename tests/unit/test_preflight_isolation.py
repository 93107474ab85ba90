"""What has to be done around an instance before a stop: whether it can be, and what to undo."""

from dataclasses import replace

import pytest

from stillpoint.instance import Instance
from stillpoint.isolation import Registration, Undo
from stillpoint.preflight import Surroundings, undo_for
from tests.unit.hazardous import (
    BY_CODE,
    FULL,
    IN_A_GROUP,
    NO_SURROUNDINGS,
    a_member,
    a_target,
    codes,
    hazards_of,
    instance,
)

MEMBER = instance(tags=IN_A_GROUP)


def undone(
    subject: Instance,
    surroundings: Surroundings = NO_SURROUNDINGS,
    *,
    method: str = "stop",
    accepted: str = "",
    scripts: bool = False,
    mute: bool = False,
) -> Undo:
    return undo_for(
        subject,
        method=method,
        accepted=frozenset(accepted.split()),
        surroundings=surroundings,
        scripts=scripts,
        mute=mute,
    )


@pytest.mark.parametrize(
    "state", ["InService", "EnteringStandby", "Pending", "Warmed:Running", "Terminating:Wait"]
)
def test_a_group_replaces_its_members_in_every_state_but_standby(state: str) -> None:
    *others, last = hazards_of(MEMBER, surroundings=a_member(state))
    assert last.hazard.code == "auto-scaling"
    assert f"(group web-asg, {state})" in last.reason
    assert codes(tuple(others)) == ([] if state == "InService" else ["standby-not-possible"])


def test_a_member_in_standby_is_not_replaced() -> None:
    assert hazards_of(MEMBER, surroundings=a_member("Standby", sizes=FULL)) == ()


@pytest.mark.parametrize("accepted", [frozenset(), frozenset(BY_CODE)])
def test_a_member_that_cannot_enter_standby_is_refused_whatever_its_owner_accepts(
    accepted: frozenset[str],
) -> None:
    found = hazards_of(MEMBER, accepted=accepted, surroundings=a_member(sizes=FULL))
    first = ["standby-not-possible"]
    assert codes(found) == (first if accepted else [*first, "auto-scaling"])
    words = "(the group web-asg has DesiredCapacity 2 and MinSize 2, and 1 would be left)"
    assert words in found[0].reason


def test_a_tag_is_enough_for_a_member_that_auto_scaling_does_not_know() -> None:
    unknown, member = hazards_of(MEMBER)
    assert unknown.hazard.code == "standby-not-possible"
    assert "(EC2 Auto Scaling does not know the instance)" in unknown.reason
    assert member.hazard.code == "auto-scaling"
    assert "(group web-asg)" in member.reason


def test_targets_that_are_left_alone_do_not_count_as_too_many() -> None:
    around = Surroundings(targets=tuple(a_target(number, "unused") for number in range(20)))
    assert hazards_of(instance(), surroundings=around) == ()


@pytest.mark.parametrize("accepted", ["", "auto-scaling"])
def test_a_plain_instance_has_nothing_to_undo(accepted: str) -> None:
    assert undone(instance(), accepted=accepted) == Undo()


def test_a_member_is_taken_out_of_its_group_only_if_its_owner_accepts_it() -> None:
    assert undone(MEMBER, a_member(), accepted="auto-scaling") == Undo(standby=True)
    assert undone(MEMBER, a_member(), accepted="public-ip") == Undo()


def test_a_member_that_its_owner_put_into_standby_stays_there() -> None:
    assert undone(MEMBER, a_member("Standby"), accepted="auto-scaling") == Undo()


def test_targets_are_taken_away_unless_they_get_nothing_anyway() -> None:
    around = Surroundings(
        targets=(
            a_target(1),
            a_target(2, "unhealthy", 8080),
            a_target(3, "initial"),
            a_target(4, "draining"),
            a_target(5, "unused"),
        )
    )
    assert undone(instance(), around).targets == (
        Registration("73e2d6bc24d8a001", None, was_healthy=True),
        Registration("73e2d6bc24d8a002", 8080, was_healthy=False),
        Registration("73e2d6bc24d8a003", None, was_healthy=False),
    )


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("stop", "standby scripts muted 73e2d6bc24d8a001+"),
        *(("reboot", "scripts muted"), ("freeze", "scripts"), ("none", "scripts")),
    ],
)
def test_what_has_to_be_undone_depends_on_the_method(method: str, words: str) -> None:
    around = replace(a_member(), targets=(a_target(),))
    undo = undone(MEMBER, around, method=method, accepted="auto-scaling", scripts=True, mute=True)
    assert undo.render() == words


@pytest.mark.parametrize("method", ["stop", "reboot", "freeze", "none"])
def test_nothing_is_done_around_what_is_stopped_already(method: str) -> None:
    around = replace(a_member(), targets=(a_target(),))
    stopped = replace(MEMBER, state="stopped")
    undo = undone(stopped, around, method=method, accepted="auto-scaling", scripts=True, mute=True)
    assert undo == Undo()
