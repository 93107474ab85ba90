"""Instances that an execution has left behind, and the time in which they are recovered."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

from moto.stepfunctions.models import stepfunctions_backends

from stillpoint.aws import recover_instances
from stillpoint.aws.client import client
from stillpoint.plan import Backup, Member, Trigger
from stillpoint.policy import Method
from stillpoint.retain import Retain
from stillpoint.tags import Cycle, Tag
from tests.functions.fleet import launch, own_tags_of, set_state, tag
from tests.functions.samples import sample
from tests.functions.stack import ACCOUNT, REGION, Stack
from tests.unit.builders import at

OCCURRENCE = at("2026-11-22 03:00")
SINCE = at("2026-11-22 03:00:05")
ENDED = at("2026-11-22 03:05")
NOW = at("2026-11-22 03:10")
SWEEP = sample("recover_instances_sweep")


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """The members of a backup, and the name of its execution."""

    instance_ids: list[str]
    execution: str

    @property
    def event(self) -> dict[str, Any]:
        """The event of the execution's end."""
        event = sample("recover_instances_execution_aborted")
        event["detail"]["name"] = self.execution
        return event


@dataclass(slots=True)
class Clock:
    """Time within one invocation: it passes only while the function sleeps.

    `meanwhile` is called after each sleep with their number so far.
    """

    now: datetime
    meanwhile: Callable[[int], None] = lambda _: None
    naps: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        """Let the time pass at once."""
        self.now += timedelta(seconds=seconds)
        self.naps.append(seconds)
        self.meanwhile(len(self.naps))

    def monotonic(self) -> float:
        """Return the time in seconds."""
        return self.now.timestamp()


def a_backup(*instance_ids: str, group: str | None = None, attempt: int = 1) -> Backup:
    """Return the backup of these instances, called `web`, as the planner writes it."""
    return Backup(
        group_id=f"group-{group}" if group else instance_ids[0],
        group=group,
        occurrence=OCCURRENCE,
        schedule="daily 03:00 UTC",
        trigger=Trigger.SCHEDULE,
        members=tuple(
            Member(instance_id, "web", Method.STOP, order, Retain(count=14), ())
            for order, instance_id in enumerate(instance_ids)
        ),
        begins_at=OCCURRENCE,
        attempt=attempt,
    )


def left_behind(
    stack: Stack,
    count: int = 1,
    *,
    before: str = "running",
    state: str = "stopped",
    reason: str = "",
    status: str = "ABORTED",
    error: str = "",
    alerted_at: datetime | None = None,
    group: str | None = None,
    attempt: int = 1,
    **facts: Any,  # noqa: ANN401 (those of `launch`)
) -> LeftBehind:
    """Return instances in the midst of a backup whose execution has this status."""
    instance_ids = launch(count, name="web", **({"seen": "2026-11-22 03:00"} | facts))
    backup = a_backup(*instance_ids, group=group, attempt=attempt)
    execution = start(stack, backup)
    cycle = Cycle(execution, before, SINCE, alerted_at)
    tag(instance_ids, {Tag.CYCLE: cycle.render()})
    for instance_id in instance_ids:
        set_state(instance_id, state, reason=reason)
    if status != "RUNNING":
        end(execution, status, error=error)
    return LeftBehind(instance_ids, execution)


def start(stack: Stack, backup: Backup) -> str:
    """Start the execution of a backup and return its name."""
    client("stepfunctions").start_execution(
        stateMachineArn=stack.state_machine_arn,
        name=backup.execution_name,
        input=json.dumps(backup.to_input()),
    )
    return backup.execution_name


def end(
    execution: str, status: str = "ABORTED", *, error: str = "", cause: str = "", ago: float = 300
) -> None:
    """Let an execution end so many seconds before NOW; moto itself can only abort one."""
    (machine,) = stepfunctions_backends[ACCOUNT][REGION].state_machines
    (row,) = [one for one in machine.executions if one.name == execution]
    row.status, row.error, row.cause = status, error or None, cause or None
    row.stop_date = NOW - timedelta(seconds=ago)


def recover(
    stack: Stack,
    event: Mapping[str, Any] = SWEEP,
    *,
    now: datetime = NOW,
    meanwhile: Callable[[int], None] = lambda _: None,
    patience: timedelta = recover_instances.PATIENCE,
) -> dict[str, Any]:
    """Invoke recover_instances in a time that passes only while it sleeps."""
    clock = Clock(now, meanwhile)
    times = mock.Mock(wraps=datetime)
    times.now.side_effect = lambda _zone: clock.now
    with mock.patch.multiple(recover_instances, datetime=times, time=clock, PATIENCE=patience):
        return stack.invoke("recover_instances", event)


def look_once(stack: Stack, now: datetime = NOW) -> dict[str, Any]:
    """Let a sweep take one look and not wait for what that brings about."""
    return recover(stack, now=now, patience=timedelta())


def cycle_of(instance_id: str) -> Cycle | None:
    """Return what the instance's cycle tag says, or None if there is none."""
    return Cycle.parse(own_tags_of(instance_id).get("cycle", ""))


def state_of(instance_id: str) -> str:
    """Return the instance's state in EC2."""
    (row,) = client("ec2").describe_instances(InstanceIds=[instance_id])["Reservations"]
    state: str = row["Instances"][0]["State"]["Name"]
    return state
