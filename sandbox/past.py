"""What an instance was backed up to before a scenario began, as the product would have left it.

The names, the tags and the choice of what is still there are the product's own.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sandbox.process import ROOT
from sandbox.scenario import InstanceSpec, PastSpec, due, filled

if str(LAYER := ROOT / "layers" / "stillpoint") not in sys.path:
    sys.path.append(str(LAYER))

from stillpoint.plan import execution_name
from stillpoint.policy import Method
from stillpoint.recovery_point import (
    Evidence,
    Snapshot,
    assess,
    creation_tags,
    evidence_tags,
    image_name,
)
from stillpoint.retain import parse_retain
from stillpoint.retention import Point, Rule, decide
from stillpoint.tags import Tag

STACK: Final = "stillpoint"
ZONE: Final = "UTC"
GRACE: Final = timedelta(seconds=120)
# How a backup of the past went, counted from its occurrence.
STOP_REQUESTED: Final = timedelta(seconds=15)
STOPPED: Final = timedelta(seconds=50)
CAPTURED: Final = timedelta(seconds=55)
STARTED: Final = timedelta(seconds=60)
RESUMED: Final = timedelta(seconds=85)


@dataclass(frozen=True, slots=True)
class _Backup:
    """One backup of the past."""

    spec: InstanceSpec
    past: PastSpec
    instance_id: str
    schedule: str
    occurrence: datetime

    def row(self) -> dict[str, Any]:
        """Return its image as `sandbox.ec2.past` takes it."""
        born = creation_tags(
            stack=STACK,
            instance_id=self.instance_id,
            execution=execution_name(self.instance_id, self.occurrence, 1),
            occurrence=self.occurrence,
        )
        return {
            "name": image_name(self.instance_id, self.occurrence),
            "created_at": (self.occurrence + CAPTURED).timestamp(),
            "tags": born | self._evidence_tags(),
        }

    def _evidence_tags(self) -> dict[str, str]:
        was_running = self.spec.state == "running"
        evidence = Evidence(
            method=Method.STOP,
            state_before=self.spec.state,
            capture_from=self.occurrence + CAPTURED,
            volumes=self.spec.volumes,
            snapshots=tuple(
                Snapshot("", f"{number}", "pending", self.occurrence + CAPTURED)
                for number in range(self.spec.volumes)
            ),
            stop_requested_at=self.occurrence + STOP_REQUESTED if was_running else None,
            stopped_at=self.occurrence + STOPPED if was_running else None,
            started_again=was_running,
            runs=was_running,
            launched_at=self.occurrence + STARTED,
        )
        return evidence_tags(
            assess(evidence, grace=GRACE),
            schedule=self.schedule,
            method=Method.STOP,
            retain=self.past.retain,
            time_zone=ZONE,
            copy_to=(),
            group=None,
            stopped_at=evidence.stopped_at,
            captured_at=self.occurrence + CAPTURED,
            resumed_at=self.occurrence + RESUMED if was_running else None,
            owner_tags={"Name": self.spec.name},
        )


def images_of(spec: InstanceSpec, instance_id: str, start: datetime) -> list[dict[str, Any]]:
    """Return the images of an instance's past, as `sandbox.ec2.past` takes them, oldest first.

    `start` is when the scenario begins.
    """
    if spec.past is None:
        return []
    first = due(spec, start)
    schedule = filled(spec.tags[Tag.SCHEDULE], start)
    return [
        _Backup(spec, spec.past, instance_id, schedule, occurrence).row()
        for occurrence in _kept(spec.past, first)
    ]


def _kept(past: PastSpec, first: datetime) -> Iterator[datetime]:
    """Return the occurrences before the `first` one of which there is a recovery point still."""
    occurrences = [first - timedelta(days=day) for day in range(past.days, 0, -1)]
    if past.pruned is None:
        yield from occurrences
        return
    pruned_at = first - timedelta(days=past.pruned)
    points = {each.isoformat(): each for each in occurrences if each <= pruned_at}
    decision = decide(
        (Point(name, each, available=True) for name, each in points.items()),
        [Rule(parse_retain(past.retain), ZoneInfo(ZONE))],
        pruned_at.astimezone(UTC),
    )
    for each in occurrences:
        if each.isoformat() not in decision.expire:
            yield each
