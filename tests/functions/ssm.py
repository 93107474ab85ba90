"""A Systems Manager for tests: commands end when and how a test says."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from stillpoint.aws.client import client

START = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
PARAMETERS: Mapping[str, Any] = {
    "executionId": {"type": "String", "default": "None"},
    "command": {"type": "String", "allowedValues": ["pre-script", "post-script", "dry-run"]},
}
CONTENT: Mapping[str, Any] = {"schemaVersion": "2.2", "parameters": PARAMETERS}


class Refusal(Exception):
    """An error of Systems Manager, by its code."""


@dataclass
class Step:
    """One step of a document that was run, and what it wrote."""

    name: str = "run"
    status: str = "Success"
    code: int = 0
    output: str = ""
    error: str = ""


@dataclass
class Sent:
    """A command that goes the same way on all its instances; `hidden` ones are not shown yet."""

    command_id: str
    instance_ids: list[str]
    request: Mapping[str, Any]
    at: datetime
    status: str = "Pending"
    details: str = "Pending"
    steps: list[Step] = field(default_factory=list)
    hidden: bool = False

    def end(self, status: str = "Success", details: str = "", *steps: Step) -> None:
        """Let it end."""
        self.status, self.details = status, details or status
        self.steps = list(steps) or [Step(status="Success" if status == "Success" else "Failed")]

    def fail(self, code: int, error: str = "") -> None:
        """Let its only step end with an exit code."""
        self.end("Failed", "Failed", Step(status="Failed", code=code, error=error))


@dataclass
class Document:
    """A document of the account."""

    content: Any = field(default_factory=lambda: dict(CONTENT))
    kind: str = "Command"
    tags: Mapping[str, str] = field(default_factory=lambda: {"DLMScriptsAccess": "true"})
    platforms: tuple[str, ...] = ("Linux", "MacOS")


class Ssm:
    """Answers the calls that the code makes."""

    def __init__(self) -> None:
        self.now = START
        self.sent: list[Sent] = []
        self.cancelled: list[str] = []
        self.documents: dict[str, Document] = {}
        self.agents: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.refusals: dict[str, str] = {}
        self.apart: dict[str, dict[str, dict[str, Any]]] = {}
        """What is different of a command on an instance, by instance id and command id."""

    def agent(self, instance_id: str, platform: str = "Linux", ping: str = "Online") -> None:
        """Let an agent be known."""
        self.agents[instance_id] = {
            "InstanceId": instance_id,
            "PingStatus": ping,
            "PlatformType": platform,
            "LastPingDateTime": self.now,
        }

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    def answer(self, model: Any, params: Any, **_: object) -> Any:  # noqa: ANN401 (botocore's)
        """Answer in the place of AWS; the SDK has checked the request's shape by now."""
        try:
            return SimpleNamespace(status_code=200), self._call(
                model.name, json.loads(params["body"])
            )
        except Refusal as error:
            code = str(error)
            row = {"Error": {"Code": code, "Message": f"Refused with {code}."}}
            status = 500 if code == "InternalServerError" else 400
            return SimpleNamespace(status_code=status), row | {
                "ResponseMetadata": {"HTTPStatusCode": status}
            }

    def _call(self, name: str, request: Mapping[str, Any]) -> dict[str, Any]:
        self.calls.append(name)
        if name in self.refusals:
            raise Refusal(self.refusals[name])
        return cast("dict[str, Any]", getattr(self, f"_{name}")(request))

    def _SendCommand(self, request: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802 (AWS's name)
        instance_ids = list(request["InstanceIds"])
        if not self.agents.keys() >= set(instance_ids):
            raise Refusal("InvalidInstanceId")
        if request["DocumentName"] not in self.documents:
            raise Refusal("InvalidDocument")
        number = len(self.sent) + 1
        sent = Sent(f"00000000-0000-4000-8000-{number:012}", instance_ids, request, self.now)
        self.sent.append(sent)
        return {"Command": self._row(sent)}

    def _ListCommands(self, request: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802 (AWS's name)
        wanted = {each["key"]: each["value"] for each in request.get("Filters", ())}
        shown = [
            self._row(sent)
            for sent in reversed(self.sent)
            if not sent.hidden
            and request.get("InstanceId", sent.instance_ids[0]) in sent.instance_ids
            and wanted.get("DocumentName", sent.request["DocumentName"])
            == sent.request["DocumentName"]
        ]
        begin = int(request.get("NextToken", 0))
        page: dict[str, Any] = {"Commands": shown[begin : begin + 2]}
        return page | ({"NextToken": str(begin + 2)} if len(shown) > begin + 2 else {})

    def _ListCommandInvocations(self, request: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802 (AWS's name)
        sent = self._sent(request)
        if sent is None:
            return {"CommandInvocations": []}
        steps = [
            {
                "Name": step.name,
                "Status": step.status,
                "ResponseCode": step.code,
                "Output": (step.output + step.error)[:2500],
            }
            for step in sent.steps
        ]
        row = self._row(sent) | {"StatusDetails": sent.details, "CommandPlugins": steps}
        wanted = request.get("InstanceId")
        return {
            "CommandInvocations": [
                row | {"InstanceId": each} | self.apart.get(each, {}).get(sent.command_id, {})
                for each in sent.instance_ids
                if wanted in {None, each}
            ]
        }

    def _GetCommandInvocation(self, request: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802 (AWS's name)
        sent = self._sent(request)
        if sent is None:
            raise Refusal("InvocationDoesNotExist")
        named = [step for step in sent.steps if step.name == request.get("PluginName", step.name)]
        if len(named) != 1:
            raise Refusal("InvalidPluginName")
        (step,) = named
        return {
            "Status": step.status,
            "ResponseCode": step.code,
            "StandardOutputContent": step.output,
            "StandardErrorContent": step.error,
        }

    def _CancelCommand(self, request: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802 (AWS's name)
        self.cancelled.append(request["CommandId"])
        return {}

    def _DescribeInstanceInformation(self, request: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802 (AWS's name)
        (wanted,) = request["Filters"]
        if any(each.startswith("i-bad") for each in wanted["Values"]):
            raise Refusal("InvalidInstanceId")
        return {
            "InstanceInformationList": [
                self.agents[each] for each in wanted["Values"] if each in self.agents
            ]
        }

    def _DescribeDocument(self, request: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802 (AWS's name)
        document = self._document(request)
        names = document.content.get("parameters", {}) if isinstance(document.content, dict) else {}
        return {
            "Document": {
                "Name": request["Name"],
                "DocumentType": document.kind,
                "PlatformTypes": list(document.platforms),
                "Parameters": [{"Name": name} for name in names],
            }
        }

    def _GetDocument(self, request: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802 (AWS's name)
        content = self._document(request).content
        return {"Content": content if isinstance(content, str) else json.dumps(content)}

    def _ListTagsForResource(self, request: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802 (AWS's name)
        tags = self._document({"Name": request["ResourceId"]}).tags
        return {"TagList": [{"Key": key, "Value": value} for key, value in tags.items()]}

    def _document(self, request: Mapping[str, Any]) -> Document:
        if request["Name"] not in self.documents:
            raise Refusal("InvalidDocument")
        return self.documents[request["Name"]]

    def _sent(self, request: Mapping[str, Any]) -> Sent | None:
        found = (
            sent
            for sent in self.sent
            if sent.command_id == request["CommandId"] and not sent.hidden
        )
        return next(found, None)

    @staticmethod
    def _row(sent: Sent) -> dict[str, Any]:
        return {
            "CommandId": sent.command_id,
            "InstanceIds": sent.instance_ids,
            "DocumentName": sent.request["DocumentName"],
            "Comment": sent.request.get("Comment", ""),
            "RequestedDateTime": sent.at,
            "Status": sent.status,
        }


@contextmanager
def a_systems_manager() -> Iterator[Ssm]:
    """Let every call of Systems Manager be answered by a fake."""
    ssm = Ssm()
    events = client("ssm").meta.events
    events.register("before-call", ssm.answer)
    try:
        yield ssm
    finally:
        events.unregister("before-call", ssm.answer)
