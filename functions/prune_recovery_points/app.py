"""Called when a backup has succeeded, once a day, and by people who want to see what is kept."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from stillpoint.aws.prune_recovery_points import prune_recovery_points
from stillpoint.aws.settings import PruneSettings
from stillpoint.aws.telemetry import logger, metrics
from stillpoint.requests import PruneRequest


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: object, context: LambdaContext) -> dict[str, Any]:
    """Delete what has expired, or say what would be deleted; see `PruneRequest.parse`."""
    return prune_recovery_points(
        PruneRequest.parse(event),
        PruneSettings.from_env(),
        datetime.now(UTC),
        lambda: context.get_remaining_time_in_millis() / 1000,
    )
