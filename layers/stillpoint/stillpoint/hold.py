"""Holds: what the `stillpoint:hold` tag says about when an instance is not to be touched."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from stillpoint.errors import InvalidHold
from stillpoint.tags import iso, printable

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_EXAMPLES = "write true, false, or a period such as 2026-12-24/2027-01-02"


@dataclass(frozen=True, slots=True)
class Hold:
    """A time in which an instance is not touched, from `start` up to but not including `until`.

    Both are aware UTC datetimes; None means without that bound.
    """

    start: datetime | None = None
    until: datetime | None = None

    def active(self, now: datetime) -> bool:
        """Return whether the hold is in force at an instant."""
        begun = self.start is None or self.start <= now
        return begun and (self.until is None or now < self.until)

    def __str__(self) -> str:
        return "until the tag is removed" if self.until is None else f"until {iso(self.until)}"


def parse_hold(text: str, zone: ZoneInfo) -> Hold | None:
    """Return the hold in `true` or in a period, or None for `false`.

    A period is two dates, both included and read in the zone, or two ISO 8601 instants, or one
    of each; an instant without an offset is read in the zone. Raises InvalidHold, with the
    reason in words, for anything else.
    """
    word = text.strip()
    if word.lower() == "true":
        return Hold()
    if word.lower() == "false":
        return None
    first, slash, last = (part.strip() for part in word.partition("/"))
    if not slash:
        raise InvalidHold(f"'{printable(word)}' is not a hold, {_EXAMPLES}")
    start = _bound(first, zone)
    until = _bound(last, zone, ends=True)
    if until <= start:
        raise InvalidHold(f"'{printable(word, 60)}' ends before it starts")
    return Hold(start, until)


def _bound(text: str, zone: ZoneInfo, *, ends: bool = False) -> datetime:
    try:
        if _DATE.fullmatch(text):
            day = date.fromisoformat(text) + timedelta(days=1 if ends else 0)
            return datetime.combine(day, time(), zone).astimezone(UTC)
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidHold(
            f"'{printable(text)}' is not a date or an instant, {_EXAMPLES}"
        ) from error
