"""Which phase of a backup a state belongs to, read from the deployed definition."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

PHASES: Final = ("Prepare", "Quiesce", "Capture", "Resume", "Complete")


def phase_by_state(definition: str) -> dict[str, str]:
    """Return the phase of every state.

    A comment that starts with `Quiesce:` begins that phase, and what follows is in it.
    """
    phases: dict[str, str] = {}
    current = ""
    for name, state in _states(json.loads(definition)):
        beginning = str(state.get("Comment", "")).partition(":")[0]
        current = beginning if beginning in PHASES else current
        phases[name] = current
    return phases


def _states(machine: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    for name, state in machine["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from _states(state["ItemProcessor"])
