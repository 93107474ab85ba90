"""Instances that an ended execution has left behind, and putting them back into service."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from botocore.exceptions import ClientError

from stillpoint.aws import ec2
from stillpoint.aws.client import error_code
from stillpoint.aws.executions import Execution
from stillpoint.aws.isolate_instances import ScriptedMember, undo_of
from stillpoint.aws.notifications import publish
from stillpoint.aws.rejoin_instances import Look, Returning, rejoin
from stillpoint.aws.telemetry import logger
from stillpoint.errors import MalformedInput, StillpointError
from stillpoint.instance import Instance
from stillpoint.messages import Event, EventName, InstanceReport
from stillpoint.recovery import FUNCTIONS_END, SETTLED_AFTER, Step, next_step
from stillpoint.tags import Cycle, Tag

OUT_OF_SERVICE_AFTER = timedelta(minutes=10)
"""How long after its execution an instance may rejoin before people are told that it does not."""

_THROTTLED = frozenset({"RequestLimitExceeded", "EC2ThrottledException"})
_REMEDY = (
    "Stillpoint goes on trying. What it waits for is said above; the tag stillpoint:undo on the"
    " instance names all that it still has to put back. Do it by hand if it cannot wait: register"
    " the instance with its target groups, or let it exit Standby."
)
_RECOVERED = (
    "Nothing. Find out why its execution ended before it could put the instance back itself."
)


@dataclass(frozen=True, slots=True)
class Left:
    """An instance that carries the cycle of an execution which is not running."""

    instance: Instance
    cycle: Cycle
    execution: Execution | None

    @property
    def instance_id(self) -> str:
        """The instance's id."""
        return self.instance.instance_id

    @property
    def left_at(self) -> datetime:
        """When its execution ended, or took charge of it if nobody knows."""
        ended = self.execution.ended_at if self.execution else None
        return ended or self.cycle.since

    def next_step(self, now: datetime) -> Step:
        """Return what to do about it, once the execution's last call has taken effect."""
        ended = self.execution.ended_at if self.execution else None
        wait = FUNCTIONS_END if Tag.UNDO in self.instance.tags else SETTLED_AFTER
        settled = ended is None or now - ended >= wait
        return next_step(self.cycle, self.instance.state, settled=settled)

    def returning(self) -> Returning:
        """Return it with its scripts: those of its backup, or of its tags if that is forgotten.

        Raises MalformedInput if the tag that says what is to be undone cannot be read.
        """
        backup = json.loads(self.execution.input) if self.execution else {"members": []}
        rows = {row["instance_id"]: row for row in backup["members"]}
        by_its_tags = {
            "instance_id": self.instance_id,
            "name": self.instance.name,
            "order": 0,
            "accept": [],
            "pre": self.instance.tags.get(Tag.PRE),
            "post": self.instance.tags.get(Tag.POST),
        }
        member = ScriptedMember.read(rows.get(self.instance_id, by_its_tags))
        return Returning(self.instance, undo_of(self.instance), member)


@dataclass(frozen=True, slots=True)
class Rejoined:
    """How far instances have come, in words, by instance id; one in neither needs nothing more."""

    waiting: dict[str, str]
    failures: dict[str, str]


def rejoin_left(
    rows: Iterable[Left], look: Look, now: datetime, *, script_timeout_seconds: int
) -> Rejoined:
    """Take the next steps to put the instances of one execution back into service that run again.

    One whose tag cannot be read, or whose steps fail, waits and holds up no other.
    """
    found = Rejoined({}, {})
    group: list[tuple[Left, Returning]] = []
    for row in rows:
        if Tag.UNDO in row.instance.tags:
            try:
                group.append((row, row.returning()))
            except MalformedInput as error:
                logger.exception("An instance cannot be put back into service")
                found.waiting[row.instance_id] = str(error)
    if not group:
        return found
    progress = rejoin(
        group[0][0].cycle.execution,
        [returning for _, returning in group],
        look,
        since=min(row.left_at for row, _ in group),
        now=now,
        script_timeout_seconds=script_timeout_seconds,
    )
    found.waiting.update(progress.waiting)
    for loss in progress.losses:
        told = found.failures.get(loss.instance_id)
        found.failures[loss.instance_id] = f"{told} {loss.cause}" if told else loss.cause
    return found


def report_out_of_service(topic_arn: str, row: Left, why: str, now: datetime) -> None:
    """Publish InstanceOutOfService."""
    report = InstanceReport(row.instance_id, row.instance.name, row.instance.state, why)
    publish(
        topic_arn,
        Event(
            EventName.INSTANCE_OUT_OF_SERVICE,
            now,
            (report,),
            _REMEDY,
            execution_arn=row.execution.arn if row.execution else None,
        ),
    )


def report_recovered(topic_arn: str, row: Left, now: datetime) -> None:
    """Publish InstanceRecovered."""
    instance = row.instance
    report = InstanceReport(
        instance.instance_id, instance.name, instance.state, "The recovery has put it back."
    )
    publish(topic_arn, Event(EventName.INSTANCE_RECOVERED, now, (report,), _RECOVERED))


def note_alert(row: Left, now: datetime) -> None:
    """Write on an instance that people were told now."""
    alerted = replace(row.cycle, alerted_at=now)
    ec2.create_tags([row.instance_id], {Tag.CYCLE: alerted.render()})


def is_throttled(error: StillpointError) -> bool:
    """Return whether EC2 throttled a call: it would throttle the next one, too.

    A lack of capacity is of one instance alone, though it is an error of the server as well.
    """
    cause = error.__cause__
    return isinstance(cause, ClientError) and error_code(cause) in _THROTTLED
