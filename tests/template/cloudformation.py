"""Stacks of the transformed template, in which every reference can be read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.template import FilledTemplate, Resolver


@dataclass(frozen=True, slots=True)
class Stack(FilledTemplate):
    """A stack of the template.

    In its resources' properties, a parameter is its value, a resource `<LogicalId>`, an attribute
    `<LogicalId.Attribute>`, and a pseudo parameter stays what it is in a Sub: `${AWS::Partition}`.
    """

    outputs: Mapping[str, Any]

    def given(self, parameter: str) -> bool:
        """Whether a parameter that is a list names anything."""
        return any(self.parameters[parameter])


class Recorder(dict[str, str]):
    """Texts by name that remember what they were asked for."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        super().__init__(texts)
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401
        self.asked.add(key)
        return super().get(key, default)


def stack(template: Mapping[str, Any], overrides: Mapping[str, str]) -> Stack:
    """A stack of a transformed template whose parameters are their defaults or the overrides."""
    resolver = Resolver(template, overrides, _Readable())
    resources = {name: resolver.resolve(each) for name, each in resolver.resources.items()}
    return Stack(resolver.parameters, resources, resolver.resolve(template.get("Outputs", {})))


class _Readable:
    def ref(self, name: str) -> str:
        return f"${{{name}}}" if name.startswith("AWS::") else f"<{name}>"

    def attribute(self, name: str, attribute: str) -> str:
        return f"<{name}.{attribute}>"
