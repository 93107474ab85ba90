"""What each role of the stack may do, judged as IAM does, by the policies of the template."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from ministack.core import iam_evaluator

from sandbox import iam, service_errors
from sandbox.companions import Companions
from sandbox.ec2 import World
from sandbox.iam import Check
from sandbox.protocols import wire_of
from sandbox.service_calls import ServiceError
from sandbox.service_checks import PREFIXES, Scope, service_checks
from sandbox.virtual.services import Request
from sandbox.virtual.stack import ACCOUNT, Stack

# Where a request names its resource, and how IAM calls the service.
_RESOURCES: Final = ("stateMachineArn", "executionArn", "KeyId")
_IDS: Final = re.compile(r"(?:ami|snap)-[0-9a-f]{17}")
_STATES: Final = {"stepfunctions": "states"}


class Permissions:
    """The roles of a stack with their policies."""

    def __init__(self, stack: Stack, world: World, companions: Companions) -> None:
        """Read the roles' own policies and those that are attached to them from outside."""
        documents: dict[str, list[Any]] = {}
        for role, properties in stack.of_type("AWS::IAM::Role").items():
            documents[role] = [each["PolicyDocument"] for each in properties.get("Policies", [])]
        names = {stack.names[role]: role for role in documents}
        for each in stack.of_type("AWS::IAM::Policy").values():
            for name in each["Roles"]:
                documents[names[name]].append(each["PolicyDocument"])
        self._policies = {
            role: [iam_evaluator.parse_policy_document(document) for document in some]
            for role, some in documents.items()
        }
        self._world = world
        self._companions = companions

    def refusal(self, role: str, principal: str, request: Request) -> ServiceError | None:
        """Return the service's answer to a call that the role may not make, or None if it may."""
        service, region = request.service, request.region
        if service == "ec2":
            form = iam.flat(request.body.encode())
            checks = iam.ec2_checks(form, region, ACCOUNT, self._tags_of)
        elif service in PREFIXES:
            params = wire_of(service).params(request.action, request.body)
            documents = partial(self._companions.document_tags, ACCOUNT)
            scope = Scope(region, ACCOUNT, self._tags_of, documents)
            checks = service_checks(service, request.action, params, scope)
        else:
            prefix = _STATES.get(service, service)
            checks = [Check(f"{prefix}:{request.action}", _resource(request), {})]
        denial = iam.denied(checks, self._policies[role], principal, region, ACCOUNT)
        if denial is None:
            return None
        return service_errors.denied(service, denial.message)

    def narrowed(self, role: str, principal: str, request: Request) -> Request:
        """Return a request with what its sender may not do on the side.

        DeregisterImage deletes snapshots for who may delete each of them, and says
        `missing-permissions` of the others (EC2 API Reference, DeleteSnapshotReturnCode).
        """
        if request.action != "DeregisterImage":
            return request
        form = iam.flat(request.body.encode())
        place = self._world.region(ACCOUNT, request.region)
        image = place.images.get(form.get("ImageId", ""))
        if image is None or form.get("DeleteAssociatedSnapshots") != "true":
            return request
        ids = {volume.snapshot_id for volume in image.volumes if volume.snapshot_id}
        forbidden = set()
        for snapshot_id in ids:
            delete = {"Action": "DeleteSnapshot", "SnapshotId": snapshot_id}
            checks = iam.ec2_checks(delete, request.region, ACCOUNT, self._tags_of)
            if iam.denied(checks, self._policies[role], principal, request.region, ACCOUNT):
                forbidden.add(snapshot_id)
        return replace(request, forbidden=frozenset(forbidden))

    def is_missing(self, body: str) -> bool:
        """Say whether a refusal shows that a permission is missing.

        One that is scoped by tag is refused for what has been deleted just now: that has no tags.
        """
        named = set(_IDS.findall(body))
        places = self._world.regions(ACCOUNT)
        return not any(
            identity in place.gone_images or identity in place.gone_snapshots
            for identity in named
            for place in places
        )

    def _tags_of(self, region: str, identity: str) -> Mapping[str, str]:
        return self._world.region(ACCOUNT, region).tags.current(identity)


def _resource(request: Request) -> str:
    """Return the ARN that a request is about."""
    if request.service == "sns":
        return iam.flat(request.body.encode()).get("TopicArn", "*")
    params = json.loads(request.body)
    return next((str(params[key]) for key in _RESOURCES if key in params), "*")
