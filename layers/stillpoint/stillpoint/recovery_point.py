"""A recovery point: how it is named and tagged, and what its evidence proves."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from stillpoint.freeze import AUTO_THAWED, FreezeProof
from stillpoint.policy import Method
from stillpoint.tags import PREFIX, Tag, compact, iso, portable

TAG_LIMIT = 50
"""Tags that a resource may carry (EC2 User Guide, "Tag your Amazon EC2 resources")."""
BORN_WITH = 4
"""Tags that `creation_tags` gives."""
ADDED_LATER = 6
"""Tags that an image may get when it is copied, shared, protected or put on hold, or when its
instance is gone."""
APP_CONSISTENT = "AppConsistent"
"""The tag that AWS's VSS document gives to a snapshot that VSS made consistent (EC2 User Guide,
"Use Systems Manager command documents to create VSS based snapshots")."""
_TAGS_OF_VSS = 3
_NAMED = 3
"""Volumes that a reason names: a tag's value holds no long list."""


class Consistency(StrEnum):
    """What was proven of a recovery point, in AWS's own terms."""

    APPLICATION = "application"
    FILE_SYSTEM = "file-system"
    CRASH = "crash"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot of a recovery point. `started_at` is when EBS initiated it.

    `kms_key_arn` is None if it is not encrypted.
    """

    snapshot_id: str
    volume_id: str
    state: str
    started_at: datetime
    completed_at: datetime | None = None
    state_message: str = ""
    kms_key_arn: str | None = None
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScriptOutcome:
    """What became of an instance's scripts: `succeeded`, `failed` or `none`.

    `post_exit` is the exit code of the post-script, if it came to an end of its own.
    """

    pre: str = "none"
    post: str = "none"
    post_exit: int | None = None


NO_SCRIPTS = ScriptOutcome()
"""What becomes of the scripts of an instance that has none."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What EC2's records say about one captured instance.

    `volumes` is the number of EBS volumes attached while it was at rest; `shared_volumes` are
    those that other instances have attached too (Multi-Attach). `capture_from` is when the capture
    began. `started_again` says that it no longer is as the backup stopped it, `runs` that it is
    running; `launched_at` is when it was last started. All three are read after the capture.
    `running_at` is when the backup saw it running again, None if it did not.
    `freeze` is None if it was not frozen for the capture.
    """

    method: Method
    state_before: str
    capture_from: datetime
    volumes: int
    snapshots: tuple[Snapshot, ...]
    stop_requested_at: datetime | None = None
    stopped_at: datetime | None = None
    started_again: bool = True
    runs: bool = True
    launched_at: datetime | None = None
    running_at: datetime | None = None
    shared_volumes: tuple[str, ...] = ()
    freeze: FreezeProof | None = None
    scripts: ScriptOutcome = NO_SCRIPTS

    @property
    def usable_snapshots(self) -> tuple[Snapshot, ...]:
        """The snapshots that hold something, or will."""
        return tuple(each for each in self.snapshots if each.state in {"pending", "completed"})

    @property
    def covers_every_volume(self) -> bool:
        """Whether each volume that was attached has a usable snapshot."""
        covered = {each.volume_id for each in self.usable_snapshots}
        return len(covered) >= self.volumes > 0


@dataclass(frozen=True, slots=True)
class Assessment:
    """The consistency level that the evidence proves, and the proof in one sentence.

    `level` is None if the image does not hold every volume: then it is no recovery point. The
    reason is written on the image as it is: it fits a tag's value and its character set.
    """

    level: Consistency | None
    reason: str


def image_name(instance_id: str, occurrence: datetime, attempt: int = 1) -> str:
    """Return the AMI's name, which is also the idempotency key of CreateImage.

    Only letters, digits and hyphens: the two character sets that AWS documents agree on these
    (EC2 API Reference, CreateImage and the error InvalidAMIName.Malformed).
    """
    again = f"-{attempt}" if attempt > 1 else ""
    return f"stillpoint-{instance_id}-{compact(occurrence)}{again}"


def creation_tags(
    *, stack: str, instance_id: str, execution: str, occurrence: datetime
) -> dict[str, str]:
    """Return the tags that an AMI and its snapshots are born with.

    They are few, because the state machine reads them back with every look at the snapshots and
    a state may hold 256 KiB. They say whose the image is and claim nothing.
    """
    return {
        Tag.STACK: stack,
        Tag.INSTANCE: instance_id,
        Tag.EXECUTION: execution,
        Tag.OCCURRENCE: iso(occurrence),
    }


def evidence_tags(  # noqa: PLR0913 (one argument a tag)
    assessment: Assessment,
    *,
    schedule: str,
    method: Method,
    retain: str,
    time_zone: str,
    copy_to: tuple[str, ...],
    group: str | None,
    stopped_at: datetime | None,
    captured_at: datetime | None,
    resumed_at: datetime | None,
    owner_tags: Mapping[str, str],
    group_consistency: str = "",
) -> dict[str, str]:
    """Return the tags that tell what a recovery point is worth and why.

    `group_consistency` says whether the recovery points of a group are of one moment. The owner's
    own tags are copied as far as there is room, `Name` first, never those of AWS (`aws:`) or of
    Stillpoint.
    """
    moments: dict[str, datetime | None] = {
        Tag.STOPPED_AT: stopped_at,
        Tag.CAPTURED_AT: captured_at,
        Tag.RESUMED_AT: resumed_at,
    }
    tags: dict[str, str] = {
        Tag.SCHEDULE: schedule,
        Tag.METHOD: method,
        Tag.RETAIN: retain,
        Tag.EVIDENCE: assessment.reason,
    } | {tag: iso(moment) for tag, moment in moments.items() if moment is not None}
    if assessment.level is not None:
        tags[Tag.CONSISTENCY] = assessment.level
    if time_zone:
        tags[Tag.TIME_ZONE] = time_zone
    if group is not None:
        tags[Tag.GROUP] = group
    if group_consistency:
        tags[Tag.GROUP_CONSISTENCY] = group_consistency
    if copy_to:
        tags[Tag.COPY_TO] = " ".join(copy_to)
    own = [
        (key, value)
        for key, value in sorted(owner_tags.items(), key=lambda tag: (tag[0] != "Name", tag[0]))
        if not key.startswith(("aws:", PREFIX))
    ]
    of_vss = _TAGS_OF_VSS if method is Method.FREEZE else 0  # it may be Windows
    room = TAG_LIMIT - len(tags) - BORN_WITH - ADDED_LATER - of_vss
    return dict(own[:room]) | {str(key): portable(value) for key, value in tags.items()}


def recall(tags: Mapping[str, str]) -> Assessment:
    """Return the assessment that an AMI's own tags hold; none of them is a claim."""
    reason = tags.get(Tag.EVIDENCE, "the evidence was not written on it")
    level = tags.get(Tag.CONSISTENCY)
    return Assessment(Consistency(level) if level in set(Consistency) else None, reason)


