"""Faults outside EC2, by name: what can go wrong in the services around it.

A fault is a plain dictionary, so that scenario files, tests and the control API share one shape:
`{"name": "execution-aborted", "state": "CreateImage", "skip": 1, "times": 1}`. `skip` is how many
matching occasions pass before it hits, `times` how many it hits then; the other entries say which
occasions match.
"""

import threading
from dataclasses import dataclass
from typing import Any, Final

HOST_FAULT_NAMES: Final = {
    "execution-aborted": "StopExecution at the moment that an execution enters `state`",
    "lambda-crash": "the process of `function` dies instead of answering",
    "lambda-timeout": "an invocation of `function` runs into its Timeout",
    "tick-missed": "a schedule rule's tick is not delivered",
    "tick-doubled": "a schedule rule's tick is delivered twice",
    "event-lost": "an event (optionally of `detail_type`) reaches no rule",
    "event-doubled": "an event (optionally of `detail_type`) is delivered twice",
}
ATTRIBUTES: Final = {
    "execution-aborted": {"state", "execution"},
    "lambda-crash": {"function"},
    "lambda-timeout": {"function"},
    "tick-missed": set(),
    "tick-doubled": set(),
    "event-lost": {"detail_type"},
    "event-doubled": {"detail_type"},
}
# A function's name carries the stack's name and a suffix, an execution's its occurrence: a part is
# enough.
NAMED_IN_PART: Final = frozenset({"function", "execution"})


class UnknownFaultError(ValueError):
    """The fault's name or one of its attributes does not exist."""


@dataclass(slots=True)
class HostFault:
    """One fault that is set, and how many matching occasions it has seen."""

    name: str
    match: dict[str, str]
    skip: int = 0
    times: int = 1
    seen: int = 0

    def applies(self, attributes: dict[str, str]) -> bool:
        """Whether this occasion matches, whatever its number."""
        return all(
            wanted in attributes.get(key, "")
            if key in NAMED_IN_PART
            else wanted == attributes.get(key)
            for key, wanted in self.match.items()
        )

    def spent(self) -> bool:
        """Whether it has hit as often as it was to."""
        return self.seen >= self.skip + self.times


class HostFaults:
    """The faults that are set now."""

    def __init__(self) -> None:
        """Start without any."""
        self._lock = threading.Lock()
        self._faults: list[HostFault] = []
        self.hits: list[dict[str, Any]] = []

    def add(self, fault: dict[str, Any]) -> None:
        """Set a fault. Raises UnknownFaultError if its name or an attribute does not exist."""
        match = {
            key: str(value) for key, value in fault.items() if key not in {"name", "skip", "times"}
        }
        name = fault.get("name", "")
        if name not in HOST_FAULT_NAMES:
            message = f"unknown fault {name!r}; known: {', '.join(sorted(HOST_FAULT_NAMES))}"
            raise UnknownFaultError(message)
        if unknown := sorted(match.keys() - ATTRIBUTES[name]):
            message = f"the fault {name} has no {', '.join(unknown)}"
            raise UnknownFaultError(message)
        with self._lock:
            self._faults.append(
                HostFault(name, match, int(fault.get("skip", 0)), int(fault.get("times", 1)))
            )

    def clear(self) -> None:
        """Remove all."""
        with self._lock:
            self._faults.clear()

    def list(self) -> list[dict[str, Any]]:
        """What is still set, JSON-ready."""
        with self._lock:
            return [
                {
                    "name": each.name,
                    **each.match,
                    "skip": each.skip,
                    "times": each.times,
                    "seen": each.seen,
                }
                for each in self._faults
            ]

    def take(self, name: str, **attributes: str) -> HostFault | None:
        """The fault that hits this occasion, if one does. Each occasion counts, hit or not."""
        with self._lock:
            for fault in self._faults:
                if fault.name != name or not fault.applies(attributes):
                    continue
                fault.seen += 1
                if fault.spent():
                    self._faults.remove(fault)
                if fault.seen > fault.skip:
                    self.hits.append({"name": name, **attributes})
                    return fault
            return None
