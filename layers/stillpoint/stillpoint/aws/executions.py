"""Executions of the backup state machine."""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from botocore.exceptions import ClientError

from stillpoint.aws.client import client, error_code, translated


class Start(StrEnum):
    """What became of the wish to start an execution."""

    STARTED = "started"
    ALREADY_RUNNING = "already-running"
    ALREADY_ENDED = "already-ended"


def start(state_machine_arn: str, name: str, document: Mapping[str, Any]) -> Start:
    """Start the execution of this name, once.

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
        arn = execution_arn(state_machine_arn, name)
        status = client("stepfunctions").describe_execution(executionArn=arn)["status"]
    return Start.ALREADY_RUNNING if status == "RUNNING" else Start.ALREADY_ENDED


def execution_arn(state_machine_arn: str, name: str) -> str:
    """Return the ARN of the state machine's execution of this name."""
    return f"{state_machine_arn.replace(':stateMachine:', ':execution:', 1)}:{name}"
