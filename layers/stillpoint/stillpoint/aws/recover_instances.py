"""Recovering instances: putting back what an ended execution has left behind."""

import json
import random
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from stillpoint.aws import aftermath, ec2, executions, images
from stillpoint.aws.executions import Execution
from stillpoint.aws.left_behind import (
    OUT_OF_SERVICE_AFTER,
    Left,
    is_throttled,
    note_alert,
    rejoin_left,
    report_out_of_service,
    report_recovered,
)
from stillpoint.aws.notifications import publish
from stillpoint.aws.rejoin_instances import Look
from stillpoint.aws.settings import RecoverSettings
from stillpoint.aws.stranded import report_stranded
from stillpoint.aws.telemetry import logger, metrics
from stillpoint.errors import (
    AwsRefused,
    MalformedInput,
    RecoveryIncomplete,
    StillpointError,
)
from stillpoint.instance import Instance
from stillpoint.messages import Event, EventName, InstanceReport
from stillpoint.plan import execution_name
from stillpoint.recovery import Step, must_alert, seconds_until_next_look
from stillpoint.tags import Cycle, Tag

PATIENCE = timedelta(seconds=90)
"""How long one invocation looks on; what takes longer is left to the next sweep."""
TIME = timedelta(seconds=270)
"""How long an invocation begins anything new: its Timeout is half a minute later. So long it looks
on while EC2 throttles the starts of instances."""
STARTING = timedelta(seconds=30)
"""How long a look starts instances before it sees to those that run already."""
LOOK_AGAIN_SECONDS = 5
UNKNOWN_AFTER = timedelta(minutes=15)
"""An execution that Step Functions does not know after this never was, or is long forgotten."""

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
        self._lost: dict[str, str] = {}
        self._cleared_up: set[str] = set()
        self._event_of = ""
        self._throttled = 0
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
            if execution is not None and not execution.running and self._has_time():
                self.attempt(name, partial(self._clear_up, execution))

    def _has_patience(self) -> bool:
        patience = max(PATIENCE, TIME) if self._throttled else PATIENCE
        return self._elapsed() + LOOK_AGAIN_SECONDS <= patience.total_seconds()

    def _has_time(self) -> bool:
        return self._elapsed() < TIME.total_seconds()

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _put_back(self, instance_ids: Collection[str]) -> None:
        """Take every step that can be taken within an invocation's patience."""
        while True:
            now = datetime.now(UTC)
            self.waiting.clear()
            self._take_steps(self._left_behind(instance_ids, now), now)
            if not self.waiting or not self._has_patience():
                return
            time.sleep(seconds_until_next_look(self._throttled, random.random()))  # noqa: S311

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
        by_step: dict[Step, list[Left]] = defaultdict(list)
        for row in left:
            by_step[row.next_step(now)].append(row)
        for row, refused in self._start(by_step[Step.START]):
            self.waiting.add(row.instance_id)
            tell = partial(self._tell_stranded, row, refused, now)
            self.attempt(f"telling of {row.instance_id}", tell)
        self.waiting.update(row.instance_id for row in by_step[Step.WAIT])
        for row in by_step[Step.FORGET]:
            logger.info("An instance is gone", extra={"id": row.instance_id})
        back: dict[str, list[Left]] = defaultdict(list)
        for row in by_step[Step.RELEASE]:
            back[row.cycle.execution].append(row)
        look = Look([row.instance_id for row in by_step[Step.RELEASE]])
        for rows in _shuffled(back.values()):
            self._finish(rows, look, now)

    def _start(self, rows: Iterable[Left]) -> list[tuple[Left, str]]:
        """Start instances, and return why EC2 refused, or an empty text, with each.

        While EC2 throttles, the others are left to the next look: they would be refused, too.
        """
        answers = []
        until = self._elapsed() + STARTING.total_seconds()
        throttled = False
        for row in _shuffled(rows):
            refused = ""
            if not throttled and self._elapsed() < until:
                try:
                    ec2.start(row.instance_id)
                except StillpointError as error:
                    logger.exception("An instance could not be started")
                    refused = str(error)
                    throttled = is_throttled(error)
            answers.append((row, refused))
        self._throttled = self._throttled + 1 if throttled else 0
        return answers

    def _finish(self, rows: list[Left], look: Look, now: datetime) -> None:
        """Put the instances of one execution back into service, and release those that are."""
        if not self._has_time():
            self.waiting.update(row.instance_id for row in rows)
            return
        left_out = self._rejoin(rows, look, now)
        self.waiting.update(left_out)
        for row in rows:
            if row.instance_id not in left_out:
                self.attempt(row.instance_id, partial(self._release, row, now))

    def _rejoin(self, rows: list[Left], look: Look, now: datetime) -> frozenset[str]:
        """Put those that run again back into service; return which are not there yet."""
        timeout = self._settings.script_timeout_seconds
        found = rejoin_left(rows, look, now, script_timeout_seconds=timeout)
        self._lost.update(found.failures)
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
        note_alert(row, now)

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
        note_alert(row, now)

    def _release(self, row: Left, now: datetime) -> None:
        """Take the tag off last: without it, no sweep comes back for what is not done yet."""
        instance_id = row.instance.instance_id
        if row.execution is not None:
            self._even_if_refused(row.execution.name, partial(self._clear_up, row.execution))
        if instance_id in self._lost:
            tell = partial(self._tell_out_of_service, row, self._lost[instance_id], now)
            self._even_if_refused(f"what {instance_id} has lost", tell)
        if row.cycle.alerted_at is not None or instance_id in self._told:
            metrics.add_metric(EventName.INSTANCE_RECOVERED, MetricUnit.Count, 1)
            tell = partial(report_recovered, self._settings.topic_arn, row, now)
            self._even_if_refused(f"the all-clear of {instance_id}", tell)
        for tag in (Tag.UNDO, Tag.CYCLE):
            if tag in row.instance.tags:
                ec2.delete_tag(instance_id, tag, row.instance.tags[tag])
        self.recovered.add(instance_id)

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


def _shuffled[T](rows: Iterable[T]) -> list[T]:
    """Return them in another order each time, so that none is always the one that is left."""
    mixed = list(rows)
    random.shuffle(mixed)
    return mixed
