"""Copying recovery points to other Regions: one look at the whole work list.

Whatever a look does not get done, or an earlier one was cut short in, the next one finds again on
the images. So each step may be taken twice, and its trace is written before what it hides.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, assert_never

from aws_lambda_powertools.metrics import MetricUnit

from stillpoint.aws import aftermath, copies, ec2
from stillpoint.aws.copies import Start
from stillpoint.aws.notifications import publish
from stillpoint.aws.safeguards import apply_safeguards, report_safeguards
from stillpoint.aws.settings import CopySettings
from stillpoint.aws.telemetry import logger, metrics
from stillpoint.copying import (
    Copy,
    Decision,
    Step,
    Task,
    WorkList,
    admit,
    copy_failed,
    copy_given_up,
    copy_succeeded,
    decide,
    must_alert,
    pending_snapshots,
)
from stillpoint.errors import AwsRefused, AwsUnavailable, CopyIncomplete, StillpointError
from stillpoint.image import Image
from stillpoint.messages import EventName
from stillpoint.tags import Tag

RESERVE_SECONDS = 30
"""Nothing is begun any more when so little is left of an invocation's time."""
_COPYABLE = frozenset({"available", "disabled"})
"""States of a local image in which its work list is looked at. What becomes of one that is pending
or has failed is up to its backup."""


def copy_recovery_points(
    settings: CopySettings, now: datetime, remaining: Callable[[], float]
) -> dict[str, Any]:
    """Look at every recovery point that is still to be copied, and take the steps that are due.

    `remaining` says how many seconds are left of the invocation. Returns what was `started`,
    `completed`, is `waiting` or has `failed`, each as a list of `{"image_id", "region"}`. Raises
    CopyIncomplete at the end if something could not be done now: the next look does it. A Region
    that does not answer holds up none of the others, and a quota that is reached is no error.
    """
    look = _Look(settings, now, remaining)
    look.attempt("the work list", look.carry_out)
    metrics.add_metric("CopiesPending", MetricUnit.Count, look.pending)
    if look.failures:
        failures = "; ".join(f"{what}: {why}" for what, why in look.failures.items())
        raise CopyIncomplete(failures[:2000])
    return {
        outcome: [{"image_id": image_id, "region": region} for image_id, region in sorted(pairs)]
        for outcome, pairs in look.outcomes.items()
    }


@dataclass(slots=True)
class _Point:
    """A local recovery point with its work list, which changes as the look goes on.

    `edits` are the changes of this look, `written` is the value that it wrote last.
    """

    image: Image
    work: WorkList
    edits: list[Callable[[WorkList], WorkList]] = field(default_factory=list)
    written: str | None = None

    def change(self, edit: Callable[[WorkList], WorkList]) -> None:
        """Change the work list on the image as it is now, and take it off when it is done.

        Another invocation may have changed it since it was read, and what this one has written may
        not be shown yet (EC2 Developer Guide, "Eventual consistency"): so all changes of this look
        are made again. An image that has been removed meanwhile needs no copies.
        """
        self.edits.append(edit)
        image = copies.read_again(self.image.image_id)
        shown = image.tags.get(Tag.COPYING) if image else None
        if image is None or shown is None:
            self.work = WorkList(())
            return
        work = WorkList.of(image.tags)
        for each in self.edits:
            work = each(work)
        self.work = work
        value = shown if self.written is None else self.written
        if not work.tasks:
            ec2.delete_tag(image.image_id, Tag.COPYING, value)
        elif work.render() != value:
            ec2.create_tags([image.image_id], {Tag.COPYING: work.render()})
            self.written = work.render()


@dataclass(slots=True)
class _Job:
    """One Region of one recovery point. `why` says why there is no copy there, in the end."""

    point: _Point
    task: Task
    decision: Decision = field(default_factory=lambda: Decision(Step.WAIT, ""))
    why: str = ""

    @property
    def image(self) -> Image:
        return self.point.image

    def change(self, edit: Callable[[Task], Task]) -> None:
        """Write what has changed about the Region, if it is still on the work list."""

        def edit_list(work: WorkList) -> WorkList:
            self.task = edit(work.task(self.task.region) or self.task)
            return work.with_task(self.task)

        self.point.change(edit_list)

    def finish(self) -> None:
        """Take the Region off the work list."""
        self.point.change(lambda work: work.without(self.task.region))


