"""Rejoining: undoing what was done around instances, once they are back."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import Any

from stillpoint.aws import ec2, mute, scripts, standby, targets
from stillpoint.aws.commands import Commands
from stillpoint.aws.freeze_instances import STILL_FROZEN, Thaws
from stillpoint.aws.isolate_instances import ScriptedMember, is_there, undo_of
from stillpoint.aws.mute import MuteRules
from stillpoint.aws.settings import RejoinSettings
from stillpoint.aws.standby import Members
from stillpoint.aws.targets import TargetGroups
from stillpoint.aws.telemetry import logger
from stillpoint.errors import MalformedInput, StillpointError
from stillpoint.instance import Instance
from stillpoint.isolation import (
    DONE,
    LONGEST_CAUSE,
    Progress,
    Undo,
    together,
    wait_before_next_look,
)
from stillpoint.scripts import THAWED_BY_ITSELF, ScriptResult, Stage, Status

PATIENCE = timedelta(minutes=30)
"""How long an execution tries; after that the recovery goes on, and people are told."""
SCRIPT_PATIENCE = timedelta(minutes=10)
"""How long after a start a post-script waits for the agent in the guest, or for Systems Manager.
Then the instance goes back into service without it, and people are told."""
POST_SCRIPT_FAILED = "PostScriptFailed"
"""The name of the failure of a post-script."""

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


@dataclass(frozen=True, slots=True)
class Loss:
    """What went wrong with an instance and stays so: it is told, and holds up nothing."""

    instance_id: str
    error: str
    cause: str


@dataclass(slots=True)
class Rejoining:
    """How far instances have come: `waiting` is what they wait for, in words, by instance id.

    `losses` are post-scripts that failed, and target groups that are gone. `scripts` is what
    became of the scripts, by instance id: `pre` and `post`, which are `succeeded`, `failed` or
    `none`, and the exit code `post_exit`.
    """

    waiting: dict[str, str] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    scripts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def attempt(self, instance_id: str, step: Callable[[], Progress]) -> None:
        """Take a step; what does not work now is waited for, and holds up no other instance."""
        try:
            progress = step()
        except StillpointError as error:
            logger.exception("A step of the rejoining failed", extra={"id": instance_id})
            progress = Progress(waiting=str(error))
        if progress.lost:
            self.losses.append(Loss(instance_id, progress.error or targets.GONE, progress.lost))
        if not progress.done:
            self.waiting[instance_id] = progress.failure or progress.waiting


class Look:
    """What is around instances at one look, each part of it read when first asked for."""

    def __init__(
        self, instance_ids: Collection[str], hindrance: Callable[[Instance], str] = lambda _: ""
    ) -> None:
        """`instance_ids` are all that may be looked at.

        `hindrance` says just before one is put back into service why it must not be, or nothing.
        """
        self.hindrance = hindrance
        self.places = Members(instance_ids)
        self.groups = TargetGroups()
        self.commands = Commands()
        self.mute_rules = MuteRules()


@dataclass(frozen=True, slots=True)
class _Scripts:
    """How post-scripts are run; `since` is when that was first tried."""

    execution: str
    timeout_seconds: int
    since: datetime
    now: datetime
    commands: Commands


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
    look = Look(instances)
    frozen = {key: freeze for key, freeze in freezes.items() if key in instances}
    thaws, thawing = _read_thaws(execution, frozen, settings, look.commands)
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
        look,
        since=since,
        now=now,
        script_timeout_seconds=settings.script_timeout_seconds,
    )
    progress.waiting.update(held_up)
    progress.losses = thawing.losses + progress.losses
    return _answer(progress, thaws, now - since)


def rejoin(  # noqa: PLR0913 (who comes back, and by when)
    execution: str,
    returning: Sequence[Returning],
    look: Look,
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
    how = _Scripts(execution, script_timeout_seconds, since, now, look.commands)
    _run_scripts(progress, scripted, how)
    for each in returning:
        if each.instance_id not in progress.waiting:
            progress.attempt(each.instance_id, partial(_put_into_service, each, look))
    if not progress.waiting and any(each.undo.muted for each in returning):
        _unmute(execution, look.mute_rules)
    return progress


def _run_scripts(progress: Rejoining, scripted: Sequence[Returning], how: _Scripts) -> None:
    """Run the post-scripts, those of one place in the group's order after those of another."""
    held_up = ""
    for _, peers in groupby(sorted(scripted, key=_order, reverse=True), key=_order):
        level = list(peers)
        if held_up:
            why = f"its post-script follows that of {held_up}"
            progress.waiting |= {each.instance_id: why for each in level}
            continue
        _run_level(progress, level, how)
        for each in level:
            _give_up_if_late(progress, each, how)
        held_up = next((e.instance_id for e in level if e.instance_id in progress.waiting), "")


def _give_up_if_late(progress: Rejoining, each: Returning, how: _Scripts) -> None:
    """Let an instance go back into service if its scripts have kept it from that for long."""
    why = progress.waiting.get(each.instance_id)
    since = max(how.since, each.instance.launch_time or how.since)
    if why is None or how.now - since < SCRIPT_PATIENCE + timedelta(seconds=how.timeout_seconds):
        return
    del progress.waiting[each.instance_id]
    row = progress.scripts.setdefault(each.instance_id, {"pre": "none", "post_exit": None})
    row["post"] = Status.FAILED
    cause = (
        f"The post-script {each.member.post} of {each.instance_id} was not run to its end: {why}."
    )
    progress.losses.append(Loss(each.instance_id, POST_SCRIPT_FAILED, cause))


