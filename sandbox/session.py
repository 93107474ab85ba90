"""The application deployed in a running sandbox, with a queue that receives what it publishes."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sandbox import deploy, process
from sandbox.aws import Aws, Control
from sandbox.process import Server

STACK: Final = "stillpoint"
QUEUE: Final = "sandbox-messages"


@dataclass(frozen=True, slots=True)
class Message:
    """What one notification says.

    `attributes` are SNS's; `body` is empty if the text is not JSON.
    """

    subject: str
    text: str
    attributes: dict[str, str]
    body: dict[str, Any]

    @property
    def event(self) -> str:
        """The domain event, or the alarm's name, or nothing."""
        return self.attributes.get("event") or str(self.body.get("AlarmName", ""))

    @property
    def severity(self) -> str:
        """As the product states it."""
        return self.attributes.get("severity", "")

    @property
    def instance_ids(self) -> tuple[str, ...]:
        """The instances that it is about."""
        named = tuple(str(each.get("instance_id", "")) for each in self.body.get("instances", []))
        return named or tuple(filter(None, [self.attributes.get("instance_id", "")]))


@dataclass(slots=True)
class Session:
    """A sandbox with the application in it."""

    server: Server
    aws: Aws
    control: Control
    resources: dict[str, str]
    queue_url: str
    messages: list[Message] = field(default_factory=list)

    def receive(self) -> list[Message]:
        """Fetch what was published since; all of it stays in `messages`."""
        fresh: list[Message] = []
        while True:
            answer = self.aws.sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10)
            received = answer.get("Messages", [])
            for each in received:
                fresh.append(_message(json.loads(each["Body"])))
                self.aws.sqs.delete_message(
                    QueueUrl=self.queue_url, ReceiptHandle=each["ReceiptHandle"]
                )
            if not received:
                self.messages += fresh
                return fresh


def _message(envelope: dict[str, Any]) -> Message:
    text = envelope.get("Message", "")
    body: Any = {}
    with contextlib.suppress(json.JSONDecodeError):
        body = json.loads(text)
    attributes = envelope.get("MessageAttributes") or {}
    return Message(
        subject=envelope.get("Subject", ""),
        text=text,
        attributes={name: str(each.get("Value", "")) for name, each in attributes.items()},
        body=body if isinstance(body, dict) else {},
    )


@contextlib.contextmanager
def deployed(
    *,
    scale: float,
    seed: int,
    say: Callable[[str], None],
    port: int = 0,
    parameters: Mapping[str, str] | None = None,
    physics: Mapping[str, Any] | None = None,
) -> Iterator[Session]:
    """Start a server, build, deploy, and subscribe to the topic.

    Raises SandboxError with words for a person.
    """
    given = tuple(f"{name}={value}" for name, value in (parameters or {}).items())
    project = deploy.Project(parameters=given)
    with process.running(scale=scale, seed=seed, port=port, physics=physics) as server:
        say(f"the sandbox is up at {server.endpoint}, {scale:g} times as fast as real time")
        deploy.build_and_deploy(project, server, say)
        yield connect(server)


def connect(server: Server) -> Session:
    """Subscribe a queue to the deployed stack's topic."""
    aws = Aws(server)
    described = aws.cloudformation.describe_stack_resources(StackName=STACK)["StackResources"]
    resources = {
        each["LogicalResourceId"]: each.get("PhysicalResourceId", "") for each in described
    }
    url = aws.sqs.create_queue(QueueName=QUEUE)["QueueUrl"]
    arn = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    aws.sqs.set_queue_attributes(
        QueueUrl=url, Attributes={"Policy": json.dumps(_open_to_topics(arn))}
    )
    aws.sns.subscribe(TopicArn=resources["NotificationTopic"], Protocol="sqs", Endpoint=arn)
    return Session(server, aws, Control(server), resources, url)


def _open_to_topics(queue_arn: str) -> dict[str, Any]:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
    }
    return {"Version": "2012-10-17", "Statement": [statement]}
