"""Documents: what is in one, and how SSM describes it."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import yaml

from sandbox.ec2.moments import instant
from sandbox.service_calls import ServiceError
from sandbox.ssm.errors import error, invalid

# SSM API Reference, CreateDocument: Name, and the prefixes that are AWS's own.
_NAME = re.compile(r"[a-zA-Z0-9_\-.]{3,128}")
_RESERVED = ("aws", "amazon", "amzn")
# Systems Manager quotas: a document holds 64 KB at most.
_MAX_SIZE = 64 * 1024
_SCHEMAS = ("1.2", "2.0", "2.2")
_TYPES = ("String", "StringList", "Boolean", "Integer", "MapList", "StringMap")
_REFERENCE = re.compile(r"\{\{\s*([A-Za-z0-9_]+)\s*\}\}")
_PLATFORMS: Mapping[str, tuple[str, ...]] = {
    "aws:runShellScript": ("Linux", "MacOS"),
    "aws:runPowerShellScript": ("Windows",),
}
# AWS-RunShellScript: "executionTimeout ... The default is 3600 (1 hour)".
DEFAULT_EXECUTION_SECONDS = 3600.0


class Role(StrEnum):
    """What a document is for."""

    FREEZE = "freeze"
    SCRIPT = "script"
    OTHER = "other"


_ROLES = {Role.FREEZE: {"freeze", "thaw"}, Role.SCRIPT: {"pre-script", "post-script"}}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a document: its name, its plugin and the plugin's inputs."""

    name: str
    plugin: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Content:
    """What a document says, parsed: its parameters by name and its steps in order."""

    body: Mapping[str, Any]
    schema: str
    parameters: Mapping[str, Mapping[str, Any]]
    steps: tuple[Step, ...]

    def values(self, given: Mapping[str, list[str]]) -> dict[str, list[str]]:
        """Return the value of every parameter; raise InvalidParameters for unsound ones."""
        unknown = sorted(given.keys() - self.parameters.keys())
        if unknown:
            raise error("InvalidParameters", f"Unknown parameters: {', '.join(unknown)}.")
        return {name: _value(name, rule, given.get(name)) for name, rule in self.parameters.items()}

    def execution_seconds(self, values: Mapping[str, list[str]]) -> float:
        """Return after how many seconds the agent ends the first step."""
        asked = str(self.steps[0].inputs.get("timeoutSeconds", ""))
        if match := _REFERENCE.fullmatch(asked):
            asked = "".join(values.get(match[1], []))
        return float(asked) if asked.isdecimal() else DEFAULT_EXECUTION_SECONDS

    @property
    def role(self) -> Role:
        """Return what the document is for, by the values that its `command` may have."""
        rule = self.parameters.get("command", {})
        allowed = {str(value) for value in rule.get("allowedValues") or ()}
        return next((role for role, needs in _ROLES.items() if needs <= allowed), Role.OTHER)

    @property
    def platforms(self) -> tuple[str, ...]:
        """Return the platforms on which at least one step runs."""
        found = {name for step in self.steps for name in _PLATFORMS.get(step.plugin, ("Linux",))}
        return tuple(sorted(found))


@dataclass(slots=True)
class Version:
    """One version of a document, as it was written."""

    text: str
    form: str
    content: Content
    created_at: float


@dataclass(slots=True)
class Document:
    """A document with its versions by number, counted from 1."""

    name: str
    kind: str
    owner: str
    versions: dict[int, Version]
    default: int = 1
    tags: dict[str, str] = field(default_factory=dict)

    def version(self, wanted: str | None) -> tuple[int, Version]:
        """Return a version by number, `$DEFAULT` or `$LATEST`; raise InvalidDocumentVersion."""
        numbers = {None: self.default, "$DEFAULT": self.default, "$LATEST": max(self.versions)}
        number = numbers.get(wanted, int(wanted) if wanted and wanted.isdecimal() else 0)
        if number not in self.versions:
            raise error("InvalidDocumentVersion", f"The document has no version {wanted}.")
        return number, self.versions[number]

    def description(self, number: int) -> dict[str, Any]:
        """Return a version as DescribeDocument shows it."""
        version = self.versions[number]
        body = version.content.body
        return {
            "Hash": hashlib.sha256(version.text.encode()).hexdigest(),
            "HashType": "Sha256",
            "Name": self.name,
            "Owner": self.owner,
            "CreatedDate": instant(version.created_at),
            "Status": "Active",
            "DocumentVersion": str(number),
            "Description": body.get("description", ""),
            "Parameters": [
                {
                    "Name": name,
                    "Type": "StringList" if rule["type"] == "StringList" else "String",
                    "Description": str(rule.get("description", "")),
                    **({"DefaultValue": _text(rule["default"])} if "default" in rule else {}),
                }
                for name, rule in version.content.parameters.items()
            ],
            "PlatformTypes": list(version.content.platforms),
            "DocumentType": self.kind,
            "SchemaVersion": version.content.schema,
            "LatestVersion": str(max(self.versions)),
            "DefaultVersion": str(self.default),
            "DocumentFormat": version.form,
            "Tags": [{"Key": key, "Value": value} for key, value in sorted(self.tags.items())],
        }


