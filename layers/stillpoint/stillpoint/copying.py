"""Copies in other Regions: what is still to be done, and what to do next about each.

The work list is a tag of the local recovery point, so it ends with the point and people can see
it. A copy's attempt is part of its name, so a failed copy that is still there is never counted
twice.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Self

from stillpoint.image import Image
from stillpoint.messages import Event, EventName, InstanceReport
from stillpoint.ownership import copy_name
from stillpoint.policy import MOST_REGIONS
from stillpoint.recovery_point import Snapshot, recall
from stillpoint.tags import Tag, compact, parse_iso

PENDING_DEADLINE = timedelta(days=7)
"""A copy that takes longer than this has failed."""
ALERT_AFTER_FAILURES = 3
ALERT_AFTER = timedelta(hours=24)
"""So long after the capture there has to be a copy, whatever holds it up."""
MAX_PENDING_SNAPSHOTS = 20
"""Snapshots that may be on their way to a Region at a time.

A Region takes 300 copies of AMIs at a time (EC2 User Guide, "How Amazon EC2 AMI copy works") and
20 of snapshots (Amazon EBS User Guide, "Copy an Amazon EBS snapshot"). It is not documented which
of them holds for the snapshots of an AMI; the smaller one is safe. It also keeps what one
invocation begins well below the 100 CopyImage calls that EC2 takes at once.
"""
MOST_FAILURES = 9999
"""What the tag can say for five Regions; trying twice a day, it takes 13 years."""
_PAUSES = tuple(timedelta(minutes=minutes) for minutes in (5, 15, 60, 180, 360, 720))
"""Pauses after the first failed attempt, the second, ...; the last one holds from then on."""
_BROKEN = frozenset({"failed", "error", "invalid"})
_REGION = re.compile(r"(?=.{6,20}$)[a-z]{2,5}(-[a-z]+)+-[0-9]{1,2}")
_TASK = re.compile(r"([^=:\s]+)(?:=([1-9][0-9]{0,3})@([0-9]{8}T[0-9]{6}Z))?(:alerted)?")


@dataclass(frozen=True, slots=True)
class Task:
    """One Region on a work list: how often copying there has failed, the last time at `failed_at`.

    `alerted` says that people were told.
    """

    region: str
    failures: int = 0
    failed_at: datetime | None = None
    alerted: bool = False

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the task in `eu-west-1` or `eu-west-1=2@20261122T030000Z:alerted`, or None."""
        match = _TASK.fullmatch(text)
        if match is None or not _REGION.fullmatch(match[1]):
            return None
        alerted = match[4] is not None
        if match[2] is None:
            return cls(match[1], alerted=alerted)
        try:
            return cls(match[1], int(match[2]), datetime.fromisoformat(match[3]), alerted)
        except ValueError:
            return None

    def render(self) -> str:
        """Return the task as a word of the tag's value."""
        failed = f"={self.failures}@{compact(self.failed_at)}" if self.failed_at else ""
        return f"{self.region}{failed}{':alerted' if self.alerted else ''}"

    def failed(self, attempt: int, now: datetime) -> Self:
        """Return the task after an attempt has failed; one that is counted changes nothing."""
        if attempt <= self.failures:
            return self
        return replace(self, failures=min(attempt, MOST_FAILURES), failed_at=now)

    @property
    def attempt(self) -> int:
        """The number of the next attempt."""
        return self.failures + 1

    @property
    def not_before(self) -> datetime | None:
        """When the next attempt may begin; None if there is nothing to wait for."""
        if self.failed_at is None:
            return None
        return self.failed_at + _PAUSES[min(self.failures, len(_PAUSES)) - 1]


