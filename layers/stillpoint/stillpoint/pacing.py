"""Pacing: when each admitted backup begins, so that EC2 can start the instances again in time.

EC2 starts two instances a second in an account and Region, whoever asks (EC2 Developer Guide,
"Request throttling for the Amazon EC2 API": StartInstances). A fleet that is stopped faster than
that stands in line to be started, and is down meanwhile.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

WRITE_AHEAD = timedelta(seconds=8)
"""From the beginning of a backup until its instances show, even to another caller, that it runs.

The last one begins so long before the next tick, which would begin it a second time in vain.
"""


@dataclass(frozen=True, slots=True)
class Pace:
    """How many instances may begin a backup in a minute, and how often the planner looks."""

    per_minute: int
    tick: timedelta

    @property
    def per_tick(self) -> int:
        """How many instances may begin a backup between one tick and the next."""
        return max(1, int(self.per_minute * (self.tick / timedelta(minutes=1))))

    def beginnings(
        self, sizes: Iterable[int], *, now: datetime, scheduled_at: datetime
    ) -> tuple[datetime, ...]:
        """Return the moments at which groups of these sizes begin, one after the other.

        They are evenly apart, and no further than the pace asks for. `scheduled_at` is when the
        tick was to come: what comes late has less time until the next one, but never goes at more
        than twice the pace.
        """
        groups = list(sizes)
        until = scheduled_at + self.tick - WRITE_AHEAD
        step = timedelta(minutes=1) / self.per_minute
        step = max(step / 2, min(step, (until - now) / max(1, sum(groups))))
        moments, before = [], 0
        for size in groups:
            moments.append(now + step * before)
            before += size
        return tuple(moments)
