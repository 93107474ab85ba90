"""A world with an SSM, short ways to send commands in it, and documents to send."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sandbox.ec2.world import DEFAULT_ACCOUNT, DEFAULT_REGION
from sandbox.protocols import wire_of
from sandbox.service_calls import ServiceError
from sandbox.ssm import Ssm, SsmPhysics
from tests.sandbox.ec2_lab import Lab

# Figures that are easy to reckon with.
CALM = SsmPhysics(
    agent_start_seconds=10,
    delivery_seconds=1,
    report_seconds=0.5,
    visibility_seconds=1,
    cancel_seconds=1,
    script_seconds=2,
    freeze_command_seconds=0.5,
    file_system_seconds=0.1,
    thaw_command_seconds=0.2,
    vss_seconds=10,
    vss_end_seconds=3,
)
WIRE = wire_of("ssm")


def document(*commands: str, **parameters: Mapping[str, object]) -> dict[str, Any]:
    """The content of a document whose parameter `command` has these values."""
    stages = list(commands)
    return {
        "schemaVersion": "2.2",
        "description": "for a test",
        "parameters": {
            "executionId": {"type": "String", "default": "None"},
            "command": {"type": "String", "default": stages[-1], "allowedValues": stages},
            **parameters,
        },
        "mainSteps": [
            {
                "name": "run",
                "action": "aws:runShellScript",
                "inputs": {"timeoutSeconds": "120", "runCommand": ["echo {{ command }}"]},
            }
        ],
    }


SCRIPTS = document("pre-script", "post-script", "dry-run")
FREEZE = document(
    "freeze",
    "thaw",
    "dry-run",
    holdSeconds={"type": "String", "default": "30"},
    thawSeconds={"type": "String", "default": "60"},
)


class SsmLab(Lab):
    """One world with an SSM in it, and what a caller would do there."""

    def __init__(self, **physics: object) -> None:
        super().__init__(seed=1, throttled=False, **physics)
        self.ssm = Ssm(self.world, CALM)

    def do(self, action: str, **params: object) -> dict[str, Any]:
        """Make a call, and see that the answer is one that SSM can give."""
        answer = self.ssm.call(
            action, params, account=DEFAULT_ACCOUNT, region=DEFAULT_REGION, principal="tester"
        )
        sent = json.loads(WIRE.answer(action, answer))
        assert sent.keys() == answer.keys()
        return dict(answer)

    def fails(self, action: str, **params: object) -> str:
        """The code of the error that a call answers; an empty text if it answers none."""
        try:
            self.do(action, **params)
        except ServiceError as error:
            return str(json.loads(WIRE.error(error))["__type"])
        return ""

    def managed(self, name: str = "web", **knobs: object) -> str:
        """Launch an instance that SSM knows, with two data volumes beside its root."""
        instance_id = self.launch(name, volumes=[{}, {}])
        self.world.configure(instance_id, managed=True, **knobs)
        return instance_id

    def create(self, name: str, content: Mapping[str, Any], **params: object) -> None:
        """Make a document."""
        text = json.dumps(content)
        self.do("CreateDocument", Name=name, Content=text, DocumentType="Command", **params)

    def send(self, instance_id: str, name: str, command: str = "", **more: object) -> str:
        """Send a document with this value of its parameter `command`; return the command's id."""
        parameters = {"command": [command]} if command else {}
        parameters |= dict(more.pop("parameters", {}))  # type: ignore[call-overload]
        answer = self.do(
            "SendCommand",
            InstanceIds=[instance_id],
            DocumentName=name,
            Parameters=parameters,
            **more,
        )
        return str(answer["Command"]["CommandId"])

    def look(self, command_id: str, instance_id: str) -> dict[str, Any]:
        """An invocation as it is now."""
        return self.do("GetCommandInvocation", CommandId=command_id, InstanceId=instance_id)

    def ended(self, command_id: str, instance_id: str, seconds: float = 200) -> dict[str, Any]:
        """An invocation once it has ended."""
        self.wait(1)
        self.wait_for(
            lambda: self.look(command_id, instance_id)["Status"] not in _GOING_ON, seconds
        )
        return self.look(command_id, instance_id)

    def run(self, instance_id: str, name: str, command: str = "", **more: object) -> dict[str, Any]:
        """Send a document and wait until it has ended."""
        return self.ended(self.send(instance_id, name, command, **more), instance_id)

    def freeze(self, instance_id: str, **parameters: Sequence[str]) -> dict[str, Any]:
        """Freeze an instance; return what the document said before."""
        answer = self.run(instance_id, "freeze", "freeze", parameters=parameters)
        said: dict[str, Any] = json.loads(answer["StandardOutputContent"])
        return said

    def happened(self, instance_id: str, what: str) -> list[dict[str, Any]]:
        """What happened to an instance by this name."""
        events = self.instance_truth(instance_id)["events"]
        return [event for event in events if event["what"] == what]

    def wait_until(self, moment: float) -> None:
        """Move the clock to a moment that has not passed."""
        assert moment >= self.clock.time
        self.clock.time = moment


_GOING_ON = ("Pending", "InProgress", "Cancelling")


def answered(check: Callable[[], object]) -> bool:
    """Whether a call is answered without an error."""
    try:
        check()
    except ServiceError:
        return False
    return True
