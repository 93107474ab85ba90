"""What each role of the stack may do, judged as IAM does, by the policies of the template."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from ministack.core import iam_evaluator

from sandbox import iam
from sandbox.ec2 import World
from sandbox.iam import Check
from sandbox.service_calls import ServiceError
from sandbox.virtual.services import DENIAL, REQUEST_ID
from sandbox.virtual.stack import ACCOUNT, REGION, Stack

# Where a request names its resource, and how IAM calls the service.
_RESOURCES: Final = ("stateMachineArn", "executionArn", "KeyId")
_IDS: Final = re.compile(r"(?:ami|snap)-[0-9a-f]{17}")
_PREFIXES: Final = {"stepfunctions": "states"}


class Permissions:
    """The roles of a stack with their policies."""

    def __init__(self, stack: Stack, world: World) -> None:
        """Read the roles' own policies and those that are attached to them from outside."""
        documents: dict[str, list[Any]] = {}
        for role, properties in stack.of_type("AWS::IAM::Role").items():
            documents[role] = [each["PolicyDocument"] for each in properties.get("Policies", [])]
        names = {stack.names[role]: role for role in documents}
        for each in stack.of_type("AWS::IAM::RolePolicy").values():
            documents[names[each["RoleName"]]].append(each["PolicyDocument"])
        self._policies = {
            role: [iam_evaluator.parse_policy_document(document) for document in some]
            for role, some in documents.items()
        }
        self._world = world

    def refusal(
        self, role: str, principal: str, service: str, action: str, body: str
    ) -> ServiceError | None:
        """Return the service's answer to a call that the role may not make, or None if it may."""
        if service == "ec2":
            form = iam.flat(body.encode())
            checks = iam.ec2_checks(form, REGION, ACCOUNT, self._tags_of)
        else:
            prefix = _PREFIXES.get(service, service)
            checks = [Check(f"{prefix}:{action}", _resource(service, body), {})]
        denial = iam.denied(checks, self._policies[role], principal, REGION, ACCOUNT)
        if denial is None:
            return None
        code, status = DENIAL[service]
        return ServiceError(code, denial.message, status, REQUEST_ID)

    def is_missing(self, body: str) -> bool:
        """Say whether a refusal shows that a permission is missing.

        One that is scoped by tag is refused for what has been deleted just now: that has no tags.
        """
        place = self._world.region(ACCOUNT, REGION)
        named = set(_IDS.findall(body))
        gone = {
            *(image.image_id for image in place.images.values() if image.gone_at is not None),
            *(snap.snapshot_id for snap in place.snapshots.values() if snap.deleted),
        }
        return not named & gone

    def _tags_of(self, identity: str) -> Mapping[str, str]:
        return self._world.region(ACCOUNT, REGION).tags.current(identity)


def _resource(service: str, body: str) -> str:
    """Return the ARN that a request is about."""
    if service == "sns":
        return iam.flat(body.encode()).get("TopicArn", "*")
    params = json.loads(body)
    return next((str(params[key]) for key in _RESOURCES if key in params), "*")
