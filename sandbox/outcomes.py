"""What became of each instance: what the product claims, beside what the EC2 model knows."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sandbox import around
from sandbox.fleet import Fleet
from sandbox.session import Session

STATUS: Final = {
    "SUCCEEDED": "succeeded",
    "ABORTED": "aborted",
    "TIMED_OUT": "timed-out",
    "RUNNING": "running",
}
AT_REST_LEVELS: Final = frozenset({"file-system", "application"})
APPLICATION: Final = "application"
METHOD_TAG: Final = "stillpoint:method"
LEVEL_TAG: Final = "stillpoint:consistency"
PROBLEM_TAG: Final = "stillpoint:problem"
EVIDENCE_TAG: Final = "stillpoint:evidence"
HOLD_TAG: Final = "stillpoint:hold"
SCHEDULE_TAG: Final = "stillpoint:schedule"
RETAIN_TAG: Final = "stillpoint:retain"
OCCURRENCE_TAG: Final = "stillpoint:occurrence"
STACK_TAG: Final = "stillpoint:stack"
COPYING_TAG: Final = "stillpoint:copying"
# What a copy has to say as its source does.
TOLD_BY_COPIES: Final = (
    *(LEVEL_TAG, EVIDENCE_TAG, RETAIN_TAG, OCCURRENCE_TAG, STACK_TAG, METHOD_TAG),
    *("stillpoint:instance", "stillpoint:captured-at", "stillpoint:time-zone"),
)


@dataclass(frozen=True, slots=True)
class CopyOutcome:
    """A copy of an instance's newest recovery point in another Region.

    `lacks` are the tags of its source that it should have, and has not.
    """

    region: str
    image_id: str
    state: str
    consistency: str
    dirty_bytes: int
    lacks: list[str]
    quiesced: bool = True

    @property
    def claim_is_false(self) -> bool:
        """Whether a level is claimed that the page cache or the applications contradict."""
        return _is_false(self.consistency, self.dirty_bytes, quiesced=self.quiesced)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One instance in the end.

    Seconds are simulated; image, dirty bytes and downtime are None if there is none. `images` are
    those of this run. `kept` counts the recovery points in its own Region, `expired` those that
    are gone; `oldest` is the occurrence of the oldest one, `retain` what the newest one says, and
    `retain_before` what the one before it says. `quiesced` says whether its applications were at
    rest at each snapshot of the image, `scripts` are those that ended in it, with their exit codes,
    `frozen` is how its file systems were frozen, in words; `service` is where it is in service, and
    how.
    """

    name: str
    instance_id: str
    method: str
    outcome: str
    image_id: str | None
    consistency: str
    dirty_bytes: int | None
    downtime_seconds: float | None
    floor_seconds: float | None
    state_before: str
    state_after: str
    reason: str
    images: int
    retain: str = ""
    retain_before: str = ""
    kept: int = 0
    expired: int = 0
    oldest: str = ""
    copies: tuple[CopyOutcome, ...] = ()
    quiesced: bool = True
    scripts: str = ""
    frozen: str = ""
    service: str = ""

    @property
    def claim_is_false(self) -> bool:
        """Whether a level is claimed that the page cache or the applications contradict."""
        return _is_false(self.consistency, self.dirty_bytes, quiesced=self.quiesced)

    @property
    def in_its_state(self) -> bool:
        """Whether the instance is in the state that it was in before."""
        return self.state_after == self.state_before


def observe(session: Session, fleet: Fleet) -> list[Outcome]:
    """What became of every instance of the fleet so far."""
    return outcomes_of(fleet, session.control.truth(), session.control.executions())


def outcomes_of(
    fleet: Fleet, truth: dict[str, Any], executions: dict[str, dict[str, Any]]
) -> list[Outcome]:
    """What became of every instance, given the EC2 model's report and all executions."""
    instances = {each["instance_id"]: each for each in truth["instances"]}
    return [
        replace(
            _outcome(name, fleet, instances[instance_id], truth["images"], executions),
            service=around.in_words(around.service(truth, instance_id)),
        )
        for name, instance_id in fleet.ids.items()
    ]


def members(execution: dict[str, Any]) -> list[str]:
    """The instances that an execution was started for."""
    named = (execution["input"] or {}).get("members", [])
    return [str(each["instance_id"] if isinstance(each, dict) else each) for each in named]


