"""Commands: what was sent to which instances, and how each invocation of it goes."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sandbox.ec2.model import Instance
from sandbox.ec2.moments import instant
from sandbox.ssm.documents import Content
from sandbox.ssm.errors import error

# SSM API Reference, GetCommandInvocation and CommandPlugin: where output is cut off.
_MAX_OUTPUT, _MAX_ERRORS, _MAX_PLUGIN_OUTPUT = 24_000, 8_000, 2_500
# The exit code of what has none, and that of a script which the agent ended.
NO_CODE = -1
KILLED = 137


class Status(StrEnum):
    """The states of an invocation and of a command (SSM API Reference)."""

    PENDING = "Pending"
    IN_PROGRESS = "InProgress"
    SUCCESS = "Success"
    FAILED = "Failed"
    TIMED_OUT = "TimedOut"
    CANCELLING = "Cancelling"
    CANCELLED = "Cancelled"

    @property
    def ended(self) -> bool:
        """Say whether nothing changes any more."""
        return self not in (Status.PENDING, Status.IN_PROGRESS, Status.CANCELLING)


@dataclass(frozen=True, slots=True)
class Result:
    """What a script came to."""

    exit_code: int = 0
    stdout: str = ""
    stderr: str = ""


@dataclass(slots=True, eq=False)
class Command:
    """A command that was sent."""

    command_id: str
    document: str
    version: str
    content: Content
    values: dict[str, list[str]]
    given: dict[str, list[str]]
    comment: str
    timeout_seconds: int
    requested_at: float
    visible_at: float
    invocations: list["Invocation"] = field(default_factory=list)

    @property
    def expires_at(self) -> float:
        """Return until when the command may begin."""
        return self.requested_at + self.timeout_seconds

    @property
    def status(self) -> Status:
        """Return the state of the whole: what goes on as long as anything does, then the worst."""
        states = {invocation.status for invocation in self.invocations}
        return next(state for state in _ORDER if state in states)

    def view(self) -> dict[str, Any]:
        """Return the command as ListCommands shows it."""
        status = self.status
        ended = [each for each in self.invocations if each.status.ended]
        wrong = [each for each in ended if each.status is not Status.SUCCESS]
        return {
            "CommandId": self.command_id,
            "DocumentName": self.document,
            "DocumentVersion": self.version,
            "Comment": self.comment,
            "ExpiresAfter": instant(self.expires_at),
            "Parameters": self.given,
            "InstanceIds": [each.instance.instance_id for each in self.invocations],
            "Targets": [],
            "RequestedDateTime": instant(self.requested_at),
            "Status": status.value,
            "StatusDetails": status.value,
            "MaxConcurrency": "50",
            "MaxErrors": "0",
            "TargetCount": len(self.invocations),
            "CompletedCount": len(ended),
            "ErrorCount": len(wrong),
            "DeliveryTimedOutCount": sum(
                each.details == "DeliveryTimedOut" for each in self.invocations
            ),
            "TimeoutSeconds": self.timeout_seconds,
        }


_ORDER = (
    Status.IN_PROGRESS,
    Status.CANCELLING,
    Status.PENDING,
    Status.TIMED_OUT,
    Status.FAILED,
    Status.CANCELLED,
    Status.SUCCESS,
)


@dataclass(slots=True, eq=False)
class Invocation:
    """A command on one instance.

    `result` is what its script came to, `shown` what the service knows of that. The work in the
    guest can be over long before the service hears of it, or without.
    """

    command: Command
    instance: Instance
    status: Status = Status.PENDING
    details: str = "Pending"
    began_at: float | None = None
    ended_at: float | None = None
    result: Result | None = None
    work_over: bool = False
    exit_code: int = NO_CODE
    shown: Result = field(default_factory=Result)

    def move(self, status: Status, details: str = "") -> None:
        """Change the state."""
        self.status, self.details = status, details or status.value

    def end(self, now: float, status: Status, details: str = "", code: int = NO_CODE) -> None:
        """Let the service know that the invocation has ended."""
        self.move(status, details)
        self.ended_at = self.ended_at or now
        self.exit_code, self.work_over = code, True
        self.instance.guest.forget(self)

    def single(self, plugin: str | None) -> dict[str, Any]:
        """Return the invocation as GetCommandInvocation shows it; raise InvalidPluginName.

        "If the document contains more than one step, you must specify the name of the step" (SSM
        API Reference, GetCommandInvocation, PluginName).
        """
        names = [step.name for step in self.command.content.steps]
        if plugin not in (names if len(names) > 1 else (None, *names)):
            raise error("InvalidPluginName", f"The plugin name {plugin!r} is not valid.")
        output = self.shown if plugin in (None, names[0]) else Result()
        begin, end = self.began_at, self.ended_at if self.status.ended else None
        elapsed = "" if begin is None or end is None else f"PT{end - begin:.3f}S"
        return {
            "CommandId": self.command.command_id,
            "InstanceId": self.instance.instance_id,
            "Comment": self.command.comment,
            "DocumentName": self.command.document,
            "DocumentVersion": self.command.version,
            "PluginName": plugin or names[0],
            "ResponseCode": self.exit_code,
            "ExecutionStartDateTime": "" if begin is None else _stamp(begin),
            "ExecutionElapsedTime": elapsed,
            "ExecutionEndDateTime": _stamp(end) if begin is not None and end is not None else "",
            "Status": self.status.value,
            "StatusDetails": self.details,
            "StandardOutputContent": output.stdout[:_MAX_OUTPUT],
            "StandardOutputUrl": "",
            "StandardErrorContent": output.stderr[:_MAX_ERRORS],
            "StandardErrorUrl": "",
            "CloudWatchOutputConfig": {
                "CloudWatchLogGroupName": "",
                "CloudWatchOutputEnabled": False,
            },
        }

    def view(self, *, details: bool) -> dict[str, Any]:
        """Return the invocation as ListCommandInvocations shows it."""
        return {
            "CommandId": self.command.command_id,
            "InstanceId": self.instance.instance_id,
            "InstanceName": "",
            "Comment": self.command.comment,
            "DocumentName": self.command.document,
            "DocumentVersion": self.command.version,
            "RequestedDateTime": instant(self.command.requested_at),
            "Status": self.status.value,
            "StatusDetails": self.details,
            "StandardOutputUrl": "",
            "StandardErrorUrl": "",
            "CommandPlugins": self._plugins() if details and self.began_at is not None else [],
            "ServiceRole": "",
        }

    def _plugins(self) -> list[dict[str, Any]]:
        """Return the steps; what the script wrote stands with the first one."""
        output = self.shown.stdout
        if self.shown.stderr:
            output += f"\n----------ERROR-------\n{self.shown.stderr}"
        end = self.ended_at if self.status.ended else None
        times = {"ResponseStartDateTime": self.began_at, "ResponseFinishDateTime": end}
        known = {key: instant(moment) for key, moment in times.items() if moment is not None}
        return [
            {
                "Name": step.name,
                "Status": self.status.value,
                "StatusDetails": self.details,
                "ResponseCode": self.exit_code,
                "Output": "" if number else output[:_MAX_PLUGIN_OUTPUT],
                "StandardOutputUrl": "",
                "StandardErrorUrl": "",
                **known,
            }
            for number, step in enumerate(self.command.content.steps)
        ]


def _stamp(moment: float) -> str:
    """Return a moment as GetCommandInvocation shows it: `2026-11-22T03:00:05.123Z`."""
    text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
