"""The matrix: every point that the ways through the cycle pass, times every fault for it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sandbox.faults.bases import BASES, CLEAN, TWO_HOURS, physics, state
from sandbox.faults.case import DEFAULT_SEED, Case
from sandbox.faults.moments import CYCLE
from sandbox.faults.result import Result
from sandbox.virtual.mischief import (
    CALL_FAULTS,
    FUNCTION_FAULTS,
    STATE_FAULTS,
    Fault,
    Kind,
)

# Where the owner meddles: before, during and after each phase.
OWNER_STATES: Final = (
    "PrepareBackup",
    "StopInstance",
    "DescribeStopping",
    "CreateImage",
    "WaitForSnapshots",
    "StartInstance",
    "WaitForStart",
    "ReleaseInstances",
    "CompleteBackup",
)
OWNER_DOES: Final = (
    Kind.OWNER_STOPS,
    Kind.OWNER_STARTS,
    Kind.OWNER_TERMINATES,
    Kind.OWNER_UNTAGS,
)
PHYSICAL: Final[dict[str, tuple[Fault, ...]]] = {
    "hung-guest": (physics("hung-guest"),),
    "no-capacity-2h-refused": (physics("no-capacity", seconds=TWO_HOURS + CYCLE),),
    "no-capacity-2h-falls-back": (
        physics("no-capacity", falls_back=True, seconds=TWO_HOURS + CYCLE),
    ),
    "no-kms-grant-2h": (physics("no-kms-grant", seconds=TWO_HOURS + CYCLE),),
    "image-failed-at-once": (physics("image-failed", delay_seconds=0.5),),
    "image-failed-later": (physics("image-failed", delay_seconds=120),),
    "image-failed-twice": (physics("image-failed", delay_seconds=30, times=2),),
    "snapshot-never-initiated": (physics("snapshot-never-initiated"),),
    "snapshot-error-at-once": (physics("snapshot-error", delay_seconds=0.5),),
    "snapshot-error-later": (physics("snapshot-error", delay_seconds=90),),
    "stop-protection-appears": (state(Kind.OWNER_PROTECTS, "StopInstance"),),
}
RULES: Final[dict[str, Fault]] = {
    "event-lost": Fault(Kind.EVENT_LOST, after=CYCLE),
    "event-doubled": Fault(Kind.EVENT_DOUBLED, after=CYCLE),
    "tick-missed": Fault(Kind.TICK_MISSED, "plan_backups", after=CYCLE),
    "tick-doubled": Fault(Kind.TICK_DOUBLED, "plan_backups", after=CYCLE),
    "two-planners-at-once": Fault(Kind.PLANNERS_AT_ONCE, "plan_backups", after=CYCLE),
    "sweep-missed": Fault(Kind.TICK_MISSED, "recover_instances", after=CYCLE),
    "sweep-doubled": Fault(Kind.TICK_DOUBLED, "recover_instances", after=CYCLE),
    "two-sweeps-at-once": Fault(Kind.PLANNERS_AT_ONCE, "recover_instances", after=CYCLE),
}
# States in which an instance is rebooted or imaged as it runs.
METHOD_STATES: Final = (
    "PrepareBackup",
    "CreateImage",
    "WaitForSnapshots",
    "ReleaseInstances",
    "CompleteBackup",
    "WaitForImages",
)
METHOD_PHYSICS: Final = (
    "hung-guest",
    "image-failed",
    "snapshot-never-initiated",
    "snapshot-error",
)
# Events and sweeps matter where there is something to recover.
RULE_BASES: Final = (CLEAN, "cut-off", "snapshot-error")


@dataclass(frozen=True, slots=True)
class Points:
    """What one way through the cycle passes: calls by caller and action, and states.

    The numbers are seconds from the run's begin: when a call was made last, when a state was
    entered first.
    """

    calls: Mapping[tuple[str, str], float]
    states: Mapping[str, float]

    @classmethod
    def of(cls, result: Result) -> "Points":
        """Return the points that a run has passed."""
        return cls(
            {(caller, action): at for caller, action, at in result.calls}, dict(result.states)
        )


def base_cases(seed: int = DEFAULT_SEED) -> list[Case]:
    """Return the runs that show which points there are."""
    return [Case(name, "alone", faults, (), seed) for name, faults in BASES.items()]


def matrix(found: Mapping[str, Points], seed: int) -> list[Case]:
    """Return every pair of a point and a fault, each point on the first way that passes it."""
    known_calls: set[tuple[str, str]] = set()
    known_states: set[str] = set()
    cases: list[Case] = []
    for base in BASES:
        points = found[base]
        for (caller, action), at in points.calls.items():
            if (caller, action) not in known_calls:
                known_calls.add((caller, action))
                # A caller is a state, or else a function.
                kinds = CALL_FAULTS + (() if caller in points.states else FUNCTION_FAULTS)
                cases += _of_call(base, (caller, action), at, kinds, seed)
        for name in points.states:
            if name not in known_states:
                known_states.add(name)
                cases += _of_state(base, name, seed)
    return [*cases, *_physical(seed), *_owner(known_states, seed), *_rules(seed), *_methods(seed)]


def sample(cases: Iterable[Case]) -> list[Case]:
    """Return one case of every point, each with another fault than its neighbour's."""
    by_point: dict[str, list[Case]] = {}
    for case in cases:
        by_point.setdefault(case.point, []).append(case)
    return [some[number % len(some)] for number, some in enumerate(by_point.values())]