class _Look:
    """One invocation: `failures` are what does not work now; the rest goes on."""

    def __init__(
        self, settings: CopySettings, now: datetime, remaining: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._now = now
        self._remaining = remaining
        self.failures: dict[str, str] = {}
        self.outcomes: dict[str, set[tuple[str, str]]] = {
            "started": set(),
            "completed": set(),
            "waiting": set(),
            "failed": set(),
        }
        self._listed: list[_Point] = []

    @property
    def pending(self) -> int:
        """How many copies there are still to be."""
        return sum(len(point.work.tasks) for point in self._listed)

    def attempt(self, what: str, action: Callable[[], object]) -> bool:
        """Do something and return whether it worked; if not, the next look tries again."""
        try:
            action()
        except StillpointError as error:
            logger.exception("A part of the copying failed", extra={"what": what})
            self.failures[what] = str(error)
            return False
        return True

    def carry_out(self) -> None:
        self._listed = [
            _Point(image, WorkList.of(image.tags))
            for image in copies.with_work(self._settings.stack_name)
        ]
        points = [point for point in self._listed if point.image.state in _COPYABLE]
        for point in self._listed:
            if point not in points:
                pairs = {(point.image.image_id, task.region) for task in point.work.tasks}
                self.outcomes["waiting"] |= pairs
            elif not point.work.tasks:  # it cannot be read, and its policy names no Region
                self.attempt(point.image.image_id, partial(point.change, lambda work: work))
        for region in sorted({task.region for point in points for task in point.work.tasks}):
            jobs = [_Job(p, task) for p in points if (task := p.work.task(region)) is not None]
            if region in self._settings.copy_regions:
                self.attempt(region, partial(self._look_at, region, jobs))
            else:
                self.attempt(region, partial(self._give_up, region, jobs))

    def _look_at(self, region: str, jobs: list[_Job]) -> None:
        """Take the steps that are due in one Region."""
        sources = [job.image for job in jobs]
        try:
            found = copies.copies_of(sources, region=region, settings=self._settings)
        except StillpointError as error:
            for job in jobs:
                job.why = f"EC2 there could not be asked: {error}"
            self._conclude(region, jobs)
            raise
        pending = 0
        for job in jobs:
            there = found.get(job.image.image_id, [])
            pending += pending_snapshots(job.image, there)
            job.decision = decide(job.task, job.image, there, self._now)
            job.why = job.decision.reason
        self._count_failures(region, jobs)
        self._start(region, jobs, pending)
        done = [job for job in jobs if job.decision.step is Step.DONE]
        self._conclude(region, [job for job in jobs if job not in done])
        self._remove_surplus(region, jobs)
        self._complete(region, done)

    def _in_time(self, jobs: Iterable[_Job]) -> Iterator[_Job]:
        """Return the jobs for as long as there is time for another one."""
        for job in jobs:
            if self._remaining() < RESERVE_SECONDS:
                logger.warning("The time is up: the next look goes on")
                return
            yield job

    def _count_failures(self, region: str, jobs: Sequence[_Job]) -> None:
        for job in self._in_time(jobs):
            if job.decision.step is Step.FAIL:
                self._failed(region, job, job.decision.attempt)

    def _failed(self, region: str, job: _Job, attempt: int) -> None:
        """Write on the image that an attempt failed, before anything of it is removed."""
        logger.warning(
            "A copy failed",
            extra={"image": job.image.image_id, "to": region, "attempt": attempt, "why": job.why},
        )
        what = f"{job.image.image_id} to {region}"
        count = partial(job.change, lambda task: task.failed(attempt, self._now))
        if self.attempt(what, count):
            self._note("failed", region, job)
        else:
            # Not counted: what is there of it must stay, for the next look to count.
            job.decision = replace(job.decision, surplus=())

    def _start(self, region: str, jobs: Sequence[_Job], pending: int) -> None:
        """Start as many copies as may be on their way, the oldest first."""
        waiting = {j.image.image_id: j for j in jobs if j.decision.step is Step.START}
        admitted = admit((job.image for job in waiting.values()), pending)
        queue = [waiting[image.image_id] for image in admitted]
        held_up = ""
        for job in self._in_time(queue):
            held_up = self._start_one(region, job)
            if held_up:
                break
        settled = self._settled
        for job in waiting.values():
            if (job.image.image_id, region) not in settled and not job.task.failures:
                job.why = held_up or "others are on their way to the Region before it"

    def _start_one(self, region: str, job: _Job) -> str:
        """Start one copy. Return why no other can be started now, or an empty text."""
        attempt = job.decision.attempt
        try:
            outcome = copies.start_copy(
                job.image, attempt, region=region, settings=self._settings, now=self._now
            )
        except AwsUnavailable as error:
            self.failures[f"{job.image.image_id} to {region}"] = str(error)
            return str(error)
        except AwsRefused as error:
            job.why = f"AWS refused {error}"
            self._failed(region, job, attempt)
            return ""
        match outcome:
            case Start.STARTED:
                job.why = job.why if job.task.failures else "the copy has just begun"
                self._note("started", region, job)
            case Start.NAME_TAKEN:
                job.why = "another image in the Region has the name that the copy would have"
                self._failed(region, job, attempt)
            case Start.QUOTA_REACHED:
                logger.info("The quota of a Region is reached", extra={"to": region})
                return "as many copies are on their way to the Region as its quota allows"
            case _:
                assert_never(outcome)
        return ""

    @property
    def _settled(self) -> set[tuple[str, str]]:
        return self.outcomes["started"] | self.outcomes["failed"]

    def _conclude(self, region: str, jobs: Sequence[_Job]) -> None:
        """Tell people of the copies that are overdue, and wait for the rest."""
        settled = self._settled
        for job in jobs:
            if (job.image.image_id, region) not in settled:
                self._note("waiting", region, job)
        overdue = [job for job in jobs if must_alert(job.task, job.image, self._now)]
        if not overdue:
            return
        event = copy_failed(
            {job.image.image_id: _sentence(job.why) for job in overdue},
            [job.image for job in overdue],
            region=region,
            home=self._settings.region,
            now=self._now,
        )
        if not self.attempt(event.name, partial(publish, self._settings.topic_arn, event)):
            return
        metrics.add_metric(EventName.COPY_FAILED, MetricUnit.Count, len(overdue))
        for job in self._in_time(overdue):
            what = f"{job.image.image_id} to {region}"
            self.attempt(what, partial(job.change, lambda task: replace(task, alerted=True)))

    def _give_up(self, region: str, jobs: Sequence[_Job]) -> None:
        """Take a Region that the stack may not copy to any more off the work lists."""
        event = copy_given_up([job.image for job in jobs], region=region, now=self._now)
        if not self.attempt(event.name, partial(publish, self._settings.topic_arn, event)):
            return
        metrics.add_metric(EventName.COPY_FAILED, MetricUnit.Count, len(jobs))
        for job in self._in_time(jobs):
            what = f"{job.image.image_id} to {region}"
            if self.attempt(what, job.finish):
                self._note("failed", region, job)

    def _remove_surplus(self, region: str, jobs: Sequence[_Job]) -> None:
        """Remove the failed copies. What stays is found again, or by the daily sweep."""
        for job in self._in_time(jobs):
            for copy in job.decision.surplus:
                aftermath.discard(copy.image, copy.snapshots, region=region)

    def _complete(self, region: str, jobs: Sequence[_Job]) -> None:
        """Share, lock and protect what is there, and take it off the work list."""
        for job in self._in_time(jobs):
            copy = job.decision.copy
            what = f"{job.image.image_id} to {region}"
            if copy is None or not self.attempt(what, partial(self._finish, region, job, copy)):
                self._note("waiting", region, job)
                continue
            metrics.add_metric(EventName.COPY_SUCCEEDED, MetricUnit.Count, 1)
            self._note("completed", region, job)

    def _finish(self, region: str, job: _Job, copy: Copy) -> None:
        """Take the Region off last: without it, no look comes back for what is not done yet."""
        safeguards = self._settings.safeguards
        troubles = apply_safeguards(
            copy.image, copy.snapshots, safeguards, region=region, now=self._now
        )
        topic = self._settings.topic_arn
        applied = [(copy.image, troubles)]
        self._even_if_refused(
            f"the safeguards of {copy.image.image_id}",
            partial(report_safeguards, applied, topic_arn=topic, now=self._now, region=region),
        )
        if job.task.alerted:
            copied = {job.image.image_id: copy.image.image_id}
            event = copy_succeeded(copied, [job.image], region=region, now=self._now)
            self._even_if_refused(event.name, partial(publish, topic, event))
        job.finish()

    def _even_if_refused(self, what: str, action: Callable[[], object]) -> None:
        """Tell something that must not be lost, but need not succeed if AWS refuses it for good."""
        try:
            action()
        except AwsRefused as error:
            logger.exception("AWS refused a part of the copying", extra={"what": what})
            self.failures[what] = str(error)

    def _note(self, outcome: str, region: str, job: _Job) -> None:
        self.outcomes[outcome].add((job.image.image_id, region))


def _sentence(why: str) -> str:
    return f"{why[:1].upper()}{why[1:]}".rstrip(".") + "."
