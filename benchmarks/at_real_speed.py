"""The deployed sandbox at real speed: three rules for the restart, and what the functions need."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from benchmarks import downtime, footprint
from benchmarks.agreement import Agreement, compared, simulated
from benchmarks.downtime import Costs, Run
from benchmarks.policies import POLICIES
from benchmarks.price import usd
from sandbox import session
from sandbox.fleet import Fleet
from sandbox.process import ROOT
from sandbox.session import Session

IMAGE_SECONDS: Final = (90, 150)
"""How long an AMI is pending: shortened from minutes or hours, because it is not downtime."""
OWN: Final = "stillpoint"
SWEEPS: Final = {
    "PruneRecoveryPointsFunction": "prune_recovery_points_sweep",
    "CopyRecoveryPointsFunction": "copy_recovery_points",
    "RecoverInstancesFunction": "recover_instances_sweep",
}
"""Functions that no backup calls, and the sample event that each is invoked with."""

type Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Measured:
    """The runs by policy, the comparison with the simulation, and peak memories.

    `costs` are those of Stillpoint's own run, `peaks` are MB by the logical ids of the functions
    that were invoked.
    """

    runs: Mapping[str, Run]
    costs: Costs
    agreement: Agreement
    peaks: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return what the report says of it."""
        own = self.runs[OWN]
        return {
            "instances": own.backups,
            "image_seconds": list(IMAGE_SECONDS),
            "policies": {name: _policy(run) for name, run in self.runs.items()},
            "false_claims": sum(run.false_claims for run in self.runs.values()),
            "per_backup": {
                "api_calls": round(self.costs.api_calls / own.backups, 1),
                "state_transitions": round(own.transitions / own.backups, 1),
                "lambda_ms": round(self.costs.lambda_ms / own.backups, 1),
                "usd": round(usd(own, self.costs), 6),
            },
            "agreement": self.agreement.to_json(),
        }


def measure(size: int, seed: int, say: Say) -> Measured:
    """Back up a fleet under each policy, and simulate the first of these runs.

    Raises SandboxError.
    """
    parameters = {"MaxConcurrentBackups": f"{size}", "NotifySuccess": "false"}
    physics = {"image_seconds": list(IMAGE_SECONDS)}
    night = simulated(size, seed, physics, parameters)
    with session.deployed(
        scale=1, seed=seed, parameters=parameters, physics=physics, say=say
    ) as running:
        fleet_of = {policy: downtime.launch(running, policy, size) for policy in POLICIES}
        before = downtime.costs(running)
        _begin(running, OWN, fleet_of, say)
        runs = {OWN: downtime.end(running, fleet_of[OWN], say)}
        costs = downtime.costs(running).since(before)
        # What is left of the others while their AMIs are pending does not disturb the next one.
        others = [policy for policy in POLICIES if policy != OWN]
        for policy in others:
            _begin(running, policy, fleet_of, say)
        for policy in others:
            runs[policy] = downtime.end(running, fleet_of[policy], say)
        return Measured(runs, costs, compared(runs[OWN], night), _peaks(running))


def _begin(running: Session, policy: str, fleets: Mapping[str, Fleet], say: Say) -> None:
    say(f"  {policy}: backing up {len(fleets[policy].ids)} instances")
    downtime.begin(running, policy, fleets[policy], say)


def _policy(run: Run) -> dict[str, Any]:
    return {
        "median": round(run.median, 3),
        "worst": round(run.worst, 3),
        "dirty_images": run.dirty_images,
        "backups": run.backups,
        "succeeded": run.succeeded,
    }


def _peaks(running: Session) -> dict[str, float]:
    """Invoke what no backup invokes, and return the peak memory of every function so far."""
    client = running.aws.client("lambda")
    for function, event in SWEEPS.items():
        payload = (ROOT / "events" / f"{event}.json").read_bytes()
        client.invoke(FunctionName=running.resources[function], Payload=payload)
    names = {
        name: logical_id
        for logical_id, name in running.resources.items()
        if logical_id.endswith("Function")
    }
    return footprint.invoked_peaks(running.server, names)
