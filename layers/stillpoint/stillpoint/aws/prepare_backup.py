"""Preparing a backup: reading what could go wrong, and writing down what is about to be done."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from stillpoint.aws import ec2
from stillpoint.aws.aftermath import handled_tag
from stillpoint.aws.keys import describe_key
from stillpoint.aws.settings import PrepareSettings
from stillpoint.aws.telemetry import logger
from stillpoint.aws.volumes import volumes_attached_to
from stillpoint.errors import AwsRefused, MalformedInput
from stillpoint.instance import Instance
from stillpoint.policy import Method
from stillpoint.preflight import Finding, Surroundings, find_hazards
from stillpoint.recovery_point import creation_tags, image_name
from stillpoint.tags import Cycle, Tag, iso, portable


def prepare_backup(
    event: Mapping[str, Any], settings: PrepareSettings, now: datetime
) -> dict[str, Any]:
    """Return the members to back up, or the refusals; one refusal refuses the group.

    Nothing is stopped here. If there is no refusal, every member carries the execution in charge
    and its state before when this returns (write-ahead), so that whoever finds it later can put
    it back. Running it again for the same execution gives the same answer.
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
    around = _surroundings(planned, instances, settings)
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
    present = [instances[m.instance_id] for m in planned if m.instance_id in instances]
    if findings:
        _refuse(findings, present, occurrence)
        return {"members": [], "refusals": [_refusal(finding) for finding in findings]}
    _write_ahead(present, execution, occurrence, now)
    return {
        "members": [
            {
                "instance_id": member.instance_id,
                "name": member.name,
                "method": member.method.value,
                "order": member.order,
                "state_before": instances[member.instance_id].state,
                "image_name": image_name(member.instance_id, occurrence, attempt),
                "description": f"Made by Stillpoint of {member.instance_id} for the occurrence"
                f" {iso(occurrence)}",
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
    }


@dataclass(frozen=True, slots=True)
class _Planned:
    """A member as the planner wrote it into the execution's input."""

    instance_id: str
    name: str
    method: Method
    order: int
    accept: frozenset[str]

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Self:
        """Return the member; KeyError, TypeError or ValueError if the row is no member."""
        return cls(
            instance_id=row["instance_id"],
            name=row["name"],
            method=Method(row["method"]),
            order=int(row["order"]),
            accept=frozenset(row["accept"]),
        )


def _surroundings(
    planned: Sequence[_Planned],
    instances: Mapping[str, Instance],
    settings: PrepareSettings,
) -> dict[str, Surroundings]:
    """Read what concerns the members that would be stopped."""
    stopping = [
        instances[member.instance_id]
        for member in planned
        if member.method is Method.STOP
        and member.instance_id in instances
        and instances[member.instance_id].state == "running"
    ]
    if not stopping:
        return {}
    with_store = ec2.types_with_instance_store([i.instance_type for i in stopping])
    ungranted, unusable = _bad_keys([i.instance_id for i in stopping], settings.kms_key_arns)
    return {
        instance.instance_id: Surroundings(
            stop_protected=ec2.stop_protected(instance.instance_id),
            instance_store=instance.instance_type in with_store,
            ungranted_keys=tuple(sorted(ungranted.get(instance.instance_id, ()))),
            unusable_keys=tuple(sorted(unusable.get(instance.instance_id, ()))),
        )
        for instance in stopping
    }


def _bad_keys(
    instance_ids: Sequence[str], granted: Collection[str]
) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Return the KMS keys that the stack may not use, and those that nobody can, by instance."""
    keys = {}
    ungranted: dict[str, set[str]] = {}
    unusable: dict[str, set[str]] = {}
    for volume in volumes_attached_to(instance_ids):
        arn = volume.kms_key_arn
        if arn is None:
            continue
        if arn not in keys:
            keys[arn] = describe_key(arn)
        key = keys[arn]
        for instance_id in volume.instance_ids:
            if arn not in granted and not (key and key.aws_managed):
                ungranted.setdefault(instance_id, set()).add(arn)
            if key is not None and not key.enabled:
                unusable.setdefault(instance_id, set()).add(arn)
    return ungranted, unusable


def _write_ahead(
    instances: Sequence[Instance], execution: str, occurrence: datetime, now: datetime
) -> None:
    """Write the cycle and the cursor: no instance may be stopped that does not carry them."""
    for instance in instances:
        tags = handled_tag(instance, occurrence)
        cycle = Cycle.parse(instance.tags.get(Tag.CYCLE, ""))
        if cycle is None or (cycle.execution, cycle.state_before) != (execution, instance.state):
            tags[Tag.CYCLE] = Cycle(execution, instance.state, now).render()
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


def _refusal(finding: Finding) -> dict[str, str]:
    return {
        "instance_id": finding.instance_id,
        "name": finding.name,
        "state": finding.state,
        "code": finding.hazard.code,
        "reason": finding.reason,
        "remedy": finding.hazard.remedy,
    }
