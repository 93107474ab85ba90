"""Called by the schedule rule every few minutes, and by people who want a backup at once."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from stillpoint.aws.plan_backups import plan_backups
from stillpoint.aws.settings import PlanSettings
from stillpoint.aws.telemetry import logger, metrics
from stillpoint.requests import Request


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: object, context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Start the backups that are due, or those that are asked for; see `Request.parse`."""
    return plan_backups(Request.parse(event), PlanSettings.from_env(), datetime.now(UTC))
