"""Preparing a backup: reading what could go wrong, and writing down what is about to be done."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from stillpoint.aws import ec2
from stillpoint.aws.aftermath import handled_tag
from stillpoint.aws.settings import PrepareSettings
from stillpoint.aws.surroundings import read_surroundings
from stillpoint.aws.telemetry import logger
from stillpoint.errors import AwsRefused, AwsUnavailable, MalformedInput
from stillpoint.instance import Instance
from stillpoint.isolation import LONGEST_CAUSE, Undo
from stillpoint.policy import Method
from stillpoint.preflight import (
    SNAPSHOT_INTERVAL,
    Finding,
    Surroundings,
    find_hazards,
    too_recent,
    undo_for,
)
from stillpoint.recovery_point import creation_tags, image_name
from stillpoint.tags import Cycle, Tag, iso, portable

MOST_OF_WARNINGS = 20_000
"""Characters of JSON that the warnings of a backup may take."""


def prepare_backup(
    event: Mapping[str, Any], settings: PrepareSettings, now: datetime
) -> dict[str, Any]:
    """Return the members to back up, or the refusals; one refusal refuses the group.

    Nothing is stopped here. If there is no refusal, every member carries the execution in charge
    and its state before when this returns (write-ahead), so that whoever finds it later can put
    it back. Running it again for the same execution gives the same answer. Warnings are told
    beside either. Raises AwsUnavailable if the backup can be made, but not yet.
    """
    try:
        execution: str = event["execution"]
        backup: Mapping[str, Any] = event["backup"]
        occurrence = datetime.fromisoformat(backup["occurrence"])
        attempt = int(backup.get("attempt", 1))
        planned = [_Planned.read(member) for member in backup["members"]]
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedInput(
            f"prepare_backup was given a backup that it cannot read: {error!r}"
        ) from error
    instances = ec2.instances_by_id([member.instance_id for member in planned])
    present = [instances[m.instance_id] for m in planned if m.instance_id in instances]
    methods = {member.instance_id: member.method.value for member in planned}
    around = read_surroundings(
        present,
        methods,
        settings.kms_key_arns,
        scripts={member.instance_id: member.scripts for member in planned},
        freeze_document=settings.freeze_document,
    )
    findings = [
        finding
        for member in planned
        for finding in find_hazards(
            instances.get(member.instance_id),
            instance_id=member.instance_id,
            name=member.name,
            method=member.method,
            execution=execution,
            accepted=member.accept,
            surroundings=around.get(member.instance_id, Surroundings()),
        )
    ]
    refusals = [finding for finding in findings if finding.refuses]
    harmless = [_told(finding) for finding in findings if not finding.refuses]
    for warning in harmless:
        logger.warning("A hazard does not refuse the backup", extra={"hazard": warning})
    warnings = _short(harmless)
    if refusals:
        _refuse(refusals, present, occurrence)
        return {
            "members": [],
            "refusals": [_told(finding) | {"state": finding.state} for finding in refusals],
            "warnings": warnings,
            "isolates": False,
            "rejoins": False,
        }
    _wait_for_room(present, methods, around, now)
    undos = {
        member.instance_id: undo_for(
            instances[member.instance_id],
            method=member.method.value,
            accepted=member.accept,
            surroundings=around[member.instance_id],
            scripts=bool(member.scripts),
            mute=settings.mute_alarms,
        )
        for member in planned
    }
    isolates = any(undos.values())
    freezes = any(
        member.method is Method.FREEZE and instances[member.instance_id].state == "running"
        for member in planned
    )
    if (isolates or freezes) and not event.get("isolates", False):
        raise MalformedInput(
            "An execution that an earlier version of the state machine runs can neither take"
            " instances out of service nor freeze them. Nothing was touched; the next attempt can."
        )
    _write_ahead(present, execution, occurrence, undos, now)
    return {
        "members": [
            {
                "instance_id": member.instance_id,
                "name": member.name,
                "method": member.method.value,
                "order": member.order,
                "state_before": instances[member.instance_id].state,
                "platform": instances[member.instance_id].platform,
                "image_name": image_name(member.instance_id, occurrence, attempt),
                "description": f"Made by Stillpoint of {member.instance_id} for the occurrence"
                f" {iso(occurrence)}",
                "undo": undos[member.instance_id].render(),
                "tags": [
                    {"Key": str(key), "Value": value}
                    for key, value in creation_tags(
                        stack=settings.stack_name,
                        instance_id=member.instance_id,
                        execution=execution,
                        occurrence=occurrence,
                    ).items()
                ],
            }
            for member in planned
        ],
        "refusals": [],
        "warnings": warnings,
        "isolates": isolates,
        "rejoins": isolates or freezes,
    }


@dataclass(frozen=True, slots=True)
class _Planned:
    """A member as the planner wrote it into the execution's input."""

    instance_id: str
    name: str
    method: Method
    order: int
    accept: frozenset[str]
    scripts: tuple[str, ...]

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Self:
        """Return the member; KeyError, TypeError or ValueError if the row is no member."""
        return cls(
            instance_id=row["instance_id"],
            name=row["name"],
            method=Method(row["method"]),
            order=int(row["order"]),
            accept=frozenset(row["accept"]),
            # An execution that an earlier version of the planner started has none.
            scripts=tuple(name for name in (row.get("pre"), row.get("post")) if name),
        )


