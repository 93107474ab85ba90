"""The evidence of captures: gathered from the record and EC2, judged, and written down."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from stillpoint.aws import ec2
from stillpoint.aws.aftermath import FAILED_STATES
from stillpoint.aws.point import IMAGE_VISIBLE, Point
from stillpoint.aws.telemetry import logger
from stillpoint.aws.volumes import volumes_attached_to
from stillpoint.errors import AwsRefused
from stillpoint.group_consistency import group_claim, missing_claim
from stillpoint.image import Image
from stillpoint.instance import Instance
from stillpoint.outcome import Member, Record
from stillpoint.recovery_point import (
    Assessment,
    Evidence,
    Snapshot,
    assess,
    evidence_tags,
    recall,
)
from stillpoint.tags import Tag


@dataclass(frozen=True, slots=True)
class Capture:
    """What EC2 shows of one member, and of what was made of it."""

    member: Member
    instance: Instance | None
    image: Image | None
    snapshots: tuple[Snapshot, ...]


def points_of(
    captures: Sequence[Capture], record: Record, now: datetime, *, grace: timedelta
) -> list[Point]:
    """Return what was made of each member and what it is worth, which is also written on it.

    What was judged by an earlier call is read back. What EC2 does not show whole yet has no image
    here; nothing of a group is judged before EC2 shows all of it, or must. `grace` is the longest
    stop that still counts as clean.
    """
    return _Look(captures, record, now, grace).points()


def tell_of_missing(points: Sequence[Point], now: datetime) -> None:
    """Write on what is good of a group which of its members have no recovery point."""
    good = [point for point in points if point.image is not None and point.is_good(now)]
    missing = [point.member.instance_id for point in points if point not in good]
    tags = {Tag.GROUP_CONSISTENCY.value: missing_claim(missing)}
    for point in good if missing else ():
        if point.image is None or point.image.tags.items() >= tags.items():
            continue
        try:
            ec2.create_tags([snapshot.snapshot_id for snapshot in point.snapshots], tags)
            ec2.create_tags([point.image.image_id], tags)
        except AwsRefused:  # the failure must be told anyway
            logger.exception("What is missing of a group could not be written")


class _Look:
    """One look at the captures of one backup."""

    def __init__(
        self, captures: Sequence[Capture], record: Record, now: datetime, grace: timedelta
    ) -> None:
        self._captures = captures
        self._record = record
        self._now = now
        self._grace = grace
        shown = [self._is_shown_whole(capture) for capture in captures]
        is_group = record.group is not None
        self._is_shown = [all(shown) if is_group else each for each in shown]
        judges = any(self._is_to_be_judged(capture.image) for capture in captures)
        self._evidence = self._gather() if judges else {}
        self._group_claim = self._claim() if judges and is_group else ""

    def points(self) -> list[Point]:
        return [
            self._point(capture, is_shown=is_shown)
            for capture, is_shown in zip(self._captures, self._is_shown, strict=True)
        ]

    def _point(self, capture: Capture, *, is_shown: bool) -> Point:
        member, image = capture.member, capture.image
        evidence = self._evidence.get(member.instance_id)
        assessment = None
        if image is not None and self._is_to_be_judged(image) and not is_shown:
            image = None
        if image is not None and member.captured_at is not None:
            if evidence is not None and self._is_to_be_judged(image):
                assessment, tags = self._judge(capture, image, evidence)
                image = replace(image, tags={**image.tags, **tags})
            else:
                assessment = recall(image.tags)
        return Point(member, capture.instance, image, capture.snapshots, assessment)

    def _is_to_be_judged(self, image: Image | None) -> bool:
        return image is not None and (self._record.checks == 0 or Tag.EVIDENCE not in image.tags)

    def _is_shown_whole(self, capture: Capture) -> bool:
        """Return whether EC2 shows all that was seen at the capture, or must by now."""
        captured_at = capture.member.captured_at
        if self._record.failures or captured_at is None:
            return True
        shown = {snapshot.volume_id for snapshot in capture.snapshots}
        whole = capture.image is not None and len(shown) >= capture.member.volumes
        return whole or self._now - captured_at >= IMAGE_VISIBLE

    def _gather(self) -> dict[str, Evidence | None]:
        """Return the evidence of each member by its id, or None if it has no image."""
        shared = _shared_volumes(c.member.instance_id for c in self._captures if c.instance)
        return {
            capture.member.instance_id: self._evidence_of(capture, shared)
            for capture in self._captures
        }

    def _claim(self) -> str:
        """Return whether the group was at rest as one; what holds not every volume is missing."""
        return group_claim(
            {
                c.member.instance_id: self._evidence[c.member.instance_id]
                if c.image is not None and c.image.state not in FAILED_STATES
                else None
                for c in self._captures
            }
        )

    def _evidence_of(
        self, capture: Capture, shared: Mapping[str, tuple[str, ...]]
    ) -> Evidence | None:
        member, instance = capture.member, capture.instance
        if capture.image is None or member.captured_at is None:
            return None
        return Evidence(
            method=member.method,
            state_before=member.state_before,
            capture_from=self._record.capture_from,
            volumes=member.volumes,
            snapshots=capture.snapshots,
            stop_requested_at=member.stop_requested_at,
            stopped_at=member.stopped_at,
            started_again=instance is not None and instance.state != "stopped",
            runs=instance is not None and instance.state == "running",
            launched_at=instance.launch_time if instance else None,
            running_at=member.running_at,
            shared_volumes=shared.get(member.instance_id, ()),
            freeze=member.freeze,
            scripts=member.scripts,
        )

    def _judge(
        self, capture: Capture, image: Image, evidence: Evidence
    ) -> tuple[Assessment, dict[str, str]]:
        """Assess a capture; return what it is worth, and the tags that say so on the image."""
        member, instance = capture.member, capture.instance
        assessment = assess(evidence, grace=self._grace)
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
            group_consistency=self._group_claim,
        )
        ec2.create_tags([snapshot.snapshot_id for snapshot in capture.snapshots], tags)
        # The image last: its evidence says that nothing of this is missing.
        if assessment.level is not None and member.copy_to:
            tags |= {Tag.COPYING: " ".join(member.copy_to)}
        ec2.create_tags([image.image_id], tags)
        return assessment, tags


def _shared_volumes(instance_ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    shared: dict[str, tuple[str, ...]] = {}
    for volume in volumes_attached_to(list(instance_ids)):
        if len(volume.instance_ids) > 1:
            for instance_id in volume.instance_ids:
                shared[instance_id] = (*shared.get(instance_id, ()), volume.volume_id)
    return shared
