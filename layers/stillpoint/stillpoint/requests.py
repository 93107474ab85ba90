"""What `plan_backups` and `prune_recovery_points` can be asked for."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stillpoint.errors import MalformedInput
from stillpoint.tags import parse_iso

_INSTANCE_ID = re.compile(r"i-(?:[0-9a-f]{8}|[0-9a-f]{17})")
_FORMS = (
    "Ask with one of: the event of a schedule rule;"
    ' {"backup_now": ["i-0123456789abcdef0"]} to back up these instances at once;'
    ' {"dry_run": true} to be told what would be started, and start nothing.'
)


@dataclass(frozen=True, slots=True)
class Request:
    """An invocation of `plan_backups`: a tick if `backup_now` and `dry_run` are at their defaults.

    `scheduled_at` is when a tick was to come; a tick may come late.
    """

    backup_now: tuple[str, ...] | None = None
    dry_run: bool = False
    scheduled_at: datetime | None = None

    @classmethod
    def parse(cls, event: object) -> "Request":
        """Return the request in an invocation's event, or raise MalformedInput with the forms."""
        if not isinstance(event, Mapping):
            raise MalformedInput(f"The event is no JSON object. {_FORMS}")
        if event.get("detail-type") == "Scheduled Event":
            return cls(scheduled_at=parse_iso(str(event.get("time", ""))))
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
        return cls(_instance_ids("backup_now", event["backup_now"], _FORMS), dry_run)


_PRUNE_FORMS = (
    'Ask with one of: the event of a schedule rule; the end of a backup; {"dry_run": true} to be'
    " told what would be deleted, and delete nothing;"
    ' {"max_deletions": 500} to delete, once, more than MaxDeletionsPerSweep allows. Both take'
    ' {"instances": ["i-0123456789abcdef0"]} beside them, to look at these instances alone.'
)


@dataclass(frozen=True, slots=True)
class PruneRequest:
    """An invocation of `prune_recovery_points`.

    `instances` are those whose recovery points are looked at; None means all of them, and then
    orphans too. `max_deletions` takes the place of the stack's parameter. `after_backup` says that
    the end of a backup of these instances is what called.
    """

    instances: tuple[str, ...] | None = None
    dry_run: bool = False
    max_deletions: int | None = None
    after_backup: bool = False

    @classmethod
    def parse(cls, event: object) -> "PruneRequest":
        """Return the request in an invocation's event, or raise MalformedInput with the forms."""
        if not isinstance(event, Mapping):
            raise MalformedInput(f"The event is no JSON object. {_PRUNE_FORMS}")
        if event.get("detail-type") == "Scheduled Event":
            return cls()
        if event.get("detail-type") == "Step Functions Execution Status Change":
            return cls(_members(event), after_backup=True)
        unknown = sorted(
            str(k) for k in event if k not in {"dry_run", "instances", "max_deletions"}
        )
        if unknown or not event.keys() & {"dry_run", "max_deletions"}:
            what = f"does not know {', '.join(unknown)[:200]}" if unknown else "was not told what"
            raise MalformedInput(f"prune_recovery_points {what}. {_PRUNE_FORMS}")
        dry_run, most = event.get("dry_run", False), event.get("max_deletions")
        if not isinstance(dry_run, bool) or not (dry_run or most is not None):
            raise MalformedInput(f"dry_run must be true, or left out. {_PRUNE_FORMS}")
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
            raise MalformedInput(f"max_deletions must be a number from 1 on. {_PRUNE_FORMS}")
        named = event.get("instances")
        instances = None if named is None else _instance_ids("instances", named, _PRUNE_FORMS)
        return cls(instances, dry_run, most)


def _members(event: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the instances of a backup that has ended.

    Step Functions leaves the input out of an event that would be too long (Step Functions
    Developer Guide, "Automating Step Functions event delivery with EventBridge"): then they are
    none, and the daily sweep sees to them.
    """
    try:
        text = event["detail"].get("input")
        rows = json.loads(text)["members"] if text else []
        return tuple(str(row["instance_id"]) for row in rows)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MalformedInput(f"The event tells of no backup: {error!r}. {_PRUNE_FORMS}") from error


def _instance_ids(name: str, value: object, forms: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise MalformedInput(f"{name} must be a list of instance ids. {forms}")
    for item in value:
        if not isinstance(item, str) or not _INSTANCE_ID.fullmatch(item):
            raise MalformedInput(f"{name} holds {str(item)[:40]!r}, no instance id. {forms}")
    return tuple(dict.fromkeys(value))
