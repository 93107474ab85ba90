"""The stack as CloudFormation would make it: the transformed template with its values filled in."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from sandbox.template import PLACEHOLDER, FilledTemplate, Resolver, source, transformed, uploads

ACCOUNT: Final = "000000000000"
REGION: Final = "us-east-1"
STACK: Final = "stillpoint"
_PSEUDO: Final = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": STACK,
    "AWS::URLSuffix": "amazonaws.com",
}
# How an ARN of each type goes on after the account; what is not here has no ARN that matters.
_ARNS: Final = {
    "AWS::Lambda::Function": "arn:aws:lambda:{region}:{account}:function:{name}",
    "AWS::IAM::Role": "arn:aws:iam::{account}:role/{name}",
    "AWS::SQS::Queue": "arn:aws:sqs:{region}:{account}:{name}",
    "AWS::SNS::Topic": "arn:aws:sns:{region}:{account}:{name}",
    "AWS::KMS::Key": "arn:aws:kms:{region}:{account}:key/{name}",
    "AWS::Events::Rule": "arn:aws:events:{region}:{account}:rule/{name}",
    "AWS::Logs::LogGroup": "arn:aws:logs:{region}:{account}:log-group:{name}:*",
    "AWS::StepFunctions::StateMachine": "arn:aws:states:{region}:{account}:stateMachine:{name}",
}
_NAMES: Final = (
    *("FunctionName", "RoleName", "QueueName", "TopicName", "LogGroupName", "StateMachineName"),
    "Name",
)
_REF_IS_ARN: Final = frozenset({"AWS::SNS::Topic", "AWS::StepFunctions::StateMachine"})


@dataclass(frozen=True, slots=True)
class Stack(FilledTemplate):
    """A stack with the names and, where they matter, the ARNs of its resources by logical id.

    `folders` holds where the code of each function, or the definition of the machine, lies.
    """

    folders: Mapping[str, Path]
    names: Mapping[str, str]
    arns: Mapping[str, str]

    def logical_id(self, arn: str) -> str:
        """Return the logical id of an ARN. Raises KeyError."""
        return next(name for name, each in self.arns.items() if each == arn)

    def state_machine(self) -> tuple[str, dict[str, Any]]:
        """Return the state machine's logical id and its definition, substitutions done."""
        [(name, properties)] = self.of_type("AWS::StepFunctions::StateMachine").items()
        text = self.folders[name].read_text(encoding="utf-8")
        values = properties.get("DefinitionSubstitutions", {})
        filled = PLACEHOLDER.sub(lambda match: str(values[match[1]]), text)
        definition: dict[str, Any] = json.loads(filled)
        return name, definition


@cache
def _template() -> tuple[dict[str, Any], dict[str, Path]]:
    """Return what SAM makes of the template, and where each resource's code lies."""
    written = source()
    return transformed(written), uploads(written)


def make_stack(overrides: Mapping[str, str]) -> Stack:
    """Return the stack with its parameters' defaults or the overrides.

    Raises KeyError for a parameter that the template does not have, UnsupportedTemplate for an
    intrinsic function that is not known.
    """
    template, folders = _template()
    naming = _Naming()
    resolver = Resolver(template, overrides, naming)
    for name, resource in resolver.resources.items():
        naming.add(name, resource, resolver)
    resources = {name: resolver.resolve(each) for name, each in resolver.resources.items()}
    return Stack(resolver.parameters, resources, folders, naming.names, naming.arns)


class _Naming:
    """The names and ARNs of the resources, as CloudFormation would give them."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.arns: dict[str, str] = {}
        self._types: dict[str, str] = {}

    def add(self, logical_id: str, resource: Mapping[str, Any], resolver: Resolver) -> None:
        """Give a resource its name and its ARN."""
        properties = resource.get("Properties", {})
        given = next((properties[key] for key in _NAMES if key in properties), None)
        name = f"{STACK}-{logical_id}" if given is None else str(resolver.resolve(given))
        self._types[logical_id] = resource["Type"]
        self.names[logical_id] = name
        if resource["Type"] in _ARNS:
            pattern = _ARNS[resource["Type"]]
            self.arns[logical_id] = pattern.format(region=REGION, account=ACCOUNT, name=name)

    def ref(self, name: str) -> str:
        """Return the value of a pseudo parameter, or the ARN or the name of a resource."""
        if name in _PSEUDO:
            return _PSEUDO[name]
        return self.arns[name] if self._types.get(name) in _REF_IS_ARN else self.names[name]

    def attribute(self, name: str, attribute: str) -> str:
        """Return the ARN or the name of a resource."""
        return self.arns[name] if attribute in {"Arn", "TopicArn"} else self.names[name]
