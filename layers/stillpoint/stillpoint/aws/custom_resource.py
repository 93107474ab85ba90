"""Answering CloudFormation, which waits for a custom resource."""

import json
import urllib.request
from collections.abc import Mapping
from typing import Any

from stillpoint.aws.telemetry import logger

_LONGEST_REASON = 2500
"""Characters: all of the answer may have 4,096 bytes (CloudFormation User Guide, "Custom resource
response objects")."""


def answer(event: Mapping[str, Any], *, physical_id: str, failure: str = "") -> None:
    """Send the answer to a request: FAILED with the reason, or SUCCESS if there is no failure.

    The physical id that the resource has stays: another would replace it.
    """
    body = {
        "Status": "FAILED" if failure else "SUCCESS",
        "Reason": _plain(failure),
        "PhysicalResourceId": event.get("PhysicalResourceId", physical_id),
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
    }
    request = urllib.request.Request(  # noqa: S310 (CloudFormation's own pre-signed address)
        event["ResponseURL"],
        data=json.dumps(body).encode(),
        method="PUT",
        headers={"Content-Type": ""},
    )
    with urllib.request.urlopen(request, timeout=30):  # noqa: S310 (as above)
        logger.info("Answered CloudFormation", extra={"status": body["Status"]})


def _plain(text: str) -> str:
    """Return the text in characters of which JSON makes one byte each, and short enough."""
    plain = "".join(ch if " " <= ch <= "~" and ch not in '"\\' else "?" for ch in text)
    return plain if len(plain) <= _LONGEST_REASON else plain[: _LONGEST_REASON - 3] + "..."
