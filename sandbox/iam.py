"""EC2 authorisation as AWS documents it: every resource of a request, with its tags.

ministack enforces a Lambda role's policies but looks at one resource of an EC2 call and knows no
`ec2:` condition key. The roles of state machines are enforced here too, in the same way.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from ministack.core import iam_evaluator

from sandbox.lambda_site import shifted_time
from sandbox.protocols import wire_of
from sandbox.service_calls import ServiceError

if TYPE_CHECKING:
    from sandbox.service_checks import DocumentTags

type TagsOf = Callable[[str, str], Mapping[str, str]]

# Parameters that name existing resources, alone or numbered, and the type in their ARN.
RESOURCE_PARAMETERS: Final = (
    ("InstanceId", "instance"),
    ("ImageId", "image"),
    ("SourceImageId", "image"),
    ("SnapshotId", "snapshot"),
    ("VolumeId", "volume"),
)
# Actions that make resources, which are authorised before they have an id.
CREATES: Final = {
    "CreateImage": ("image", "snapshot"),
    "CopyImage": ("image", "snapshot"),
    "CreateSnapshot": ("snapshot",),
    "CreateSnapshots": ("snapshot",),
    "CopySnapshot": ("snapshot",),
    "RegisterImage": ("image",),
    "CreateVolume": ("volume",),
    "RunInstances": ("instance", "volume"),
}
# Describe, Get and List calls have no resource level, apart from these (Service Authorization
# Reference, Amazon EC2).
READING: Final = ("Describe", "Get", "List")
READING_WITH_RESOURCE: Final = frozenset(
    {"DescribeInstanceAttribute", "DescribeImageAttribute", "DescribeSnapshotAttribute"}
)
# What else a caller of DescribeImageReferences must be allowed, by the type of resource that it
# asks about (EC2 User Guide, "Identify your resources referencing specified AMIs", Required
# permissions). Of other types the sandbox has no resources.
REFERENCES: Final = "DescribeImageReferences"
REFERENCED: Final = {
    "ec2:Instance": ("ec2:DescribeInstances",),
    "ec2:LaunchTemplate": ("ec2:DescribeLaunchTemplates", "ec2:DescribeLaunchTemplateVersions"),
}
TYPE_BY_PREFIX: Final = {"i": "instance", "ami": "image", "snap": "snapshot", "vol": "volume"}
# The companions of EC2 by the names that ministack routes by, with those of the SDK.
_COMPANIONS: Final = {
    "autoscaling": "autoscaling",
    "elasticloadbalancing": "elbv2",
    "monitoring": "cloudwatch",
    "ssm": "ssm",
}
# ARNs of images and snapshots carry no account id.
WITHOUT_ACCOUNT: Final = frozenset({"image", "snapshot"})


@dataclass(frozen=True, slots=True)
class Check:
    """One question to the caller's policies: is `action` on `arn` allowed in this context."""

    action: str
    arn: str
    context: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a call is not allowed, in AWS's words."""

    code: str
    message: str
    request_id: str


def emulated_tags(region: str, identity: str) -> Mapping[str, str]:
    """Return the tags of a resource in a Region of the emulator, for the caller's account."""
    from ministack.core.responses import get_account_id  # noqa: PLC0415  after ministack's set-up
    from ministack.services import ec2  # noqa: PLC0415  after ministack's set-up

    tags = ec2._tags.get_scoped(get_account_id(), region, identity) or []
    return {tag["Key"]: tag["Value"] for tag in tags}


