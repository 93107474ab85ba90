"""What the functions print: counted, and never shown."""

import io
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_EMF = '"CloudWatchMetrics"'
_HEAD = 100  # characters within which a metric's document says what it is


class Output(io.TextIOBase):
    """A stream that takes the place of standard output.

    `logs` and `metrics` are bytes by the name of the function that wrote them; a metric is a line
    in CloudWatch's embedded metric format.
    """

    def __init__(self) -> None:
        super().__init__()
        self.logs: Counter[str] = Counter()
        self.metrics: Counter[str] = Counter()
        self.writer: Callable[[], str] = lambda: ""
        self._last = self.logs

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def write(self, text: str) -> int:
        """Count a text; the end of a line belongs to what is before it."""
        if text.strip():
            self._last = self.metrics if _EMF in text[:_HEAD] else self.logs
        self._last[self.writer()] += len(text.encode())
        return len(text)

    def clear(self) -> None:
        """Begin anew."""
        self.logs.clear()
        self.metrics.clear()
