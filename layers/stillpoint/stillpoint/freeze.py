"""Freezing: what a guest says of its freeze, and what that proves in AWS's time.

A guest's clock is not trusted. What it says is only used as a distance from a reading that was
taken between two moments that AWS knows: when the command was sent, and when its answer was seen.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from stillpoint.tags import portable

RESOLUTION = timedelta(seconds=1)
"""How exactly a snapshot's StartTime is certain to be given: it may be cut to the second."""
AUTO_THAWED = 203
"""The exit code of a thaw that came after the guest had thawed itself."""
NEVER_HELD = 201
"""The exit code of the thaw of what was never frozen as a whole."""
NO_FREEZE = 204
"""The exit code of a thaw in a guest that knows of no freeze of this execution."""

_LONGEST = 86_400.0
_WORDS_OF_THE_GUEST = 120


@dataclass(frozen=True, slots=True)
class FreezeAnswer:
    """What a guest answers to `freeze`, by its own clock, in seconds.

    `now` is when it answered, `begin` and `end` are when the freeze is to begin and to end.
    """

    now: float
    begin: float
    end: float
    filesystems: tuple[str, ...]

    @classmethod
    def parse(cls, output: str) -> Self | None:
        """Return the answer in what the command wrote, or None if it cannot be read."""
        row = read_answer(output)
        now, begin, end = (number(row.get(key)) for key in ("now", "from", "until"))
        names = row.get("filesystems")
        if now is None or begin is None or end is None or not isinstance(names, list):
            return None
        if not now <= begin <= end:
            return None
        return cls(now, begin, end, tuple(str(name) for name in names))


@dataclass(frozen=True, slots=True)
class FreezeWindow:
    """From when to when a guest was certainly frozen, in AWS's time."""

    begin: datetime
    end: datetime

    @classmethod
    def between(
        cls, sent_at: datetime, seen_at: datetime, *, now: float, begin: float, end: float
    ) -> Self:
        """Return the window of a freeze from `begin` to `end` by the clock of the guest.

        That clock showed `now` some time between `sent_at` and `seen_at`. So the freeze began at
        the latest as long after `seen_at`, and ended at the earliest as long after `sent_at`. The
        window may be empty, with its end before its beginning.
        """
        return cls(seen_at + timedelta(seconds=begin - now), sent_at + timedelta(seconds=end - now))

    def holds(self, started_at: datetime) -> bool:
        """Return whether a snapshot with this StartTime was initiated within the window."""
        second = started_at.replace(microsecond=0)
        return self.begin <= started_at and second + RESOLUTION <= self.end

    @property
    def span(self) -> timedelta:
        """How long it is."""
        return self.end - self.begin


@dataclass(frozen=True, slots=True)
class FreezeProof:
    """What is known of a freeze of one instance.

    `window` is None if nothing is proven; then `problem` says why, in words that fit a tag.
    `vss` says that it was Windows' own: then there is no window, and no problem if the document
    of AWS succeeded.
    """

    window: FreezeWindow | None = None
    problem: str = ""
    vss: bool = False


def prove(freeze: Mapping[str, Any] | None, thaw: Mapping[str, Any] | None) -> FreezeProof:
    """Return what the record of a freeze and that of its end prove.

    `freeze` is a row of `freeze_instances`, `thaw` what `rejoin_instances` says of the end; either
    is None if there is none. Raises KeyError, TypeError or ValueError if a row is none of ours.
    """
    thaw = thaw or {}
    if freeze is None:
        return FreezeProof(problem="there is no proof that a freeze held")
    if freeze.get("vss"):
        status = thaw.get("vss", "unknown")
        problem = f"the VSS document of AWS ended with the status {portable(str(status), 40)}"
        return FreezeProof(vss=True, problem="" if status == "Success" else problem)
    problem = _problem_of(thaw)
    if problem:
        return FreezeProof(problem=problem)
    window = FreezeWindow.between(
        datetime.fromisoformat(freeze["sent_at"]),
        datetime.fromisoformat(freeze["seen_at"]),
        now=float(freeze["guest_now"]),
        begin=float(thaw["from"]),
        end=float(thaw["until"]),
    )
    if window.span < RESOLUTION:
        return FreezeProof(
            problem=f"its freeze of {thaw['until'] - thaw['from']:.0f} s was too short for how"
            " exactly it is known when it was"
        )
    return FreezeProof(window)


def read_answer(output: str) -> Mapping[str, Any]:
    """Return the object in the last line of what a command wrote; nothing if there is none."""
    lines = output.split("\n---", 1)[0].strip().splitlines()
    try:
        row = json.loads(lines[-1]) if lines else None
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


def number(value: object) -> float | None:
    """Return a number of seconds that a guest gave, or None if it is no sensible one."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value) if 0 <= value < 1e11 else None  # noqa: PLR2004 (the year 5138)


def _problem_of(thaw: Mapping[str, Any]) -> str:
    """Return why a thaw proves nothing, or an empty text if it proves that the freeze held."""
    code = thaw.get("exit_code")
    begin, end = number(thaw.get("from")), number(thaw.get("until"))
    held = end - begin if begin is not None and end is not None else 0.0
    told = portable(" ".join(str(each) for each in thaw.get("failed") or ()), _WORDS_OF_THE_GUEST)
    itself = f"the guest had to thaw itself after {held:.0f} s"
    if code == 0:
        unread = "what the guest said of its freeze cannot be read"
        return "" if 0 < held < _LONGEST else unread
    words = {
        None: "how its freeze ended is not known",
        NEVER_HELD: f"its freeze never held: {told or 'it was called off'}",
        AUTO_THAWED: f"its freeze did not hold to the end: {told}" if told else itself,
        NO_FREEZE: "the guest knows of no freeze: it may have been restarted",
    }
    return words.get(code) or f"its thaw ended with the exit code {portable(str(code), 20)}"
