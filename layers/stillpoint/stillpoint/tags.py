"""The tags that Stillpoint reads and writes, and the formats of their values."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Self

PREFIX = "stillpoint:"
VALUE_LIMIT = 256
"""Characters in a tag's value (EC2 User Guide, "Tag your Amazon EC2 resources")."""

_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_FINGERPRINT = re.compile(r"[0-9a-f]{8}")
_FAILED = re.compile(r"([0-9a-f]{8}) failed=([1-9]) at=(\S+)")
_CYCLE = re.compile(r"execution=(\S+) before=(\S+) since=(\S+?)(?: alerted=(\S+))?")


class Tag(StrEnum):
    """Every tag key of Stillpoint."""

    # Written by the owner, on the instance.
    SCHEDULE = "stillpoint:schedule"
    METHOD = "stillpoint:method"
    RETAIN = "stillpoint:retain"
    GROUP = "stillpoint:group"
    ANTI_AFFINITY = "stillpoint:anti-affinity"
    ACCEPT = "stillpoint:accept"
    COPY_TO = "stillpoint:copy-to"
    PRE = "stillpoint:pre"
    POST = "stillpoint:post"
    HOLD = "stillpoint:hold"
    # Written by Stillpoint, on the instance.
    CYCLE = "stillpoint:cycle"
    LAST = "stillpoint:last"
    UNDO = "stillpoint:undo"
    PROBLEM = "stillpoint:problem"
    RECOVERY_POINT = "stillpoint:recovery-point"
    # Written by Stillpoint, on the AMI and its snapshots.
    STACK = "stillpoint:stack"
    INSTANCE = "stillpoint:instance"
    EXECUTION = "stillpoint:execution"
    OCCURRENCE = "stillpoint:occurrence"
    CONSISTENCY = "stillpoint:consistency"
    EVIDENCE = "stillpoint:evidence"
    GROUP_CONSISTENCY = "stillpoint:group-consistency"
    STOPPED_AT = "stillpoint:stopped-at"
    CAPTURED_AT = "stillpoint:captured-at"
    RESUMED_AT = "stillpoint:resumed-at"
    TIME_ZONE = "stillpoint:time-zone"
    COPYING = "stillpoint:copying"
    COPY_OF = "stillpoint:copy-of"
    SHARED_WITH = "stillpoint:shared-with"
    PROTECTED = "stillpoint:protected"
    ENDED_AT = "stillpoint:ended-at"


OWNER_TAGS = frozenset(
    {
        Tag.SCHEDULE,
        Tag.METHOD,
        Tag.RETAIN,
        Tag.GROUP,
        Tag.ANTI_AFFINITY,
        Tag.ACCEPT,
        Tag.COPY_TO,
        Tag.PRE,
        Tag.POST,
        Tag.HOLD,
    }
)
"""The keys that an owner may set; every other key is written by Stillpoint."""


def portable(text: str, limit: int = VALUE_LIMIT) -> str:
    """Return the text as a tag value that every AWS service takes.

    Letters, digits, space and `+ - = . _ : / @` stay (EC2 User Guide, "Tag your Amazon EC2
    resources"), anything else becomes `_`, and what exceeds the limit is cut.
    """
    kept = (ch if ch.isalnum() or ch in " +-=._:/@" else "_" for ch in text[:limit])
    return "".join(kept)


def printable(text: str, limit: int = 40) -> str:
    """Return the text fit for a message: on one line, free of control characters, shortened.

    A character that cannot be printed becomes `?`, and a text that is longer than the limit
    ends in `...`, which counts towards the limit.
    """
    head = text if len(text) <= limit else text[: limit - 3] + "..."
    return "".join(ch if ch.isprintable() else "?" for ch in head)


def iso(moment: datetime) -> str:
    """Return an aware datetime as `2026-11-22T03:00:00Z`."""
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def compact(moment: datetime) -> str:
    """Return an aware datetime as `20261122T030000Z`, which every AWS name can hold."""
    return iso(moment).replace("-", "").replace(":", "")


def parse_iso(text: str) -> datetime | None:
    """Return the UTC datetime that `iso` wrote, or None if the text is anything else."""
    if not _ISO.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Cursor:
    """The value of `stillpoint:last`: up to where an instance's schedule has been handled.

    `fingerprint` is that of the schedules it was handled for, 8 hexadecimal digits: a cursor
    of another schedule says nothing about this one. `failed_attempts` says how often the backup of
    this occurrence has failed so far, the last time at `failed_at`; it is 0 unless there may be
    need of another attempt.
    """

    occurrence: datetime
    fingerprint: str
    failed_attempts: int = 0
    failed_at: datetime | None = None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the cursor in the text, or None if it is anything else.

        It is `2026-11-22T03:00:00Z 1a2b3c4d`, followed by `failed=1 at=2026-11-22T03:25:00Z`
        after a failure.
        """
        moment, _, rest = text.partition(" ")
        occurrence = parse_iso(moment)
        if occurrence is None:
            return None
        if _FINGERPRINT.fullmatch(rest):
            return cls(occurrence, rest)
        match = _FAILED.fullmatch(rest)
        failed_at = parse_iso(match[3]) if match else None
        if match is None or failed_at is None:
            return None
        return cls(occurrence, match[1], int(match[2]), failed_at)

    def render(self) -> str:
        """Return the tag's value."""
        value = f"{iso(self.occurrence)} {self.fingerprint}"
        if self.failed_at is None:
            return value
        return f"{value} failed={self.failed_attempts} at={iso(self.failed_at)}"


@dataclass(frozen=True, slots=True)
class Cycle:
    """The value of `stillpoint:cycle`: the execution in charge, and what to put back.

    `state_before` is the EC2 name of the state in which the backup found the instance.
    `alerted_at` is when people were last told that it does not start again.
    """

    execution: str
    state_before: str
    since: datetime
    alerted_at: datetime | None = None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the cycle in `execution=... before=running since=...`, or None."""
        match = _CYCLE.fullmatch(text)
        since = parse_iso(match[3]) if match else None
        if match is None or since is None:
            return None
        return cls(match[1], match[2], since, parse_iso(match[4] or ""))

    def render(self) -> str:
        """Return the tag's value."""
        alerted = f" alerted={iso(self.alerted_at)}" if self.alerted_at else ""
        since = iso(self.since)
        return f"execution={self.execution} before={self.state_before} since={since}{alerted}"


@dataclass(frozen=True, slots=True)
class LastRecoveryPoint:
    """The value of `stillpoint:recovery-point`: the newest recovery point of an instance.

    `consistency` is the level that was proven: `application`, `file-system` or `crash`.
    """

    captured_at: datetime
    image_id: str
    consistency: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the point in `2026-11-22T03:01:12Z ami-0abc file-system`, or None."""
        words = text.split(" ")
        captured_at = parse_iso(words[0])
        if len(words) != 3 or captured_at is None:  # noqa: PLR2004 (the three fields)
            return None
        return cls(captured_at, words[1], words[2])

    def render(self) -> str:
        """Return the tag's value."""
        return f"{iso(self.captured_at)} {self.image_id} {self.consistency}"
