"""The protocols of the services beside EC2: a request's text to parameters, an answer to text.

Everything follows the service models that boto3 ships. Parameters and answers are dictionaries by
the SDK's names. A moment of a request is an aware datetime; one of an answer may be a datetime,
epoch seconds or ISO 8601 text.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Protocol
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import botocore.session
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StructureShape

from sandbox.ec2.moments import iso_text
from sandbox.service_calls import ServiceError

REQUEST_ID = "00000000-0000-0000-0000-000000000000"
_NOT_PARAMETERS = frozenset({"Action", "Version"})


class Wire(Protocol):
    """How one service words its requests, answers and errors."""

    @property
    def content_type(self) -> str:
        """The type of its answers, as HTTP names it."""
        ...

    def action(self, headers: Mapping[str, str], body: str) -> str:
        """Return the action that a request is for, or an empty text if it names none."""
        ...

    def params(self, action: str, body: str) -> dict[str, Any]:
        """Return the parameters of a request. Raises ServiceError for what the action lacks."""
        ...

    def answer(self, action: str, result: Mapping[str, Any]) -> str:
        """Return the body of an answer."""
        ...

    def error(self, error: ServiceError) -> str:
        """Return the body of an error."""
        ...


def wire_of(service: str) -> Wire:
    """Return how a service, by the SDK's name, words things. Raises ValueError if it is unknown."""
    model = _model(service)
    match model.resolved_protocol:
        case "query":
            return Query(service)
        case "json":
            return Json(service)
        case other:
            raise ValueError(f"{service} speaks {other}, which the sandbox does not")


@dataclass(frozen=True, slots=True)
class Query:
    """The Query protocol: a form in, XML out."""

    service: str

    @property
    def content_type(self) -> str:
        """XML."""
        return "text/xml"

    def action(self, headers: Mapping[str, str], body: str) -> str:  # noqa: ARG002
        """Return the form's Action."""
        return parse_qs(body).get("Action", [""])[0]

    def params(self, action: str, body: str) -> dict[str, Any]:
        """Return the form's parameters. Raises ServiceError for an unknown or unsound one."""
        tree: dict[str, Any] = {}
        for key, values in parse_qs(body, keep_blank_values=True).items():
            if key not in _NOT_PARAMETERS:
                _plant(tree, key, values[0])
        shape = _shape(self.service, action, is_input=True)
        return _structure_in(shape, tree) if shape else {}

    def answer(self, action: str, result: Mapping[str, Any]) -> str:
        """Return an answer inside the action's own elements."""
        shape = _shape(self.service, action, is_input=False)
        inner = ""
        if shape:
            wrapper = shape.serialization.get("resultWrapper", f"{action}Result")
            inner = f"<{wrapper}>{_structure_out(shape, result)}</{wrapper}>"
        return (
            f'<{action}Response xmlns="{self._namespace}">{inner}'
            f"<ResponseMetadata><RequestId>{REQUEST_ID}</RequestId></ResponseMetadata>"
            f"</{action}Response>"
        )

    def error(self, error: ServiceError) -> str:
        """Return an error as the Query protocol words it."""
        return (
            f'<ErrorResponse xmlns="{self._namespace}"><Error><Type>Sender</Type>'
            f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message></Error>"
            f"<RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
        )

    @property
    def _namespace(self) -> str:
        return str(_model(self.service).metadata["xmlNamespace"])


@dataclass(frozen=True, slots=True)
class Json:
    """The JSON protocol: `x-amz-target` names the action, the body holds its parameters."""

    service: str

    @property
    def content_type(self) -> str:
        """JSON in the version of the service."""
        return f"application/x-amz-json-{_model(self.service).metadata['jsonVersion']}"

    def action(self, headers: Mapping[str, str], body: str) -> str:  # noqa: ARG002
        """Return the action of the header."""
        return headers.get("x-amz-target", "").rpartition(".")[2]

    def params(self, action: str, body: str) -> dict[str, Any]:
        """Return the document's members. Raises ServiceError for an unknown one."""
        shape = _shape(self.service, action, is_input=True)
        return _read(shape, json.loads(body or "{}")) if shape else {}

    def answer(self, action: str, result: Mapping[str, Any]) -> str:
        """Return an answer as a document; a member that is None is left out."""
        shape = _shape(self.service, action, is_input=False)
        return json.dumps(_written(shape, result) if shape else {})

    def error(self, error: ServiceError) -> str:
        """Return an error as the JSON protocol words it."""
        return json.dumps({"__type": error.code, "message": error.message})


@cache
def _model(service: str) -> ServiceModel:
    return botocore.session.get_session().get_service_model(service)


