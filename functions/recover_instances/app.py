"""Called when an execution ends badly, and every few minutes to look for instances left behind."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from stillpoint.aws.recover_instances import recover_instances
from stillpoint.aws.settings import RecoverSettings
from stillpoint.aws.telemetry import logger, metrics


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Put back what was before, and tell people."""
    return recover_instances(event, RecoverSettings.from_env())
