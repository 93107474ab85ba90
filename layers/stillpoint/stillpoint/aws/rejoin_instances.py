"""Rejoining: undoing what was done around instances, once they are back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import Any

from stillpoint.aws import ec2, mute, scripts, standby, targets
from stillpoint.aws.freeze_instances import STILL_FROZEN, read_thaw
from stillpoint.aws.isolate_instances import ScriptedMember, is_there, undo_of
from stillpoint.aws.settings import RejoinSettings
from stillpoint.aws.telemetry import logger
from stillpoint.errors import MalformedInput, StillpointError
from stillpoint.instance import Instance
from stillpoint.isolation import DONE, Progress, Undo, together, wait_before_next_look
from stillpoint.scripts import THAWED_BY_ITSELF, ScriptResult, Stage, Status

PATIENCE = timedelta(minutes=30)
"""How long an execution tries; after that the recovery goes on, and people are told."""
SCRIPT_PATIENCE = timedelta(minutes=10)
"""How long after a start a post-script waits for the agent in the guest, or for Systems Manager.
Then the instance goes back into service without it, and people are told."""

_KILLED = 137
"""The exit code of a script that did not end by itself: 128 and the number of SIGKILL."""


@dataclass(frozen=True, slots=True)
class Returning:
    """An instance that is as it was before, and around which something may have to be undone."""

    instance: Instance
    undo: Undo
    member: ScriptedMember

    @property
    def instance_id(self) -> str:
        """The instance's id."""
        return self.instance.instance_id


@dataclass(slots=True)
class Rejoining:
    """How far instances have come: `waiting` is what they wait for, in words, by instance id.

    `failures` are post-scripts that failed, in words: they stay failed, and hold up nothing.
    `scripts` is what became of the scripts, by instance id: `pre` and `post`, which are
    `succeeded`, `failed` or `none`, and the exit code `post_exit`.
    """

    waiting: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    scripts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def attempt(self, instance_id: str, step: Callable[[], Progress]) -> None:
        """Take a step; what does not work now is waited for, and holds up no other instance."""
        try:
            progress = step()
        except StillpointError as error:
            logger.exception("A step of the rejoining failed", extra={"id": instance_id})
            progress = Progress(waiting=str(error))
        if not progress.done:
            self.waiting[instance_id] = progress.failure or progress.waiting


@dataclass(frozen=True, slots=True)
class _Scripts:
    """How post-scripts are run; `since` is when that was first tried."""

    execution: str
    timeout_seconds: int
    since: datetime
    now: datetime


def rejoin_instances(
    event: Mapping[str, Any], settings: RejoinSettings, now: datetime
) -> dict[str, Any]:
    """Take the next steps for the instances that are back; return the `status` and what is left.

    The status is `waiting` with `wait_seconds`, or else `rejoined` or, after 30 minutes, `failed`.
    `unjoined` are the ids of the instances around which something is not undone, `failures` what
    went wrong, `thaws` and `scripts` what became of freezes and scripts, by instance id.
    """
    try:
        execution: str = event["execution"]
        rows = {row["instance_id"]: row for row in event["backup"]["members"]}
        back = [ScriptedMember.read(rows[each]) for each in event["instance_ids"]]
        freezes = {row["instance_id"]: row for row in event["freezes"]}
        since = datetime.fromisoformat(event["since"])
        written: Mapping[str, str] = event.get("undos", {})
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedInput(
            f"rejoin_instances was given a backup that it cannot read: {error!r}"
        ) from error
    found = ec2.instances_by_id([member.instance_id for member in back])
    instances = {key: instance for key, instance in found.items() if is_there(instance)}
    thaws, thawing = _read_thaws(execution, freezes, instances, settings)
    held_up = dict(thawing.waiting)
    returning = []
    for member in back:
        if member.instance_id in instances and member.instance_id not in held_up:
            instance = instances[member.instance_id]
            try:
                returning.append(
                    Returning(instance, undo_of(instance, written.get(member.instance_id)), member)
                )
            except MalformedInput as error:
                held_up[member.instance_id] = str(error)
    progress = rejoin(
        execution,
        returning,
        since=since,
        now=now,
        script_timeout_seconds=settings.script_timeout_seconds,
    )
    progress.waiting.update(held_up)
    still_frozen = [_failure(key, STILL_FROZEN, why) for key, why in thawing.failures.items()]
    return _answer(progress, thaws, now - since, still_frozen)


