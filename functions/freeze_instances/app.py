"""Freezing the instances whose method is freeze, called by the state machine."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from stillpoint.aws.freeze_instances import freeze_instances
from stillpoint.aws.settings import FreezeSettings
from stillpoint.aws.telemetry import logger


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Return the freezes that are established, and why others are not."""
    return freeze_instances(event, FreezeSettings.from_env(), lambda: datetime.now(UTC))
