"""The main job in front of your eyes: deploy, let the schedule rule fire, check every claim."""

import json
import textwrap
from dataclasses import asdict
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from sandbox import fleet as fleets
from sandbox import run, scenario, session
from sandbox.outcomes import Outcome
from sandbox.process import ROOT
from sandbox.progress import LiveProgress, PlainProgress
from sandbox.scenario import Scenario
from sandbox.session import Message, Session
from sandbox.tables import HEADINGS, aligned, copy_lines, outcome_row, point_lines

REPORT: Final = ROOT / "build" / "demo" / "report.json"
FLEET: Final = "fleet"
HALTED: Final = "PruningHalted"
REFUSED: Final = "BackupRefused"
WELL: Final = (
    "Every claim is true, every instance is in the state it should be in, and every snapshot "
    "belongs to an image."
)
type Trails = dict[str, dict[str, list[str]]]
"""The states that each instance was seen in in its groups, one after the other."""

REPORTED: Final = (
    "name",
    "instance_id",
    "method",
    "outcome",
    "image_id",
    "consistency",
    "dirty_bytes",
    "quiesced",
    "downtime_seconds",
    "floor_seconds",
    "state_before",
    "state_after",
    "reason",
    "retain",
    "retain_before",
    "kept",
    "expired",
    "oldest",
    "copies",
    "scripts",
    "frozen",
    "service",
)


def main(*, scale: float | None, seed: int | None, port: int) -> int:
    """Run the demo and return the exit status.

    It is 1 if a claim is false or an instance is not in the state it should be in.
    """
    console = Console(highlight=False, markup=False, soft_wrap=True)
    chosen = scenario.load(FLEET)
    scale = scale or chosen.scale
    with session.deployed(
        scale=scale,
        seed=chosen.seed if seed is None else seed,
        port=port,
        parameters=chosen.parameters,
        say=console.print,
    ) as running:
        console.print(
            f"Launching {len(chosen.instances)} instances; in 3 minutes of their time they are due."
        )
        fleet = fleets.launch(running, chosen)
        settled, trails = _watch(running, chosen, fleet, console)
        report = run.conclude(running, chosen, fleet, settled=settled)
    _show(console, report, trails, scale)
    _write(report, scale)
    console.print(f"Report: {REPORT.relative_to(ROOT)}")
    return 1 if report.failures else 0


def _watch(
    running: Session, chosen: Scenario, fleet: fleets.Fleet, console: Console
) -> tuple[bool, Trails]:
    """Show the fleet until it has settled; return whether it has, and what was seen around it."""
    if not console.is_terminal:
        plain = PlainProgress(console.print)
        return run.settle(running, chosen, fleet, plain), plain.trails
    with LiveProgress(console) as progress:
        return run.settle(running, chosen, fleet, progress), progress.trails


def _show(console: Console, report: run.Report, trails: Trails, scale: float) -> None:
    console.print(
        f"\nTime ran {scale:g} times as fast as real time; all figures are simulated seconds.\n"
    )
    _show_table(console, report.outcomes)
    why = [f"{each.name}: {each.reason}" for each in report.outcomes if each.reason]
    _show_lines(console, "Why, as written on the recovery point or on the instance", why)
    _show_lines(console, "Around the instances, as it was seen", around_lines(report, trails))
    _show_lines(console, "Refused, as its message says", refusal_lines(report))
    halted = {
        f"{message.event}: {message.body.get('why')}"
        for message in report.messages
        if message.event == HALTED
    }
    points = point_lines(report.outcomes)
    _show_lines(console, "Recovery points, by the retention of each", [*points, *sorted(halted)])
    _show_lines(console, "Copies", copy_lines(report.outcomes))
    console.print(f"\n{len(report.messages)} SNS messages:")
    for message in report.messages:
        console.print(f"  {message.subject}")
    console.print()
    for line in [*report.remarks, *(f"FAILED  {failure}" for failure in report.failures)]:
        console.print(_folded(console, line, indent=""))
    if not report.failures:
        console.print(_folded(console, WELL, indent=""))


def _show_lines(console: Console, heading: str, lines: list[str]) -> None:
    if lines:
        console.print(f"\n{heading}:")
    for line in lines:
        console.print(_folded(console, line))


def _folded(console: Console, line: str, indent: str = "  ") -> str:
    """Return an indented line, on a terminal in as many lines as it takes."""
    if not console.is_terminal:
        return f"{indent}{line}"
    more = f"{indent}    "
    return textwrap.fill(line, console.width, initial_indent=indent, subsequent_indent=more)


def around_lines(report: run.Report, trails: Trails) -> list[str]:
    """What was done around the instances: groups, scripts and freezes, one line each."""
    lines = []
    for outcome in report.outcomes:
        moves = [each for each in trails.get(outcome.name, {}).items() if len(each[1]) > 1]
        lines += [f"{outcome.name}: in {group}: {', '.join(trail)}" for group, trail in moves]
        if outcome.scripts:
            lines.append(f"{outcome.name}: exit codes of its scripts: {outcome.scripts}")
        if outcome.frozen:
            lines.append(f"{outcome.name}: its file systems were frozen for {outcome.frozen}")
    return lines


def refusal_lines(report: run.Report) -> list[str]:
    """What the messages say of each refused instance, and what to do."""
    return [
        f"{row['name']}: {row['why']} What to do: {message.body['remedy']}"
        for message in report.messages
        if message.event == REFUSED
        for row in message.body["instances"]
    ]


def _show_table(console: Console, outcomes: list[Outcome]) -> None:
    rows = [outcome_row(each) for each in outcomes]
    if not console.is_terminal:
        for line in aligned([HEADINGS, *rows]):
            console.print(line)
        return
    table = Table()
    for heading in HEADINGS:
        table.add_column(heading)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _write(report: run.Report, scale: float) -> None:
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "time_scale": scale,
        "instances": [_instance(each) for each in report.outcomes],
        "messages": [_message(each) for each in report.messages],
    }
    REPORT.write_text(json.dumps(document, indent=2) + "\n")


def _instance(outcome: Outcome) -> dict[str, Any]:
    everything = asdict(outcome)
    return {name: everything[name] for name in REPORTED}


def _message(message: Message) -> dict[str, str]:
    return {
        "event": message.event,
        "severity": message.severity,
        "subject": message.subject,
        "instance_id": message.attributes.get("instance_id", ""),
    }
