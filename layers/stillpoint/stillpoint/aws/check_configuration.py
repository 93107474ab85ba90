"""Checking the stack's parameters together when it is deployed."""

from collections.abc import Mapping
from typing import Any

from stillpoint.aws.custom_resource import answer
from stillpoint.aws.telemetry import logger
from stillpoint.configuration import check

PHYSICAL_ID = "stillpoint-configuration-check"


def check_configuration(event: Mapping[str, Any]) -> None:
    """Answer a request for the custom resource: the parameters are its properties.

    A creation or an update fails with every problem there is, so that none is deployed. A deletion
    always succeeds.
    """
    problems: tuple[str, ...] = ()
    if event["RequestType"] != "Delete":
        # arn:aws:cloudformation:eu-west-1:111122223333:stack/stillpoint/...
        _, _, _, region, account, *_ = event["StackId"].split(":")
        given = {name: str(value) for name, value in event["ResourceProperties"].items()}
        problems = check(given, region=region, account=account)
    if problems:
        logger.error("The configuration is refused", extra={"problems": problems})
    answer(
        event,
        physical_id=PHYSICAL_ID,
        failure=f"The parameters cannot work. {'; '.join(problems)}." if problems else "",
    )