def _shape(service: str, action: str, *, is_input: bool) -> StructureShape | None:
    """Return the shape of an action's parameters or of its answer, if it has any."""
    model = _model(service)
    if action not in model.operation_names:
        raise ServiceError("InvalidAction", f"Could not find operation {action}", 400, REQUEST_ID)
    operation = model.operation_model(action)
    shape = operation.input_shape if is_input else operation.output_shape
    return shape if isinstance(shape, StructureShape) else None


def _unsound(what: str) -> ServiceError:
    return ServiceError("ValidationError", what, 400, REQUEST_ID)


# ------------------------------------------------------------------------------- Query, inward


def _plant(tree: dict[str, Any], key: str, value: str) -> None:
    """Put the value of `A.member.1.B` into a tree of dictionaries."""
    *path, last = key.split(".")
    node = tree
    for step in path:
        node = node.setdefault(step, {})
        if not isinstance(node, dict):
            raise _unsound(f"The parameter {key} is not recognized")
    node[last] = value


def _structure_in(shape: StructureShape, tree: Mapping[str, Any]) -> dict[str, Any]:
    names = {member.serialization.get("name", name): name for name, member in shape.members.items()}
    if unknown := sorted(tree.keys() - names.keys()):
        raise _unsound(f"The parameter {unknown[0]} is not recognized")
    return {names[key]: _value_in(shape.members[names[key]], node) for key, node in tree.items()}


def _value_in(shape: Shape, node: Any) -> Any:
    """Return a value of a form. Raises ServiceError for one of the wrong kind."""
    if isinstance(shape, ListShape):
        if node == "":  # an empty list is sent as an empty text
            return []
        rows = node["member"]
        return [_value_in(shape.member, rows[index]) for index in sorted(rows, key=int)]
    if isinstance(shape, StructureShape):
        return _structure_in(shape, node)
    try:
        return _scalar_in(shape.type_name, node)
    except (TypeError, ValueError):
        raise _unsound(f"Value {node!r} is not a {shape.type_name}") from None


def _scalar_in(kind: str, text: str) -> Any:
    """Return a text of a form as a value of its type. Raises ValueError if it is not one."""
    match kind:
        case "boolean" if text in {"true", "false"}:
            return text == "true"
        case "boolean":
            raise ValueError(text)
        case "integer" | "long":
            return int(text)
        case "float" | "double":
            return float(text)
        case "timestamp":
            return datetime.fromisoformat(text)
        case _:
            return text


# ------------------------------------------------------------------------------ Query, outward


def _structure_out(shape: StructureShape, value: Mapping[str, Any]) -> str:
    """Return a structure's members as XML; a member that is None is left out."""
    pieces = []
    for name, entry in value.items():
        member = shape.members[name]
        tag = member.serialization.get("name", name)
        if entry is not None:
            pieces.append(f"<{tag}>{_value_out(member, entry)}</{tag}>")
    return "".join(pieces)


def _value_out(shape: Shape, value: Any) -> str:
    if isinstance(shape, ListShape):
        return "".join(f"<member>{_value_out(shape.member, each)}</member>" for each in value)
    if isinstance(shape, StructureShape):
        return _structure_out(shape, value)
    if shape.type_name == "timestamp":
        return iso_text(_moment(value))
    if isinstance(value, bool):
        return str(value).lower()
    return escape(str(value))


# ---------------------------------------------------------------------------------------- JSON


def _read(shape: Shape, value: Any) -> Any:
    """Return a value of a JSON request with its moments as datetimes."""
    match shape:
        case StructureShape():
            if unknown := sorted(value.keys() - shape.members.keys()):
                raise _unsound(f"The parameter {unknown[0]} is not recognized")
            return {name: _read(shape.members[name], each) for name, each in value.items()}
        case ListShape():
            return [_read(shape.member, each) for each in value]
        case MapShape():
            return {name: _read(shape.value, each) for name, each in value.items()}
        case _ if shape.type_name == "timestamp":
            return datetime.fromtimestamp(value, UTC)
        case _:
            return value


def _written(shape: Shape, value: Any) -> Any:
    """Return a value of an answer as JSON has it; moments are epoch seconds."""
    match shape:
        case StructureShape():
            return {
                name: _written(shape.members[name], each)
                for name, each in value.items()
                if each is not None
            }
        case ListShape():
            return [_written(shape.member, each) for each in value]
        case MapShape():
            return {name: _written(shape.value, each) for name, each in value.items()}
        case _ if shape.type_name == "timestamp":
            return _moment(value).timestamp()
        case _:
            return value


def _moment(value: datetime | float | str) -> datetime:
    match value:
        case datetime():
            return value
        case str():
            return datetime.fromisoformat(value)
        case _:
            return datetime.fromtimestamp(value, UTC)
