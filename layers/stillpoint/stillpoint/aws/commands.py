"""Commands of Systems Manager: sent once, found again by their comment, and looked at.

Nothing here waits. A command may be for several instances: then one list shows it for all.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import batched
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from stillpoint.aws.client import client, error_code, translated
from stillpoint.aws.once import Once
from stillpoint.aws.telemetry import logger
from stillpoint.errors import AwsRefused
from stillpoint.scripts import (
    ScriptResult,
    Status,
    earliest,
    never_arrived,
    status_of,
    why_failed,
)
from stillpoint.tags import iso

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_ssm.type_defs import (
        CommandInvocationTypeDef,
        CommandPluginTypeDef,
        CommandTypeDef,
    )

DELIVERY_SECONDS = 60
"""How long the agent may take to get a command, from 30 (Systems Manager API Reference,
SendCommand)."""

_NODES = 50
"""Instances that one command may name, and invocations that one page holds (Systems Manager API
Reference, SendCommand and ListCommandInvocations)."""
_SHORT_OUTPUT = 2500
"""Characters of a step's output that a list tells at most (Systems Manager API Reference,
CommandPlugin)."""
_SHORTEST_STEP = 4


class Commands:
    """The commands at one look: each list is read once, and each command once.

    What is sent after that is not seen before the next look.
    """

    def __init__(self) -> None:
        """Read nothing yet."""
        self._listed = Once(_list)
        self._recent = Once(_list_recent)
        self._invocations = Once(_read_invocations)

    def find(
        self, instance_ids: Iterable[str], document: str, comment: str
    ) -> "dict[str, list[CommandTypeDef]]":
        """Return the commands with this comment by instance id, the first one first.

        If an answer was lost and one was sent twice, it is the first that took effect. Systems
        Manager keeps commands for 30 days, and shows a new one a moment late. An instance that the
        command of another names, too, is not asked about by itself, and none is if all commands of
        the document fit on one page.
        """
        found: dict[str, list[CommandTypeDef]] = {}
        recent: list[CommandTypeDef] | None = None
        for instance_id in instance_ids:
            if instance_id in found:
                continue
            if found:
                recent = self._recent((document, earliest(comment)))
            if recent is None:
                found[instance_id] = self.find_alone(instance_id, document, comment)
            else:
                found[instance_id] = _of(comment, (r for r in recent if instance_id in _ids(r)))
            peers = {each for row in found[instance_id] for each in _ids(row)}
            for peer in peers - found.keys():
                found[peer] = [row for row in found[instance_id] if peer in _ids(row)]
        return found

    def find_alone(self, instance_id: str, document: str, comment: str) -> "list[CommandTypeDef]":
        """Return the commands with this comment of one instance, asked about by itself."""
        return _of(comment, self._listed((instance_id, document, earliest(comment))))

    def decisive(self, commands: "Iterable[CommandTypeDef]", instance_id: str) -> ScriptResult:
        """Return what became of the first of some commands that was delivered, or of the last."""
        result = ScriptResult(Status.MISSING, instance_id=instance_id)
        for command in commands:
            result = self.look(command["CommandId"], instance_id)
            result = replace(result, sent_at=command["RequestedDateTime"])
            if result.delivered:
                break
        return result

    def send(
        self,
        instance_ids: Sequence[str],
        document: str,
        comment: str,
        parameters: Mapping[str, list[str]],
        *,
        delivery_seconds: int = DELIVERY_SECONDS,
    ) -> dict[str, str | AwsRefused]:
        """Run a document on instances, except on those to which a command with this comment went.

        Returns the command's id by instance id, or why Systems Manager refused it.
        """
        found = self.find(instance_ids, document, comment)
        new = [each for each in instance_ids if not found[each]]
        sent = submit(new, document, comment, parameters, delivery_seconds=delivery_seconds)
        return {
            each: sent[each] if each in sent else found[each][0]["CommandId"]
            for each in instance_ids
        }

    def look(self, command_id: str, instance_id: str) -> ScriptResult:
        """Return what has become of a command on an instance.

        Just after it was sent, Systems Manager may not know it yet: then it counts as running. Of
        a document with several steps, it is the first that failed, or else the last, that gives
        the exit code and the output. The output is cut at 24,000 characters, the error output at
        8,000 (Systems Manager API Reference, GetCommandInvocation).
        """
        invocation = self._invocations(command_id).get(instance_id)
        if invocation is None:
            return ScriptResult(Status.RUNNING, instance_id=instance_id, command_id=command_id)
        details = invocation.get("StatusDetails", "")
        status = status_of(invocation.get("Status", ""))
        result = ScriptResult(
            status,
            instance_id=instance_id,
            document=invocation.get("DocumentName", ""),
            command_id=command_id,
            delivered=not (status is Status.FAILED and never_arrived(details)),
        )
        if status is Status.RUNNING:
            return result
        steps = invocation.get("CommandPlugins", [])
        step = _deciding_step(steps)
        output = step.get("Output", "")
        said: Mapping[str, Any] = {}
        if status is Status.FAILED or len(output) >= _SHORT_OUTPUT:
            name = step.get("Name", "") if len(steps) > 1 else None
            said = _said(command_id, instance_id, name)
        result = replace(
            result,
            exit_code=said.get("ResponseCode", step.get("ResponseCode")),
            output=said.get("StandardOutputContent", output),
            error_output=said.get("StandardErrorContent", ""),
        )
        if status is Status.FAILED:
            return replace(result, detail=why_failed(details, result.exit_code))
        return result


def submit(
    instance_ids: Sequence[str],
    document: str,
    comment: str,
    parameters: Mapping[str, list[str]],
    *,
    delivery_seconds: int,
) -> dict[str, str | AwsRefused]:
    """Run a document on instances by one command; return its id, or the refusal, by instance id.

    `delivery_seconds` limits the delivery alone, not the run (Systems Manager API Reference,
    SendCommand). One that Systems Manager does not know makes it refuse all: then each gets a
    command of its own.
    """
    sent: dict[str, str | AwsRefused] = {}
    for some in batched(instance_ids, _NODES, strict=False):
        answer = _submit(some, document, comment, parameters, delivery_seconds)
        if isinstance(answer, AwsRefused) and len(some) > 1:
            for each in some:
                sent[each] = _submit([each], document, comment, parameters, delivery_seconds)
        else:
            sent |= dict.fromkeys(some, answer)
    return sent


def cancel(command_id: str, instance_ids: Collection[str]) -> None:
    """Ask for the end of a command on instances; one that is refused goes on."""
    try:
        with translated(f"cancelling the command {command_id}"):
            client("ssm").cancel_command(CommandId=command_id, InstanceIds=sorted(instance_ids))
    except AwsRefused:
        logger.exception("A command could not be cancelled", extra={"command": command_id})


def _submit(
    instance_ids: Sequence[str],
    document: str,
    comment: str,
    parameters: Mapping[str, list[str]],
    delivery_seconds: int,
) -> str | AwsRefused:
    try:
        with translated(f"running {document} on {', '.join(instance_ids[:3])}"):
            answer = client("ssm").send_command(
                InstanceIds=list(instance_ids),
                DocumentName=document,
                Comment=comment,
                Parameters=dict(parameters),
                TimeoutSeconds=delivery_seconds,
            )
    except AwsRefused as error:
        return error
    command_id: str = answer["Command"]["CommandId"]
    return command_id


def _of(comment: str, rows: "Iterable[CommandTypeDef]") -> "list[CommandTypeDef]":
    """Return those of some commands that have a comment, the first one first."""
    named = [row for row in rows if row.get("Comment") == comment]
    return sorted(named, key=lambda row: row["RequestedDateTime"])


def _ids(row: "CommandTypeDef") -> Sequence[str]:
    return row.get("InstanceIds", ())


def _list(question: "tuple[str, str, datetime | None]") -> "list[CommandTypeDef]":
    """Read the commands of an instance and a document since a moment."""
    instance_id, document, since = question
    with translated(f"reading the commands of {instance_id}"):
        pages = client("ssm").get_paginator("list_commands")
        return [
            row
            for page in pages.paginate(InstanceId=instance_id, **_filters(document, since))
            for row in page["Commands"]
        ]


def _list_recent(question: "tuple[str, datetime | None]") -> "list[CommandTypeDef] | None":
    """Read the commands of a document since a moment, if they fit on one page."""
    document, since = question
    with translated(f"reading the commands of {document}"):
        page = client("ssm").list_commands(MaxResults=_NODES, **_filters(document, since))
    return None if page.get("NextToken") else list(page["Commands"])


def _filters(document: str, since: "datetime | None") -> dict[str, Any]:
    # A document of another account is named by its ARN, which the filter does not know.
    named = [] if ":" in document else [{"key": "DocumentName", "value": document}]
    recent = [{"key": "InvokedAfter", "value": iso(since)}] if since else []
    return {"Filters": [*named, *recent]} if named or recent else {}


def _read_invocations(command_id: str) -> "dict[str, CommandInvocationTypeDef]":
    """Read what has become of a command, by instance id; nothing if it is not known yet."""
    with translated(f"reading the command {command_id}"):
        try:
            pages = client("ssm").get_paginator("list_command_invocations")
            return {
                row["InstanceId"]: row
                for page in pages.paginate(
                    CommandId=command_id, Details=True, PaginationConfig={"PageSize": _NODES}
                )
                for row in page["CommandInvocations"]
            }
        except ClientError as error:
            if error_code(error) != "InvalidCommandId":
                raise
            return {}


def _deciding_step(steps: "Sequence[CommandPluginTypeDef]") -> "CommandPluginTypeDef":
    """Return the first step that failed, or else the last one; an empty one if there is none."""
    nothing: CommandPluginTypeDef = {}
    failed = (step for step in steps if status_of(step.get("Status", "")) is Status.FAILED)
    return next(failed, steps[-1] if steps else nothing)


def _said(command_id: str, instance_id: str, step: str | None) -> Mapping[str, Any]:
    """Return what a step wrote, or the only one; nothing if Systems Manager does not tell.

    It tells nothing of a step whose name is shorter than four characters unless it is the only
    one (Systems Manager API Reference, GetCommandInvocation).
    """
    if step is not None and len(step) < _SHORTEST_STEP:
        return {}
    name = {} if step is None else {"PluginName": step}
    with translated(f"reading the output of the command {command_id}"):
        try:
            answer: Mapping[str, Any] = client("ssm").get_command_invocation(
                CommandId=command_id, InstanceId=instance_id, **name
            )
        except ClientError as error:
            if error_code(error) not in {"InvocationDoesNotExist", "InvalidPluginName"}:
                raise
            return {}
    return answer
