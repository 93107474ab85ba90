"""The template as SAM transforms it, and its values as CloudFormation fills them in."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from samtranslator.translator.transform import (  # type: ignore[import-untyped]
    transform,
)
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).resolve().parents[1]
TEMPLATE: Final = ROOT / "template.yaml"
DEFINITION: Final = ROOT / "statemachine" / "backup.asl.json"
PLACEHOLDER: Final = re.compile(r"\$\{([^}!]+)\}")
# The properties that name a folder or a file, which is uploaded before the transformation.
_UPLOADED: Final = frozenset({"CodeUri", "ContentUri", "DefinitionUri"})

type Resource = Mapping[str, Any]


class UnsupportedTemplate(ValueError):
    """The template has something that this sandbox does not know yet: it must learn it."""


class Naming(Protocol):
    """What Ref and Fn::GetAtt give for all that is no parameter."""

    def ref(self, name: str) -> Any:
        """Return the value of a resource, by logical id, or of a pseudo parameter."""

    def attribute(self, name: str, attribute: str) -> Any:
        """Return an attribute of a resource, by logical id."""


@dataclass(frozen=True, slots=True)
class FilledTemplate:
    """The parameters' values, and by logical id the resources with their properties filled in."""

    parameters: Mapping[str, Any]
    resources: Mapping[str, Resource]

    def of_type(self, kind: str) -> dict[str, Mapping[str, Any]]:
        """Return the properties of every resource of a type, by logical id."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self.resources.items()
            if resource["Type"] == kind
        }

    def properties(self, name: str) -> Mapping[str, Any]:
        """Return the properties of a resource. Raises KeyError."""
        properties: Mapping[str, Any] = self.resources[name]["Properties"]
        return properties


def source() -> dict[str, Any]:
    """Return the template as it is written, the short forms of intrinsic functions spelled out."""
    parsed: dict[str, Any] = yaml_parse(TEMPLATE.read_text(encoding="utf-8"))
    return parsed


def uploads(template: Mapping[str, Any]) -> dict[str, Path]:
    """Return by logical id where the code of a function or the definition of a machine lies."""
    return {
        name: ROOT / value
        for name, resource in template["Resources"].items()
        for key, value in resource.get("Properties", {}).items()
        if key in _UPLOADED
    }


def transformed(template: Mapping[str, Any]) -> dict[str, Any]:
    """Return what SAM makes of a template once its folders are uploaded."""
    resources = {name: dict(resource) for name, resource in template["Resources"].items()}
    for resource in resources.values():
        resource["Properties"] = {
            key: "s3://bucket/key" if key in _UPLOADED else value
            for key, value in resource.get("Properties", {}).items()
        }
    # Its managed policies are looked up only for functions that name one.
    result: dict[str, Any] = transform({**template, "Resources": resources}, {}, dict)
    return result


class Resolver:
    """Fills the values of a stack into its transformed template.

    A parameter has its default or what `overrides` say; KeyError is raised for one that the
    template does not have. `resources` are those that the stack has, not yet filled in.
    """

    def __init__(
        self, template: Mapping[str, Any], overrides: Mapping[str, str], naming: Naming
    ) -> None:
        self._conditions = template.get("Conditions", {})
        self._naming = naming
        self._intrinsics: dict[str, Callable[[Any], Any]] = {
            "Ref": self._ref,
            "Fn::GetAtt": self._attribute,
            "Fn::Sub": self._sub,
            "Fn::Join": lambda pair: pair[0].join(self.resolve(pair[1])),
            "Fn::If": lambda three: self.resolve(three[1 if self._is_true(three[0]) else 2]),
            "Fn::Equals": lambda pair: str(self.resolve(pair[0])) == str(self.resolve(pair[1])),
            "Fn::Not": lambda one: not self.resolve(one[0]),
            "Fn::And": lambda several: all(self.resolve(each) for each in several),
        }
        self.parameters = _parameters(template["Parameters"], overrides)
        self.resources: dict[str, Resource] = {
            name: resource
            for name, resource in template["Resources"].items()
            if "Condition" not in resource or self._is_true(resource["Condition"])
        }

    def resolve(self, value: Any) -> Any:
        """Return a part of the template with every intrinsic function replaced by its value.

        Raises UnsupportedTemplate for an intrinsic function that is not known here.
        """
        if isinstance(value, list):
            return [self.resolve(each) for each in value if not self._is_no_value(each)]
        if not isinstance(value, Mapping):
            return value
        name = next(iter(value)) if len(value) == 1 else ""
        if name in self._intrinsics:
            return self._intrinsics[name](value[name])
        if name == "Condition" and isinstance(value[name], str):  # one inside another
            return self._is_true(value[name])
        if name.startswith("Fn::"):
            raise UnsupportedTemplate(f"the intrinsic function {name}")
        return {
            key: self.resolve(each) for key, each in value.items() if not self._is_no_value(each)
        }

    def _is_true(self, condition: str) -> bool:
        return bool(self.resolve(self._conditions[condition]))

    def _is_no_value(self, value: Any) -> bool:
        if isinstance(value, Mapping) and "Fn::If" in value:
            condition, yes, no = value["Fn::If"]
            return self._is_no_value(yes if self._is_true(condition) else no)
        return bool(value == {"Ref": "AWS::NoValue"})

    def _ref(self, name: str) -> Any:
        return self.parameters[name] if name in self.parameters else self._naming.ref(name)

    def _attribute(self, path: str | Iterable[str]) -> Any:
        name, _, attribute = (path if isinstance(path, str) else ".".join(path)).partition(".")
        return self._naming.attribute(name, attribute)

    def _sub(self, text: str | list[Any]) -> str:
        template, values = (text, {}) if isinstance(text, str) else text

        def value(match: re.Match[str]) -> str:
            key = match[1]
            if key in values:
                return str(self.resolve(values[key]))
            return str(self._attribute(key) if "." in key else self._ref(key))

        return PLACEHOLDER.sub(value, template)


def _parameters(
    declared: Mapping[str, Mapping[str, Any]], overrides: Mapping[str, str]
) -> dict[str, Any]:
    if unknown := overrides.keys() - declared.keys():
        raise KeyError(f"the template has no parameter {', '.join(sorted(unknown))}")
    texts = {
        name: str(overrides.get(name, each.get("Default", ""))) for name, each in declared.items()
    }
    return {
        name: text.split(",") if declared[name]["Type"] == "CommaDelimitedList" else text
        for name, text in texts.items()
    }
