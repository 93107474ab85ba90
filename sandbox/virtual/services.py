"""The services behind the front door: EC2 is the sandbox's own, the others are small fakes."""

import json
from collections.abc import Callable
from typing import Any, Final, Protocol
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from sandbox.ec2 import World, wire
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.launching import DEFAULT_KEY_ID, default_key
from sandbox.service_calls import ServiceError
from sandbox.virtual.journal import Journal, Message
from sandbox.virtual.stack import ACCOUNT, REGION

type Reply = tuple[int, bytes]

_KEY: Final = {"KeyManager": "AWS", "KeyState": "Enabled", "Enabled": True}
REQUEST_ID: Final = "00000000-0000-0000-0000-000000000000"
# What each service answers to who asks too often, and to who may not.
THROTTLING: Final = {
    "ec2": ("RequestLimitExceeded", 503),
    "sns": ("Throttling", 400),
    "stepfunctions": ("ThrottlingException", 400),
    "kms": ("ThrottlingException", 400),
}
DENIAL: Final = {
    "ec2": ("UnauthorizedOperation", 403),
    "sns": ("AuthorizationError", 403),
    "stepfunctions": ("AccessDeniedException", 400),
    "kms": ("AccessDeniedException", 400),
}
_SNS: Final = "http://sns.amazonaws.com/doc/2010-03-31/"


class UnknownCall(Exception):
    """The code under test calls something that the harness does not have."""


class Service(Protocol):
    """Answers the requests of one service as they come over the wire."""

    def action(self, headers: dict[str, str], body: str) -> str:
        """Return the action that a request is for."""
        ...

    def answer(self, principal: str, action: str, body: str) -> Reply:
        """Return status and body of the response. Raises ServiceError."""
        ...

    def error(self, error: ServiceError) -> Reply:
        """Return an error as the service words it."""
        ...


class Ec2:
    """EC2's Query protocol in front of the world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def action(self, headers: dict[str, str], body: str) -> str:  # noqa: ARG002
        """Return the form's Action."""
        return parse_qs(body)["Action"][0]

    def answer(self, principal: str, action: str, body: str) -> Reply:
        """Let the world perform the call."""
        form = parse_qs(body, keep_blank_values=True)
        try:
            params = wire.parse_request(action, form)
            answer = self._world.call(
                action, params, account=ACCOUNT, region=REGION, principal=principal
            )
        except Ec2Error as error:
            raise ServiceError(error.code, error.message, error.status, REQUEST_ID) from error
        except KeyError as error:
            raise UnknownCall(f"the sandbox's EC2 does not offer {error}") from error
        return 200, wire.xml_response(action, REQUEST_ID, answer).encode()

    def error(self, error: ServiceError) -> Reply:
        """Word an error as EC2 does."""
        failure = Ec2Error(error.code, error.message, error.status)
        return error.status, wire.xml_error(failure, REQUEST_ID).encode()


class Sns:
    """SNS: keeps what is published."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def action(self, headers: dict[str, str], body: str) -> str:  # noqa: ARG002
        """Return the form's Action."""
        return parse_qs(body)["Action"][0]

    def answer(self, principal: str, action: str, body: str) -> Reply:
        """Publish; nothing else is offered."""
        if action != "Publish":
            raise UnknownCall(f"the harness's SNS does not offer {action}")
        form = {key: values[0] for key, values in parse_qs(body, keep_blank_values=True).items()}
        self._journal.published(_message(self._journal.now(), principal, form))
        result = f"<PublishResult><MessageId>{REQUEST_ID}</MessageId></PublishResult>"
        return 200, f'<PublishResponse xmlns="{_SNS}">{result}</PublishResponse>'.encode()

    def error(self, error: ServiceError) -> Reply:
        """Word an error as the Query protocol does."""
        return error.status, (
            f'<ErrorResponse xmlns="{_SNS}"><Error><Type>Sender</Type>'
            f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message></Error>"
            f"<RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
        ).encode()


def _message(at: float, sender: str, form: dict[str, str]) -> Message:
    prefix = "MessageAttributes.entry."
    attributes = {
        name: form[f"{key.removesuffix('Name')}Value.StringValue"]
        for key, name in form.items()
        if key.startswith(prefix) and key.endswith(".Name")
    }
    text, body = form["Message"], {}
    if form.get("MessageStructure") == "json":
        forms = json.loads(text)
        text, body = forms.get("email", forms["default"]), json.loads(forms["default"])
    return Message(at, sender, form.get("Subject", ""), text, attributes, body)


class Json:
    """A service of the JSON protocol: `x-amz-target` names the action, the body its parameters."""

    def __init__(self, actions: dict[str, Callable[[dict[str, Any]], dict[str, Any]]]) -> None:
        self._actions = actions

    def action(self, headers: dict[str, str], body: str) -> str:  # noqa: ARG002
        """Return the action of the header."""
        return headers["x-amz-target"].rpartition(".")[2]

    def answer(self, principal: str, action: str, body: str) -> Reply:  # noqa: ARG002
        """Perform the action."""
        if action not in self._actions:
            raise UnknownCall(f"the harness does not offer {action}")
        return 200, json.dumps(self._actions[action](json.loads(body))).encode()

    def error(self, error: ServiceError) -> Reply:
        """Word an error as the JSON protocol does."""
        return error.status, json.dumps({"__type": error.code, "message": error.message}).encode()


def kms() -> Json:
    """Return a KMS that knows the AWS managed key of EBS and no other."""

    def describe_key(params: dict[str, Any]) -> dict[str, Any]:
        arn = default_key(ACCOUNT, REGION)
        if params.get("KeyId") not in {arn, DEFAULT_KEY_ID}:
            message = f"Key '{params.get('KeyId')}' does not exist"
            raise ServiceError("NotFoundException", message, 400, REQUEST_ID)
        return {"KeyMetadata": {"KeyId": DEFAULT_KEY_ID, "Arn": arn} | _KEY}

    return Json({"DescribeKey": describe_key})
