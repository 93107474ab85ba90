"""The phase Prepare of a backup, called by the state machine."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from stillpoint.aws.prepare_backup import prepare_backup
from stillpoint.aws.settings import PrepareSettings
from stillpoint.aws.telemetry import logger


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Return the members to back up, or why they are refused."""
    return prepare_backup(event, PrepareSettings.from_env(), datetime.now(UTC))
