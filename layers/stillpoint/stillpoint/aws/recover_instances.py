"""Recovering instances: putting back what an ended execution has left behind."""

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, assert_never

from aws_lambda_powertools.metrics import MetricUnit

from stillpoint.aws import aftermath, ec2, executions, images
from stillpoint.aws.executions import Execution
from stillpoint.aws.left_behind import (
    OUT_OF_SERVICE_AFTER,
    Left,
    rejoin_left,
    report_out_of_service,
)
from stillpoint.aws.notifications import publish
from stillpoint.aws.settings import RecoverSettings
from stillpoint.aws.stranded import report_stranded
from stillpoint.aws.telemetry import logger, metrics
from stillpoint.errors import AwsRefused, MalformedInput, RecoveryIncomplete, StillpointError
from stillpoint.instance import Instance
from stillpoint.messages import Event, EventName, InstanceReport
from stillpoint.plan import execution_name
from stillpoint.recovery import Step, must_alert
from stillpoint.tags import Cycle, Tag

PATIENCE = timedelta(seconds=90)
"""How long one invocation looks on; what takes longer is left to the next sweep."""
LOOK_AGAIN_SECONDS = 5
UNKNOWN_AFTER = timedelta(minutes=15)
"""An execution that Step Functions does not know after this never was, or is long forgotten."""

_RECOVERED = (
    "Nothing. Find out why its execution ended before it could put the instance back itself."
)
_CUT_OFF_LATE = (
    "Its recovery points are proven and become available by themselves; nobody reports that any"
    " more, so look at them."
)
_CUT_OFF = (
    "Stillpoint puts the instances back in the state they were in before, and tries the backup"
    " again if an attempt is left. A message follows if that does not work."
)


def recover_instances(event: Mapping[str, Any], settings: RecoverSettings) -> dict[str, Any]:
    """Handle the end of one execution, or sweep over all instances that are in a backup.

    Returns `{"recovered": [...], "waiting": [...]}` with instance ids. Raises MalformedInput for
    any other event, and RecoveryIncomplete at the end if something could not be done: what is left
    is done at the next sweep. An execution that runs is never interfered with.
    """
    recovery = _Recovery(settings)
    if event.get("detail-type") == "Scheduled Event":
        recovery.attempt("the sweep", recovery.sweep)
    else:
        recovery.attempt("the event", partial(recovery.find, _execution_of(event)))
    if recovery.failures:
        failures = "; ".join(f"{what}: {why}" for what, why in recovery.failures.items())
        raise RecoveryIncomplete(failures[:2000])
    return {"recovered": sorted(recovery.recovered), "waiting": sorted(recovery.waiting)}


def _execution_of(event: Mapping[str, Any]) -> str:
    try:
        return str(event["detail"]["name"])
    except (KeyError, TypeError) as error:
        raise MalformedInput(
            "recover_instances takes the event of its schedule rule, or a Step Functions Execution"
            f" Status Change: {error!r}"
        ) from error