def rejoin(
    execution: str,
    returning: Sequence[Returning],
    *,
    since: datetime,
    now: datetime,
    script_timeout_seconds: int,
) -> Rejoining:
    """Take the next steps for every instance; return how far they have come.

    It is the reverse of the isolation: the post-scripts, in the reverse of the group's order; then
    target groups and Auto Scaling groups; the alarms last.
    """
    progress = Rejoining()
    scripted = [each for each in returning if each.undo.scripts]
    how = _Scripts(execution, script_timeout_seconds, since, now)
    _run_scripts(progress, scripted, how)
    for each in returning:
        if each.instance_id not in progress.waiting:
            progress.attempt(each.instance_id, partial(_put_into_service, each))
    if not progress.waiting and any(each.undo.muted for each in returning):
        _unmute(execution)
    return progress


def _run_scripts(progress: Rejoining, scripted: Sequence[Returning], how: _Scripts) -> None:
    """Run the post-scripts, those of one place in the group's order after those of another."""
    held_up = ""
    for _, peers in groupby(sorted(scripted, key=_order, reverse=True), key=_order):
        level = list(peers)
        for each in level:
            if held_up:
                progress.waiting[each.instance_id] = f"its post-script follows that of {held_up}"
            else:
                progress.attempt(each.instance_id, partial(_run_script, progress, each, how))
                _give_up_if_late(progress, each, how)
        held_up = held_up or next(
            (each.instance_id for each in level if each.instance_id in progress.waiting), ""
        )


def _give_up_if_late(progress: Rejoining, each: Returning, how: _Scripts) -> None:
    """Let an instance go back into service if its scripts have kept it from that for long."""
    why = progress.waiting.get(each.instance_id)
    since = max(how.since, each.instance.launch_time or how.since)
    if why is None or how.now - since < SCRIPT_PATIENCE + timedelta(seconds=how.timeout_seconds):
        return
    del progress.waiting[each.instance_id]
    row = progress.scripts.setdefault(each.instance_id, {"pre": "none", "post_exit": None})
    row["post"] = Status.FAILED
    progress.failures[each.instance_id] = (
        f"The post-script {each.member.post} of {each.instance_id} was not run to its end: {why}."
    )


def _run_script(progress: Rejoining, each: Returning, how: _Scripts) -> Progress:
    """Run the post-script of an instance, unless its pre-script is known not to have succeeded."""
    row: dict[str, Any] = {"pre": "none", "post": "none", "post_exit": None}
    progress.scripts[each.instance_id] = row
    pre = _pre_script(each, how)
    if pre is not None and pre.status is Status.RUNNING:
        return Progress(waiting="its pre-script still runs")
    if pre is not None and pre.status is not Status.MISSING:
        row["pre"] = pre.status
    if not each.member.post or not _calls_for_post(pre):
        return DONE
    if each.instance_id not in scripts.online([each.instance_id], since=each.instance.launch_time):
        return Progress(waiting="its agent is not online yet")
    result = scripts.run(
        each.instance_id,
        each.member.post,
        Stage.POST_SCRIPT,
        how.execution,
        how.now,
        timeout_seconds=how.timeout_seconds,
    )
    if result.status is Status.RUNNING:
        return Progress(waiting="its post-script runs")
    row |= {"post": result.status, "post_exit": result.exit_code}
    if result.status is Status.FAILED and result.exit_code != THAWED_BY_ITSELF:
        progress.failures[each.instance_id] = result.sentence
    return DONE


