"""Called by CloudFormation when the stack is created, updated or deleted."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from stillpoint.aws.guard_deletion import guard_deletion
from stillpoint.aws.telemetry import logger


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Let a stack be deleted only when no instance is in a backup; answers CloudFormation."""
    guard_deletion(event, patience_seconds=context.get_remaining_time_in_millis() / 1000 - 60)
