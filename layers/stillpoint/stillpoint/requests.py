"""What `plan_backups` can be asked for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from stillpoint.errors import MalformedInput

_INSTANCE_ID = re.compile(r"i-(?:[0-9a-f]{8}|[0-9a-f]{17})")
_FORMS = (
    "Ask with one of: the event of a schedule rule;"
    ' {"backup_now": ["i-0123456789abcdef0"]} to back up these instances at once;'
    ' {"dry_run": true} to be told what would be started, and start nothing.'
)


@dataclass(frozen=True, slots=True)
class Request:
    """An invocation of `plan_backups`: a tick if both fields are at their defaults."""

    backup_now: tuple[str, ...] | None = None
    dry_run: bool = False

    @classmethod
    def parse(cls, event: object) -> "Request":
        """Return the request in an invocation's event, or raise MalformedInput with the forms."""
        if not isinstance(event, Mapping):
            raise MalformedInput(f"The event is no JSON object. {_FORMS}")
        if event.get("detail-type") == "Scheduled Event":
            return cls()
        unknown = sorted(str(key) for key in event if key not in {"backup_now", "dry_run"})
        if unknown or not event:
            what = f"does not know {', '.join(unknown)[:200]}" if unknown else "was given nothing"
            raise MalformedInput(f"plan_backups {what}. {_FORMS}")
        dry_run = event.get("dry_run", False)
        if not isinstance(dry_run, bool):
            raise MalformedInput(f"dry_run must be true or false. {_FORMS}")
        if "backup_now" not in event:
            if not dry_run:
                raise MalformedInput(f"dry_run is false and nothing else is asked for. {_FORMS}")
            return cls(dry_run=True)
        return cls(_instance_ids(event["backup_now"]), dry_run)


def _instance_ids(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise MalformedInput(f"backup_now must be a list of instance ids. {_FORMS}")
    for item in value:
        if not isinstance(item, str) or not _INSTANCE_ID.fullmatch(item):
            raise MalformedInput(f"backup_now holds {str(item)[:40]!r}, no instance id. {_FORMS}")
    return tuple(dict.fromkeys(value))
