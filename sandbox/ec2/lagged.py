"""Eventual consistency: a value whose changes are seen a moment after they took effect.

EC2 Developer Guide, "Eventual consistency in the Amazon EC2 API": the result of a command might
not be immediately visible to all subsequent commands.
"""

from collections.abc import Iterable


class Lagged[T]:
    """A value with two faces: what is true now, and what a Describe call shows."""

    def __init__(self, value: T) -> None:
        """Begin with `value`, visible at once."""
        self.value = value
        self._seen: list[tuple[float, T]] = [(float("-inf"), value)]

    def change(self, value: T, visible_at: float) -> None:
        """Make `value` true at once and visible from `visible_at` (epoch seconds) on."""
        self.value = value
        self._seen.append((max(visible_at, self._seen[-1][0]), value))

    def faces(self) -> Iterable[T]:
        """Return everything that a Describe call may show from now on."""
        return (value for _, value in self._seen)

    def settle(self, value: T) -> None:
        """Make `value` true and visible at once."""
        self.value = value
        self._seen = [(float("-inf"), value)]

    def seen(self, now: float) -> T:
        """Return what a Describe call shows at `now`."""
        while len(self._seen) > 1 and self._seen[1][0] <= now:
            self._seen.pop(0)
        return self._seen[0][1]
