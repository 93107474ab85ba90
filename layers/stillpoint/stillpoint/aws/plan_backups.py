"""Carrying out a plan: starting backups, writing tags, telling people, counting."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from functools import partial
from typing import Any, assert_never

from aws_lambda_powertools.metrics import MetricUnit

from stillpoint.aws import aftermath, ec2, executions
from stillpoint.aws.executions import Start
from stillpoint.aws.notifications import publish
from stillpoint.aws.settings import PlanSettings
from stillpoint.aws.telemetry import logger, metrics
from stillpoint.errors import PlannerIncomplete, StillpointError
from stillpoint.instance import Instance
from stillpoint.messages import Event, EventName, InstanceReport
from stillpoint.pacing import Pace
from stillpoint.plan import Backup, Limits, Missed, Plan, Status, Verdict
from stillpoint.planning import make_plan
from stillpoint.policy import PolicyDefaults
from stillpoint.requests import Request
from stillpoint.tags import Cursor, Tag, iso


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
        return _account(plan, plan.backups, now) | {"dry_run": True}
    effects = _Effects(plan, instances, settings, now)
    started = effects.carry_out()
    if request.backup_now is None:
        _count(plan, instances, started, now)
    if effects.failures:
        raise PlannerIncomplete("; ".join(effects.failures)[:2000])
    return _account(plan, started, now) | {"dry_run": False}


class _Effects:
    """The plan's effects, each on its own: `failures` collects what did not work."""

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
        self.failures: list[str] = []

    def carry_out(self) -> tuple[Backup, ...]:
        """Do it all and return the backups that run now because of this plan."""
        # The cursor of a missed occurrence hides it: people are told before it is written.
        untold = [m for m in self._plan.missed if not self._attempt(partial(self._tell_missed, m))]
        self._write_cursors(except_of={i for missed in untold for i in missed.instance_ids})
        for instance_id, problem in self._plan.problems.items():
            self._attempt(partial(self._report_problem, instance_id, problem))
        for instance_id in self._plan.problems_cleared:
            self._attempt(partial(self._clear_problem, instance_id))
        return tuple(
            backup for backup in self._plan.backups if self._attempt(partial(self._start, backup))
        )

    def _attempt(self, effect: Callable[[], bool | None]) -> bool:
        try:
            return bool(effect())
        except StillpointError as error:
            logger.exception("A part of the plan failed")
            self.failures.append(str(error))
            return False

    def _write_cursors(self, *, except_of: Collection[str]) -> None:
        by_value: dict[Cursor, list[str]] = {}
        for instance_id, cursor in self._plan.cursors.items():
            if instance_id not in except_of:
                by_value.setdefault(cursor, []).append(instance_id)
        for cursor, instance_ids in by_value.items():
            self._attempt(partial(self._write_cursor, cursor, instance_ids))

    def _write_cursor(self, cursor: Cursor, instance_ids: list[str]) -> None:
        """Write a cursor on many instances; one that cannot be tagged does not spoil the rest."""
        tags: dict[str, str] = {Tag.LAST: cursor.render()}
        try:
            ec2.create_tags(instance_ids, tags)
        except StillpointError:
            if len(instance_ids) == 1:
                raise
            for instance_id in instance_ids:
                self._attempt(partial(ec2.create_tags, [instance_id], tags))

    def _report_problem(self, instance_id: str, problem: str) -> None:
        """Write the problem on the instance, which is what keeps it from being told again."""
        ec2.create_tags([instance_id], {Tag.PROBLEM: problem})
        instance = self._instances[instance_id]
        reason = self._reasons[instance_id]
        try:
            self._publish(
                EventName.POLICY_INVALID,
                (InstanceReport(instance_id, instance.name, instance.state, reason),),
                "Correct the instance's tags. It is not touched until then, and this is said once;"
                " the tag stillpoint:problem stays on it meanwhile.",
            )
        except StillpointError:
            ec2.delete_tag(instance_id, Tag.PROBLEM, problem)
            raise

    def _clear_problem(self, instance_id: str) -> None:
        present = self._instances[instance_id].tags[Tag.PROBLEM]
        ec2.delete_tag(instance_id, Tag.PROBLEM, present)

    def _tell_missed(self, missed: Missed) -> bool:
        self._publish(
            EventName.BACKUP_MISSED,
            tuple(
                InstanceReport(instance_id, name, self._instances[instance_id].state, "")
                for instance_id, name in zip(missed.instance_ids, missed.names, strict=True)
            ),
            "If a recovery point is needed before the next occurrence, invoke the planner with"
            " backup_now. If this happens often, raise MaxConcurrentBackups or CatchUpHours, or"
            " spread the schedules.",
            why=f"It was due at {iso(missed.occurrence)} and could not start within"
            f" {self._settings.catch_up.total_seconds() / 3600:g} hours: too many instances were"
            " in a backup, an anti-affinity peer was down, or the planner did not run.",
            group=missed.group,
            occurrence=missed.occurrence,
        )
        return True

    def _publish(  # noqa: PLR0913 (the fields of an event)
        self,
        name: EventName,
        reports: tuple[InstanceReport, ...],
        remedy: str,
        *,
        why: str = "",
        group: str | None = None,
        occurrence: datetime | None = None,
    ) -> None:
        metrics.add_metric(name, MetricUnit.Count, 1)
        publish(
            self._settings.topic_arn,
            Event(name, self._now, reports, remedy, why, group, occurrence),
        )

    def _start(self, backup: Backup) -> bool:
        name = backup.execution_name
        start = executions.start(self._settings.state_machine_arn, name, backup.to_input())
        logger.info("Started a backup", extra={"execution": name, "start": start.value})
        # One that has ended could not write the cursor, and has reported that itself.
        instances = [self._instances[member.instance_id] for member in backup.members]
        match start:
            case Start.STARTED | Start.ALREADY_RUNNING:
                return True
            case Start.ALREADY_FAILED:
                for instance in instances:
                    aftermath.mark_failed(instance, backup.occurrence, backup.attempt, self._now)
            case Start.ALREADY_DONE:
                for instance in instances:
                    if tag := aftermath.handled_tag(instance, backup.occurrence):
                        ec2.create_tags([instance.instance_id], tag)
            case _:
                assert_never(start)
        return False


