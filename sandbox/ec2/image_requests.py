"""What requests that make an image have in common: its name, its words and its tags."""

import re
from collections.abc import Mapping
from typing import Any

from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.region import Region

# The stricter of the two sets that AWS documents, that of the error InvalidAMIName.Malformed.
_NAME = re.compile(r"[A-Za-z0-9()./_-]{3,128}")
MAX_DESCRIPTION = 255


def check_words(name: str, description: str) -> None:
    """Raise Ec2Error for a name or a description that EC2 refuses."""
    if not _NAME.fullmatch(name):
        message = "AMI names must be between 3 and 128 characters long, and may contain letters, "
        raise Ec2Error(
            "InvalidAMIName.Malformed", message + "numbers, '(', ')', '.', '-', '/' and '_'"
        )
    if len(description) > MAX_DESCRIPTION:
        message = f"The description exceeds {MAX_DESCRIPTION} characters"
        raise Ec2Error("InvalidParameterValue", message)


def check_kinds(specifications: list[Mapping[str, Any]]) -> None:
    """Raise Ec2Error for tags on anything but the image and its snapshots."""
    for specification in specifications:
        kind = specification.get("ResourceType")
        if kind not in ("image", "snapshot"):
            message = f"'{kind}' is not a valid taggable resource type for this operation."
            raise Ec2Error("InvalidParameterValue", message)


def check_name_is_free(region: Region, name: str, now: float) -> None:
    """Raise InvalidAMIName.Duplicate if an image has the name, or had it a moment ago."""
    if holder := region.name_holder(name, now):
        message = f"AMI name {name} is already in use by AMI {holder.image_id}"
        raise Ec2Error("InvalidAMIName.Duplicate", message)


def require(params: Mapping[str, Any], *names: str) -> list[str]:
    """Return the values of required parameters; raise MissingParameter for one that lacks."""
    for name in names:
        if not params.get(name):
            message = f"The request must contain the parameter {name}"
            raise Ec2Error("MissingParameter", message)
    return [str(params[name]) for name in names]
