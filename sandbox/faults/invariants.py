"""What has to hold after every run, whatever went wrong in it. Each check returns what does not."""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

from sandbox.clock import iso
from sandbox.faults.around import CYCLE, GONE, Around
from sandbox.faults.fleet import Fleet
from sandbox.faults.together import Together
from sandbox.faults.told import Told
from sandbox.virtual.cloud import OWNER, Cloud
from sandbox.virtual.executions import Record
from sandbox.virtual.mischief import Kind

STACK: Final = "stillpoint:stack"
LEVEL: Final = "stillpoint:consistency"
OCCURRENCE: Final = "stillpoint:occurrence"
AT_REST: Final = frozenset({"file-system", "application"})
APPLICATION: Final = "application"
# A start that takes longer than this has to be told while it lasts.
DOWN_UNTOLD: Final = 1800.0
PLANNER: Final = "plan_backups"
INCOMPLETE: Final = ("recover_instances", "RecoveryIncomplete")
PERIOD: Final = 300.0  # seconds, of which the planner's alarm looks at three
PERIODS: Final = 3
# What the recovery may not do to an instance that a live execution has.
_CHANGES: Final = (
    *("StartInstances", "StopInstances", "DeleteTags", "SendCommand", "DeregisterTargets"),
    *("RegisterTargets", "EnterStandby", "ExitStandby"),
)
_FIGHT: Final = re.compile(rf"recover_instances: ({'|'.join(_CHANGES)}) (.*?)-> ok")


