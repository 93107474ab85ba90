"""Whether the simulation tells what the deployed sandbox does at real speed.

Both back up the same fleet at once: the same names, seed and physics, so every duration that EC2
draws is the same for an instance. What differs is what the two make of Step Functions, Lambda, the
network and this machine. So the downtimes are compared one by one.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.downtime import Run
from sandbox.simulation.command import simulate
from sandbox.simulation.night import Night
from sandbox.simulation.setting import Setting

MOST: Final = 0.05
"""How far apart two downtimes may be, as a share of the one at real speed."""
LOCAL_LATENCY: Final = (0.01, 0.1)
"""Seconds that a call needs each way within one machine: a fleet's night takes AWS to be slower.

With those of the fleets (0.02 to 0.25) every simulated downtime was 2 to 3 s longer than the real
one, which is eight calls one after the other.
"""


@dataclass(frozen=True, slots=True)
class Agreement:
    """The seconds of downtime of each instance: at real speed, and simulated."""

    real: Mapping[str, float]
    simulated: Mapping[str, float]

    @property
    def differences(self) -> dict[str, float]:
        """By how much the simulation is longer, as a share, by the instances' names."""
        return {
            name: (self.simulated[name] - seconds) / seconds for name, seconds in self.real.items()
        }

    @property
    def mean(self) -> float:
        """By how much the mean downtime of the simulation is longer, as a share."""
        real = statistics.fmean(self.real.values())
        return (statistics.fmean(self.simulated.values()) - real) / real

    @property
    def worst(self) -> float:
        """The largest difference of one instance, as a share, whatever its sign."""
        return max(abs(each) for each in self.differences.values())

    def to_json(self) -> dict[str, Any]:
        """Return the comparison; seconds and shares."""
        return {
            "instances": len(self.real),
            "mean": round(self.mean, 4),
            "worst": round(self.worst, 4),
            "beyond": sum(abs(each) > MOST for each in self.differences.values()),
            "downtimes": {
                name: {"real": round(seconds, 2), "simulated": round(self.simulated[name], 2)}
                for name, seconds in self.real.items()
            },
        }


def simulated(
    size: int, seed: int, physics: Mapping[str, Any], parameters: Mapping[str, str]
) -> Night:
    """Play the fleet that `benchmarks.downtime` launches, named to the planner all at once."""
    return simulate(
        Setting(
            size,
            seed=seed,
            name="stillpoint",
            parameters=dict(parameters),
            physics=dict(physics),
            latency=LOCAL_LATENCY,
            at_once=True,
        )
    )


def compared(run: Run, night: Night) -> Agreement:
    """Compare a fleet at real speed with its simulation."""
    downtimes = {backup.name: backup.downtime for backup in night.backups}
    return Agreement(run.downtimes, {name: downtimes[name] for name in run.downtimes})
