"""The sample events in `events/`."""

import json
from pathlib import Path
from typing import Any

EVENTS = Path(__file__).resolve().parents[2] / "events"


def sample(name: str) -> dict[str, Any]:
    """Return the sample event of a name, such as `plan_backups_tick`; it may be changed freely."""
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
    return event


def a_backup_of(*instance_ids: str, **facts: Any) -> dict[str, Any]:  # noqa: ANN401 (JSON)
    """Return the event of Prepare for these instances; `facts` are those of each member."""
    event = sample("prepare_backup")
    template = event["backup"]["members"][0]
    event["backup"]["members"] = [
        template | {"instance_id": instance_id, "name": "web", "order": order} | facts
        for order, instance_id in enumerate(instance_ids)
    ]
    return event
