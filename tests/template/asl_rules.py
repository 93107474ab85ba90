"""The rules for a state machine's graph.

Each takes a definition and returns a sentence for every place that breaks it.
"""

import re

from stillpoint import errors
from tests.template.asl import (
    Json,
    Machine,
    all_states,
    keys,
    loops,
    machines,
    reachable,
    successors,
    transitions,
)

# Names that AWS gives to errors (Step Functions Developer Guide, "Handling errors in Step Functions
# workflows" and "Invoke an AWS Lambda function with Step Functions"; Sandbox.Timedout is what
# Lambda reports of a function that exceeded its own timeout).
AWS_ERRORS = frozenset(
    {
        "States.ALL",
        "States.DataLimitExceeded",
        "States.Permissions",
        "States.QueryEvaluationError",
        "States.TaskFailed",
        "States.Timeout",
        "Lambda.AWSLambdaException",
        "Lambda.SdkClientException",
        "Lambda.ServiceException",
        "Lambda.TooManyRequestsException",
        "Lambda.Unknown",
        "Runtime.ExitError",
        "Sandbox.Timedout",
    }
)

# What a JSONata state may not have (Step Functions Developer Guide, "Transforming data with
# JSONata in Step Functions").
JSONPATH_FIELDS = frozenset(
    {
        *("CausePath", "ErrorPath", "InputPath", "ItemsPath", "MaxConcurrencyPath", "OutputPath"),
        *("Parameters", "ResultPath", "ResultSelector", "SecondsPath", "TimeoutSecondsPath"),
        *("TimestampPath", "Variable"),
    }
)

# Parameters of StopInstances that stop a guest uncleanly, or do not stop it.
UNCLEAN = frozenset({"Force", "Hibernate", "SkipOsShutdown"})

VERBS = frozenset(
    {
        *("Alert", "Begin", "Capture", "Complete", "Create", "Describe", "Find", "Freeze"),
        *("Isolate", "Prepare", "Publish", "Read", "Rejoin", "Release", "Start", "Stop", "Thaw"),
        "Wait",
    }
)
WORDS = re.compile(r"[A-Z][a-z]+")
OUTCOME = re.compile(r"(?:[A-Z][a-z]+)*(?:Captured|Failed|Refused|Succeeded)")
QUESTION = re.compile(r"(?:[A-Z][a-z]+)+\?")

# The whole condition: were it joined with another, the other could keep it from ever being true.
DEADLINE = re.compile(
    r"\{% \$toMillis\(\$now\(\)\) - \$toMillis\(\$(?P<clock>\w+)\) > "
    r"(\d+|\([^?]+ \? \d+ : \d+\)) %\}"
)


def unreachable_states(definition: Json) -> list[str]:
    """Every state can be reached from the start of its scope."""
    return [
        f"{name} cannot be reached"
        for machine in machines(definition)
        for name in machine.states.keys() - reachable(successors(machine), machine.start_at)
    ]


def dangling_targets(definition: Json) -> list[str]:
    """Every target is a state of the same scope, and every state leads on or ends."""
    found = []
    for machine in machines(definition):
        if machine.start_at not in machine.states:
            found.append(f"StartAt names {machine.start_at}, which is not there")
        found += [
            f"{each.source} leads to {each.target}, which is not there"
            for each in transitions(machine)
            if each.target not in machine.states
        ]
        for name, state in machine.states.items():
            ends = state.get("End") is True or state["Type"] in {"Succeed", "Fail"}
            leads_on = "Default" in state if state["Type"] == "Choice" else "Next" in state
            if ends == leads_on:
                found.append(f"{name} must either lead on in every case or end")
    return found


def repeated_names(definition: Json) -> list[str]:
    """State names are unique in the whole machine: AWS refuses a definition in which not."""
    names = [name for machine in machines(definition) for name in machine.states]
    return [f"{name} is there twice" for name in sorted(set(names)) if names.count(name) > 1]


def states_without_comment(definition: Json) -> list[str]:
    """The machine and every state say what they are for."""
    commented = {"The machine": definition, **all_states(definition)}
    return [f"{name} has no Comment" for name, each in commented.items() if not each.get("Comment")]


