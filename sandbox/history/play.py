"""Playing a story: day after day, in full or on the short way."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from sandbox.clock import iso
from sandbox.ec2 import Physics
from sandbox.history import shortcut
from sandbox.history.backups import Backups
from sandbox.history.judge import Judge
from sandbox.history.ledger import Ledger
from sandbox.history.owner import DAY, Owner
from sandbox.history.story import AWAY, Story, Verb
from sandbox.virtual.cloud import Cloud, running
from sandbox.virtual.mischief import Fault, Kind
from sandbox.virtual.stack import REGION

BEGIN: Final = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE: Final = 60.0
HOUR: Final = 3600.0
_DEEDS_AT: Final = 40 * MINUTE
_TICK: Final = 5 * MINUTE
# A copy that is not there so long after a backup takes a day or more: it is looked at less often.
_BUSY: Final = 1.5 * HOUR
_TICK_OF_TROUBLE: Final = 3 * HOUR
_PRUNER, _COPIER = "prune_recovery_points", "copy_recovery_points"
# Years are long: on the short way images and copies take minutes.
_BRISK: Final = {"image_seconds": (180, 300), "copy_seconds": (120, 240)}
_CRASHES: Final = {
    Verb.CRASH_PRUNING: (Kind.CRASH_AFTER, _PRUNER, "DeregisterImage", 1),
    Verb.CRASH_COPYING: (Kind.CRASH_AFTER, _COPIER, "CopyImage", 0),
    Verb.ANSWER_LOST: (Kind.RESPONSE_LOST, _PRUNER, "DeregisterImage", 0),
}


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a history, ready for JSON. `spared` tells of what stays although it expired."""

    days: int
    full: bool
    counts: dict[str, int]
    kept: dict[str, int]
    spared: dict[str, list[str]]
    violations: list[str]
    wrong: list[str]
    orphans: list[str]
    told: dict[str, int]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return it as a dictionary."""
        return asdict(self)


def play(story: Story, *, full: bool, seed: str) -> Result:
    """Play a story to its end. The process must live in virtual time already.

    `full` goes through the planner, the state machine, IAM and botocore; otherwise backups are
    made directly and the functions' calls take the short way.
    """
    begun = time.process_time()
    cloud = Cloud(
        seed=seed,
        start=BEGIN.timestamp() - HOUR,
        parameters={
            "TickInterval": "15",
            "CopyRegions": AWAY,
            "FinalRetention": f"{story.final_days}d",
            "NotifySuccess": "false",
            "LogLevel": "ERROR",
        },
        faults=tuple(_faults(story, full=full)),
        physics=None if full else Physics().changed(_BRISK),
    )
    way = nullcontext() if full else shortcut.taken(cloud)
    with running(cloud, seed), way:
        history = (_Full if full else _Short)(cloud, story)
        history.play()
        return history.result(time.process_time() - begun)


def _faults(story: Story, *, full: bool) -> Iterator[Fault]:
    """Return what strikes the functions; each is armed from the evening before its day."""
    for deed in (each for each in story.deeds if each.day < story.days):
        after = HOUR + deed.day * DAY
        if deed.verb in _CRASHES:
            kind, caller, action, skip = _CRASHES[deed.verb]
            yield Fault(kind, caller, action, after=after - MINUTE, skip=skip)
        elif deed.verb is Verb.CUT_OFF and full:
            yield Fault(Kind.STOPPED, "DescribeSnapshots", after=after + HOUR)


class _History(ABC):
    """The days of a story in one cloud."""

    def __init__(self, cloud: Cloud, story: Story) -> None:
        self._cloud = cloud
        self._story = story
        self._ledger = Ledger(cloud.world)
        parameters = cloud.stack.parameters
        self._judge = Judge(
            self._ledger,
            default_retain=parameters["DefaultRetain"],
            final=timedelta(days=story.final_days),
        )
        self._owner = Owner(cloud, self._ledger, self._judge)

    def play(self) -> None:
        """Let the days pass, and one more sweep after them."""
        for region in (REGION, AWAY):
            self._owner.settle_in(region)
        for day in range(self._story.days):
            self._begin_day(day)
            self._spend_day(day, self._midnight(day))
        self._begin_day(self._story.days)

    def result(self, seconds: float) -> Result:
        """Return what came of it."""
        judge, errors = self._judge, self._cloud.lambdas.errors
        kept: dict[str, int] = {REGION: 0, AWAY: 0}
        for made in self._ledger.ours():
            kept[made.region] += made.is_point
        told: dict[str, int] = {}
        for message in self._cloud.journal.messages:
            told[message.event or "notice"] = told.get(message.event or "notice", 0) + 1
        counts = {**judge.counts, "calls": len(self._cloud.world.calls), "failures": len(errors)}
        surprises = list(dict.fromkeys(self._cloud.journal.surprises))
        return Result(
            days=self._story.days,
            full=isinstance(self, _Full),
            counts=counts,
            kept=kept,
            spared=judge.spared(),
            violations=[*judge.violations(), *surprises, *self._idle(), *self._failures()],
            wrong=judge.wrong,
            orphans=list(judge.orphans.values()),
            told=told,
            seconds=seconds,
        )

    def _idle(self) -> Iterator[str]:
        """Return what was to go wrong and never did."""
        for fault in self._cloud.mischief.idle():
            yield f"the fault {fault.kind} at {fault.caller} never struck"
        for row in self._cloud.world.faults.list():
            if not row["hits"]:
                yield f"the fault {row['name']} of {row['instance'] or row['region']} never struck"

    def _failures(self) -> Iterator[str]:
        """Return which functions failed on days on which nothing went wrong for them."""
        for at, function, error in self._cloud.lambdas.errors:
            day = int((at - BEGIN.timestamp()) // DAY)
            if not self._story.troubles(day):
                yield f"{function} failed at {iso(at)}: {error}"

    def _begin_day(self, day: int) -> None:
        """Let the daily sweep come, compare, and let the owner do what is his."""
        midnight = self._midnight(day)
        if not self._story.is_silent(day - 1):
            self._sweep(midnight)
        self._cloud.run_until(midnight + _DEEDS_AT / 2)
        if not self._story.disturbs(day):
            now = self._cloud.scheduler.now()
            self._judge.compare(*(datetime.fromtimestamp(at, UTC) for at in (midnight, now)))
        self._cloud.run_until(midnight + _DEEDS_AT)
        if day < self._story.days:
            for deed in self._story.deeds_of(day):
                self._owner.does(deed)
                self._cloud.run_until(self._cloud.scheduler.now() + 2)

    @abstractmethod
    def _sweep(self, midnight: float) -> None:
        """Let the sweep come that is due at a midnight, in epoch seconds."""

    @abstractmethod
    def _spend_day(self, day: int, midnight: float) -> None:
        """Let a day pass that began at a midnight, in epoch seconds."""

    @staticmethod
    def _midnight(day: int) -> float:
        return BEGIN.timestamp() + day * DAY


class _Full(_History):
    """Everything is real; the schedule rules are silent while nothing can be due."""

    def __init__(self, cloud: Cloud, story: Story) -> None:
        super().__init__(cloud, story)
        cloud.rules.quiet_until = self._midnight(0)

    def _sweep(self, midnight: float) -> None:
        self._cloud.run_until(midnight + 6 * MINUTE)

    def _spend_day(self, day: int, midnight: float) -> None:
        rules = self._cloud.rules
        if self._story.is_silent(day):
            rules.quiet_until = midnight + DAY + _DEEDS_AT
            return
        rules.quiet_until = midnight + 2 * HOUR
        self._cloud.run_until(midnight + 6 * HOUR)
        rules.quiet_until = midnight + DAY - MINUTE


class _Short(_History):
    """Backups are made directly, and the functions are called when the rules would call them."""

    def __init__(self, cloud: Cloud, story: Story) -> None:
        super().__init__(cloud, story)
        self._backups = Backups(cloud, self._ledger, self._owner, cloud.stack.parameters)
        cloud.rules.quiet_until = math.inf  # the schedule rules send nothing by themselves

    def _sweep(self, midnight: float) -> None:
        self._cloud.run_until(midnight)
        self._invoke(_PRUNER)

    def _spend_day(self, day: int, midnight: float) -> None:
        """Let the backups come, and look after the copies as long as there are any to make."""
        if self._story.is_silent(day):
            return
        now = self._cloud.scheduler.now()
        due = [*self._backups.plan(max(midnight, now - _DEEDS_AT), midnight + DAY), midnight + DAY]
        end = midnight + DAY - _TICK
        while now < end:
            following = next(moment for moment in due if moment > now) + _TICK
            if self._ledger.copying():
                is_fresh = any(moment < now < moment + _BUSY for moment in due)
                following = min(following, now + (_TICK if is_fresh else _TICK_OF_TROUBLE))
                self._invoke(_COPIER)
            now = min(following, end)
            self._cloud.run_until(now)

    def _invoke(self, function: str) -> None:
        """Let a schedule rule call a function."""
        logical_id = next(
            name for name, folder in self._cloud.stack.folders.items() if folder.name == function
        )
        event = {"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}
        work = partial(self._cloud.lambdas.invoke_later, logical_id, event)
        self._cloud.scheduler.spawn(f"rule -> {function}", work)
