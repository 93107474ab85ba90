"""The hazards of a backup: the one table of what is looked for before anything is touched."""

from dataclasses import dataclass
from enum import StrEnum


class Rule(StrEnum):
    """What a hazard does to a backup."""

    NEVER = "never"
    """The instance is refused, whatever its owner accepts."""
    UNLESS_ACCEPTED = "unless-accepted"
    """The instance is refused unless `stillpoint:accept` names the hazard's code."""
    WARNING = "warning"
    """The backup goes on, and its owner is told."""


class Concern(StrEnum):
    """Which backups a hazard concerns. An instance that does not run is not stopped or rebooted."""

    EVERY_METHOD = "every method"
    STOP = "stop"
    STOP_OR_REBOOT = "stop, reboot"


@dataclass(frozen=True, slots=True)
class Hazard:
    """What may harm an instance or its backup: a stable code, a sentence, and what to do."""

    code: str
    rule: Rule
    concern: Concern
    sentence: str
    remedy: str


GONE = Hazard(
    "gone",
    Rule.NEVER,
    Concern.EVERY_METHOD,
    "The instance does not exist any more, or is being terminated.",
    "Nothing, if that was intended. Its recovery points are kept.",
)
IN_TRANSITION = Hazard(
    "in-transition",
    Rule.NEVER,
    Concern.EVERY_METHOD,
    "The instance is neither running nor stopped.",
    "Nothing, if somebody is starting or stopping it: the next occurrence finds it at rest.",
)
OTHER_BACKUP = Hazard(
    "other-backup",
    Rule.NEVER,
    Concern.EVERY_METHOD,
    "Another backup is in charge of the instance.",
    "Wait for that backup, or for the recovery after it, which goes on every five minutes. Do not"
    " remove the tag stillpoint:cycle while there is a tag stillpoint:undo: nobody would put back"
    " what that names.",
)
NOT_PUT_BACK = Hazard(
    "not-put-back",
    Rule.NEVER,
    Concern.EVERY_METHOD,
    "An earlier backup took the instance out of service, and nobody is putting it back.",
    "Put back what stillpoint:undo on the instance names (its place in target groups, its Auto"
    " Scaling group), then remove that tag.",
)
INSTANCE_STORE_ROOT = Hazard(
    "instance-store-root",
    Rule.NEVER,
    Concern.EVERY_METHOD,
    "The root volume is an instance store: EC2 can neither stop nor image the instance.",
    "Move the instance to an EBS-backed AMI, or remove stillpoint:schedule.",
)
SNAPSHOTS_PENDING = Hazard(
    "snapshots-pending",
    Rule.NEVER,
    Concern.EVERY_METHOD,
    "A volume has as many incomplete snapshots as it may have, so EC2 would refuse another.",
    "Nothing, if they are being made: the next occurrence finds them complete. Delete those in the"
    " state error, and let no two tools back up the volume at the same time.",
)
MANAGED = Hazard(
    "managed",
    Rule.NEVER,
    Concern.STOP,
    "An AWS service operates the instance for you and forbids stopping it.",
    "Back up what runs on it through that service, and remove stillpoint:schedule.",
)
MAC = Hazard(
    "mac",
    Rule.NEVER,
    Concern.STOP_OR_REBOOT,
    "A Mac host is scrubbed after a stop and may be away for hours: a Mac instance is neither"
    " stopped nor rebooted.",
    "Set stillpoint:method to none.",
)
SCHEDULED_INSTANCE = Hazard(
    "scheduled-instance",
    Rule.NEVER,
    Concern.STOP_OR_REBOOT,
    "A Scheduled Instance can be neither stopped nor rebooted.",
    "Set stillpoint:method to none.",
)
SPOT = Hazard(
    "spot",
    Rule.NEVER,
    Concern.STOP,
    "Only a Spot Instance with an active persistent request of its own can be stopped.",
    "Set stillpoint:method to reboot or none, or run it On-Demand.",
)
STANDBY_NOT_POSSIBLE = Hazard(
    "standby-not-possible",
    Rule.NEVER,
    Concern.STOP,
    "The instance cannot be put into Standby in its Auto Scaling group and brought back.",
    "Change what is in the way, or set stillpoint:method to reboot or none.",
)
TOO_MANY_TARGETS = Hazard(
    "too-many-targets",
    Rule.NEVER,
    Concern.STOP,
    "The instance is registered with more target groups than can be remembered while it is down.",
    "Register it with fewer, or set stillpoint:method to reboot or none.",
)
STOP_PROTECTION = Hazard(
    "stop-protection",
    Rule.NEVER,
    Concern.STOP,
    "Stop protection is on.",
    "Turn stop protection off, or set stillpoint:method to reboot or none.",
)
KMS_NOT_GRANTED = Hazard(
    "kms-not-granted",
    Rule.NEVER,
    Concern.STOP,
    "An encrypted volume's KMS key is not among the stack's KmsKeyArns: EC2 could stop the"
    " instance but not start it again.",
    "Add the key's ARN to the stack parameter KmsKeyArns and deploy.",
)
KMS_KEY_UNUSABLE = Hazard(
    "kms-key-unusable",
    Rule.NEVER,
    Concern.STOP,
    "An encrypted volume's KMS key is disabled or about to be deleted: EC2 could stop the instance"
    " but not start it again.",
    "Enable the key, or cancel its deletion, at once: the instance does not survive a stop.",
)
CAPACITY_RESERVATION = Hazard(
    "capacity-reservation",
    Rule.NEVER,
    Concern.STOP,
    "The instance targets a Capacity Reservation that is not active: EC2 could stop it but not"
    " start it again.",
    "Let the instance target a reservation that is active, or any open one"
    " (ModifyInstanceCapacityReservationAttributes).",
)
T3_UNLIMITED_ON_HOST = Hazard(
    "t3-unlimited-on-host",
    Rule.NEVER,
    Concern.STOP,
    "A T3 instance with unlimited CPU credits does not start on a Dedicated Host.",
    "Change its credit option to standard, or set stillpoint:method to reboot.",
)
SCRIPT_UNUSABLE = Hazard(
    "script-unusable",
    Rule.NEVER,
    Concern.EVERY_METHOD,
    "The SSM document that stillpoint:pre or stillpoint:post names cannot be run.",
    "Mend the document or its tags, or remove stillpoint:pre and stillpoint:post.",
)
NOT_MANAGED = Hazard(
    "not-managed",
    Rule.NEVER,
    Concern.EVERY_METHOD,
    "Systems Manager, which the scripts and the method freeze need, does not reach the instance.",
    "Let its SSM Agent run, with a role that has AmazonSSMManagedInstanceCore and a way to the"
    " service.",
)
FREEZE_NOT_POSSIBLE = Hazard(
    "freeze-not-possible",
    Rule.NEVER,
    Concern.EVERY_METHOD,
    "The file systems of the instance cannot be frozen.",
    "Set stillpoint:method to stop, reboot or none.",
)
AUTO_SCALING = Hazard(
    "auto-scaling",
    Rule.UNLESS_ACCEPTED,
    Concern.STOP,
    "An Auto Scaling group replaces a member that is not running.",
    "Add auto-scaling to stillpoint:accept, and it is in Standby while it is backed up; or set"
    " stillpoint:method to reboot or none.",
)
SHUTDOWN_TERMINATES = Hazard(
    "shutdown-terminates",
    Rule.UNLESS_ACCEPTED,
    Concern.EVERY_METHOD,
    "The instance is terminated if a script in it shuts it down.",
    "Set InstanceInitiatedShutdownBehavior to stop (ModifyInstanceAttribute). If its scripts never"
    " shut it down, add shutdown-terminates to stillpoint:accept.",
)
PRE_SCRIPT_FAILED = Hazard(
    "pre-script-failed",
    Rule.UNLESS_ACCEPTED,
    Concern.EVERY_METHOD,
    "The pre-script failed, so the application is not ready to be backed up. It is known only"
    " during the backup, before anything is stopped.",
    "Mend the script. If a backup without it is better than none, add pre-script-failed to"
    " stillpoint:accept: its level is then never application.",
)
HIBERNATION = Hazard(
    "hibernation",
    Rule.UNLESS_ACCEPTED,
    Concern.EVERY_METHOD,
    "Hibernation is enabled for the instance: it may be impossible to connect to an instance that"
    " is launched from its AMI.",
    "Restore an AMI of it for a trial. If you can connect, add hibernation to stillpoint:accept;"
    " otherwise launch the instance anew without hibernation.",
)
INSTANCE_STORE = Hazard(
    "instance-store",
    Rule.UNLESS_ACCEPTED,
    Concern.STOP,
    "The instance type has instance-store volumes, whose data a stop erases.",
    "If that data may be lost, add instance-store to stillpoint:accept; otherwise set"
    " stillpoint:method to reboot.",
)
PUBLIC_IP = Hazard(
    "public-ip",
    Rule.UNLESS_ACCEPTED,
    Concern.STOP,
    "The instance has a public IPv4 address that is not an Elastic IP: it changes with a stop.",
    "If nothing relies on the address, add public-ip to stillpoint:accept; otherwise associate"
    " an Elastic IP, or set stillpoint:method to reboot.",
)
SPOT_PERSISTENT = Hazard(
    "spot-persistent",
    Rule.UNLESS_ACCEPTED,
    Concern.STOP,
    "A Spot Instance that is stopped starts again only while there is Spot capacity at its price.",
    "If it may stay stopped until there is, add spot-persistent to stillpoint:accept; otherwise"
    " set stillpoint:method to reboot or none, or run it On-Demand.",
)
CAPACITY_BLOCK = Hazard(
    "capacity-block",
    Rule.UNLESS_ACCEPTED,
    Concern.STOP,
    "The instance runs in a Capacity Block: a stop gives its place away, and it does not start"
    " again once another instance has taken it or the block has ended.",
    "If no other instance is launched into the block, add capacity-block to stillpoint:accept;"
    " otherwise set stillpoint:method to reboot or none.",
)
INTERRUPTIBLE_CAPACITY = Hazard(
    "interruptible-capacity",
    Rule.UNLESS_ACCEPTED,
    Concern.STOP,
    "The instance runs in an interruptible Capacity Reservation, whose owner may have taken the"
    " capacity back before the instance starts again.",
    "If it may stay stopped then, add interruptible-capacity to stillpoint:accept; otherwise set"
    " stillpoint:method to reboot or none.",
)
MULTI_ATTACH = Hazard(
    "multi-attach",
    Rule.WARNING,
    Concern.EVERY_METHOD,
    "A volume is attached to other instances, too, which may write to it during the capture: the"
    " recovery point is never claimed to be better than crash-consistent.",
    "Back up what is on the volume from within, if it has to be consistent.",
)
ONLY_TARGET = Hazard(
    "only-target",
    Rule.WARNING,
    Concern.STOP,
    "A target group has no healthy target left while the instance is down.",
    "Back up the targets of a group at different times, such as by stillpoint:anti-affinity.",
)
T2_CREDITS = Hazard(
    "t2-credits",
    Rule.WARNING,
    Concern.STOP,
    "A T2 instance loses the CPU credits that it has accrued with every stop.",
    "If it needs them after the start, change its type to T3, which keeps them for seven days.",
)
HOST_AFFINITY = Hazard(
    "host-affinity",
    Rule.WARNING,
    Concern.STOP,
    "The instance starts again only on its own Dedicated Host.",
    "Keep that host allocated and leave room on it, or turn host affinity off.",
)
PLACEMENT_GROUP = Hazard(
    "placement-group",
    Rule.WARNING,
    Concern.STOP,
    "The instance is in a cluster placement group, which may have no capacity for it at the start.",
    "If it does not start, stop all instances of the group and start them together.",
)
RETIREMENT = Hazard(
    "retirement",
    Rule.WARNING,
    Concern.STOP,
    "EC2 has scheduled an event for the instance or its host; the stop and the start of the"
    " backup usually move the instance to another host.",
    "Look into the EC2 console whether the event is still there after the backup.",
)

