"""The variables of a state machine: what every expression may use, and the rules for it."""

import re
from collections.abc import Iterator, Mapping

from tests.template.asl import (
    Json,
    Machine,
    all_states,
    expressions,
    machines,
    transitions,
)

# JSONata's own functions and those that Step Functions adds (JSONata documentation, "Function
# library"; Step Functions Developer Guide, "Transforming data with JSONata in Step Functions",
# which also says that $eval is missing).
FUNCTIONS = frozenset(
    {
        *("abs", "append", "assert", "average", "base64decode", "base64encode", "boolean", "ceil"),
        *("contains", "count", "decodeUrl", "decodeUrlComponent", "distinct", "each", "encodeUrl"),
        *("encodeUrlComponent", "error", "exists", "filter", "floor", "formatBase"),
        *("formatInteger", "formatNumber", "fromMillis", "hash", "join", "keys", "length"),
        *("lookup", "lowercase", "map", "match", "max", "merge", "millis", "min", "not", "now"),
        *("number", "pad", "parse", "parseInteger", "partition", "power", "random", "range"),
        *("reduce", "replace", "reverse", "round", "shuffle", "sift", "single", "sort", "split"),
        *("spread", "sqrt", "string", "substring", "substringAfter", "substringBefore", "sum"),
        *("toMillis", "trim", "type", "uppercase", "uuid", "zip"),
    }
)

STRING = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
LOCAL = re.compile(r"\$(\w+)\s*:=")
CALL = re.compile(r"\$(\w+)\(")
NAME = re.compile(r"\$(\w+)(?![\w(])")


def used_variables(expression: str) -> set[str]:
    """The state machine's variables that an expression uses."""
    bare = STRING.sub("", expression)
    return set(NAME.findall(bare)) - set(LOCAL.findall(bare)) - {"states"}


def unknown_functions(definition: Json) -> list[str]:
    """Every function that an expression calls is there."""
    return [
        f"{name} calls ${function}, which is not there"
        for name, state in all_states(definition).items()
        for expression in expressions(state)
        for function in sorted(set(CALL.findall(STRING.sub("", expression))) - FUNCTIONS)
    ]


def unassigned_variables(definition: Json) -> list[str]:
    """Whatever way an execution takes to a state, every variable that it uses was assigned."""
    found: list[str] = []
    _follow(definition, frozenset(), found)
    return found


def shadowed_variables(definition: Json) -> list[str]:
    """A Map's states assign no variable of the scope around them, which AWS refuses.

    (Step Functions Developer Guide, "Passing data between states with variables": "you cannot
    assign to a variable of an outer scope".) Nor does an expression hide one by one of its own.
    """
    outer, *inner = machines(definition)
    names = _assigned_in(outer)
    found = [
        f"a state in {machine.name} assigns ${name}, a variable of the scope around it"
        for machine in inner
        for name in sorted(names & _assigned_in(machine))
    ]
    every = {name for machine in (outer, *inner) for name in _assigned_in(machine)}
    for name, state in all_states(definition).items():
        local = {each for text in expressions(state) for each in LOCAL.findall(text)}
        found += [f"{name} hides the variable ${each}" for each in sorted(local & every)]
    return found


def unused_variables(definition: Json) -> list[str]:
    """Every variable that is assigned is used somewhere."""
    assigned = {name for machine in machines(definition) for name in _assigned_in(machine)}
    used = {
        name
        for state in all_states(definition).values()
        for expression in expressions(_without_processor(state))
        for name in used_variables(expression)
    }
    return [f"${name} is assigned and never used" for name in sorted(assigned - used)]


def misplaced_states_fields(definition: Json) -> list[str]:
    """`$states.result` is read where there is a result, `$states.errorOutput` where it is caught.

    Anywhere else, the field is undefined and the state fails (Step Functions Developer Guide,
    "Transforming data with JSONata in Step Functions").
    """
    found = []
    for name, state in all_states(definition).items():
        succeeded = {field: state.get(field) for field in ("Assign", "Output")}
        rest = {
            field: value
            for field, value in state.items()
            if field not in {"Assign", "Output", "Catch", "ItemProcessor"}
        }
        caught = state.get("Catch", [])
        has_result = state["Type"] in {"Task", "Map", "Pass", "Parallel"}
        places = [(rest, False, False), (succeeded, has_result, False), (caught, False, True)]
        for part, may_result, may_error in places:
            text = " ".join(expressions(part))
            if "$states.result" in text and not may_result:
                found.append(f"{name} reads $states.result where there is none")
            if "$states.errorOutput" in text and not may_error:
                found.append(f"{name} reads $states.errorOutput where there is none")
    return found


def _follow(definition: Json, before: frozenset[str], found: list[str]) -> None:
    """Walk one scope until what is surely assigned before each state does not change any more."""
    machine = next(machines(definition))
    known: dict[str, frozenset[str]] = {machine.start_at: before}
    waiting = [machine.start_at]
    while waiting:
        name = waiting.pop()
        for each in transitions(machine):
            if each.source != name or each.target not in machine.states:
                continue
            after = known[name] | each.rule.get("Assign", {}).keys()
            merged = known[each.target] & after if each.target in known else after
            if known.get(each.target) != merged:
                known[each.target] = merged
                waiting.append(each.target)
    for name, assigned in known.items():
        state = machine.states[name]
        used = {
            variable
            for expression in expressions(_without_processor(state))
            for variable in used_variables(expression)
        }
        found += [
            f"{name} uses ${each}, which may be unassigned" for each in sorted(used - assigned)
        ]
        if state["Type"] == "Map":
            _follow(state["ItemProcessor"], assigned, found)


def _assigned_in(machine: Machine) -> set[str]:
    return {name for part in _parts(machine.states) for name in part.get("Assign", {})}


def _parts(states: Mapping[str, Json]) -> Iterator[Json]:
    """Everything of the states that can assign: the states, their choices and their catchers."""
    for state in states.values():
        yield state
        yield from state.get("Choices", ())
        yield from state.get("Catch", ())


def _without_processor(state: Json) -> Json:
    return {field: value for field, value in state.items() if field != "ItemProcessor"}
