"""One run of the matrix: which faults, and by which name it is asked for again."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from sandbox.virtual.mischief import Fault, Kind

DEFAULT_SEED: Final = 1
DEFAULT_FLEET: Final = "stops"
# A tick that finds nothing to do costs more real time than all else: fewer of them.
DEFAULT_TICK: Final = 5


@dataclass(frozen=True, slots=True)
class Case:
    """A point and a fault, by name, and the faults that this comes down to.

    `must_strike` are those of the faults without which the run would prove nothing; `fleet` is a
    name in `sandbox.faults.fleet`, `tick_minutes` the stack's TickInterval.
    """

    point: str
    fault: str
    faults: tuple[Fault, ...]
    must_strike: tuple[Fault, ...] = ()
    seed: int = DEFAULT_SEED
    fleet: str = DEFAULT_FLEET
    tick_minutes: int = DEFAULT_TICK

    @property
    def name(self) -> str:
        """What `--only` takes: `POINT:FAULT`."""
        return f"{self.point}:{self.fault}"

    def to_json(self) -> dict[str, Any]:
        """Return the case, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Case":
        """Return the case that `to_json` wrote."""
        return cls(
            document["point"],
            document["fault"],
            tuple(_fault(row) for row in document["faults"]),
            tuple(_fault(row) for row in document["must_strike"]),
            document["seed"],
            document["fleet"],
            document["tick_minutes"],
        )


def _fault(row: Mapping[str, Any]) -> Fault:
    return Fault(**{**row, "kind": Kind(row["kind"])})
