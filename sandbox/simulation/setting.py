"""What kind of a night it is to be."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sandbox.buckets import Limit
from sandbox.virtual.quotas import LATENCY, Quotas

TWO_HOURS = (6840.0, 7200.0)
"""Seconds that an AMI is pending: two hours, or a little less."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A fleet and its circumstances, ready for JSON.

    Instance number n is called `NAME-n`, with two digits at least, and has 1 + n % 6 volumes: with
    these names, a seed and a physics every duration that EC2 draws for an instance is given.
    `parameters` are those of the template, `physics` figures of `sandbox.ec2.physics`. All
    executions that run `killed_after` seconds after the due minute are stopped then. With `at_once`
    the fleet is not due by its schedules: it is named to the planner, all of it, at that minute.
    `latency` is how many seconds a call needs each way, a range. The night is given up after
    `longest_hours`.
    """

    instances: int
    seed: int = 1
    name: str = "night"
    parameters: Mapping[str, str] = field(
        default_factory=lambda: {"MaxConcurrentBackups": "300", "NotifySuccess": "false"}
    )
    physics: Mapping[str, Any] = field(default_factory=lambda: {"image_seconds": TWO_HOURS})
    quotas: Quotas = field(default_factory=Quotas)
    latency: tuple[float, float] = LATENCY
    killed_after: float | None = None
    at_once: bool = False
    longest_hours: float = 48.0

    def name_of(self, number: int) -> str:
        """Return the name of an instance."""
        return f"{self.name}-{number:02}"

    def to_json(self) -> dict[str, Any]:
        """Return the setting, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Setting":
        """Return the setting that `to_json` wrote."""
        quotas: dict[str, Any] = {
            name: Limit(**value) if isinstance(value, Mapping) else value
            for name, value in document["quotas"].items()
        }
        latency = tuple(document["latency"])
        return cls(**{**document, "quotas": Quotas(**quotas), "latency": latency})
