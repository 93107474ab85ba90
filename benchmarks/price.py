"""What the orchestration of a backup cost in a run at real speed."""

from typing import Final

from benchmarks.downtime import Costs, Run
from sandbox.simulation.prices import USD_PER_TRANSITION, lambda_usd

MEMORY_MB: Final = 256
"""The memory of the functions that take part in a backup."""


def usd(run: Run, costs: Costs) -> float:
    """Return the price of one backup of a run: its transitions and its functions."""
    functions = lambda_usd(costs.lambda_calls, costs.lambda_ms, MEMORY_MB)
    return (run.transitions * USD_PER_TRANSITION + functions) / run.backups
