"""Scripts in the guest: the documents that hold them, and what became of running them."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, assert_never

from stillpoint.tags import printable

CONSENT_TAG = "DLMScriptsAccess"
"""The tag that lets a document be run as a script; its value is `true` (EBS User Guide, "Automate
application-consistent snapshots with Data Lifecycle Manager")."""
THAWED_BY_ITSELF = 203
"""The exit code of a post-script that came after the timer in the guest."""

_SCHEMA = "2.2"
# EBS User Guide, "Automate application-consistent snapshots with Data Lifecycle Manager".
_EXIT_CODES = {
    201: "the pre-script failed",
    202: "the post-script failed",
    THAWED_BY_ITSELF: "its own timer let the application go on before the post-script came",
    204: "a pre-script came while a post-script was expected",
    205: "a post-script came while no pre-script had been run",
    206: "the application was not ready for it",
}
# Systems Manager User Guide, "Understanding command statuses"; without their spaces.
_DETAILS = {
    "DeliveryTimedOut": "it was not delivered in time: the agent did not ask for it",
    "ExecutionTimedOut": "it did not end in time",
    "Undeliverable": "it could not be delivered: the agent does not answer",
    "Terminated": "Systems Manager ended it",
    "Cancelled": "it was cancelled",
    "InvalidPlatform": "the document is not for the platform of the instance",
    "AccessDenied": "the instance or the stack lacks the permission for it",
}
_TOO_SMALL_FOR_VSS = frozenset(
    f"{family}.{size}" for family in ("t2", "t3", "t3a") for size in ("nano", "micro")
)
_NOT_DELIVERED = frozenset({"DeliveryTimedOut", "Undeliverable"})
_OCCURRENCE = re.compile(r"-([0-9]{8}T[0-9]{6}Z)(?:-[0-9]+)? ")
_LAST_LINES = 3
_LAST_CHARACTERS = 300


class Stage(StrEnum):
    """What a document is asked to do: the values of its parameter `command`."""

    PRE_SCRIPT = "pre-script"
    POST_SCRIPT = "post-script"
    DRY_RUN = "dry-run"


class Status(StrEnum):
    """What has become of a command; `missing` if it was never sent."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    MISSING = "missing"


_VALUES = sorted(stage.value for stage in Stage)


@dataclass(frozen=True, slots=True)
class ScriptProblems:
    """Why scripts and freezing cannot work on an instance, each in words, or empty."""

    script_problem: str = ""
    not_managed: str = ""
    freeze_problem: str = ""


@dataclass(frozen=True, slots=True)
class ScriptResult:
    """What became of a document that was run on an instance.

    `exit_code` is None until it is known, or if the command never came to an end of its own.
    `detail` says in words why it failed, `output` and `error_output` are what it wrote.
    `delivered` is False if it failed because the agent did not take the command, or was gone before
    it could say what became of it. `sent_at` is when it was asked for, if that was looked up.
    """

    status: Status
    exit_code: int | None = None
    detail: str = ""
    instance_id: str = ""
    document: str = ""
    command_id: str = ""
    output: str = ""
    error_output: str = ""
    delivered: bool = True
    sent_at: datetime | None = None

    @property
    def sentence(self) -> str:
        """What became of it, for a person who has to see to it."""
        subject = f"The script document {self.document} on {self.instance_id}"
        command = f" Command: {self.command_id}." if self.command_id else ""
        match self.status:
            case Status.MISSING:
                return f"{subject} was not run."
            case Status.RUNNING:
                return f"{subject} is running.{command}"
            case Status.SUCCEEDED:
                return f"{subject} succeeded.{command}"
            case Status.FAILED:
                said = last_lines(self.error_output or self.output).rstrip(".")
                quoted = f" Its last words: {said}." if said else ""
                why = self.detail or "Systems Manager does not say why"
                return f"{subject} failed: {why}.{quoted}{command}"
            case _:
                assert_never(self.status)


def execution_id(execution: str) -> str:
    """Return the UUID that a document gets as `executionId`: always the same for an execution."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"stillpoint:{execution}"))


def comment_of(execution: str, stage: str) -> str:
    """Return what a command is known by: SendCommand has no client token, a comment has to do.

    It has at most 100 characters (Systems Manager API Reference, SendCommand), and an execution's
    name at most 80.
    """
    return f"{execution} {stage}"


def earliest(comment: str) -> datetime | None:
    """Return a moment before any command with this comment was sent, or None if it does not say.

    An execution's name holds its occurrence, and no backup begins before that. Systems Manager
    keeps commands for a month; without this, each look would read all of them.
    """
    match = _OCCURRENCE.search(comment)
    if match is None:
        return None
    return datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) - timedelta(hours=1)


