"""Called by the state machine when an instance does not start again."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from stillpoint.aws.alert_stranded import alert_stranded
from stillpoint.aws.settings import AlertSettings
from stillpoint.aws.telemetry import logger, metrics


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Tell people which instances are down and why EC2 does not start them."""
    return alert_stranded(event, AlertSettings.from_env(), datetime.now(UTC))