class Check:
    """The invariants of one run."""

    def __init__(self, cloud: Cloud, fleet: Fleet) -> None:
        self._cloud = cloud
        self._fleet = fleet
        self._told = Told(cloud)
        self._around = Around(cloud, fleet, self._told)
        self._together = Together(cloud, fleet)

    def unsettled(self) -> list[str]:
        """Return what is not at rest yet: this may take its time, within a bound."""
        truth = self._cloud.truth()
        self._around.look(truth)
        return [
            *self._running_executions(),
            *self._states(truth),
            *self._cycle_tags(truth),
            *self._pending_images(truth),
            *self._around.unsettled(truth),
        ]

    def violations(self) -> list[str]:
        """Return what must not be so at any time."""
        truth = self._cloud.truth()
        untagged = Kind.OWNER_UNTAGS in self._cloud.mischief.kinds
        return [
            *(
                each
                for each in dict.fromkeys(self._cloud.journal.surprises)
                if not (untagged and "lacks a permission" in each)
            ),
            *self._harm(truth),
            *self._untagged(truth),
            *self._false_claims(truth),
            *self._leftovers(truth),
            *self._doubles(truth),
            *self._untold_failures(),
            *self._untold_downs(truth),
            *self._fights(),
            *self._around.violations(truth),
            *self._together.violations(truth),
        ]

    def recovery_points(self, occurrence: float) -> list[str]:
        """Return which instances lack an available recovery point of an occurrence."""
        wanted = f"{iso(occurrence)[:-5]}Z"
        found = self._protected(wanted)
        return [
            f"{name} has no recovery point of the occurrence {wanted}"
            for name, instance_id in self._fleet.ids.items()
            if instance_id not in found and self._exists(name)
        ]

    def unprotected(self, record: Record) -> set[str]:
        """Return the members of a backup without an available recovery point for it."""
        found = self._protected(json.loads(record.input)["occurrence"])
        return {each for each in record.members if each not in found}

    def _protected(self, occurrence: str) -> set[str]:
        """Return the ids of the instances that have one."""
        return {
            row["instance_id"]
            for row in self._cloud.world.truth()["images"]
            if row["state"] == "available"
            and row["tags"].get(OCCURRENCE) == occurrence
            and row["tags"].get(LEVEL)
        }

    def _exists(self, name: str) -> bool:
        rows = self._cloud.world.truth()["instances"]
        return any(row["name"] == name and row["state"] not in GONE for row in rows)

    # -- at rest ----------------------------------------------------------------

    def _running_executions(self) -> Iterator[str]:
        for record in self._cloud.executions.records.values():
            if record.status == "RUNNING":
                state = record.visited[-1] if record.visited else "nowhere"
                yield f"the execution {record.name} still runs, in {state}"

    def _states(self, truth: dict[str, Any]) -> Iterator[str]:
        for row in truth["instances"]:
            accepted = self._fleet.accepted(row["name"])
            if row["state"] not in accepted:
                yield f"{row['name']} is {row['state']}, and was {'/'.join(sorted(accepted))}"

    def _cycle_tags(self, truth: dict[str, Any]) -> Iterator[str]:
        running = self._cloud.executions.running
        for row in truth["instances"]:
            value = row["tags"].get(CYCLE)
            if value is None or row["state"] in GONE:
                continue
            if not any(f"execution={name} " in value for name in running):
                yield f"{row['name']} carries {CYCLE} = '{value}', and nothing is in charge"

    def _pending_images(self, truth: dict[str, Any]) -> Iterator[str]:
        for row in truth["images"]:
            # One that misses a snapshot will never be anything but pending.
            if row["state"] == "pending" and not row["missing_volumes"]:
                yield f"the image {row['image_id']} of {row['instance_name']} is pending"

    # -- never ------------------------------------------------------------------

    def _harm(self, truth: dict[str, Any]) -> Iterator[str]:
        """Return what the models saw that nobody may do, apart from the owner's own doing."""
        names = self._fleet.touched | self._fleet.unplaced
        excused = {self._fleet.ids[name] for name in names}
        for each in truth["violations"]:
            if each["by"] != OWNER and not excused.issuperset(each["instances"] or [""]):
                yield f"harm was done: {each}"

    def _untagged(self, truth: dict[str, Any]) -> Iterator[str]:
        for row in truth["images"]:
            if row["state"] != "deregistered" and STACK not in row["tags"]:
                yield f"the image {row['image_id']} ({row['name']}) does not carry our tags"
        for row in truth["snapshots"]:
            if STACK not in row["tags"]:
                yield f"the snapshot {row['snapshot_id']} does not carry our tags"

    def _false_claims(self, truth: dict[str, Any]) -> Iterator[str]:
        for row in truth["images"]:
            level = row["tags"].get(LEVEL)
            if level is None or row["state"] == "deregistered":
                continue
            label = f"the image {row['image_id']} of {row['instance_name']}"
            if level in AT_REST and row["dirty_bytes"]:
                yield f"{label} claims {level}, and lacks {row['dirty_bytes']} bytes"
            if level == APPLICATION and not row["application"]:
                yield f"{label} claims {level}, and its applications were not at rest"
            if row["missing_volumes"]:
                yield f"{label} claims {level}, and lacks {len(row['missing_volumes'])} volumes"
            if row["state"] not in {"pending", "available"}:
                yield f"{label} claims {level}, and is {row['state']}"

    def _leftovers(self, truth: dict[str, Any]) -> Iterator[str]:
        """Return what a failed backup left behind and nobody was told of.

        A recovery that is refused what it needs for tidying up rings an alarm of its own.
        """
        if any(each[1:] == INCOMPLETE for each in self._cloud.lambdas.errors):
            return
        running = self._cloud.executions.running
        kept = {row["image_id"] for row in truth["images"] if row["state"] != "deregistered"}
        for row in truth["images"]:
            if row["state"] == "deregistered" or row["tags"].get(LEVEL):
                continue
            in_charge = row["tags"].get("stillpoint:execution") in running
            if not in_charge and not self._told.says(row["image_id"]):
                yield f"the half-made image {row['image_id']} ({row['state']}) was left behind"
        for row in truth["snapshots"]:
            if row["image_id"] not in kept and not self._told.says(
                row["snapshot_id"], row["image_id"]
            ):
                yield f"the snapshot {row['snapshot_id']} of no image was left behind"

    def _doubles(self, truth: dict[str, Any]) -> Iterator[str]:
        seen: dict[tuple[str, str, str], str] = {}
        for row in truth["images"]:
            if row["state"] == "deregistered" or not row["tags"].get(LEVEL):
                continue
            key = row["region"], row["instance_name"], row["tags"].get(OCCURRENCE, "")
            if key in seen:
                both = f"{seen[key]} and {row['image_id']}"
                yield f"{key[1]} has two recovery points of {key[2]}: {both}"
            seen[key] = row["image_id"]

    def _untold_failures(self) -> Iterator[str]:
        for record in self._cloud.executions.records.values():
            if record.status in {"RUNNING", "SUCCEEDED"}:
                continue
            if self._told.alarms(record.name, *record.members, since=record.started_at):
                continue
            # CloudWatch's alarm rings for every execution that ends badly. That is enough where
            # nothing is lost, and where nobody else can publish.
            lost = self.unprotected(record)
            if lost and not self._told.is_muzzled:
                yield f"nobody was told that {record.name} ended {record.status}"

    def untold_gaps(self, occurrence: float) -> list[str]:
        """Return which instances lack a recovery point of an occurrence, and nobody knows."""
        if self._planner_alarm() or self._told.is_muzzled:
            return []
        return [
            f"{each}, and nobody was told"
            for each in self.recovery_points(occurrence)
            if not self._told_of(each.partition(" ")[0])
        ]

    def _told_of(self, name: str) -> bool:
        """Say whether an instance, or its group, was the subject of a message."""
        group = self._fleet.groups.get(name)
        return any(
            message.mentions(self._fleet.ids[name])
            or (group and message.body.get("group") == group)
            for message in self._told.alarms()
        )

    def _planner_alarm(self) -> bool:
        """Say whether the planner failed so often that its alarm rings: in two of three periods."""
        failed = sorted(
            {int(at // PERIOD) for at, name, _ in self._cloud.lambdas.errors if name == PLANNER}
        )
        return any(later - earlier < PERIODS for earlier, later in pairwise(failed))

    def _untold_downs(self, truth: dict[str, Any]) -> Iterator[str]:
        for row in truth["instances"]:
            for down in row["downs"]:
                seconds = down["downtime_seconds"]
                if seconds is None or seconds <= DOWN_UNTOLD or row["name"] in self._fleet.touched:
                    continue
                told = self._told.alarms(row["instance_id"])
                if not told and not self._told.is_muzzled:
                    yield f"nobody was told that {row['name']} was down for {seconds:.0f} s"

    def _fights(self) -> Iterator[str]:
        """Return where the recovery laid hands on an instance that a live execution had."""
        for entry in self._cloud.journal.entries:
            match = _FIGHT.match(entry.text) if entry.kind == "call" else None
            if match is None:
                continue
            for record in self._cloud.executions.records.values():
                if _alive(record, entry.at) and any(each in match[2] for each in record.members):
                    yield f"recovery did {match[1]} while {record.name} was in charge"


def _alive(record: Record, at: float) -> bool:
    # An execution that has not written ahead yet is in charge of nothing.
    begun = record.started_at
    return begun <= at and (record.ended_at is None or at < record.ended_at)
