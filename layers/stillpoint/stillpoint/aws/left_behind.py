"""Instances that an ended execution has left behind, and putting them back into service."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import batched
from typing import Any

from botocore.exceptions import ClientError

from stillpoint.aws import ec2
from stillpoint.aws.client import error_code
from stillpoint.aws.executions import Execution, execution_arn
from stillpoint.aws.isolate_instances import ScriptedMember, undo_of
from stillpoint.aws.notifications import publish
from stillpoint.aws.rejoin_instances import Look, Returning, rejoin
from stillpoint.aws.stranded import report_stranded
from stillpoint.aws.telemetry import logger
from stillpoint.errors import MalformedInput, StillpointError
from stillpoint.instance import Instance
from stillpoint.messages import Event, EventName, InstanceReport
from stillpoint.recovery import FUNCTIONS_END, SETTLED_AFTER, Step, next_step
from stillpoint.tags import Cycle, Tag

OUT_OF_SERVICE_AFTER = timedelta(minutes=10)
"""How long after its execution an instance may rejoin before people are told that it does not."""

_TOLD_IN_TIME = timedelta(minutes=2)
"""So long after an execution ended, the event of its end is believed."""
_IN_ONE_MESSAGE = 50
"""Instances that one message tells of: it stays readable, and far below what Amazon SNS takes."""
_ENDED = "Its execution ended without starting it."
_FORGOTTEN = "The execution in charge of it does not exist."
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


def report_left_stranded(
    topic_arn: str, rows: Sequence[Left], refused: Mapping[str, str], now: datetime
) -> None:
    """Publish InstanceStranded about instances of one or of many executions.

    `refused` is what StartInstances answered, by instance id.
    """
    arns = {row.execution.arn if row.execution else None for row in rows}
    report_stranded(
        topic_arn,
        [row.instance for row in rows],
        refused,
        now,
        why=_FORGOTTEN if None in arns else _ENDED,
        execution_arn=arns.pop() if len(arns) == 1 else None,
    )


def report_recovered(topic_arn: str, rows: Iterable[Left], now: datetime) -> None:
    """Publish InstanceRecovered."""
    reports = tuple(
        InstanceReport(
            row.instance_id,
            row.instance.name,
            row.instance.state,
            "The recovery has put it back.",
        )
        for row in rows
    )
    publish(topic_arn, Event(EventName.INSTANCE_RECOVERED, now, reports, _RECOVERED))


def messages_of(rows: Iterable[Left]) -> Iterator[tuple[Left, ...]]:
    """Put instances together that one message can tell of.

    Those whose execution nobody knows are in messages of their own.
    """
    known: dict[bool, list[Left]] = {True: [], False: []}
    for row in rows:
        known[row.execution is not None].append(row)
    for some in known.values():
        yield from batched(some, _IN_ONE_MESSAGE, strict=False)


def still_left(rows: Sequence[Left]) -> list[Left]:
    """Read the instances again; return those of which the same execution is still in charge."""
    found = ec2.instances_by_id([row.instance_id for row in rows])
    return [
        row
        for row in rows
        if row.instance_id in found and _in_charge(found[row.instance_id]) == row.cycle.execution
    ]


def why_not_back(instance: Instance) -> str:
    """Read an instance again; return why it must not be put back into service, or an empty text.

    Since it was read, somebody may have stopped it, or a new backup have taken charge of it.
    """
    found = ec2.instances_by_id([instance.instance_id]).get(instance.instance_id)
    if found is None or found.state != "running":
        return f"it is {found.state if found else 'terminated'}"
    if _in_charge(found) != _in_charge(instance):
        return "its execution is not in charge of it any more"
    return ""


def _in_charge(instance: Instance) -> str | None:
    cycle = Cycle.parse(instance.tags.get(Tag.CYCLE, ""))
    return cycle.execution if cycle else None


def note_alert(row: Left, now: datetime) -> None:
    """Write on an instance that people were told now."""
    alerted = replace(row.cycle, alerted_at=now)
    ec2.create_tags([row.instance_id], {Tag.CYCLE: alerted.render()})


def execution_of(
    detail: Mapping[str, Any], state_machine_arn: str, now: datetime
) -> Execution | None:
    """Return the execution that an event of Step Functions has told the end of, if it told all.

    The input is left out of an event that would be too large (Step Functions Developer Guide,
    "Automating Step Functions event delivery with EventBridge"). An event that comes late tells
    nothing: the execution may have been redriven since.
    """
    try:
        execution = Execution(
            name=detail["name"],
            arn=detail["executionArn"],
            status=detail["status"],
            error=detail["error"] or "",
            cause=detail["cause"] or "",
            input=detail["input"],
            ended_at=datetime.fromtimestamp(detail["stopDate"] / 1000, UTC),
        )
    except (KeyError, TypeError, ValueError):
        return None
    arn = execution_arn(state_machine_arn, execution.name)
    told_in_time = execution.ended_at is not None and now - execution.ended_at <= _TOLD_IN_TIME
    told_all = execution.arn == arn and isinstance(execution.input, str)
    return execution if told_in_time and told_all and not execution.running else None


def is_throttled(error: StillpointError) -> bool:
    """Return whether EC2 throttled a call: it would throttle the next one, too.

    A lack of capacity is of one instance alone, though it is an error of the server as well.
    """
    cause = error.__cause__
    return isinstance(cause, ClientError) and error_code(cause) in _THROTTLED
