"""The services behind the front door: EC2 is the sandbox's own, the others are small fakes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from sandbox import service_errors
from sandbox.companions import Offer
from sandbox.ec2 import World, wire
from sandbox.ec2.errors import Ec2Error
from sandbox.protocols import wire_of
from sandbox.service_calls import ServiceError
from sandbox.virtual.journal import Journal, Message
from sandbox.virtual.stack import ACCOUNT

type Reply = tuple[int, bytes]

REQUEST_ID: Final = service_errors.REQUEST_ID

_SNS: Final = "http://sns.amazonaws.com/doc/2010-03-31/"


class UnknownCall(Exception):
    """The code under test calls something that the harness does not have."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it comes over the wire, and the Region that it goes to.

    `forbidden` names the snapshots that its sender may not delete on the side.
    """

    service: str
    region: str
    action: str
    body: str
    forbidden: frozenset[str] = frozenset()


class Service(Protocol):
    """Answers the requests of one service as they come over the wire."""

    def action(self, headers: dict[str, str], body: str) -> str:
        """Return the action that a request is for."""
        ...

    def answer(self, principal: str, request: Request) -> Reply:
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

    def answer(self, principal: str, request: Request) -> Reply:
        """Let the world perform the call."""
        action = request.action
        form = parse_qs(request.body, keep_blank_values=True)
        try:
            params = wire.parse_request(action, form)
            answer = self._world.call(
                action,
                params,
                account=ACCOUNT,
                region=request.region,
                principal=principal,
                forbidden=request.forbidden,
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


class Companion:
    """A companion of EC2 by its name in the SDK: its protocol in front of its model."""

    def __init__(self, service: str, offer: Offer) -> None:
        self._service = service
        self._offer = offer
        self._wire = wire_of(service)

    def action(self, headers: dict[str, str], body: str) -> str:
        """Return the action as the protocol names it."""
        return self._wire.action(headers, body)

    def answer(self, principal: str, request: Request) -> Reply:
        """Let the model perform the call."""
        action = request.action
        if action not in self._offer.actions:
            raise UnknownCall(f"the sandbox's {self._service} does not offer {action}")
        result = self._offer.model.call(
            action,
            self._wire.params(action, request.body),
            account=ACCOUNT,
            region=request.region,
            principal=principal,
        )
        return 200, self._wire.answer(action, result).encode()

    def error(self, error: ServiceError) -> Reply:
        """Word an error as the protocol does."""
        return error.status, self._wire.error(error).encode()


class Sns:
    """SNS: keeps what is published."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def action(self, headers: dict[str, str], body: str) -> str:  # noqa: ARG002
        """Return the form's Action."""
        return parse_qs(body)["Action"][0]

    def answer(self, principal: str, request: Request) -> Reply:
        """Publish; nothing else is offered."""
        if request.action != "Publish":
            raise UnknownCall(f"the harness's SNS does not offer {request.action}")
        pairs = parse_qs(request.body, keep_blank_values=True)
        form = {key: values[0] for key, values in pairs.items()}
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

    def answer(self, principal: str, request: Request) -> Reply:  # noqa: ARG002
        """Perform the action."""
        if request.action not in self._actions:
            raise UnknownCall(f"the harness does not offer {request.action}")
        return 200, json.dumps(self._actions[request.action](json.loads(request.body))).encode()

    def error(self, error: ServiceError) -> Reply:
        """Word an error as the JSON protocol does."""
        return error.status, json.dumps({"__type": error.code, "message": error.message}).encode()


class Kms(Json):
    """KMS in every Region: it knows the keys that EBS can use there."""

    def __init__(self, world: World) -> None:
        super().__init__({})
        self._world = world

    def answer(self, principal: str, request: Request) -> Reply:  # noqa: ARG002
        """Describe a key; nothing else is offered."""
        if request.action != "DescribeKey":
            raise UnknownCall(f"the harness's KMS does not offer {request.action}")
        if self._world.is_out(request.region):
            raise ServiceError("KMSInternalException", "Internal failure", 500, REQUEST_ID)
        keys = self._world.region(ACCOUNT, request.region).keys
        wanted = str(json.loads(request.body).get("KeyId"))
        arn = keys.find(wanted)
        if arn is None:
            message = f"Key '{wanted}' does not exist"
            raise ServiceError("NotFoundException", message, 400, REQUEST_ID)
        metadata = {
            "KeyId": arn.rpartition("/")[2],
            "Arn": arn,
            "KeyManager": "AWS" if keys.is_default(arn) else "CUSTOMER",
            "KeyState": "Enabled",
            "Enabled": True,
        }
        return 200, json.dumps({"KeyMetadata": metadata}).encode()
