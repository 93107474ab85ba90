"""Called by CloudFormation when the stack is created, updated or deleted."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from stillpoint.aws.check_configuration import check_configuration
from stillpoint.aws.telemetry import logger


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], _context: LambdaContext) -> None:
    """Refuse a deployment whose parameters contradict each other; answers CloudFormation."""
    check_configuration(event)
