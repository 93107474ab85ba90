"""Executions of the backup state machine."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from botocore.exceptions import ClientError

from stillpoint.aws.client import client, error_code, translated
from stillpoint.errors import MalformedInput
from stillpoint.messages import EventName


class Start(StrEnum):
    """What became of the wish to start an execution."""

    STARTED = "started"
    ALREADY_RUNNING = "already-running"
    ALREADY_FAILED = "already-failed"
    ALREADY_DONE = "already-done"
    """It has ended with success, or with a refusal, which is not tried again either."""


@dataclass(frozen=True, slots=True)
class Execution:
    """An execution as Step Functions knows it; its answers are eventually consistent.

    `status` is RUNNING, SUCCEEDED, FAILED, TIMED_OUT or ABORTED, `input` its JSON text.
    """

    name: str
    arn: str
    status: str
    error: str
    cause: str
    input: str
    ended_at: datetime | None

    @property
    def running(self) -> bool:
        """Whether it is, as far as is known, in charge of its instances."""
        return self.status not in {"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"}

    @property
    def failed(self) -> bool:
        """Whether it has ended without success, and not by refusing to touch anything."""
        refused = self.error == EventName.BACKUP_REFUSED
        return not self.running and self.status != "SUCCEEDED" and not refused

    @property
    def cut_off(self) -> bool:
        """Whether it was ended from outside, and so could report nothing itself."""
        return self.status in {"ABORTED", "TIMED_OUT"}

    @property
    def instance_ids(self) -> list[str]:
        """The instances of the backup, or MalformedInput if its input is none of the planner's."""
        try:
            return [member["instance_id"] for member in json.loads(self.input)["members"]]
        except (KeyError, TypeError, ValueError) as error:
            raise MalformedInput(
                f"the input of the execution {self.name} is no backup: {error!r}"
            ) from error


def describe(state_machine_arn: str, name: str) -> Execution | None:
    """Return the execution of this name, or None if Step Functions does not know it."""
    arn = execution_arn(state_machine_arn, name)
    with translated(f"reading the execution {name}"):
        try:
            row = client("stepfunctions").describe_execution(executionArn=arn)
        except ClientError as error:
            if error_code(error) == "ExecutionDoesNotExist":
                return None
            raise
    return Execution(
        name=name,
        arn=arn,
        status=row["status"],
        error=row.get("error", ""),
        cause=row.get("cause", ""),
        input=row["input"],
        ended_at=row.get("stopDate"),
    )


def start(
    state_machine_arn: str, name: str, document: Mapping[str, Any], *, look: bool = True
) -> Start:
    """Start the execution of this name, once.

    One that there was already is looked at; without `look`, it is taken for one that runs.

    While it runs, a second start with the same input succeeds and starts nothing; one with another
    input, or after it ended, is told ExecutionAlreadyExists for 90 days (Step Functions API
    Reference, StartExecution).
    """
    with translated(f"starting the backup {name}"):
        try:
            client("stepfunctions").start_execution(
                stateMachineArn=state_machine_arn,
                name=name,
                input=json.dumps(document, sort_keys=True),
            )
        except ClientError as error:
            if error_code(error) != "ExecutionAlreadyExists":
                raise
        else:
            return Start.STARTED
    execution = describe(state_machine_arn, name) if look else None
    if execution is None or execution.running:
        return Start.ALREADY_RUNNING
    return Start.ALREADY_FAILED if execution.failed else Start.ALREADY_DONE


def execution_arn(state_machine_arn: str, name: str) -> str:
    """Return the ARN of the state machine's execution of this name."""
    return f"{state_machine_arn.replace(':stateMachine:', ':execution:', 1)}:{name}"
