"""What goes wrong at the edge: AWS refuses, throttles, or says what moto cannot say.

Each is a context manager that answers calls of one operation in the SDK's place, before they
reach moto and without the SDK's waiting and trying again.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from stillpoint.aws.client import client


@contextmanager
def refused(
    service: str, operation: str, code: str, *, about: str = "", status: int = 400
) -> Iterator[list[str]]:
    """Let the calls of an operation fail whose request mentions `about`; yield those requests."""
    error = {"Error": {"Code": code, "Message": f"Refused with {code}."}}
    with _answering(service, operation, status, error, about) as requests:
        yield requests


@contextmanager
def throttled(service: str, operation: str, *, about: str = "") -> Iterator[list[str]]:
    """Let an operation be throttled for longer than the SDK tries."""
    with refused(service, operation, "RequestLimitExceeded", about=about, status=503) as requests:
        yield requests


@contextmanager
def answered(service: str, operation: str, answer: Mapping[str, Any]) -> Iterator[list[str]]:
    """Give every call of an operation this answer; yield the requests."""
    with _answering(service, operation, 200, answer, "") as requests:
        yield requests


@contextmanager
def small_pages(operation: str, reservations: int) -> Iterator[list[str]]:
    """Let EC2 answer an operation in pages of so many rows; yield the requests."""
    requests: list[str] = []

    def shrink(params: dict[str, Any], **_: object) -> None:
        requests.append(str(params))
        params["MaxResults"] = reservations

    with _registered("ec2", f"provide-client-params.ec2.{operation}", shrink):
        yield requests


@contextmanager
def _answering(
    service: str, operation: str, status: int, answer: Mapping[str, Any], about: str
) -> Iterator[list[str]]:
    requests: list[str] = []

    def answer_call(params: Mapping[str, Any], **_: object) -> object:
        request = str(params["body"])
        if about not in request:
            return None
        requests.append(request)
        metadata = {"HTTPStatusCode": status, "RequestId": "test", "RetryAttempts": 0}
        return SimpleNamespace(status_code=status), {**answer, "ResponseMetadata": metadata}

    service_id = client(service).meta.service_model.service_id.hyphenize()
    with _registered(service, f"before-call.{service_id}.{operation}", answer_call):
        yield requests


@contextmanager
def _registered(service: str, event: str, handler: object) -> Iterator[None]:
    events = client(service).meta.events
    events.register_first(event, handler)
    try:
        yield
    finally:
        events.unregister(event, handler)
