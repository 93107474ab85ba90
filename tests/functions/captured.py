"""A backup whose instances were captured and are back: what Complete finds."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stillpoint.tags import iso
from tests.functions.fleet import (
    attach_volume,
    capture,
    launch,
    set_image_state,
    set_launch_time,
    set_state,
    tags_of,
)
from tests.functions.samples import sample
from tests.functions.stack import Stack
from tests.unit.builders import at

REQUESTED, STOPPED = at("2026-11-22 03:00:07"), at("2026-11-22 03:00:34")
INITIATED, CAPTURED = at("2026-11-22 03:00:38"), at("2026-11-22 03:00:40")
LAUNCHED, RUNNING = at("2026-11-22 03:00:41"), at("2026-11-22 03:00:55")
SOON = at("2026-11-22 03:01:00")
LONG_AGO = at("2026-11-01 12:00")
EXECUTION = "group-erp-20261122T030000Z"


@dataclass(frozen=True, slots=True)
class Captured:
    """The members' ids with their images and snapshots, and the state machine's record."""

    stack: Stack
    instance_ids: list[str]
    image_ids: list[str]
    snapshot_ids: list[list[str]]
    event: dict[str, Any]

    def complete(
        self, *, now: datetime = SOON, notify_success: str = "true", **changes: object
    ) -> dict[str, Any]:
        """Invoke complete_backup with the record, or a changed one."""
        return self.stack.invoke(
            "complete_backup",
            self.event | changes,
            now=now,
            variables={"NOTIFY_SUCCESS": notify_success},
        )

    def everything_made(self, member: int = 0) -> list[dict[str, str]]:
        """Return the tags of a member's image and of each of its snapshots."""
        made = [self.image_ids[member], *self.snapshot_ids[member]]
        return [tags_of(resource_id) for resource_id in made]

    def set_images(self, state: str, reason: str = "") -> None:
        """Put all images into a state."""
        for image_id in self.image_ids:
            set_image_state(image_id, state, reason)


def a_captured(
    stack: Stack,
    count: int = 1,
    *,
    method: str = "stop",
    before: str = "running",
    volumes: int = 1,
    image_state: str = "available",
    initiated_at: datetime = INITIATED,
    launched_at: datetime | None = None,
    **facts: Any,  # noqa: ANN401 (those of `launch`)
) -> Captured:
    """Return a backup that went well: quiesced, captured at rest, and resumed."""
    instance_ids = launch(count, name="web", seen="2026-11-22 03:00", **facts)
    stopped = method == "stop" and before == "running"
    for instance_id in instance_ids:
        for _ in range(volumes - 1):
            attach_volume(instance_id)
        set_launch_time(instance_id, launched_at or (LAUNCHED if stopped else LONG_AGO))
        if before == "stopped":
            set_state(instance_id, "stopped")
    made = [
        capture(each, execution=EXECUTION, initiated_at=initiated_at, state=image_state)
        for each in instance_ids
    ]
    image_ids, snapshot_ids = [image for image, _ in made], [snapshots for _, snapshots in made]
    event = sample("complete_backup_succeeded")
    planned, prepared = event["backup"]["members"][0], event["members"][0]
    own = {"name": "web", "method": method}
    event["backup"]["members"] = [planned | own | {"instance_id": each} for each in instance_ids]
    event["members"] = [
        prepared | own | {"instance_id": each, "state_before": before} for each in instance_ids
    ]
    captures = [
        {"instance_id": each, "image_id": image, "volumes": volumes, "captured_at": iso(CAPTURED)}
        for each, image in zip(instance_ids, image_ids, strict=True)
    ]
    stops = [{"instance_id": each, "requested_at": iso(REQUESTED)} for each in instance_ids]
    event |= {
        "capture_from": iso(STOPPED if stopped else REQUESTED),
        "captures": captures,
        "stops": stops if stopped else [],
        "stopped_at": dict.fromkeys(instance_ids, iso(STOPPED)) if stopped else {},
        "starts": stops if stopped else [],
        "running_at": dict.fromkeys(instance_ids, iso(RUNNING)) if stopped else {},
    }
    return Captured(stack, instance_ids, image_ids, snapshot_ids, event)


def a_failure(instance_id: str | None = None, phase: str = "capture") -> dict[str, str]:
    """Return a failure as the state machine records it."""
    failure = {"phase": phase, "error": "SnapshotFailed", "cause": "Snapshot in state error: s"}
    return failure if instance_id is None else failure | {"instance_id": instance_id}
