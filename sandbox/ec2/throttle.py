"""EC2's request throttling: token buckets per account, Region and API action.

EC2 Developer Guide, "Request throttling for the Amazon EC2 API": each call takes a token from its
bucket, a bucket refills steadily up to its size, and an empty one answers RequestLimitExceeded
with HTTP 503. RunInstances, StartInstances, StopInstances and TerminateInstances also take one
token per instance from a second bucket.
"""

from dataclasses import dataclass, field

from sandbox.buckets import Bucket, Limit
from sandbox.ec2.errors import Ec2Error

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


def request_limit(action: str, *, narrowed: bool = True) -> Limit:
    """Return the bucket that requests of `action` draw on.

    `narrowed` says whether they have filters or pages.
    """
    if action in _COSTLY_UNFILTERED and not narrowed:
        return _UNFILTERED
    default = _READING if action.startswith(("Describe", "List")) else _CHANGING
    return _REQUESTS.get(action, default)


def instance_limit(action: str) -> Limit | None:
    """Return the bucket that `action` takes one token from for each instance, if it has one."""
    return _RESOURCES.get(action)


@dataclass(slots=True)
class Throttle:
    """The buckets of one account in one Region.

    `neighbour` is the share of every bucket, below 1, that another tool of the account takes.
    """

    enabled: bool = True
    neighbour: float = 0.0
    _buckets: dict[str, Bucket] = field(default_factory=dict)

    def admit(self, action: str, now: float, *, instances: int = 0, narrowed: bool = True) -> None:
        """Take the tokens of a call, or raise RequestLimitExceeded and take none.

        `instances` is how many instances the call names, `narrowed` whether it has filters or
        pages.
        """
        if not self.enabled:
            return
        name = f"{action} unfiltered" if action in _COSTLY_UNFILTERED and not narrowed else action
        wanted = [(self._bucket(name, request_limit(action, narrowed=narrowed), now), 1.0)]
        per_instance = instance_limit(action)
        if per_instance and instances:
            bucket = self._bucket(f"{action} instances", per_instance, now)
            wanted.append((bucket, float(instances)))
        if not all(bucket.has(tokens, now) for bucket, tokens in wanted):
            raise Ec2Error("RequestLimitExceeded", "Request limit exceeded.", 503)
        for bucket, tokens in wanted:
            bucket.level -= tokens

    def _bucket(self, name: str, limit: Limit, now: float) -> Bucket:
        """Return the bucket `name`, full at first."""
        if name not in self._buckets:
            self._buckets[name] = Bucket.full(limit.beside(self.neighbour), now)
        return self._buckets[name]
