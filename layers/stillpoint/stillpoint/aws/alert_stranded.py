"""Alerting people to an instance that does not start again, while the attempts go on."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from stillpoint.aws import ec2
from stillpoint.aws.notifications import publish
from stillpoint.aws.settings import AlertSettings
from stillpoint.aws.stranded import report_stranded
from stillpoint.aws.telemetry import logger, metrics
from stillpoint.errors import MalformedInput, StillpointError
from stillpoint.instance import Instance
from stillpoint.messages import Event, EventName, InstanceReport


def alert_stranded(
    event: Mapping[str, Any], settings: AlertSettings, now: datetime
) -> dict[str, Any]:
    """Publish InstanceStranded with EC2's own reason, or InstanceRecovered once they run again.

    Returns `{"alerted": [instance ids]}`. Raises MalformedInput for an event that it cannot read.
    """
    try:
        backup = event["backup"]
        instance_ids: list[str] = list(event["instance_ids"])
        refused = {row["instance_id"]: row.get("cause", "") for row in event["starts"]}
        names = {row["instance_id"]: row["name"] for row in backup["members"]}
        occurrence = datetime.fromisoformat(backup["occurrence"])
        recovered = bool(event.get("recovered", False))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedInput(
            f"alert_stranded was given an event that it cannot read: {error!r}"
        ) from error
    try:
        found = ec2.instances_by_id(instance_ids)
    except StillpointError:  # say what is known rather than nothing
        logger.exception("The instances could not be read")
        found = {}
    instances = [found.get(i, Instance(i, "", {"Name": names.get(i, "")})) for i in instance_ids]
    if recovered:
        metrics.add_metric(EventName.INSTANCE_RECOVERED, MetricUnit.Count, len(instances))
        reports = tuple(
            InstanceReport(i.instance_id, i.name, i.state, "It has started after all.")
            for i in instances
        )
        publish(
            settings.topic_arn,
            Event(
                name=EventName.INSTANCE_RECOVERED,
                at=now,
                instances=reports,
                remedy="Nothing.",
                group=backup.get("group"),
                occurrence=occurrence,
                execution_arn=event.get("execution_arn"),
            ),
        )
    else:
        metrics.add_metric(EventName.INSTANCE_STRANDED, MetricUnit.Count, len(instances))
        report_stranded(
            settings.topic_arn,
            instances,
            refused,
            now,
            group=backup.get("group"),
            occurrence=occurrence,
            execution_arn=event.get("execution_arn"),
        )
    return {"alerted": instance_ids}
