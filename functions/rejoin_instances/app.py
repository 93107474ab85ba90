"""Putting instances back into service once they run again, called by the state machine."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from stillpoint.aws.rejoin_instances import rejoin_instances
from stillpoint.aws.settings import RejoinSettings
from stillpoint.aws.telemetry import logger


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Take the next steps, and say whether any are left."""
    return rejoin_instances(event, RejoinSettings.from_env(), datetime.now(UTC))
