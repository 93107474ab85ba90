"""What became of each instance: what the product claims, beside what the EC2 model knows."""

from dataclasses import dataclass
from typing import Any, Final

from sandbox.fleet import Fleet
from sandbox.session import Session

STATUS: Final = {
    "SUCCEEDED": "succeeded",
    "ABORTED": "aborted",
    "TIMED_OUT": "timed-out",
    "RUNNING": "running",
}
AT_REST_LEVELS: Final = frozenset({"file-system", "application"})
METHOD_TAG: Final = "stillpoint:method"
LEVEL_TAG: Final = "stillpoint:consistency"
PROBLEM_TAG: Final = "stillpoint:problem"
EVIDENCE_TAG: Final = "stillpoint:evidence"
HOLD_TAG: Final = "stillpoint:hold"
SCHEDULE_TAG: Final = "stillpoint:schedule"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One instance in the end.

    Seconds are simulated; image, dirty bytes and downtime are None if there is none.
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

    @property
    def claim_is_false(self) -> bool:
        """Whether a level is claimed that the page cache contradicts."""
        return self.consistency in AT_REST_LEVELS and self.dirty_bytes != 0

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
        _outcome(name, fleet, instances[instance_id], truth["images"], executions)
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
    own = [each for each in images if each["instance_id"] == instance_id]
    newest = own[-1] if own else None
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
    )


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
