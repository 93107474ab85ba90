"""How a run went, as a worker hands it over."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sandbox.faults.case import Case


@dataclass(frozen=True, slots=True)
class Result:
    """How a run went.

    `verdict` is `unharmed` if every execution of the struck occurrence succeeded, `protected` if
    not, and every instance has a recovery point of it all the same, and `lost` if one has none.
    `outcome` says it in more words. `history` is empty if everything held and nobody asked for it.
    """

    case: Case
    verdict: str
    outcome: str
    violations: tuple[str, ...]
    history: tuple[str, ...]
    told: tuple[str, ...]
    calls: tuple[tuple[str, str, float], ...]
    states: tuple[tuple[str, float], ...]
    virtual_seconds: float
    cpu_seconds: float

    @property
    def held(self) -> bool:
        """Whether every invariant held."""
        return not self.violations

    def to_json(self) -> dict[str, Any]:
        """Return the result, ready for JSON."""
        return {**asdict(self), "case": self.case.to_json()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Result":
        """Return the result that `to_json` wrote."""
        rest = {name: _frozen(value) for name, value in document.items() if name != "case"}
        return cls(case=Case.from_json(document["case"]), **rest)

    @classmethod
    def broken(cls, case: Case, why: str) -> "Result":
        """Return the result of a run that did not come to its end."""
        violation = f"the run broke off: {why}"
        return cls(case, "broken", "broken", (violation,), (), (), (), (), 0.0, 0.0)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
