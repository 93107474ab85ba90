"""The phase Complete of a backup, called by the state machine until its AMIs are available."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from stillpoint.aws.complete_backup import complete_backup
from stillpoint.aws.settings import CompleteSettings
from stillpoint.aws.telemetry import logger, metrics
from stillpoint.outcome import Record


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Return the status `pending`, `succeeded`, `failed` or `refused`."""
    return complete_backup(Record.parse(event), CompleteSettings.from_env(), datetime.now(UTC))
