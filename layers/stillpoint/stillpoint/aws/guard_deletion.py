"""Guarding the stack against its deletion while an instance is down for a backup."""

import time
from collections.abc import Mapping
from typing import Any

from stillpoint.aws import ec2
from stillpoint.aws.client import client, translated
from stillpoint.aws.custom_resource import answer
from stillpoint.aws.telemetry import logger
from stillpoint.errors import StillpointError
from stillpoint.tags import Tag

LOOK_AGAIN_SECONDS = 10
VISIBLE_SECONDS = 60
"""A tick that was under way may still start a backup, and its tags take a moment to be seen."""


def guard_deletion(event: Mapping[str, Any], *, patience_seconds: float) -> None:
    """Answer a request for the custom resource (CloudFormation User Guide, "Custom resources").

    Before a deletion the planner's rule is turned off, and then every instance must have left its
    backup. If one is still in it when the patience is over, the deletion is refused, in words, and
    the rule is turned on again: deleting the state machine would end its executions with
    instances stopped. Creation and updates are always let through, because an execution that runs
    keeps the definition and the role that it began with.
    """
    reason = ""
    if event["RequestType"] == "Delete":
        try:
            reason = _delete(event["ResourceProperties"]["PlannerRule"], patience_seconds)
        except StillpointError as error:
            logger.exception("The guard could not find out whether instances are in a backup")
            reason = f"It could not be found out whether instances are in a backup: {error}"
    answer(event, physical_id="stillpoint-deletion-guard", failure=reason)


def _delete(rule: str, patience_seconds: float) -> str:
    """Return why the stack must not be deleted, or an empty text."""
    began = time.monotonic()
    _switch(rule, on=False)
    time.sleep(min(VISIBLE_SECONDS, max(patience_seconds, 0)))
    while in_backup := _in_backup():
        if time.monotonic() - began + LOOK_AGAIN_SECONDS > patience_seconds:
            _switch(rule, on=True)
            return (
                f"Instances are in a backup and may be stopped: {', '.join(in_backup)[:600]}."
                f" Delete the stack again when they have lost the tag {Tag.CYCLE}."
            )
        time.sleep(LOOK_AGAIN_SECONDS)
    return ""


def _in_backup() -> list[str]:
    return sorted(
        instance.instance_id
        for instance in ec2.scheduled_instances()
        if Tag.CYCLE in instance.tags and instance.state not in {"terminated", "shutting-down"}
    )


def _switch(rule: str, *, on: bool) -> None:
    events = client("events")
    with translated(f"switching the rule {rule}"):
        if on:
            events.enable_rule(Name=rule)
        else:
            events.disable_rule(Name=rule)
