"""Running a scenario: launch, wait until everything has settled, compare with the file."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox import fleet as fleets
from sandbox import session as sessions
from sandbox.fleet import Fleet
from sandbox.outcomes import (
    CopyOutcome,
    Outcome,
    is_being_copied,
    lone_snapshots,
    members,
    observe,
)
from sandbox.progress import PlainProgress, Progress
from sandbox.scenario import Expectation, Scenario, last_due
from sandbox.session import Message, Session

SCHEDULED_EVENT = {"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}
"""What the functions need of the event of a schedule rule."""
QUIET_SECONDS = 90.0  # simulated: so long nothing may be under way before the end is believed


@dataclass(frozen=True, slots=True)
class Report:
    """How a scenario went, in words where it is not a table.

    `failures` are the expectations that did not hold, `remarks` what helps to understand them.
    """

    outcomes: list[Outcome]
    messages: list[Message]
    failures: list[str]
    remarks: list[str]


def run(
    scenario: Scenario,
    *,
    say: Callable[[str], None],
    scale: float | None = None,
    seed: int | None = None,
    port: int = 0,
) -> Report:
    """Run a scenario in a sandbox of its own. Raises SandboxError if the sandbox itself fails."""
    with sessions.deployed(
        scale=scale or scenario.scale,
        seed=scenario.seed if seed is None else seed,
        port=port,
        parameters=scenario.parameters,
        say=say,
    ) as session:
        return play(session, scenario, say)


def play(session: Session, scenario: Scenario, say: Callable[[str], None]) -> Report:
    """Run a scenario in a sandbox that is up and has nothing else to do."""
    session.control.clear_faults()
    session.receive()
    session.messages.clear()
    fleet = fleets.launch(session, scenario)
    say(f"{len(fleet.ids)} instances are up; waiting for the schedule rule")
    settled = settle(session, scenario, fleet, PlainProgress(say))
    return conclude(session, scenario, fleet, settled=settled)


def conclude(session: Session, scenario: Scenario, fleet: Fleet, *, settled: bool) -> Report:
    """Compare what has become of the fleet with what the scenario expects."""
    failures = (
        []
        if settled
        else [f"after {scenario.minutes:g} simulated minutes something is still under way"]
    )
    if scenario.sweep:
        _sweep(session)
    outcomes = observe(session, fleet)
    failures += judge(scenario, outcomes, session.messages)
    truth = session.control.truth()
    failures += [f"the EC2 model saw a violation: {each}" for each in truth["violations"]]
    failures += [f"{each} belongs to no image" for each in lone_snapshots(truth)]
    return Report(outcomes, list(session.messages), failures, function_errors(session))


def _sweep(session: Session) -> None:
    """Call the pruning as its daily rule does, and fetch what it has to tell."""
    session.aws.client("lambda").invoke(
        FunctionName=session.resources["PruneRecoveryPointsFunction"],
        Payload=json.dumps(SCHEDULED_EVENT),
    )
    session.receive()


def function_errors(session: Session) -> list[str]:
    """Return which functions failed how often, and their last errors."""
    return [
        f"{name} failed {stats['errors']} times, last with {stats['last_error']}"
        for name, stats in session.control.lambdas().items()
        if stats["errors"]
    ]


def idle_faults(faults: dict[str, list[dict[str, Any]]]) -> list[str]:
    """The faults that never struck: a scenario that contains one proves nothing."""
    idle = [each["name"] for each in faults["ec2"] if not each["hits"]]
    idle += [each["name"] for each in faults["host"] if each["seen"] <= each["skip"]]
    return [f"the fault {name} never struck" for name in idle]


def settle(session: Session, scenario: Scenario, fleet: Fleet, progress: Progress) -> bool:
    """Wait until nothing is due, running, being copied or pruned or in transition any more.

    Returns False if that takes too long.
    """
    clock = session.server.clock
    deadline = clock.now() + scenario.minutes * 60
    quiet_since: float | None = None
    while clock.now() < deadline:
        progress.update(session, fleet)
        for message in session.receive():
            progress.tell(message)
        if _busy(session, scenario, fleet):
            quiet_since = None
        elif quiet_since is None:
            quiet_since = clock.now()
        elif clock.now() - quiet_since > QUIET_SECONDS:
            session.receive()
            return True
        time.sleep(0.25)
    return False


def _prunings(session: Session) -> int:
    """Return how often the pruning has run; each successful backup sets it going."""
    stats = session.control.lambdas().get(session.resources["PruneRecoveryPointsFunction"])
    return int(stats["invocations"]) if stats else 0


def _busy(session: Session, scenario: Scenario, fleet: Fleet) -> bool:
    due = last_due(scenario, fleet.start).timestamp()
    truth, executions = session.control.truth(), session.control.executions().values()
    started = {instance_id for each in executions for instance_id in members(each)}
    awaited = {fleet.ids[name] for name in scenario.backed_up()}
    return (
        session.server.clock.now() < due + 60
        or not awaited <= started
        or any(each["status"] == "RUNNING" for each in executions)
        or _prunings(session) < sum(1 for each in executions if each["status"] == "SUCCEEDED")
        or any(is_being_copied(each) for each in truth["images"])
        or any(
            each["state"] in {"pending", "stopping", "shutting-down"} for each in truth["instances"]
        )
    )


def judge(scenario: Scenario, outcomes: list[Outcome], messages: list[Message]) -> list[str]:
    """Return the expectations that do not hold, in words.

    A false claim is a failure whatever the file expects.
    """
    failures = [
        f"{each.name}: claimed {each.consistency}, but its image {_truth_of(each)}"
        for each in outcomes
        if each.claim_is_false
    ]
    failures += [
        f"{each.name}: its copy {copy.image_id} claims {copy.consistency}, but {_truth_of(copy)}"
        for each in outcomes
        for copy in each.copies
        if copy.claim_is_false
    ]
    failures += [
        f"{each.name}: its copy {copy.image_id} does not say {', '.join(copy.lacks)}"
        for each in outcomes
        for copy in each.copies
        if copy.lacks
    ]
    for outcome in outcomes:
        failures += _differences(outcome, scenario.expected.get(outcome.name, Expectation()))
    if scenario.messages is not None:
        received = sorted(each.event for each in messages if each.severity)
        if received != sorted(scenario.messages):
            failures.append(f"messages: expected {sorted(scenario.messages)}, received {received}")
    return failures


def _truth_of(image: Outcome | CopyOutcome) -> str:
    """Return what the model knows of an image that claims too much."""
    if image.dirty_bytes:
        return f"lacks {image.dirty_bytes} bytes"
    return "was made while its applications were at work"


def _differences(outcome: Outcome, expected: Expectation) -> list[str]:
    pairs = [
        ("outcome", expected.outcome, outcome.outcome),
        ("state", expected.state, outcome.state_after),
        ("consistency", expected.consistency, outcome.consistency),
        ("images", expected.images, outcome.images),
        ("kept", expected.kept, outcome.kept),
        ("expired", expected.expired, outcome.expired),
        ("copies", expected.copies, [c.region for c in outcome.copies if c.state == "available"]),
        ("service", expected.service, outcome.service),
        ("scripts", expected.scripts, outcome.scripts),
    ]
    found = [
        f"{outcome.name}: expected {what} {wanted!r}, found {actual!r}"
        + (f" ({outcome.reason})" * bool(outcome.reason))
        for what, wanted, actual in pairs
        if wanted is not None and wanted != actual
    ]
    if expected.reason is not None and expected.reason not in outcome.reason:
        found.append(
            f"{outcome.name}: expected {expected.reason!r} in the reason {outcome.reason!r}"
        )
    return found
