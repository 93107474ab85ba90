"""Who is in which phase, while it happens: a table that redraws itself, or one line per change."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sandbox import around
from sandbox.fleet import Fleet
from sandbox.outcomes import (
    HOLD_TAG,
    METHOD_TAG,
    PROBLEM_TAG,
    STATUS,
    copies,
    members,
    recovery_points,
)
from sandbox.phases import phase_by_state
from sandbox.session import Message, Session

HEADINGS: Final = ("instance", "method", "EC2 state", "phase", "step", "points", "around it")
COPIED: Final = {"pending": "copying", "available": "copied"}
COLOURS: Final = {"running": "green", "stopped": "red"}


@dataclass(frozen=True, slots=True)
class Row:
    """One instance now: `points` recovery points can be used; `copied` is told of the newest.

    `guest` is what goes on in it, `service` its states in the groups that it serves in, by name.
    """

    name: str
    method: str
    state: str
    phase: str
    step: str
    points: int
    copied: str
    guest: str = ""
    service: dict[str, str] = field(default_factory=dict)


class Progress(Protocol):
    """Is shown the fleet again and again."""

    def update(self, session: Session, fleet: Fleet) -> None:
        """Look at the fleet and show what has changed."""

    def tell(self, message: Message) -> None:
        """Show a notification that has just arrived."""


def rows(session: Session, fleet: Fleet, phases: dict[str, str]) -> list[Row]:
    """Every instance of the fleet, with the state machine's state that concerns it."""
    report = session.control.truth()
    truth = {each["instance_id"]: each for each in report["instances"]}
    points = {
        instance_id: recovery_points(report["images"], instance_id)
        for instance_id in fleet.ids.values()
    }
    where = _steps(session)
    return [
        Row(
            name,
            truth[instance_id]["tags"].get(METHOD_TAG, "stop"),
            truth[instance_id]["state"],
            phases.get(where.get(instance_id, ""), ""),
            where.get(instance_id) or _without_backup(truth[instance_id]["tags"]),
            len(points[instance_id]),
            _copied(report["images"], points[instance_id]),
            around.in_the_guest(truth[instance_id]),
            around.service(report, instance_id),
        )
        for name, instance_id in fleet.ids.items()
    ]


def _steps(session: Session) -> dict[str, str]:
    """The state that each instance's execution is in, or how it ended."""
    steps: dict[str, str] = {}
    for execution in session.control.executions().values():
        positions = execution["positions"]
        outer = positions.get("", {}).get("state") or STATUS.get(
            execution["status"], execution["error"] or ""
        )
        inner = {_instance_of(each["item"]): each["state"] for each in positions.values()}
        for instance_id in members(execution):
            steps[instance_id] = inner.get(instance_id, outer)
    return steps


def _copied(images: list[dict[str, Any]], points: list[dict[str, Any]]) -> str:
    """Return where the newest recovery point is being copied to, and how far that is."""
    found = copies(images, points[-1]) if points else []
    return ", ".join(f"{each['region']} {each['state']}" for each in found)


def _without_backup(tags: dict[str, str]) -> str:
    """Return why an instance is in no backup, as far as its tags say so."""
    if HOLD_TAG in tags:
        return "on hold"
    return "policy invalid" if PROBLEM_TAG in tags else ""


def _instance_of(item: Any) -> str:
    return str(item.get("instance_id", "")) if isinstance(item, dict) else ""


def deployed_phases(session: Session) -> dict[str, str]:
    """The phases of the state machine as it is deployed."""
    machine = session.aws.client("stepfunctions").describe_state_machine(
        stateMachineArn=session.resources["BackupStateMachine"]
    )
    return phase_by_state(machine["definition"])


class Watch:
    """Looks at the fleet, and remembers in which states each instance was seen in its groups.

    `trails` are these states, one after the other, by the names of the instance and the group.
    """

    def __init__(self) -> None:
        self.trails: dict[str, dict[str, list[str]]] = {}
        self._phases: dict[str, str] = {}

    def look(self, session: Session, fleet: Fleet) -> list[Row]:
        """Return every instance as it is now."""
        self._phases = self._phases or deployed_phases(session)
        found = rows(session, fleet, self._phases)
        for row in found:
            self._follow(row)
        return found

    def around(self, row: Row) -> str:
        """Return what goes on in an instance and how it serves in its groups, in a few words."""
        states = {group: trail[-1] for group, trail in self.trails.get(row.name, {}).items()}
        return ", ".join(filter(None, [row.guest, around.in_words(states)]))

    def _follow(self, row: Row) -> None:
        """Note the states of an instance that are new, from the first in which it served."""
        trails = self.trails.setdefault(row.name, {})
        served = {group for group, state in row.service.items() if state in around.SERVING}
        for group in sorted(trails.keys() | served):
            state = row.service.get(group, around.NOT_REGISTERED)
            trail = trails.setdefault(group, [])
            if trail[-1:] != [state]:
                trail.append(state)


class PlainProgress(Watch):
    """One line per instance and phase, for logs and for consoles that are none."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self._say = say
        self._seen: dict[str, str] = {}
        self._copied: dict[str, str] = {}
        self._around: dict[str, str] = {}
        self._points: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._now = ""

    def update(self, session: Session, fleet: Fleet) -> None:
        """Say which instances have entered another phase, and what has changed around them."""
        self._now = _clock(session)
        for row in self.look(session, fleet):
            reached = row.phase or row.step
            if reached and self._seen.get(row.name) != reached:
                self._seen[row.name] = reached
                self._say(f"{self._now}  {row.name:10} {reached} ({row.state})")
            if row.copied and self._copied.get(row.name) != row.copied:
                self._copied[row.name] = row.copied
                self._say(f"{self._now}  {row.name:10} copy in {row.copied}")
            now = self.around(row)
            if now and self._around.get(row.name) != now:
                self._say(f"{self._now}  {row.name:10} {now}")
            self._around[row.name] = now
            self._count(row)

    def _count(self, row: Row) -> None:
        """Say how many recovery points have gone, when no more are going."""
        steady = self._points.get(row.name) == row.points
        self._points[row.name] = row.points
        told = self._told.setdefault(row.name, row.points)
        if steady and row.points != told:
            self._told[row.name] = row.points
            if row.points < told:
                gone = told - row.points
                self._say(f"{self._now}  {row.name:10} {gone} expired, {row.points} kept")

    def tell(self, message: Message) -> None:
        """Say what was published."""
        self._say(f"{self._now}  SNS        {message.subject}")


class LiveProgress(Watch):
    """A table on a terminal that is redrawn in place; use it in a `with` block."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._live = Live(console=console, refresh_per_second=8)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def update(self, session: Session, fleet: Fleet) -> None:
        """Redraw the table."""
        table = Table(title=f"simulated time {_clock(session)}", title_justify="left", expand=False)
        for heading in HEADINGS:
            table.add_column(heading, no_wrap=True)
        for row in self.look(session, fleet):
            state = Text(row.state, style=COLOURS.get(row.state, "yellow"))
            step, points = Text(row.step), str(row.points or "")
            copied = COPIED.get(row.copied.rpartition(" ")[2], row.copied)
            beside = ", ".join(filter(None, [self.around(row), copied]))
            table.add_row(row.name, row.method, state, row.phase, step, points, beside)
        self._live.update(table)

    def tell(self, message: Message) -> None:
        """Print the notification above the table."""
        self._console.print(f"SNS  {message.subject}")


def _clock(session: Session) -> str:
    return datetime.fromtimestamp(session.server.clock.now(), UTC).strftime("%H:%M:%S")
