"""Commands in the guest, by Systems Manager: scripts are run and looked at, and agents are found.

Nothing here waits: a command is sent once, and looked at whenever somebody asks.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import batched
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from stillpoint.aws.client import client, error_code, translated
from stillpoint.aws.documents import Documents, refusal_code
from stillpoint.aws.telemetry import logger
from stillpoint.errors import AwsRefused
from stillpoint.instance import Instance
from stillpoint.scripts import (
    ScriptProblems,
    ScriptResult,
    Stage,
    Status,
    comment_of,
    earliest,
    execution_id,
    freeze_problem,
    never_arrived,
    status_of,
    why_failed,
)
from stillpoint.tags import iso

if TYPE_CHECKING:
    from mypy_boto3_ssm.type_defs import (
        CommandInvocationTypeDef,
        CommandPluginTypeDef,
        CommandTypeDef,
        InstanceInformationTypeDef,
    )

DELIVERY_SECONDS = 60
"""How long the agent may take to get a command, from 30 (Systems Manager API Reference,
SendCommand)."""
VSS_DOCUMENT = "AWSEC2-VssInstallAndSnapshot"
"""AWS's own document that makes a consistent AMI of a running Windows instance (EC2 User Guide,
"Use Systems Manager command documents to create VSS based snapshots")."""

_NODES = 50
"""Instances that one page holds (Systems Manager API Reference, DescribeInstanceInformation)."""

_SHORTEST_STEP = 4


def find_command(instance_id: str, document: str, comment: str) -> str | None:
    """Return the id of the command with this comment, or None if none was sent.

    If an answer was lost and it was sent twice, it is the first: that one took effect. Systems
    Manager keeps commands for 30 days, and shows a new one a moment late.
    """
    found = _commands(instance_id, document, comment)
    return found[0]["CommandId"] if found else None


def send(
    instance_id: str,
    document: str,
    comment: str,
    parameters: Mapping[str, list[str]],
    *,
    delivery_seconds: int = DELIVERY_SECONDS,
) -> str:
    """Run a document on an instance, unless a command has this comment; return the command's id.

    `delivery_seconds` limits the delivery alone, not the run (Systems Manager API Reference,
    SendCommand). Raises AwsRefused if Systems Manager does not know the instance, or it is not
    running, or the document or its parameters are not right.
    """
    earlier = find_command(instance_id, document, comment)
    if earlier is not None:
        return earlier
    return _submit(instance_id, document, comment, parameters, delivery_seconds)


def look(command_id: str, instance_id: str) -> ScriptResult:
    """Return what has become of a command on an instance.

    Just after it was sent, Systems Manager may not know it yet: then it counts as running. Of a
    document with several steps, it is the first that failed, or else the last, that gives the exit
    code and the output. The output is cut at 24,000 characters, the error output at 8,000 (Systems
    Manager API Reference, GetCommandInvocation).
    """
    invocation = _invocation(command_id, instance_id)
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
    said = _said(command_id, instance_id, step.get("Name", "") if len(steps) > 1 else None)
    result = replace(
        result,
        exit_code=said.get("ResponseCode", step.get("ResponseCode")),
        output=said.get("StandardOutputContent", step.get("Output", "")),
        error_output=said.get("StandardErrorContent", ""),
    )
    if status is Status.FAILED:
        return replace(result, detail=why_failed(details, result.exit_code))
    return result


def run(  # noqa: PLR0913 (what is run, for whom, and by when)
    instance_id: str,
    document: str,
    stage: Stage,
    execution: str,
    now: datetime,
    *,
    timeout_seconds: int,
) -> ScriptResult:
    """Run a script once for an execution, or return what has become of it since.

    A command that is still running `timeout_seconds` after it had to be delivered is cancelled and
    has failed. A post-script that could not be delivered is sent again. What Systems Manager
    refuses has failed, with its words. Raises AwsUnavailable if it does not answer.
    """
    commands = _commands(instance_id, document, comment_of(execution, stage))
    result, command = _decisive(commands, instance_id)
    if command is None or (stage is Stage.POST_SCRIPT and not result.delivered):
        return _submit_script(instance_id, document, stage, execution, timeout_seconds)
    deadline = command["RequestedDateTime"] + timedelta(seconds=DELIVERY_SECONDS + timeout_seconds)
    if result.status is Status.RUNNING and now > deadline:
        _cancel(command["CommandId"], instance_id)
        detail = f"it did not end within {timeout_seconds} s and was cancelled"
        result = replace(result, status=Status.FAILED, detail=detail)
    return replace(result, document=document)


def outcome(instance_id: str, document: str, stage: Stage, execution: str) -> ScriptResult:
    """Return what has become of a script, without running it."""
    commands = _commands(instance_id, document, comment_of(execution, stage))
    result, _ = _decisive(commands, instance_id)
    return replace(result, document=document)


def online(instance_ids: Collection[str], *, since: datetime | None = None) -> frozenset[str]:
    """Return those of the instances whose agent answers, and was heard of after `since` if given.

    An agent reports every five minutes, and when it starts: without `since`, what is told may be
    of the time before a stop.
    """
    return frozenset(
        instance_id
        for instance_id, row in _agents(instance_ids).items()
        if _answers(row) and (since is None or row["LastPingDateTime"] >= since)
    )


def find_problems(
    instances: Collection[Instance],
    documents: Mapping[str, tuple[str, ...]],
    methods: Mapping[str, str],
    freeze_document: str,
) -> dict[str, ScriptProblems]:
    """Return what would keep scripts and freezing from working, by instance id.

    `documents` are the scripts and `methods` the methods of the members by instance id. Only
    instances that run and need the agent are looked at, and only those with a problem are in the
    answer. Raises AwsUnavailable if Systems Manager does not answer.
    """
    concerned = [
        each
        for each in instances
        if each.state == "running"
        and (documents.get(each.instance_id) or methods[each.instance_id] == "freeze")
    ]
    agents = _agents([each.instance_id for each in concerned])
    read = Documents()
    found = {}
    for each in concerned:
        agent = agents.get(each.instance_id)
        platform = agent.get("PlatformType", "") if agent else ""
        freezing = methods[each.instance_id] == "freeze"
        problems = ScriptProblems(
            script_problem=read.scripts_problem(documents.get(each.instance_id, ()), platform),
            not_managed=_why_not_managed(agent),
            freeze_problem=freeze_problem(platform, each.instance_type) if freezing else "",
        )
        if freezing and platform and not problems.freeze_problem:
            needed = VSS_DOCUMENT if platform == "Windows" else freeze_document
            problems = replace(problems, freeze_problem=read.absence(needed))
        if problems != ScriptProblems():
            found[each.instance_id] = problems
    return found


def _why_not_managed(agent: "InstanceInformationTypeDef | None") -> str:
    if agent is None:
        return (
            "Systems Manager does not know the instance: install the agent, and give the role of"
            " the instance the policy AmazonSSMManagedInstanceCore"
        )
    return "" if _answers(agent) else f"its agent was last heard of at {_last_heard(agent)}"


def _last_heard(agent: "InstanceInformationTypeDef") -> str:
    moment = agent.get("LastPingDateTime")
    return iso(moment) if moment else "an unknown time"


def _answers(agent: "InstanceInformationTypeDef") -> bool:
    return agent.get("PingStatus") == "Online"


def _agents(instance_ids: Collection[str]) -> dict[str, "InstanceInformationTypeDef"]:
    """Return the agents that Systems Manager knows, of instances that are not stopped."""
    return {
        row["InstanceId"]: row
        for some in batched(sorted(instance_ids), _NODES, strict=False)
        for row in _agents_of(some)
    }


def _agents_of(instance_ids: Sequence[str]) -> "list[InstanceInformationTypeDef]":
    """Read some agents, one by one if an id among them makes Systems Manager refuse the call."""
    filters = [{"Key": "InstanceIds", "Values": list(instance_ids)}]
    rows: list[InstanceInformationTypeDef] = []
    try:
        with translated("reading the agents"):
            pages = client("ssm").get_paginator("describe_instance_information")
            for page in pages.paginate(Filters=filters, PaginationConfig={"PageSize": _NODES}):
                rows += page["InstanceInformationList"]
    except AwsRefused as error:
        if not refusal_code(error).startswith("InvalidInstance"):
            raise
        alone = [] if len(instance_ids) == 1 else instance_ids
        rows = [row for each in alone for row in _agents_of([each])]
    return rows


def _commands(instance_id: str, document: str, comment: str) -> "list[CommandTypeDef]":
    """Return the commands with this comment, the first one first."""
    # A document of another account is named by its ARN, which the filter does not know.
    named = [] if ":" in document else [{"key": "DocumentName", "value": document}]
    since = earliest(comment)
    recent = [{"key": "InvokedAfter", "value": iso(since)}] if since else []
    filters = {"Filters": [*named, *recent]} if named or recent else {}
    with translated(f"reading the commands of {instance_id}"):
        pages = client("ssm").get_paginator("list_commands")
        found = [
            row
            for page in pages.paginate(InstanceId=instance_id, **filters)
            for row in page["Commands"]
            if row.get("Comment") == comment
        ]
    return sorted(found, key=lambda row: row["RequestedDateTime"])


def _decisive(
    commands: "Sequence[CommandTypeDef]", instance_id: str
) -> "tuple[ScriptResult, CommandTypeDef | None]":
    """Return the command that says what became of a script: the first one that was delivered."""
    result = ScriptResult(Status.MISSING, instance_id=instance_id)
    command = None
    for command in commands:
        result = look(command["CommandId"], instance_id)
        if result.delivered:
            break
    return result, command


def _submit_script(
    instance_id: str, document: str, stage: Stage, execution: str, timeout_seconds: int
) -> ScriptResult:
    result = ScriptResult(Status.RUNNING, instance_id=instance_id, document=document)
    parameters = {"executionId": [execution_id(execution)], "command": [stage.value]}
    try:
        if _has_timeout(document):
            parameters["executionTimeout"] = [str(timeout_seconds)]
        command_id = _submit(
            instance_id, document, comment_of(execution, stage), parameters, DELIVERY_SECONDS
        )
    except AwsRefused as error:
        return replace(result, status=Status.FAILED, detail=str(error))
    return replace(result, command_id=command_id)


def _has_timeout(document: str) -> bool:
    """Return whether a document takes the time that it may run as a parameter, as AWS's own do."""
    with translated(f"reading the document {document}"):
        description = client("ssm").describe_document(Name=document)["Document"]
    return any(row["Name"] == "executionTimeout" for row in description.get("Parameters", ()))


