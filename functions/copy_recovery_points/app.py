"""Called when a backup has succeeded, and every few minutes while copies may be under way."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from stillpoint.aws.copy_recovery_points import copy_recovery_points
from stillpoint.aws.settings import CopySettings
from stillpoint.aws.telemetry import logger, metrics


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: object, context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Look at all that is still to be copied, whatever the event tells of."""
    return copy_recovery_points(
        CopySettings.from_env(),
        datetime.now(UTC),
        lambda: context.get_remaining_time_in_millis() / 1000,
    )
