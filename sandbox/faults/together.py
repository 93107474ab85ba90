"""What may not be down at the same time: more than there is room for, and both halves of a pair."""

from collections.abc import Iterator
from datetime import datetime
from itertools import combinations
from typing import Any, Final, NamedTuple

from sandbox.faults.fleet import ANTI_AFFINITY, Fleet
from sandbox.virtual.cloud import Cloud

MOST: Final = "MaxConcurrentBackups"
_NEVER: Final = float("inf")


class Down(NamedTuple):
    """A time in which an instance was not up, as epoch seconds; `until` may lie ahead."""

    name: str
    since: float
    until: float


class Together:
    """The invariants of one run that are about several instances.

    What the owner himself has stopped or terminated counts for nothing.
    """

    def __init__(self, cloud: Cloud, fleet: Fleet) -> None:
        self._fleet = fleet
        self._most = int(cloud.stack.parameters[MOST])
        self._peers = {
            spec.name: spec.tags[ANTI_AFFINITY]
            for spec in fleet.plan.instances
            if ANTI_AFFINITY in spec.tags
        }

    def violations(self, truth: dict[str, Any]) -> Iterator[str]:
        """Return what was down at the same time and may not be."""
        downs = [down for down in _downs(truth) if down.name not in self._fleet.touched]
        for down in downs:
            at_once = {each.name for each in downs if each.since <= down.since < each.until}
            if len(at_once) > self._most:
                names = ", ".join(sorted(at_once))
                yield f"{len(at_once)} were down at once, of at most {self._most}: {names}"
        for one, other in combinations(downs, 2):
            apart = one.until <= other.since or other.until <= one.since
            if one.name != other.name and self._are_peers(one.name, other.name) and not apart:
                yield f"the anti-affinity peers {one.name} and {other.name} were down at once"

    def _are_peers(self, one: str, other: str) -> bool:
        return self._peers.get(one) is not None and self._peers.get(one) == self._peers.get(other)


def _downs(truth: dict[str, Any]) -> Iterator[Down]:
    for row in truth["instances"]:
        for down in row["downs"]:
            until = down["up_at"]
            yield Down(row["name"], _epoch(down["began_at"]), _epoch(until) if until else _NEVER)


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
