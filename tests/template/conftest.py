"""The template and the state machine's definition, as the tests look at them."""

import json
from typing import Any

import pytest

from sandbox.template import DEFINITION, source, transformed
from tests.template.cloudformation import Stack, stack
from tests.template.iam import COPY_REGIONS

KEY = "arn:${AWS::Partition}:kms:${AWS::Region}:111122223333:key"
COPY_KEYS = [f"arn:${{AWS::Partition}}:kms:{each}:111122223333:key/3333" for each in COPY_REGIONS]
VARIANTS: dict[str, dict[str, str]] = {
    "defaults": {},
    "everything": {
        "NotificationEmail": "oncall@example.com",
        "KmsKeyArns": f"{KEY}/1111,{KEY}/2222",
        "TickInterval": "5",
        "NotifySuccess": "false",
        "CopyRegions": ",".join(COPY_REGIONS),
        "EncryptCopies": "true",
        "CopyKmsKeyArns": ",".join(COPY_KEYS),
        "ShareWithAccounts": "444455556666,777788889999",
        "DeregistrationProtection": "true",
        "SnapshotLockDays": "7",
        "FinalRetention": "forever",
        "MaxDeletionsPerSweep": "25",
    },
}


@pytest.fixture(scope="session")
def definition() -> dict[str, Any]:
    """The state machine's definition as it is written."""
    parsed: dict[str, Any] = json.loads(DEFINITION.read_text(encoding="utf-8"))
    return parsed


@pytest.fixture(scope="session")
def template() -> dict[str, Any]:
    """The template as it is written."""
    return source()


@pytest.fixture(scope="session")
def transformed_template(template: dict[str, Any]) -> dict[str, Any]:
    """The template as SAM transforms it."""
    return transformed(template)


@pytest.fixture(scope="session", params=VARIANTS)
def any_stack(transformed_template: dict[str, Any], request: pytest.FixtureRequest) -> Stack:
    """A stack with the default parameters, and one that uses every optional part."""
    return stack(transformed_template, VARIANTS[request.param])


@pytest.fixture(scope="session")
def full_stack(transformed_template: dict[str, Any]) -> Stack:
    """A stack that uses every optional part."""
    return stack(transformed_template, VARIANTS["everything"])