def badly_named_states(definition: Json) -> list[str]:
    """A state is a verb and what it acts on, a choice is a question, an end is an outcome."""
    found = []
    for name, state in all_states(definition).items():
        words = WORDS.findall(name)
        if state["Type"] == "Choice":
            good = QUESTION.fullmatch(name) is not None
        elif state.get("End") or state["Type"] in {"Succeed", "Fail"}:
            good = OUTCOME.fullmatch(name) is not None or words[0] in VERBS
        else:
            good = "".join(words) == name and len(words) > 1 and words[0] in VERBS
        if not good:
            found.append(f"{name} is no good name for a {state['Type']}")
    return found


def tasks_without_timeout(definition: Json) -> list[str]:
    """The machine and every Task have a TimeoutSeconds."""
    timed = {"The machine": definition} | {
        name: state for name, state in all_states(definition).items() if state["Type"] == "Task"
    }
    return [
        f"{name} has no TimeoutSeconds"
        for name, each in timed.items()
        if not isinstance(each.get("TimeoutSeconds"), int) or each["TimeoutSeconds"] <= 0
    ]


def uncaught_errors(definition: Json) -> list[str]:
    """Every Task and Map catches everything, last and on its own; inside a Map nothing fails.

    Were one iteration of an inline Map to fail, all others would be stopped (Step Functions
    Developer Guide, "Using Map state in Inline mode").
    """
    found = []
    for machine in machines(definition):
        for name, state in machine.states.items():
            if state["Type"] in {"Task", "Map", "Parallel"}:
                caught = [rule["ErrorEquals"] for rule in state.get("Catch", ())]
                if not caught or caught[-1] != ["States.ALL"]:
                    found.append(f"{name} does not catch States.ALL last")
                if any("States.ALL" in names for names in caught[:-1]):
                    found.append(f"{name} catches States.ALL before its last catcher")
            if machine.name and state["Type"] == "Fail":
                found.append(f"{name} fails inside the Map {machine.name}")
    return found


def reckless_retries(definition: Json) -> list[str]:
    """Every Retry is bounded, backs off up to a cap, and spreads its attempts."""
    found = []
    for name, state in all_states(definition).items():
        for rule in state.get("Retry", ()):
            good = (
                0 < rule.get("MaxAttempts", 0) <= 10
                and rule.get("IntervalSeconds", 0) >= 1
                and rule.get("BackoffRate", 0) > 1
                and rule.get("MaxDelaySeconds", 0) > rule.get("IntervalSeconds", 0)
                and rule.get("JitterStrategy") == "FULL"
            )
            if not good:
                found.append(f"{name} retries {', '.join(rule['ErrorEquals'])} without restraint")
            if "States.ALL" in rule["ErrorEquals"]:
                found.append(f"{name} retries everything, even what cannot pass")
    return found


def unknown_errors(definition: Json) -> list[str]:
    """Every error that is matched is one of AWS's or an exception of ours.

    AWS reports every error of EC2 as Ec2.Ec2Exception, so a name made of EC2's code never matches.
    """
    ours = {
        name
        for name, each in vars(errors).items()
        if isinstance(each, type) and issubclass(each, errors.StillpointError)
    }
    return [
        f"{name} matches {error}, which nothing raises"
        for name, state in all_states(definition).items()
        for rule in (*state.get("Retry", ()), *state.get("Catch", ()))
        for error in rule["ErrorEquals"]
        if error not in AWS_ERRORS | ours
    ]


def jsonpath_fields(definition: Json) -> list[str]:
    """No state uses a field of the other query language."""
    found = [] if definition.get("QueryLanguage") == "JSONata" else ["The machine is not JSONata"]
    for name, state in all_states(definition).items():
        parts = [state, *state.get("Choices", ()), *state.get("Catch", ())]
        used = {key for part in parts for key in part} & JSONPATH_FIELDS
        found += [f"{name} has the JSONPath field {field}" for field in sorted(used)]
    return found


def unclean_stops(definition: Json) -> list[str]:
    """Nothing forces a stop, skips the guest's shutdown or hibernates."""
    return [
        f"{name} uses {word}"
        for name, state in all_states(definition).items()
        for word in sorted(UNCLEAN & set(keys(state.get("Arguments", {}))))
    ]


