"""A deployment whose parameters contradict each other fails, and says why."""

import json
import urllib.request
from typing import Any

import pytest

from functions.check_configuration import app
from tests.functions.stack import CONTEXT

STACK_ID = "arn:aws:cloudformation:eu-west-1:123456789012:stack/stillpoint/1"
GOOD = {
    "ServiceToken": "arn:aws:lambda:eu-west-1:123456789012:function:check",
    "ServiceTimeout": "120",
    "TimeZone": "UTC",
    "DefaultTime": "03:00",
    "DefaultRetain": "14",
    "FinalRetention": "365d",
    "SnapshotLockDays": "0",
    "CopyRegions": "",
    "CopyKmsKeyArns": "",
    "ShareWithAccounts": "",
}


class CloudFormation:
    """Takes the answers that are sent to its pre-signed address."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []
        self.sizes: list[int] = []

    def urlopen(self, request: Any, *, timeout: float) -> "CloudFormation":  # noqa: ANN401 (urllib's)
        assert request.full_url == "https://cloudformation.example/answer"
        assert (request.get_method(), request.headers["Content-type"]) == ("PUT", "")
        assert timeout > 0
        self.sizes.append(len(request.data))
        self.answers.append(json.loads(request.data))
        return self

    def __enter__(self) -> None:
        """Give no answer of its own."""

    def __exit__(self, *_: object) -> None:
        """Close."""

    def ask(self, kind: str, **changes: str) -> dict[str, Any]:
        """Return the answer to a request with these properties."""
        event = {
            "RequestType": kind,
            "ResponseURL": "https://cloudformation.example/answer",
            "StackId": STACK_ID,
            "RequestId": "request-1",
            "LogicalResourceId": "ConfigurationCheck",
            "ResourceProperties": GOOD | changes,
        }
        if kind != "Create":
            event["PhysicalResourceId"] = "the-one-it-has"
        handler: Any = app.handler
        handler(event, CONTEXT)
        return self.answers[-1]


@pytest.fixture
def cloudformation(monkeypatch: pytest.MonkeyPatch) -> CloudFormation:
    made = CloudFormation()
    monkeypatch.setattr(urllib.request, "urlopen", made.urlopen)
    return made


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_a_configuration_that_can_work_is_let_through(
    cloudformation: CloudFormation, kind: str
) -> None:
    answer = cloudformation.ask(kind, CopyRegions="eu-central-1,us-west-2", SnapshotLockDays="14")
    assert answer["Status"] == "SUCCESS"
    assert answer["StackId"] == STACK_ID
    assert (answer["RequestId"], answer["LogicalResourceId"]) == ("request-1", "ConfigurationCheck")


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_every_problem_is_named_at_once(cloudformation: CloudFormation, kind: str) -> None:
    answer = cloudformation.ask(
        kind,
        TimeZone="Asia/Soul",
        SnapshotLockDays="30",
        CopyRegions="eu-west-1",
        ShareWithAccounts="123456789012",
    )
    assert answer["Status"] == "FAILED"
    for words in (
        "TimeZone: 'Asia/Soul' is not a time zone, perhaps Asia/Seoul is meant",
        "with a daily schedule DefaultRetain 14 keeps some recovery points for 14 days only",
        "CopyRegions: eu-west-1 is the stack's own Region",
        "ShareWithAccounts: 123456789012 is the stack's own account",
    ):
        assert words in answer["Reason"]


def test_the_resource_stays_the_same_whatever_is_changed(cloudformation: CloudFormation) -> None:
    created = cloudformation.ask("Create")["PhysicalResourceId"]
    assert created == cloudformation.ask("Create", DefaultTime="04:00")["PhysicalResourceId"]
    assert cloudformation.ask("Update")["PhysicalResourceId"] == "the-one-it-has"
    refused = cloudformation.ask("Update", DefaultTime="25:00")
    assert (refused["Status"], refused["PhysicalResourceId"]) == ("FAILED", "the-one-it-has")


def test_a_stack_can_always_be_deleted(cloudformation: CloudFormation) -> None:
    assert cloudformation.ask("Delete", DefaultRetain="nonsense")["Status"] == "SUCCESS"


@pytest.mark.parametrize("ch", ["x", '"', "\\", "\N{FLOPPY DISK}", "\x00"])
def test_an_answer_is_never_too_long_for_cloudformation(
    cloudformation: CloudFormation, ch: str
) -> None:
    many = ",".join(f"{ch * 30}-{number}" for number in range(100))
    answer = cloudformation.ask("Create", ShareWithAccounts=many, CopyRegions=many)
    assert answer["Status"] == "FAILED"
    assert answer["Reason"].endswith("...")
    assert cloudformation.sizes[-1] <= 4096
