"""Recovery: what to do about an instance that a backup has left behind."""

from datetime import datetime, timedelta
from enum import StrEnum

from stillpoint.tags import Cycle

SETTLED_AFTER = timedelta(seconds=60)
"""So long after an execution ended, its last call has taken effect and is visible: EC2's answers
are eventually consistent (EC2 Developer Guide, "Eventual consistency")."""
FUNCTIONS_END = timedelta(seconds=150)
"""So long after an execution ended, no function that it had called runs any more: an execution that
is stopped does not stop them, and each may take two minutes. Longer than their Timeout."""
ALERT_AGAIN_AFTER = timedelta(hours=1)

_LOOK_AGAIN_SECONDS = 5.0
_LONGEST_SPREAD_SECONDS = 20.0
LONGEST_WAIT_SECONDS = _LOOK_AGAIN_SECONDS + _LONGEST_SPREAD_SECONDS
"""The longest wait between two looks."""


class Step(StrEnum):
    """The next thing to do about an instance whose execution is not running any more."""

    START = "start"
    """It was running, and is stopped."""
    WAIT = "wait"
    """It is on its way to a state, or may be: look again."""
    RELEASE = "release"
    """It is as it was before: nothing is in charge of it any more."""
    FORGET = "forget"
    """It was terminated: there is nothing to put back."""


def next_step(cycle: Cycle, state: str, *, settled: bool) -> Step:
    """Return what to do about an instance in an EC2 state.

    `settled` says that the execution ended long enough ago. Before that, `running` may be an
    answer from before the stop, and releasing the instance would leave it behind for good.
    """
    if state in {"terminated", "shutting-down"}:
        return Step.FORGET
    if cycle.state_before != "running":
        return Step.RELEASE
    match state:
        case "stopped":
            return Step.START
        case "running":
            return Step.RELEASE if settled else Step.WAIT
        case _:
            return Step.WAIT


def seconds_until_next_look(throttled: int, dice: float) -> float:
    """Return how long to wait before looking again.

    `throttled` is at how many looks in a row EC2 has throttled a start, `dice` a number from 0 to
    1. EC2 starts two instances a second in an account (EC2 Developer Guide, "Request throttling
    for the Amazon EC2 API"). When hundreds of executions end at once, as many recoveries ask for
    that: each waits longer and longer, and not in step with the others.
    """
    if throttled == 0:
        return _LOOK_AGAIN_SECONDS
    spread: float = min(_LONGEST_SPREAD_SECONDS, _LOOK_AGAIN_SECONDS * 2**throttled)
    return _LOOK_AGAIN_SECONDS + dice * spread


def must_alert(cycle: Cycle, now: datetime) -> bool:
    """Return whether people must be told that the instance is down: at first, then hourly."""
    return cycle.alerted_at is None or now - cycle.alerted_at >= ALERT_AGAIN_AFTER
