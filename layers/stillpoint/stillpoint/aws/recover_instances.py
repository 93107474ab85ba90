"""Recovering instances: putting back what an ended execution has left behind."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from stillpoint.aws import aftermath, ec2, executions, images
from stillpoint.aws.executions import Execution
from stillpoint.aws.notifications import publish
from stillpoint.aws.settings import RecoverSettings
from stillpoint.aws.stranded import report_stranded
from stillpoint.aws.telemetry import logger, metrics
from stillpoint.errors import MalformedInput, RecoveryIncomplete, StillpointError
from stillpoint.instance import Instance
from stillpoint.messages import Event, EventName, InstanceReport
from stillpoint.recovery import SETTLED_AFTER, Step, must_alert, next_step
from stillpoint.tags import Cycle, Tag

PATIENCE = timedelta(seconds=90)
"""How long one invocation looks on; what takes longer is left to the next sweep."""
LOOK_AGAIN_SECONDS = 5
UNKNOWN_AFTER = timedelta(minutes=15)
"""An execution that Step Functions does not know after this never was, or is long forgotten."""

_RECOVERED = "Nothing. Find out why its execution ended before it could start the instance itself."
_CUT_OFF = (
    "Stillpoint puts the instances back in the state they were in before, and tries the backup"
    " again if an attempt is left. A message follows if that does not work."
)


@dataclass(frozen=True, slots=True)
class Left:
    """An instance that carries the cycle of an execution which is not running."""

    instance: Instance
    cycle: Cycle
    execution: Execution | None

    def settled(self, now: datetime) -> bool:
        """Whether the execution's last call has taken effect by now."""
        ended = self.execution.ended_at if self.execution else None
        return ended is None or now - ended >= SETTLED_AFTER


def recover_instances(event: Mapping[str, Any], settings: RecoverSettings) -> dict[str, Any]:
    """Handle the end of one execution, or sweep over all instances that are in a backup.

    Returns `{"recovered": [...], "waiting": [...]}` with instance ids. Raises MalformedInput for
    any other event, and RecoveryIncomplete at the end if something could not be done: what is left
    is done at the next sweep. An execution that runs is never interfered with.
    """
    recovery = _Recovery(settings)
    if event.get("detail-type") == "Scheduled Event":
        ended = recovery.sweep()
    else:
        ended = recovery.find(_execution_name(event))
    for execution in ended:
        recovery.attempt(execution.name, partial(recovery.clear_up, execution))
    if recovery.failures:
        raise RecoveryIncomplete("; ".join(recovery.failures)[:2000])
    return {"recovered": sorted(recovery.recovered), "waiting": sorted(recovery.waiting)}


def _execution_name(event: Mapping[str, Any]) -> str:
    try:
        return str(event["detail"]["name"])
    except (KeyError, TypeError) as error:
        raise MalformedInput(
            "recover_instances takes the event of its schedule rule, or a Step Functions Execution"
            f" Status Change: {error!r}"
        ) from error


