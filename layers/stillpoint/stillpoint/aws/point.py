"""One member of a backup that is being completed: what was made of it, and what that is worth."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from stillpoint.aws.aftermath import FAILED_STATES
from stillpoint.image import Image
from stillpoint.instance import Instance
from stillpoint.messages import InstanceReport
from stillpoint.outcome import Failure, Member
from stillpoint.recovery_point import Assessment, Snapshot

AMI_DEADLINE = timedelta(hours=24)
"""An AMI takes "sometimes up to 24 hours" (EC2 User Guide, "Create an Amazon EBS-backed AMI")."""
IMAGE_TIMED_OUT = "ImageTimedOut"
"""Said of an image that is pending for too long. It is proven, so it is kept."""
IMAGE_VISIBLE = timedelta(minutes=10)
"""EC2 may not show at once what it has made (EC2 Developer Guide, "Eventual consistency")."""


@dataclass(frozen=True, slots=True)
class Point:
    """A member with what was made of it and what that is worth."""

    member: Member
    instance: Instance | None
    image: Image | None
    snapshots: tuple[Snapshot, ...]
    assessment: Assessment | None

    def failures(self, now: datetime) -> list[Failure]:
        """Return why there is, or will be, no recovery point."""
        instance_id, captured_at = self.member.instance_id, self.member.captured_at
        if self.image is None and captured_at is not None and now - captured_at < IMAGE_VISIBLE:
            return []
        if self.image is None or self.assessment is None or captured_at is None:
            return [Failure("complete", "ImageMissing", "There is no image.", instance_id)]
        image = self.image
        if image.state in FAILED_STATES:
            reason = image.state_reason or "EC2 gives no reason."
            cause = f"The image {image.image_id} is in state {image.state}. {reason}"
            return [Failure("complete", "ImageFailed", cause, instance_id)]
        if self.assessment.level is None:
            cause = f"The image {image.image_id} is incomplete: {self.assessment.reason}."
            return [Failure("complete", "SnapshotFailed", cause, instance_id)]
        if image.state != "available" and now - captured_at > AMI_DEADLINE:
            cause = f"The image {image.image_id} is still {image.state} after 24 hours."
            return [Failure("complete", IMAGE_TIMED_OUT, cause, instance_id)]
        return []

    def is_good(self, now: datetime) -> bool:
        """Whether it is a recovery point, or becomes one when its image is available."""
        found = {failure.error for failure in self.failures(now)} - {IMAGE_TIMED_OUT}
        return self.image is not None and self.assessment is not None and not found

    @property
    def is_down(self) -> bool:
        """Whether it was stopped by the backup and does not run now."""
        gone = self.instance is None or self.instance.state in {"terminated", "shutting-down"}
        return self.member.was_stopped and not gone and self.state not in {"running", "pending"}

    @property
    def state(self) -> str:
        """The instance's EC2 state now."""
        return self.instance.state if self.instance else "terminated"

    def report(self, failures: tuple[Failure, ...] = ()) -> InstanceReport:
        """Return what there is to say about the member."""
        own = [f.sentence for f in failures if f.instance_id == self.member.instance_id]
        return InstanceReport(
            instance_id=self.member.instance_id,
            name=self.member.name,
            state=self.state,
            why=" ".join(own) or (self.assessment.reason if self.assessment else ""),
            image_id=self.image.image_id if self.image else None,
            consistency=self.assessment.level if self.assessment else None,
            downtime=self.member.downtime,
        )
