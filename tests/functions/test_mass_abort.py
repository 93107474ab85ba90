"""Hundreds of executions that end at once: all instances come back, and EC2 is not besieged.

Each has a recovery of its own, which asks for the start of its instance. The bucket is EC2's.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.throttle import Throttle
from stillpoint.aws.recover_instances import RESERVE, TIME
from stillpoint.recovery import LONGEST_WAIT_SECONDS, seconds_until_next_look

LOOKS = (TIME - RESERVE).total_seconds() - LONGEST_WAIT_SECONDS
"""For how many seconds a recovery begins looks."""
TRIES = 5
"""How often the SDK tries before it reports that EC2 throttles."""


@dataclass
class Night:
    """What became of the recoveries: when each start was taken, and every call that was made."""

    started: dict[int, float] = field(default_factory=dict)
    calls: list[float] = field(default_factory=list)

    @property
    def last(self) -> float:
        """When the last instance was started, in seconds."""
        return max(self.started.values())

    def calls_between(self, begin: float, end: float) -> float:
        """Return how many calls were made per second."""
        return sum(begin <= each < end for each in self.calls) / (end - begin)


def recover_all(count: int, wait: Callable[[int, float], float] = seconds_until_next_look) -> Night:
    """Let so many recoveries begin within two seconds, each with one instance to start."""
    dice, bucket, night = random.Random(1), Throttle(), Night()
    begun = {number: dice.uniform(0, 2) for number in range(count)}
    agenda = [(at, number, 0, 0) for number, at in begun.items()]
    heapq.heapify(agenda)
    while agenda:
        now, number, tries, looks = heapq.heappop(agenda)
        night.calls.append(now)
        try:
            bucket.admit("StartInstances", now, instances=1)
        except Ec2Error:
            if tries + 1 < TRIES:
                again = now + dice.random() * min(20, 2**tries)
                heapq.heappush(agenda, (again, number, tries + 1, looks))
            elif now - begun[number] <= LOOKS:
                again = now + wait(looks + 1, dice.random())
                heapq.heappush(agenda, (again, number, 0, looks + 1))
        else:
            night.started[number] = now
    return night


@pytest.mark.parametrize("count", [1, 5, 40, 100, 300])
def test_all_come_back_nearly_as_fast_as_ec2_starts_them(count: int) -> None:
    night = recover_all(count)
    assert len(night.started) == count
    bound = max(0, count - 5) / 2  # what is in the bucket, then two a second
    assert night.last <= 1.1 * bound + 8


def test_so_many_recoveries_ask_ever_less_often() -> None:
    night = recover_all(300)
    in_step = recover_all(300, lambda _looks, _dice: 5.0)
    assert night.calls_between(30, 120) < 45
    assert night.calls_between(30, 120) < 0.65 * in_step.calls_between(30, 120)
    assert len(in_step.started) == 300


def test_they_do_not_ask_all_at_the_same_moment() -> None:
    calls = Counter(int(at) for at in recover_all(300).calls if at >= 30)
    assert max(calls.values()) < 100


def test_a_thousand_that_do_not_all_find_their_turn_keep_ec2_busy_all_the_time() -> None:
    night = recover_all(1000)
    assert len(night.started) > 2 * LOOKS
