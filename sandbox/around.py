"""What the models know of an instance apart from its volumes: where it serves, what its guest does.

All functions read the truth about a world and its companions, as the control answers it.
"""

from datetime import datetime
from typing import Any, Final

_SCRIPTS: Final = frozenset({"script_began", "script_ended"})
_FREEZES: Final = frozenset({"guest_frozen", "guest_thawed"})
_DOWN: Final = frozenset({"guest_shut_down", "guest_down"})
NOT_REGISTERED: Final = "not registered"
SERVING: Final = frozenset({"InService", "healthy"})


def service(truth: dict[str, Any], instance_id: str) -> dict[str, str]:
    """Return the state of an instance in its Auto Scaling group and its target groups, by name."""
    states = {
        group["name"]: group["members"][instance_id]
        for group in truth.get("auto_scaling_groups", ())
        if instance_id in group["members"]
    }
    return states | {
        group["name"]: target["state"]
        for group in truth.get("target_groups", ())
        for target in group["targets"]
        if target["instance_id"] == instance_id
    }


def in_words(states: dict[str, str]) -> str:
    """Return where an instance serves, such as `site healthy`."""
    return ", ".join(f"{place} {state}" for place, state in states.items())


def scripts(instance: dict[str, Any]) -> str:
    """Return which scripts have ended in an instance, with their exit codes."""
    ended = [event for event in instance["events"] if event["what"] == "script_ended"]
    return ", ".join(f"{event['stage']} {event['exit_code']}" for event in ended)


def frozen(instance: dict[str, Any]) -> str:
    """Return how long the file systems of an instance were frozen last, and what ended it."""
    last = [event for event in instance["events"] if event["what"] in _FREEZES][-2:]
    if [event["what"] for event in last] != ["guest_frozen", "guest_thawed"]:
        return ""
    begin, end = (datetime.fromisoformat(event["at"]) for event in last)
    return f"{(end - begin).total_seconds():.1f} s, ended by {last[-1]['by']}"


def in_the_guest(instance: dict[str, Any]) -> str:
    """Return what goes on in a guest now: a script that runs, or a freeze."""
    concern = _SCRIPTS | _FREEZES | _DOWN
    last = next((each for each in reversed(instance["events"]) if each["what"] in concern), None)
    match last:
        case {"what": "script_began", "stage": stage}:
            return str(stage)
        case {"what": "guest_frozen"}:
            return "frozen"
        case _:
            return ""