def _outcome(
    name: str,
    fleet: Fleet,
    instance: dict[str, Any],
    images: list[dict[str, Any]],
    executions: dict[str, dict[str, Any]],
) -> Outcome:
    instance_id, tags = instance["instance_id"], instance["tags"]
    own = [
        each
        for each in images
        if each["instance_id"] == instance_id
        and datetime.fromisoformat(each["created_at"]) >= fleet.start
    ]
    newest = own[-1] if own else None
    points = recovery_points(images, instance_id)
    concerned = [each for each in executions.values() if instance_id in members(each)]
    outcome, reason = _judge(concerned[-1] if concerned else None, tags)
    downs = [each for each in instance["downs"] if each["downtime_seconds"] is not None]
    return Outcome(
        name=name,
        instance_id=instance_id,
        method=tags.get(METHOD_TAG, "stop"),
        outcome=outcome,
        image_id=newest["image_id"] if newest else None,
        consistency=newest["tags"].get(LEVEL_TAG, "") if newest else "",
        dirty_bytes=newest["dirty_bytes"] if newest else None,
        downtime_seconds=downs[-1]["downtime_seconds"] if downs else None,
        floor_seconds=downs[-1]["floor_seconds"] if downs else None,
        state_before=fleet.states[name],
        state_after=instance["state"],
        reason=reason or (newest["tags"].get(EVIDENCE_TAG, "") if newest else ""),
        images=len(own),
        retain=_retain(points[-1:]),
        retain_before=_retain(points[-2:-1]),
        kept=len(points),
        expired=sum(1 for each in images if _has_expired(each, instance_id)),
        oldest=min((each["tags"][OCCURRENCE_TAG] for each in points), default=""),
        copies=tuple(_copy(each, newest) for each in copies(images, newest)) if newest else (),
        quiesced=newest is None or newest["application"],
        scripts=around.scripts(instance),
        frozen=around.frozen(instance),
    )


def recovery_points(images: list[dict[str, Any]], instance_id: str) -> list[dict[str, Any]]:
    """The recovery points of an instance in its own Region that can be used, oldest first."""
    return [
        each
        for each in images
        if each["instance_id"] == instance_id
        and each["state"] == "available"
        and LEVEL_TAG in each["tags"]
    ]


def copies(images: list[dict[str, Any]], source: dict[str, Any]) -> list[dict[str, Any]]:
    """The copies of an image that are there, in whatever state."""
    origin = f"{source['region']}:{source['image_id']}"
    return [
        each for each in images if each["copy_of"] == origin and each["state"] != "deregistered"
    ]


def is_being_copied(image: dict[str, Any]) -> bool:
    """Say whether an image is a copy under way, or is still to be copied and may be soon.

    Where people have been told that there is no copy, it may take very long.
    """
    if image["copy_of"]:
        return bool(image["state"] == "pending")
    tasks = image["tags"].get(COPYING_TAG, "").split()
    return any(not each.endswith(":alerted") for each in tasks)


def lone_snapshots(truth: dict[str, Any]) -> list[str]:
    """The product's snapshots that belong to no image any more."""
    used = {
        snapshot["snapshot_id"]
        for image in truth["images"]
        if image["state"] != "deregistered"
        for snapshot in image["snapshots"]
    }
    return [
        each["snapshot_id"]
        for each in truth["snapshots"]
        if STACK_TAG in each["tags"] and each["snapshot_id"] not in used
    ]


def _has_expired(image: dict[str, Any], instance_id: str) -> bool:
    """Say whether it was a recovery point of the instance; what failed was none."""
    return (
        image["instance_id"] == instance_id
        and image["state"] == "deregistered"
        and image["state_reason"] is None
    )


def _retain(points: list[dict[str, Any]]) -> str:
    """Return what the tag of one recovery point says, or nothing if there is none."""
    return "".join(each["tags"].get(RETAIN_TAG, "") for each in points)


def _copy(image: dict[str, Any], source: dict[str, Any]) -> CopyOutcome:
    tags, wanted = image["tags"], source["tags"]
    return CopyOutcome(
        region=image["region"],
        image_id=image["image_id"],
        state=image["state"],
        consistency=tags.get(LEVEL_TAG, ""),
        dirty_bytes=image["dirty_bytes"],
        lacks=[key for key in TOLD_BY_COPIES if tags.get(key) != wanted.get(key)],
        quiesced=image["application"],
    )


def _is_false(level: str, dirty_bytes: int | None, *, quiesced: bool) -> bool:
    """Say whether more is claimed of an image than the model knows to be true."""
    dirty = level in AT_REST_LEVELS and dirty_bytes != 0
    return dirty or (level == APPLICATION and not quiesced)


def _judge(execution: dict[str, Any] | None, tags: dict[str, str]) -> tuple[str, str]:
    """The outcome in a word, and why in words."""
    if execution is not None:
        reason = ": ".join(filter(None, [execution["error"], execution["cause"]]))
        if execution["status"] == "FAILED":
            return ("refused" if execution["error"] == "BackupRefused" else "failed"), reason
        return STATUS[execution["status"]], reason
    if HOLD_TAG in tags:
        return "held", f"{HOLD_TAG} = {tags[HOLD_TAG]}"
    if PROBLEM_TAG in tags:
        return "invalid", tags[PROBLEM_TAG]
    return "none", "" if SCHEDULE_TAG in tags else "it carries no schedule"
