"""One call of the EC2 API, as the operations and the faults see it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """A request: its action, its parameters by the SDK's names, who sent it and when.

    `instances` holds the ids of the instances that it concerns, for an image or a snapshot those
    of the instance that it was made from. `forbidden` holds the ids of snapshots that the caller
    may not delete, for a call that would delete them on the side.
    """

    action: str
    params: Mapping[str, Any]
    principal: str
    at: float
    instances: tuple[str, ...] = field(default=())
    region: str = ""
    forbidden: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class CallRecord:
    """What is remembered of a call: enough to count calls and to read what happened."""

    action: str
    principal: str
    at: float
    region: str
    instances: tuple[str, ...]
    error: str | None