def batched_calls(definition: Json) -> list[str]:
    """Each StopInstances and StartInstances names one instance: one bad id fails the whole call."""
    return [
        f"{name} does not name exactly one instance"
        for name, state in all_states(definition).items()
        if state.get("Resource", "").endswith((":stopInstances", ":startInstances"))
        and state["Arguments"] != {"InstanceIds": ["{% $states.input.instance_id %}"]}
    ]


def silent_failures(definition: Json) -> list[str]:
    """A Fail state says which error and why."""
    return [
        f"{name} fails without {field}"
        for name, state in all_states(definition).items()
        if state["Type"] == "Fail"
        for field in ("Error", "Cause")
        if not state.get(field)
    ]


def detours(
    definition: Json, *, start: str, gate: str, avoided: set[str] | None = None
) -> list[str]:
    """Every way from `start` goes through `gate` before it ends, or reaches an `avoided` state."""
    machine = next(machines(definition))
    seen = reachable(successors(machine), start, avoiding={gate})
    return [
        f"{name} can be reached from {start} without {gate}"
        for name in sorted(seen)
        if name in (avoided or set()) or _is_end(machine, name)
    ]


def catches_elsewhere(definition: Json, *, start: str, gate: str) -> list[str]:
    """Every error between `start` and `gate` leads to `gate` at once."""
    machine = next(machines(definition))
    inside = reachable(successors(machine), start, avoiding={gate})
    return [
        f"{each.source} handles an error at {each.target}"
        for each in transitions(machine)
        if each.kind == "catch" and each.source in inside and each.target != gate
    ]


def forgiven_errors(definition: Json, *, judge: str) -> list[str]:
    """No error leads to success unless the state `judge` has had its say after it."""
    machine = next(machines(definition))
    following = successors(machine)
    return [
        f"{each.source} handles an error and succeeds at {name}"
        for each in transitions(machine)
        if each.kind == "catch"
        for name in sorted(reachable(following, each.target, avoiding={judge}))
        if machine.states[name]["Type"] == "Succeed"
    ]


def busy_loops(definition: Json) -> list[str]:
    """Every loop waits on every round."""
    found = []
    for machine in machines(definition):
        hasty = {
            name: after
            for name, after in successors(machine).items()
            if machine.states[name]["Type"] != "Wait"
        }
        found += [f"{', '.join(sorted(loop))} go round without a Wait" for loop in loops(hasty)]
    return found


def endless_loops(definition: Json, *, bounded_elsewhere: set[str]) -> list[str]:
    """Every loop, and every loop inside a loop, is left by a deadline.

    A deadline is a choice that compares the time since a variable's with a limit and leads out of
    the loop; no state of the loop sets that variable, and no earlier choice leads back into it.
    """
    found = []
    for machine in machines(definition):
        states = machine.states.keys() - bounded_elsewhere
        waiting = [states]
        while waiting:
            inside = waiting.pop()
            following = {
                name: after & inside
                for name, after in successors(machine).items()
                if name in inside
            }
            for loop in loops(following):
                exits = {name for name in loop if _has_deadline(machine, name, loop)}
                if exits:
                    waiting.append(loop - exits)
                else:
                    found.append(f"{', '.join(sorted(loop))} go round without a deadline")
    return found


def _has_deadline(machine: Machine, name: str, loop: set[str]) -> bool:
    for rule in machine.states[name].get("Choices", ()):
        match = DEADLINE.fullmatch(rule["Condition"])
        if match and rule["Next"] not in loop:
            return not _sets(machine, loop, match["clock"])
        if rule["Next"] in loop:
            return False
    return False


def _sets(machine: Machine, loop: set[str], variable: str) -> bool:
    return any(
        variable in part.get("Assign", {})
        for name in loop
        for state in [machine.states[name]]
        for part in (state, *state.get("Choices", ()), *state.get("Catch", ()))
    )


def _is_end(machine: Machine, name: str) -> bool:
    state = machine.states[name]
    return state.get("End") is True or state["Type"] in {"Succeed", "Fail"}
