"""The world behind ministack's EC2, reached as a client reaches it over the wire."""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from tests.sandbox.ec2_lab import Lab

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

REGION = "eu-west-1"


def _text(value: object) -> str:
    """A header or a body, which botocore holds as text or as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


class _Body:
    """The body of an answer, as botocore reads it."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self._content


def client_of_ministack() -> "EC2Client":
    """A boto3 client whose requests go to ministack's handler instead of to a network."""
    client = boto3.client("ec2", region_name=REGION)

    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        from ministack.core import responses  # noqa: PLC0415
        from ministack.services import ec2 as emulated  # noqa: PLC0415

        responses.set_request_region(REGION)
        headers = {key.lower(): _text(value) for key, value in request.headers.items()}
        body = _text(request.body).encode()
        status, answered, content = asyncio.run(
            emulated.handle_request("POST", "/", headers, body, {})
        )
        return AWSResponse(request.url, status, answered, _Body(content))

    client.meta.events.register("before-send.ec2", answer)  # type: ignore[arg-type]
    return client


def launch(ec2: "EC2Client", lab: Lab, name: str = "web") -> str:
    answer = ec2.run_instances(
        ImageId="ami-0abcdef1234567890",
        InstanceType="t3.micro",
        MinCount=1,
        MaxCount=1,
        BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 20}}],
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": name}]},
            {"ResourceType": "volume", "Tags": [{"Key": "of", "Value": name}]},
        ],
    )
    lab.wait(300)
    return answer["Instances"][0]["InstanceId"]
