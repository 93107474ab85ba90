"""The KMS keys that EBS can use in a Region.

Every Region has the AWS managed key `alias/aws/ebs`. Others are added by whoever sets the scene,
or found by whoever keeps the keys (the emulator's KMS).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

# The AWS managed key for EBS, `alias/aws/ebs`, of every account and Region.
DEFAULT_KEY_ID = "00000000-0000-0000-0000-00000000eb50"
DEFAULT_ALIAS = "alias/aws/ebs"

type KeyFinder = Callable[[str], str | None]


def default_key(account: str, region: str) -> str:
    """Return the ARN of an account's AWS managed key for EBS in a Region."""
    return f"arn:aws:kms:{region}:{account}:key/{DEFAULT_KEY_ID}"


@dataclass(slots=True)
class KeyRing:
    """The keys of one account in one Region; `elsewhere` finds the ARN of a key kept elsewhere."""

    account: str
    region: str
    elsewhere: KeyFinder
    customer_keys: set[str] = field(default_factory=set)

    @property
    def default(self) -> str:
        """Return the ARN of the AWS managed key."""
        return default_key(self.account, self.region)

    def add(self, key_id: str) -> str:
        """Add a customer managed key and return its ARN."""
        arn = f"arn:aws:kms:{self.region}:{self.account}:key/{key_id}"
        self.customer_keys.add(arn)
        return arn

    def find(self, key: str) -> str | None:
        """Return the ARN of a key that is given as an ARN, an id or an alias; None if unknown."""
        prefix = f"arn:aws:kms:{self.region}:{self.account}:"
        name = key.removeprefix(prefix).removeprefix("key/")
        if name in (DEFAULT_KEY_ID, DEFAULT_ALIAS):
            return self.default
        arn = f"{prefix}key/{name}"
        return arn if arn in self.customer_keys else self.elsewhere(key)

    def is_default(self, key: str | None) -> bool:
        """Say whether a key is the AWS managed one."""
        return key is not None and self.find(key) == self.default
