"""Token buckets: how AWS's services limit what is asked of them.

EC2 Developer Guide, "Request throttling for the Amazon EC2 API", and Step Functions Developer
Guide, "Service quotas": a bucket has a size and refills steadily up to it, a call takes a token.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """The size of a bucket and its refill per second."""

    size: float
    refill: float

    def beside(self, share: float) -> "Limit":
        """Return what is left of the bucket beside a neighbour that always takes this share.

        A bucket that cannot hold one token would never give one.
        """
        return Limit(max(1.0, self.size * (1 - share)), self.refill * (1 - share))


@dataclass(slots=True)
class Bucket:
    """A token bucket with its level at a moment (epoch seconds)."""

    limit: Limit
    level: float
    as_of: float

    @classmethod
    def full(cls, limit: Limit, now: float) -> "Bucket":
        """Return a bucket that nobody has taken from yet."""
        return cls(limit, limit.size, now)

    def has(self, tokens: float, now: float) -> bool:
        """Refill up to `now` and say whether `tokens` are there."""
        refilled = self.level + max(now - self.as_of, 0) * self.limit.refill
        self.level, self.as_of = min(self.limit.size, refilled), now
        return self.level >= tokens

    def take(self, now: float) -> bool:
        """Take one token and return true, or none if there is none."""
        if not self.has(1, now):
            return False
        self.level -= 1
        return True

    def wait(self, now: float) -> float:
        """Take one token, in advance if there is none, and return the seconds until it is due."""
        self.has(1, now)
        self.level -= 1
        return max(0.0, -self.level / self.limit.refill)
