"""What AWS allows an account in a Region, beside EC2's request limits.

The figures are those of the smaller Regions and of an account that is no longer new.
"""

from dataclasses import dataclass, field
from typing import Final

from sandbox import rules, service_errors
from sandbox.buckets import Bucket, Limit

START_EXECUTION: Final = Limit(800, 150)
DESCRIBE_EXECUTION: Final = Limit(250, 10)
STATE_TRANSITIONS: Final = Limit(800, 800)
CONCURRENT_INVOCATIONS: Final = 1000
LATENCY: Final = (0.02, 0.25)
"""Seconds that a call needs each way; no quota, and nothing that AWS documents."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """The limits of Step Functions and Lambda.

    Step Functions Developer Guide, "Service quotas"; Lambda Developer Guide, "Lambda quotas".
    `neighbour` is the share of every limit of requests, EC2's too, that another tool of the
    account takes all the time: at least 0, less than 1.
    """

    start_execution: Limit = START_EXECUTION
    describe_execution: Limit = DESCRIBE_EXECUTION
    state_transitions: Limit = STATE_TRANSITIONS
    history_events: int = rules.HISTORY_LIMIT
    concurrent_invocations: int = CONCURRENT_INVOCATIONS
    neighbour: float = 0.0


DEFAULT: Final = Quotas()


@dataclass(slots=True)
class Turnstile:
    """Step Functions' token buckets.

    A request without a token is refused; a state's beginning, or its retry, waits for one.
    """

    quotas: Quotas
    _buckets: dict[str, Bucket] = field(default_factory=dict)

    def admit(self, action: str, now: float) -> None:
        """Take a token for a request. Raises ServiceError."""
        limit = {
            "StartExecution": self.quotas.start_execution,
            "DescribeExecution": self.quotas.describe_execution,
        }.get(action)
        if limit is not None and not self._bucket(action, limit, now).take(now):
            raise service_errors.throttled("stepfunctions")

    def transition(self, now: float) -> float:
        """Take a token for a state transition; return the seconds until it may happen."""
        return self._bucket("StateTransition", self.quotas.state_transitions, now).wait(now)

    def _bucket(self, name: str, limit: Limit, now: float) -> Bucket:
        if name not in self._buckets:
            self._buckets[name] = Bucket.full(limit.beside(self.quotas.neighbour), now)
        return self._buckets[name]