def _pre_script(each: Returning, how: _Scripts) -> ScriptResult | None:
    """Return what became of the pre-script, or None if the instance has none.

    One that still runs, because its backup was ended meanwhile, is called off when its time is up.
    """
    if not each.member.pre:
        return None
    instance_id, stage = each.instance_id, Stage.PRE_SCRIPT
    result = scripts.outcome(instance_id, each.member.pre, stage, how.execution)
    if result.status is not Status.RUNNING:
        return result
    timeout = how.timeout_seconds
    return scripts.run(
        instance_id, each.member.pre, stage, how.execution, how.now, timeout_seconds=timeout
    )


def _calls_for_post(pre: ScriptResult | None) -> bool:
    """Return whether a post-script is due: the applications may be quiesced.

    They may be, too, if the agent never said what became of the pre-script, or ended it half-way.
    """
    if pre is None or pre.status is Status.SUCCEEDED:
        return True
    ended_itself = pre.exit_code is not None and 0 <= pre.exit_code != _KILLED
    return pre.status is Status.FAILED and pre.delivered and not ended_itself


def _put_into_service(each: Returning) -> Progress:
    """Let an instance take part again, as soon as it runs."""
    if not each.undo.standby and not each.undo.targets:
        return DONE
    if each.instance.state != "running":
        return Progress(waiting=f"it is {each.instance.state}")
    return together(
        targets.register(each.instance_id, each.undo.targets) if each.undo.targets else DONE,
        standby.leave(each.instance_id) if each.undo.standby else DONE,
    )


def _unmute(execution: str) -> None:
    """Let the alarms ring again now; a mute rule that stays ends by itself."""
    try:
        progress = mute.unmute(execution)
    except StillpointError:
        logger.exception("The alarms could not be unmuted")
        return
    if progress.failure:
        logger.warning("The alarms could not be unmuted", extra={"why": progress.failure})


def _read_thaws(
    execution: str,
    freezes: Mapping[str, Mapping[str, Any]],
    instances: Mapping[str, Instance],
    settings: RejoinSettings,
) -> tuple[dict[str, Any], Rejoining]:
    """Return how the freezes ended, by instance id, and how far their thaws have come."""
    thaws: dict[str, Any] = {}
    thawing = Rejoining()

    def read(instance_id: str, freeze: Mapping[str, Any]) -> Progress:
        progress, thaws[instance_id] = read_thaw(instance_id, execution, freeze, settings)
        if progress.error == STILL_FROZEN:
            thawing.failures[instance_id] = progress.failure
        return progress if progress.waiting else DONE

    for instance_id, freeze in freezes.items():
        if instance_id in instances:
            thawing.attempt(instance_id, partial(read, instance_id, freeze))
    return thaws, thawing


def _answer(
    progress: Rejoining,
    thaws: Mapping[str, Any],
    elapsed: timedelta,
    still_frozen: list[dict[str, str]],
) -> dict[str, Any]:
    in_vain = bool(progress.waiting) and elapsed >= PATIENCE
    late = progress.waiting if in_vain else {}
    status = "failed" if in_vain else "waiting" if progress.waiting else "rejoined"
    if progress.waiting:
        logger.info("Waiting until the instances have rejoined", extra=progress.waiting)
    return {
        "status": status,
        "wait_seconds": wait_before_next_look(elapsed),
        "unjoined": sorted(progress.waiting),
        "failures": [
            *still_frozen,
            *(_failure(key, "NotBackInService", why) for key, why in late.items()),
            *(_failure(key, "PostScriptFailed", why) for key, why in progress.failures.items()),
        ],
        "thaws": dict(thaws),
        "scripts": progress.scripts,
    }


def _failure(instance_id: str, error: str, cause: str) -> dict[str, str]:
    return {"phase": "resume", "instance_id": instance_id, "error": error, "cause": cause[:400]}


def _order(each: Returning) -> int:
    return each.member.order