def assess(evidence: Evidence, *, grace: timedelta) -> Assessment:
    """Return the consistency level that the evidence proves; whatever is not proven is not claimed.

    `grace` is the longest stop that still counts as clean: EC2 cuts the power of a guest that
    "does not cleanly shut down within a few minutes" and reports the same state `stopped`
    (EC2 User Guide, "How EC2 instance stop and start works").
    """
    covered = {snapshot.volume_id for snapshot in evidence.usable_snapshots}
    if evidence.volumes < 1:
        return Assessment(None, "the volumes that were attached to it are not known")
    if len(covered) < evidence.volumes:
        return Assessment(None, f"{len(covered)} of {evidence.volumes} volumes have a snapshot")
    if evidence.state_before == "stopped":
        reason = (
            "it was stopped before this backup began: at rest but how it shut down is not known"
        )
        return Assessment(Consistency.CRASH, reason)
    if evidence.shared_volumes:
        shared = _listed(evidence.shared_volumes)
        reason = f"other instances have {shared} attached too and may have written"
        return Assessment(Consistency.CRASH, reason)
    return _with_scripts(_assess_method(evidence, grace), evidence.scripts)


def _with_scripts(assessment: Assessment, scripts: ScriptOutcome) -> Assessment:
    """Claim more if a pre-script had brought the applications to rest, and they stayed there."""
    if assessment.level is not Consistency.FILE_SYSTEM or scripts.pre != "succeeded":
        return assessment
    if scripts.post_exit == AUTO_THAWED:
        doubt = "but the applications had gone on before the post-script"
    elif scripts.post == "failed" and scripts.post_exit is None:
        doubt = "but whether its pre-script held is not known"
    else:
        reason = f"{assessment.reason} and its pre-script succeeded"
        return Assessment(Consistency.APPLICATION, reason)
    return replace(assessment, reason=f"{assessment.reason} {doubt}")


def _assess_method(evidence: Evidence, grace: timedelta) -> Assessment:
    match evidence.method:
        case Method.STOP:
            return _assess_stop(evidence, grace)
        case Method.REBOOT:
            return _assess_reboot(evidence, grace)
        case Method.FREEZE:
            return _assess_freeze(evidence)
        case Method.NONE:
            return Assessment(Consistency.CRASH, "imaged while it ran without a stop or a reboot")
        case _ as never:
            assert_never(never)


