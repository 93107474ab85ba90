"""LockSnapshot, UnlockSnapshot and DescribeLockedSnapshots.

EC2 API Reference, LockSnapshot, and EBS User Guide, "Amazon EBS snapshot lock considerations": a
lock lasts 1 to 36,500 days or until a date. In governance mode it can be changed and taken back
at any time; in compliance mode only within a cooling-off period of at most 72 hours, after that
it can only be extended. A pending snapshot can be locked, and its duration then counts from its
completion; one that is about to become part of an image cannot. An expired lock hinders nothing.
"""

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sandbox.ec2.call import Call
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.filters import matcher, page
from sandbox.ec2.image_requests import require
from sandbox.ec2.model import ImageState, Snapshot, SnapshotLock
from sandbox.ec2.moments import instant
from sandbox.ec2.region import Operation, Region

if TYPE_CHECKING:
    from sandbox.ec2.filters import Extractor

DAY = 86_400.0
HOUR = 3_600.0
MAX_DAYS = 36_500
MAX_COOL_OFF_HOURS = 72
GOVERNANCE, COMPLIANCE = "governance", "compliance"


def lock_snapshot(region: Region, call: Call) -> dict[str, Any]:
    """Lock a snapshot, or change the lock that it has."""
    require(call.params, "SnapshotId", "LockMode")
    snapshot = region.snapshot(call.params["SnapshotId"], call.at)
    for image_id in snapshot.users:
        if region.images[image_id].state is ImageState.PENDING:
            message = f"The snapshot '{snapshot.snapshot_id}' is part of an AMI that is pending."
            raise Ec2Error("IncorrectState", message)
    lock = _requested(call)
    if _is_final(snapshot, call.at):
        _check_extends(snapshot, lock)
    snapshot.lock = lock
    return _view(region, snapshot, call.at, owner=False)


def unlock_snapshot(region: Region, call: Call) -> dict[str, Any]:
    """Take the lock of a snapshot back."""
    snapshot = region.snapshot(call.params.get("SnapshotId", ""), call.at)
    if not is_locked(snapshot, call.at):
        message = f"The snapshot '{snapshot.snapshot_id}' is not locked."
        raise Ec2Error("IncorrectState", message)
    if _is_final(snapshot, call.at):
        message = f"The snapshot '{snapshot.snapshot_id}' is locked in compliance mode."
        raise Ec2Error("OperationNotPermitted", message)
    snapshot.lock = None
    return {"SnapshotId": snapshot.snapshot_id}


def describe_locked_snapshots(region: Region, call: Call) -> dict[str, Any]:
    """List the snapshots that are or were locked, by ids or the filter `lock-state`, in pages."""
    ids = dict.fromkeys(call.params.get("SnapshotIds") or [])
    named = [region.snapshot(snapshot_id, call.at) for snapshot_id in ids]
    by_state: dict[str, Extractor[Snapshot]] = {
        "lock-state": lambda snapshot: [_state(snapshot, call.at)]
    }
    matches = matcher(call.params.get("Filters"), by_state, lambda _: {})
    listed = [
        snapshot
        for snapshot in (named if ids else region.snapshots.values())
        if snapshot.lock and matches(snapshot)
    ]
    found, token = page(sorted(listed, key=lambda one: one.snapshot_id), call.params)
    views = [_view(region, snapshot, call.at, owner=True) for snapshot in found]
    return {"Snapshots": views, "NextToken": token}


def is_locked(snapshot: Snapshot, now: float) -> bool:
    """Say whether a lock keeps a snapshot from being deleted at `now`."""
    return snapshot.lock is not None and now < _expires_at(snapshot, snapshot.lock)


