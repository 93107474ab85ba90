"""How long things take in the emulated EC2, and how a guest behaves.

All durations are in seconds of the world's clock. Every draw comes from a generator that is
seeded by the world's seed, the instance's name and the quantity, so that a run repeats itself
whatever the order of the calls.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from random import Random
from typing import Any


@dataclass(frozen=True, slots=True)
class Range:
    """A uniform distribution from `low` to `high`."""

    low: float
    high: float

    def __post_init__(self) -> None:
        """Raise ValueError if the range is negative or upside down."""
        if not 0 <= self.low <= self.high:
            message = f"a range goes from a low to a high number, neither negative: {self}"
            raise ValueError(message)

    @classmethod
    def of(cls, value: object) -> "Range":
        """Make a range of a number or of a pair of numbers; raise ValueError for anything else."""
        match value:
            case Range():
                return value
            case bool():
                pass
            case int() | float():
                return cls(float(value), float(value))
            case [int() | float() as low, int() | float() as high]:
                return cls(float(low), float(high))
            case _:
                pass
        message = f"a duration is a number or a pair [low, high], not {value!r}"
        raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Physics:
    """The figures of a world, or of one instance where they are overridden."""

    # StopInstances to `stopped`; the guest has flushed and unmounted after `flush_share` of it.
    stop_seconds: Range = Range(20, 70)
    flush_share: float = 0.8
    # EC2 pulls the plug on a guest that hangs "within a few minutes" (EC2 User Guide, "How EC2
    # instance stop and start works").
    plug_seconds: float = 240.0
    # StartInstances to `running`; the guest's boot begins to write after `boot_delay_seconds`.
    start_seconds: Range = Range(15, 40)
    boot_delay_seconds: float = 5.0
    # StartInstances to `stopped` again when the launch fails behind the caller's back.
    failed_start_seconds: Range = Range(3, 8)
    # `running` to passed status checks, which run every minute.
    status_check_seconds: Range = Range(60, 120)
    # CreateImage's answer to the first snapshot's StartTime, and from each to the next.
    first_snapshot_seconds: Range = Range(0.4, 1.5)
    next_snapshot_seconds: Range = Range(0.2, 1.5)
    # CreateImage to `available`; a snapshot completes after `snapshot_share` of its way there.
    image_seconds: Range = Range(180, 1200)
    snapshot_share: Range = Range(0.5, 0.95)
    # CopyImage to `available`; the same share of it passes until a snapshot completes.
    copy_seconds: Range = Range(300, 1800)
    # Until a new resource or a new tag is visible, until a change of state is.
    visibility_seconds: Range = Range(0, 1)
    state_lag_seconds: Range = Range(0, 0.5)
    # How long a deregistered image still occupies its name (InvalidAMIName.Duplicate: "If you
    # have recently deregistered an AMI with the same name, allow enough time").
    name_release_seconds: float = 3.0
    # Bytes per second that a running guest writes to each of its volumes, and how old a page
    # grows in its cache before it is written back (Linux: vm.dirty_expire_centisecs, 30 s).
    write_rate: float = 1_000_000.0
    writeback_seconds: float = 30.0

    def changed(self, changes: Mapping[str, object]) -> "Physics":
        """Return these figures with `changes` (name to number or pair); ValueError if unknown."""
        known = {entry.name: entry for entry in fields(self)}
        values: dict[str, Any] = {}
        for name, value in changes.items():
            if name not in known:
                message = f"{name!r} is not a figure of the physics; these are: {', '.join(known)}"
                raise ValueError(message)
            span = Range.of(value)
            values[name] = span if isinstance(getattr(self, name), Range) else _single(name, span)
        return replace(self, **values)


def _single(name: str, span: Range) -> float:
    """Return the one number of `span`; raise ValueError if it is a true range."""
    if span.low != span.high:
        message = f"{name} is one number, not a range"
        raise ValueError(message)
    return span.low


@dataclass(slots=True)
class Dice:
    """Repeatable draws: one generator for each quantity of one thing."""

    seed: str
    _generators: dict[str, Random] = field(default_factory=dict)

    def draw(self, quantity: str, span: Range) -> float:
        """Return the next value of `quantity` within `span`."""
        return self._generator(quantity).uniform(span.low, span.high)

    def hex_digits(self, quantity: str, length: int) -> str:
        """Return the next `length` hexadecimal digits of `quantity`, as for an id."""
        return f"{self._generator(quantity).getrandbits(length * 4):0{length}x}"

    def _generator(self, quantity: str) -> Random:
        """Return the generator of `quantity`."""
        if quantity not in self._generators:
            self._generators[quantity] = Random(f"{self.seed}/{quantity}")
        return self._generators[quantity]
