"""EC2's Query protocol: form parameters in, XML out, by the service model that boto3 ships."""

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any
from xml.sax.saxutils import escape

import botocore.session
from botocore.model import ListShape, OperationModel, ServiceModel, Shape, StructureShape

from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.moments import iso_text

NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"
_SPECIAL = re.compile("[&<>]")
_NOT_PARAMETERS = frozenset({"Action", "Version", "AWSAccessKeyId", "Timestamp", "Expires"})


@cache
def service() -> ServiceModel:
    """Return EC2's service model."""
    return botocore.session.get_session().get_service_model("ec2")


@cache
def operation(action: str) -> OperationModel | None:
    """Return the model of an action, or None if EC2 has no such action."""
    known = action in service().operation_names
    return service().operation_model(action) if known else None


def parse_request(action: str, form: Mapping[str, list[str] | str]) -> dict[str, Any]:
    """Return the parameters of a request by the SDK's names and with its types.

    Raise UnknownParameter for one that EC2 does not know: dropped silently, a request would do
    something else than it asks for.
    """
    tree: dict[str, Any] = {}
    for key, values in form.items():
        if key in _NOT_PARAMETERS or key.startswith(("X-Amz-", "Signature")):
            continue
        node = tree
        *path, last = key.split(".")
        for step in path:
            node = node.setdefault(step, {})
            if not isinstance(node, dict):
                raise _unknown(key)
        node[last] = values if isinstance(values, str) else values[0]
    shape = _input_shape(action)
    return _structure_in(shape, tree, "") if shape else {}


def xml_response(action: str, request_id: str, answer: Mapping[str, Any]) -> str:
    """Return an operation's answer as the XML of its response."""
    model = operation(action)
    shape = model.output_shape if model else None
    if isinstance(shape, StructureShape):
        inner = _structure_out(shape, answer)
    else:
        inner = "<return>true</return>"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<{action}Response xmlns="{NAMESPACE}">'
        f"<requestId>{request_id}</requestId>{inner}</{action}Response>"
    )


def xml_error(error: Ec2Error, request_id: str) -> str:
    """Return an error as the XML of its response."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Response><Errors><Error><Code>{escape(error.code)}</Code>"
        f"<Message>{escape(error.message)}</Message></Error></Errors>"
        f"<RequestID>{request_id}</RequestID></Response>"
    )


def _input_shape(action: str) -> StructureShape | None:
    """Return the shape of an action's parameters."""
    model = operation(action)
    shape = model.input_shape if model else None
    return shape if isinstance(shape, StructureShape) else None


def _query_name(shape: Shape, member: str) -> str:
    """Return the name of a parameter on the wire (EC2 capitalises the model's location names)."""
    serialization = shape.serialization
    name = serialization.get("queryName") or serialization.get("name") or member
    return str(name[0].upper() + name[1:])


@cache
def _query_names(shape: StructureShape) -> Mapping[str, str]:
    """Return the names of a structure's members by those of the wire."""
    return {_query_name(member, name): name for name, member in shape.members.items()}


def _unknown(name: str) -> Ec2Error:
    """Return the error for a parameter that is not known."""
    return Ec2Error("UnknownParameter", f"The parameter {name} is not recognized")


def _structure_in(shape: StructureShape, tree: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return a structure of a request."""
    members = _query_names(shape)
    parsed = {}
    for key, node in tree.items():
        if key not in members:
            raise _unknown(path + key)
        name = members[key]
        parsed[name] = _value_in(shape.members[name], node, f"{path}{key}.")
    return parsed


def _value_in(shape: Shape, node: Any, path: str) -> Any:
    """Return a value of a request; raise Ec2Error for one of the wrong kind."""
    if isinstance(shape, StructureShape | ListShape):
        if not isinstance(node, dict):
            raise _unknown(path.rstrip("."))
        if isinstance(shape, StructureShape):
            return _structure_in(shape, node, path)
        if not all(index.isdecimal() for index in node):
            raise _unknown(path + min(index for index in node if not index.isdecimal()))
        indexes = sorted(node, key=int)
        return [_value_in(shape.member, node[index], f"{path}{index}.") for index in indexes]
    if not isinstance(node, str):
        raise _unknown(path + min(node))
    try:
        return _scalar_in(shape.type_name, node)
    except ValueError:
        message = f"Value ({node}) for parameter {path.rstrip('.')} is invalid."
        raise Ec2Error("InvalidParameterValue", message) from None


def _scalar_in(kind: str, text: str) -> bool | int | float | str:
    """Return a text of the wire as a value of its type; raise ValueError if it is not one."""
    match kind:
        case "boolean":
            if text.lower() not in ("true", "false"):
                raise ValueError(text)
            return text.lower() == "true"
        case "integer" | "long":
            return int(text)
        case "float" | "double":
            return float(text)
        case _:
            return text


def _structure_out(shape: StructureShape, value: Mapping[str, Any]) -> str:
    """Return the members of a structure as XML; a member that is None is left out."""
    pieces = []
    for name, entry in value.items():
        if entry is not None:
            tag, member = _member(shape, name)
            pieces.append(f"<{tag}>{_value_out(member, entry)}</{tag}>")
    return "".join(pieces)


@cache
def _member(shape: StructureShape, name: str) -> tuple[str, Shape]:
    """Return the name of a structure's member on the wire, and its shape."""
    member = shape.members[name]
    return str(member.serialization.get("name") or name), member


def _value_out(shape: Shape, value: Any) -> str:
    """Return a value as the content of an XML element."""
    if isinstance(value, str):
        return escape(value) if _SPECIAL.search(value) else value
    if isinstance(shape, StructureShape):
        return _structure_out(shape, value)
    if isinstance(shape, ListShape):
        return "".join([f"<item>{_value_out(shape.member, entry)}</item>" for entry in value])
    if shape.type_name == "timestamp":
        return _timestamp(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


# Most moments of an answer were in the answer before.
_timestamp = lru_cache(maxsize=16384)(iso_text)