def _count(
    plan: Plan, instances: dict[str, Instance], started: Iterable[Backup], now: datetime
) -> None:
    statuses = Counter(verdict.status for verdict in plan.verdicts)
    refused = sum(i.tags.get(Tag.PROBLEM, "").startswith("refused") for i in instances.values())
    ages = [
        (now - verdict.recovery_point_at).total_seconds()
        for verdict in plan.verdicts
        if verdict.recovery_point_at is not None
    ]
    unprotected = {Status.INVALID, Status.HELD, Status.GONE}
    counts = {
        "InstancesProtected": sum(n for s, n in statuses.items() if s not in unprotected) - refused,
        "InstancesInvalid": statuses[Status.INVALID],
        "InstancesHeld": statuses[Status.HELD],
        "InstancesRefused": refused,
        "InstancesOverdue": sum(verdict.overdue for verdict in plan.verdicts),
        "BackupsStarted": len(list(started)),
        "BackupsWaiting": statuses[Status.WAITING],
    }
    for name, value in counts.items():
        metrics.add_metric(name, MetricUnit.Count, value)
    for age in ages:  # Powertools begins a new document whenever one holds 100 values
        metrics.add_metric("RecoveryPointAge", MetricUnit.Seconds, age)


def _account(plan: Plan, backups: Iterable[Backup], now: datetime) -> dict[str, Any]:
    return {
        "now": iso(now),
        "backups": [{"execution": b.execution_name, **b.to_input()} for b in backups],
        "not_started": [
            {"instance_id": refusal.instance_id, "reason": refusal.reason}
            for refusal in plan.refusals
        ],
        "instances": [_line(verdict) for verdict in plan.verdicts],
    }


def _line(verdict: Verdict) -> dict[str, Any]:
    following = verdict.next_occurrence
    return {
        "instance_id": verdict.instance_id,
        "name": verdict.name,
        "status": verdict.status.value,
        "reason": verdict.reason,
        "next": iso(following) if following else None,
        "overdue": verdict.overdue,
    }
