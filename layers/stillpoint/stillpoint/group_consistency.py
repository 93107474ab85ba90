"""Whether the recovery points of a consistency group are of one moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import assert_never

from stillpoint.freeze import RESOLUTION
from stillpoint.policy import Method
from stillpoint.recovery_point import Evidence
from stillpoint.tags import portable

HELD = "held"
"""Every member was at rest when any of the group's snapshots was initiated."""

_NAMED = 3
_SECOND = timedelta(seconds=1)
_BEGINNING = datetime.min.replace(tzinfo=UTC)
_NEVER_ENDS = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Rest:
    """From when to when an instance is proven to have written nothing."""

    begin: datetime = _BEGINNING
    end: datetime = _NEVER_ENDS

    def holds(self, started_at: datetime) -> bool:
        """Return whether it was at rest when a snapshot with this StartTime was initiated."""
        return self.begin <= started_at and started_at.replace(microsecond=0) <= self.end


def rest_of(evidence: Evidence) -> Rest | None:
    """Return when an instance was at rest, or None if that is not known.

    One that EC2 reboots for its own image, or images while it runs, rests at no moment that is
    known. A Windows guest rests for its own snapshots alone.
    """
    launched = evidence.launched_at
    if evidence.shared_volumes:
        return None
    if evidence.state_before == "stopped":
        return _rest_until_launch(Rest().begin, evidence, since=evidence.capture_from)
    match evidence.method:
        case Method.STOP if evidence.stopped_at is not None and launched is not None:
            stopped = evidence.stopped_at.replace(microsecond=0)
            return _rest_until_launch(stopped, evidence, since=stopped)
        case Method.FREEZE if evidence.freeze is not None and evidence.freeze.window is not None:
            window = evidence.freeze.window
            return Rest(window.begin, window.end - RESOLUTION)
        case Method.STOP | Method.FREEZE | Method.REBOOT | Method.NONE:
            return None
        case _ as never:
            assert_never(never)


def group_claim(members: Mapping[str, Evidence | None]) -> str:
    """Return `held`, or `broken:` and why, as the value of a tag.

    `members` are all members of a group by instance id; None if one has no image, or not of every
    volume. Held is a group of which every member was at rest at the moment of every snapshot.
    """
    present = {
        key: evidence
        for key, evidence in members.items()
        if evidence is not None and evidence.covers_every_volume
    }
    missing = [key for key in members if key not in present]
    if missing:
        return missing_claim(missing)
    rests = {key: rest_of(evidence) for key, evidence in present.items()}
    restless = [key for key, rest in rests.items() if rest is None]
    if restless:
        return _broken(f"when {_listed(restless)} rested is not known")
    moments = [each.started_at for one in present.values() for each in one.usable_snapshots]
    early = [
        key
        for key, rest in rests.items()
        if rest is not None and not all(rest.holds(moment) for moment in moments)
    ]
    if early:
        return _broken(f"{_listed(early)} not at rest at every snapshot of the group")
    return HELD


def missing_claim(instance_ids: Sequence[str]) -> str:
    """Return what is said of a group of which these members have no recovery point."""
    return _broken(f"{_listed(instance_ids)} without a recovery point of this backup")


def _rest_until_launch(begin: datetime, evidence: Evidence, *, since: datetime) -> Rest | None:
    """Return the rest of a stopped instance: until its next start, if there was one."""
    launched = evidence.launched_at
    if launched is not None and launched >= since.replace(microsecond=0):
        return Rest(begin, launched)
    return None if evidence.started_again else Rest(begin)


def _broken(why: str) -> str:
    return portable(f"broken: {why}")


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return " and ".join([*names[:_NAMED], *([f"{more} more"] if more > 0 else [])])
