"""Calls of a state machine to AWS services, inside the server's process.

A call is serialised and its answer parsed with botocore's models of the service, so a state
machine sees the names and types of AWS's SDK, and an argument that does not exist is refused.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import botocore.session
from botocore.exceptions import ParamValidationError
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from sandbox.ec2 import emulator

if TYPE_CHECKING:
    from botocore.model import OperationModel, ServiceModel

CLIENT_ERROR: Final = 400
# The names that Step Functions gives to services, where botocore's differ, and the prefix of their
# errors.
SERVICES: Final = {
    "cloudwatch": "cloudwatch",
    "ec2": "ec2",
    "eventbridge": "events",
    "lambda": "lambda",
    "sfn": "stepfunctions",
    "sns": "sns",
    "sqs": "sqs",
    "ssm": "ssm",
}
EMULATOR_NAMES: Final = {"cloudwatch": "monitoring", "stepfunctions": "states"}


class UnsupportedCallError(Exception):
    """The service, operation or argument does not exist; AWS refuses such a definition."""


class ServiceError(Exception):
    """A service answered with an error."""

    def __init__(self, code: str, message: str, status: int, request_id: str) -> None:
        """Take what the service's answer says."""
        super().__init__(code, message, status, request_id)
        self.code = code
        self.message = message
        self.status = status
        self.request_id = request_id


@lru_cache(maxsize=16)
def _service(name: str) -> "ServiceModel":
    return botocore.session.get_session().get_service_model(name)


def _operation(service: str, action: str) -> "OperationModel":
    """Find `stopInstances` of `ec2`. Raises UnsupportedCallError."""
    if service not in SERVICES:
        raise UnsupportedCallError(f"the sandbox's state machines cannot call {service}")
    model = _service(SERVICES[service])
    wanted = action[0].upper() + action[1:]
    if wanted not in model.operation_names:
        raise UnsupportedCallError(f"{service} has no operation {action}")
    return model.operation_model(wanted)


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is ready to be made, with its request as it goes over the wire."""

    operation: "OperationModel"
    headers: dict[str, str]
    body: bytes


def prepare(service: str, action: str, arguments: dict[str, Any]) -> Call:
    """Serialise a call of `action` (`describeInstances`). Raises UnsupportedCallError."""
    operation = _operation(service, action)
    protocol = operation.service_model.metadata["protocol"]
    if protocol not in {"ec2", "query", "json"}:
        raise UnsupportedCallError(f"the sandbox's state machines cannot call {service}")
    try:
        request = create_serializer(protocol).serialize_to_request(arguments, operation)
    except ParamValidationError as error:
        raise UnsupportedCallError(str(error)) from error
    body = request["body"]
    if isinstance(body, dict):
        body = urlencode(body)
    return Call(
        operation, dict(request["headers"]), body.encode() if isinstance(body, str) else body
    )


def execute(prepared: Call, region: str) -> dict[str, Any]:
    """Make the call and return its answer as JSON. Raises ServiceError.

    Must run on a worker thread, as the emulator's handlers run on the event loop.
    """
    from ministack import app  # noqa: PLC0415  after ministack's set-up

    name = prepared.operation.service_model.service_name
    headers = {
        "content-type": "application/x-www-form-urlencoded; charset=utf-8",
        **{key.lower(): value for key, value in prepared.headers.items()},
        "host": f"{name}.{region}.amazonaws.com",
    }
    handler = app.SERVICE_HANDLERS[EMULATOR_NAMES.get(name, name)]
    token = emulator._principal.set(emulator.STEP_FUNCTIONS)
    try:
        status, answer_headers, answer = app.call_service_handler_sync(
            handler, "POST", "/", headers, prepared.body, {}
        )
    finally:
        emulator._principal.reset(token)
    return parse(prepared, status, answer_headers, _bytes(answer))


def parse(prepared: Call, status: int, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Return what a service answered to a call, as JSON. Raises ServiceError."""
    parser = create_parser(prepared.operation.service_model.metadata["protocol"])
    response = {"status_code": status, "headers": headers, "body": body}
    shape = prepared.operation.output_shape
    parsed = parser.parse(response, shape)  # type: ignore[arg-type]  # a call may answer nothing
    metadata = parsed.pop("ResponseMetadata", {})
    if status >= CLIENT_ERROR:
        error = parsed.get("Error", {})
        request_id = metadata.get("RequestId") or str(uuid.uuid4())
        raise ServiceError(error.get("Code", ""), error.get("Message", ""), status, request_id)
    return {key: _json(value) for key, value in parsed.items()}


def _bytes(body: str | bytes) -> bytes:
    return body.encode() if isinstance(body, str) else body


def _json(value: Any) -> Any:
    """Return a parsed value as Step Functions shows it.

    Instants are ISO 8601, without a fraction if that is zero.
    """
    if isinstance(value, datetime):
        moment = value.astimezone(UTC)
        fraction = f".{moment.microsecond // 1000:03d}" if moment.microsecond >= 1000 else ""  # noqa: PLR2004
        return moment.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"
    if isinstance(value, dict):
        return {key: _json(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_json(each) for each in value]
    return value
