"""The stack as CloudFormation would make it: the transformed template with its values filled in."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from samtranslator.translator.transform import (  # type: ignore[import-untyped]
    transform,
)
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).resolve().parents[2]
TEMPLATE: Final = ROOT / "template.yaml"
ACCOUNT: Final = "000000000000"
REGION: Final = "us-east-1"
STACK: Final = "stillpoint"
_PLACEHOLDER: Final = re.compile(r"\$\{([^}!]+)\}")
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
class Stack:
    """The resources of a stack by logical id, each with its `Type` and filled-in `Properties`.

    `folders` holds where the code of each function, or the definition of the machine, lies.
    """

    parameters: Mapping[str, Any]
    resources: Mapping[str, Mapping[str, Any]]
    folders: Mapping[str, Path]
    names: Mapping[str, str]
    arns: Mapping[str, str]

    def of_type(self, kind: str) -> dict[str, Mapping[str, Any]]:
        """Return the properties of every resource of a type, by logical id."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self.resources.items()
            if resource["Type"] == kind
        }

    def logical_id(self, arn: str) -> str:
        """Return the logical id of an ARN. Raises KeyError."""
        return next(name for name, each in self.arns.items() if each == arn)

    def state_machine(self) -> tuple[str, dict[str, Any]]:
        """Return the state machine's logical id and its definition, substitutions done."""
        [(name, properties)] = self.of_type("AWS::StepFunctions::StateMachine").items()
        text = self.folders[name].read_text(encoding="utf-8")
        values = properties.get("DefinitionSubstitutions", {})
        filled = _PLACEHOLDER.sub(lambda match: str(values[match[1]]), text)
        definition: dict[str, Any] = json.loads(filled)
        return name, definition


@cache
def _transformed() -> tuple[dict[str, Any], dict[str, Path]]:
    """Return what SAM makes of the template, and where each resource's code lies."""
    template: dict[str, Any] = yaml_parse(TEMPLATE.read_text(encoding="utf-8"))
    resources, folders = {}, {}
    for name, resource in template["Resources"].items():
        properties = dict(resource.get("Properties", {}))
        for key in ("CodeUri", "ContentUri", "DefinitionUri"):
            if key in properties:
                folders[name] = ROOT / properties[key]
                properties[key] = "s3://bucket/key"
        resources[name] = {**resource, "Properties": properties}
    # Its managed policies are looked up only for functions that name one.
    made: dict[str, Any] = transform({**template, "Resources": resources}, {}, dict)
    return made, folders


def make_stack(overrides: Mapping[str, str]) -> Stack:
    """Return the stack with its parameters' defaults or the overrides.

    Raises KeyError for a parameter that the template does not have.
    """
    template, folders = _transformed()
    declared = template["Parameters"]
    if unknown := overrides.keys() - declared.keys():
        raise KeyError(f"the template has no parameter {', '.join(sorted(unknown))}")
    parameters = {
        name: _typed(each["Type"], str(overrides.get(name, each.get("Default", ""))))
        for name, each in declared.items()
    }
    resolver = _Resolver(parameters, template.get("Conditions", {}))
    present = {
        name: resource
        for name, resource in template["Resources"].items()
        if "Condition" not in resource or resolver.is_true(resource["Condition"])
    }
    for name, resource in present.items():
        resolver.name(name, resource)
    return Stack(
        parameters,
        {name: resolver.resolve(resource) for name, resource in present.items()},
        folders,
        resolver.names,
        resolver.arns,
    )


def _typed(kind: str, value: str) -> Any:
    return value.split(",") if kind == "CommaDelimitedList" else value


class _Resolver:
    """Fills values in, as CloudFormation does."""

    def __init__(self, parameters: Mapping[str, Any], conditions: Mapping[str, Any]) -> None:
        self._parameters = parameters
        self._conditions = conditions
        self.names: dict[str, str] = {}
        self.arns: dict[str, str] = {}
        self._types: dict[str, str] = {}
        self._intrinsics: dict[str, Callable[[Any], Any]] = {
            "Ref": self._ref,
            "Fn::GetAtt": self._attribute,
            "Fn::Sub": self._sub,
            "Fn::Join": lambda pair: pair[0].join(self.resolve(pair[1])),
            "Fn::If": lambda three: self.resolve(three[1 if self.is_true(three[0]) else 2]),
            "Fn::Equals": lambda pair: str(self.resolve(pair[0])) == str(self.resolve(pair[1])),
            "Fn::Not": lambda one: not self.resolve(one[0]),
            "Fn::And": lambda several: all(self.resolve(each) for each in several),
        }

    def name(self, logical_id: str, resource: Mapping[str, Any]) -> None:
        """Give a resource its name and its ARN."""
        properties = resource.get("Properties", {})
        given = next((properties[key] for key in _NAMES if key in properties), None)
        name = f"{STACK}-{logical_id}" if given is None else str(self.resolve(given))
        self._types[logical_id] = resource["Type"]
        self.names[logical_id] = name
        if resource["Type"] in _ARNS:
            pattern = _ARNS[resource["Type"]]
            self.arns[logical_id] = pattern.format(region=REGION, account=ACCOUNT, name=name)

    def is_true(self, condition: str) -> bool:
        """Return whether a condition of the template holds."""
        return bool(self.resolve(self._conditions[condition]))

    def resolve(self, value: Any) -> Any:
        """Return a part of the template with every intrinsic function replaced by its value."""
        if isinstance(value, list):
            return [self.resolve(each) for each in value if not self._is_no_value(each)]
        if not isinstance(value, Mapping):
            return value
        name = next(iter(value)) if len(value) == 1 else ""
        if name in self._intrinsics:
            return self._intrinsics[name](value[name])
        if name == "Condition" and isinstance(value[name], str):  # one inside another
            return self.is_true(value[name])
        if name.startswith("Fn::"):
            raise NotImplementedError(f"the intrinsic function {name} is not known here: add it")
        return {
            key: self.resolve(each) for key, each in value.items() if not self._is_no_value(each)
        }

    def _is_no_value(self, value: Any) -> bool:
        if isinstance(value, Mapping) and "Fn::If" in value:
            condition, yes, no = value["Fn::If"]
            return self._is_no_value(yes if self.is_true(condition) else no)
        return bool(value == {"Ref": "AWS::NoValue"})

    def _ref(self, name: str) -> Any:
        if name in self._parameters:
            return self._parameters[name]
        if name in _PSEUDO:
            return _PSEUDO[name]
        if self._types.get(name) in _REF_IS_ARN:
            return self.arns[name]
        return self.names[name]

    def _attribute(self, path: list[str] | str) -> str:
        name, _, attribute = (path if isinstance(path, str) else ".".join(path)).partition(".")
        return self.arns[name] if attribute in {"Arn", "TopicArn"} else self.names[name]

    def _sub(self, text: str | list[Any]) -> str:
        template, values = (text, {}) if isinstance(text, str) else (text[0], text[1])

        def value(match: re.Match[str]) -> str:
            key = match[1]
            if key in values:
                return str(self.resolve(values[key]))
            return str(self._attribute(key) if "." in key else self._ref(key))

        return _PLACEHOLDER.sub(value, template)
