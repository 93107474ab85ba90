"""Completing a backup: judging the evidence, writing it down, and telling of the outcome."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from aws_lambda_powertools.metrics import MetricUnit

from stillpoint.aws import aftermath, ec2, images
from stillpoint.aws.evidence import Capture, points_of, tell_of_missing
from stillpoint.aws.notifications import publish
from stillpoint.aws.point import Point
from stillpoint.aws.safeguards import Trouble, apply_safeguards, report_safeguards
from stillpoint.aws.settings import CompleteSettings
from stillpoint.aws.telemetry import logger, metrics
from stillpoint.errors import AwsRefused, AwsUnavailable, StillpointError
from stillpoint.image import Image
from stillpoint.instance import Instance
from stillpoint.messages import Event, EventName, InstanceReport
from stillpoint.outcome import Failure, Record, wait_before_next_check
from stillpoint.pruning import hold_on
from stillpoint.recovery_point import Snapshot
from stillpoint.tags import Cycle, LastRecoveryPoint, Tag
from stillpoint.zones import zone_named

SAFEGUARD_PATIENCE = timedelta(hours=4)
"""How long after its last snapshot is complete a recovery point that cannot be safeguarded is tried
again: then it is good without. An AMI is available "after the snapshot is complete" (AWS Knowledge
Center, "Why is my AMI or EBS snapshot creation slow or stuck in the Pending state?")."""

_LEFT_OVER = {
    "NotBackInService": "See to the instance now: it runs, and is not back in service. Stillpoint"
    " goes on trying; the tag stillpoint:undo on the instance names what it still has to put back.",
    "PostScriptFailed": "See to the application now: its post-script failed, so it may not serve"
    " yet. The instance runs.",
    "TargetGroupGone": "Register the instance with what has taken the target group's place: it was"
    " registered there, runs, and is put into nothing else.",
    "StillFrozen": "See to the instance now: a file system in it is still frozen, so whatever"
    " writes hangs. Run the freeze document with the command thaw, fsfreeze -u in the guest, or"
    " reboot it.",
}
"""What to do about what a backup has left behind around an instance, by the failure's name."""


def complete_backup(record: Record, settings: CompleteSettings, now: datetime) -> dict[str, Any]:
    """Return the `status`; with it `wait_seconds` while pending, `error` and `cause` if it failed.

    The first call writes the evidence on the images and snapshots; later ones read it back, and
    write it on an image that EC2 did not show before. A backup in which anything went wrong is
    reported at once and does not wait for its images.
    """
    if record.refusals:
        return _refused(record, settings, now)
    return _Completion(record, settings, now).carry_out()


