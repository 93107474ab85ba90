"""Services that moto does not play, or not well enough: a model in this process answers instead.

A model has `call(action, params)` by the SDK's names, and raises `Refusal`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Protocol

import pytest

from stillpoint.aws.client import client
from stillpoint.errors import AwsUnavailable


class Refusal(Exception):
    """AWS's answer to a call that it does not do."""

    def __init__(self, code: str, message: str = "", status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.answer = {"Error": {"Code": code, "Message": message or f"Refused with {code}."}}


class Model(Protocol):
    """Anything that can play a service."""

    def call(self, action: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer a call."""
        ...


@dataclass(slots=True)
class Played:
    """What was asked of a played service, and which of its calls come to grief.

    The call number `lost_at` takes effect, and its answer is lost; the one number `unavailable_at`
    has no effect.
    """

    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    unavailable_at: int | None = None
    lost_at: int | None = None

    @property
    def actions(self) -> list[str]:
        """The names of the actions that were asked for."""
        return [action for action, _ in self.calls]

    def asked(self, action: str) -> list[dict[str, Any]]:
        """Return the parameters of each call of an action."""
        return [params for name, params in self.calls if name == action]

    def answer(self, model: Model, action: str, params: dict[str, Any]) -> tuple[int, Any]:
        """Return the status and the answer of a call."""
        self.calls.append((action, params))
        unavailable = Refusal("ServiceUnavailable", status=503)
        if self.unavailable_at == len(self.calls):
            return unavailable.status, unavailable.answer
        try:
            answer = model.call(action, params)
        except Refusal as refusal:
            return refusal.status, refusal.answer
        if self.lost_at == len(self.calls):
            return unavailable.status, unavailable.answer
        return 200, answer


@contextmanager
def playing(service: str, model: Model) -> Iterator[Played]:
    """Let a model answer every call of a service, without the SDK's tries."""
    played = Played()
    given: dict[str, Any] = {}

    def remember(params: Mapping[str, Any], **_: object) -> None:
        given.update(asked=dict(params))

    def answer(model_: Any = None, **facts: Any) -> object:  # noqa: ANN401 (botocore's)
        operation = facts["model"] if model_ is None else model_
        status, content = played.answer(model, operation.name, given["asked"])
        metadata = {"HTTPStatusCode": status, "RequestId": "test", "RetryAttempts": 0}
        return SimpleNamespace(status_code=status), {**content, "ResponseMetadata": metadata}

    events = client(service).meta.events
    with ExitStack() as ends:
        for event, handler in (("before-parameter-build", remember), ("before-call", answer)):
            events.register_first(event, handler)
            ends.callback(events.unregister, event, handler)
        yield played


def until_it_succeeds[T](act: Callable[[], T]) -> T:
    """Do something again after each time that AWS was unavailable, as the state machine does."""
    for _ in range(9):
        try:
            return act()
        except AwsUnavailable:
            continue
    pytest.fail("AWS was unavailable nine times")
