"""What a run uses: calls, transitions and invocations, counted where they happen."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Principal(StrEnum):
    """Who calls an API, as the count of calls tells them apart."""

    PLANNER = "planner"
    FUNCTION = "functions"
    STATE_MACHINE = "state machine"


@dataclass(frozen=True, slots=True)
class CallKind:
    """Calls that are counted as one. `error` is the code that they were refused with, or empty."""

    principal: Principal
    service: str
    action: str
    error: str


@dataclass(frozen=True, slots=True)
class Invoked:
    """An invocation: the function's name, and when it began and ended (epoch seconds).

    `ready_at` is when its handler began: before that its environment is made.
    """

    function: str
    began_at: float
    ready_at: float
    ended_at: float
    error: str


@dataclass(slots=True)
class Meter:
    """The counts of one run.

    `transitions` are by the second (epoch) in which they were asked for, `waits` are the seconds
    that single ones had to wait. `refused` counts invocations beyond the concurrency limit, by
    function.
    """

    calls: Counter[CallKind] = field(default_factory=Counter)
    transitions: Counter[int] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    invocations: list[Invoked] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    def clear(self) -> None:
        """Begin anew."""
        for each in (self.calls, self.transitions, self.refused, self.waits, self.invocations):
            each.clear()

    def transition(self, now: float, wait: float) -> None:
        """Count a state transition that has to wait so many seconds."""
        self.transitions[int(now)] += 1
        if wait > 0:
            self.waits.append(wait)
