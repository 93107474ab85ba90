"""The stack as the tests meet it: functions to invoke, and what they send, start and count."""

import importlib
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from moto.sns.models import sns_backends

from stillpoint.aws.client import client
from tests.functions.template import environment_of
from tests.unit.builders import at

ACCOUNT, REGION = "123456789012", "eu-west-1"
NOW = at("2026-11-22 03:00:30")

POWERTOOLS = {
    "POWERTOOLS_SERVICE_NAME": "stillpoint",
    "POWERTOOLS_METRICS_NAMESPACE": "Stillpoint",
    "POWERTOOLS_LOG_LEVEL": "INFO",
}
CONTEXT = SimpleNamespace(
    function_name="stillpoint",
    memory_limit_in_mb=256,
    invoked_function_arn=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:stillpoint",
    aws_request_id="5a3b0c1e-7d0b-4d43-9a52-7f4a3e0f7b61",
    get_remaining_time_in_millis=lambda: 600_000,
)


def _load(function: str) -> ModuleType:
    """Import a function as Lambda does: with the telemetry's settings in the environment."""
    with mock.patch.dict(os.environ, POWERTOOLS):
        return importlib.import_module(f"functions.{function}.app")


FUNCTIONS = {
    name: _load(name)
    for name in (
        "plan_backups",
        "prepare_backup",
        "isolate_instances",
        "freeze_instances",
        "rejoin_instances",
        "complete_backup",
        "alert_stranded",
        "recover_instances",
        "prune_recovery_points",
        "copy_recovery_points",
    )
}


@dataclass(frozen=True, slots=True)
class Stack:
    """The functions and what surrounds them."""

    topic_arn: str
    state_machine_arn: str
    _capsys: pytest.CaptureFixture[str]

    def environment(self, function: str) -> dict[str, str]:
        """Return the environment variables that the template gives to a function."""
        resources = {
            "BackupStateMachine": self.state_machine_arn,
            "NotificationTopic": self.topic_arn,
        }
        return environment_of(function, resources)

    def invoke(
        self,
        function: str,
        event: object,
        *,
        now: datetime = NOW,
        variables: Mapping[str, str] | None = None,
        without: str = "",
    ) -> dict[str, Any]:
        """Invoke a function's handler at an instant, with its environment or a changed one."""
        environment = self.environment(function) | dict(variables or {})
        environment.pop(without, None)
        app = FUNCTIONS[function]
        with (
            mock.patch.dict(os.environ, environment),
            mock.patch.object(app, "datetime", create=True) as clock,  # not all ask for the time
            warnings.catch_warnings(),
        ):
            # The layer says this too, when it is imported; pytest takes it back for every test.
            warnings.filterwarnings("ignore", message="No application metrics to publish")
            clock.now.return_value = now
            answer = app.handler(json.loads(json.dumps(event)), CONTEXT)
        document: dict[str, Any] = json.loads(json.dumps(answer))  # as Lambda hands it on
        return document

    def messages(self) -> list[dict[str, Any]]:
        """Return what was published, oldest first: the document, with the other forms in it."""
        topic = sns_backends[ACCOUNT][REGION].topics[self.topic_arn]
        found = []
        for _, message, subject, attributes, _ in topic.sent_notifications:
            forms = json.loads(message)
            assert forms.keys() == {"default", "email", "sms"}
            names = {name: value["Value"] for name, value in (attributes or {}).items()}
            found.append(
                json.loads(forms["default"])
                | {"subject": subject, "text": forms["email"], "attributes": names}
            )
        return found

    def events(self) -> list[str]:
        """Return the names of the events that were published, oldest first."""
        return [message["event"] for message in self.messages()]

    def executions(self) -> dict[str, dict[str, Any]]:
        """Return the inputs of all executions, by name."""
        sfn = client("stepfunctions")
        rows = sfn.list_executions(stateMachineArn=self.state_machine_arn)["executions"]
        return {
            row["name"]: json.loads(
                sfn.describe_execution(executionArn=row["executionArn"])["input"]
            )
            for row in rows
        }

    def end_execution(self, name: str) -> None:
        """Let an execution end."""
        arn = self.state_machine_arn.replace(":stateMachine:", ":execution:") + f":{name}"
        client("stepfunctions").stop_execution(executionArn=arn)

    def metrics(self) -> list[dict[str, Any]]:
        """Return the embedded-metric documents that were printed since this was last called."""
        return list(_metric_documents(self._capsys.readouterr().out))


def _metric_documents(printed: str) -> Iterator[dict[str, Any]]:
    for line in printed.splitlines():
        if '"_aws"' in line:
            yield json.loads(line)
