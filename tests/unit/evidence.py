"""Evidence of captures that went well, and ways to spoil it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from stillpoint.freeze import FreezeProof, FreezeWindow
from stillpoint.policy import Method
from stillpoint.recovery_point import Consistency, Evidence, Snapshot, assess
from tests.unit.builders import at

GRACE = timedelta(seconds=180)
REQUESTED, STOPPED = at("2026-11-22 03:00:07"), at("2026-11-22 03:00:34")
INITIATED, LAUNCHED = at("2026-11-22 03:00:38.250"), at("2026-11-22 03:00:45")
RUNNING = at("2026-11-22 03:01:05")
LAUNCHED_BEFORE = at("2026-11-01 12:00")


def snapshot(number: int = 1, *, state: str = "pending", after: float = 0) -> Snapshot:
    """Return a snapshot that was initiated so many seconds after the first."""
    started_at = INITIATED + timedelta(seconds=after)
    return Snapshot(f"snap-{number:017x}", f"vol-{number:017x}", state, started_at)


def a_stop(volumes: int = 2) -> Evidence:
    """Return the evidence of a clean stop, a capture at rest and a start after it."""
    return Evidence(
        method=Method.STOP,
        state_before="running",
        capture_from=STOPPED,
        volumes=volumes,
        snapshots=tuple(snapshot(number, after=number / 10) for number in range(volumes)),
        stop_requested_at=REQUESTED,
        stopped_at=STOPPED,
        started_again=True,
        launched_at=LAUNCHED,
        running_at=RUNNING,
    )


def a_reboot() -> Evidence:
    """Return the evidence of a reboot inside CreateImage that EC2 finished in time."""
    return replace(
        a_stop(),
        method=Method.REBOOT,
        capture_from=REQUESTED,
        stop_requested_at=None,
        stopped_at=None,
        launched_at=LAUNCHED_BEFORE,
        running_at=None,
    )


FROZEN, THAWED = at("2026-11-22 03:00:30"), at("2026-11-22 03:00:52.500")


def a_freeze() -> Evidence:
    """Return the evidence of a freeze that held over every snapshot."""
    return replace(
        a_stop(),
        method=Method.FREEZE,
        stop_requested_at=None,
        stopped_at=None,
        launched_at=LAUNCHED_BEFORE,
        running_at=None,
        freeze=FreezeProof(FreezeWindow(FROZEN, THAWED)),
    )


def a_vss_image(consistent: str = "True") -> Evidence:
    """Return the evidence of an image that AWS's VSS document made."""
    tagged = [replace(each, tags={"AppConsistent": consistent}) for each in a_stop().snapshots]
    return replace(a_freeze(), freeze=FreezeProof(vss=True), snapshots=tuple(tagged))


def level_of(evidence: Evidence) -> Consistency | None:
    """Return the level that the evidence proves."""
    return assess(evidence, grace=GRACE).level


def changed(**facts: object) -> Callable[[Evidence], Evidence]:
    """Return what changes these facts of some evidence."""
    return lambda evidence: replace(evidence, **facts)  # type: ignore[arg-type]


def with_snapshots(*snapshots: Snapshot) -> Callable[[Evidence], Evidence]:
    """Return what puts these snapshots in the place of some evidence's own."""
    return changed(snapshots=snapshots)
