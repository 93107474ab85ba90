"""Ways through the cycle: the straight one, and those that only a fault opens.

The points of the matrix are what these ways pass. A point that the straight way does not pass is
struck by its fault on top of the fault that leads there: the recovery has to survive trouble of
its own.
"""

from typing import Final

from sandbox.faults.moments import CYCLE
from sandbox.virtual.mischief import Fault, Kind

CLEAN: Final = "clean"
TWO_HOURS: Final = 7200.0
THIRTEEN_HOURS: Final = 46_800.0  # the state machine tries for twelve


def physics(name: str, **settings: object) -> Fault:
    """Return a fault of EC2 itself, by its name there; see `sandbox.ec2.faults`."""
    return Fault(Kind.PHYSICS, physics={"name": name, "instance": "web"} | settings)


def call(kind: Kind, caller: str, action: str) -> Fault:
    """Return a fault of a call within the cycle."""
    return Fault(kind, caller, action, after=CYCLE)


def state(kind: Kind, name: str) -> Fault:
    """Return a fault of a state."""
    return Fault(kind, name, after=CYCLE)


# Each way brings the cycle into states, or functions to calls, that the ways before it never saw.
BASES: Final[dict[str, tuple[Fault, ...]]] = {
    CLEAN: (),
    "image-answer-lost": (call(Kind.RESPONSE_LOST, "CreateImage", "CreateImage"),),
    "stop-refused": (state(Kind.OWNER_PROTECTS, "StopMembers"),),
    "no-capacity": (physics("no-capacity", seconds=1500 + CYCLE),),
    "start-falls-back": (physics("no-capacity", falls_back=True, seconds=1500 + CYCLE),),
    "image-failed": (physics("image-failed", delay_seconds=1),),
    "snapshot-error": (physics("snapshot-error", delay_seconds=60),),
    "cut-off": (state(Kind.STOPPED, "DescribeSnapshots"),),
    "cut-off-late": (state(Kind.TIMED_OUT, "WaitForImages"),),
    "judge-denied": (call(Kind.ACCESS_DENIED, "complete_backup", "DescribeImages"),),
    "refused": (state(Kind.OWNER_PROTECTS, "PrepareBackup"),),
    "alert-denied": (
        physics("no-capacity", seconds=1500 + CYCLE),
        call(Kind.ACCESS_DENIED, "alert_stranded", "Publish"),
    ),
    "blind": (call(Kind.ACCESS_DENIED, "DescribeStarting", "DescribeInstanceStatus"),),
    "given-up": (physics("no-capacity", seconds=THIRTEEN_HOURS + CYCLE),),
    "terminated": (state(Kind.OWNER_TERMINATES, "CreateImage"),),
}
