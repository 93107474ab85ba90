"""Time stamps: the world counts in epoch seconds, EC2's answers show dates."""

from datetime import UTC, datetime


def instant(epoch: float) -> datetime:
    """Return `epoch` seconds as an aware UTC datetime, cut to the millisecond as EC2 shows it."""
    return datetime.fromtimestamp(int(epoch * 1000) / 1000, UTC)


def second(epoch: float) -> datetime:
    """Return `epoch` seconds as an aware UTC datetime, cut to the second."""
    return datetime.fromtimestamp(int(epoch), UTC)


def iso(epoch: float) -> str:
    """Return `epoch` seconds as `2026-11-22T03:00:05.123Z`."""
    return iso_text(instant(epoch))


def iso_text(moment: datetime) -> str:
    """Return an aware UTC datetime as `2026-11-22T03:00:05.123Z`."""
    return (
        moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
    )


def gmt(epoch: float) -> str:
    """Return `epoch` seconds as `2026-11-22 03:00:05 GMT`, the form of StateTransitionReason."""
    return second(epoch).strftime("%Y-%m-%d %H:%M:%S GMT")
