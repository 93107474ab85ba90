"""Putting the companions' models in place of ministack's handlers, action by action.

What a model does not offer stays with ministack, and so do the alarms themselves: the rules that
mute them are the model's.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from ministack.core import responses
from ministack.services import alb, autoscaling, cloudwatch, ssm

from sandbox.companions import Companions, Offer
from sandbox.ec2.emulator import STEP_FUNCTIONS, _principal, _signer
from sandbox.protocols import Wire, wire_of
from sandbox.service_calls import ServiceError

type Response = tuple[int, dict[str, str], bytes | str]
type Handler = Callable[..., Awaitable[Response]]

MODULES: Final = {
    "autoscaling": autoscaling,
    "cloudwatch": cloudwatch,
    "elbv2": alb,
    "ssm": ssm,
}
# Where the emulator does more than the model.
LEFT: Final = frozenset({"DescribeAlarms", "DescribeLaunchConfigurations", "PutMetricAlarm"})
# What SSM does for documents and parameters alike: the model knows documents only.
TAGGING: Final = frozenset({"AddTagsToResource", "ListTagsForResource", "RemoveTagsFromResource"})

_originals: dict[str, Handler] = {}


def install(companions: Companions) -> None:
    """Let ministack's services in this process be the companions' models where there are any."""
    for service, module in MODULES.items():
        original = _originals.setdefault(service, module.handle_request)
        module.handle_request = _handler(companions.offers[service], wire_of(service), original)
    _silence(companions)


def _handler(offer: Offer, wire: Wire, original: Handler) -> Handler:
    async def handle_request(
        method: str, path: str, headers: Mapping[str, str], body: bytes, query: Any
    ) -> Response:
        text = (body or b"").decode()
        action = wire.action(headers, text)
        if action not in offer.actions or action in LEFT:
            return await original(method, path, headers, body, query)
        answered = {"Content-Type": wire.content_type}
        try:
            params = wire.params(action, text)
            if action in TAGGING and params.get("ResourceType") != "Document":
                return await original(method, path, headers, body, query)
            result = offer.model.call(
                action,
                params,
                account=responses.get_account_id(),
                region=responses.get_region(),
                principal=_caller(headers),
            )
        except ServiceError as error:
            return error.status, answered, wire.error(error).encode()
        return 200, answered, wire.answer(action, result).encode()

    return handle_request


def _caller(headers: Mapping[str, str]) -> str:
    """Return who sends a request: a state machine, or the signer of one over HTTP."""
    current = _principal.get()
    return current if current == STEP_FUNCTIONS else _signer(headers.get("authorization", ""))


_dispatch: Callable[..., None] = cloudwatch._dispatch_alarm_actions


def _silence(companions: Companions) -> None:
    """Let an alarm that is muted change its state without its actions."""

    def dispatch(alarm: Mapping[str, Any], old: str, new: str, reason: str) -> None:
        account, region = responses.get_account_id(), responses.get_region()
        if not companions.muting.is_muted(alarm["AlarmName"], account, region):
            _dispatch(alarm, old, new, reason)

    cloudwatch._dispatch_alarm_actions = dispatch
