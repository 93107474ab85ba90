"""One fleet, backed up at the same minute and at real speed, under one policy for the restart."""

import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.policies import POLICIES
from sandbox import fleet as fleets
from sandbox.process import SandboxError
from sandbox.scenario import InstanceSpec, Scenario
from sandbox.session import Session

ROOT_PRINCIPAL: Final = "root"
DEADLINE_SECONDS: Final = 900
SIGN_OF_LIFE_SECONDS: Final = 30
VISIBLE_SECONDS: Final = 3
"""By then a new tag is visible to everybody."""
CLAIMS_REST: Final = frozenset({"file-system", "application"})


@dataclass(frozen=True, slots=True)
class Run:
    """What a fleet went through. `downtimes` and `floors` are seconds by the instances' names.

    `dirty_images` miss data that the guest had written; `false_claims` are those of them that are
    claimed file-system consistent. Counts are totals of the whole fleet.
    """

    downtimes: Mapping[str, float]
    floors: Mapping[str, float]
    dirty_images: int
    false_claims: int
    backups: int
    succeeded: int
    transitions: int

    @property
    def ratios(self) -> tuple[float, ...]:
        """Downtime divided by its floor, one an instance."""
        return tuple(seconds / self.floors[name] for name, seconds in self.downtimes.items())

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


def begin(session: Session, policy: str, fleet: fleets.Fleet, say: Callable[[str], None]) -> None:
    """Back up the fleet at once under a policy, and return when every instance is back.

    Its executions keep the policy's definition; AMIs may be pending still.
    """
    machine = session.resources["BackupStateMachine"]
    stepfunctions = session.aws.client("stepfunctions")
    original = stepfunctions.describe_state_machine(stateMachineArn=machine)["definition"]
    changed = POLICIES[policy](json.loads(original))
    stepfunctions.update_state_machine(stateMachineArn=machine, definition=json.dumps(changed))
    try:
        _start(session, fleet)
        _await(session, fleet, say, lambda: all(_is_back(each) for each in _own(session, fleet)))
    finally:
        stepfunctions.update_state_machine(stateMachineArn=machine, definition=original)


def end(session: Session, fleet: fleets.Fleet, say: Callable[[str], None]) -> Run:
    """Wait until every execution of a fleet has ended, and return what it went through."""
    _await(session, fleet, say, lambda: not _running(_executions(session, fleet)))
    time.sleep(VISIBLE_SECONDS)
    own = _executions(session, fleet)
    downs = {each["name"]: each["downs"][-1] for each in _own(session, fleet)}
    ids = set(fleet.ids.values())
    images = [each for each in session.control.truth()["images"] if each["instance_id"] in ids]
    dirty = [image for image in images if image["dirty_bytes"] or image["missing_volumes"]]
    return Run(
        downtimes={name: down["downtime_seconds"] for name, down in downs.items()},
        floors={name: down["floor_seconds"] for name, down in downs.items()},
        dirty_images=len(dirty),
        false_claims=sum(
            image["tags"].get("stillpoint:consistency") in CLAIMS_REST for image in dirty
        ),
        backups=len(own),
        succeeded=sum(execution["status"] == "SUCCEEDED" for execution in own),
        transitions=sum(execution["transitions"] for execution in own),
    )


@dataclass(frozen=True, slots=True)
class Costs:
    """What the functions and the state machine have used, the planner's ticks left out."""

    api_calls: int
    lambda_calls: int
    lambda_ms: float

    def since(self, before: "Costs") -> "Costs":
        """Return what was used since an earlier moment."""
        return Costs(
            self.api_calls - before.api_calls,
            self.lambda_calls - before.lambda_calls,
            self.lambda_ms - before.lambda_ms,
        )


def costs(session: Session) -> Costs:
    """Return what has been used so far; the planner's ticks serve all backups."""
    used = [stats for name, stats in session.control.lambdas().items() if "PlanBackups" not in name]
    calls = [
        call
        for call in session.control.calls()
        if "PlanBackupsRole" not in call["principal"] and ROOT_PRINCIPAL not in call["principal"]
    ]
    return Costs(
        api_calls=len(calls),
        lambda_calls=sum(int(stats["invocations"]) for stats in used),
        lambda_ms=sum(float(stats["billed_ms"]) for stats in used),
    )


def _start(session: Session, fleet: fleets.Fleet) -> None:
    answer = session.aws.client("lambda").invoke(
        FunctionName=session.resources["PlanBackupsFunction"],
        Payload=json.dumps({"backup_now": sorted(fleet.ids.values())}),
    )
    account = json.load(answer["Payload"])
    if answer.get("FunctionError") or account.get("not_started"):
        raise SandboxError(f"the fleet could not be started: {json.dumps(account)[:2000]}")


def _await(
    session: Session, fleet: fleets.Fleet, say: Callable[[str], None], done: Callable[[], bool]
) -> None:
    """Wait until something is so, with a sign of life now and then. Raises SandboxError."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    shown = time.monotonic()
    while not done():
        if time.monotonic() > deadline:
            raise SandboxError(f"the fleet did not settle within {DEADLINE_SECONDS} seconds")
        if time.monotonic() - shown > SIGN_OF_LIFE_SECONDS:
            shown = time.monotonic()
            running = len(_running(_executions(session, fleet)))
            back = sum(_is_back(each) for each in _own(session, fleet))
            say(f"  {running} backups under way, {back} of {len(fleet.ids)} instances back")
        time.sleep(2)


def _executions(session: Session, fleet: fleets.Fleet) -> list[dict[str, Any]]:
    """Return the executions that back up instances of a fleet."""
    ids = set(fleet.ids.values())
    return [
        execution
        for execution in session.control.executions().values()
        if {member["instance_id"] for member in execution["input"]["members"]} <= ids
    ]


def _running(executions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in executions if each["status"] == "RUNNING"]


def _own(session: Session, fleet: fleets.Fleet) -> list[dict[str, Any]]:
    """Return the truth about the instances of a fleet."""
    ids = set(fleet.ids.values())
    return [each for each in session.control.truth()["instances"] if each["instance_id"] in ids]


def _is_back(instance: Mapping[str, Any]) -> bool:
    """Say whether an instance was down, runs again, and is in no backup any more."""
    free = "stillpoint:cycle" not in instance["tags"]
    return instance["state"] == "running" and bool(instance["downs"]) and free
