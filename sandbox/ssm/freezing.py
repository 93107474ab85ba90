"""Freezing the file systems of a guest, as the stack's own document does it.

`freeze` answers before anything is frozen: its holder waits a few seconds, so that the agent has
reported, then freezes the data file systems and the root last, holds them until a thaw is asked
for or the hold is over, and thaws in reverse order. A watchdog of its own thaws after
`thawSeconds`, come what may, or when the holder dies. While the root is frozen the agent takes and
reports nothing. What is known of a freeze is in memory: it is gone when the guest goes down. A
thaw concerns the freeze of the same execution alone.

The answers are one line of JSON, moments are epoch seconds by the guest's own clock.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any, assert_never

from sandbox.ec2.faults import FaultName
from sandbox.ec2.model import Attachment, Instance
from sandbox.ec2.moments import iso
from sandbox.ec2.region import Region
from sandbox.ssm.agent import Job
from sandbox.ssm.commands import Result

# How often `thaw` looks whether the holder has ended.
_LOOK_SECONDS = 0.25
# A freeze is a violation if it lasts longer than its watchdog allows, or than this in any case.
_GRACE_SECONDS, _LONGEST_SECONDS = 5.0, 120.0
_REFUSED, _NOT_HELD, _LOST, _NO_FREEZE = 201, 201, 203, 204
# How much sooner than the watchdog the holder ends, and how much longer than the hold that waits.
_HEAD_START_SECONDS, _SPARE_SECONDS = 2.0, 5.0
_SKIPPED = ("/boot/efi",)


class _State(StrEnum):
    """How far a freeze has come."""

    PLANNED = "planned"
    FREEZING = "freezing"
    HOLDING = "holding"
    ENDED = "ended"


@dataclass(slots=True, eq=False)
class Freeze:
    """One freeze of a guest: when it is to begin and end, and how it went.

    `held_from` is when the last file system was frozen, `held_until` when the first was thawed.
    """

    region: Region
    instance: Instance
    boot: int
    owner: str
    begins_at: float
    hold_seconds: float
    thaw_seconds: float
    state: _State = _State.PLANNED
    frozen: list[Attachment] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    holder_dies: bool = False
    held_from: float | None = None
    held_until: float | None = None
    by: str = ""

    def begin(self, gaps: list[float], fails: int | None, now: float) -> None:
        """Begin to freeze; one file system after the other takes its time, data first.

        `fails` is the number of the file system that cannot be frozen.
        """
        if self.state is not _State.PLANNED or not self._in_this_boot():
            return
        self.state = _State.FREEZING
        moment = now
        for number, (attachment, gap) in enumerate(
            zip(_in_order(self.instance), gaps, strict=True)
        ):
            moment += gap
            freeze = partial(self._freeze, attachment, fails=number == fails)
            self.region.agenda.at(moment, freeze)
        longest = min(self.thaw_seconds + _GRACE_SECONDS, _LONGEST_SECONDS)
        self.region.agenda.at(now + longest + max(gaps), self._check)

    def end(self, by: str, now: float) -> None:
        """Thaw all that is frozen, if that has not been done."""
        if self.state is _State.ENDED or not self._in_this_boot():
            return
        if self.held_from is not None:
            self.held_until = now
        self.state, self.by = _State.ENDED, by
        for attachment in reversed(self.frozen):
            attachment.cache.thaw(now)
        if self.frozen:
            self.instance.record("guest_thawed", now, by=by)
        self.instance.guest.forget(self)

    def holder_ends(self, now: float) -> None:
        """Let the hold be over, unless the holder is in no state to do so."""
        if not self.holder_dies:
            self.end("hold-over", now)

    @property
    def watchdog_at(self) -> float:
        """Return when the watchdog thaws."""
        return self.begins_at + self.thaw_seconds

    def exit_code(self) -> int:
        """Return the exit code of `thaw` once the freeze has ended."""
        if self.held_from is None:
            return _NOT_HELD
        return _LOST if self.by == "auto-thaw" or self.failed else 0

    def _freeze(self, attachment: Attachment, now: float, *, fails: bool) -> None:
        """Freeze one file system; if that fails, thaw what is frozen."""
        if self.state is not _State.FREEZING or not self._in_this_boot():
            return
        if fails:
            self.failed.append(
                f"{_mount_point(self.instance, attachment)}: Operation not supported"
            )
            self.end("failed", now)
            return
        attachment.cache.freeze()
        self.frozen.append(attachment)
        if len(self.frozen) == len(self.instance.attachments):
            self.state, self.held_from = _State.HOLDING, now
            self.instance.record("guest_frozen", now)
            latest = self.watchdog_at - _HEAD_START_SECONDS
            self.region.agenda.at(min(now + self.hold_seconds, latest), self.holder_ends)

    def _check(self, now: float) -> None:
        """Note a freeze that lasts too long."""
        still = [each for each in self.frozen if each.cache.frozen]
        if self.state is not _State.ENDED and still and self._in_this_boot():
            self.region.violations.append(
                {
                    "at": iso(now),
                    "action": "SendCommand",
                    "by": "",
                    "instances": [self.instance.instance_id],
                    "what": f"a file system is frozen since {now - self.begins_at:.0f} s",
                }
            )

    def _in_this_boot(self) -> bool:
        """Say whether the guest is still in the boot in which it was to be frozen."""
        return self.instance.guest_up and self.instance.guest.boots == self.boot


@dataclass(slots=True)
class Freezer:
    """The freezes of all guests, the latest of each by instance id."""

    _freezes: dict[str, Freeze] = field(default_factory=dict)

    def run(self, job: Job, now: float) -> None:
        """Do what the document's parameter `command` says."""
        match job.value("command"):
            case "freeze":
                self._begin(job, now)
            case "thaw":
                self._thaw(job, now)
            case _:
                self._answer_dry_run(job, now)

    def _begin(self, job: Job, now: float) -> None:
        """Answer, and let the holder freeze a while later."""
        answered_at = now + job.draw("freeze_command_seconds")
        hold, thaw = _seconds(job, "holdSeconds"), _seconds(job, "thawSeconds")
        problem = self._problem(job.instance)
        if thaw < hold + _SPARE_SECONDS:
            problem = "thawSeconds has to be 5 more than holdSeconds"
        if problem:
            job.at(answered_at, partial(_finish, job, Result(_REFUSED, stderr=problem)))
            return
        begins_at = answered_at + job.physics.freeze_lead_seconds
        freeze = Freeze(
            job.region,
            job.instance,
            job.instance.guest.boots,
            job.value("executionId"),
            begins_at,
            hold,
            thaw,
        )
        self._freezes[job.instance.instance_id] = freeze
        self._set_going(job, freeze)
        answer = {
            "now": self._guest_time(job, answered_at),
            "from": self._guest_time(job, begins_at),
            "until": self._guest_time(job, begins_at + freeze.hold_seconds),
            "filesystems": _mount_points(job.instance, _in_order(job.instance)),
            "skipped": list(_SKIPPED),
        }
        job.at(answered_at, partial(_finish, job, Result(stdout=_line(answer))))

    def _set_going(self, job: Job, freeze: Freeze) -> None:
        """Put on the agenda what the holder and the watchdog do; they outlive the command."""
        agenda, begins_at = job.region.agenda, freeze.begins_at
        gaps = [job.draw("file_system_seconds") for _ in job.instance.attachments]
        fails = len(gaps) - 1 if FaultName.FREEZE_FAILS in job.faults else None
        watchdog_at = freeze.watchdog_at
        if dies := job.faults.get(FaultName.AUTO_THAW_FIRES):
            freeze.holder_dies = True
            watchdog_at = min(watchdog_at, begins_at + dies.delay_seconds)
        job.instance.guest.when_down(freeze, partial(freeze.end, "down"))
        agenda.at(begins_at, partial(freeze.begin, gaps, fails))
        agenda.at(watchdog_at, partial(freeze.end, "auto-thaw"))

    def _thaw(self, job: Job, now: float) -> None:
        """Ask for the thaw if the freeze still holds, and answer how it ended."""
        freeze = self._latest(job.instance)
        if freeze is None or freeze.owner != job.value("executionId"):
            result = Result(_NO_FREEZE, stderr="there was no such freeze")
            job.at(now + job.draw("thaw_command_seconds"), partial(_finish, job, result))
            return
        if not freeze.holder_dies or freeze.state is _State.PLANNED:
            freeze.end("asked", now)
        self._await_end(job, freeze, now)

    def _await_end(self, job: Job, freeze: Freeze, now: float) -> None:
        """Answer once the freeze has ended."""
        match freeze.state:
            case _State.PLANNED | _State.FREEZING | _State.HOLDING:
                again = partial(self._await_end, job, freeze)
                job.at(now + _LOOK_SECONDS, again)
            case _State.ENDED:
                moment = now + job.draw("thaw_command_seconds")
                answer = {
                    "now": self._guest_time(job, moment),
                    "from": self._guest_time(job, freeze.held_from),
                    "until": self._guest_time(job, freeze.held_until),
                    "by": freeze.by,
                    "filesystems": _mount_points(job.instance, freeze.frozen),
                    "failed": freeze.failed,
                }
                result = Result(freeze.exit_code(), stdout=_line(answer))
                job.at(moment, partial(_finish, job, result))
            case _:
                assert_never(freeze.state)

    def _answer_dry_run(self, job: Job, now: float) -> None:
        """Say what would be frozen."""
        moment = now + job.draw("freeze_command_seconds")
        problem = self._problem(job.instance)
        answer = {
            "now": self._guest_time(job, moment),
            "filesystems": _mount_points(job.instance, _in_order(job.instance)),
            "skipped": list(_SKIPPED),
        }
        result = Result(_REFUSED, stderr=problem) if problem else Result(stdout=_line(answer))
        job.at(moment, partial(_finish, job, result))

    def _latest(self, instance: Instance) -> Freeze | None:
        """Return the latest freeze since the guest's boot."""
        freeze = self._freezes.get(instance.instance_id)
        return freeze if freeze and freeze.boot == instance.guest.boots else None

    def _problem(self, instance: Instance) -> str:
        """Return why nothing can be frozen, or an empty text."""
        if not instance.guest.freezable:
            return "fsfreeze is not installed"
        freeze = self._latest(instance)
        if freeze and freeze.state is not _State.ENDED:
            return "another freeze is in progress"
        return ""

    @staticmethod
    def _guest_time(job: Job, moment: float | None) -> float | None:
        """Return a moment as the guest's clock shows it."""
        skew = job.instance.guest.clock_skew_seconds
        return None if moment is None else round(moment + skew, 3)


def _in_order(instance: Instance) -> list[Attachment]:
    """Return what is frozen, in order: the root last."""
    root = instance.facts["RootDeviceName"]
    return sorted(instance.attachments, key=lambda one: (one.device == root, one.device))


def _mount_points(instance: Instance, attachments: Iterable[Attachment]) -> list[str]:
    """Return where some file systems are mounted, in the order that is given."""
    return [_mount_point(instance, attachment) for attachment in attachments]


def _mount_point(instance: Instance, attachment: Attachment) -> str:
    """Return where the file system of a volume is mounted."""
    if attachment.device == instance.facts["RootDeviceName"]:
        return "/"
    return f"/mnt/{attachment.device.rpartition('/')[2]}"


def _seconds(job: Job, parameter: str) -> float:
    """Return a number of seconds among the parameters; none counts as none."""
    text = job.value(parameter)
    return float(text) if text.isdecimal() else 0.0


def _finish(job: Job, result: Result, now: float) -> None:
    """End a job; the agenda gives the moment last."""
    job.finish(result, now)


def _line(answer: dict[str, Any]) -> str:
    """Return an answer as one line of JSON."""
    return json.dumps(answer) + "\n"