def _named(base: str, point: str) -> str:
    return point if base == CLEAN else f"{base}+{point}"


def _case(base: str, point: str, kind: Kind, fault: Fault, seed: int) -> Case:
    return Case(_named(base, point), kind.value, (*BASES[base], fault), (fault,), seed)


def _of_call(
    base: str, point: tuple[str, str], at: float, kinds: Iterable[Kind], seed: int
) -> Iterator[Case]:
    caller, action = point
    for kind in kinds:
        # A call of the enrolment is struck there, one of the backup not before it is due.
        fault = Fault(kind, caller, action, after=CYCLE if at >= CYCLE else 0.0)
        yield _case(base, f"{caller}/{action}", kind, fault, seed)


def _of_state(base: str, name: str, seed: int) -> Iterator[Case]:
    for kind in STATE_FAULTS:
        fault = Fault(kind, name, after=CYCLE)
        yield _case(base, name, kind, fault, seed)


def _physical(seed: int) -> Iterator[Case]:
    for name, faults in PHYSICAL.items():
        yield Case("EC2", name, faults, (), seed)


def _owner(states: set[str], seed: int) -> Iterator[Case]:
    for name in OWNER_STATES:
        if name in states:
            for kind in OWNER_DOES:
                fault = state(kind, name)
                yield Case(f"owner-at-{name}", kind.value, (fault,), (fault,), seed)


def _methods(seed: int) -> Iterator[Case]:
    """Return what concerns the methods that stop nothing: a reboot, or no rest at all."""
    struck = [Fault(kind, "CreateImage", "CreateImage", after=CYCLE) for kind in CALL_FAULTS]
    struck += [state(kind, name) for name in METHOD_STATES for kind in (*STATE_FAULTS, *OWNER_DOES)]
    for fault in struck:
        point = f"methods+{fault.caller}/{fault.action}".rstrip("/")
        yield Case(point, fault.kind.value, (fault,), (fault,), seed, "methods")
    for name in METHOD_PHYSICS:
        fault = physics(name, instance="build")
        yield Case("methods+EC2", name, (fault,), (), seed, "methods")


def _rules(seed: int) -> Iterator[Case]:
    for base in RULE_BASES:
        for name, fault in RULES.items():
            if base == CLEAN or fault.caller != "plan_backups":
                yield Case(_named(base, "EventBridge"), name, (*BASES[base], fault), (fault,), seed)
