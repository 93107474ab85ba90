"""Alerting people to an instance that does not start again, while the attempts go on."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from stillpoint.aws import ec2
from stillpoint.aws.notifications import publish
from stillpoint.aws.settings import AlertSettings
from stillpoint.aws.telemetry import logger, metrics
from stillpoint.errors import MalformedInput, StillpointError
from stillpoint.messages import Event, EventName, InstanceReport

_REMEDY = (
    "Stillpoint goes on trying, every few minutes for twelve hours. Try to start the instance in"
    " the console: EC2 then says what is missing. Usual causes: no capacity for its type (wait,"
    " or change the type), or no permission for the KMS key of an encrypted volume (add the key's"
    " ARN to the stack parameter KmsKeyArns, and allow it in the key's policy)."
)


def alert_stranded(
    event: Mapping[str, Any], settings: AlertSettings, now: datetime
) -> dict[str, Any]:
    """Publish InstanceStranded with EC2's own reason, and count it."""
    try:
        backup = event["backup"]
        instance_ids: list[str] = list(event["instance_ids"])
        refused = {row["instance_id"]: row.get("cause", "") for row in event["starts"]}
        names = {row["instance_id"]: row["name"] for row in backup["members"]}
        occurrence = datetime.fromisoformat(backup["occurrence"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedInput(
            f"alert_stranded was given an event that it cannot read: {error!r}"
        ) from error
    try:
        instances = ec2.instances_by_id(instance_ids)
    except StillpointError:  # say what is known rather than nothing
        logger.exception("The instances could not be read")
        instances = {}
    metrics.add_metric(EventName.INSTANCE_STRANDED, MetricUnit.Count, len(instance_ids))
    reports = []
    for instance_id in instance_ids:
        instance = instances.get(instance_id)
        reasons = (refused.get(instance_id, ""), instance.state_reason if instance else "")
        reports.append(
            InstanceReport(
                instance_id,
                names.get(instance_id, ""),
                instance.state if instance else "",
                " ".join(reason for reason in reasons if reason) or "EC2 gives no reason.",
            )
        )
    publish(
        settings.topic_arn,
        Event(
            EventName.INSTANCE_STRANDED,
            now,
            tuple(reports),
            _REMEDY,
            group=backup.get("group"),
            occurrence=occurrence,
            execution_arn=event.get("execution_arn"),
        ),
    )
    return {"alerted": instance_ids}