class _Completion:
    """One look at one backup whose instances are back, or are given up."""

    def __init__(self, record: Record, settings: CompleteSettings, now: datetime) -> None:
        self._record = record
        self._settings = settings
        self._now = now
        self._instances = ec2.instances_by_id([m.instance_id for m in record.members])
        made = images.images_of(record.execution)
        # Without an image there may still be snapshots, which are then removed.
        snapshots = images.snapshots_of(record.execution)
        captures = [
            Capture(
                member,
                self._instances.get(member.instance_id),
                made.get(member.instance_id),
                tuple(snapshots.get(member.instance_id, ())),
            )
            for member in record.members
        ]
        self._points = points_of(captures, record, now, grace=settings.shutdown_grace)

    def carry_out(self) -> dict[str, Any]:
        found = tuple(f for point in self._points for f in point.failures(self._now))
        # A member that was never captured because the backup failed before is no news.
        failures = self._record.failures or found
        if failures:
            return self._failed(failures)
        if any(not point.image or point.image.state != "available" for point in self._points):
            since = max(self._now - self._record.capture_from, timedelta())
            return {"status": "pending", "wait_seconds": wait_before_next_check(since)}
        return self._succeeded()

    def _failed(self, failures: tuple[Failure, ...]) -> dict[str, Any]:
        if any(failure.phase == "prepare" for failure in failures):
            self._release()
        stayed = self._clear_up()
        metrics.add_metric(EventName.BACKUP_FAILED, MetricUnit.Count, 1)
        general = [f.sentence for f in failures if f.instance_id is None]
        self._publish(
            EventName.BACKUP_FAILED,
            self._reports(failures),
            self._remedy(failures),
            " ".join([*general, *stayed]),
        )
        return {
            "status": "failed",
            "error": failures[0].error,
            "cause": " ".join(dict.fromkeys(f.sentence for f in failures))[:4000],
        }

    def _clear_up(self) -> list[str]:
        """Keep what is good, remove the rest, and ask for another attempt if any is missing."""
        record = self._record
        bad = [point for point in self._points if not point.is_good(self._now)]
        surplus = [
            point
            for point in self._points
            if point not in bad
            and point.image is not None
            and aftermath.is_surplus(point.image, record.occurrence, record.attempt)
        ]
        stayed = [
            words
            for point in bad + surplus
            for words in aftermath.discard(point.image, point.snapshots)
        ]
        if record.group is not None:
            tell_of_missing(self._points, self._now)
        for point in self._points:
            if point not in bad and point.image and point.image.state == "available":
                self._show_on_instance(point)
            if bad and point.instance is not None:
                self._mark_failed(point.instance)
        return stayed

    def _mark_failed(self, instance: Instance) -> None:
        record = self._record
        try:
            aftermath.mark_failed(instance, record.occurrence, record.attempt, self._now)
        except AwsRefused:  # the schedule tag may be gone; the failure must be told anyway
            logger.exception("The failure could not be written on the instance")

    def _remedy(self, failures: tuple[Failure, ...]) -> str:
        down = [point for point in self._points if point.is_down]
        if down:
            labels = ", ".join(point.report().label for point in down)
            return (
                f"Start {labels} now, by hand if need be: it was running before the backup."
                " Stillpoint goes on trying, too."
            )
        left = dict.fromkeys(_LEFT_OVER[f.error] for f in failures if f.error in _LEFT_OVER)
        if left:
            return " ".join(left)
        if all(point.is_good(self._now) for point in self._points):
            return "No instance is down, and the recovery points are good. Nothing is lost."
        return (
            "No instance is down because of this backup. It is tried again if an attempt is left;"
            " for one at once, invoke the planner with backup_now."
        )

    def _release(self) -> None:
        """Take our tags off instances of which nothing was touched, and nobody else's."""
        for instance in self._instances.values():
            value = instance.tags.get(Tag.CYCLE, "")
            cycle = Cycle.parse(value)
            if cycle is not None and cycle.execution == self._record.execution:
                try:
                    if Tag.UNDO in instance.tags:
                        ec2.delete_tag(instance.instance_id, Tag.UNDO, instance.tags[Tag.UNDO])
                    ec2.delete_tag(instance.instance_id, Tag.CYCLE, value)
                except AwsRefused:  # the next backup says that this one is still in charge
                    logger.exception("The instance could not be released")

    def _succeeded(self) -> dict[str, Any]:
        try:
            self._apply_safeguards()
        except AwsUnavailable as error:
            since = max(self._now - self._record.capture_from, timedelta())
            if self._now - self._snapshots_completed_at() < SAFEGUARD_PATIENCE:
                logger.exception("The recovery points could not be safeguarded yet")
                return {"status": "pending", "wait_seconds": wait_before_next_check(since)}
            self._report_unsafeguarded(error)
        metrics.add_metric(EventName.BACKUP_SUCCEEDED, MetricUnit.Count, 1)
        for point in self._points:
            self._show_on_instance(point)
            if point.member.downtime is not None:
                seconds = point.member.downtime.total_seconds()
                metrics.add_metric("Downtime", MetricUnit.Seconds, seconds)
            completed = [s.completed_at for s in point.snapshots if s.completed_at is not None]
            took = max(completed, default=self._now) - self._record.capture_from
            metrics.add_metric(
                "TimeToAvailable", MetricUnit.Seconds, max(0.0, took.total_seconds())
            )
        self._remove_superseded()
        reports = self._reports()
        if self._settings.notify_success:
            self._publish(EventName.BACKUP_SUCCEEDED, reports, "Nothing.")
        return {
            "status": "succeeded",
            "recovery_points": [
                {
                    "instance_id": report.instance_id,
                    "image_id": report.image_id,
                    "consistency": report.consistency,
                    "reason": report.why,
                    "downtime_seconds": report.downtime.total_seconds()
                    if report.downtime
                    else None,
                }
                for report in reports
            ],
        }

    def _apply_safeguards(self) -> None:
        """Share, lock and protect every point, and tell people of what was refused.

        What a failed backup leaves is not, even if it is good: another attempt may replace it,
        and then it has to be removed. Raises AwsUnavailable if AWS does not answer.
        """
        safeguards = self._settings.safeguards
        applied = [
            (point.image, apply_safeguards(point.image, point.snapshots, safeguards, now=self._now))
            for point in self._points
            if point.image is not None
        ]
        report_safeguards(
            applied,
            topic_arn=self._settings.topic_arn,
            now=self._now,
            execution_arn=self._record.execution_arn,
        )

    def _snapshots_completed_at(self) -> datetime:
        """Return when the last snapshot was; the beginning of the capture if EC2 does not say."""
        moments = (s.completed_at for point in self._points for s in point.snapshots)
        known = (moment for moment in moments if moment is not None)
        return max(known, default=self._record.capture_from)

    def _report_unsafeguarded(self, error: AwsUnavailable) -> None:
        """Tell people that AWS has not answered for long: the recovery points are good without."""
        trouble = Trouble(EventName.PROTECTION_FAILED, f"AWS did not answer: {error}")
        report_safeguards(
            [(point.image, [trouble]) for point in self._points if point.image is not None],
            topic_arn=self._settings.topic_arn,
            now=self._now,
            execution_arn=self._record.execution_arn,
        )

    def _remove_superseded(self) -> None:
        """Remove what earlier attempts made for this occurrence: it has one recovery point.

        What somebody put on hold meanwhile stays.
        """
        if self._record.attempt == 1:
            return
        zone = zone_named(self._settings.time_zone)
        for point in self._points:
            instance_id, occurrence = point.member.instance_id, self._record.occurrence
            made = {
                i.tags.get(Tag.EXECUTION, ""): i for i in images.images_for(instance_id, occurrence)
            }
            snapshots = images.snapshots_for(instance_id, occurrence)
            for execution in {*made, *snapshots} - {self._record.execution}:
                image, own = made.get(execution), snapshots.get(execution, [])
                if not _is_held(image, own, zone, self._now):
                    aftermath.discard(image, own)

    def _reports(self, failures: tuple[Failure, ...] = ()) -> tuple[InstanceReport, ...]:
        warnings_of = self._record.warnings_of
        return tuple(
            replace(point.report(failures), warnings=warnings_of(point.member.instance_id))
            for point in self._points
        )

    def _show_on_instance(self, point: Point) -> None:
        """Show the newest recovery point on the instance, and take an old refusal off it."""
        captured_at = point.member.captured_at
        if not point.instance or not point.image or not point.assessment or not captured_at:
            return
        instance_id = point.instance.instance_id
        newest = LastRecoveryPoint(
            captured_at, point.image.image_id, point.assessment.level or "none"
        )
        try:
            ec2.create_tags([instance_id], {Tag.RECOVERY_POINT: newest.render()})
            problem = point.instance.tags.get(Tag.PROBLEM, "")
            if problem.startswith("refused"):
                ec2.delete_tag(instance_id, Tag.PROBLEM, problem)
        except StillpointError:  # the schedule tag may be gone; the recovery point is good anyway
            logger.exception("The recovery point could not be shown on the instance")

    def _publish(
        self, name: EventName, reports: tuple[InstanceReport, ...], remedy: str, why: str = ""
    ) -> None:
        event = _event(name, self._record, self._now, reports, remedy, why)
        publish(self._settings.topic_arn, event)


