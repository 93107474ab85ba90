"""Putting the world in place of ministack's EC2.

ministack looks each action up in a table of handlers, for requests over HTTP and for those of a
state machine alike. `install` replaces the entries that concern instances, volumes, snapshots,
images and launch templates, and refuses those that would go past the world. Tags are copied to
ministack's own store, where its IAM finds them for conditions such as `aws:ResourceTag/...`.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from ministack.core import iam_evaluator, responses
from ministack.services import ec2, kms

from sandbox.ec2 import wire
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.keys import DEFAULT_KEY_ID, default_key
from sandbox.ec2.tagging import PREFIXES
from sandbox.ec2.world import ACTIONS, World

type Form = Mapping[str, list[str] | str]
type Response = tuple[int, dict[str, str], bytes]
type Handler = Callable[[Form], Response]

# What ministack would do beside the world, so that the two would contradict each other.
REFUSED = (
    "CopySnapshot",
    "CreateFleet",
    "DeleteLaunchTemplateVersions",
    "ModifyVolume",
    "ResetImageAttribute",
)

# The caller of a state machine's request; whoever sends one sets `_principal` to it.
STEP_FUNCTIONS = "states.amazonaws.com"
_principal: ContextVar[str] = ContextVar("ec2_principal", default="unknown")
_XML = {"Content-Type": "text/xml;charset=UTF-8"}


def install(world: World) -> None:
    """Let ministack's EC2 in this process be `world`; a later world replaces an earlier one."""
    for action in ACTIONS:
        handler: Handler = partial(_handle, world, action)
        if action in ("CreateTags", "DeleteTags"):
            handler = _only_own_resources(handler, _original(action))
        ec2._ACTION_MAP[action] = handler
    for action in REFUSED:
        ec2._ACTION_MAP[action] = partial(_refuse, action)
    world.on_tags = _copy_tags
    world.find_key = _find_key
    _patch_once()


def _handle(world: World, action: str, form: Form) -> Response:
    """Answer one request from the world."""
    request_id = responses.new_uuid()
    try:
        answer = world.call(
            action,
            wire.parse_request(action, form),
            account=responses.get_account_id(),
            region=responses.get_region(),
            principal=_principal.get(),
        )
    except Ec2Error as error:
        return error.status, dict(_XML), wire.xml_error(error, request_id).encode()
    return 200, dict(_XML), wire.xml_response(action, request_id, answer).encode()


def _refuse(action: str, _form: Form) -> Response:
    """Answer that the sandbox does not offer an action."""
    error = Ec2Error("UnsupportedOperation", f"The sandbox's EC2 does not offer {action}.")
    return error.status, dict(_XML), wire.xml_error(error, responses.new_uuid()).encode()


_originals: dict[str, Handler] = {}


def _original(action: str) -> Handler:
    """Return ministack's own handler of an action, whatever was installed since."""
    return _originals.setdefault(action, ec2._ACTION_MAP[action])


def _only_own_resources(handler: Handler, original: Handler) -> Handler:
    """Leave a tagging request to ministack if it is about nothing that the world knows."""

    def choose(form: Form) -> Response:
        ids = [value for key, value in form.items() if key.startswith("ResourceId.")]
        texts = [value if isinstance(value, str) else value[0] for value in ids]
        own = not texts or any(text.startswith(PREFIXES) for text in texts)
        return handler(form) if own else original(form)

    return choose


def _copy_tags(account: str, region: str, resource_id: str, tags: Mapping[str, str]) -> None:
    """Keep ministack's copy of a resource's tags."""
    entries = [{"Key": key, "Value": value} for key, value in tags.items()]
    if entries:
        ec2._tags.set_scoped(account, region, resource_id, entries)
    else:
        ec2._tags.pop_scoped(account, region, resource_id, None)


def _find_key(account: str, region: str, key: str) -> str | None:
    """Return the ARN of a key of the emulator's KMS, in the Region of the request."""
    del account, region  # those of the request, which KMS looks up by itself
    record = kms._resolve_key(key)
    return str(record["Arn"]) if record else None


_patched = False


def _patch_once() -> None:
    """Change what ministack does around the handlers, once per process."""
    global _patched  # noqa: PLW0603 - a process has one ministack
    if _patched:
        return
    _patched = True
    # A parameter such as NoDevice counts by being there, with an empty value.
    ec2.parse_qs = partial(parse_qs, keep_blank_values=True)
    ec2.handle_request = _remember_caller(ec2.handle_request)
    kms._describe_key = _with_default_key(kms._describe_key)


def _remember_caller(handle: Callable[..., Awaitable[Response]]) -> Callable[..., Any]:
    """Note who sends a request: a state machine, or the signer of one over HTTP."""

    async def handle_request(
        method: str, path: str, headers: Mapping[str, str], body: bytes, query: Form
    ) -> Response:
        if _principal.get() == STEP_FUNCTIONS:
            return await handle(method, path, headers, body, query)
        token = _principal.set(_signer(headers.get("authorization", "")))
        try:
            return await handle(method, path, headers, body, query)
        finally:
            _principal.reset(token)

    return handle_request


def _signer(authorization: str) -> str:
    """Return the ARN of whoever signed a request."""
    access_key = authorization.partition("Credential=")[2].partition("/")[0]
    identity = iam_evaluator.resolve_caller_identity(access_key)
    return str(identity["userArn"]) if identity else "unknown"


def _with_default_key(describe: Callable[[dict[str, Any]], Any]) -> Callable[..., Any]:
    """Let KMS know the AWS managed key with which EBS encrypts where no key is given."""

    def describe_key(data: dict[str, Any]) -> Response:
        arn = default_key(responses.get_account_id(), responses.get_region())
        if data.get("KeyId") not in (arn, DEFAULT_KEY_ID, "alias/aws/ebs"):
            answer: Response = describe(data)
            return answer
        metadata = {
            "KeyId": DEFAULT_KEY_ID,
            "Arn": arn,
            "Enabled": True,
            "KeyManager": "AWS",
            "KeyState": "Enabled",
            "KeyUsage": "ENCRYPT_DECRYPT",
            "KeySpec": "SYMMETRIC_DEFAULT",
            "Origin": "AWS_KMS",
        }
        known: Response = responses.json_response({"KeyMetadata": metadata})
        return known

    return describe_key
