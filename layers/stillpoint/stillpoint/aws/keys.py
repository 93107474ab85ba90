"""KMS keys: what KMS says of those that encrypt volumes and snapshots."""

from dataclasses import dataclass

from botocore.exceptions import ClientError

from stillpoint.aws.client import client, error_code, translated
from stillpoint.errors import AwsRefused


@dataclass(frozen=True, slots=True)
class Key:
    """A KMS key. `aws_managed` keys may be used through EC2 by every principal of the account."""

    aws_managed: bool
    enabled: bool


def describe_key(kms_key_arn: str, *, region: str | None = None) -> Key | None:
    """Return what KMS says of a key, or None if it may not be looked at: it is somebody's own.

    `region` is the key's, if that is not the function's own.

    A key that is disabled or about to be deleted does not disturb a running instance, whose
    volumes keep their data keys, but the next start needs it (KMS Developer Guide, "How unusable
    KMS keys affect data keys").
    """
    try:
        with translated(f"reading the key {kms_key_arn}"):
            row = client("kms", region).describe_key(KeyId=kms_key_arn)["KeyMetadata"]
    except AwsRefused as error:
        cause = error.__cause__
        if isinstance(cause, ClientError) and error_code(cause) in {
            "AccessDeniedException",
            "NotFoundException",
        }:
            return None
        raise
    return Key(row["KeyManager"] == "AWS", row.get("KeyState", "Enabled") == "Enabled")