def _is_held(image: Image | None, snapshots: list[Snapshot], zone: ZoneInfo, now: datetime) -> bool:
    tagged = (image.tags if image else {}, *(snapshot.tags for snapshot in snapshots))
    return any(hold_on(tags, zone, now) for tags in tagged)


def _refused(record: Record, settings: CompleteSettings, now: datetime) -> dict[str, Any]:
    metrics.add_metric(EventName.BACKUP_REFUSED, MetricUnit.Count, 1)
    reports = tuple(
        InstanceReport(row["instance_id"], row["name"], row["state"], row["reason"])
        for row in record.refusals
    )
    remedy = " ".join(dict.fromkeys(row["remedy"] for row in record.refusals))
    why = "One refusal refuses the whole group." if record.group else ""
    event = _event(EventName.BACKUP_REFUSED, record, now, reports, remedy, why)
    publish(settings.topic_arn, event)
    codes = ", ".join(dict.fromkeys(row["code"] for row in record.refusals))
    return {
        "status": "refused",
        "error": EventName.BACKUP_REFUSED.value,
        "cause": f"Refused before anything was touched: {codes}",
    }


def _event(  # noqa: PLR0913, PLR0917 (the fields of an event)
    name: EventName,
    record: Record,
    now: datetime,
    reports: tuple[InstanceReport, ...],
    remedy: str,
    why: str,
) -> Event:
    return Event(
        name=name,
        at=now,
        instances=reports,
        remedy=remedy,
        why=why,
        group=record.group,
        occurrence=record.occurrence,
        execution_arn=record.execution_arn,
    )
