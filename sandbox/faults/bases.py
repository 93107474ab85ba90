"""Ways through the cycle: the straight one of each fleet, and those that only a fault opens.

The points of the matrix are what these ways pass. A point that the straight way does not pass is
struck by its fault on top of the fault that leads there: the recovery has to survive trouble of
its own.
"""

from dataclasses import dataclass
from typing import Final

from sandbox.faults.case import DEFAULT_FLEET
from sandbox.faults.fleets import SUBJECTS
from sandbox.faults.moments import CYCLE
from sandbox.virtual.mischief import Fault, Kind

CLEAN: Final = "clean"
SERVICE: Final = "service"
FREEZES: Final = "freezes"
PACED: Final = "paced"
TWO_HOURS: Final = 7200.0
THIRTEEN_HOURS: Final = 46_800.0  # the state machine tries for twelve


@dataclass(frozen=True, slots=True)
class Base:
    """One way: the faults that lead there, and the fleet that goes it."""

    faults: tuple[Fault, ...] = ()
    fleet: str = DEFAULT_FLEET


def physics(name: str, instance: str = "web", **settings: object) -> Fault:
    """Return a fault of EC2 itself or of a guest; see `sandbox.ec2.faults`."""
    return Fault(Kind.PHYSICS, physics={"name": name, "instance": instance} | settings)


def call(kind: Kind, caller: str, action: str) -> Fault:
    """Return a fault of a call within the cycle."""
    return Fault(kind, caller, action, after=CYCLE)


def state(kind: Kind, name: str, subject: str = "") -> Fault:
    """Return a fault of a state, for the execution of one instance if it has a subject."""
    return Fault(kind, name, after=CYCLE, subject=subject)


def everywhere(kind: Kind, name: str, fleet: str) -> tuple[Fault, ...]:
    """Return a fault of a state for each backup of a fleet, whose first attempts it strikes."""
    return tuple(state(kind, name, subject) for subject in SUBJECTS.get(fleet, ("",)))


# Each way brings the cycle into states, or functions to calls, that the ways before it never saw.
BASES: Final[dict[str, Base]] = {
    CLEAN: Base(),
    "image-answer-lost": Base((call(Kind.RESPONSE_LOST, "CreateImage", "CreateImage"),)),
    "stop-refused": Base((state(Kind.OWNER_PROTECTS, "StopMembers"),)),
    "no-capacity": Base((physics("no-capacity", seconds=1500 + CYCLE),)),
    "start-falls-back": Base((physics("no-capacity", falls_back=True, seconds=1500 + CYCLE),)),
    "image-failed": Base((physics("image-failed", delay_seconds=1),)),
    "snapshot-error": Base((physics("snapshot-error", delay_seconds=60),)),
    "cut-off": Base((state(Kind.STOPPED, "DescribeSnapshots"),)),
    "cut-off-late": Base((state(Kind.TIMED_OUT, "WaitForImages"),)),
    "judge-denied": Base((call(Kind.ACCESS_DENIED, "complete_backup", "DescribeImages"),)),
    "refused": Base((state(Kind.OWNER_PROTECTS, "PrepareBackup"),)),
    "alert-denied": Base(
        (
            physics("no-capacity", seconds=1500 + CYCLE),
            call(Kind.ACCESS_DENIED, "alert_stranded", "Publish"),
        )
    ),
    "blind": Base((call(Kind.ACCESS_DENIED, "DescribeStarting", "DescribeInstanceStatus"),)),
    "given-up": Base((physics("no-capacity", seconds=THIRTEEN_HOURS + CYCLE),)),
    "terminated": Base((state(Kind.OWNER_TERMINATES, "CreateImage"),)),
    # What serves.
    SERVICE: Base(fleet=SERVICE),
    "service-cut-off": Base(everywhere(Kind.STOPPED, "DescribeSnapshots", SERVICE), SERVICE),
    "script-hangs": Base((physics("script-hangs", "db", stage="pre-script"),), SERVICE),
    "post-hangs": Base((physics("script-hangs", "db", stage="post-script"),), SERVICE),
    "one-stays-down": Base((physics("no-capacity", "app", seconds=1500 + CYCLE),), SERVICE),
    "no-room": Base((state(Kind.OWNER_LOWERS_MAX, "StopMembers", "web"),), SERVICE),
    # What is frozen.
    FREEZES: Base(fleet=FREEZES),
    "freeze-cut-off": Base(everywhere(Kind.STOPPED, "WaitForSnapshots", FREEZES), FREEZES),
    "freeze-hangs": Base((physics("agent-hangs", "lone", stage="freeze"),), FREEZES),
    "thaw-denied": Base((call(Kind.ACCESS_DENIED, "ThawMembers", "SendCommand"),), FREEZES),
}
