"""What is going to happen: a queue of events, each with its moment.

Nothing runs by itself. Whoever looks at the world first lets everything happen whose moment has
passed, in order and each at its own moment, so that a world which nobody watched for an hour is
in the same state as one that was polled every second.
"""

import heapq
from collections.abc import Callable
from itertools import count

type Happening = Callable[[float], None]


class Agenda:
    """A queue of events of one Region, ordered by their moment."""

    def __init__(self) -> None:
        """Make an empty agenda."""
        self._queue: list[tuple[float, int, Happening]] = []
        self._order = count()

    def at(self, moment: float, happening: Happening) -> None:
        """Let `happening(moment)` be called once the world has reached `moment` (epoch seconds)."""
        heapq.heappush(self._queue, (moment, next(self._order), happening))

    def run_until(self, now: float) -> None:
        """Let everything happen whose moment is not later than `now`, in order."""
        while self._queue and self._queue[0][0] <= now:
            moment, _, happening = heapq.heappop(self._queue)
            happening(moment)