HAZARDS = (
    GONE,
    IN_TRANSITION,
    OTHER_BACKUP,
    NOT_PUT_BACK,
    INSTANCE_STORE_ROOT,
    SNAPSHOTS_PENDING,
    MANAGED,
    MAC,
    SCHEDULED_INSTANCE,
    SPOT,
    STANDBY_NOT_POSSIBLE,
    TOO_MANY_TARGETS,
    STOP_PROTECTION,
    KMS_NOT_GRANTED,
    KMS_KEY_UNUSABLE,
    CAPACITY_RESERVATION,
    T3_UNLIMITED_ON_HOST,
    SCRIPT_UNUSABLE,
    NOT_MANAGED,
    FREEZE_NOT_POSSIBLE,
    AUTO_SCALING,
    SHUTDOWN_TERMINATES,
    PRE_SCRIPT_FAILED,
    HIBERNATION,
    INSTANCE_STORE,
    PUBLIC_IP,
    SPOT_PERSISTENT,
    CAPACITY_BLOCK,
    INTERRUPTIBLE_CAPACITY,
    MULTI_ATTACH,
    ONLY_TARGET,
    T2_CREDITS,
    HOST_AFFINITY,
    PLACEMENT_GROUP,
    RETIREMENT,
)
"""Every hazard that is known, in the order in which they are reported."""

ACCEPTABLE = frozenset(hazard.code for hazard in HAZARDS if hazard.rule is Rule.UNLESS_ACCEPTED)
"""The codes of the hazards that an owner may accept by `stillpoint:accept`."""
