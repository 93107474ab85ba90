"""Documents of Systems Manager: whether they are there, and fit to be run as scripts."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from stillpoint.aws.client import client, error_code, translated
from stillpoint.errors import AwsRefused
from stillpoint.scripts import document_problem, platform_problem


class Documents:
    """The documents of this account and Region, each read once."""

    def __init__(self) -> None:
        self._descriptions: dict[str, Mapping[str, Any] | str] = {}
        self._problems: dict[str, str] = {}

    def scripts_problem(self, names: Sequence[str], platform: str) -> str:
        """Return in words why one of the documents cannot be run as a script."""
        for name in dict.fromkeys(names):
            problem = self._script_problem(name, platform)
            if problem:
                return f"{name}: {problem}"
        return ""

    def absence(self, name: str) -> str:
        """Return in words that a document cannot be found, or an empty text."""
        description = self._description(name)
        return f"{name}: {description}" if isinstance(description, str) else ""

    def _script_problem(self, name: str, platform: str) -> str:
        description = self._description(name)
        if isinstance(description, str):
            return description
        if name not in self._problems:
            self._problems[name] = _document_problem(name, description)
        return self._problems[name] or (platform_problem(description, platform) if platform else "")

    def _description(self, name: str) -> Mapping[str, Any] | str:
        """Return what Systems Manager says of a document, or why it says nothing."""
        if name not in self._descriptions:
            self._descriptions[name] = _described(name)
        return self._descriptions[name]


def _described(name: str) -> Mapping[str, Any] | str:
    try:
        with translated(f"reading the document {name}"):
            description: Mapping[str, Any] = client("ssm").describe_document(Name=name)["Document"]
    except AwsRefused as error:
        return _why_not_read(error)
    return description


def _document_problem(name: str, description: Mapping[str, Any]) -> str:
    try:
        content = json.loads(_content(name))
        tags = _tags(description.get("Name", name))
    except AwsRefused as error:
        return _why_not_read(error)
    except ValueError:
        content, tags = None, {}
    if not isinstance(content, Mapping):
        return "its content is no JSON object"
    return document_problem(description, content, tags)


def _content(name: str) -> str:
    """Return what is in a document, as JSON whatever it was written in."""
    with translated(f"reading the document {name}"):
        text: str = client("ssm").get_document(Name=name, DocumentFormat="JSON")["Content"]
    return text


def _tags(name: str) -> dict[str, str]:
    with translated(f"reading the tags of the document {name}"):
        rows = client("ssm").list_tags_for_resource(ResourceType="Document", ResourceId=name)
    return {row["Key"]: row["Value"] for row in rows["TagList"]}


def _why_not_read(error: AwsRefused) -> str:
    if refusal_code(error) == "InvalidDocument":
        return "there is no such document in this account and Region"
    return f"it cannot be read: {error}"


def refusal_code(error: AwsRefused) -> str:
    """Return the code that AWS refused a call with, or an empty text if the SDK did."""
    cause = error.__cause__
    return error_code(cause) if isinstance(cause, ClientError) else ""
