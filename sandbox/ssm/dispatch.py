"""SendCommand, CancelCommand, and what can be asked about commands and managed instances."""

import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sandbox.ec2.call import Call
from sandbox.ec2.guest import Platform
from sandbox.ec2.model import Instance, InstanceState
from sandbox.ec2.moments import instant
from sandbox.ec2.region import Region
from sandbox.service_calls import ServiceError
from sandbox.ssm.agent import Agents, draw
from sandbox.ssm.commands import Command, Invocation
from sandbox.ssm.documents import Document
from sandbox.ssm.errors import error, invalid
from sandbox.ssm.library import Answer, Library

# SSM API Reference, SendCommand: the limits of a request.
_MAX_INSTANCES, _MAX_COMMENT, _DEFAULT_TIMEOUT = 50, 100, 3600
_LEAST_TIMEOUT, _MOST_TIMEOUT = 30, 2_592_000
# Systems Manager User Guide, "Understanding command statuses": how long a command can be looked at.
_KEPT_SECONDS = 30 * 86_400.0
_PING_SECONDS = 300.0
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PLATFORMS = {Platform.LINUX: "Linux", Platform.WINDOWS: "Windows"}
_SYSTEMS = {
    Platform.LINUX: ("Amazon Linux", "2023"),
    Platform.WINDOWS: ("Microsoft Windows Server 2025 Datacenter", "10.0.26100"),
}


