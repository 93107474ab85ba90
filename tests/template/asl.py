"""A state machine's definition as a graph."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

type Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Machine:
    """The states of one scope: the whole machine's (`name` is empty) or those inside a Map."""

    name: str
    start_at: str
    states: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Transition:
    """A way from one state to another.

    `kind` is next, default, choice or catch; `rule` is the object that holds the target: the state
    itself, one of its choices or one of its catchers.
    """

    kind: str
    source: str
    target: str
    rule: Json


def machines(definition: Json, name: str = "") -> Iterator[Machine]:
    """The definition's own scope and that of every Map inside it."""
    yield Machine(name, definition["StartAt"], definition["States"])
    for state_name, state in definition["States"].items():
        if state["Type"] == "Map":
            yield from machines(state["ItemProcessor"], state_name)


def all_states(definition: Json) -> dict[str, Json]:
    """Every state of every scope, by its name, which is unique on AWS too."""
    return {
        name: state for machine in machines(definition) for name, state in machine.states.items()
    }


def transitions(machine: Machine) -> list[Transition]:
    """Every transition of a scope, including those to targets that do not exist."""
    found: list[Transition] = []
    for name, state in machine.states.items():
        if "Next" in state:
            found.append(Transition("next", name, state["Next"], state))
        if "Default" in state:
            found.append(Transition("default", name, state["Default"], state))
        found += [
            Transition(kind, name, rule["Next"], rule)
            for kind, field in (("choice", "Choices"), ("catch", "Catch"))
            for rule in state.get(field, ())
        ]
    return found


def successors(machine: Machine) -> dict[str, set[str]]:
    """The states that may follow each state."""
    following: dict[str, set[str]] = {name: set() for name in machine.states}
    for each in transitions(machine):
        following[each.source].add(each.target)
    return following


def reachable(
    following: Mapping[str, Collection[str]], start: str, *, avoiding: Collection[str] = ()
) -> set[str]:
    """The states on any path that begins at `start`, which counts too, and avoids some states."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name not in seen and name not in avoiding:
            seen.add(name)
            waiting.extend(following.get(name, ()))
    return seen


def loops(following: Mapping[str, Collection[str]]) -> list[set[str]]:
    """The loops: the largest sets of states, each of which can be reached again from itself.

    Two loops that share a state are one; a loop inside a loop belongs to the outer one.
    """
    ahead = {
        name: {found for after in following[name] for found in reachable(following, after)}
        for name in following
    }
    found: list[set[str]] = []
    for name, later in ahead.items():
        if name in later and not any(name in loop for loop in found):
            found.append({other for other in later if name in ahead.get(other, ())})
    return found


def expressions(value: object) -> Iterator[str]:
    """Every JSONata expression inside a JSON value, without its `{%` and `%}`."""
    if isinstance(value, str):
        if value.startswith("{%") and value.endswith("%}"):
            yield value[2:-2].strip()
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from expressions(each)
    elif isinstance(value, list):
        for each in value:
            yield from expressions(each)


def keys(value: object) -> Iterator[str]:
    """Every key inside a JSON value."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield key
            yield from keys(each)
    elif isinstance(value, list):
        for each in value:
            yield from keys(each)
