"""One fleet, backed up at the same minute and at real speed, under one policy for the restart."""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.policies import POLICIES
from sandbox import fleet as fleets
from sandbox.process import SandboxError
from sandbox.scenario import InstanceSpec, Scenario
from sandbox.session import Session

ROOT_PRINCIPAL: Final = "root"
DEADLINE_SECONDS: Final = 900
VISIBLE_SECONDS: Final = 3
"""By then a new tag is visible to everybody."""
CLAIMS_REST: Final = frozenset({"file-system", "application"})


@dataclass(frozen=True, slots=True)
class Run:
    """What a fleet went through. `ratios` are downtime divided by its floor, one an instance.

    `dirty_images` miss data that the guest had written; `false_claims` are those of them that are
    claimed file-system consistent. Counts are totals of the whole fleet.
    """

    ratios: tuple[float, ...]
    dirty_images: int
    false_claims: int
    backups: int
    succeeded: int
    transitions: int
    api_calls: int
    lambda_ms: dict[str, float]
    lambda_calls: dict[str, int]

    @property
    def median(self) -> float:
        """The median ratio."""
        return statistics.median(self.ratios)

    @property
    def worst(self) -> float:
        """The largest ratio."""
        return max(self.ratios)


def launch(session: Session, prefix: str, size: int) -> fleets.Fleet:
    """Launch a fleet of one to six volumes each, scheduled but not due during the benchmark."""
    specs = tuple(
        InstanceSpec(
            name=f"{prefix}-{number:02}",
            tags={"stillpoint:schedule": "monthly last 00:00"},
            volumes=1 + number % 6,
        )
        for number in range(size)
    )
    fleet = fleets.launch(session, Scenario(title=prefix, instances=specs))
    time.sleep(VISIBLE_SECONDS)
    return fleet


def measure(session: Session, policy: str, fleet: fleets.Fleet, say: Callable[[str], None]) -> Run:
    """Back up the fleet at once under a policy and measure it; then restore the definition."""
    machine = session.resources["BackupStateMachine"]
    stepfunctions = session.aws.client("stepfunctions")
    original = stepfunctions.describe_state_machine(stateMachineArn=machine)["definition"]
    changed = POLICIES[policy](json.loads(original))
    stepfunctions.update_state_machine(stateMachineArn=machine, definition=json.dumps(changed))
    before = _costs(session)
    try:
        _start(session, fleet)
        own = _await_end(session, fleet, say)
        time.sleep(VISIBLE_SECONDS)
    finally:
        stepfunctions.update_state_machine(stateMachineArn=machine, definition=original)
    after = _costs(session)
    truth = session.control.truth()
    ids = set(fleet.ids.values())
    downs = [
        instance["downs"][-1] for instance in truth["instances"] if instance["instance_id"] in ids
    ]
    images = [image for image in truth["images"] if image["instance_id"] in ids]
    dirty = [image for image in images if image["dirty_bytes"] or image["missing_volumes"]]
    return Run(
        ratios=tuple(down["downtime_seconds"] / down["floor_seconds"] for down in downs),
        dirty_images=len(dirty),
        false_claims=sum(
            image["tags"].get("stillpoint:consistency") in CLAIMS_REST for image in dirty
        ),
        backups=len(own),
        succeeded=sum(execution["status"] == "SUCCEEDED" for execution in own),
        transitions=sum(execution["transitions"] for execution in own),
        api_calls=after.calls - before.calls,
        lambda_ms={name: ms - before.ms.get(name, 0.0) for name, ms in after.ms.items()},
        lambda_calls={name: n - before.runs.get(name, 0) for name, n in after.runs.items()},
    )


@dataclass(frozen=True, slots=True)
class _Costs:
    calls: int
    ms: dict[str, float]
    runs: dict[str, int]


def _costs(session: Session) -> _Costs:
    """Return what has been used so far, the planner's ticks left out: they serve all backups."""
    lambdas = {
        name: stats
        for name, stats in session.control.lambdas().items()
        if "PlanBackups" not in name
    }
    planner = "PlanBackupsRole"
    calls = [
        call
        for call in session.control.calls()
        if planner not in call["principal"] and ROOT_PRINCIPAL not in call["principal"]
    ]
    return _Costs(
        calls=len(calls),
        ms={name: float(stats["billed_ms"]) for name, stats in lambdas.items()},
        runs={name: int(stats["invocations"]) for name, stats in lambdas.items()},
    )


def _start(session: Session, fleet: fleets.Fleet) -> None:
    answer = session.aws.client("lambda").invoke(
        FunctionName=session.resources["PlanBackupsFunction"],
        Payload=json.dumps({"backup_now": sorted(fleet.ids.values())}),
    )
    account = json.load(answer["Payload"])
    if answer.get("FunctionError") or account.get("not_started"):
        raise SandboxError(f"the fleet could not be started: {json.dumps(account)[:2000]}")


def _await_end(
    session: Session, fleet: fleets.Fleet, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Wait until every execution has ended, and every instance runs, and return the executions."""
    ids = set(fleet.ids.values())
    deadline = time.monotonic() + DEADLINE_SECONDS
    shown = 0.0
    while time.monotonic() < deadline:
        own = [
            execution
            for execution in session.control.executions().values()
            if {member["instance_id"] for member in execution["input"]["members"]} <= ids
        ]
        running = sum(execution["status"] == "RUNNING" for execution in own)
        states = {i["instance_id"]: i["state"] for i in session.control.truth()["instances"]}
        if own and not running and all(states[each] == "running" for each in ids):
            return own
        if time.monotonic() - shown > 30:  # noqa: PLR2004 (seconds between two signs of life)
            shown = time.monotonic()
            up = sum(states[each] == "running" for each in ids)
            say(f"  {running} backups under way, {up} of {len(ids)} instances running")
        time.sleep(2)
    raise SandboxError(f"the fleet did not settle within {DEADLINE_SECONDS} seconds")
