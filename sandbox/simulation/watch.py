"""What is seen of a fleet while the night passes: when each instance was in a backup."""

from collections.abc import Iterable, Mapping

type Interval = tuple[float, float]

CYCLE = "stillpoint:cycle"


class Watch:
    """Hears of every change of a tag. Moments are epoch seconds."""

    def __init__(self) -> None:
        self.cycles: dict[str, list[Interval]] = {}
        self.open: dict[str, float] = {}

    def tags_changed(self, resource_id: str, tags: Mapping[str, str], now: float) -> None:
        """Hear that these are all the tags of a resource now."""
        if CYCLE in tags:
            self.open.setdefault(resource_id, now)
        elif resource_id in self.open:
            interval = self.open.pop(resource_id), now
            self.cycles.setdefault(resource_id, []).append(interval)

    def of(self, resource_id: str, now: float) -> list[Interval]:
        """Return when a resource had the cycle tag, up to now."""
        last = [(self.open[resource_id], now)] if resource_id in self.open else []
        return [*self.cycles.get(resource_id, []), *last]


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the times that are in any of the intervals, without overlaps."""
    result: list[Interval] = []
    for begin, end in sorted(intervals):
        if result and begin <= result[-1][1]:
            result[-1] = result[-1][0], max(result[-1][1], end)
        else:
            result.append((begin, end))
    return result


def peak(intervals: Iterable[Interval]) -> int:
    """Return how many intervals there are at most at any moment; an end makes room first."""
    changes = sorted(
        change for begin, end in intervals for change in ((begin, 1), (end, -1)) if end > begin
    )
    most = level = 0
    for _, change in changes:
        level += change
        most = max(most, level)
    return most