@dataclass(frozen=True, slots=True)
class WorkList:
    """The value of `stillpoint:copying`: the Regions in which there is no copy yet."""

    tasks: tuple[Task, ...]

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the work list in a text such as `eu-west-1 us-west-2=1@20261122T030000Z`.

        It is None if the text is anything else, names a Region twice or more Regions than fit.
        """
        tasks = [Task.parse(word) for word in text.split(" ")]
        known = tuple(task for task in tasks if task is not None)
        regions = {task.region for task in known}
        if len(known) < len(tasks) or len(regions) < len(known) or len(known) > MOST_REGIONS:
            return None
        return cls(known)

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> Self:
        """Return the work list of an image.

        If its value cannot be read, nothing has begun of what the policy asks for.
        """
        listed = cls.parse(tags.get(Tag.COPYING, ""))
        if listed is not None:
            return listed
        words = dict.fromkeys(tags.get(Tag.COPY_TO, "").split())
        regions = [word for word in words if _REGION.fullmatch(word)]
        return cls(tuple(Task(region) for region in regions[:MOST_REGIONS]))

    def render(self) -> str:
        """Return the tag's value."""
        return " ".join(task.render() for task in self.tasks)

    def task(self, region: str) -> Task | None:
        """Return what is to be done in a Region, or None."""
        return next((task for task in self.tasks if task.region == region), None)

    def with_task(self, changed: Task) -> Self:
        """Return the list with this in place of what it says of the Region."""
        return replace(
            self, tasks=tuple(changed if t.region == changed.region else t for t in self.tasks)
        )

    def without(self, region: str) -> Self:
        """Return the list without a Region."""
        return replace(self, tasks=tuple(task for task in self.tasks if task.region != region))


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy in a Region, with those of its snapshots that EC2 shows there."""

    image: Image
    attempt: int
    snapshots: tuple[Snapshot, ...] = ()

    @property
    def completed(self) -> int:
        """How many of its snapshots are complete."""
        return sum(1 for snapshot in self.snapshots if snapshot.state == "completed")

    def is_whole(self, source: Image) -> bool:
        """Return whether it can be relied upon: all that the source holds is there."""
        return (
            self.image.state in {"available", "disabled"}
            and self.completed > 0
            and self.completed >= max(self.image.volumes, source.volumes)
        )

    def failure(self, now: datetime) -> str:
        """Return why it never becomes a copy, in EC2's words, or an empty text.

        A key that cannot be used shows only in the message of a snapshot (Amazon EBS User Guide,
        "Copy an Amazon EBS snapshot"). That EC2 does not show a snapshot proves nothing.
        """
        broken = [snapshot for snapshot in self.snapshots if snapshot.state == "error"]
        if self.image.state in _BROKEN or broken:
            messages = [s.state_message for s in broken if s.state_message]
            said = dict.fromkeys([*filter(None, [self.image.state_reason]), *messages])
            return f"EC2 says: {' '.join(said)}" if said else "EC2 gives no reason"
        created_at = self.image.created_at or now
        if self.image.state != "available" and now - created_at >= PENDING_DEADLINE:
            return f"it was still {self.image.state} after a week"
        return ""


class Step(StrEnum):
    """The next thing to do about one Region of one recovery point."""

    START = "start"
    WAIT = "wait"
    FAIL = "fail"
    """An attempt has failed, and is not counted yet."""
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do next, and why. `attempt` is the one that failed or is to be started.

    `copy` is the one that is done or under way, `surplus` are those to be removed.
    """

    step: Step
    reason: str
    attempt: int = 0
    copy: Copy | None = None
    surplus: tuple[Copy, ...] = ()


def attempt_of(name: str, source: Image) -> int | None:
    """Return which attempt made the copy with this name, or None if none of ours did."""
    if name == source.name:
        return 1
    number = name.removeprefix(f"{source.name}-c")
    if not number.isdecimal() or copy_name(source.name, int(number)) != name:
        return None
    return int(number)


def occurrence_of(image: Image) -> datetime:
    """Return the occurrence that an image of ours was made for."""
    return parse_iso(image.tags.get(Tag.OCCURRENCE, "")) or datetime.min.replace(tzinfo=UTC)


def decide(task: Task, source: Image, copies: Sequence[Copy], now: datetime) -> Decision:
    """Return what to do next about a Region, given all our copies of the source that are there.

    Of several copies the first attempt's that is whole stays, so that every look decides alike.
    """
    whole = sorted((c for c in copies if c.is_whole(source)), key=lambda copy: copy.attempt)
    if whole:
        others = tuple(copy for copy in copies if copy != whole[0])
        return Decision(Step.DONE, "the copy is available", copy=whole[0], surplus=others)
    broken = tuple(copy for copy in copies if copy.failure(now))
    alive = [copy for copy in copies if copy not in broken]
    if alive:
        copy = alive[0]
        reason = (
            f"the copy {copy.image.image_id} is {copy.image.state}, {copy.completed} of"
            f" {source.volumes} snapshots are complete"
        )
        return Decision(Step.WAIT, reason, copy=copy, surplus=broken)
    last = max(broken, key=lambda copy: copy.attempt, default=None)
    if last is not None and last.attempt > task.failures:
        reason = f"the copy {last.image.image_id} failed: {last.failure(now)}"
        return Decision(Step.FAIL, reason, last.attempt, surplus=broken)
    why = f"the last attempt failed: {last.failure(now)}" if last else "the last attempt failed"
    if task.not_before is not None and now < task.not_before:
        return Decision(Step.WAIT, why, surplus=broken)
    if source.state != "available":
        reason = f"{source.image_id} is {source.state} and cannot be copied"
        return Decision(Step.WAIT, reason, surplus=broken)
    reason = why if task.failures else "there is no copy yet"
    return Decision(Step.START, reason, task.attempt, surplus=broken)


