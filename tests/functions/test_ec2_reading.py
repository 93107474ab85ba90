"""Reading instances: the SDK parses only what is read of them, and nothing less."""

import gc
from datetime import datetime
from typing import Any

import pytest
from botocore.model import ListShape, Shape, StructureShape
from botocore.parsers import create_parser

from sandbox.ec2 import wire
from stillpoint.aws import ec2
from stillpoint.aws.client import client
from tests.unit.builders import at

LAUNCHED = at("2026-11-01 08:00")


def everything(shape: Shape, depth: int = 0) -> Any:  # noqa: ANN401 (whatever the shape is)
    """Return a value in which every member of a structure is present."""
    match shape:
        case StructureShape():
            return {name: everything(each, depth + 1) for name, each in shape.members.items()}
        case ListShape():
            return [everything(shape.member, depth + 1)]
        case _:
            values = {"boolean": True, "integer": 3, "timestamp": LAUNCHED}
            return values.get(shape.type_name, f"{shape.name} {depth}")


def whole_answer() -> Any:  # noqa: ANN401 (a shape)
    """Return the shape of what DescribeInstances answers, of which nothing was taken away."""
    model = wire.operation("DescribeInstances")
    assert model is not None
    return model.output_shape


def rows(shape: Any, body: bytes) -> list[Any]:  # noqa: ANN401 (a shape)
    response = {"status_code": 200, "headers": {}, "body": body}
    answer = create_parser("ec2").parse(response, shape)
    return [row for reservation in answer["Reservations"] for row in reservation["Instances"]]


def test_an_instance_is_read_the_same_from_all_that_ec2_says_and_from_what_is_parsed() -> None:
    whole = whole_answer()
    answer = everything(whole)
    body = wire.xml_response("DescribeInstances", "r-1", answer).encode()
    ec2._parse_only_what_is_read(client("ec2"))
    narrow = client("ec2").meta.service_model.operation_model("DescribeInstances").output_shape
    (all_of_it,), (parsed,) = rows(whole, body), rows(narrow, body)
    assert ec2._instance(parsed) == ec2._instance(all_of_it)
    assert parsed.keys() == ec2._INSTANCE.keys()
    assert isinstance(ec2._instance(parsed).launch_time, datetime)


def test_no_other_call_loses_anything() -> None:
    ec2._parse_only_what_is_read(client("ec2"))
    run = client("ec2").meta.service_model.operation_model("RunInstances").output_shape
    whole = whole_answer().members["Reservations"].member.members["Instances"].member
    assert run.members["Instances"].member.members.keys() == whole.members.keys()


@pytest.mark.parametrize("enabled", [True, False])
def test_the_search_for_cycles_is_afterwards_as_it_was(enabled: bool) -> None:
    was = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        with ec2._no_search_for_cycles():
            assert not gc.isenabled()
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if was else gc.disable)()
