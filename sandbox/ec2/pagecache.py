"""The page cache of a guest: what its applications have written and its volume does not hold.

A running guest writes to every volume all the time, at a steady rate. What it writes is
acknowledged at once and reaches the volume when it has grown old enough. A snapshot holds what
had reached its volume at the snapshot's StartTime (EBS User Guide, "Create Amazon EBS
snapshots"), so a snapshot of a running instance misses the youngest writes. A clean shutdown
flushes everything; a pulled plug loses what was in the cache, and the volume stays unclean until
the guest has booted from it again. A freeze flushes everything and holds the writers until the
thaw, so nothing is acknowledged that the volume misses.
"""

import math
from dataclasses import dataclass


@dataclass(slots=True)
class PageCache:
    """The cache of one guest in front of one of its volumes."""

    write_rate: float
    writeback_seconds: float
    _writing_since: float | None = None
    _lost_bytes: int = 0
    _frozen: bool = False

    @property
    def writing(self) -> bool:
        """Say whether a guest is up and writes to the volume."""
        return self._writing_since is not None

    @property
    def frozen(self) -> bool:
        """Say whether the file system is frozen: who writes to it waits."""
        return self._frozen

    def boot(self, now: float) -> None:
        """Let a guest start writing at `now`; its boot replays the journal of an unclean volume."""
        self._lost_bytes = 0
        self._frozen = False
        self._writing_since = now

    def freeze(self) -> None:
        """Let the guest write everything back and hold its writers, if it is up."""
        if self.writing:
            self._frozen = True
            self._writing_since = None

    def thaw(self, now: float) -> None:
        """Let the writers of a frozen file system go on at `now`."""
        if self._frozen:
            self._frozen = False
            self._writing_since = now

    def flush(self) -> None:
        """Let the guest write everything back and unmount: a clean shutdown.

        A volume that an earlier pulled plug left unclean, and that no guest has booted from
        since, stays unclean.
        """
        self._frozen = False
        self._writing_since = None

    def pull_plug(self, now: float) -> None:
        """Stop the guest at `now` without a flush: what is in the cache is lost for good."""
        self._lost_bytes = self.dirty_bytes(now)
        self._frozen = False
        self._writing_since = None

    def dirty_bytes(self, now: float) -> int:
        """Return how many acknowledged bytes the volume misses at `now`."""
        if self._writing_since is None:
            return self._lost_bytes
        age = min(now - self._writing_since, self.writeback_seconds)
        return math.ceil(max(age, 0.0) * self.write_rate)
