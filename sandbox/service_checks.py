"""Authorisation of Auto Scaling, load balancing, alarm muting and SSM, resource by resource.

Service Authorization Reference, the pages of these services. What describes, lists or gets has no
resource level, apart from documents and mute rules.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sandbox.iam import Check, TagsOf

# How IAM calls a service, by its name in the SDK.
PREFIXES: Final = {
    "autoscaling": "autoscaling",
    "cloudwatch": "cloudwatch",
    "elbv2": "elasticloadbalancing",
    "ssm": "ssm",
}
READING: Final = ("Describe", "Get", "List")
_MUTE_RULES: Final = frozenset({"DeleteAlarmMuteRule", "GetAlarmMuteRule", "PutAlarmMuteRule"})
_DOCUMENTS: Final = frozenset(
    {
        *("CreateDocument", "DeleteDocument", "DescribeDocument", "GetDocument"),
        *("UpdateDocument", "UpdateDocumentDefaultVersion"),
    }
)
_TAGS_OF_DOCUMENTS: Final = frozenset(
    {"AddTagsToResource", "ListTagsForResource", "RemoveTagsFromResource"}
)
# Documents whose names begin so belong to AWS: their ARNs carry no account.
_AMAZON: Final = ("AWS-", "AWSEC2-", "Amazon")

type DocumentTags = Callable[[str, str], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a request goes, and how the tags of instances and documents are found there.

    Both functions take a Region and an id or a name.
    """

    region: str
    account: str
    tags_of: TagsOf
    document_tags: DocumentTags


def service_checks(
    service: str, action: str, params: Mapping[str, Any], scope: Scope
) -> list[Check]:
    """Return every check for one request, given its parameters by the SDK's names."""
    asked = f"{PREFIXES[service]}:{action}"
    return [Check(asked, arn, context) for arn, context in _resources(action, params, scope)] or [
        Check(asked, "*", {})
    ]


def _resources(
    action: str, params: Mapping[str, Any], scope: Scope
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The ARNs of what a request concerns, each with its context."""
    place = f"{scope.region}:{scope.account}"
    if action in _MUTE_RULES:
        name = params.get("Name") or params.get("AlarmMuteRuleName")
        yield f"arn:aws:cloudwatch:{place}:alarm-mute-rule:{name}", {}
        for alarm in params.get("MuteTargets", {}).get("AlarmNames", []):
            yield f"arn:aws:cloudwatch:{place}:alarm:{alarm}", {}
    elif action in _DOCUMENTS:
        yield _document(str(params["Name"]), scope)
    elif action in _TAGS_OF_DOCUMENTS and params["ResourceType"] == "Document":
        yield _document(str(params["ResourceId"]), scope)
    elif action == "SendCommand":
        yield _document(str(params["DocumentName"]), scope)
        for instance_id in params.get("InstanceIds") or []:
            tags = scope.tags_of(scope.region, instance_id)
            yield f"arn:aws:ec2:{place}:instance/{instance_id}", _tags(tags)
    elif action.startswith(READING):
        return
    elif group := params.get("AutoScalingGroupName"):
        # The part before the name is an id that AWS gives, which no policy can know.
        yield f"arn:aws:autoscaling:{place}:autoScalingGroup:*:autoScalingGroupName/{group}", {}
    elif arn := params.get("TargetGroupArn"):
        yield str(arn), {}


def _document(name: str, scope: Scope) -> tuple[str, dict[str, Any]]:
    if name.startswith("arn:"):
        arn, name = name, name.rpartition("/")[2]
    else:
        owner = "" if name.startswith(_AMAZON) else scope.account
        arn = f"arn:aws:ssm:{scope.region}:{owner}:document/{name}"
    return arn, _tags(scope.document_tags(scope.region, name))


def _tags(tags: Mapping[str, str]) -> dict[str, Any]:
    """Return tags as the condition keys by which SSM and all services know them."""
    return {
        f"{scope}/{key}": value
        for key, value in tags.items()
        for scope in ("aws:ResourceTag", "ssm:resourceTag")
    }
