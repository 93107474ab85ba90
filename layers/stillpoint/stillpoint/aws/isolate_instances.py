"""Isolating instances: what is done around them before the first of them is stopped."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Self

from stillpoint.aws import ec2, mute, scripts, standby, targets
from stillpoint.aws.commands import Commands
from stillpoint.aws.settings import IsolateSettings
from stillpoint.aws.standby import Members
from stillpoint.aws.targets import DrainingGroups
from stillpoint.aws.telemetry import logger
from stillpoint.errors import AwsUnavailable, MalformedInput, StillpointError
from stillpoint.hazards import PRE_SCRIPT_FAILED
from stillpoint.instance import Instance
from stillpoint.isolation import DONE, LONGEST_CAUSE, Undo, together, wait_before_next_look
from stillpoint.scripts import Stage, Status
from stillpoint.tags import Cycle, Tag


@dataclass(frozen=True, slots=True)
class ScriptedMember:
    """A member of a backup, with its scripts, as the planner wrote it into the input."""

    instance_id: str
    name: str
    order: int
    accept: frozenset[str]
    pre: str | None
    post: str | None
    method: str = ""

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Self:
        """Return the member; KeyError, TypeError or ValueError if the row is no member."""
        return cls(
            instance_id=row["instance_id"],
            name=row["name"],
            order=int(row["order"]),
            accept=frozenset(row["accept"]),
            # An execution that an earlier version of the planner started has neither.
            pre=row.get("pre"),
            post=row.get("post"),
            method=row.get("method", ""),
        )


def isolate_instances(
    event: Mapping[str, Any], settings: IsolateSettings, now: datetime
) -> dict[str, Any]:
    """Take the next steps for every member; return the `status` and what it waits for.

    The status is `isolated` when nothing is left to do, `waiting` with `wait_seconds`, or `failed`
    with `failures`: then nothing has been stopped, and what was done has to be undone. `warnings`
    are pre-scripts that failed although their owners accept it. What has to be undone was written
    on the instances before (`stillpoint:undo`), so this may crash and be repeated at any point.
    Raises AwsUnavailable if AWS does not answer now, or does not show yet what was written.
    """
    try:
        execution: str = event["execution"]
        members = [ScriptedMember.read(row) for row in event["backup"]["members"]]
        since = datetime.fromisoformat(event["since"])
        checks = int(event["checks"])
        written: Mapping[str, str] = event.get("undos", {})
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedInput(
            f"isolate_instances was given a backup that it cannot read: {error!r}"
        ) from error
    instances = ec2.instances_by_id([member.instance_id for member in members])
    gone = [member for member in members if not is_there(instances.get(member.instance_id))]
    if gone:
        return _failed([_failure(m, "InstanceGone", "The instance is gone.") for m in gone])
    _check_written(execution, instances.values())
    undos = {key: undo_of(instance, written.get(key)) for key, instance in instances.items()}
    if checks == 0:
        _mute(execution, undos, now)
    places, groups = Members(undos), DrainingGroups()
    apart = {
        m: together(
            standby.enter(m.instance_id, places) if undos[m.instance_id].standby else DONE,
            targets.drain(m.instance_id, undos[m.instance_id].targets, groups, since, now),
        )
        for m in members
    }
    failures = [_failure(m, p.error, p.failure) for m, p in apart.items() if p.failure]
    if failures:
        return _failed(failures)
    stopped = [
        m for m in members if m.method == "stop" and instances[m.instance_id].state == "running"
    ]
    unexpected = standby.in_service(
        [m.instance_id for m in stopped if not undos[m.instance_id].standby], places
    )
    if unexpected:
        return _failed(
            [
                _failure(
                    m, standby.REFUSED, f"Its group would replace it: {unexpected[m.instance_id]}."
                )
                for m in stopped
                if m.instance_id in unexpected
            ]
        )
    waiting = [f"{m.instance_id}: {p.waiting}" for m, p in apart.items() if p.waiting]
    if waiting:
        return _waiting(waiting, now - since)
    scripted = [m for m in members if undos[m.instance_id].scripts and m.pre]
    return _run_scripts(scripted, execution, settings, since, now)


def undo_of(instance: Instance, written: str | None = None) -> Undo:
    """Return what may have to be undone; nothing if the instance does not say so.

    `written` is what Prepare wrote on it, if its execution still knows: then it counts, whatever
    has become of the tag. Raises MalformedInput for a tag that cannot be read.
    """
    if written is not None and (recorded := Undo.parse(written)) is not None:
        return recorded
    if Tag.UNDO not in instance.tags:
        return Undo()
    undo = Undo.parse(instance.tags[Tag.UNDO])
    if undo is None:
        raise MalformedInput(
            f"The tag {Tag.UNDO} of {instance.instance_id} cannot be read:"
            f" {instance.tags[Tag.UNDO]!r}. Put back what it names, then remove the tag."
        )
    return undo


def _check_written(execution: str, instances: Iterable[Instance]) -> None:
    """Raise AwsUnavailable while EC2 does not show what Prepare has just written on an instance.

    What is to be undone was written in the same call as the cycle. EC2's answers are eventually
    consistent (EC2 Developer Guide, "Eventual consistency in the Amazon EC2 API"), and an instance
    that seems to have nothing around it would be stopped in the midst of its service.
    """
    for instance in instances:
        cycle = Cycle.parse(instance.tags.get(Tag.CYCLE, ""))
        if cycle is None or cycle.execution != execution:
            raise AwsUnavailable(
                f"EC2 does not show yet that {execution} is in charge of {instance.instance_id}"
            )


def is_there(instance: Instance | None) -> bool:
    """Return whether EC2 knows the instance, and it is not being terminated."""
    return instance is not None and instance.state not in {"terminated", "shutting-down"}


def _mute(execution: str, undos: Mapping[str, Undo], now: datetime) -> None:
    """Mute the alarms, if that can be done: an alarm that rings is no reason to have no backup."""
    muted = [instance_id for instance_id, undo in undos.items() if undo.muted]
    if not muted:
        return
    try:
        progress = mute.mute(execution, muted, now)
    except StillpointError:
        logger.exception("The alarms could not be muted")
        return
    if progress.failure:
        logger.warning("The alarms could not be muted", extra={"why": progress.failure})


def _run_scripts(
    members: Sequence[ScriptedMember],
    execution: str,
    settings: IsolateSettings,
    since: datetime,
    now: datetime,
) -> dict[str, Any]:
    """Run the pre-scripts, those of one place in the group's order after those of another."""
    warnings: list[dict[str, str]] = []
    commands = Commands()
    for _, peers in groupby(sorted(members, key=_order), key=_order):
        level = {member.instance_id: member for member in peers}
        found = scripts.run(
            {instance_id: str(member.pre) for instance_id, member in level.items()},
            Stage.PRE_SCRIPT,
            execution,
            commands,
            now,
            timeout_seconds=settings.script_timeout_seconds,
        )
        results = {level[instance_id]: result for instance_id, result in found.items()}
        failed = {m: r for m, r in results.items() if r.status is Status.FAILED}
        refused = [m for m in failed if PRE_SCRIPT_FAILED.code not in m.accept]
        if refused:
            return _failed([_failure(m, "PreScriptFailed", failed[m].sentence) for m in refused])
        warnings += [_warning(member, result.sentence) for member, result in failed.items()]
        running = [m.instance_id for m, r in results.items() if r.status is Status.RUNNING]
        if running:
            return _waiting([f"{i}: its pre-script runs" for i in running], now - since)
    return {"status": "isolated", "warnings": warnings, "failures": []}


def _order(member: ScriptedMember) -> int:
    return member.order


def _warning(member: ScriptedMember, sentence: str) -> dict[str, str]:
    return {
        "instance_id": member.instance_id,
        "name": member.name,
        "code": PRE_SCRIPT_FAILED.code,
        "reason": sentence[:LONGEST_CAUSE],
        "remedy": PRE_SCRIPT_FAILED.remedy,
    }


def _failure(member: ScriptedMember, error: str, cause: str) -> dict[str, str]:
    return {
        "phase": "quiesce",
        "instance_id": member.instance_id,
        "error": error,
        "cause": cause[:LONGEST_CAUSE],
    }


def _failed(failures: list[dict[str, str]]) -> dict[str, Any]:
    return {"status": "failed", "warnings": [], "failures": failures}


def _waiting(reasons: list[str], elapsed: timedelta) -> dict[str, Any]:
    logger.info("Waiting until the instances are isolated", extra={"waiting": reasons})
    return {
        "status": "waiting",
        "waiting": "; ".join(reasons)[:1000],
        "wait_seconds": wait_before_next_look(elapsed),
        "warnings": [],
        "failures": [],
    }
