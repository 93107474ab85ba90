"""What the template gives to the functions: their environment, with the parameters' defaults."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

TEMPLATE = Path(__file__).resolve().parents[2] / "template.yaml"
STACK_NAME = "stillpoint"
FREEZE_DOCUMENT = "stillpoint-FreezeDocument"
MACHINE_ARN = "arn:aws:states:eu-west-1:000000000000:stateMachine:stillpoint-backup"
_NAMED = {"BackupStateMachine": MACHINE_ARN, "FreezeDocument": FREEZE_DOCUMENT}


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms: `!Ref X` becomes {"Ref": "X"}, and so on."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    match node:
        case yaml.ScalarNode():
            return {suffix: loader.construct_scalar(node)}
        case yaml.SequenceNode():
            return {suffix: loader.construct_sequence(node, deep=True)}
        case _:
            raise TypeError(f"!{suffix} before a mapping")


_Loader.add_multi_constructor("!", _short_form)


@cache
def _template() -> dict[str, Any]:
    text = TEMPLATE.read_text(encoding="utf-8")
    template: dict[str, Any] = yaml.load(text, _Loader)  # (a SafeLoader)
    return template


def environment_of(function: str, resources: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of a function such as `plan_backups`.

    `resources` are the values of what the variables refer to, by logical id; the state
    machine and the document that freezes have names in any case.
    """
    template = _template()
    logical_id = "".join(word.title() for word in function.split("_")) + "Function"
    own = template["Resources"][logical_id]["Properties"].get("Environment", {})
    shared = template["Globals"]["Function"]["Environment"]
    values = shared["Variables"] | own.get("Variables", {})
    return {name: _resolved(value, {**_NAMED, **resources}) for name, value in values.items()}


def _resolved(value: object, resources: Mapping[str, str]) -> str:
    match value:
        case {"Ref": "AWS::StackName"}:
            return STACK_NAME
        case {"Ref": str(name)} if name in resources:
            return resources[name]
        case {"Ref": str(name)}:
            return str(_template()["Parameters"][name]["Default"])
        case {"Join": [_, reference]}:  # of a parameter that is a list
            return _resolved(reference, resources)
        case _:
            return str(value)
