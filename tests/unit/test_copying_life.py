"""The life of many copies to a Region, in which anything may fail, hang, be lost or be cut short.

The Region and the looks at the work list are simulated; what is decided is the product's own.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, auto

from hypothesis import given
from hypothesis import strategies as st

from stillpoint.copying import (
    ALERT_AFTER,
    MAX_PENDING_SNAPSHOTS,
    Copy,
    Step,
    Task,
    admit,
    attempt_of,
    decide,
    must_alert,
    pending_snapshots,
)
from stillpoint.image import Image
from stillpoint.ownership import copy_name
from stillpoint.recovery_point import Snapshot
from tests.unit.copied import NOW, OCCURRENCE, a_source

DAYS = 16
QUIET_AFTER = NOW + timedelta(days=6)
"""From then on nothing goes wrong any more."""


class Fate(Enum):
    """What becomes of an attempt."""

    REFUSED = auto()
    FAILS = auto()
    HANGS = auto()
    SUCCEEDS = auto()


@dataclass(slots=True)
class There:
    """A copy in the simulated Region."""

    name: str
    source: Image
    began: datetime
    ends: datetime
    fate: Fate

    def state(self, now: datetime) -> str:
        if self.fate is Fate.HANGS or now < self.ends:
            return "pending"
        return "available" if self.fate is Fate.SUCCEEDS else "failed"

    def shown(self, now: datetime) -> Image:
        return Image(
            f"copy-{self.name}", self.name, self.state(now), "", {}, self.source.volumes,
            created_at=self.began,
        )  # fmt: skip


@dataclass(slots=True)
class Life:
    """A Region, the work list of some recovery points, and what has been seen of them."""

    sources: list[Image]
    fates: dict[str, list[Fate]]
    hours: float
    tasks: dict[str, Task | None] = field(init=False)
    there: dict[str, There] = field(default_factory=dict)
    started: dict[str, list[datetime]] = field(default_factory=dict)
    alerts: dict[str, list[datetime]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tasks = {source.image_id: Task("us-west-2") for source in self.sources}

    def copies(self, source: Image, now: datetime) -> list[Copy]:
        """Return what EC2 shows of the copies of one recovery point."""
        found = []
        for copy in self.there.values():
            attempt = attempt_of(copy.name, source)
            if copy.source is source and attempt is not None:
                state = "completed" if copy.state(now) == "available" else "pending"
                snapshots = [
                    Snapshot(f"{copy.name}-{n}", "vol-ffffffff", state, copy.began)
                    for n in range(source.volumes)
                ]
                found.append(Copy(copy.shown(now), attempt, tuple(snapshots)))
        return found

    def look(self, now: datetime, changes: int) -> None:
        """Look at everything once; the invocation is cut short after so many changes."""
        with suppress(StopIteration):
            self._look(now, iter(range(changes)))

    def _look(self, now: datetime, left: Iterator[int]) -> None:
        """Take the steps in the order in which the function takes them."""
        listed = [source for source in self.sources if self.tasks[source.image_id] is not None]
        there = {source.image_id: self.copies(source, now) for source in listed}
        steps = [
            (source, decide(self.task(source), source, there[source.image_id], now))
            for source in listed
        ]
        for source, decision in steps:
            if decision.step is Step.FAIL:
                next(left)
                task = self.task(source).failed(decision.attempt, now)
                self.tasks[source.image_id] = task
        attempts = {s.image_id: d.attempt for s, d in steps if d.step is Step.START}
        ready = [source for source in listed if source.image_id in attempts]
        pending = sum(pending_snapshots(source, there[source.image_id]) for source in listed)
        for source in admit(ready, pending):
            next(left)
            self.start(source, attempts[source.image_id], now)
        for source, decision in steps:
            if decision.step is not Step.DONE and must_alert(self.task(source), source, now):
                next(left)
                self.alerts.setdefault(source.image_id, []).append(now)
                self.tasks[source.image_id] = replace(self.task(source), alerted=True)
        for source, decision in steps:
            for copy in decision.surplus:
                next(left)
                del self.there[copy.image.name]
            if decision.step is Step.DONE:
                next(left)
                self.tasks[source.image_id] = None

    def task(self, source: Image) -> Task:
        """Return what is on the work list of a recovery point."""
        task = self.tasks[source.image_id]
        assert task is not None
        return task

    def start(self, source: Image, attempt: int, now: datetime) -> None:
        """Copy an image, as EC2 does: it may refuse, and the name is the attempt's own."""
        self.started.setdefault(source.image_id, []).append(now)
        fates = self.fates.get(source.image_id, [])
        fate = fates.pop(0) if fates and now < QUIET_AFTER else Fate.SUCCEEDS
        name = copy_name(source.name, attempt)
        assert name not in self.there
        if fate is Fate.REFUSED:
            self.tasks[source.image_id] = self.task(source).failed(attempt, now)
        else:
            self.there[name] = There(name, source, now, now + timedelta(hours=self.hours), fate)

    def on_their_way(self, now: datetime) -> list[int]:
        """Return the snapshots of each copy that is on its way."""
        return [c.source.volumes for c in self.there.values() if c.state(now) == "pending"]


fates = st.lists(st.sampled_from(Fate), max_size=6)
looks = st.lists(
    st.tuples(st.sampled_from([5, 5, 30, 120, 600]), st.sampled_from([0, 1, 3, 1000, 1000])),
    min_size=1,
    max_size=80,
)


@given(
    st.lists(st.tuples(st.integers(1, 12), fates), min_size=1, max_size=8),
    st.sampled_from([0.1, 1.0, 6.0]),
    looks,
)
def test_every_point_has_one_copy_in_the_end_and_people_were_told_once(
    points: list[tuple[int, list[Fate]]], hours: float, looks: list[tuple[int, int]]
) -> None:
    sources = [
        replace(a_source(number, volumes=volumes), image_id=f"ami-{number}")
        for number, (volumes, _) in enumerate(points, start=1)
    ]
    life = Life(sources, {s.image_id: list(f) for s, (_, f) in zip(sources, points, strict=True)},
                hours)  # fmt: skip
    now = NOW
    while now < NOW + timedelta(days=DAYS):
        minutes, steps = looks.pop(0) if looks else (30, 1000)
        now += timedelta(minutes=minutes)
        not_before = {i: task.not_before for i, task in life.tasks.items() if task is not None}
        life.look(now, steps)
        for image_id, begun in life.started.items():
            pause = not_before.get(image_id)
            if begun[-1] == now and pause is not None:
                assert now >= pause
        pending = life.on_their_way(now)
        assert sum(pending) <= MAX_PENDING_SNAPSHOTS or len(pending) == 1
    assert set(life.tasks.values()) == {None}
    assert sorted(copy.source.image_id for copy in life.there.values()) == sorted(life.tasks)
    assert {copy.state(now) for copy in life.there.values()} == {"available"}
    assert all(len(moments) == 1 for moments in life.alerts.values())


@given(st.integers(1, 6))
def test_a_copy_that_is_late_or_fails_again_and_again_is_told_of(failures: int) -> None:
    source = a_source()
    life = Life([source], {source.image_id: [Fate.REFUSED] * failures}, 1.0)
    now = NOW
    while life.tasks[source.image_id] is not None:
        now += timedelta(minutes=5)
        life.look(now, 1000)
    late = life.started[source.image_id][-1] - OCCURRENCE >= ALERT_AFTER
    assert bool(life.alerts) == (failures >= 3 or late)
