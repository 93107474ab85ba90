"""What strikes where, beside the faults that every call and every state meets."""

from typing import Final

from sandbox.faults.bases import (
    CLEAN,
    FREEZES,
    PACED,
    SERVICE,
    TWO_HOURS,
    call,
    everywhere,
    physics,
    state,
)
from sandbox.faults.fleets import SUBJECTS
from sandbox.faults.moments import CYCLE
from sandbox.virtual.mischief import CALL_FAULTS, FUNCTION_FAULTS, STATE_FAULTS, Fault, Kind

# Where the owner meddles: before, during and after each phase.
OWNER_STATES: Final = (
    "WaitForTurn",
    "PrepareBackup",
    "StopInstance",
    "DescribeStopping",
    "CreateImage",
    "WaitForSnapshots",
    "StartInstance",
    "WaitForStart",
    "ReleaseInstances",
    "CompleteBackup",
)
OWNER_DOES: Final = (
    Kind.OWNER_STOPS,
    Kind.OWNER_STARTS,
    Kind.OWNER_TERMINATES,
    Kind.OWNER_UNTAGS,
)
SNAPSHOTS: Final = ("DescribeSnapshots", "DescribeSnapshots")
PHYSICAL: Final[dict[str, tuple[Fault, ...]]] = {
    "hung-guest": (physics("hung-guest"),),
    "no-capacity-2h-refused": (physics("no-capacity", seconds=TWO_HOURS + CYCLE),),
    "no-capacity-2h-falls-back": (
        physics("no-capacity", falls_back=True, seconds=TWO_HOURS + CYCLE),
    ),
    "no-kms-grant-2h": (physics("no-kms-grant", seconds=TWO_HOURS + CYCLE),),
    "image-failed-at-once": (physics("image-failed", delay_seconds=0.5),),
    "image-failed-later": (physics("image-failed", delay_seconds=120),),
    "image-failed-twice": (physics("image-failed", delay_seconds=30, times=2),),
    "snapshot-never-initiated": (physics("snapshot-never-initiated"),),
    "snapshot-error-at-once": (physics("snapshot-error", delay_seconds=0.5),),
    "snapshot-error-later": (physics("snapshot-error", delay_seconds=90),),
    "stop-protection-appears": (state(Kind.OWNER_PROTECTS, "StopInstance"),),
}
RULES: Final[dict[str, Fault]] = {
    "event-lost": Fault(Kind.EVENT_LOST, after=CYCLE),
    "event-doubled": Fault(Kind.EVENT_DOUBLED, after=CYCLE),
    "tick-missed": Fault(Kind.TICK_MISSED, "plan_backups", after=CYCLE),
    "tick-doubled": Fault(Kind.TICK_DOUBLED, "plan_backups", after=CYCLE),
    "two-planners-at-once": Fault(Kind.PLANNERS_AT_ONCE, "plan_backups", after=CYCLE),
    "sweep-missed": Fault(Kind.TICK_MISSED, "recover_instances", after=CYCLE),
    "sweep-doubled": Fault(Kind.TICK_DOUBLED, "recover_instances", after=CYCLE),
    "two-sweeps-at-once": Fault(Kind.PLANNERS_AT_ONCE, "recover_instances", after=CYCLE),
}
# States in which an instance is rebooted or imaged as it runs.
METHOD_STATES: Final = (
    "PrepareBackup",
    "CreateImage",
    "WaitForSnapshots",
    "ReleaseInstances",
    "CompleteBackup",
    "WaitForImages",
)
METHOD_PHYSICS: Final = (
    "hung-guest",
    "image-failed",
    "snapshot-never-initiated",
    "snapshot-error",
)
# Two recoveries that find the same work, because no event has had it done before.
TWO_RECOVERIES: Final = (
    *everywhere(Kind.STOPPED, "WaitForSnapshots", SERVICE),
    *(Fault(Kind.EVENT_LOST, after=CYCLE) for _ in SUBJECTS[SERVICE]),
    Fault(Kind.PLANNERS_AT_ONCE, "recover_instances", after=CYCLE + 60.0),  # after the cut
)
# What can go wrong in a guest, by fleet.
GUESTS: Final[dict[str, dict[str, tuple[Fault, ...]]]] = {
    SERVICE: {
        "agent-late": (physics("agent-offline-after-start", "db", delay_seconds=300),),
        "agent-never-back": (physics("agent-offline-after-start", "db"),),
        "pre-script-fails": (physics("script-fails", "db", stage="pre-script"),),
        "pre-script-fails-in-app": (physics("script-fails", "app", stage="pre-script"),),
        "pre-script-hangs": (physics("script-hangs", "app", stage="pre-script"),),
        "pre-script-unreported": (physics("agent-hangs", "db", stage="pre-script"),),
        "pre-script-reported-late": (
            physics("agent-hangs", "db", stage="pre-script", delay_seconds=60),
        ),
        "post-script-fails": (physics("script-fails", "db", stage="post-script"),),
        "post-script-too-late": (
            physics("script-fails", "db", stage="post-script", exit_code=203),
        ),
        "post-script-hangs": (physics("script-hangs", "app", stage="post-script"),),
        "post-script-unreported": (physics("agent-hangs", "db", stage="post-script"),),
        "hung-guest": (physics("hung-guest", "db"),),
        "hung-member": (physics("hung-guest"),),
        "no-capacity-2h": (
            physics("no-capacity", seconds=TWO_HOURS + CYCLE),
            physics("no-capacity", "api", seconds=TWO_HOURS + CYCLE),
            physics("no-capacity", "db", seconds=TWO_HOURS + CYCLE),
        ),
        "image-failed": tuple(
            physics("image-failed", name, delay_seconds=30) for name in ("web", "api", "db")
        ),
        "snapshot-never-initiated": tuple(
            physics("snapshot-never-initiated", name) for name in ("web", "api", "db")
        ),
        "stop-refused": tuple(
            state(Kind.OWNER_PROTECTS, "StopMembers", name) for name in ("web", "api", "db")
        ),
    },
    FREEZES: {
        "freeze-fails": (physics("freeze-fails", "lone"),),
        "freeze-fails-in-group": (physics("freeze-fails", "mix-app"),),
        "holder-dies": (physics("auto-thaw-fires", "lone"),),
        "holder-dies-at-once": (physics("auto-thaw-fires", "lone", delay_seconds=1),),
        "holder-dies-in-group": (physics("auto-thaw-fires", "mix-app", delay_seconds=1),),
        "freeze-unreported": (physics("agent-hangs", "mix-app", stage="freeze"),),
        "thaw-unreported": (physics("agent-hangs", "lone", stage="thaw"),),
        "pre-script-fails": (physics("script-fails", "lone", stage="pre-script"),),
        "pre-script-hangs": (physics("script-hangs", "lone", stage="pre-script"),),
        "pre-script-unreported": (physics("agent-hangs", "lone", stage="pre-script"),),
        "post-script-fails": (physics("script-fails", "lone", stage="post-script"),),
        "post-script-hangs": (physics("script-hangs", "lone", stage="post-script"),),
        "vss-unreported": (physics("agent-hangs", "win"),),
        "image-failed": tuple(
            physics("image-failed", name, delay_seconds=30) for name in ("lone", "mix-app", "win")
        ),
        "snapshot-never-initiated": tuple(
            physics("snapshot-never-initiated", name) for name in ("lone", "mix-app", "win")
        ),
        "snapshots-seen-late": (call(Kind.THROTTLED_FOR_TEN_MINUTES, *SNAPSHOTS),),
    },
}
# What strikes a fleet that the planner lets begin one after the other, by point: most wait, and
# some are not even started.
_HALF_WAY: Final = 2  # executions that the planner has started
PACES: Final[dict[str, dict[str, tuple[Fault, ...]]]] = {
    "EventBridge": {
        name: (RULES[name],) for name in ("tick-missed", "tick-doubled", "two-planners-at-once")
    },
    "plan_backups/StartExecution": {
        kind.value: (Fault(kind, "plan_backups", "StartExecution", after=CYCLE, skip=_HALF_WAY),)
        for kind in (*CALL_FAULTS, *FUNCTION_FAULTS)
    },
    "WaitForTurn": {
        **{kind.value: everywhere(kind, "WaitForTurn", PACED) for kind in STATE_FAULTS},
        "one-stopped": (state(Kind.STOPPED, "WaitForTurn", "ha-1"),),
        "stopped-unnoticed": (
            *everywhere(Kind.STOPPED, "WaitForTurn", PACED),
            *(Fault(Kind.EVENT_LOST, after=CYCLE) for _ in SUBJECTS[PACED]),
        ),
    },
    "WaitForSnapshots": {
        kind.value: everywhere(kind, "WaitForSnapshots", PACED)
        for kind in (Kind.STOPPED, Kind.TIMED_OUT)
    },
    **{
        f"{caller}/{action}": {kind.value: (call(kind, caller, action),) for kind in CALL_FAULTS}
        for caller, action in (
            ("StopInstance", "StopInstances"),
            ("DescribeStopping", "DescribeInstanceStatus"),
            ("StartInstance", "StartInstances"),
        )
    },
}
_BEFORE_AND_AFTER: Final = (
    *("PrepareBackup", "IsolateMembers", "WaitToIsolate", "StopMembers", "WaitForStop"),
    *("WaitForSnapshots", "WaitForStart", "RejoinMembers", "WaitToRejoin", "ReleaseInstances"),
)
_FROZEN_STATES: Final = ("FreezeMembers", "WaitForSnapshots", "ThawMembers", "RejoinMembers")
# What owners do around which of their instances, and at which states.
AROUND: Final[dict[str, dict[str, tuple[tuple[Kind, ...], tuple[str, ...]]]]] = {
    SERVICE: {
        "web": ((*OWNER_DOES, Kind.OWNER_EXITS_STANDBY, Kind.OWNER_LOWERS_MAX), _BEFORE_AND_AFTER),
        "api": ((*OWNER_DOES, Kind.OWNER_DEREGISTERS, Kind.OWNER_DELETES_GROUP), _BEFORE_AND_AFTER),
        "db": (OWNER_DOES, _BEFORE_AND_AFTER),
    },
    FREEZES: {
        "lone": (OWNER_DOES, ("IsolateMembers", *_FROZEN_STATES)),
        "mix-app": (OWNER_DOES, _FROZEN_STATES),
        "win": (OWNER_DOES, ("FreezeMembers", "WaitToFindImage", "WaitForSnapshots")),
    },
    PACED: {"shard-3": (OWNER_DOES, ("WaitForTurn",))},
}
# Events and sweeps matter where there is something to recover.
RULE_BASES: Final = (CLEAN, "cut-off", "snapshot-error", "service-cut-off")
