"""Taking instances out of service before they are stopped, called by the state machine."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from stillpoint.aws.isolate_instances import isolate_instances
from stillpoint.aws.settings import IsolateSettings
from stillpoint.aws.telemetry import logger


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Take the next steps, and say whether any are left."""
    return isolate_instances(event, IsolateSettings.from_env(), datetime.now(UTC))