class _Recovery:
    """One invocation: `failures` collects what did not work, the rest goes on."""

    def __init__(self, settings: RecoverSettings) -> None:
        self._settings = settings
        self._began = time.monotonic()
        self.failures: list[str] = []
        self.recovered: set[str] = set()
        self.waiting: set[str] = set()

    def attempt(self, what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except StillpointError as error:
            logger.exception("A part of the recovery failed", extra={"what": what})
            self.failures.append(f"{what}: {error}")

    def find(self, name: str) -> list[Execution]:
        """Put back the members of one execution; return it if it has ended."""
        execution = executions.describe(self._settings.state_machine_arn, name)
        if execution is None or execution.running:
            return []
        self._put_back(execution.instance_ids)
        return [execution]

    def sweep(self) -> list[Execution]:
        """Put back every instance that carries a cycle; return the ended executions."""
        in_backup = [i for i in ec2.scheduled_instances() if Tag.CYCLE in i.tags]
        left = self._put_back([instance.instance_id for instance in in_backup])
        found = {row.execution.name: row.execution for row in left if row.execution}
        return list(found.values())

    def _put_back(self, instance_ids: Sequence[str]) -> list[Left]:
        """Take every step that can be taken within an invocation's patience."""
        known: dict[str, Execution | None] = {}
        first: list[Left] | None = None
        while True:
            now = datetime.now(UTC)
            left = self._left_behind(ec2.instances_by_id(instance_ids).values(), known, now)
            first = left if first is None else first
            self.waiting.clear()
            for row in left:
                self.attempt(row.instance.instance_id, partial(self._step, row, now))
            patience = PATIENCE.total_seconds() - (time.monotonic() - self._began)
            if not self.waiting or patience < LOOK_AGAIN_SECONDS:
                return first
            time.sleep(LOOK_AGAIN_SECONDS)

    def _left_behind(
        self,
        instances: Iterable[Instance],
        known: dict[str, Execution | None],
        now: datetime,
    ) -> list[Left]:
        rows = []
        for instance in instances:
            value = instance.tags.get(Tag.CYCLE)
            if value is None:
                continue
            cycle = Cycle.parse(value)
            if cycle is None:
                self.failures.append(
                    f"{instance.instance_id}: its tag {Tag.CYCLE} cannot be read: put the instance"
                    " in the state it should be in and remove the tag"
                )
                continue
            name = cycle.execution
            if name not in known:
                known[name] = executions.describe(self._settings.state_machine_arn, name)
            execution = known[name]
            if execution is None and now - cycle.since < UNKNOWN_AFTER:
                continue
            if execution is not None and execution.running:
                continue
            rows.append(Left(instance, cycle, execution))
        return rows

    def _step(self, row: Left, now: datetime) -> None:
        instance = row.instance
        match next_step(row.cycle, instance.state, settled=row.settled(now)):
            case Step.START:
                self.waiting.add(instance.instance_id)
                self._start(row, now)
            case Step.WAIT:
                self.waiting.add(instance.instance_id)
            case Step.RELEASE:
                self._release(row, now)
            case Step.FORGET:
                logger.info("The instance is gone", extra={"instance_id": instance.instance_id})

    def _start(self, row: Left, now: datetime) -> None:
        """Start first, tell then: the message must not hold up the start."""
        instance, cycle = row.instance, row.cycle
        refused = ""
        try:
            ec2.start(instance.instance_id)
        except StillpointError as error:
            refused = str(error)
        if not must_alert(cycle, now):
            return
        alerted = replace(cycle, alerted_at=now)
        ec2.create_tags([instance.instance_id], {Tag.CYCLE: alerted.render()})
        metrics.add_metric(EventName.INSTANCE_STRANDED, MetricUnit.Count, 1)
        why = (
            "Its execution ended without starting it."
            if row.execution
            else ("The execution in charge of it does not exist.")
        )
        report_stranded(
            self._settings.topic_arn,
            [instance],
            {instance.instance_id: refused},
            now,
            why=why,
            execution_arn=row.execution.arn if row.execution else None,
        )

    def _release(self, row: Left, now: datetime) -> None:
        instance = row.instance
        value = instance.tags[Tag.CYCLE]
        ec2.delete_tag(instance.instance_id, Tag.CYCLE, value)
        self.recovered.add(instance.instance_id)
        if row.cycle.alerted_at is None:
            return
        metrics.add_metric(EventName.INSTANCE_RECOVERED, MetricUnit.Count, 1)
        report = InstanceReport(
            instance.instance_id, instance.name, instance.state, "It was started by the recovery."
        )
        event = Event(EventName.INSTANCE_RECOVERED, now, (report,), _RECOVERED)
        publish(self._settings.topic_arn, event)

    def clear_up(self, execution: Execution) -> None:
        """Remove what an ended execution has half-made, and ask for another attempt.

        An execution that reported its failure itself has done all this, and a refused one has
        touched nothing.
        """
        if execution.status == "SUCCEEDED" or execution.error == EventName.BACKUP_REFUSED:
            return
        backup = json.loads(execution.input)
        occurrence = datetime.fromisoformat(backup["occurrence"])
        instances = ec2.instances_by_id(execution.instance_ids)
        made = images.images_of(execution.name)
        snapshots = images.snapshots_of(execution.name)
        good = {i for i, image in made.items() if aftermath.is_good(image)}
        stayed = [
            words
            for instance_id in {*made, *snapshots} - good
            for words in aftermath.discard(made.get(instance_id), snapshots.get(instance_id, ()))
        ]
        now = datetime.now(UTC)
        news = False
        if set(execution.instance_ids) - good:
            for instance in instances.values():
                attempt = int(backup.get("attempt", 1))
                news |= aftermath.mark_failed(instance, occurrence, attempt, now)
        if news:
            self._tell_cut_off(execution, instances, good, stayed, now)

    def _tell_cut_off(
        self,
        execution: Execution,
        instances: Mapping[str, Instance],
        good: set[str],
        stayed: list[str],
        now: datetime,
    ) -> None:
        metrics.add_metric(EventName.BACKUP_FAILED, MetricUnit.Count, 1)
        backup = json.loads(execution.input)
        cause = f" {execution.cause}" if execution.cause else ""
        reports = tuple(
            InstanceReport(
                member["instance_id"],
                member["name"],
                instances[member["instance_id"]].state
                if member["instance_id"] in instances
                else "terminated",
                "Its recovery point is good." if member["instance_id"] in good else "",
            )
            for member in backup["members"]
        )
        publish(
            self._settings.topic_arn,
            Event(
                name=EventName.BACKUP_FAILED,
                at=now,
                instances=reports,
                remedy=_CUT_OFF,
                why=" ".join([f"Its execution ended as {execution.status}.{cause}", *stayed]),
                group=backup["group"],
                occurrence=datetime.fromisoformat(backup["occurrence"]),
                execution_arn=execution.arn,
            ),
        )
