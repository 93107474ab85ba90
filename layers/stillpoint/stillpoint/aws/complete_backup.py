"""Completing a backup: judging the evidence, writing it down, and telling of the outcome."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from stillpoint.aws import aftermath, ec2, images
from stillpoint.aws.notifications import publish
from stillpoint.aws.point import IMAGE_VISIBLE, Point
from stillpoint.aws.safeguards import Trouble, apply_safeguards, report_safeguards
from stillpoint.aws.settings import CompleteSettings
from stillpoint.aws.telemetry import logger, metrics
from stillpoint.aws.volumes import volumes_attached_to
from stillpoint.errors import AwsRefused, AwsUnavailable, StillpointError
from stillpoint.image import Image
from stillpoint.instance import Instance
from stillpoint.messages import Event, EventName, InstanceReport
from stillpoint.outcome import Failure, Member, Record, wait_before_next_check
from stillpoint.recovery_point import (
    Assessment,
    Evidence,
    Snapshot,
    assess,
    evidence_tags,
    recall,
)
from stillpoint.tags import Cycle, LastRecoveryPoint, Tag

SAFEGUARD_CHECKS = 20
"""Looks at the images after which a recovery point is good although it could not be safeguarded."""


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
        to_judge = any(self._is_to_be_judged(image) for image in made.values())
        self._shared = _shared_volumes(list(self._instances)) if to_judge else {}
        self._points = [
            self._point(m, made.get(m.instance_id), tuple(snapshots.get(m.instance_id, ())))
            for m in record.members
        ]

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

    def _is_to_be_judged(self, image: Image) -> bool:
        return self._record.checks == 0 or Tag.EVIDENCE not in image.tags

    def _is_shown_whole(
        self, member: Member, image: Image, snapshots: tuple[Snapshot, ...]
    ) -> bool:
        """Return whether EC2 shows every snapshot that was seen at the capture, or must by now."""
        if self._record.failures or not self._is_to_be_judged(image) or not member.captured_at:
            return True
        shown = {snapshot.volume_id for snapshot in snapshots}
        return len(shown) >= member.volumes or self._now - member.captured_at >= IMAGE_VISIBLE

    def _point(self, member: Member, image: Image | None, snapshots: tuple[Snapshot, ...]) -> Point:
        instance = self._instances.get(member.instance_id)
        assessment = None
        if image is not None and not self._is_shown_whole(member, image, snapshots):
            image = None
        if image is not None and member.captured_at is not None:
            if self._is_to_be_judged(image):
                assessment, tags = self._judge(member, instance, image, snapshots)
                image = replace(image, tags={**image.tags, **tags})
            else:
                assessment = recall(image.tags)
        return Point(member, instance, image, snapshots, assessment)

    def _judge(
        self,
        member: Member,
        instance: Instance | None,
        image: Image,
        snapshots: tuple[Snapshot, ...],
    ) -> tuple[Assessment, dict[str, str]]:
        """Assess a capture; return what it is worth, and the tags that say so on the image."""
        evidence = Evidence(
            method=member.method,
            state_before=member.state_before,
            capture_from=self._record.capture_from,
            volumes=member.volumes,
            snapshots=snapshots,
            stop_requested_at=member.stop_requested_at,
            stopped_at=member.stopped_at,
            started_again=instance is not None and instance.state != "stopped",
            runs=instance is not None and instance.state == "running",
            launched_at=instance.launch_time if instance else None,
            shared_volumes=self._shared.get(member.instance_id, ()),
        )
        assessment = assess(evidence, grace=self._settings.shutdown_grace)
        tags = evidence_tags(
            assessment,
            schedule=self._record.schedule,
            method=member.method,
            retain=member.retain,
            time_zone=member.time_zone,
            copy_to=member.copy_to,
            group=self._record.group,
            stopped_at=member.stopped_at,
            captured_at=member.captured_at,
            resumed_at=member.running_at,
            owner_tags=instance.tags if instance else {},
        )
        ec2.create_tags([snapshot.snapshot_id for snapshot in snapshots], tags)
        # The image last: its evidence says that nothing of this is missing.
        if assessment.level is not None and member.copy_to:
            tags |= {Tag.COPYING: " ".join(member.copy_to)}
        ec2.create_tags([image.image_id], tags)
        return assessment, tags

    def _failed(self, failures: tuple[Failure, ...]) -> dict[str, Any]:
        if any(failure.phase == "prepare" for failure in failures):
            self._release()
        stayed = self._clear_up()
        metrics.add_metric(EventName.BACKUP_FAILED, MetricUnit.Count, 1)
        general = [f.sentence for f in failures if f.instance_id is None]
        self._publish(
            EventName.BACKUP_FAILED,
            self._reports(failures),
            self._remedy(),
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

    def _remedy(self) -> str:
        down = [point for point in self._points if point.is_down]
        if down:
            labels = ", ".join(point.report().label for point in down)
            return (
                f"Start {labels} now, by hand if need be: it was running before the backup."
                " Stillpoint goes on trying, too."
            )
        if all(point.is_good(self._now) for point in self._points):
            return "No instance is down, and the recovery points are good. Nothing is lost."
        return (
            "No instance is down because of this backup. It is tried again if an attempt is left;"
            " for one at once, invoke the planner with backup_now."
        )

    def _release(self) -> None:
        """Take our cycle tag off instances of which nothing was touched, and nobody else's."""
        for instance in self._instances.values():
            value = instance.tags.get(Tag.CYCLE, "")
            cycle = Cycle.parse(value)
            if cycle is not None and cycle.execution == self._record.execution:
                try:
                    ec2.delete_tag(instance.instance_id, Tag.CYCLE, value)
                except AwsRefused:  # the next backup says that this one is still in charge
                    logger.exception("The instance could not be released")

    def _succeeded(self) -> dict[str, Any]:
        try:
            self._apply_safeguards()
        except AwsUnavailable as error:
            since = max(self._now - self._record.capture_from, timedelta())
            if self._record.checks < SAFEGUARD_CHECKS:
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
        for point in self._points:
            instance_id, occurrence = point.member.instance_id, self._record.occurrence
            made = {
                i.tags.get(Tag.EXECUTION, ""): i for i in images.images_for(instance_id, occurrence)
            }
            snapshots = images.snapshots_for(instance_id, occurrence)
            for execution in {*made, *snapshots} - {self._record.execution}:
                image, own = made.get(execution), snapshots.get(execution, [])
                if not _is_held(image, own):
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


def _is_held(image: Image | None, snapshots: list[Snapshot]) -> bool:
    held = [image.tags if image else {}, *(snapshot.tags for snapshot in snapshots)]
    return any(Tag.HOLD in tags for tags in held)


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


def _shared_volumes(instance_ids: list[str]) -> dict[str, tuple[str, ...]]:
    shared: dict[str, tuple[str, ...]] = {}
    for volume in volumes_attached_to(instance_ids):
        if len(volume.instance_ids) > 1:
            for instance_id in volume.instance_ids:
                shared[instance_id] = (*shared.get(instance_id, ()), volume.volume_id)
    return shared
