"""Random walks: several faults at once, drawn from the matrix by a seed."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from sandbox.faults.case import Case
from sandbox.virtual.mischief import Fault, Kind

POINT: Final = "walk"
FLEETS: Final = (  # some more often
    *("stops", "stops", "methods", "service", "service", "freezes", "paced"),
)
MOST: Final = 4  # faults in a walk
LATEST: Final = 1800.0  # seconds by which a fault may be put off
MOST_SKIPPED: Final = 3


def walks(cases: Iterable[Case], first_seed: int, number: int) -> Iterator[Case]:
    """Return walks with the seeds from `first_seed` on; the same cases give the same walks."""
    known = sorted({fault for case in cases for fault in _hashable(case.faults)}, key=repr)
    for seed in range(first_seed, first_seed + number):
        chance = random.Random(f"walk/{seed}")
        chosen = chance.sample(known, chance.randint(2, MOST))
        faults = tuple(_varied(_fault(each), chance) for each in chosen)
        fleet = chance.choice(FLEETS)
        yield Case(POINT, f"{seed}", faults, (), seed, fleet, tick_minutes=1)


def _hashable(faults: Iterable[Fault]) -> Iterator[tuple[Fault, ...] | tuple[object, ...]]:
    """Return each fault as something that can be told apart from others."""
    for each in faults:
        described = tuple(sorted(each.physics.items()))
        yield each.kind, each.caller, each.action, each.after, each.subject, described


def _fault(row: tuple[object, ...]) -> Fault:
    kind, caller, action, after, subject, physics = row
    assert isinstance(physics, tuple)  # noqa: S101  as made above
    return Fault(
        Kind(str(kind)),
        str(caller),
        str(action),
        float(str(after)),
        subject=str(subject),
        physics=dict(physics),
    )


def _varied(fault: Fault, chance: random.Random) -> Fault:
    """Return a fault at another moment, or at another occasion."""
    if fault.kind is Kind.PHYSICS:
        return fault
    late = chance.uniform(0, LATEST) if chance.random() < 0.5 else 0.0  # noqa: PLR2004
    return replace(fault, after=fault.after + late, skip=chance.choice((0, 0, 1, MOST_SKIPPED)))
