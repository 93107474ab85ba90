"""When an instance is started again: Stillpoint's rule, and two that others use.

The others are this same state machine with its rule for a safe start replaced, so that nothing
else differs.
"""

import copy
from collections.abc import Callable
from typing import Any, Final

type Definition = dict[str, Any]

CAPTURED: Final = {
    "instance_id": "{% $states.input.instance_id %}",
    "image_id": "{% $image_id %}",
    "volumes": 1,
    "captured_at": "{% $now() %}",
}


def stillpoint(definition: Definition) -> Definition:
    """Start when every attached volume has a snapshot that was initiated at rest."""
    return definition


def create_image_returned(definition: Definition) -> Definition:
    """Start when CreateImage has returned, whatever has become of the snapshots."""
    changed = copy.deepcopy(definition)
    states = _capture_states(changed)
    create = states["CreateImage"]
    create["Output"] = CAPTURED | {"image_id": "{% $states.result.ImageId %}"}
    create["Next"] = "Captured"
    return changed


def image_available(definition: Definition) -> Definition:
    """Start when the AMI is available: safe, and as late as can be."""
    changed = copy.deepcopy(definition)
    states = _capture_states(changed)
    states["SafeToStart?"]["Choices"] = []
    states["SafeToStart?"] = {"Type": "Pass", "Next": "DescribeImage"}
    states["ImageFailed?"]["Choices"].append(
        {
            "Condition": "{% $image_state = 'available' %}",
            "Output": CAPTURED | {"volumes": "{% $count($volumes) %}"},
            "Next": "Captured",
        }
    )
    return changed


POLICIES: Final[dict[str, Callable[[Definition], Definition]]] = {
    "stillpoint": stillpoint,
    "create-image-returned": create_image_returned,
    "image-available": image_available,
}


def _capture_states(definition: Definition) -> dict[str, Any]:
    states: dict[str, Any] = definition["States"]["CaptureMembers"]["ItemProcessor"]["States"]
    return states
