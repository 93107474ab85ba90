"""Preflight: the hazards of quiescing an instance, found before anything is touched."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from stillpoint.instance import Instance
from stillpoint.tags import Cycle, Tag


class Rule(StrEnum):
    """What a hazard does to a backup."""

    NEVER = "never"
    """The instance is refused, whatever its owner accepts."""
    UNLESS_ACCEPTED = "unless-accepted"
    """The instance is refused unless `stillpoint:accept` names the hazard's code."""


@dataclass(frozen=True, slots=True)
class Hazard:
    """A reason not to quiesce an instance: a stable code, a sentence, and what to do about it."""

    code: str
    rule: Rule
    sentence: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A hazard that refuses one instance."""

    instance_id: str
    name: str
    state: str
    hazard: Hazard
    detail: str = ""

    @property
    def reason(self) -> str:
        """The hazard in one sentence, with its detail."""
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.hazard.sentence}{detail}"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What must be known about an instance beyond what DescribeInstances says.

    `ungranted_keys` are the ARNs of the KMS keys of its encrypted volumes that the stack may not
    use, `unusable_keys` those that nobody can use now. `instance_store` says that its type brings
    instance-store volumes.
    """

    stop_protected: bool = False
    instance_store: bool = False
    ungranted_keys: tuple[str, ...] = ()
    unusable_keys: tuple[str, ...] = ()


GONE = Hazard(
    "gone",
    Rule.NEVER,
    "The instance does not exist any more, or is being terminated.",
    "Nothing, if that was intended. Its recovery points are kept.",
)
IN_TRANSITION = Hazard(
    "in-transition",
    Rule.NEVER,
    "The instance is neither running nor stopped.",
    "Nothing, if somebody is starting or stopping it: the next occurrence finds it at rest.",
)
OTHER_BACKUP = Hazard(
    "other-backup",
    Rule.NEVER,
    "Another backup is in charge of the instance.",
    "Wait for that backup. If its execution ended long ago, remove the tag stillpoint:cycle.",
)
INSTANCE_STORE_ROOT = Hazard(
    "instance-store-root",
    Rule.NEVER,
    "The root volume is an instance store: EC2 can neither stop nor image the instance.",
    "Move the instance to an EBS-backed AMI, or remove stillpoint:schedule.",
)
MANAGED = Hazard(
    "managed",
    Rule.NEVER,
    "An AWS service operates the instance for you and forbids stopping it.",
    "Back up what runs on it through that service, and remove stillpoint:schedule.",
)
MAC = Hazard(
    "mac",
    Rule.NEVER,
    "A Mac host is scrubbed after a stop and may be away for hours.",
    "Set stillpoint:method to none.",
)
SPOT = Hazard(
    "spot",
    Rule.NEVER,
    "A Spot Instance may not get its capacity back after a stop.",
    "Set stillpoint:method to reboot or none, or run it On-Demand.",
)
AUTO_SCALING = Hazard(
    "auto-scaling",
    Rule.NEVER,
    "An Auto Scaling group replaces a member that is not running.",
    "Set stillpoint:method to reboot or none.",
)
STOP_PROTECTION = Hazard(
    "stop-protection",
    Rule.NEVER,
    "Stop protection is on.",
    "Turn stop protection off, or set stillpoint:method to reboot or none.",
)
KMS_NOT_GRANTED = Hazard(
    "kms-not-granted",
    Rule.NEVER,
    "An encrypted volume's KMS key is not among the stack's KmsKeyArns: EC2 could stop the"
    " instance but not start it again.",
    "Add the key's ARN to the stack parameter KmsKeyArns and deploy.",
)
KMS_KEY_UNUSABLE = Hazard(
    "kms-key-unusable",
    Rule.NEVER,
    "An encrypted volume's KMS key is disabled or about to be deleted: EC2 could stop the instance"
    " but not start it again.",
    "Enable the key, or cancel its deletion, at once: the instance does not survive a stop.",
)
INSTANCE_STORE = Hazard(
    "instance-store",
    Rule.UNLESS_ACCEPTED,
    "The instance type has instance-store volumes, whose data a stop erases.",
    "If that data may be lost, add instance-store to stillpoint:accept; otherwise set"
    " stillpoint:method to reboot.",
)
PUBLIC_IP = Hazard(
    "public-ip",
    Rule.UNLESS_ACCEPTED,
    "The instance has a public IPv4 address that is not an Elastic IP: it changes with a stop.",
    "If nothing relies on the address, add public-ip to stillpoint:accept; otherwise associate"
    " an Elastic IP, or set stillpoint:method to reboot.",
)

HAZARDS = (
    GONE,
    IN_TRANSITION,
    OTHER_BACKUP,
    INSTANCE_STORE_ROOT,
    MANAGED,
    MAC,
    SPOT,
    AUTO_SCALING,
    STOP_PROTECTION,
    KMS_NOT_GRANTED,
    KMS_KEY_UNUSABLE,
    INSTANCE_STORE,
    PUBLIC_IP,
)
"""Every hazard that is known, in the order in which they are reported."""


def find_hazards(  # noqa: PLR0913 (the subject and everything it is judged by)
    instance: Instance | None,
    *,
    instance_id: str,
    name: str,
    method: str,
    execution: str,
    accepted: Collection[str],
    surroundings: Surroundings,
) -> tuple[Finding, ...]:
    """Return what speaks against backing up one instance now; nothing means go.

    `instance` is None if EC2 does not know it any more. `execution` is the one that asks:
    a cycle tag of any other execution is a hazard, its own is not.
    """
    if instance is None or instance.state in {"terminated", "shutting-down"}:
        return (Finding(instance_id, name, "terminated", GONE),)
    found: list[tuple[Hazard, str]] = []
    if instance.state not in {"running", "stopped"}:
        found.append((IN_TRANSITION, f"it is {instance.state}"))
    cycle = Cycle.parse(instance.tags.get(Tag.CYCLE, ""))
    if Tag.CYCLE in instance.tags and (cycle is None or cycle.execution != execution):
        found.append((OTHER_BACKUP, cycle.execution if cycle else instance.tags[Tag.CYCLE]))
    if instance.root_device_type == "instance-store":
        found.append((INSTANCE_STORE_ROOT, ""))
    if method == "stop" and instance.state == "running":
        found += _stop_hazards(instance, surroundings)
    return tuple(
        Finding(instance_id, name, instance.state, hazard, detail)
        for hazard, detail in found
        if hazard.rule is Rule.NEVER or hazard.code not in accepted
    )


def _stop_hazards(instance: Instance, around: Surroundings) -> list[tuple[Hazard, str]]:
    group = instance.tags.get("aws:autoscaling:groupName")
    checks = (
        (MANAGED, instance.managed, ""),
        (MAC, instance.instance_type.startswith("mac"), instance.instance_type),
        (SPOT, instance.lifecycle == "spot", ""),
        (AUTO_SCALING, group is not None, f"group {group}"),
        (STOP_PROTECTION, around.stop_protected, ""),
        (KMS_NOT_GRANTED, bool(around.ungranted_keys), ", ".join(around.ungranted_keys)),
        (KMS_KEY_UNUSABLE, bool(around.unusable_keys), ", ".join(around.unusable_keys)),
        (INSTANCE_STORE, around.instance_store, instance.instance_type),
        (PUBLIC_IP, instance.public_ip is not None, instance.public_ip or ""),
    )
    return [(hazard, detail) for hazard, present, detail in checks if present]