def _wait_for_room(
    present: Sequence[Instance],
    methods: Mapping[str, str],
    around: Mapping[str, Surroundings],
    now: datetime,
) -> None:
    """Raise AwsUnavailable while a volume has a snapshot too young for another one.

    The state machine repeats what failed with that name, after some seconds: that is the wait.
    """
    recent = [
        volume_id
        for instance in present
        for volume_id in too_recent(
            instance,
            methods[instance.instance_id],
            around.get(instance.instance_id, Surroundings()),
            now,
        )
    ]
    if recent:
        raise AwsUnavailable(
            f"A snapshot of {', '.join(sorted(set(recent)))} was made less than"
            f" {SNAPSHOT_INTERVAL.seconds} seconds ago, EC2 would refuse another"
        )


def _write_ahead(
    instances: Sequence[Instance],
    execution: str,
    occurrence: datetime,
    undos: Mapping[str, Undo],
    now: datetime,
) -> None:
    """Write the cycle and the cursor: no instance may be stopped that does not carry them.

    With them, in the same call, what may have to be undone around the instance.
    """
    for instance in instances:
        tags = handled_tag(instance, occurrence)
        cycle = Cycle.parse(instance.tags.get(Tag.CYCLE, ""))
        if cycle is None or (cycle.execution, cycle.state_before) != (execution, instance.state):
            tags[Tag.CYCLE] = Cycle(execution, instance.state, now).render()
        undo = undos[instance.instance_id].render()
        if undos[instance.instance_id] or instance.tags.get(Tag.UNDO, undo) != undo:
            tags[Tag.UNDO] = undo  # what an earlier backup may have left there is out of date
        if tags:
            ec2.create_tags([instance.instance_id], tags)


def _refuse(findings: list[Finding], present: Sequence[Instance], occurrence: datetime) -> None:
    """Write on each instance why it was refused, as far as it can be tagged."""
    codes = ", ".join(f"{f.hazard.code} ({f.instance_id})" for f in findings)
    problem = portable(f"refused {iso(occurrence)}: {codes}")
    for instance in present:
        try:
            ec2.create_tags(
                [instance.instance_id],
                handled_tag(instance, occurrence) | {Tag.PROBLEM: problem},
            )
        except AwsRefused:
            logger.exception("The refusal could not be written on the instance")


def _short(warnings: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return the warnings, cut to what the state of a group of 40 has room for.

    A state holds 256 KiB, and the warnings go with all that happens later (Step Functions Developer
    Guide, "Quotas"). What is left out has been logged.
    """
    kept, room = [], MOST_OF_WARNINGS
    for warning in warnings:
        row = {**warning, "reason": warning["reason"][:LONGEST_CAUSE]}
        room -= len(json.dumps(row))
        if room < 0:
            break
        kept.append(row)
    return kept


def _told(finding: Finding) -> dict[str, str]:
    return {
        "instance_id": finding.instance_id,
        "name": finding.name,
        "code": finding.hazard.code,
        "reason": finding.reason,
        "remedy": finding.hazard.remedy,
    }
