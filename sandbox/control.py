"""The sandbox's own HTTP interface: its clock, its faults, and what really happened.

It is for whoever holds the root credentials (the `x-sandbox-key` header carries the secret), and
outside AWS's APIs, so the product cannot reach it by accident.
"""

import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from sandbox.clock import Clock
from sandbox.ec2 import World, past
from sandbox.ec2.faults import FAULT_NAMES
from sandbox.host_faults import HOST_FAULT_NAMES, HostFaults
from sandbox.lambdas import LambdaHost
from sandbox.stepfunctions import Engine

PREFIX: Final = "/_sandbox/"
KEY_HEADER: Final = b"x-sandbox-key"

type Asgi = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Control:
    """The parts that the interface shows and sets."""

    clock: Clock
    world: World
    faults: HostFaults
    lambdas: LambdaHost
    engine: Engine
    truth: Callable[[], Any]
    secret: str

    def answer(self, method: str, what: str, body: Any) -> Any:
        """Return the JSON answer to one request.

        Raises LookupError, ValueError or TypeError for a bad one.
        """
        match method, what.split("/"):
            case "GET", [name] if name in self._views():
                return self._views()[name]()
            case "POST", ["faults"]:
                self._add_fault(body)
            case "DELETE", ["faults"]:
                self.faults.clear()
                self.world.faults.clear()
            case "POST", ["instances", instance, "physics"]:
                self.world.configure(instance, **body)
            case "POST", ["instances", instance, "past"]:
                past.put(self.world, instance, body)
            case _:
                raise LookupError(f"there is nothing at {method} {what}")
        return {}

    def _views(self) -> dict[str, Callable[[], Any]]:
        """Return what can be looked at, by its name."""
        return {
            "calls": lambda: [asdict(call) for call in list(self.world.calls)],
            "clock": lambda: asdict(self.clock),
            "executions": self.engine.report,
            "faults": lambda: {
                "ec2": self.world.faults.list(),
                "host": self.faults.list(),
                "hits": self.faults.hits,
            },
            "lambdas": self.lambdas.report,
            "truth": self.truth,
        }

    def _add_fault(self, fault: dict[str, Any]) -> None:
        if fault.get("name") in HOST_FAULT_NAMES:
            self.faults.add(fault)
        elif fault.get("name") in FAULT_NAMES:
            self.world.faults.add(fault)
        else:
            known = ", ".join(sorted({*HOST_FAULT_NAMES, *FAULT_NAMES}))
            raise ValueError(f"unknown fault {fault.get('name')!r}; known: {known}")

    def around(self, app: Asgi) -> Asgi:
        """The emulator's ASGI application with this interface in front of it."""

        async def handle(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
                await app(scope, receive, send)
                return
            key = dict(scope["headers"]).get(KEY_HEADER, b"")
            if not hmac.compare_digest(key, self.secret.encode()):
                await _send(send, 403, {"error": "the sandbox's control interface needs its key"})
                return
            try:
                body = json.loads(await _read(receive) or b"null")
                answer = self.answer(scope["method"], scope["path"].removeprefix(PREFIX), body)
            except (LookupError, ValueError, TypeError) as error:
                await _send(send, 400, {"error": str(error)})
            else:
                await _send(send, 200, answer)

        return handle


async def _read(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _send(send: Any, status: int, answer: Any) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer, default=str).encode()})
