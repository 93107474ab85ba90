"""Carrying out a plan: starting backups, writing tags, telling people, counting."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import batched
from typing import Any, assert_never

from aws_lambda_powertools.metrics import MetricUnit

from stillpoint.account import FOR_A_CALLER, FOR_NOBODY, give_account
from stillpoint.aws import aftermath, ec2, executions
from stillpoint.aws.cut_off import report_cut_off
from stillpoint.aws.executions import Start
from stillpoint.aws.notifications import publish
from stillpoint.aws.plan_metrics import count
from stillpoint.aws.settings import PlanSettings
from stillpoint.aws.telemetry import logger, metrics
from stillpoint.errors import AwsRefused, PlannerIncomplete, StillpointError
from stillpoint.instance import Instance
from stillpoint.messages import Event, EventName
from stillpoint.pacing import Pace
from stillpoint.plan import Backup, Limits, Missed, Plan
from stillpoint.plan_events import MOST_IN_ONE, backup_missed, batches, policy_invalid
from stillpoint.planning import make_plan
from stillpoint.policy import PolicyDefaults
from stillpoint.requests import Request
from stillpoint.tags import Tag

MOST_WRITES = 300
"""Tag writes of one tick. EC2 takes 600 a minute from all callers together (EC2 Developer Guide,
"Request throttling for the Amazon EC2 API": CreateTags), and backups under way need theirs."""

MOST_LOOKS = 50
"""Executions of one tick that there were already and that are looked at. Step Functions describes
10 a second for long (Step Functions Developer Guide, "Service quotas": DescribeExecution)."""


def plan_backups(request: Request, settings: PlanSettings, now: datetime) -> dict[str, Any]:
    """Do what is asked for and return an account of it, ready for JSON.

    One instance's trouble does not disturb another: what fails is tried at the next tick, and
    PlannerIncomplete is raised at the end, so that an alarm sees it.
    """
    instances = {instance.instance_id: instance for instance in ec2.scheduled_instances()}
    limits = Limits(
        defaults=PolicyDefaults.parse(
            time=settings.default_time,
            zone=settings.time_zone,
            retain=settings.default_retain,
            copy_regions=settings.copy_regions,
            lock_days=settings.lock_days,
        ),
        max_concurrent=settings.max_concurrent,
        pace=Pace(settings.per_minute, settings.tick),
        catch_up=settings.catch_up,
        max_attempts=settings.max_attempts,
    )
    plan = make_plan(
        instances.values(),
        now=now,
        limits=limits,
        backup_now=request.backup_now,
        scheduled_at=request.scheduled_at,
    )
    if request.dry_run:
        return give_account(plan, plan.backups, now, dry_run=True, limit=FOR_A_CALLER)
    effects = _Effects(plan, instances, settings, now)
    started = effects.carry_out()
    if request.backup_now is None:
        count(plan, instances.values(), len(started), now)
    if effects.failures:
        raise PlannerIncomplete("; ".join(effects.failures)[:2000])
    limit = FOR_NOBODY if request.backup_now is None else FOR_A_CALLER
    return give_account(plan, started, now, dry_run=False, limit=limit)


class _Effects:
    """The plan's effects, each on its own: `failures` collects what did not work.

    Whatever is more than one tick can write is left to the next ones, which come to the same plan.
    """

    def __init__(
        self,
        plan: Plan,
        instances: dict[str, Instance],
        settings: PlanSettings,
        now: datetime,
    ) -> None:
        self._plan = plan
        self._instances = instances
        self._settings = settings
        self._now = now
        self._reasons = {verdict.instance_id: verdict.reason for verdict in plan.verdicts}
        self._writes_left = MOST_WRITES
        self._looks_left = MOST_LOOKS
        self.failures: list[str] = []

    def carry_out(self) -> tuple[Backup, ...]:
        """Do it all, the urgent first, and return the backups that run now because of this plan."""
        started = tuple(
            backup for backup in self._plan.backups if self._attempt(partial(self._start, backup))
        )
        for missed in batches(self._plan.missed):
            self._give_up(missed)
        given_up = {i for missed in self._plan.missed for i in missed.instance_ids}
        self._write_cursors(self._plan.cursors.keys() - given_up)
        self._report_problems()
        self._clear_problems()
        if self._writes_left < MOST_IN_ONE:
            logger.warning("A tick may write no more tags: the next one goes on if there are more")
        return started

    def _attempt(self, effect: Callable[[], bool]) -> bool:
        try:
            return effect()
        except StillpointError as error:
            self._note(error)
            return False

    def _note(self, error: StillpointError) -> None:
        logger.exception("A part of the plan failed")
        self.failures.append(str(error))

    def _write_cursors(self, instance_ids: Iterable[str]) -> None:
        cursors = {
            each: self._plan.cursors[each].render() for each in self._in_turn(sorted(instance_ids))
        }
        for value, having in _by_value(cursors).items():
            self._write(having, Tag.LAST, value)

    def _write(self, instance_ids: Sequence[str], key: Tag, value: str) -> Sequence[str]:
        """Write a tag on many instances, and return those that have it now.

        If it is refused, each half is tried: one that cannot be tagged does not spoil the rest.
        """
        if self._writes_left <= 0:
            return []
        self._writes_left -= 1
        try:
            ec2.create_tags(instance_ids, {key: value})
        except AwsRefused as error:
            half = len(instance_ids) // 2
            if half:
                parts = (instance_ids[:half], instance_ids[half:])
                return [each for part in parts for each in self._write(part, key, value)]
            self._note(error)
            return []
        except StillpointError as error:
            self._note(error)
            return []
        return instance_ids

    def _in_turn(self, instance_ids: Sequence[str]) -> Sequence[str]:
        """Return them beginning elsewhere at each tick.

        So those that cannot be written never use up the writes of those that can.
        """
        if not instance_ids:
            return instance_ids
        begin = int(self._now.timestamp()) // 60 * MOST_WRITES % len(instance_ids)
        return [*instance_ids[begin:], *instance_ids[:begin]]

    def _report_problems(self) -> None:
        """Say what is wrong on the instances, which keeps it from being told again, and tell it."""
        problems = self._plan.problems
        alike = self._in_turn(sorted(problems, key=lambda each: (problems[each], each)))
        for some in batched(alike, MOST_IN_ONE, strict=False):
            written = {
                value: self._write(having, Tag.PROBLEM, value)
                for value, having in _by_value({each: problems[each] for each in some}).items()
            }
            instances = [self._instances[each] for having in written.values() for each in having]
            if instances:
                event = policy_invalid(instances, self._reasons, self._now)
                if not self._attempt(partial(self._publish, event, len(instances))):
                    self._take_back(written)

    def _take_back(self, problems: Mapping[str, Sequence[str]]) -> None:
        """Take away what could not be told, so that the next tick tells it."""
        for value, having in problems.items():
            if having:
                self._attempt(partial(_remove_problem, having, value))

    def _clear_problems(self) -> None:
        present = {
            each: self._instances[each].tags[Tag.PROBLEM] for each in self._plan.problems_cleared
        }
        for value, having in _by_value(present).items():
            if self._writes_left > 0:
                self._writes_left -= 1
                self._attempt(partial(_remove_problem, having, value))

    def _give_up(self, missed: Sequence[Missed]) -> None:
        """Tell people, and only then write the cursors, which hide what was missed.

        Nothing is told of which this tick may not write the cursors: it would be told again.
        """
        if self._writes_left < sum(len(one.instance_ids) for one in missed):
            return
        event = backup_missed(missed, self._instances, self._settings.catch_up, self._now)
        if self._attempt(partial(self._publish, event, len(missed))):
            self._write_cursors(each for one in missed for each in one.instance_ids)

    def _publish(self, event: Event, number: int) -> bool:
        metrics.add_metric(event.name, MetricUnit.Count, number)
        publish(self._settings.topic_arn, event)
        return True

    def _start(self, backup: Backup) -> bool:
        name = backup.execution_name
        look = self._looks_left > 0
        start = executions.start(
            self._settings.state_machine_arn, name, backup.to_input(), look=look
        )
        if start is not Start.STARTED:
            self._looks_left -= 1
        logger.info("Started a backup", extra={"execution": name, "start": start.value})
        # One that has ended could not write the cursor.
        match start:
            case Start.STARTED | Start.ALREADY_RUNNING:
                return True
            case Start.ALREADY_FAILED:
                self._note_failure(backup)
            case Start.ALREADY_DONE:
                for member in backup.members:
                    instance = self._instances[member.instance_id]
                    if tag := aftermath.handled_tag(instance, backup.occurrence):
                        ec2.create_tags([instance.instance_id], tag)
            case _:
                assert_never(start)
        return False

    def _note_failure(self, backup: Backup) -> None:
        """Ask for another attempt, and tell people before: the mark hides the failure from all.

        An execution that reported its failure itself has written the mark, perhaps since the plan
        was made. It is written even if the message is refused: backups do not depend on those.
        """
        execution = executions.describe(self._settings.state_machine_arn, backup.execution_name)
        if execution is None or not execution.failed:
            return
        occurrence, attempt = backup.occurrence, backup.attempt
        instances = ec2.instances_by_id([member.instance_id for member in backup.members])
        unmarked = [i for i in instances.values() if aftermath.is_news(i, occurrence, attempt)]
        if not unmarked:
            return
        topic_arn = self._settings.topic_arn
        metrics.add_metric(EventName.BACKUP_FAILED, MetricUnit.Count, 1)
        try:
            report_cut_off(topic_arn, execution, instances, good=(), stayed=(), now=self._now)
        except AwsRefused as error:
            self._note(error)
        for instance in unmarked:
            aftermath.mark_failed(instance, occurrence, attempt, self._now)


def _by_value(values: Mapping[str, str]) -> Mapping[str, Sequence[str]]:
    """Return the keys that have each value."""
    keys: dict[str, list[str]] = defaultdict(list)
    for key, value in values.items():
        keys[value].append(key)
    return keys


def _remove_problem(instance_ids: Sequence[str], value: str) -> bool:
    ec2.delete_tags(instance_ids, Tag.PROBLEM, value)
    return True
