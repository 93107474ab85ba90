"""Scripts in the guest: run and looked at by Systems Manager, whose agents are found here, too."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import batched
from typing import TYPE_CHECKING

from stillpoint.aws.client import client, translated
from stillpoint.aws.commands import DELIVERY_SECONDS, Commands, cancel, submit
from stillpoint.aws.documents import Documents, refusal_code
from stillpoint.errors import AwsRefused
from stillpoint.instance import Instance
from stillpoint.scripts import (
    ScriptProblems,
    ScriptResult,
    Stage,
    Status,
    comment_of,
    execution_id,
    freeze_problem,
)
from stillpoint.tags import iso

if TYPE_CHECKING:
    from mypy_boto3_ssm.type_defs import CommandTypeDef, InstanceInformationTypeDef

VSS_DOCUMENT = "AWSEC2-VssInstallAndSnapshot"
"""AWS's own document that makes a consistent AMI of a running Windows instance (EC2 User Guide,
"Use Systems Manager command documents to create VSS based snapshots")."""

_NODES = 50
"""Instances that one page holds (Systems Manager API Reference, DescribeInstanceInformation)."""


def run(  # noqa: PLR0913 (what is run, for whom, and by when)
    documents: Mapping[str, str],
    stage: Stage,
    execution: str,
    commands: Commands,
    now: datetime,
    *,
    timeout_seconds: int,
) -> dict[str, ScriptResult]:
    """Run scripts once for an execution, or return what has become of them since.

    `documents` are their names by instance id, and so is what is returned. Instances of the same
    document share a command. One that is still running `timeout_seconds` after it had to be
    delivered is cancelled and has failed. A post-script that could not be delivered is sent again.
    What Systems Manager refuses has failed, with its words. Raises AwsUnavailable if it does not
    answer.
    """
    results = outcomes(documents, stage, execution, commands)
    deadline = timedelta(seconds=DELIVERY_SECONDS + timeout_seconds)
    late: dict[str, list[str]] = {}
    for result in results.values():
        if result.status is Status.RUNNING and result.sent_at and now > result.sent_at + deadline:
            late.setdefault(result.command_id, []).append(result.instance_id)
    detail = f"it did not end within {timeout_seconds} s and was cancelled"
    for command_id, instance_ids in late.items():
        cancel(command_id, instance_ids)
        for each in instance_ids:
            results[each] = replace(results[each], status=Status.FAILED, detail=detail)
    to_send = [result for result in results.values() if is_to_be_sent(result, stage)]
    for document in sorted({documents[each.instance_id] for each in to_send}):
        ids = [e.instance_id for e in to_send if documents[e.instance_id] == document]
        results |= _submit_script(ids, document, stage, execution, timeout_seconds)
    return results


def outcomes(
    documents: Mapping[str, str], stage: Stage, execution: str, commands: Commands
) -> dict[str, ScriptResult]:
    """Return what has become of scripts, by instance id, without running them.

    `documents` are their names by instance id.
    """
    comment = comment_of(execution, stage)
    found: dict[str, list[CommandTypeDef]] = {}
    for document in sorted(set(documents.values())):
        ids = [each for each, name in documents.items() if name == document]
        found |= commands.find(ids, document, comment)
    results = {}
    for instance_id, document in documents.items():
        result = commands.decisive(found[instance_id], instance_id)
        if not result.delivered:  # it may have been sent again, to this instance alone
            alone = commands.find_alone(instance_id, document, comment)
            result = commands.decisive(alone, instance_id)
        results[instance_id] = replace(result, document=document)
    return results


def is_to_be_sent(result: ScriptResult, stage: Stage) -> bool:
    """Return whether a script was not sent yet, or in vain and is worth another try."""
    in_vain = stage is Stage.POST_SCRIPT and not result.delivered
    return result.status is Status.MISSING or in_vain


def online(since: Mapping[str, datetime | None]) -> frozenset[str]:
    """Return those of the instances whose agent answers, and was heard of since a moment.

    `since` are these moments by instance id. An agent reports every five minutes, and when it
    starts: without a moment, what is told may be of the time before a stop.
    """
    return frozenset(
        instance_id
        for instance_id, row in _agents(since).items()
        if _answers(row) and _is_recent(row, since[instance_id])
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


def _is_recent(agent: "InstanceInformationTypeDef", since: datetime | None) -> bool:
    return since is None or agent["LastPingDateTime"] >= since


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


def _submit_script(
    instance_ids: Sequence[str], document: str, stage: Stage, execution: str, timeout_seconds: int
) -> dict[str, ScriptResult]:
    parameters = {"executionId": [execution_id(execution)], "command": [stage.value]}
    sent: Mapping[str, str | AwsRefused]
    try:
        if _has_timeout(document):
            parameters["executionTimeout"] = [str(timeout_seconds)]
    except AwsRefused as error:
        sent = dict.fromkeys(instance_ids, error)
    else:
        sent = submit(
            instance_ids,
            document,
            comment_of(execution, stage),
            parameters,
            delivery_seconds=DELIVERY_SECONDS,
        )
    return {
        each: ScriptResult(Status.FAILED, instance_id=each, document=document, detail=str(answer))
        if isinstance(answer, AwsRefused)
        else ScriptResult(Status.RUNNING, instance_id=each, document=document, command_id=answer)
        for each, answer in sent.items()
    }


def _has_timeout(document: str) -> bool:
    """Return whether a document takes the time that it may run as a parameter, as AWS's own do."""
    with translated(f"reading the document {document}"):
        description = client("ssm").describe_document(Name=document)["Document"]
    return any(row["Name"] == "executionTimeout" for row in description.get("Parameters", ()))
