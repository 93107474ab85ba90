"""The template as SAM transforms it, and its values as CloudFormation would fill them in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtranslator.translator.transform import (  # type: ignore[import-untyped]
    transform,
)
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "template.yaml"
DEFINITION = ROOT / "statemachine" / "backup.asl.json"

PLACEHOLDER = re.compile(r"\$\{([^}!]+)\}")

if TYPE_CHECKING:
    from collections.abc import Callable

type Resource = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack of the template.

    In its resources' properties, a parameter is its value, a resource `<LogicalId>`, an attribute
    `<LogicalId.Attribute>`, and a pseudo parameter stays what it is in a Sub: `${AWS::Partition}`.
    """

    parameters: Mapping[str, Any]
    resources: Mapping[str, Resource]
    outputs: Mapping[str, Any]

    def given(self, parameter: str) -> bool:
        """Whether a parameter that is a list names anything."""
        return any(self.parameters[parameter])

    def of_type(self, kind: str) -> dict[str, Mapping[str, Any]]:
        """The properties of every resource of a type, by logical id."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self.resources.items()
            if resource["Type"] == kind
        }

    def properties(self, name: str) -> Mapping[str, Any]:
        """The properties of a resource."""
        properties: Mapping[str, Any] = self.resources[name]["Properties"]
        return properties


class Recorder(dict[str, str]):
    """Texts by name that remember what they were asked for."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        super().__init__(texts)
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401
        self.asked.add(key)
        return super().get(key, default)


def source() -> dict[str, Any]:
    """The template as it is written, with the short forms of intrinsic functions spelled out."""
    parsed: dict[str, Any] = yaml_parse(TEMPLATE.read_text(encoding="utf-8"))
    return parsed


def transformed(template: Mapping[str, Any]) -> dict[str, Any]:
    """What SAM makes of the template once its folders are uploaded."""
    resources = {name: dict(resource) for name, resource in template["Resources"].items()}
    for resource in resources.values():
        resource["Properties"] = {
            key: "s3://bucket/key" if key in {"CodeUri", "ContentUri", "DefinitionUri"} else value
            for key, value in resource.get("Properties", {}).items()
        }
    # Its managed policies are looked up only for functions that name one.
    result: dict[str, Any] = transform({**template, "Resources": resources}, {}, dict)
    return result


def stack(template: Mapping[str, Any], overrides: Mapping[str, str]) -> Stack:
    """A stack of a transformed template whose parameters are their defaults or the overrides."""
    declared = template["Parameters"]
    unknown = overrides.keys() - declared.keys()
    if unknown:
        raise KeyError(f"the template has no parameter {', '.join(sorted(unknown))}")
    parameters = {
        name: _typed(each["Type"], overrides.get(name, each.get("Default", "")))
        for name, each in declared.items()
    }
    resolver = _Resolver(parameters, template.get("Conditions", {}))
    return Stack(
        parameters,
        {
            name: resolver.resolve(resource)
            for name, resource in template["Resources"].items()
            if "Condition" not in resource or resolver.is_true(resource["Condition"])
        },
        resolver.resolve(template.get("Outputs", {})),
    )


def _typed(kind: str, value: object) -> object:
    return str(value).split(",") if kind == "CommaDelimitedList" else value


class _Resolver:
    def __init__(self, parameters: Mapping[str, Any], conditions: Mapping[str, Any]) -> None:
        self._parameters = parameters
        self._conditions = conditions
        self._intrinsics: dict[str, Callable[[Any], Any]] = {
            "Ref": self._ref,
            "Fn::GetAtt": lambda path: f"<{'.'.join(path)}>",
            "Fn::Sub": self._sub,
            "Fn::Join": lambda pair: pair[0].join(self.resolve(pair[1])),
            "Fn::If": lambda three: self.resolve(three[1 if self.is_true(three[0]) else 2]),
            "Fn::Equals": lambda pair: str(self.resolve(pair[0])) == str(self.resolve(pair[1])),
            "Fn::Not": lambda one: not self.resolve(one[0]),
            "Fn::And": lambda several: all(self.resolve(each) for each in several),
        }

    def is_true(self, condition: str) -> bool:
        return bool(self.resolve(self._conditions[condition]))

    def resolve(self, value: Any) -> Any:  # noqa: ANN401 (a template's values are of any type)
        if isinstance(value, list):
            return [self.resolve(each) for each in value]
        if not isinstance(value, Mapping):
            return value
        name = next(iter(value)) if len(value) == 1 else ""
        if name in self._intrinsics:
            return self._intrinsics[name](value[name])
        if name == "Condition" and isinstance(value[name], str):  # one inside another
            return self.is_true(value[name])
        if name.startswith("Fn::"):
            raise NotImplementedError(f"{name} is not known here: add it")
        return {key: self.resolve(each) for key, each in value.items()}

    def _ref(self, name: str) -> Any:  # noqa: ANN401
        if name in self._parameters:
            return self._parameters[name]
        return f"${{{name}}}" if name.startswith("AWS::") else f"<{name}>"

    def _sub(self, text: str) -> str:
        return PLACEHOLDER.sub(lambda match: str(self._ref(match[1])), text)
