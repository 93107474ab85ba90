"""Steps with one instance alone, at a look of its own."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from stillpoint.aws import mute, standby, targets
from stillpoint.aws.commands import Commands
from stillpoint.aws.ec2 import instances_by_id
from stillpoint.aws.freeze_instances import Thaws
from stillpoint.aws.mute import MuteRules
from stillpoint.aws.settings import RejoinSettings
from stillpoint.aws.standby import Members
from stillpoint.aws.targets import DrainingGroups, TargetGroups
from stillpoint.instance import Instance
from stillpoint.isolation import Progress, Registration


def enter(instance_id: str) -> Progress:
    """Take a step towards Standby."""
    return standby.enter(instance_id, Members([instance_id]))


def leave(instance_id: str) -> Progress:
    """Take a step out of Standby."""
    nowhere = Instance(instance_id, "unknown to EC2", {})
    instance = instances_by_id([instance_id]).get(instance_id, nowhere)
    return standby.leave(instance, Members([instance_id]))


def drain(
    instance_id: str, places: Sequence[Registration], since: datetime, now: datetime
) -> Progress:
    """Take a step out of target groups."""
    return targets.drain(instance_id, places, DrainingGroups(), since, now)


def register(instance_id: str, places: Sequence[Registration]) -> Progress:
    """Take a step back into target groups."""
    return targets.register(instance_id, places, TargetGroups())


def unmute(execution: str) -> Progress:
    """Remove the mute rules of an execution."""
    return mute.unmute(execution, MuteRules())


def read_thaw(
    instance_id: str, execution: str, freeze: Mapping[str, Any], settings: RejoinSettings
) -> tuple[Progress, dict[str, Any]]:
    """Return whether a freeze has ended, and how."""
    thaws = Thaws(execution, [instance_id], settings, Commands())
    return thaws.read(instance_id, freeze)
