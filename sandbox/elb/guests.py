"""Since when an instance runs, read from its history in the world."""

from collections.abc import Iterator
from dataclasses import dataclass

from sandbox.ec2.model import Event, Instance

_UP = frozenset({"running", "placed_running"})
_DOWN = frozenset(
    {
        *("stop_requested", "stopped", "placed_stopped", "start_failed"),
        *("reboot_requested", "image_reboot_requested", "termination_requested", "terminated"),
    }
)


@dataclass(slots=True)
class Guest:
    """What was read of one instance's history so far; `running_since` is None while it is down."""

    instance: Instance
    running_since: float | None = None
    _read: int = 0

    def unread(self) -> Iterator[Event]:
        """Yield what has happened since, each event before it is taken into account."""
        events = self.instance.events
        if len(events) < self._read:  # its history was begun anew
            self._read = 0
        while self._read < len(events):
            event = events[self._read]
            yield event
            self._read += 1
            if event.what in _UP:
                self.running_since = event.at
            elif event.what in _DOWN:
                self.running_since = None
