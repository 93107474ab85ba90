"""The network of the handlers' boto3: what botocore would send is answered in this process.

botocore serialises, signs, parses and repeats as always; only the socket is missing.
"""

import os
from functools import lru_cache
from typing import Any, Final

import boto3
from botocore import parsers
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ConnectionClosedError

from sandbox.virtual import lambdas, quick_parsing
from sandbox.virtual.front_door import FrontDoor, ResponseLost
from sandbox.virtual.stack import REGION

_SERVICES: Final = {"states": "stepfunctions"}
_door: FrontDoor | None = None


class _Raw:
    """A response's body, as botocore reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_kwargs: Any) -> Any:
        yield self._body

    def read(self, *_args: Any, **_kwargs: Any) -> bytes:
        return self._body


def install() -> None:
    """Let every client that boto3's default session makes from now on send here."""
    os.environ.update(
        AWS_ACCESS_KEY_ID="virtual",
        AWS_SECRET_ACCESS_KEY="virtual",  # noqa: S106  no key of anything
        AWS_DEFAULT_REGION=REGION,
        AWS_REGION=REGION,
        AWS_EC2_METADATA_DISABLED="true",
    )
    # Most timestamps of an answer were in the answer before: parsing them is a third of the work.
    parsers.DEFAULT_TIMESTAMP_PARSER = lru_cache(maxsize=4096)(parsers.DEFAULT_TIMESTAMP_PARSER)
    quick_parsing.install()
    boto3.setup_default_session()
    session = boto3.DEFAULT_SESSION
    assert session is not None  # noqa: S101  just made
    session.events.register("before-send", _answer)  # type: ignore[arg-type]  # may answer


def connect(door: FrontDoor | None) -> None:
    """Let requests go through the front door of one run, or of none."""
    global _door  # noqa: PLW0603 - a process runs one cloud at a time
    _door = door


def _answer(request: AWSPreparedRequest, **_kwargs: Any) -> AWSResponse:
    """Answer a request in the name of whichever function sends it."""
    invocation = lambdas.running()
    if _door is None or invocation is None:
        raise RuntimeError(f"nobody answers {request.url}")
    host = request.url.split("/")[2].partition(".")[0]
    headers = {name.lower(): _text(value) for name, value in request.headers.items()}
    try:
        status, body = _door.call(
            invocation.caller, _SERVICES.get(host, host), headers, _text(request.body)
        )
    except ResponseLost:
        raise ConnectionClosedError(endpoint_url=request.url) from None
    return AWSResponse(request.url, status, HTTPHeaders(), _Raw(body))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
