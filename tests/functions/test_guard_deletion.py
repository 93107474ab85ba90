"""The stack is deleted only when no instance is in a backup."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from stillpoint.aws import guard_deletion as guard
from stillpoint.aws.client import client
from stillpoint.tags import Cycle, Tag
from tests.functions.fleet import launch_one, tag
from tests.unit.builders import at

RULE = "stillpoint-tick"


class CloudFormation:
    """Waits for one answer, as the pre-signed address of a custom resource does."""

    def __init__(self) -> None:
        answers: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                length = int(self.headers["Content-Length"])
                answers.append(json.loads(self.rfile.read(length)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        self.answers = answers
        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def request(self, kind: str) -> dict[str, Any]:
        host, port = self.server.server_address[:2]
        return {
            "RequestType": kind,
            "ResponseURL": f"http://{host!s}:{port}/answer",
            "StackId": "arn:aws:cloudformation:eu-west-1:123456789012:stack/stillpoint/1",
            "RequestId": "request-1",
            "LogicalResourceId": "DeletionGuard",
            "ResourceProperties": {"PlannerRule": RULE},
        }

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def cloudformation(_aws: None) -> Iterator[CloudFormation]:
    client("events").put_rule(Name=RULE, ScheduleExpression="rate(1 minute)", State="ENABLED")
    served = CloudFormation()
    yield served
    served.close()


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let time pass at once, and return how long the guard has slept."""
    passed: list[float] = []
    monkeypatch.setattr(time, "sleep", passed.append)
    monkeypatch.setattr(time, "monotonic", lambda: sum(passed))
    return passed


def rule_state() -> str:
    return str(client("events").describe_rule(Name=RULE)["State"])


def in_backup() -> str:
    instance_id = launch_one(name="web")
    cycle = Cycle(f"{instance_id}-20261122T030000Z", "running", at("2026-11-22 03:00"))
    tag([instance_id], {Tag.CYCLE: cycle.render()})
    return instance_id


def test_a_stack_without_a_backup_under_way_may_go_and_starts_no_more_backups(
    cloudformation: CloudFormation, slept: list[float]
) -> None:
    launch_one()
    guard.guard_deletion(cloudformation.request("Delete"), patience_seconds=840)
    assert [answer["Status"] for answer in cloudformation.answers] == ["SUCCESS"]
    assert rule_state() == "DISABLED"
    assert slept[0] == guard.VISIBLE_SECONDS


@pytest.mark.usefixtures("slept")
def test_a_stack_with_an_instance_in_a_backup_is_kept_and_says_which(
    cloudformation: CloudFormation,
) -> None:
    instance_id = in_backup()
    guard.guard_deletion(cloudformation.request("Delete"), patience_seconds=840)
    (answer,) = cloudformation.answers
    assert answer["Status"] == "FAILED"
    assert instance_id in answer["Reason"]
    assert rule_state() == "ENABLED"


def test_a_backup_that_ends_meanwhile_lets_the_stack_go(
    cloudformation: CloudFormation, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    instance_id = in_backup()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if sum(slept) > 200:
            client("ec2").delete_tags(Resources=[instance_id], Tags=[{"Key": Tag.CYCLE}])

    monkeypatch.setattr(time, "sleep", sleep)
    guard.guard_deletion(cloudformation.request("Delete"), patience_seconds=840)
    assert cloudformation.answers[0]["Status"] == "SUCCESS"
    assert 200 < sum(slept) < 300


@pytest.mark.usefixtures("slept")
def test_a_guard_that_cannot_find_out_keeps_the_stack(cloudformation: CloudFormation) -> None:
    client("events").delete_rule(Name=RULE)
    guard.guard_deletion(cloudformation.request("Delete"), patience_seconds=840)
    assert cloudformation.answers[0]["Status"] == "FAILED"
    assert "could not be found out" in cloudformation.answers[0]["Reason"]


@pytest.mark.parametrize("kind", ["Create", "Update"])
@pytest.mark.usefixtures("slept")
def test_creation_and_updates_are_let_through_while_backups_run(
    cloudformation: CloudFormation, kind: str
) -> None:
    in_backup()
    guard.guard_deletion(cloudformation.request(kind), patience_seconds=840)
    (answer,) = cloudformation.answers
    assert answer["Status"] == "SUCCESS"
    assert answer["LogicalResourceId"] == "DeletionGuard"
    assert rule_state() == "ENABLED"