def rendered(version: Version, form: str) -> str:
    """Return a version's text as JSON or YAML; as it was written if that is its form."""
    if form == version.form:
        return version.text
    if form == "JSON":
        return json.dumps(version.content.body, indent=2)
    return str(yaml.safe_dump(dict(version.content.body), sort_keys=False))


def check_name(name: str) -> None:
    """Raise ValidationException for a name that a document cannot have."""
    if not _NAME.fullmatch(name) or name.lower().startswith(_RESERVED):
        raise invalid(f"Value '{name}' at 'name' is not a document's name")


def parse(text: str, form: str) -> Content:
    """Return what a document says.

    Raises ServiceError: MaxDocumentSizeExceeded, InvalidDocumentSchemaVersion or
    InvalidDocumentContent.
    """
    if len(text.encode()) > _MAX_SIZE:
        raise error("MaxDocumentSizeExceeded", "The size limit of a document is 64 KB.")
    try:
        body = json.loads(text) if form == "JSON" else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as failure:
        raise _unsound(f"The content is not {form}: {failure}") from failure
    if not isinstance(body, dict):
        raise _unsound("The content is not an object.")
    schema = str(body.get("schemaVersion", ""))
    if schema not in _SCHEMAS:
        message = f"The schema version {schema!r} is not supported."
        raise error("InvalidDocumentSchemaVersion", message)
    parameters = body.get("parameters") or {}
    for name, rule in parameters.items():
        _check_parameter(name, rule)
    steps = _steps(body, schema)
    used = set(_REFERENCE.findall(json.dumps([dict(step.inputs) for step in steps])))
    if undeclared := sorted(used - parameters.keys()):
        raise _unsound(f"Undeclared parameters: {', '.join(undeclared)}.")
    return Content(body, schema, parameters, steps)


def _steps(body: Mapping[str, Any], schema: str) -> tuple[Step, ...]:
    """Return the steps; there is at least one."""
    if schema == "1.2":
        plugins = body.get("runtimeConfig") or {}
        rows = [
            (name, name, (config.get("properties") or [{}])[0]) for name, config in plugins.items()
        ]
    else:
        rows = [
            (row.get("name"), row.get("action"), row.get("inputs") or {})
            for row in body.get("mainSteps") or []
        ]
    if not rows or not all(name and plugin for name, plugin, _ in rows):
        raise _unsound("A document has at least one step, each with a name and an action.")
    names = [name for name, _, _ in rows]
    if len(set(names)) != len(names):
        raise _unsound("The names of a document's steps are unique.")
    return tuple(Step(str(name), str(plugin), inputs) for name, plugin, inputs in rows)


def _check_parameter(name: str, rule: object) -> None:
    """Raise InvalidDocumentContent for an unsound parameter."""
    if not isinstance(rule, dict) or rule.get("type") not in _TYPES:
        raise _unsound(f"The parameter {name} has no type of {', '.join(_TYPES)}.")
    allowed = rule.get("allowedValues")
    if "default" in rule and allowed and rule["default"] not in allowed:
        raise _unsound(f"The default of the parameter {name} is not one of its allowedValues.")


def _value(name: str, rule: Mapping[str, Any], given: list[str] | None) -> list[str]:
    """Return the value of one parameter; raise InvalidParameters."""
    if given is None:
        if "default" not in rule:
            raise error("InvalidParameters", f"The parameter {name} is required.")
        default = rule["default"]
        return [_text(each) for each in default] if isinstance(default, list) else [_text(default)]
    if rule["type"] != "StringList" and len(given) != 1:
        raise error("InvalidParameters", f"The parameter {name} takes one value.")
    allowed = [_text(each) for each in rule.get("allowedValues") or []]
    pattern = rule.get("allowedPattern")
    for value in given:
        if (allowed and value not in allowed) or (pattern and not re.search(pattern, value)):
            message = f"Parameter {name} has an invalid value: {value!r}"
            raise error("InvalidParameters", f"{message}; allowed: {allowed or pattern}.")
    return list(given)


def _text(value: object) -> str:
    """Return a value of a document as SSM hands it to a script."""
    return value if isinstance(value, str) else json.dumps(value)


def _unsound(message: str) -> ServiceError:
    """Return the error for content that is no document."""
    return error("InvalidDocumentContent", message)