@dataclass(slots=True)
class Dispatch:
    """The commands of one account in one Region, oldest first."""

    region: Region
    library: Library
    agents: Agents
    commands: dict[str, Command] = field(default_factory=dict)

    def send(self, call: Call) -> Answer:
        """Send a command; it is not seen at once by those who look for it."""
        params = call.params
        _check_limits(params)
        document = self.library.find(params["DocumentName"])
        if document.kind != "Command":
            raise error("InvalidDocument", f"Document {document.name} is no Command document.")
        instances = self._targets(params.get("InstanceIds") or [])
        number, version = document.version(params.get("DocumentVersion"))
        given = {name: list(values) for name, values in (params.get("Parameters") or {}).items()}
        command = Command(
            command_id=self._new_id(),
            document=document.name,
            version=str(number),
            content=version.content,
            values=version.content.values(given),
            given=given,
            comment=str(params.get("Comment", "")),
            timeout_seconds=int(params.get("TimeoutSeconds", _DEFAULT_TIMEOUT)),
            requested_at=call.at,
            visible_at=call.at,
        )
        _check_platforms(document, version.content.platforms, instances)
        command.invocations += [Invocation(command, instance) for instance in instances]
        lags = [draw(each, "visibility_seconds", self.agents.physics) for each in instances]
        command.visible_at += max(lags)
        self._forget_old(call.at)
        self.commands[command.command_id] = command
        for invocation in command.invocations:
            invocation.instance.record(
                "command_sent", call.at, call.principal, document=document.name
            )
            self.agents.send(invocation, call)
        return {"Command": command.view()}

    def cancel(self, call: Call) -> Answer:
        """Cancel a command, on some of its instances or on all."""
        command = self._command(call.params["CommandId"])
        wanted = call.params.get("InstanceIds") or []
        own = {each.instance.instance_id: each for each in command.invocations}
        if unknown := [one for one in wanted if one not in own]:
            raise _invalid_instances(unknown, self.region.account)
        for instance_id in wanted or own:
            self.agents.cancel(own[instance_id], call.at)
        return {}

    def get_invocation(self, call: Call) -> Answer:
        """Return an invocation; not yet for one that was sent just now."""
        command = self.commands.get(_checked_id(call.params["CommandId"]))
        instance_id = call.params["InstanceId"]
        if command is not None and command.visible_at <= call.at:
            for invocation in command.invocations:
                if invocation.instance.instance_id == instance_id:
                    return invocation.single(call.params.get("PluginName"))
        raise error("InvocationDoesNotExist", "")

    def list_commands(self, call: Call) -> Answer:
        """List commands, the newest first."""
        return _page("Commands", [each.view() for each in self._chosen(call)], call.params)

    def list_invocations(self, call: Call) -> Answer:
        """List invocations, the newest first."""
        details = bool(call.params.get("Details", False))
        wanted = call.params.get("InstanceId")
        rows = [
            invocation.view(details=details)
            for command in self._chosen(call)
            for invocation in command.invocations
            if wanted in (None, invocation.instance.instance_id)
        ]
        return _page("CommandInvocations", rows, call.params)

    def describe_instances(self, call: Call) -> Answer:
        """Describe the managed instances; "stopped or terminated" ones are left out."""
        filters = [(row["Key"], row["Values"]) for row in call.params.get("Filters") or []]
        old = call.params.get("InstanceInformationFilterList") or []
        filters += [(row["key"], row["valueSet"]) for row in old]
        if unknown := [key for key, _ in filters if key not in _FILTERS]:
            raise error("InvalidFilterKey", f"The sandbox's SSM knows no filter {unknown[0]}.")
        rows = [
            self._information(instance, call.at)
            for instance in sorted(self.region.instances.values(), key=lambda i: i.instance_id)
            if instance.guest.managed and _is_described(instance)
        ]
        kept = [row for row in rows if all(row[_FILTERS[key]] in values for key, values in filters)]
        return _page("InstanceInformationList", kept, call.params)

    def _information(self, instance: Instance, now: float) -> Answer:
        """Return an instance as DescribeInstanceInformation shows it."""
        online, platform = self.agents.online(instance, now), instance.guest.platform
        system, system_version = _SYSTEMS[platform]
        last = instance.created_at
        if online:
            begin = self.agents.online_from(instance)
            last = begin + (now - begin) // _PING_SECONDS * _PING_SECONDS
        return {
            "InstanceId": instance.instance_id,
            "PingStatus": "Online" if online else "ConnectionLost",
            "LastPingDateTime": instant(last),
            "AgentVersion": "3.3.2299.0",
            "IsLatestVersion": True,
            "PlatformType": _PLATFORMS[platform],
            "PlatformName": system,
            "PlatformVersion": system_version,
            "ResourceType": "EC2Instance",
            "IPAddress": instance.facts["PrivateIpAddress"],
            "ComputerName": instance.facts["PrivateDnsName"],
            "SourceId": instance.instance_id,
            "SourceType": "AWS::EC2::Instance",
        }

    def _targets(self, ids: list[str]) -> list[Instance]:
        """Return the instances that a command goes to; raise InvalidInstanceId.

        SSM API Reference, SendCommand, InvalidInstanceId: the agent "isn't registered with the
        SSM endpoint", or the node "isn't in a valid state".
        """
        if not ids or len(ids) > _MAX_INSTANCES:
            raise invalid(f"a command goes to 1 to {_MAX_INSTANCES} instances, by id")
        if len(set(ids)) != len(ids):
            raise error("DuplicateInstanceId", "You can't specify an instance ID twice.")
        instances = [self.region.instances.get(instance_id) for instance_id in ids]
        able = [
            each
            for each in instances
            if each and each.guest.managed and each.state is InstanceState.RUNNING
        ]
        if len(able) != len(ids):
            known = {each.instance_id for each in able}
            raise _invalid_instances([one for one in ids if one not in known], self.region.account)
        return able

    def _command(self, command_id: str) -> Command:
        """Return a command; raise InvalidCommandId if there is none."""
        command = self.commands.get(_checked_id(command_id))
        if command is None:
            raise _invalid_command(command_id)
        return command

    def _chosen(self, call: Call) -> list[Command]:
        """Return the commands that a call asks for, the newest first."""
        params = call.params
        command_id, instance_id = params.get("CommandId"), params.get("InstanceId")
        if command_id:
            self._command(command_id)
        return [
            command
            for command in reversed(self.commands.values())
            if command.visible_at <= call.at
            and command_id in (None, command.command_id)
            and (instance_id is None or _concerns(command, instance_id))
            and all(_matches(command, row) for row in params.get("Filters") or [])
        ]

    def _new_id(self) -> str:
        """Return the id of a new command."""
        digits = self.region.dice.hex_digits("ssm/command", 32)
        return str(uuid.UUID(digits))

    def _forget_old(self, now: float) -> None:
        """Drop the commands that nobody can look at any more."""
        for command_id in list(self.commands):
            if self.commands[command_id].requested_at > now - _KEPT_SECONDS:
                break
            del self.commands[command_id]


