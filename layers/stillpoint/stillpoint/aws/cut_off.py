"""Telling people that an execution was ended before it could report anything itself."""

import json
from collections.abc import Collection, Mapping
from datetime import datetime

from stillpoint.aws.executions import Execution
from stillpoint.aws.notifications import publish
from stillpoint.errors import MalformedInput
from stillpoint.instance import Instance
from stillpoint.messages import Event, EventName, InstanceReport

_LATE = (
    "Its recovery points are proven and become available by themselves; nobody reports that any"
    " more, so look at them."
)
_MISSING = (
    "Stillpoint puts the instances back in the state they were in before, and tries the backup"
    " again if an attempt is left. A message follows if that does not work."
)


def report_cut_off(  # noqa: PLR0913 (what has become of a backup)
    topic_arn: str,
    execution: Execution,
    instances: Mapping[str, Instance],
    *,
    good: Collection[str],
    stayed: Collection[str],
    now: datetime,
) -> None:
    """Publish BackupFailed, or raise MalformedInput if the execution is of no backup.

    `instances` are those members that exist, by id, `good` the ids of those whose recovery point is
    good, and `stayed` says what could not be discarded.
    """
    cause = f" {execution.cause}" if execution.cause else ""
    try:
        backup = json.loads(execution.input)
        group, occurrence = backup["group"], datetime.fromisoformat(backup["occurrence"])
        reports = tuple(
            InstanceReport(
                member["instance_id"],
                member["name"],
                instances[member["instance_id"]].state
                if member["instance_id"] in instances
                else "terminated",
                "Its recovery point is good." if member["instance_id"] in good else "",
            )
            for member in backup["members"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedInput(
            f"the input of the execution {execution.name} is no backup: {error!r}"
        ) from error
    publish(
        topic_arn,
        Event(
            name=EventName.BACKUP_FAILED,
            at=now,
            instances=reports,
            remedy=_MISSING if set(execution.instance_ids) - set(good) else _LATE,
            why=" ".join([f"Its execution ended as {execution.status}.{cause}", *stayed]),
            group=group,
            occurrence=occurrence,
            execution_arn=execution.arn,
        ),
    )
