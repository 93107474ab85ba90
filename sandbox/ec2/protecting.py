"""Deregistration protection of images, and disabling them.

EC2 User Guide, "Protect an Amazon EC2 AMI from deregistration": with a cooldown the protection
lasts for another 24 hours after it was disabled. "Disable an Amazon EC2 AMI": a disabled image
cannot be launched, is hidden, and nobody else may launch it any more, even once it is enabled
again; its snapshots are still in use.
"""

from typing import Any

from sandbox.ec2.call import Call
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.model import ImageState
from sandbox.ec2.region import Operation, Region

COOLDOWN_SECONDS = 86_400.0


def enable_protection(region: Region, call: Call) -> dict[str, Any]:
    """Protect an image from being deregistered."""
    protection = region.image(call.params.get("ImageId", ""), call.at).protection
    protection.enabled = True
    protection.with_cooldown = bool(call.params.get("WithCooldown", False))
    return {"Return": "true"}


def disable_protection(region: Region, call: Call) -> dict[str, Any]:
    """End the protection of an image, at once or after its cooldown."""
    protection = region.image(call.params.get("ImageId", ""), call.at).protection
    if protection.enabled and protection.with_cooldown:
        protection.cools_until = call.at + COOLDOWN_SECONDS
    protection.enabled = False
    return {"Return": "true"}


def disable_image(region: Region, call: Call) -> dict[str, Any]:
    """Disable an available image."""
    image = region.available_image(call.params.get("ImageId", ""), call.at)
    image.state = ImageState.DISABLED
    image.launch_permissions.clear()
    return {"Return": True}


def enable_image(region: Region, call: Call) -> dict[str, Any]:
    """Make a disabled image available again."""
    image = region.image(call.params.get("ImageId", ""), call.at)
    if image.state is not ImageState.DISABLED:
        message = f"The image '{image.image_id}' is not disabled."
        raise Ec2Error("IncorrectState", message)
    image.state = ImageState.AVAILABLE
    return {"Return": True}


ACTIONS: dict[str, Operation] = {
    "EnableImageDeregistrationProtection": enable_protection,
    "DisableImageDeregistrationProtection": disable_protection,
    "DisableImage": disable_image,
    "EnableImage": enable_image,
}
