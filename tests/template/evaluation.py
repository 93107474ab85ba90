"""The state machine's expressions, evaluated as Step Functions does.

JSONata hands out a list of one as its only element, and a list of none as nothing at all, so every
expression that makes a list is tried with none, one and many.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.expressions import evaluate, render
from sandbox.template import DEFINITION
from tests.template.asl import all_states, expressions

STATES: dict[str, Any] = dict(all_states(json.loads(DEFINITION.read_text(encoding="utf-8"))))
CONTEXT: dict[str, Any] = {
    "Execution": {
        "Name": "i-0a-20261122T030000Z",
        "Id": "arn:aws:states:eu-west-1:1:execution:stillpoint-backup:i-0a-20261122T030000Z",
        "Input": {
            "group": None,
            "occurrence": "2026-11-22T03:00:00Z",
            "schedule": "daily",
            "members": [{"instance_id": "i-0a", "name": "web", "retain": "14"}],
        },
    },
    "State": {"EnteredTime": "2026-11-22T03:00:01.000Z"},
}
CAUGHT = {"Error": "Ec2.Ec2Exception", "Cause": "x" * 5000}
EARLIER = [{"phase": "quiesce", "error": "Earlier", "cause": "..."}]

# Lists of none, one and many instances: the sizes that JSONata treats differently.
SIZES = pytest.mark.parametrize("ids", [[], ["i-0a"], ["i-0a", "i-0b", "i-0c"]], ids=len)


def value(expression: str, variables: Mapping[str, Any] | None = None, **states: object) -> Any:  # noqa: ANN401
    """What Step Functions makes of an expression; `states` are the fields of `$states`."""
    (text,) = expressions(expression)
    return evaluate(text, dict(variables or {}), {"context": CONTEXT, **states})


def chosen(name: str, variables: Mapping[str, Any], **states: object) -> str:
    """Where a Choice leads to."""
    for rule in STATES[name]["Choices"]:
        condition = value(rule["Condition"], variables, **states)
        assert isinstance(condition, bool)
        if condition:
            return str(rule["Next"])
    return str(STATES[name]["Default"])


def ago(**duration: float) -> str:
    """The time that was, as `$now()` writes it."""
    return stamp(datetime.now(UTC) - timedelta(**duration))


def stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def member(instance_id: str, method: str = "stop", state_before: str = "running") -> dict[str, Any]:
    return {
        "instance_id": instance_id,
        "name": f"name of {instance_id}",
        "method": method,
        "order": 0,
        "state_before": state_before,
    }


def status(instance_id: str, state: str) -> dict[str, Any]:
    return {"InstanceId": instance_id, "InstanceState": {"Code": 0, "Name": state}}


def statuses(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"InstanceStatuses": list(rows)}


def answered(name: str, payload: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
    """What a Task assigns when its function answers this."""
    states = {"context": CONTEXT, "result": {"Payload": payload}}
    assigned: dict[str, Any] = render(STATES[name]["Assign"], variables, states)
    return assigned


def caught(name: str, variables: dict[str, Any]) -> dict[str, Any]:
    """What a Task assigns when it fails for good."""
    (rule,) = STATES[name]["Catch"]
    states = {"context": CONTEXT, "errorOutput": CAUGHT}
    assigned: dict[str, Any] = render(rule["Assign"], variables, states)
    return assigned


def a_freeze(instance_id: str, *, vss: bool = False) -> dict[str, Any]:
    return {"instance_id": instance_id, "command_id": f"command of {instance_id}", "vss": vss}
