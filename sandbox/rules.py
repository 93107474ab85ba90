"""Rules of the Amazon States Language that need no execution: matching errors, delays, limits."""

import json
import math
import random
from collections.abc import Mapping
from typing import Any, Final

from sandbox.tasks import StateError

# Step Functions Developer Guide, "Service quotas".
PAYLOAD_LIMIT: Final = 262_144  # bytes
HISTORY_LIMIT: Final = 25_000  # events
INLINE_MAP_LIMIT: Final = 40  # concurrent iterations


def matches(holder: Mapping[str, Any], failure: StateError) -> bool:
    """Say whether a retrier or catcher names the error.

    Step Functions Developer Guide, "Handling errors".
    """
    names = holder["ErrorEquals"]
    if failure.error == "States.Runtime":
        return False  # cannot be caught at all
    if failure.error in names:
        return True
    if failure.error == "States.DataLimitExceeded":
        return False  # caught by its own name only
    return "States.ALL" in names or (
        "States.TaskFailed" in names and failure.error != "States.Timeout"
    )


def retry_delay(retrier: Mapping[str, Any], used: int, chance: random.Random) -> float:
    """Return the seconds before the next try, after `used` retries by this retrier."""
    interval = float(retrier.get("IntervalSeconds", 1))
    delay = interval * float(retrier.get("BackoffRate", 2.0)) ** used
    delay = min(delay, float(retrier.get("MaxDelaySeconds", math.inf)))
    return chance.uniform(0, delay) if retrier.get("JitterStrategy") == "FULL" else delay


def within_limit(value: Any) -> Any:
    """Return the value itself; raise StateError if its JSON is larger than a payload may be."""
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    if size > PAYLOAD_LIMIT:
        raise StateError(
            "States.DataLimitExceeded",
            f"{size} bytes are more than the limit of {PAYLOAD_LIMIT} bytes",
        )
    return value