class _Recovery:
    """One invocation: `failures` are what does not work, by what it is about; the rest goes on."""

    def __init__(self, settings: RecoverSettings) -> None:
        self._settings = settings
        self._began = time.monotonic()
        self._known: dict[str, Execution | None] = {}
        self._told: dict[str, str] = {}
        self._scripts_failed: dict[str, str] = {}
        self._cleared_up: set[str] = set()
        self._event_of = ""
        self.failures: dict[str, str] = {}
        self.recovered: set[str] = set()
        self.waiting: set[str] = set()

    def attempt(self, what: str, action: Callable[[], None]) -> None:
        """Do something; if that fails now, it is tried again at the next look or sweep."""
        try:
            action()
        except StillpointError as error:
            logger.exception("A part of the recovery failed", extra={"what": what})
            self.failures[what] = str(error)
        else:
            self.failures.pop(what, None)

    def _even_if_refused(self, what: str, action: Callable[[], None]) -> None:
        """Do something that must not be lost, but need not succeed if AWS refuses it for good."""
        try:
            action()
        except AwsRefused as error:
            logger.exception("AWS refused a part of the recovery", extra={"what": what})
            self.failures[what] = str(error)

    def find(self, name: str) -> None:
        """Put back the members of one execution, if it has ended."""
        self._event_of = name
        execution = executions.describe(self._settings.state_machine_arn, name)
        while execution is not None and execution.running and self._has_patience():
            time.sleep(LOOK_AGAIN_SECONDS)  # that it has ended may not be visible yet
            execution = executions.describe(self._settings.state_machine_arn, name)
        if execution is None or execution.running:
            return
        self.attempt("the instances", partial(self._put_back, execution.instance_ids))
        self.attempt(name, partial(self._clear_up, execution))

    def sweep(self) -> None:
        """Put back every instance that carries a cycle and that no execution is in charge of."""
        in_backup = [i.instance_id for i in ec2.scheduled_instances() if Tag.CYCLE in i.tags]
        self.attempt("the instances", partial(self._put_back, in_backup))
        for name, execution in self._known.items():
            if execution is not None and not execution.running:
                self.attempt(name, partial(self._clear_up, execution))

    def _has_patience(self) -> bool:
        left = PATIENCE.total_seconds() - (time.monotonic() - self._began)
        return left >= LOOK_AGAIN_SECONDS

    def _put_back(self, instance_ids: Collection[str]) -> None:
        """Take every step that can be taken within an invocation's patience."""
        while True:
            now = datetime.now(UTC)
            self.waiting.clear()
            self._take_steps(self._left_behind(instance_ids, now), now)
            if not self.waiting or not self._has_patience():
                return
            time.sleep(LOOK_AGAIN_SECONDS)

    def _left_behind(self, instance_ids: Collection[str], now: datetime) -> list[Left]:
        """Return those of the instances whose execution has ended, or never was."""
        rows: list[Left] = []
        for instance in ec2.instances_by_id(instance_ids).values():
            if Tag.CYCLE in instance.tags:
                self.attempt(instance.instance_id, partial(self._find_out, instance, now, rows))
        return rows

    def _find_out(self, instance: Instance, now: datetime, rows: list[Left]) -> None:
        cycle = Cycle.parse(instance.tags[Tag.CYCLE])
        if cycle is None:
            raise MalformedInput(
                f"its tag {Tag.CYCLE} cannot be read: put the instance in the state it should be in"
                " and remove the tag"
            )
        name = cycle.execution
        if name not in self._known:
            self._known[name] = executions.describe(self._settings.state_machine_arn, name)
        execution = self._known[name]
        if execution is None and now - cycle.since < UNKNOWN_AFTER:
            return
        if execution is None or not execution.running:
            rows.append(Left(instance, cycle, execution))

    def _take_steps(self, left: Iterable[Left], now: datetime) -> None:
        """Start first: no message and no tidying up may hold up a start."""
        steps = [(row, row.next_step(now)) for row in left]
        starts = [(row, _start(row.instance)) for row, step in steps if step is Step.START]
        for row, refused in starts:
            instance_id = row.instance.instance_id
            self.waiting.add(instance_id)
            tell = partial(self._tell_stranded, row, refused, now)
            self.attempt(f"telling of {instance_id}", tell)
        left_out = self._rejoin([row for row, step in steps if step is Step.RELEASE], now)
        for row, step in steps:
            match step:
                case Step.START:
                    pass
                case Step.WAIT:
                    self.waiting.add(row.instance.instance_id)
                case Step.RELEASE if row.instance_id in left_out:
                    self.waiting.add(row.instance_id)
                case Step.RELEASE:
                    self.attempt(row.instance.instance_id, partial(self._release, row, now))
                case Step.FORGET:
                    logger.info("An instance is gone", extra={"id": row.instance.instance_id})
                case _:
                    assert_never(step)

    def _rejoin(self, rows: list[Left], now: datetime) -> frozenset[str]:
        """Put those that run again back into service; return which are not there yet."""
        timeout = self._settings.script_timeout_seconds
        found = rejoin_left(rows, now, script_timeout_seconds=timeout)
        self._scripts_failed.update(found.failures)
        for row in rows:
            why = found.waiting.get(row.instance_id)
            late = now - row.left_at >= OUT_OF_SERVICE_AFTER and must_alert(row.cycle, now)
            if why and late and row.instance_id not in self._told:
                tell = partial(self._tell_late, row, why, now)
                self.attempt(f"telling of {row.instance_id}", tell)
        return frozenset(found.waiting)

    def _tell_late(self, row: Left, why: str, now: datetime) -> None:
        """Tell people that an instance is not back in service, and note on it that they know."""
        self._tell_out_of_service(row, f"It waits: {why}.", now)
        self._told[row.instance_id] = row.instance.state_reason
        _note_alert(row, now)

    def _tell_out_of_service(self, row: Left, why: str, now: datetime) -> None:
        metrics.add_metric(EventName.INSTANCE_OUT_OF_SERVICE, MetricUnit.Count, 1)
        report_out_of_service(self._settings.topic_arn, row, why, now)

    def _tell_stranded(self, row: Left, refused: str, now: datetime) -> None:
        """Tell people if it is time to, or if EC2 has given a new reason since they were told."""
        instance = row.instance
        told = self._told.get(instance.instance_id)
        if told == instance.state_reason or (told is None and not must_alert(row.cycle, now)):
            return
        metrics.add_metric(EventName.INSTANCE_STRANDED, MetricUnit.Count, 1)
        report_stranded(
            self._settings.topic_arn,
            [instance],
            {instance.instance_id: refused},
            now,
            why="Its execution ended without starting it."
            if row.execution
            else "The execution in charge of it does not exist.",
            execution_arn=row.execution.arn if row.execution else None,
        )
        self._told[instance.instance_id] = instance.state_reason
        _note_alert(row, now)

    def _release(self, row: Left, now: datetime) -> None:
        """Take the tag off last: without it, no sweep comes back for what is not done yet."""
        instance_id = row.instance.instance_id
        if row.execution is not None:
            self._even_if_refused(row.execution.name, partial(self._clear_up, row.execution))
        if instance_id in self._scripts_failed:
            tell = partial(self._tell_out_of_service, row, self._scripts_failed[instance_id], now)
            self._even_if_refused(f"the post-script of {instance_id}", tell)
        if row.cycle.alerted_at is not None or instance_id in self._told:
            tell = partial(self._tell_recovered, row.instance, now)
            self._even_if_refused(f"the all-clear of {instance_id}", tell)
        for tag in (Tag.UNDO, Tag.CYCLE):
            if tag in row.instance.tags:
                ec2.delete_tag(instance_id, tag, row.instance.tags[tag])
        self.recovered.add(instance_id)

    def _tell_recovered(self, instance: Instance, now: datetime) -> None:
        metrics.add_metric(EventName.INSTANCE_RECOVERED, MetricUnit.Count, 1)
        report = InstanceReport(
            instance.instance_id, instance.name, instance.state, "The recovery has put it back."
        )
        event = Event(EventName.INSTANCE_RECOVERED, now, (report,), _RECOVERED)
        publish(self._settings.topic_arn, event)

    def _clear_up(self, execution: Execution) -> None:
        """Remove what an ended execution has half-made, and ask for another attempt.

        An execution that reported its failure itself has done all this, and a refused one has
        touched nothing. Once there is another attempt, its success clears up instead.
        """
        if execution.name in self._cleared_up or not execution.failed:
            return
        backup = json.loads(execution.input)
        occurrence = datetime.fromisoformat(backup["occurrence"])
        attempt = int(backup.get("attempt", 1))
        following = execution_name(backup["group_id"], occurrence, attempt + 1)
        if executions.describe(self._settings.state_machine_arn, following) is not None:
            return
        instances = ec2.instances_by_id(execution.instance_ids)
        if any(_is_down(instance) for instance in instances.values()):
            return  # its newest image may be all that a replacement can be made of
        made = images.images_of(execution.name)
        snapshots = images.snapshots_of(execution.name)
        good = {
            instance_id
            for instance_id, image in made.items()
            if aftermath.is_good(image) and not aftermath.is_surplus(image, occurrence, attempt)
        }
        stayed = [
            words
            for instance_id in {*made, *snapshots} - good
            for words in aftermath.discard(made.get(instance_id), snapshots.get(instance_id, ()))
        ]
        now = datetime.now(UTC)
        unmarked = [i for i in instances.values() if aftermath.is_news(i, occurrence, attempt)]
        missing = set(execution.instance_ids) - good
        markable = [i for i in instances.values() if aftermath.is_markable(i, occurrence)]
        if missing and (unmarked or not markable):
            # The mark hides the failure from the next look: people are told before it is written.
            tell = partial(self._tell_cut_off, execution, instances, good, stayed, now)
            self._even_if_refused(f"telling of {execution.name}", tell)
            for instance in unmarked:
                aftermath.mark_failed(instance, occurrence, attempt, now)
        elif not missing and execution.name == self._event_of and execution.cut_off:
            tell = partial(self._tell_cut_off, execution, instances, good, stayed, now)
            self._even_if_refused(f"telling of {execution.name}", tell)
        self._cleared_up.add(execution.name)

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
                remedy=_CUT_OFF if set(execution.instance_ids) - good else _CUT_OFF_LATE,
                why=" ".join([f"Its execution ended as {execution.status}.{cause}", *stayed]),
                group=backup["group"],
                occurrence=datetime.fromisoformat(backup["occurrence"]),
                execution_arn=execution.arn,
            ),
        )


def _is_down(instance: Instance) -> bool:
    cycle = Cycle.parse(instance.tags.get(Tag.CYCLE, ""))
    if cycle is None or cycle.state_before != "running":
        return False
    return instance.state in {"stopping", "stopped", "pending"}


def _note_alert(row: Left, now: datetime) -> None:
    """Write on an instance that people were told now."""
    alerted = replace(row.cycle, alerted_at=now)
    ec2.create_tags([row.instance_id], {Tag.CYCLE: alerted.render()})


def _start(instance: Instance) -> str:
    """Start an instance; return why EC2 refused, or an empty text."""
    try:
        ec2.start(instance.instance_id)
    except StillpointError as error:
        logger.exception("An instance could not be started")
        return str(error)
    return ""