def pending_snapshots(source: Image, copies: Iterable[Copy]) -> int:
    """Return how many snapshots of the source are on their way, in copies given up too."""
    pending = [copy.image for copy in copies if copy.image.state == "pending"]
    return sum(max(image.volumes, source.volumes) for image in pending)


def admit(starts: Iterable[Image], pending: int) -> list[Image]:
    """Return which copies may begin now, the oldest occurrence first.

    `pending` is how many snapshots are on their way already. None overtakes an older one that does
    not fit yet. One that never fits goes alone.
    """
    admitted: list[Image] = []
    for source in sorted(starts, key=lambda image: (occurrence_of(image), image.image_id)):
        if pending and pending + source.volumes > MAX_PENDING_SNAPSHOTS:
            break
        admitted.append(source)
        pending += source.volumes
    return admitted


def must_alert(task: Task, source: Image, now: datetime) -> bool:
    """Return whether people must be told that there is no copy, which happens once."""
    captured_at = parse_iso(source.tags.get(Tag.CAPTURED_AT, "")) or occurrence_of(source)
    late = now - captured_at >= ALERT_AFTER
    return not task.alerted and (late or task.failures >= ALERT_AFTER_FAILURES)


def client_token(source: Image, region: str, attempt: int, now: datetime) -> str:
    """Return what makes a repeated CopyImage the same request.

    It changes with the hour: EC2 answers a request that it has had with the copy of then, even if
    that is gone. Beyond the hour the copy's name keeps a second one from being made.
    """
    return f"{source.image_id}-{region}-{attempt}-{compact(now)[:11]}"


def key_for(region: str, key_arns: Iterable[str]) -> str | None:
    """Return the key of a Region: its ARN names it (`arn:aws:kms:eu-west-1:...`)."""
    return next((arn for arn in key_arns if arn.split(":")[3:4] == [region]), None)


def copy_failed(
    why: Mapping[str, str], sources: Sequence[Image], *, region: str, home: str, now: datetime
) -> Event:
    """Return the event that recovery points are not in a Region. `why` is told by image id."""
    remedy = (
        f"Nothing is lost in {home}: the recovery point stands there, and its copy is tried again"
        " for as long as it exists, in the end every 12 hours. The reason says what is missing."
        f" A key that is not accessible: allow it in its key policy, and name it in the stack"
        f" parameter CopyKmsKeyArns. A quota: have it raised in {region}. A call that is refused:"
        " the Region must be enabled for the account, and no policy of the organization may"
        " forbid it."
    )
    summary = f"There is no copy in {region}."
    return _event(EventName.COPY_FAILED, why, sources, summary, remedy, now)


def copy_given_up(sources: Sequence[Image], *, region: str, now: datetime) -> Event:
    """Return the event that copies to a Region are not tried any more."""
    why = f"The stack parameter CopyRegions does not name {region} any more."
    remedy = (
        f"If there are to be copies in {region}, put it back into CopyRegions and copy these"
        f" recovery points by hand. If not, take it out of the instances' tags {Tag.COPY_TO}."
    )
    summary = f"There is no copy in {region}, and none is tried any more."
    reasons = {source.image_id: why for source in sources}
    return _event(EventName.COPY_FAILED, reasons, sources, summary, remedy, now)


def copy_succeeded(
    copied: Mapping[str, str], sources: Sequence[Image], *, region: str, now: datetime
) -> Event:
    """Return the event that what people were alerted of is there now. `copied` are the copies."""
    why = {
        source: f"Its copy {copied_id} in {region} is available."
        for source, copied_id in copied.items()
    }
    summary = f"There is a copy in {region} now."
    return _event(EventName.COPY_SUCCEEDED, why, sources, summary, "Nothing.", now)


def _event(  # noqa: PLR0913, PLR0917 (the fields of an event)
    name: EventName,
    why: Mapping[str, str],
    sources: Sequence[Image],
    summary: str,
    remedy: str,
    now: datetime,
) -> Event:
    reports = tuple(
        InstanceReport(
            instance_id=source.tags.get(Tag.INSTANCE, ""),
            name=source.tags.get("Name", ""),
            state="",
            why=why[source.image_id],
            image_id=source.image_id,
            consistency=recall(source.tags).level,
        )
        for source in sources
    )
    occurrences = {occurrence_of(source) for source in sources}
    common = occurrences.pop() if len(occurrences) == 1 else None
    return Event(name, now, reports, remedy, summary, occurrence=common)
