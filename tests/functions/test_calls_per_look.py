"""How many calls a look costs: it reads everything once, however many members there are."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.functions.surrounded import SCRIPTS, Scene, a_scene

CHANGES = frozenset(
    {
        *("EnterStandby", "ExitStandby", "RegisterTargets", "DeregisterTargets"),
        *("SendCommand", "CancelCommand", "PutAlarmMuteRule", "DeleteAlarmMuteRule"),
    }
)


@dataclass
class Looks:
    """The actions that each look has called."""

    scene: Scene
    count: int
    isolation: list[list[str]] = field(default_factory=list)
    rejoining: list[list[str]] = field(default_factory=list)

    def take(self, look: Callable[[], dict[str, Any]], calls: list[list[str]]) -> None:
        """Look until it is done, and note what each look has called."""
        while True:
            self.scene.cloud.calls.clear()
            answer = look()
            calls.append([action for _, action in self.scene.cloud.calls])
            assert answer["failures"] == []
            if answer["status"] != "waiting":
                return
            self.scene.cloud.wait(seconds=answer["wait_seconds"])


@contextmanager
def a_backup_of(count: int) -> Iterator[Looks]:
    """Take members out of service and back; each is in everything that it can be in."""
    with a_scene() as scene:
        members = [scene.member(f"m{n}", pre=SCRIPTS, post=SCRIPTS) for n in range(count)]
        for name in ("api", "web"):
            scene.target_group(name, *members)
        scene.scaling_group(*members[:20])  # as many as AttachInstances takes
        scene.prepare()
        looks = Looks(scene, count)
        looks.take(scene.isolate, looks.isolation)
        scene.stop_and_start()
        scene.begin_rejoin()
        looks.take(scene.rejoin, looks.rejoining)
        yield looks


def reads_of(look: list[str]) -> int:
    """Return how many calls of a look have only asked."""
    return sum(action not in CHANGES for action in look)


@pytest.fixture(scope="module")
def forty() -> Iterator[Looks]:
    with a_backup_of(40) as looks:
        yield looks


@pytest.fixture(scope="module")
def ten() -> Iterator[Looks]:
    with a_backup_of(10) as looks:
        yield looks


@pytest.fixture(scope="module")
def one() -> Iterator[Looks]:
    with a_backup_of(1) as looks:
        yield looks


def test_a_look_reads_as_much_for_forty_members_as_for_one(
    one: Looks, ten: Looks, forty: Looks
) -> None:
    most = {
        looks.count: [max(map(reads_of, kind)) for kind in (looks.isolation, looks.rejoining)]
        for looks in (one, ten, forty)
    }
    assert most == {1: [7, 9], 10: [8, 9], 40: [8, 9]}


def test_a_look_that_changes_nothing_makes_eight_calls_at_most(forty: Looks) -> None:
    waits = [look for look in forty.isolation + forty.rejoining if reads_of(look) == len(look)]
    assert waits
    assert max(map(len, waits)) <= 8


def test_every_change_is_made_once_and_scripts_are_sent_to_all_by_one_command(
    forty: Looks,
) -> None:
    made = Counter(action for look in forty.isolation + forty.rejoining for action in look)
    assert {action: made[action] for action in CHANGES if made[action]} == {
        "PutAlarmMuteRule": 1,
        "EnterStandby": 20,
        "DeregisterTargets": 80,
        "SendCommand": made["SendCommand"],
        "RegisterTargets": 80,
        "ExitStandby": 20,
        "DeleteAlarmMuteRule": 1,
    }
    assert made["SendCommand"] <= 5  # the agents of some are back later than those of others