def _requested(call: Call) -> SnapshotLock:
    """Return the lock that a request asks for; raise Ec2Error for an unsound one."""
    params = call.params
    mode, days, date = params["LockMode"], params.get("LockDuration"), params.get("ExpirationDate")
    cool_off = params.get("CoolOffPeriod")
    if mode not in (GOVERNANCE, COMPLIANCE):
        raise Ec2Error("InvalidParameterValue", f"Value ({mode}) for parameter LockMode is invalid")
    if (days is None) == (date is None):
        message = "Specify either LockDuration or ExpirationDate, and not both"
        raise Ec2Error("InvalidParameterCombination", message)
    if days is not None and not 1 <= days <= MAX_DAYS:
        message = f"Value ({days}) for parameter LockDuration is invalid: 1 to {MAX_DAYS}"
        raise Ec2Error("InvalidParameterValue", message)
    if cool_off is not None and (mode != COMPLIANCE or not 1 <= cool_off <= MAX_COOL_OFF_HOURS):
        message = f"Value ({cool_off}) for parameter CoolOffPeriod is invalid"
        raise Ec2Error("InvalidParameterValue", message)
    if date is None:
        return SnapshotLock(mode, call.at, int(days or 0), None, cool_off)
    expires_at = _moment(date)
    if expires_at <= call.at:
        message = f"Value ({date}) for parameter ExpirationDate is in the past"
        raise Ec2Error("InvalidParameterValue", message)
    days_left = math.ceil((expires_at - call.at) / DAY)
    return SnapshotLock(mode, call.at, days_left, expires_at, cool_off)


def _is_final(snapshot: Snapshot, now: float) -> bool:
    """Say whether the lock of a snapshot is one that nobody can take back any more."""
    return _state(snapshot, now) == COMPLIANCE


def _check_extends(snapshot: Snapshot, new: SnapshotLock) -> None:
    """Raise OperationNotPermitted unless a new lock only extends a final one."""
    old = snapshot.lock
    sooner = old is not None and _expires_at(snapshot, new) < _expires_at(snapshot, old)
    if new.mode != COMPLIANCE or new.cool_off_hours is not None or sooner:
        message = f"The snapshot '{snapshot.snapshot_id}' is locked in compliance mode: its lock "
        raise Ec2Error("OperationNotPermitted", message + "can only be extended.")


def _starts_at(snapshot: Snapshot, lock: SnapshotLock) -> float:
    """Return when the duration of a lock begins: infinity while the snapshot is pending."""
    completed = float("inf") if snapshot.completed_at is None else snapshot.completed_at
    return max(lock.created_at, completed)


def _expires_at(snapshot: Snapshot, lock: SnapshotLock) -> float:
    """Return when a lock expires: infinity while its duration has not begun."""
    if lock.expires_at is not None:
        return lock.expires_at
    return _starts_at(snapshot, lock) + lock.duration_days * DAY


def _state(snapshot: Snapshot, now: float) -> str:
    """Return the state of a snapshot's lock as EC2 words it; nothing for one without a lock."""
    lock = snapshot.lock
    if lock is None:
        return ""
    if not is_locked(snapshot, now):
        return "expired"
    cool_off_until = lock.created_at + (lock.cool_off_hours or 0) * HOUR
    if lock.mode == COMPLIANCE and now < cool_off_until:
        return "compliance-cooloff"
    return lock.mode


def _view(region: Region, snapshot: Snapshot, now: float, *, owner: bool) -> dict[str, Any]:
    """Return the lock of a snapshot as EC2 shows it; `owner` is for the list alone."""
    lock = snapshot.lock
    if lock is None:
        return {"SnapshotId": snapshot.snapshot_id}
    begins, ends = _starts_at(snapshot, lock), _expires_at(snapshot, lock)
    cool_off = lock.cool_off_hours
    answer: dict[str, Any] = {
        "SnapshotId": snapshot.snapshot_id,
        "LockState": _state(snapshot, now),
        "LockDuration": lock.duration_days,
        "CoolOffPeriod": cool_off,
        "CoolOffPeriodExpiresOn": instant(lock.created_at + cool_off * HOUR) if cool_off else None,
        "LockCreatedOn": instant(lock.created_at),
        "LockDurationStartTime": instant(begins) if begins < float("inf") else None,
        "LockExpiresOn": instant(ends) if ends < float("inf") else None,
    }
    return {"OwnerId": region.account, **answer} if owner else answer


def _moment(date: datetime | str) -> float:
    """Return a request's date as epoch seconds; raise InvalidParameterValue if it is none."""
    try:
        parsed = date if isinstance(date, datetime) else datetime.fromisoformat(date)
    except ValueError as error:
        message = f"Value ({date}) for parameter ExpirationDate is invalid"
        raise Ec2Error("InvalidParameterValue", message) from error
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


ACTIONS: dict[str, Operation] = {
    "LockSnapshot": lock_snapshot,
    "UnlockSnapshot": unlock_snapshot,
    "DescribeLockedSnapshots": describe_locked_snapshots,
}
