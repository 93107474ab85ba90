"""What the parts of one run share."""

import random
from dataclasses import dataclass, field

from sandbox.virtual import quotas
from sandbox.virtual.journal import Journal
from sandbox.virtual.meter import Meter
from sandbox.virtual.mischief import Mischief
from sandbox.virtual.quotas import Quotas
from sandbox.virtual.scheduler import Scheduler


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its time, what goes wrong in it, its history, and the seed of all its chance.

    `quotas` are what its account is allowed, `meter` counts what it uses.
    """

    scheduler: Scheduler
    mischief: Mischief
    journal: Journal
    seed: str
    quotas: Quotas = quotas.DEFAULT
    meter: Meter = field(default_factory=Meter)

    def chance(self, part: str) -> random.Random:
        """Return the chance of one part: what others draw does not change it."""
        return random.Random(f"{self.seed}/{part}")
