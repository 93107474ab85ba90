"""Step Functions in the server: starting once, stopping, timing out, and permissions."""

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from sandbox.aws import Aws, Control
from sandbox.process import ACCOUNT, REGION, Server, running

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

LONG_WAIT = {"Type": "Wait", "Seconds": 100_000, "End": True}
MAP_OF_WAITS = {
    "Type": "Map",
    "Items": [1, 2],
    "ItemProcessor": {"StartAt": "Inner", "States": {"Inner": LONG_WAIT}},
    "End": True,
}
STOP = {
    "Type": "Task",
    "Resource": "arn:aws:states:::aws-sdk:ec2:stopInstances",
    "Arguments": {"InstanceIds": ["i-0123456789abcdef0"]},
    "End": True,
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(scale=100, seed=1) as started:
        yield started


@pytest.fixture(scope="module")
def states(server: Server) -> "SFNClient":
    client: SFNClient = Aws(server).client("stepfunctions")
    return client


def role(server: Server, name: str, *actions: str) -> str:
    iam = Aws(server).client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}}
    made = iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": [{**trust, "Action": "sts:AssumeRole"}]}
        ),
    )
    if actions:
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        iam.put_role_policy(
            RoleName=name,
            PolicyName="p",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        )
    return str(made["Role"]["Arn"])


def machine(server: Server, name: str, state: dict[str, Any], *actions: str, **more: object) -> str:
    definition = {"QueryLanguage": "JSONata", "StartAt": "S", "States": {"S": state}, **more}
    created = (
        Aws(server)
        .client("stepfunctions")
        .create_state_machine(
            name=name, definition=json.dumps(definition), roleArn=role(server, name, *actions)
        )
    )
    return str(created["stateMachineArn"])


def ended(states: "SFNClient", arn: str) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        described = states.describe_execution(executionArn=arn)
        if described["status"] != "RUNNING":
            return dict(described)
        time.sleep(0.05)
    raise AssertionError(f"{arn} is still running")


def test_the_same_start_is_answered_twice_and_another_input_is_refused(
    server: Server, states: "SFNClient"
) -> None:
    arn = machine(server, "once", LONG_WAIT)
    first = states.start_execution(stateMachineArn=arn, name="a", input='{"n": 1}')
    again = states.start_execution(stateMachineArn=arn, name="a", input='{"n": 1}')
    assert again["executionArn"] == first["executionArn"]
    assert again["startDate"] == first["startDate"]
    with pytest.raises(ClientError, match="ExecutionAlreadyExists"):
        states.start_execution(stateMachineArn=arn, name="a", input='{"n": 2}')
    states.stop_execution(executionArn=first["executionArn"])
    with pytest.raises(ClientError, match="ExecutionAlreadyExists"):
        states.start_execution(stateMachineArn=arn, name="a", input='{"n": 1}')


@pytest.mark.parametrize("name", ["i-1:2026", "a b", "x" * 81])
def test_a_name_that_aws_refuses_is_refused(server: Server, states: "SFNClient", name: str) -> None:
    arn = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:any"
    with pytest.raises(ClientError, match="InvalidName"):
        states.start_execution(stateMachineArn=arn, name=name)
    assert server.endpoint


def test_a_stopped_execution_is_aborted_and_leaves_its_iterations(
    server: Server, states: "SFNClient"
) -> None:
    arn = machine(server, "stopped", MAP_OF_WAITS)
    started = states.start_execution(stateMachineArn=arn, name="a")["executionArn"]
    control, deadline = Control(server), time.monotonic() + 30
    while len(control.executions()[started]["positions"]) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    inner = {each["state"] for each in control.executions()[started]["positions"].values()}
    assert inner == {"S", "Inner"}
    states.stop_execution(executionArn=started, error="Why", cause="because")
    described = ended(states, started)
    assert (described["status"], described["error"]) == ("ABORTED", "Why")
    while control.executions()[started]["positions"] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert control.executions()[started]["positions"] == {}


def test_an_execution_times_out(server: Server, states: "SFNClient") -> None:
    arn = machine(server, "slow", LONG_WAIT, TimeoutSeconds=20)
    started = states.start_execution(stateMachineArn=arn, name="a")["executionArn"]
    assert ended(states, started)["status"] == "TIMED_OUT"


def test_the_state_machine_s_role_needs_the_permission(server: Server, states: "SFNClient") -> None:
    arn = machine(server, "powerless", STOP)
    started = states.start_execution(stateMachineArn=arn, name="a")["executionArn"]
    described = ended(states, started)
    assert described["error"] == "Ec2.Ec2Exception"
    assert "not authorized to perform: ec2:StopInstances" in described["cause"]


def test_every_error_of_ec2_has_one_name_and_its_message_as_cause(
    server: Server, states: "SFNClient"
) -> None:
    arn = machine(server, "mistaken", STOP, "ec2:StopInstances")
    started = states.start_execution(stateMachineArn=arn, name="a")["executionArn"]
    described = ended(states, started)
    assert described["error"] == "Ec2.Ec2Exception"
    assert "The instance ID 'i-0123456789abcdef0' does not exist" in described["cause"]
    assert "(Service: Ec2, Status Code: 400, Request ID: " in described["cause"]


def test_an_argument_that_does_not_exist_is_refused(server: Server, states: "SFNClient") -> None:
    state = {**STOP, "Arguments": {"InstanceId": "i-0123456789abcdef0"}}
    arn = machine(server, "unknown", state, "ec2:StopInstances")
    started = states.start_execution(stateMachineArn=arn, name="a")["executionArn"]
    assert ended(states, started)["error"] == "States.Runtime"


def test_a_status_change_is_an_event_and_can_arrive_twice_or_never(
    server: Server, states: "SFNClient"
) -> None:
    aws, control = Aws(server), Control(server)
    url = aws.sqs.create_queue(QueueName="status")["QueueUrl"]
    attributes = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    events = aws.client("events")
    pattern = {"source": ["aws.states"], "detail": {"status": ["SUCCEEDED"]}}
    events.put_rule(Name="status", EventPattern=json.dumps(pattern))
    target = attributes["Attributes"]["QueueArn"]
    events.put_targets(Rule="status", Targets=[{"Id": "q", "Arn": target}])
    arn = machine(server, "quick", {"Type": "Succeed"})
    detail_type = "Step Functions Execution Status Change"

    def received(name: str) -> list[str]:
        ended(states, states.start_execution(stateMachineArn=arn, name=name)["executionArn"])
        time.sleep(0.3)
        answer = aws.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        for each in answer.get("Messages", []):
            aws.sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
        return [json.loads(each["Body"])["detail"]["name"] for each in answer.get("Messages", [])]

    assert received("plain") == ["plain"]
    control.add_fault({"name": "event-doubled", "detail_type": detail_type, "times": 2})
    assert received("twice") == ["twice", "twice"]
    control.add_fault({"name": "event-lost", "detail_type": detail_type, "times": 2})
    assert received("never") == []