def status_of(status: str) -> Status:
    """Return what a command's status in Systems Manager means; an unknown one is no end.

    `Pending`, `InProgress`, `Delayed` and `Cancelling` may still change.
    """
    if status == "Success":
        return Status.SUCCEEDED
    return Status.FAILED if status in {"Failed", "TimedOut", "Cancelled"} else Status.RUNNING


def never_arrived(details: str) -> bool:
    """Return whether these status details say that the agent never answered.

    A command that expires while it runs, because the agent is gone, counts as not delivered, too
    (Systems Manager API Reference, Command).
    """
    return details.replace(" ", "") in _NOT_DELIVERED


def why_failed(details: str, exit_code: int | None) -> str:
    """Return in words why a command failed.

    A negative exit code is Systems Manager's own for a command that ended in another way.
    """
    word = details.replace(" ", "")
    if word != "Failed":
        return _DETAILS.get(word, f"Systems Manager calls it {printable(details)}")
    if exit_code is None or exit_code < 0:
        return "it did not come to an end of its own"
    words = _EXIT_CODES.get(exit_code)
    return f"{words} (exit code {exit_code})" if words else f"its exit code is {exit_code}"


def last_lines(text: str) -> str:
    """Return the last lines of what a command wrote, on one line and fit for a message."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and lines[-1].startswith("failed to run commands: exit status"):
        del lines[-1]  # the agent adds this line
    told = " / ".join(lines[-_LAST_LINES:])
    return printable(told[-_LAST_CHARACTERS:], _LAST_CHARACTERS)


def document_problem(
    description: Mapping[str, Any], content: Mapping[str, Any], tags: Mapping[str, str]
) -> str:
    """Return why a document cannot be run as a script, in words, or an empty text.

    `description` is what DescribeDocument says of it, `content` what is in it. A script follows
    the convention of Amazon Data Lifecycle Manager (EBS User Guide, "Automate
    application-consistent snapshots with Data Lifecycle Manager").
    """
    kind = description.get("DocumentType", "")
    if kind != "Command":
        return f"it is of the type {kind or 'unknown'}, it has to be a Command document"
    schema = str(content.get("schemaVersion", ""))
    if schema != _SCHEMA:
        return f"its schemaVersion is {schema or 'missing'}, it has to be {_SCHEMA}"
    parameters = content.get("parameters")
    problem = _parameters_problem(parameters if isinstance(parameters, Mapping) else {})
    if problem:
        return problem
    if tags.get(CONSENT_TAG) != "true":
        return f"it may not be run as a script without the tag {CONSENT_TAG} with the value true"
    return ""


def platform_problem(description: Mapping[str, Any], platform: str) -> str:
    """Return in words that a document is for other platforms than this one, or an empty text."""
    platforms = description.get("PlatformTypes") or [platform]
    if platform in platforms:
        return ""
    return f"it is for {' and '.join(platforms)}, and the instance runs {platform}"


def freeze_problem(platform: str, instance_type: str) -> str:
    """Return in words why a running instance cannot be frozen, or an empty text.

    VSS snapshots are not supported on the nano and micro sizes of T2, T3 and T3a (EC2 User Guide,
    "Prerequisites to create Windows VSS based EBS snapshots").
    """
    if platform == "Windows" and instance_type in _TOO_SMALL_FOR_VSS:
        return f"a {instance_type} is too small for VSS, which a freeze of Windows needs"
    if platform in {"", "Linux", "Windows"}:
        return ""
    return f"{printable(platform)} cannot be frozen, only Linux and Windows can"


def _parameters_problem(parameters: Mapping[str, Any]) -> str:
    for name in ("executionId", "command"):
        parameter = parameters.get(name)
        if not isinstance(parameter, Mapping):
            return f"it lacks the parameter {name}"
        if parameter.get("type") != "String":
            return f"its parameter {name} has to be of the type String"
    allowed = parameters["command"].get("allowedValues")
    if not isinstance(allowed, list) or sorted(map(str, allowed)) != _VALUES:
        return (
            "its parameter command has to have exactly the allowedValues pre-script, post-script"
            " and dry-run"
        )
    return ""
