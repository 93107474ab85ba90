"""Telling people and machines: the SNS topic."""

import json

from stillpoint.aws.client import client, translated
from stillpoint.aws.telemetry import logger
from stillpoint.messages import Event, render


def publish(topic_arn: str, event: Event) -> None:
    """Send one event. Subscribers by e-mail get the text, all others the JSON document.

    The message attributes `event`, `severity`, `instance_id` and `group` serve filter policies.
    """
    message = render(event)
    logger.info(
        "Publishing a message",
        extra={"event": event.name, "instances": [r.instance_id for r in event.instances]},
    )
    with translated(f"publishing {event.name}"):
        client("sns").publish(
            TopicArn=topic_arn,
            Subject=message.subject,
            MessageStructure="json",
            Message=json.dumps(
                {
                    "default": message.body,
                    "email": message.text,
                    "sms": message.subject,
                }
            ),
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value}
                for name, value in message.attributes.items()
            },
        )
