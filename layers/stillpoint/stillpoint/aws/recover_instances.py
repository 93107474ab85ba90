"""Recovering instances: putting back what an ended execution has left behind."""

import random
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from stillpoint.aws import ec2, executions
from stillpoint.aws.clear_up import clear_up
from stillpoint.aws.executions import Execution
from stillpoint.aws.left_behind import (
    OUT_OF_SERVICE_AFTER,
    Left,
    execution_of,
    is_throttled,
    messages_of,
    note_alert,
    rejoin_left,
    report_left_stranded,
    report_out_of_service,
    report_recovered,
    still_left,
    why_not_back,
)
from stillpoint.aws.rejoin_instances import Look
from stillpoint.aws.settings import RecoverSettings
from stillpoint.aws.telemetry import logger, metrics
from stillpoint.errors import (
    AwsRefused,
    MalformedInput,
    RecoveryIncomplete,
    StillpointError,
)
from stillpoint.instance import Instance
from stillpoint.messages import EventName
from stillpoint.recovery import (
    LONGEST_WAIT_SECONDS,
    Step,
    must_alert,
    seconds_until_next_look,
)
from stillpoint.tags import Cycle, Tag

PATIENCE = timedelta(seconds=90)
"""How long one invocation looks on after the last instance was started; what takes longer is left
to the next sweep."""
TIME = timedelta(seconds=270)
"""How long an invocation begins anything new: its Timeout is half a minute later. So long it looks
on while there are instances that it could not start or see to yet."""
RESERVE = timedelta(seconds=30)
"""How much of that time is kept for what follows the last start, and for the last look."""
IN_VAIN = timedelta(seconds=30)
"""How long a look tries starts that EC2 refuses, before it sees to the instances that run."""
FRESH = timedelta(seconds=30)
"""How long the reading of a look is acted on: a new backup may take charge of an instance."""
READ_AGAIN_AFTER = timedelta(seconds=10)
"""After starts that took longer, a look reads the instances again before it sees to them."""
LOOK_AGAIN_SECONDS = 5
UNKNOWN_AFTER = timedelta(minutes=15)
"""An execution that Step Functions does not know after this never was, or is long forgotten."""

_NOT_TRIED = "EC2 was not asked to start it yet: others came first."


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
        recovery.attempt("the event", partial(recovery.find, _detail_of(event)))
    if recovery.failures:
        failures = "; ".join(f"{what}: {why}" for what, why in recovery.failures.items())
        raise RecoveryIncomplete(failures[:2000])
    return {"recovered": sorted(recovery.recovered), "waiting": sorted(recovery.waiting)}


