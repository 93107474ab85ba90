"""EC2's request throttling: token buckets per account, Region and API action.

EC2 Developer Guide, "Request throttling for the Amazon EC2 API": each call takes a token from its
bucket, a bucket refills steadily up to its size, and an empty one answers RequestLimitExceeded
with HTTP 503. RunInstances, StartInstances, StopInstances and TerminateInstances also take one
token per instance from a second bucket.
"""

from dataclasses import dataclass, field

from sandbox.ec2.errors import Ec2Error


@dataclass(frozen=True, slots=True)
class Limit:
    """The size of a bucket and its refill per second."""

    size: float
    refill: float


_REQUESTS = {
    "RunInstances": Limit(5, 2),
    "StartInstances": Limit(5, 2),
    "CopyImage": Limit(100, 1),
    "CreateStoreImageTask": Limit(50, 0.1),
    "DeregisterImage": Limit(100, 5),
    "CreateSnapshot": Limit(100, 5),
    "DeleteSnapshot": Limit(100, 5),
    "ModifyImageAttribute": Limit(100, 5),
    "ModifySnapshotAttribute": Limit(100, 5),
    "TerminateInstances": Limit(100, 5),
    "CreateTags": Limit(100, 10),
    "DeleteTags": Limit(100, 10),
}
_READING = Limit(100, 20)
_CHANGING = Limit(50, 5)
_UNFILTERED = Limit(50, 10)
_RESOURCES = {
    "RunInstances": Limit(1000, 2),
    "StartInstances": Limit(1000, 2),
    "StopInstances": Limit(1000, 20),
    "TerminateInstances": Limit(1000, 20),
}
# Without a filter or pages these four draw on a smaller bucket of their own. The page does not say
# whether a list of ids counts as a filter; here it does not.
_COSTLY_UNFILTERED = frozenset(
    {"DescribeInstances", "DescribeInstanceStatus", "DescribeSnapshots", "DescribeVolumes"}
)


@dataclass(slots=True)
class _Bucket:
    """A token bucket with its level at a moment."""

    limit: Limit
    level: float
    as_of: float

    def has(self, tokens: float, now: float) -> bool:
        """Refill up to `now` and say whether `tokens` are there."""
        refilled = self.level + max(now - self.as_of, 0) * self.limit.refill
        self.level, self.as_of = min(self.limit.size, refilled), now
        return self.level >= tokens


@dataclass(slots=True)
class Throttle:
    """The buckets of one account in one Region."""

    enabled: bool = True
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    def admit(self, action: str, now: float, *, instances: int = 0, narrowed: bool = True) -> None:
        """Take the tokens of a call, or raise RequestLimitExceeded and take none.

        `instances` is how many instances the call names, `narrowed` whether it has filters or
        pages.
        """
        if not self.enabled:
            return
        wanted = [(self._request_bucket(action, now, narrowed=narrowed), 1.0)]
        if action in _RESOURCES and instances:
            bucket = self._bucket(f"{action} instances", _RESOURCES[action], now)
            wanted.append((bucket, float(instances)))
        if not all(bucket.has(tokens, now) for bucket, tokens in wanted):
            raise Ec2Error("RequestLimitExceeded", "Request limit exceeded.", 503)
        for bucket, tokens in wanted:
            bucket.level -= tokens

    def _request_bucket(self, action: str, now: float, *, narrowed: bool) -> _Bucket:
        """Return the bucket that requests of `action` draw on."""
        if action in _COSTLY_UNFILTERED and not narrowed:
            return self._bucket(f"{action} unfiltered", _UNFILTERED, now)
        default = _READING if action.startswith(("Describe", "List")) else _CHANGING
        return self._bucket(action, _REQUESTS.get(action, default), now)

    def _bucket(self, name: str, limit: Limit, now: float) -> _Bucket:
        """Return the bucket `name`, full at first."""
        if name not in self._buckets:
            self._buckets[name] = _Bucket(limit, limit.size, now)
        return self._buckets[name]
