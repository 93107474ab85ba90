"""Targets: what is taken away for a backup, and whether it can be remembered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillpoint.isolation import MOST_TARGETS, Registration, Undo
from stillpoint.targets import (
    FoundTarget,
    names_of_the_last,
    to_take_away,
    why_lost,
    why_not_remembered,
    without_handled,
)

GROUP = "73e2d6bc24d8a067"
registrations = st.builds(
    Registration,
    group=st.from_regex(r"[0-9a-f]{16}", fullmatch=True) | st.text(max_size=30),
    port=st.none() | st.integers(1, 65535),
    was_healthy=st.booleans(),
)


def found(name: str = "web", *, port: int | None = None, state: str = "healthy") -> FoundTarget:
    return FoundTarget(f"arn:{name}", GROUP, name, port, state, only_healthy=name != "web")


def test_a_target_is_remembered_with_its_port_and_its_health() -> None:
    assert found().registration == Registration(GROUP, None, was_healthy=True)
    assert found(port=81, state="initial").registration == Registration(
        GROUP, 81, was_healthy=False
    )


@pytest.mark.parametrize(
    ("state", "taken"),
    [
        *(("healthy", True), ("unhealthy", True), ("initial", True), ("unavailable", True)),
        *(("unhealthy.draining", True), ("draining", False), ("unused", False)),
    ],
)
def test_what_gets_no_traffic_is_left_alone(state: str, taken: bool) -> None:
    assert bool(to_take_away([found(state=state)])) == taken


def test_standby_takes_care_of_the_groups_own_port_alone() -> None:
    own, extra, other = found(), found(port=81), found("api")
    assert without_handled([own, extra, other], ["arn:web"]) == (extra, other)
    assert without_handled([own, extra, other], []) == (own, extra, other)


def test_the_groups_without_another_target_are_named_once() -> None:
    assert names_of_the_last([found("b"), found("a"), found("b", port=81), found()]) == ("a", "b")


@pytest.mark.parametrize(("count", "words"), [(9, ""), (10, "10, and at most 9 can be")])
def test_so_many_can_be_remembered(count: int, words: str) -> None:
    assert why_not_remembered([Registration(GROUP, 65535, was_healthy=True)] * count) == words


def test_a_group_of_an_unknown_kind_cannot_be_remembered() -> None:
    odd = Registration("a b", None, was_healthy=True)
    assert "the target group a b has an unusual ARN" in why_not_remembered([odd])


def test_a_text_that_is_longer_than_a_tag_cannot_be_remembered() -> None:
    long = Registration("a" * 20, 65535, was_healthy=True)
    assert why_not_remembered([long] * MOST_TARGETS) == "their text is too long for a tag"


@given(st.lists(registrations, min_size=1, max_size=12))
def test_what_can_be_remembered_is_read_as_it_was_written(
    targets: list[Registration],
) -> None:
    if why_not_remembered(targets):
        return
    undo = Undo(standby=True, scripts=True, muted=True, targets=tuple(targets))
    assert Undo.parse(undo.render()) == undo
    assert len(undo.render()) <= 256


def test_groups_that_are_gone_are_named_by_what_is_remembered_of_them() -> None:
    assert why_lost([]) == ""
    told = why_lost(["73e2d6bc24d8a067", "853a7bfac705d581"])
    assert "targetgroup/*/73e2d6bc24d8a067, targetgroup/*/853a7bfac705d581" in told
    assert told.endswith("register the instance there.")