def _run_level(progress: Rejoining, level: Sequence[Returning], how: _Scripts) -> None:
    """Run the post-scripts of members of one place, unless a pre-script did not succeed."""
    progress.scripts |= {
        each.instance_id: {"pre": "none", "post": "none", "post_exit": None} for each in level
    }
    try:
        due = _due(progress, level, how)
        results = _post_scripts(progress, due, how)
    except StillpointError as error:
        logger.exception("The post-scripts could not be run")
        progress.waiting |= {each.instance_id: str(error) for each in level}
        return
    for instance_id, result in results.items():
        if result.status is Status.RUNNING:
            progress.waiting[instance_id] = "its post-script runs"
            continue
        progress.scripts[instance_id] |= {"post": result.status, "post_exit": result.exit_code}
        if result.status is Status.FAILED and result.exit_code != THAWED_BY_ITSELF:
            progress.losses.append(Loss(instance_id, POST_SCRIPT_FAILED, result.sentence))


def _due(progress: Rejoining, level: Sequence[Returning], how: _Scripts) -> list[Returning]:
    """Return those of which the post-script is due; one whose pre-script still runs waits.

    A pre-script that still runs, because its backup was ended meanwhile, is called off when its
    time is up.
    """
    documents = {each.instance_id: each.member.pre for each in level if each.member.pre}
    stage = Stage.PRE_SCRIPT
    pre = scripts.outcomes(documents, stage, how.execution, how.commands)
    if running := {key: documents[key] for key, r in pre.items() if r.status is Status.RUNNING}:
        pre |= scripts.run(
            *(running, stage, how.execution, how.commands, how.now),
            timeout_seconds=how.timeout_seconds,
        )
    due = []
    for each in level:
        result = pre.get(each.instance_id)
        if result is not None and result.status is Status.RUNNING:
            progress.waiting[each.instance_id] = "its pre-script still runs"
            continue
        if result is not None and result.status is not Status.MISSING:
            progress.scripts[each.instance_id]["pre"] = result.status
        if each.member.post and _calls_for_post(result):
            due.append(each)
    return due


def _post_scripts(
    progress: Rejoining, due: Sequence[Returning], how: _Scripts
) -> dict[str, ScriptResult]:
    """Run post-scripts, or return what has become of them; without an agent, one waits."""
    stage = Stage.POST_SCRIPT
    documents = {each.instance_id: str(each.member.post) for each in due}
    seen = scripts.outcomes(documents, stage, how.execution, how.commands)
    started = {
        each.instance_id: each.instance.launch_time
        for each in due
        if scripts.is_to_be_sent(seen[each.instance_id], stage)
    }
    offline = started.keys() - scripts.online(started)
    progress.waiting |= dict.fromkeys(offline, "its agent is not online yet")
    return scripts.run(
        {key: name for key, name in documents.items() if key not in offline},
        *(stage, how.execution, how.commands, how.now),
        timeout_seconds=how.timeout_seconds,
    )


def _calls_for_post(pre: ScriptResult | None) -> bool:
    """Return whether a post-script is due: the applications may be quiesced.

    They may be, too, if the agent never said what became of the pre-script, or ended it half-way.
    """
    if pre is None or pre.status is Status.SUCCEEDED:
        return True
    ended_itself = pre.exit_code is not None and 0 <= pre.exit_code != _KILLED
    return pre.status is Status.FAILED and pre.delivered and not ended_itself


def _put_into_service(each: Returning, look: Look) -> Progress:
    """Let an instance take part again, as soon as it runs."""
    if not each.undo.standby and not each.undo.targets:
        return DONE
    if each.instance.state != "running":
        return Progress(waiting=f"it is {each.instance.state}")
    hindrance = partial(look.hindrance, each.instance)
    return together(
        targets.register(each.instance_id, each.undo.targets, look.groups, hindrance),
        standby.leave(each.instance, look.places, hindrance) if each.undo.standby else DONE,
    )


def _unmute(execution: str, rules: MuteRules) -> None:
    """Let the alarms ring again now; a mute rule that stays ends by itself."""
    try:
        progress = mute.unmute(execution, rules)
    except StillpointError:
        logger.exception("The alarms could not be unmuted")
        return
    if progress.failure:
        logger.warning("The alarms could not be unmuted", extra={"why": progress.failure})


def _read_thaws(
    execution: str,
    freezes: Mapping[str, Mapping[str, Any]],
    settings: RejoinSettings,
    commands: Commands,
) -> tuple[dict[str, Any], Rejoining]:
    """Return how the freezes ended, by instance id, and how far their thaws have come."""
    rows: dict[str, Any] = {}
    thawing = Rejoining()
    ours = [key for key, freeze in freezes.items() if not freeze.get("vss")]
    thaws = Thaws(execution, ours, settings, commands)

    def read(instance_id: str, freeze: Mapping[str, Any]) -> Progress:
        progress, rows[instance_id] = thaws.read(instance_id, freeze)
        if progress.error == STILL_FROZEN:
            return Progress(lost=progress.failure, error=STILL_FROZEN)
        return progress if progress.waiting else DONE

    for instance_id, freeze in freezes.items():
        thawing.attempt(instance_id, partial(read, instance_id, freeze))
    return rows, thawing


def _answer(progress: Rejoining, thaws: Mapping[str, Any], elapsed: timedelta) -> dict[str, Any]:
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
            *(_failure(key, "NotBackInService", why) for key, why in late.items()),
            *(_failure(loss.instance_id, loss.error, loss.cause) for loss in progress.losses),
        ],
        "thaws": dict(thaws),
        "scripts": progress.scripts,
    }


def _failure(instance_id: str, error: str, cause: str) -> dict[str, str]:
    return {
        "phase": "resume",
        "instance_id": instance_id,
        "error": error,
        "cause": cause[:LONGEST_CAUSE],
    }


def _order(each: Returning) -> int:
    return each.member.order