_FILTERS = {
    "InstanceIds": "InstanceId",
    "PingStatus": "PingStatus",
    "PlatformTypes": "PlatformType",
    "ResourceType": "ResourceType",
}


def _check_limits(params: Mapping[str, Any]) -> None:
    """Raise ValidationException for a request beyond the limits of the API."""
    if len(params.get("Comment", "")) > _MAX_COMMENT:
        raise invalid(f"Member at 'comment' must have length less than or equal to {_MAX_COMMENT}")
    if not _LEAST_TIMEOUT <= int(params.get("TimeoutSeconds", _DEFAULT_TIMEOUT)) <= _MOST_TIMEOUT:
        raise invalid(f"Member at 'timeoutSeconds' must be from {_LEAST_TIMEOUT} on")
    if params.get("Targets"):
        raise invalid("the sandbox's SSM sends commands to InstanceIds only")


def _check_platforms(
    document: Document, platforms: Iterable[str], instances: Iterable[Instance]
) -> None:
    """Raise UnsupportedPlatformType for an instance on which the document does not run."""
    for instance in instances:
        if _PLATFORMS[instance.guest.platform] not in platforms:
            message = f"Document {document.name} does not support the platform of "
            raise error("UnsupportedPlatformType", message + instance.instance_id)


def _checked_id(command_id: str) -> str:
    """Return the id of a command; raise InvalidCommandId for what cannot be one."""
    if not _UUID.fullmatch(command_id):
        raise _invalid_command(command_id)
    return command_id


def _invalid_command(command_id: str) -> ServiceError:
    """Return the error for an id of which there is no command."""
    return error("InvalidCommandId", f"The command ID {command_id!r} is not valid.")


def _invalid_instances(ids: list[str], account: str) -> ServiceError:
    """Return the error for instances that take no command, in the API's words."""
    named = ", ".join(ids)
    return error(
        "InvalidInstanceId", f"Instances [[{named}]] not in a valid state for account {account}"
    )


def _is_described(instance: Instance) -> bool:
    """Say whether DescribeInstanceInformation knows an instance."""
    return instance.state in (InstanceState.PENDING, InstanceState.RUNNING, InstanceState.STOPPING)


def _concerns(command: Command, instance_id: str) -> bool:
    """Say whether a command was sent to an instance."""
    return any(each.instance.instance_id == instance_id for each in command.invocations)


def _matches(command: Command, row: Mapping[str, str]) -> bool:
    """Say whether a command matches one filter; raise InvalidFilterKey for an unknown one."""
    value = row["value"]
    match row["key"]:
        case "DocumentName":
            return command.document == value
        case "Status":
            return command.status.value == value
        case "InvokedAfter":
            return command.requested_at > _moment(value)
        case "InvokedBefore":
            return command.requested_at < _moment(value)
        case "ExecutionStage":
            return value == ("Complete" if command.status.ended else "Executing")
        case key:
            raise error("InvalidFilterKey", f"The filter key {key!r} is not valid.")


def _moment(text: str) -> float:
    """Return a moment such as `2026-11-22T03:00:00Z` as epoch seconds."""
    return datetime.fromisoformat(text).timestamp()


def _page(key: str, rows: list[Answer], params: Mapping[str, Any]) -> Answer:
    """Return one page of a list; raise InvalidNextToken."""
    token, most = str(params.get("NextToken") or 0), int(params.get("MaxResults") or 50)
    if not token.isdecimal():
        raise error("InvalidNextToken", "The specified token isn't valid.")
    begin = int(token)
    page: Answer = {key: rows[begin : begin + most]}
    if begin + most < len(rows):
        page["NextToken"] = str(begin + most)
    return page


ACTIONS: Mapping[str, Callable[[Dispatch, Call], Answer]] = {
    "SendCommand": Dispatch.send,
    "CancelCommand": Dispatch.cancel,
    "GetCommandInvocation": Dispatch.get_invocation,
    "ListCommands": Dispatch.list_commands,
    "ListCommandInvocations": Dispatch.list_invocations,
    "DescribeInstanceInformation": Dispatch.describe_instances,
}