def _detail_of(event: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return {**event["detail"], "name": str(event["detail"]["name"])}
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
        self._read_at = self._began
        self._started: set[str] = set()
        self._last_start = 0.0
        self._untried: list[Left] = []
        self._cut_short = False
        self.failures: dict[str, str] = {}
        self.recovered: set[str] = set()
        self.waiting: set[str] = set()

    def attempt(self, what: str, action: Callable[[], None]) -> bool:
        """Do something and say whether it worked; if not, it is tried again at the next look."""
        try:
            action()
        except StillpointError as error:
            logger.exception("A part of the recovery failed", extra={"what": what})
            self.failures[what] = str(error)
            return False
        self.failures.pop(what, None)
        return True

    def _even_if_refused(self, what: str, action: Callable[[], None]) -> None:
        """Do something that must not be lost, but need not succeed if AWS refuses it for good."""
        try:
            action()
        except AwsRefused as error:
            logger.exception("AWS refused a part of the recovery", extra={"what": what})
            self.failures[what] = str(error)

    def find(self, detail: Mapping[str, Any]) -> None:
        """Put back the members of one execution, if it has ended."""
        name: str = detail["name"]
        machine = self._settings.state_machine_arn
        self._event_of = name
        execution = execution_of(detail, machine, datetime.now(UTC))
        if execution is None:
            execution = executions.describe(machine, name)
        while execution is not None and execution.running and self._has_patience():
            time.sleep(LOOK_AGAIN_SECONDS)  # that it has ended may not be visible yet
            execution = executions.describe(machine, name)
        if execution is None or execution.running:
            return
        self._known[name] = execution
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
        """Return whether there is time for another look, and something to look for."""
        next_look_ends = self._elapsed() + LONGEST_WAIT_SECONDS + RESERVE.total_seconds()
        if next_look_ends > TIME.total_seconds():
            return False
        if self._throttled or self._untried or self._cut_short:
            return True
        until = self._last_start + PATIENCE.total_seconds()
        return self._elapsed() + LOOK_AGAIN_SECONDS <= until

    def _has_time(self) -> bool:
        return self._elapsed() < TIME.total_seconds()

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _age(self) -> float:
        return time.monotonic() - self._read_at

    def _put_back(self, instance_ids: Collection[str]) -> None:
        """Take every step that can be taken within an invocation's patience."""
        while True:
            self.waiting.clear()
            self._look(instance_ids)
            if not self.waiting or not self._has_patience():
                break
            time.sleep(seconds_until_next_look(self._throttled, random.random()))  # noqa: S311
        why = dict.fromkeys((row.instance_id for row in self._untried), _NOT_TRIED)
        self._tell_stranded(self._untried, why, datetime.now(UTC))

    def _left_behind(self, instance_ids: Collection[str], now: datetime) -> list[Left]:
        """Return those of the instances whose execution has ended, or never was."""
        rows: list[Left] = []
        self._read_at = time.monotonic()
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

    def _look(self, instance_ids: Collection[str]) -> None:
        """Start first: no message and no tidying up may hold up a start."""
        now = datetime.now(UTC)
        left = self._left_behind(instance_ids, now)
        down = [row for row in left if row.next_step(now) is Step.START]
        answers = self._start(down)
        self._untried = [row for row in down if row.instance_id not in answers]
        tried = [row for row in down if row.instance_id in answers]
        self._tell_stranded(tried, answers, now)
        if self._age() > READ_AGAIN_AFTER.total_seconds():
            now = datetime.now(UTC)
            left = self._left_behind(instance_ids, now)
        self._take_steps(left, now)

    def _take_steps(self, left: Iterable[Left], now: datetime) -> None:
        """See to the instances that need not be started."""
        back: dict[str, list[Left]] = defaultdict(list)
        for row in left:
            match row.next_step(now):
                case Step.RELEASE:
                    back[row.cycle.execution].append(row)
                case Step.START | Step.WAIT:
                    self.waiting.add(row.instance_id)
                case Step.FORGET:
                    logger.info("An instance is gone", extra={"id": row.instance_id})
        look = Look([row.instance_id for rows in back.values() for row in rows], self._hindrance)
        self._cut_short = False
        ready = [row for rows in _shuffled(back.values()) for row in self._finish(rows, look, now)]
        self._release(ready, now)

    def _start(self, rows: Iterable[Left]) -> dict[str, str]:
        """Start instances; return why EC2 refused, or an empty text, by the id of those tried.

        When EC2 throttles, or refuses for long, the others are left to the next look.
        """
        answers: dict[str, str] = {}
        throttled, in_vain = False, 0.0
        until = (TIME - RESERVE).total_seconds()
        for row in _shuffled(rows):
            began = self._elapsed()
            if throttled or in_vain >= IN_VAIN.total_seconds() or began >= until:
                break
            try:
                ec2.start(row.instance_id)
            except StillpointError as error:
                logger.exception("An instance could not be started")
                answers[row.instance_id] = str(error)
                throttled = is_throttled(error)
                in_vain += self._elapsed() - began
                continue
            answers[row.instance_id] = ""
            if row.instance_id not in self._started:
                self._started.add(row.instance_id)
                self._last_start = self._elapsed()
        self._throttled = self._throttled + 1 if throttled else 0
        return answers

    def _why_not_now(self) -> str:
        """Return why nothing is done on the reading of this look any more, or an empty text."""
        if self._has_time() and self._age() < FRESH.total_seconds():
            return ""
        self._cut_short = True
        return "the instances are read again first"

    def _hindrance(self, instance: Instance) -> str:
        return self._why_not_now() or why_not_back(instance)

    def _finish(self, rows: list[Left], look: Look, now: datetime) -> list[Left]:
        """Put the instances of one execution back into service; return those to be released."""
        if self._why_not_now():
            self.waiting.update(row.instance_id for row in rows)
            return []
        left_out = self._rejoin(rows, look, now)
        self.waiting.update(left_out)
        ready = []
        for row in rows:
            if row.instance_id in left_out or self._why_not_now():
                self.waiting.add(row.instance_id)
            elif self.attempt(row.instance_id, partial(self._before_release, row, now)):
                ready.append(row)
        return ready

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
        self._note_alerts([row], now)

    def _tell_out_of_service(self, row: Left, why: str, now: datetime) -> None:
        metrics.add_metric(EventName.INSTANCE_OUT_OF_SERVICE, MetricUnit.Count, 1)
        report_out_of_service(self._settings.topic_arn, row, why, now)

    def _tell_stranded(
        self, rows: Iterable[Left], refused: Mapping[str, str], now: datetime
    ) -> None:
        """Tell people of those it is time to tell of, or of which EC2 has given a new reason."""
        for some in messages_of(row for row in rows if self._is_news(row, now)):
            if not self._has_time():
                return
            ids = ", ".join(row.instance_id for row in some)
            self.attempt(f"telling of {ids}", partial(self._tell_of, some, refused, now))

    def _is_news(self, row: Left, now: datetime) -> bool:
        told = self._told.get(row.instance_id)
        return must_alert(row.cycle, now) if told is None else told != row.instance.state_reason

    def _tell_of(self, rows: Sequence[Left], refused: Mapping[str, str], now: datetime) -> None:
        metrics.add_metric(EventName.INSTANCE_STRANDED, MetricUnit.Count, len(rows))
        report_left_stranded(self._settings.topic_arn, rows, refused, now)
        self._told |= {row.instance_id: row.instance.state_reason for row in rows}
        self._note_alerts(rows, now)

    def _note_alerts(self, rows: Sequence[Left], now: datetime) -> None:
        """Write on instances that people know, unless another backup is in charge of one by now."""
        for row in still_left(rows):
            self.attempt(f"noting it on {row.instance_id}", partial(note_alert, row, now))

    def _before_release(self, row: Left, now: datetime) -> None:
        if row.execution is not None:
            self._even_if_refused(row.execution.name, partial(self._clear_up, row.execution))
        if row.instance_id in self._lost:
            tell = partial(self._tell_out_of_service, row, self._lost[row.instance_id], now)
            self._even_if_refused(f"what {row.instance_id} has lost", tell)

    def _release(self, rows: Sequence[Left], now: datetime) -> None:
        """Take the tags off last: without them, no sweep comes back for what is not done yet."""
        alerted = {
            row.instance_id
            for row in rows
            if row.cycle.alerted_at is not None or row.instance_id in self._told
        }
        for some in messages_of(row for row in rows if row.instance_id in alerted):
            ids = ", ".join(row.instance_id for row in some)
            tell = partial(self._all_clear, some, f"the all-clear of {ids}", now)
            if self.attempt(f"telling that {ids} are back", tell):
                alerted -= {row.instance_id for row in some}
        for row in rows:
            if row.instance_id not in alerted:
                self.attempt(row.instance_id, partial(self._take_tags_off, row))

    def _all_clear(self, rows: Sequence[Left], what: str, now: datetime) -> None:
        metrics.add_metric(EventName.INSTANCE_RECOVERED, MetricUnit.Count, len(rows))
        tell = partial(report_recovered, self._settings.topic_arn, rows, now)
        self._even_if_refused(what, tell)

    def _take_tags_off(self, row: Left) -> None:
        for tag in (Tag.UNDO, Tag.CYCLE):
            if tag in row.instance.tags:
                ec2.delete_tag(row.instance_id, tag, row.instance.tags[tag])
        self.recovered.add(row.instance_id)

    def _clear_up(self, execution: Execution) -> None:
        if execution.name in self._cleared_up:
            return
        of_the_event = execution.name == self._event_of
        now = datetime.now(UTC)
        if clear_up(execution, self._settings, now, self._even_if_refused, all_news=of_the_event):
            self._cleared_up.add(execution.name)


def _shuffled[T](rows: Iterable[T]) -> list[T]:
    """Return them in another order each time, so that none is always the one that is left."""
    mixed = list(rows)
    random.shuffle(mixed)
    return mixed
