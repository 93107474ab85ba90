"""Backups as they leave the world, without the state machine: for histories of years.

What a backup leaves behind is the product's own: names, tags, evidence and the work list of its
copies. Nothing is stopped, and nobody plans: each occurrence of a policy brings one.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any, Final

from sandbox.ec2.model import ImageState
from sandbox.history.ledger import Ledger
from sandbox.history.owner import Owner
from sandbox.virtual.cloud import Cloud
from sandbox.virtual.stack import ACCOUNT, REGION, STACK
from stillpoint.policy import BackupPolicy, InvalidPolicy, PolicyDefaults, parse_policy
from stillpoint.recovery_point import (
    Assessment,
    Consistency,
    creation_tags,
    evidence_tags,
    image_name,
)
from stillpoint.tags import Tag, compact

_STOPPED_AFTER: Final = 90.0
_SNAPSHOTS_AFTER: Final = 30.0
_LOOK: Final = 60.0
_PROOF: Final = Assessment(Consistency.FILE_SYSTEM, "stopped in 40 s and every snapshot after it")


class Backups:
    """Makes the recovery points of the owner's instances when they are due."""

    def __init__(
        self, cloud: Cloud, ledger: Ledger, owner: Owner, parameters: Mapping[str, Any]
    ) -> None:
        """The parameters are those of the stack."""
        self._cloud = cloud
        self._ledger = ledger
        self._owner = owner
        defaults = PolicyDefaults.parse(
            time=parameters["DefaultTime"],
            zone=parameters["TimeZone"],
            retain=parameters["DefaultRetain"],
            copy_regions=parameters["CopyRegions"],
        )
        self._read = cache(lambda tags: parse_policy(dict(tags), defaults))
        _, machine = next(
            (name, arn) for name, arn in cloud.stack.arns.items() if ":stateMachine:" in arn
        )
        self._machine_arn = machine
        role = "stillpoint-BackupStateMachineRole"
        self._principal = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/states"

    def plan(self, since: float, until: float) -> list[float]:
        """Let the backups of all occurrences in a span come; return these, as epoch seconds.

        The span is later than `since`, and up to and including `until`.
        """
        begin, end = (datetime.fromtimestamp(moment, UTC) for moment in (since, until))
        found = []
        for name, instance_id in self._owner.ids.items():
            policy = self._policy(instance_id)
            for moment in _occurrences(policy, begin, end) if policy else ():
                wait = moment.timestamp() + _STOPPED_AFTER - self._cloud.scheduler.now()
                work = partial(self._back_up, name, instance_id, moment)
                self._cloud.scheduler.spawn(f"backup of {name}", work, after=wait)
                found.append(moment.timestamp())
        return sorted(found)

    def _policy(self, instance_id: str) -> BackupPolicy | None:
        place = self._ledger.region(REGION)
        tags = self._ledger.tags[instance_id]
        if place.instances[instance_id].state != "running" or Tag.SCHEDULE not in tags:
            return None
        policy = self._read(frozenset(tags.items()))
        return None if isinstance(policy, InvalidPolicy) else policy

    def _back_up(self, name: str, instance_id: str, occurrence: datetime) -> None:
        """Make a recovery point, and tell of it when it is available."""
        policy = self._policy(instance_id)
        if policy is None:
            return
        execution = f"{instance_id}-{compact(occurrence)}"
        image_id = self._capture(instance_id, execution, occurrence)
        if name in self._owner.cut_off:
            self._owner.cut_off.discard(name)
            return
        self._cloud.scheduler.sleep(_SNAPSHOTS_AFTER)
        self._prove(image_id, policy, occurrence, name)
        image = self._ledger.made[image_id].image
        while image.state is ImageState.PENDING:
            self._cloud.scheduler.sleep(_LOOK)
            self._cloud.world.advance()
        if image.state is ImageState.AVAILABLE:
            self._tell(instance_id, execution)

    def _capture(self, instance_id: str, execution: str, occurrence: datetime) -> str:
        tags = creation_tags(
            stack=STACK, instance_id=instance_id, execution=execution, occurrence=occurrence
        )
        answer = self._call(
            "CreateImage",
            InstanceId=instance_id,
            Name=image_name(instance_id, occurrence),
            NoReboot=True,
            TagSpecifications=[
                {"ResourceType": kind, "Tags": _rows(tags)} for kind in ("image", "snapshot")
            ],
        )
        return str(answer["ImageId"])

    def _prove(self, image_id: str, policy: BackupPolicy, occurrence: datetime, name: str) -> None:
        """Write on the image and its snapshots what complete_backup writes."""
        captured = occurrence + timedelta(seconds=_STOPPED_AFTER)
        tags = evidence_tags(
            _PROOF,
            schedule=policy.schedules[0].expression,
            method=policy.method,
            retain=str(policy.retain),
            time_zone=policy.time_zone,
            copy_to=policy.copy_to,
            group=None,
            stopped_at=captured,
            captured_at=captured,
            resumed_at=captured + timedelta(seconds=_SNAPSHOTS_AFTER),
            owner_tags={"Name": name},
        )
        self._cloud.world.advance()
        volumes = self._ledger.made[image_id].image.volumes
        snapshots = [volume.snapshot_id for volume in volumes if volume.snapshot_id]
        self._call("CreateTags", Resources=snapshots, Tags=_rows(tags))
        if policy.copy_to:
            tags |= {Tag.COPYING: " ".join(policy.copy_to)}
        self._call("CreateTags", Resources=[image_id], Tags=_rows(tags))

    def _tell(self, instance_id: str, execution: str) -> None:
        """Let EventBridge send what the end of an execution sends."""
        self._cloud.rules.execution_ended(
            {
                "executionArn": f"{self._machine_arn.replace('stateMachine', 'execution')}:"
                f"{execution}",
                "stateMachineArn": self._machine_arn,
                "name": execution,
                "status": "SUCCEEDED",
                "input": json.dumps({"members": [{"instance_id": instance_id}]}),
            }
        )

    def _call(self, action: str, **params: Any) -> Mapping[str, Any]:
        return self._cloud.world.call(
            action, params, account=ACCOUNT, region=REGION, principal=self._principal
        )


def _occurrences(policy: BackupPolicy, since: datetime, until: datetime) -> set[datetime]:
    found = set()
    for schedule in policy.schedules:
        moment = schedule.next(since)
        while moment is not None and moment <= until:
            found.add(moment)
            moment = schedule.next(moment)
    return found


def _rows(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": str(key), "Value": value} for key, value in tags.items()]