def ec2_checks(
    parameters: Mapping[str, str],
    region: str,
    account: str,
    tags_of: TagsOf = emulated_tags,
) -> list[Check]:
    """Every check that AWS makes for one EC2 Query request, given its flat parameters.

    `region` is where the request goes; `tags_of(region, id)` gives the tags of a resource.
    """
    action = parameters.get("Action", "")
    if action == REFERENCES:
        return list(_reference_checks(parameters))
    if action.startswith(READING) and action not in READING_WITH_RESOURCE:
        return [Check(f"ec2:{action}", "*", {})]
    if action in {"CreateTags", "DeleteTags"}:
        return list(_tagging_checks(action, parameters, region, account, tags_of))
    specified = _specified_tags(parameters)
    checks = []
    for name, kind, identity in _named_resources(parameters):
        # The tags of the request are for what it makes, not for what it copies, and CopyImage knows
        # no tag of its source (Service Authorization Reference, Amazon EC2).
        is_source = name == "SourceImageId"
        place = parameters.get("SourceRegion", region) if is_source else region
        context = {
            **({} if is_source else _request_tags(specified.get(kind, {}))),
            **({} if is_source else _resource_tags(tags_of(place, identity))),
        }
        checks.append(Check(f"ec2:{action}", _arn(kind, identity, place, account), context))
    for kind in CREATES.get(action, ()):
        context = _request_tags(specified.get(kind, {}))
        checks.append(Check(f"ec2:{action}", _arn(kind, "*", region, account), context))
    for kind, tags in specified.items():
        context = {**_request_tags(tags), "ec2:CreateAction": action}
        checks.append(Check("ec2:CreateTags", _arn(kind, "*", region, account), context))
    return checks or [Check(f"ec2:{action}", "*", {})]


def _reference_checks(parameters: Mapping[str, str]) -> Iterator[Check]:
    """The checks of DescribeImageReferences: its own, and those for what it looks through."""
    yield Check(f"ec2:{REFERENCES}", "*", {})
    asked = set(parameters.values()) & REFERENCED.keys()
    if parameters.get("IncludeAllResourceTypes") == "true":
        asked = set(REFERENCED)
    for kind in sorted(asked):
        yield from (Check(needed, "*", {}) for needed in REFERENCED[kind])


def _tagging_checks(
    action: str,
    parameters: Mapping[str, str],
    region: str,
    account: str,
    tags_of: TagsOf,
) -> Iterator[Check]:
    tags = _numbered_tags(parameters, "Tag")
    for key, identity in parameters.items():
        if key.startswith("ResourceId."):
            kind = TYPE_BY_PREFIX.get(identity.partition("-")[0], "*")
            context = {**_request_tags(tags), **_resource_tags(tags_of(region, identity))}
            yield Check(f"ec2:{action}", _arn(kind, identity, region, account), context)


