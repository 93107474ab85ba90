"""What is to go wrong in a run, and when it did."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

TEN_MINUTES: Final = 600.0
SIX_HOURS: Final = 6 * 3600.0


class Kind(StrEnum):
    """The faults. Those of a call strike the caller and the action that the fault names."""

    # Of a call.
    THROTTLED_ONCE = "throttled-once"
    THROTTLED_FOR_TEN_MINUTES = "throttled-10-min"
    SERVER_ERROR = "server-error-once"
    RESPONSE_LOST = "response-lost"
    ACCESS_DENIED = "access-denied"
    # Of a call that a function makes.
    CRASH_BEFORE = "crash-before"
    CRASH_AFTER = "crash-after"
    HANG = "lambda-timeout"
    # Of a state.
    STOPPED = "stop-execution"
    TIMED_OUT = "execution-timeout"
    SPOILED = "expression-fails"
    OWNER_STOPS = "human-stop"
    OWNER_STARTS = "human-start"
    OWNER_TERMINATES = "instance-terminated"
    OWNER_PROTECTS = "stop-protection-appears"
    OWNER_UNTAGS = "schedule-removed"
    OWNER_DEREGISTERS = "target-deregistered"
    OWNER_DELETES_GROUP = "target-group-deleted"
    OWNER_EXITS_STANDBY = "standby-exited"
    OWNER_LOWERS_MAX = "max-size-lowered"
    # Of EventBridge.
    TICK_MISSED = "tick-missed"
    TICK_DOUBLED = "tick-doubled"
    PLANNERS_AT_ONCE = "two-planners-at-once"
    EVENT_LOST = "event-lost"
    EVENT_DOUBLED = "event-doubled"
    # Of EC2 itself: the sandbox's own, by their names and settings there.
    PHYSICS = "physics"


CALL_FAULTS: Final = (
    Kind.THROTTLED_ONCE,
    Kind.THROTTLED_FOR_TEN_MINUTES,
    Kind.SERVER_ERROR,
    Kind.RESPONSE_LOST,
    Kind.ACCESS_DENIED,
)
FUNCTION_FAULTS: Final = (Kind.CRASH_BEFORE, Kind.CRASH_AFTER, Kind.HANG)
STATE_FAULTS: Final = (Kind.STOPPED, Kind.TIMED_OUT, Kind.SPOILED)
OWNER_FAULTS: Final = (
    Kind.OWNER_STOPS,
    Kind.OWNER_STARTS,
    Kind.OWNER_TERMINATES,
    Kind.OWNER_PROTECTS,
    Kind.OWNER_UNTAGS,
    Kind.OWNER_DEREGISTERS,
    Kind.OWNER_DELETES_GROUP,
    Kind.OWNER_EXITS_STANDBY,
    Kind.OWNER_LOWERS_MAX,
)
_LASTING: Final = {
    Kind.THROTTLED_FOR_TEN_MINUTES: TEN_MINUTES,
    # "For good" is until a person mends it.
    Kind.ACCESS_DENIED: SIX_HOURS,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, ready for JSON.

    `caller` is a function (`plan_backups`) or a state (`StopInstance`), `action` what it calls;
    a fault of a state or of a rule has no action. It is armed `after` seconds after the run's
    begin, and lets the first `skip` occasions pass. A fault of a state with a `subject`, the name
    of an instance, strikes its execution alone. `physics` describes a fault of the EC2 model.
    """

    kind: Kind
    caller: str = ""
    action: str = ""
    after: float = 0.0
    skip: int = 0
    subject: str = ""
    physics: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class _Armed:
    """A fault with its history. It is over once `until` has passed."""

    fault: Fault
    from_moment: float
    seen: int = 0
    strikes: int = 0
    until: float = math.inf


class Mischief:
    """The faults of one run, and which of them have struck."""

    def __init__(self, faults: tuple[Fault, ...], now: Callable[[], float]) -> None:
        self._now = now
        self._armed = [_Armed(fault, now() + fault.after) for fault in faults]
        self.kinds = frozenset(fault.kind for fault in faults)
        self._actions = frozenset(fault.action for fault in faults)

    def call(self, caller: str, action: str) -> Kind | None:
        """Return what befalls a call, if anything does."""
        kinds = {*CALL_FAULTS, *FUNCTION_FAULTS}
        return _kind(
            self._take(kinds, lambda fault: (fault.caller, fault.action) == (caller, action))
        )

    def state(self, state: str, names: Collection[str]) -> Fault | None:
        """Return what befalls an execution of these instances as it enters a state, if anything."""
        return self._take(
            {*STATE_FAULTS, *OWNER_FAULTS},
            lambda fault: fault.caller == state and (not fault.subject or fault.subject in names),
        )

    def tick(self, function: str) -> Kind | None:
        """Return what befalls a tick of the schedule rule of a function, if anything does."""
        kinds = {Kind.TICK_MISSED, Kind.TICK_DOUBLED, Kind.PLANNERS_AT_ONCE}
        return _kind(self._take(kinds, lambda fault: fault.caller == function))

    def event(self) -> Kind | None:
        """Return what befalls an event of the end of an execution, if anything does."""
        return _kind(self._take({Kind.EVENT_LOST, Kind.EVENT_DOUBLED}, lambda _fault: True))

    def concerns(self, *actions: str) -> bool:
        """Whether a call of one of these actions was among what was to go wrong."""
        return not self._actions.isdisjoint(actions)

    @property
    def over(self) -> bool:
        """Whether every fault that has struck is over."""
        return all(self._now() >= one.until for one in self._armed if one.strikes)

    def idle(self) -> list[Fault]:
        """Return the faults that have not struck, of those that are counted here."""
        return [
            one.fault
            for one in self._armed
            if not one.strikes and one.fault.kind is not Kind.PHYSICS
        ]

    def struck(self, fault: Fault) -> bool:
        """Return whether a fault of this kind has struck there, whatever its subject."""
        wanted = fault.kind, fault.caller, fault.action
        return any(
            one.strikes
            for one in self._armed
            if (one.fault.kind, one.fault.caller, one.fault.action) == wanted
        )

    def lift(self) -> None:
        """End all faults."""
        self._armed.clear()

    def _take(self, kinds: set[Kind], concerns: Callable[[Fault], bool]) -> Fault | None:
        now = self._now()
        for one in self._armed:
            fault = one.fault
            if fault.kind not in kinds or not one.from_moment <= now < one.until:
                continue
            if not concerns(fault):
                continue
            one.seen += 1
            if one.seen <= fault.skip:
                continue
            one.strikes += 1
            if one.strikes == 1:
                one.until = now + _LASTING.get(fault.kind, 0.0)
            return fault
        return None


def _kind(fault: Fault | None) -> Kind | None:
    return None if fault is None else fault.kind
