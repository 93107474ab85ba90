"""The knobs of one instance: how it differs from the physics of its world.

Besides every figure of `sandbox.ec2.physics.Physics` (a number, or a pair for a range) there are:

hung          its guest never shuts down, EC2 pulls the plug after `plug_seconds`
kms_denied    whoever starts it lacks the grant for its key: the start falls back to `stopped`
state         `running` or `stopped`: puts it there at once, without a history
attributes    fields of DescribeInstances by the SDK's names, such as {"InstanceLifecycle": "spot"}
system_tags   tags that AWS itself sets, such as {"aws:autoscaling:groupName": "web"}
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sandbox.ec2.lifecycle import place
from sandbox.ec2.model import Instance, InstanceState
from sandbox.ec2.region import Region

_PLACES = (InstanceState.RUNNING, InstanceState.STOPPED)


def configure(region: Region, instance: Instance, knobs: Mapping[str, object], now: float) -> None:
    """Set knobs of an instance; raise ValueError in words for one that is unsound."""
    figures = dict(knobs)
    hung = figures.pop("hung", instance.hung)
    kms_denied = figures.pop("kms_denied", instance.kms_denied)
    state = figures.pop("state", None)
    attributes = figures.pop("attributes", {})
    system_tags = figures.pop("system_tags", {})
    if not isinstance(attributes, Mapping) or not isinstance(system_tags, Mapping):
        message = "attributes and system_tags are tables of names and values"
        raise ValueError(message)  # noqa: TRY004 - every unsound knob is a ValueError
    if state not in (None, *_PLACES):
        message = f"an instance is put in the state running or stopped, not {state!r}"
        raise ValueError(message)
    instance.physics = instance.physics.changed(figures)
    instance.hung, instance.kms_denied = bool(hung), bool(kms_denied)
    instance.facts.update(attributes)
    for attachment in instance.attachments:
        attachment.cache.write_rate = instance.physics.write_rate
        attachment.cache.writeback_seconds = instance.physics.writeback_seconds
    if system_tags:
        tags = {str(key): str(value) for key, value in system_tags.items()}
        region.tags.merge(instance.instance_id, tags, now)
    if isinstance(state, str):
        place(region, instance, InstanceState(state), now)


def describe_physics(instance: Instance) -> dict[str, Any]:
    """Return the knobs of an instance, ready for JSON."""
    return {
        **asdict(instance.physics),
        "hung": instance.hung,
        "kms_denied": instance.kms_denied,
        "state": instance.state.value,
    }
