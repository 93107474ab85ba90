"""What the orchestration of a backup costs, in us-east-1 and without the free tiers."""

from typing import Final

from benchmarks.downtime import Run

USD_PER_TRANSITION: Final = 0.025 / 1000
"""Step Functions pricing, Standard workflows."""
USD_PER_GB_SECOND: Final = 0.0000133334
"""Lambda pricing, arm64."""
USD_PER_INVOCATION: Final = 0.20 / 1_000_000
"""Lambda pricing."""
MEMORY_GB: Final = 0.25
"""The functions of the state machine have 256 MB."""


def usd(run: Run) -> float:
    """Return the price of one backup of a run: its transitions and its functions."""
    seconds = sum(run.lambda_ms.values()) / 1000
    total = (
        run.transitions * USD_PER_TRANSITION
        + seconds * MEMORY_GB * USD_PER_GB_SECOND
        + sum(run.lambda_calls.values()) * USD_PER_INVOCATION
    )
    return total / run.backups
