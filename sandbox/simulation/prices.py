"""What a backup's orchestration costs, in us-east-1 and without the free tiers."""

from typing import Final

USD_PER_TRANSITION: Final = 0.025 / 1000
"""Step Functions pricing, Standard workflows."""
USD_PER_GB_SECOND: Final = 0.0000133334
"""Lambda pricing, arm64."""
USD_PER_INVOCATION: Final = 0.20 / 1_000_000
"""Lambda pricing."""
USD_PER_LOG_GB: Final = 0.50
"""CloudWatch pricing, logs that are taken in. A GB is 2 to the power of 30 bytes here."""
MB_PER_GB: Final = 1024


def lambda_usd(invocations: int, billed_ms: float, memory_mb: int) -> float:
    """Return the price of a function's invocations."""
    gb_seconds = billed_ms / 1000 * memory_mb / MB_PER_GB
    return invocations * USD_PER_INVOCATION + gb_seconds * USD_PER_GB_SECOND


def log_usd(size: int) -> float:
    """Return the price of so many bytes of logs and metrics."""
    return size / 2**30 * USD_PER_LOG_GB
