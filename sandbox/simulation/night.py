"""What came of a night."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sandbox.simulation.setting import Setting


@dataclass(frozen=True, slots=True)
class Backup:
    """One instance and its night.

    `began_after`, `captured_after` and `up_after` are seconds from the due minute until its stop
    was requested, the last snapshot of its last image was initiated, and it ran again; None if that
    never was. `downtime` is how long it was down in all, `floor` how short that could have been:
    its own stops, the initiation of its snapshots and its own starts (seconds; 0 if it never was
    down). `outcome` is `succeeded`, `failed` or `missed` (nothing was started for it).
    """

    name: str
    volumes: int
    outcome: str
    executions: int
    began_after: float | None
    captured_after: float | None
    up_after: float | None
    downtime: float
    floor: float

    @property
    def ratio(self) -> float:
        """Downtime divided by its floor."""
        return self.downtime / self.floor if self.floor else 1.0


@dataclass(frozen=True, slots=True)
class Spread:
    """A quantity of which there are several: its mean and its largest value."""

    mean: float
    worst: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        """Return the spread of values; zeros if there are none."""
        return cls(statistics.fmean(values), max(values)) if values else cls(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class FunctionUse:
    """What a function used in the night.

    `billed_ms` are virtual: calls and waits take time in them, the function's own work takes none,
    and every invocation has a cold start. `refused` invocations exceeded Lambda's concurrency.
    """

    invocations: int
    errors: int
    refused: int
    billed_ms: int
    memory_mb: int
    log_bytes: int
    metric_bytes: int


@dataclass(frozen=True, slots=True)
class Peaks:
    """The largest numbers at any moment, and of transitions in any second.

    `backups` are instances that have the cycle tag or do not run.
    """

    executions: int
    backups: int
    invocations: int
    transitions_per_second: int


@dataclass(frozen=True, slots=True)
class Price:
    """USD for one backup. The planner's ticks serve the whole fleet: its share of the night."""

    transitions: float
    functions: float
    logs: float
    planner: float

    @property
    def orchestration(self) -> float:
        """Transitions and functions, without logs and the planner."""
        return self.transitions + self.functions


@dataclass(frozen=True, slots=True)
class Night:
    """What came of a night. Seconds count from the due minute, if nothing else is said.

    `seconds` and `cpu_seconds` are what it took on this machine. `captured_seconds` ends with the
    last initiation of a snapshot of any backup, `all_back_seconds` when the last instance ran
    again, `ended_seconds` when the last execution ended. `calls` are by principal and action,
    `throttled` those of all principals that were refused for their number, by action;
    `delayed_transitions` waited for Step Functions. `errors` are those of functions and executions,
    by name, `messages` what people were told, by event. `claims` counts the images by the level of
    consistency that is claimed, `false_claims` those that claim to be at rest and miss data;
    `stranded` are the names of instances that do not run at the end. `violations` are what must
    never be.
    """

    setting: Setting
    seconds: float = field(compare=False)
    cpu_seconds: float = field(compare=False)
    peak_memory_mb: float = field(compare=False)
    captured_seconds: float
    all_back_seconds: float
    ended_seconds: float
    backups: tuple[Backup, ...]
    executions: Mapping[str, int]
    calls: Mapping[str, Mapping[str, int]]
    throttled: Mapping[str, int]
    transitions: Spread
    delayed_transitions: int
    history_events: Spread
    functions: Mapping[str, FunctionUse]
    planner_ms: Spread
    peaks: Peaks
    price: Price
    errors: Mapping[str, int]
    messages: Mapping[str, int]
    claims: Mapping[str, int]
    false_claims: int
    stranded: tuple[str, ...]
    violations: tuple[str, ...]

    @property
    def instances(self) -> int:
        """How many instances there are."""
        return self.setting.instances

    def count(self, outcome: str) -> int:
        """Return how many instances' backups came to an outcome; see `Backup`."""
        return sum(backup.outcome == outcome for backup in self.backups)

    def ratio(self, share: float) -> float:
        """Return the ratio of downtime and floor that this share of the instances stays within.

        0.5 is the median, 1 the worst (nearest rank). 0 if no instance was down.
        """
        ratios = sorted(backup.ratio for backup in self.backups if backup.floor)
        return ratios[max(0, math.ceil(share * len(ratios)) - 1)] if ratios else 0.0

    @property
    def calls_per_backup(self) -> float:
        """API calls of the state machine and the functions for one instance, the planner's not."""
        number = sum(
            sum(actions.values()) for kind, actions in self.calls.items() if kind != "planner"
        )
        return number / self.instances

    def to_json(self) -> dict[str, Any]:
        """Return the night, ready for JSON, with the figures that are made of others."""
        return asdict(self) | {
            "setting": self.setting.to_json(),
            "instances": self.instances,
            "succeeded": self.count("succeeded"),
            "failed": self.count("failed"),
            "missed": self.count("missed"),
            "ratio": {
                "median": self.ratio(0.5),
                "p99": self.ratio(0.99),
                "worst": self.ratio(1),
            },
            "calls_per_backup": self.calls_per_backup,
            "orchestration_usd": self.price.orchestration,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Night":
        """Return the night that `to_json` wrote."""
        values = {name: document[name] for name in cls.__dataclass_fields__}
        functions = {name: FunctionUse(**use) for name, use in document["functions"].items()}
        return cls(
            **values
            | {
                "setting": Setting.from_json(document["setting"]),
                "backups": tuple(Backup(**row) for row in document["backups"]),
                "transitions": Spread(**document["transitions"]),
                "history_events": Spread(**document["history_events"]),
                "functions": functions,
                "planner_ms": Spread(**document["planner_ms"]),
                "peaks": Peaks(**document["peaks"]),
                "price": Price(**document["price"]),
                "stranded": tuple(document["stranded"]),
                "violations": tuple(document["violations"]),
            }
        )
