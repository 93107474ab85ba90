"""Time zones, by their names in the IANA time zone database.

The database is that of the `tzdata` package, never the machine's own: a Lambda runtime may have
none, or one of another age.
"""

import difflib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo

from stillpoint.errors import InvalidSchedule
from stillpoint.tags import printable


@cache
def _names() -> Mapping[str, str]:
    """Return every zone's name by its casefolded form."""
    text = resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8")
    return {name.casefold(): name for name in text.split()}


@cache
def _load(name: str) -> ZoneInfo:
    """Return the zone of a name that is known to exist."""
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as data:
        return ZoneInfo.from_file(data, key=name)


def zone_named(text: str) -> ZoneInfo:
    """Return the zone of a name such as `Asia/Seoul`, in whatever case it is written.

    Raises InvalidSchedule if there is no such zone.
    """
    names = _names()
    name = names.get(text.casefold())
    if name is not None:
        return _load(name)
    near = difflib.get_close_matches(text.casefold()[:40], names, n=1, cutoff=0.7)
    hint = f", perhaps {names[near[0]]} is meant" if near else ", a name such as Asia/Seoul or UTC"
    raise InvalidSchedule(f"'{printable(text)}' is not a time zone{hint}")