def _assess_stop(evidence: Evidence, grace: timedelta) -> Assessment:
    requested, stopped = evidence.stop_requested_at, evidence.stopped_at
    if requested is None or stopped is None or stopped < requested:
        return Assessment(Consistency.CRASH, "it was not seen to stop for this backup")
    took = stopped - requested
    if took > grace:
        return Assessment(
            Consistency.CRASH,
            f"the stop took {_seconds(took)} and a clean shutdown at most {_seconds(grace)}:"
            " EC2 may have cut the power",
        )
    usable = [snapshot.started_at for snapshot in evidence.usable_snapshots]
    at_rest = stopped.replace(microsecond=0)
    if min(usable) < at_rest:
        return Assessment(Consistency.CRASH, "a snapshot was initiated before it was seen stopped")
    proof = f"stopped in {_seconds(took)} and every snapshot initiated after {iso(stopped)}"
    launched = evidence.launched_at  # EC2 gives the time of the last start to the second
    if launched is not None and evidence.running_at is not None and launched > evidence.running_at:
        launched = None  # somebody has started it once more since the start after the capture
    if launched is not None and launched >= max(usable).replace(microsecond=0):
        reason = f"{proof} and before the start at {iso(launched)}"
        return Assessment(Consistency.FILE_SYSTEM, reason)
    if launched is not None and not evidence.started_again and launched < at_rest:
        return Assessment(Consistency.FILE_SYSTEM, f"{proof} and not started since")
    reason = "it may have been started before all snapshots were initiated"
    return Assessment(Consistency.CRASH, reason)


def _assess_reboot(evidence: Evidence, grace: timedelta) -> Assessment:
    """Judge EC2's own reboot inside CreateImage.

    EC2 "shuts down the instance, takes snapshots of any attached volumes, creates and registers
    the AMI, then reboots the instance" (EC2 User Guide, "Create an Amazon EBS-backed AMI"), and
    cuts the power of a guest that does not shut down within a few minutes: a snapshot that was
    initiated sooner than that was preceded by a clean shutdown.
    """
    launched = evidence.launched_at
    if not evidence.runs or launched is None or launched > evidence.capture_from:
        # EC2 images one that is being stopped as it is, without a reboot.
        reason = "it did not run all the while: somebody has stopped or started it"
        return Assessment(Consistency.CRASH, reason)
    usable = [snapshot.started_at for snapshot in evidence.usable_snapshots]
    if min(usable) < evidence.capture_from.replace(microsecond=0):
        reason = "a snapshot was initiated before the reboot was asked for"
        return Assessment(Consistency.CRASH, reason)
    took = max(usable) - evidence.capture_from
    if took > grace:
        return Assessment(
            Consistency.CRASH,
            f"the last snapshot was initiated {_seconds(took)} after the reboot was asked for and"
            f" a clean shutdown takes at most {_seconds(grace)}: EC2 may have cut the power",
        )
    return Assessment(
        Consistency.FILE_SYSTEM,
        f"EC2 shut it down for the image and initiated every snapshot within {_seconds(took)}",
    )


def _assess_freeze(evidence: Evidence) -> Assessment:
    """Judge a freeze by when its guest was certainly frozen."""
    freeze = evidence.freeze
    if freeze is not None and freeze.vss and not freeze.problem:
        return _assess_vss(evidence)
    if freeze is None or freeze.window is None:
        reason = freeze.problem if freeze else ""
        return Assessment(Consistency.CRASH, reason or "there is no proof that a freeze held")
    window = freeze.window
    moments = [snapshot.started_at for snapshot in evidence.usable_snapshots]
    outside = [moment for moment in moments if not window.holds(moment)]
    if outside:
        early, late = window.begin - min(moments), max(moments) - window.end
        where = (
            f"{_seconds(early)} before it was certainly frozen"
            if early > timedelta(0)
            else f"{_seconds(abs(late))} {'after' if late > timedelta(0) else 'before'} it was last"
            " certainly frozen"
        )
        return Assessment(Consistency.CRASH, f"a snapshot was initiated {where}")
    return Assessment(
        Consistency.FILE_SYSTEM,
        f"frozen for {_seconds(window.span)} at least from {iso(window.begin)} and every snapshot"
        " initiated meanwhile",
    )


def _assess_vss(evidence: Evidence) -> Assessment:
    """Judge what AWS's VSS document made, by what it says itself."""
    snapshots = evidence.usable_snapshots
    good = [each for each in snapshots if each.tags.get(APP_CONSISTENT, "").lower() == "true"]
    if len(good) < len(snapshots):
        return Assessment(
            Consistency.CRASH,
            f"the VSS document of AWS says {APP_CONSISTENT}=True of {len(good)} of"
            f" {len(snapshots)} snapshots",
        )
    return Assessment(
        Consistency.APPLICATION, f"the VSS document of AWS says {APP_CONSISTENT}=True of all of it"
    )


def _seconds(span: timedelta) -> str:
    return f"{span.total_seconds():.0f} s"


def _listed(names: tuple[str, ...]) -> str:
    """Return the first names, and how many more there are, in a text that fits a tag."""
    more = len(names) - _NAMED
    return " and ".join(names[:_NAMED] + ((f"{more} more",) if more > 0 else ()))
