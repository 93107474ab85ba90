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


def must_alert(cycle: Cycle, now: datetime) -> bool:
    """Return whether people must be told that the instance is down: at first, then hourly."""
    return cycle.alerted_at is None or now - cycle.alerted_at >= ALERT_AGAIN_AFTER
