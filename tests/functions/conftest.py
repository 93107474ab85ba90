"""An AWS for the functions: moto's, in which the stack's topic and state machine exist."""

import json
import os
from collections.abc import Iterator
from unittest import mock

import pytest
from moto import mock_aws

from stillpoint.aws.client import client
from tests.functions.prune_cloud import Estate, an_estate
from tests.functions.stack import Stack

ROLE = "arn:aws:iam::123456789012:role/backup"
DEFINITION = {"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}


@pytest.fixture(autouse=True)
def _aws(_environment: None) -> Iterator[None]:
    """Serve every call from moto, which forgets everything between two tests."""
    without_public_images = {"MOTO_EC2_LOAD_DEFAULT_AMIS": "false"}
    with mock.patch.dict(os.environ, without_public_images), mock_aws():
        yield


@pytest.fixture
def stack(_aws: None, capsys: pytest.CaptureFixture[str]) -> Stack:
    """Return the stack, deployed as far as its functions can see it."""
    topic = client("sns").create_topic(Name="stillpoint-notifications")
    machine = client("stepfunctions").create_state_machine(
        name="stillpoint-backup", definition=json.dumps(DEFINITION), roleArn=ROLE
    )
    return Stack(topic["TopicArn"], machine["stateMachineArn"], capsys)


@pytest.fixture
def estate(_aws: None) -> Iterator[Estate]:
    """Return a stack with a cloud of its own, for what becomes of recovery points."""
    with an_estate() as made:
        yield made