def _submit(
    instance_id: str,
    document: str,
    comment: str,
    parameters: Mapping[str, list[str]],
    delivery_seconds: int,
) -> str:
    with translated(f"running {document} on {instance_id}"):
        answer = client("ssm").send_command(
            InstanceIds=[instance_id],
            DocumentName=document,
            Comment=comment,
            Parameters=dict(parameters),
            TimeoutSeconds=delivery_seconds,
        )
    command_id: str = answer["Command"]["CommandId"]
    return command_id


def _cancel(command_id: str, instance_id: str) -> None:
    """Ask for the end of a command; it has failed, whether or not that can be done."""
    try:
        with translated(f"cancelling the command {command_id}"):
            client("ssm").cancel_command(CommandId=command_id, InstanceIds=[instance_id])
    except AwsRefused:
        logger.exception("A command could not be cancelled", extra={"command": command_id})


def _invocation(command_id: str, instance_id: str) -> "CommandInvocationTypeDef | None":
    with translated(f"reading the command {command_id}"):
        try:
            rows: Sequence[CommandInvocationTypeDef] = client("ssm").list_command_invocations(
                CommandId=command_id, InstanceId=instance_id, Details=True
            )["CommandInvocations"]
        except ClientError as error:
            if error_code(error) != "InvalidCommandId":
                raise
            return None
    return rows[0] if rows else None


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
