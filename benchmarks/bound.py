"""How fast a fleet can be captured at all: the bound that EC2's documented rates set.

What is stopped has to be started again soon, so captures cannot outrun starts. Each call that
every backup has to make takes a token from a bucket (`sandbox.ec2.throttle`), which all callers of
the account share. A bucket of the size `s` that refills at `r` a second lets `n` calls through in
(n - s) / r seconds at best; the slowest of the buckets sets the pace of the whole fleet. To that
comes what the instance that is stopped last takes by itself: to stop, and to have its snapshots
initiated.

This is a bound for a fleet whose downtime is short. One that may be down for long could be
captured at the rate of CreateImage, and would stand in line to be started.
"""

from collections.abc import Mapping
from typing import Final

from sandbox.buckets import Limit
from sandbox.ec2 import Physics
from sandbox.ec2.throttle import instance_limit, request_limit

LEAST_CALLS: Final[Mapping[str, int]] = {
    "StopInstances": 1,
    "CreateImage": 1,
    "StartInstances": 1,
    "CreateTags": 3,
    "DescribeInstances": 1,
    "DescribeInstanceStatus": 2,
    "DescribeSnapshots": 1,
    "DescribeImages": 1,
}
"""What the backup of a lone instance has to call at least, by action.

It writes the cycle, the evidence on image and snapshots, and the recovery point; it has to see the
instance stopped and running, its snapshots initiated and its image available.
"""


def least_seconds(action: str, instances: int) -> float:
    """Return how long the calls of an action hold up a fleet of this size, at best."""
    calls = LEAST_CALLS[action] * instances
    return max(0.0, *((calls - each.size) / each.refill for each in limits(action)))


def slowest_action(instances: int) -> str:
    """Return the action whose bucket holds up a fleet of this size for longest."""
    return max(LEAST_CALLS, key=lambda action: least_seconds(action, instances))


def bound_seconds(instances: int, alone: float) -> float:
    """Return the least seconds from the due minute until a fleet is captured.

    `alone` is what one undisturbed instance takes to be captured: its stop and the initiation of
    its snapshots, in seconds.
    """
    return least_seconds(slowest_action(instances), instances) + alone


def alone_seconds(physics: Physics, volumes: int) -> float:
    """Return what one instance takes to be captured if nothing holds it up, in the mean.

    It stops, and its volumes' snapshots are initiated one after the other.
    """
    stop, first, further = (
        (each.low + each.high) / 2
        for each in (
            physics.stop_seconds,
            physics.first_snapshot_seconds,
            physics.next_snapshot_seconds,
        )
    )
    return stop + first + further * (volumes - 1)


def limits(action: str) -> tuple[Limit, ...]:
    """Return the buckets that a call for one instance draws on."""
    per_instance = instance_limit(action)
    return (request_limit(action), *([per_instance] if per_instance else []))