def _named_resources(parameters: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """The resources that a request names: the parameter, the type, the id."""
    for name, kind in RESOURCE_PARAMETERS:
        for key, value in parameters.items():
            if key == name or (key.startswith(f"{name}.") and key.rpartition(".")[2].isdigit()):
                yield name, kind, value


def _specified_tags(parameters: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The tags of TagSpecification.N by resource type."""
    return {
        kind: _numbered_tags(parameters, key.removesuffix("ResourceType") + "Tag")
        for key, kind in parameters.items()
        if key.startswith("TagSpecification.") and key.endswith(".ResourceType")
    }


def _numbered_tags(parameters: Mapping[str, str], prefix: str) -> dict[str, str]:
    """The tags `{prefix}.1.Key`, `{prefix}.1.Value`, ... of a request."""
    return {
        name: parameters.get(key.removesuffix(".Key") + ".Value", "")
        for key, name in parameters.items()
        if key.startswith(f"{prefix}.") and key.endswith(".Key")
    }


def _request_tags(tags: dict[str, str]) -> dict[str, Any]:
    if not tags:
        return {}
    return {
        "aws:TagKeys": list(tags),
        **{f"aws:RequestTag/{key}": value for key, value in tags.items()},
    }


def _resource_tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {
        f"{scope}:ResourceTag/{key}": value
        for key, value in tags.items()
        for scope in ("aws", "ec2")
    }


def _arn(kind: str, identity: str, region: str, account: str) -> str:
    owner = "" if kind in WITHOUT_ACCOUNT else account
    return f"arn:aws:ec2:{region}:{owner}:{kind}/{identity}"


def flat(body: bytes) -> dict[str, str]:
    """The form parameters of a Query request."""
    return {
        key: values[0] for key, values in parse_qs(body.decode(), keep_blank_values=True).items()
    }


def denied_for_role(
    role_arn: str, action: str, body: bytes, resource: str, region: str
) -> Denial | None:
    """Why `role_arn` may not do `action` (`ec2:StopInstances`), or None if it may.

    For EC2 the resources are found in the request's `body`, for other services `resource` is the
    one that is named.
    """
    account, name = role_arn.split(":")[4], role_arn.rpartition("/")[2]
    checks = [Check(action, resource, {})]
    if action.startswith("ec2:"):
        checks = ec2_checks(flat(body), region, account)
    policies = iam_evaluator._gather_role_policies(name, account)
    principal = f"arn:aws:sts::{account}:assumed-role/{name}/stepfunctions"
    return denied(checks, policies, principal, region, account)


def denied(
    checks: Iterable[Check], policies: list[Any], principal: str, region: str, account: str
) -> Denial | None:
    """Why a role session with these parsed policies fails one of the checks, or None."""
    for check in checks:
        context = iam_evaluator.EvalContext(
            principal_arn=principal,
            principal_type="AssumedRole",
            principal_account=account,
            action=check.action,
            resource_arn=check.arn,
            region=region,
            service_context={key.lower(): value for key, value in check.context.items()},
        )
        if iam_evaluator.evaluate(context, policies).decision != "Allow":
            return Denial(
                "UnauthorizedOperation",
                f"You are not authorized to perform this operation. User: {principal} is not "
                f"authorized to perform: {check.action} on resource: {check.arn} because no "
                f"identity-based policy allows the {check.action} action.",
                str(uuid.uuid4()),
            )
    return None


def install(document_tags: "DocumentTags") -> None:
    """Ask ministack's evaluator about every resource of a request that arrives over HTTP.

    This goes for EC2 and its companions. `document_tags(region, name)` gives the tags of a
    document of SSM.
    """
    enforce = iam_evaluator.enforce

    def enforce_every_resource(
        access_key_id: str,
        iam_action: str,
        service: str,
        region: str,
        resource_arn: str = "*",
        service_context: dict[str, Any] | None = None,
    ) -> Any:
        request = iam_evaluator._signed_request.get()
        checks = (
            _checks(service, request.headers, request.body, region, document_tags)
            if request and request.body
            else None
        )
        if checks is None:
            return enforce(
                access_key_id, iam_action, service, region, resource_arn, service_context
            )
        for check in checks:
            denied = enforce(access_key_id, check.action, service, region, check.arn, check.context)
            if denied:
                return denied
        return None

    iam_evaluator.enforce = enforce_every_resource
    _accept_real_time()


def _checks(
    service: str,
    headers: Mapping[str, str],
    body: bytes,
    region: str,
    document_tags: "DocumentTags",
) -> list[Check] | None:
    """Return the checks of a request to a service by ministack's name, None if it is another."""
    from ministack.core.responses import get_account_id  # noqa: PLC0415  after ministack's set-up

    from sandbox.service_checks import Scope, service_checks  # noqa: PLC0415  it needs this module

    account = get_account_id()
    if service == "ec2":
        return ec2_checks(flat(body), region, account)
    if service not in _COMPANIONS:
        return None
    name, text = _COMPANIONS[service], body.decode()
    wire = wire_of(name)
    action = wire.action(headers, text)
    scope = Scope(region, account, emulated_tags, document_tags)
    try:
        return service_checks(name, action, wire.params(action, text), scope)
    except ServiceError:  # what is unsound is refused by whoever answers it
        return None


def _accept_real_time() -> None:
    """Accept signatures in real time beside those in simulated time.

    Clients outside know no other.
    """
    from ministack.core import sigv4  # noqa: PLC0415  after ministack's set-up

    refuse = sigv4.request_time_failure

    def refuse_in_both_times(signature: Any, *, now: datetime | None = None) -> Any:
        real = datetime.fromtimestamp(shifted_time.real_time(), UTC)
        return refuse(signature, now=now) and refuse(signature, now=real)

    sigv4.request_time_failure = refuse_in_both_times
