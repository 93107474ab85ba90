"""The matrix: every point that the ways through the cycle pass, times every fault for it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from sandbox.faults.bases import (
    BASES,
    CLEAN,
    FREEZES,
    PACED,
    SERVICE,
    everywhere,
    physics,
    state,
)
from sandbox.faults.case import DEFAULT_FLEET, DEFAULT_SEED, Case
from sandbox.faults.moments import CYCLE
from sandbox.faults.result import Result
from sandbox.faults.strikes import (
    AROUND,
    GUESTS,
    METHOD_PHYSICS,
    METHOD_STATES,
    OWNER_DOES,
    OWNER_STATES,
    PACES,
    PHYSICAL,
    RULE_BASES,
    RULES,
    TWO_RECOVERIES,
)
from sandbox.virtual.mischief import CALL_FAULTS, FUNCTION_FAULTS, STATE_FAULTS, Fault, Kind

# Functions that do the same whatever stands around the instances, and the call that is different:
# it writes down what has to be undone.
INDIFFERENT: Final = frozenset(
    {
        *("plan_backups", "prepare_backup", "complete_backup", "alert_stranded"),
        *("prune_recovery_points", "copy_recovery_points"),
    }
)
WRITES_AHEAD: Final = ("prepare_backup", "CreateTags")
# What brings instances back into service does so for what was frozen as for what was stopped.
SERVING: Final = frozenset({"isolate_instances", "recover_instances"})
# Fleets of which the sample takes every third point: what strikes them strikes others as well.
SPARSE_FLEETS: Final = frozenset({SERVICE, FREEZES})
SPARSE: Final = 3


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
    return [Case(name, "alone", base.faults, (), seed, base.fleet) for name, base in BASES.items()]


def matrix(found: Mapping[str, Points], seed: int) -> list[Case]:
    """Return every pair of a point and a fault, each point on the first way that passes it.

    Each fleet has its own points, apart from the calls of functions to which it is all the same.
    """
    known_calls: set[tuple[str, str, str]] = set()
    known_states: set[tuple[str, str]] = set()
    cases: list[Case] = []
    for name, base in BASES.items():
        points = found[name]
        for (caller, action), at in points.calls.items():
            point = (_of_fleet(base.fleet, caller, action), caller, action)
            if point not in known_calls:
                known_calls.add(point)
                # A caller is a state, or else a function.
                kinds = CALL_FAULTS + (() if caller in points.states else FUNCTION_FAULTS)
                cases += _of_call(name, (caller, action), at, kinds, seed)
        for state_name in points.states:
            if (base.fleet, state_name) not in known_states:
                known_states.add((base.fleet, state_name))
                cases += _of_state(name, state_name, seed)
    known = {state_name for fleet, state_name in known_states if fleet == DEFAULT_FLEET}
    return [
        *cases,
        *_physical(seed),
        *_owner(known, seed),
        *_around(seed),
        *_rules(seed),
        *_methods(seed),
        *_paced(seed),
    ]


def _of_fleet(fleet: str, caller: str, action: str) -> str:
    """Return the fleet that a call is a point of: one that another has as well is not repeated."""
    if caller in INDIFFERENT and (caller, action) != WRITES_AHEAD:
        return DEFAULT_FLEET
    return SERVICE if caller in SERVING and fleet == FREEZES else fleet


def sample(cases: Iterable[Case]) -> list[Case]:
    """Return one case of every point, each with another fault than its neighbour's.

    Of the points at which something stands around the instances, it is every third.
    """
    by_point: dict[str, list[Case]] = {}
    for case in cases:
        by_point.setdefault(case.point, []).append(case)
    alone = [some for some in by_point.values() if some[0].fleet not in SPARSE_FLEETS]
    around = [some for some in by_point.values() if some[0].fleet in SPARSE_FLEETS][::SPARSE]
    return [some[number % len(some)] for number, some in enumerate([*alone, *around])]


def _named(base: str, point: str) -> str:
    return point if base == CLEAN else f"{base}+{point}"


def _case(base: str, point: str, faults: tuple[Fault, ...], must_strike: Fault, seed: int) -> Case:
    way = BASES[base]
    every, fault = (*way.faults, *faults), must_strike.kind.value
    return Case(_named(base, point), fault, every, (must_strike,), seed, way.fleet)


def _of_call(
    base: str, point: tuple[str, str], at: float, kinds: Iterable[Kind], seed: int
) -> Iterator[Case]:
    caller, action = point
    for kind in kinds:
        # A call of the enrolment is struck there, one of the backup not before it is due.
        fault = Fault(kind, caller, action, after=CYCLE if at >= CYCLE else 0.0)
        yield _case(base, f"{caller}/{action}", (fault,), fault, seed)


def _of_state(base: str, name: str, seed: int) -> Iterator[Case]:
    for kind in STATE_FAULTS:
        faults = everywhere(kind, name, BASES[base].fleet)
        yield _case(base, name, faults, faults[0], seed)


def _physical(seed: int) -> Iterator[Case]:
    for name, faults in PHYSICAL.items():
        yield Case("EC2", name, faults, (), seed)


def _owner(states: set[str], seed: int) -> Iterator[Case]:
    for name in OWNER_STATES:
        if name in states:
            for kind in OWNER_DOES:
                fault = state(kind, name)
                yield Case(f"owner-at-{name}", kind.value, (fault,), (fault,), seed)


def _around(seed: int) -> Iterator[Case]:
    """Return what concerns guests, and what an owner does around his instances."""
    for fleet, faults in GUESTS.items():
        for name, some in faults.items():
            yield Case(f"{fleet}+guest", name, some, (), seed, fleet)
    for fleet, deeds in AROUND.items():
        for subject, (kinds, states) in deeds.items():
            for name in states:
                for kind in kinds:
                    fault = state(kind, name, subject)
                    point = f"{fleet}+{subject}-at-{name}"
                    yield Case(point, kind.value, (fault,), (fault,), seed, fleet)


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


def _paced(seed: int) -> Iterator[Case]:
    """Return what concerns a fleet of which each waits for its turn, beside its straight way."""
    yield Case(PACED, "alone", (), (), seed, PACED)
    for point, some in PACES.items():
        for name, faults in some.items():
            yield Case(f"{PACED}+{point}", name, faults, faults[:1], seed, PACED)


def _rules(seed: int) -> Iterator[Case]:
    strikes = TWO_RECOVERIES[-1:]
    point = "service-cut-off+EventBridge"
    yield Case(point, "two-recoveries-at-once", TWO_RECOVERIES, strikes, seed, SERVICE)
    for base in RULE_BASES:
        for name, fault in RULES.items():
            if base == CLEAN or fault.caller != "plan_backups":
                yield replace(_case(base, "EventBridge", (fault,), fault, seed), fault=name)
