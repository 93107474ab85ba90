"""The quick way to read XML comes to what botocore comes to."""

from typing import Any
from unittest.mock import MagicMock

import pytest
from botocore.parsers import create_parser

from sandbox.ec2 import wire
from sandbox.virtual import quick_parsing
from tests.sandbox.ec2_lab import Lab


@pytest.fixture
def described() -> str:
    """A described instance, as it comes over the wire."""
    lab = Lab()
    lab.launch("a <b> & c", volumes=[{}, {}])
    answer = lab.call("DescribeInstances")
    return wire.xml_response("DescribeInstances", "id", answer)


def parsed(text: str) -> dict[str, list[dict[str, Any]]]:
    model = wire.operation("DescribeInstances")
    assert model is not None
    response = {"status_code": 200, "headers": {}, "body": text.encode()}
    answer = create_parser("ec2").parse(response, model.output_shape)  # type: ignore[arg-type]
    return dict(answer)


@pytest.mark.parametrize("repeated", [False, True])
def test_both_ways_come_to_the_same(
    described: str, monkeypatch: pytest.MonkeyPatch, *, repeated: bool
) -> None:
    if repeated:  # botocore makes one list of elements that come twice
        described = described.replace("</tagSet>", "</tagSet><tagSet></tagSet>")
    slow = parsed(described)
    quick = MagicMock(side_effect=quick_parsing.handle_structure)
    monkeypatch.setattr(quick_parsing._Parser, "_handle_structure", lambda *of: quick(*of))  # noqa: PLW0108  a mock is no method
    assert parsed(described) == slow
    assert quick.call_count > 10
    assert slow["Reservations"][0]["Instances"][0]["InstanceId"].startswith("i-")
