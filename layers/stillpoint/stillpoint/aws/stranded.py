"""Telling people that an instance does not start, with EC2's own reason."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from stillpoint.aws.notifications import publish
from stillpoint.aws.telemetry import logger
from stillpoint.aws.volumes import volumes_attached_to
from stillpoint.errors import StillpointError
from stillpoint.instance import Instance
from stillpoint.messages import Event, EventName, InstanceReport

_REMEDY = (
    "Stillpoint goes on trying to start it. Try it in the console: EC2 then says what is missing."
    " Usual causes: no capacity for its type (wait, or change the type), or no permission for the"
    " KMS key of an encrypted volume (add the key's ARN to the stack parameter KmsKeyArns, and"
    " allow it in the key's policy)."
)
_KMS = "Client.InternalError"
"""The reason that EC2 gives when it may not use a volume's key: "Client error on launch" (AWS
re:Post Knowledge Center, kms-iam-ec2-permission)."""


def report_stranded(  # noqa: PLR0913 (the fields of an event)
    topic_arn: str,
    instances: Sequence[Instance],
    refused: Mapping[str, str],
    now: datetime,
    *,
    why: str = "",
    group: str | None = None,
    occurrence: datetime | None = None,
    execution_arn: str | None = None,
) -> None:
    """Publish InstanceStranded. `refused` is what StartInstances answered, by instance id."""
    event = Event(
        name=EventName.INSTANCE_STRANDED,
        at=now,
        instances=tuple(
            InstanceReport(
                instance.instance_id,
                instance.name,
                instance.state,
                " ".join(_reasons(instance, refused.get(instance.instance_id, ""))),
            )
            for instance in instances
        ),
        remedy=_REMEDY,
        why=why,
        group=group,
        occurrence=occurrence,
        execution_arn=execution_arn,
    )
    publish(topic_arn, event)


def _reasons(instance: Instance, refused: str) -> list[str]:
    """Return what is known of why it does not start."""
    reasons = [reason for reason in (refused, instance.state_reason) if reason]
    if _KMS in instance.state_reason:
        keys = _keys(instance.instance_id)
        reasons.append(
            "EC2 started it and could not attach an encrypted volume: the permission"
            f" kms:CreateGrant is missing for {keys}."
        )
    return reasons or ["EC2 gives no reason."]


def _keys(instance_id: str) -> str:
    try:
        volumes = volumes_attached_to([instance_id])
    except StillpointError:
        logger.exception("The volumes could not be read")
        volumes = []
    keys = sorted({volume.kms_key_arn for volume in volumes if volume.kms_key_arn})
    return ", ".join(keys) or "the key of one of its volumes"
