"""Faults that strike a request: it is refused, or its answer is lost."""

import json

import pytest

from sandbox.ec2 import FAULT_NAMES, Ec2Error
from tests.sandbox.ec2_lab import Lab


def error(lab: Lab, action: str, **params: object) -> tuple[str, int]:
    """The code and the HTTP status of the error that a call answers."""
    with pytest.raises(Ec2Error) as refused:
        lab.call(action, **params)
    return refused.value.code, refused.value.status


def test_throttle_refuses_so_often_and_then_lets_through() -> None:
    lab = Lab()
    web = lab.launch()
    lab.world.faults.add({"name": "throttle", "action": "StopInstances", "times": 2})
    for _ in range(2):
        assert error(lab, "StopInstances", InstanceIds=[web]) == ("RequestLimitExceeded", 503)
        assert lab.state(web) == "running"
    lab.stop(web)


def test_server_error_refuses_and_changes_nothing() -> None:
    lab = Lab()
    web = lab.launch()
    lab.world.faults.add({"name": "server-error", "action": "CreateImage"})
    refused = error(lab, "CreateImage", InstanceId=web, Name="image")
    assert refused == ("InternalError", 500)
    assert lab.call("DescribeImages")["Images"] == []


def test_lost_response_takes_effect_and_then_answers_an_error() -> None:
    lab = Lab()
    web = lab.launch()
    lab.world.faults.add({"name": "lost-response", "action": "CreateImage"})
    refused = error(lab, "CreateImage", InstanceId=web, Name="image", NoReboot=True)
    assert refused == ("InternalError", 500)
    assert lab.error("CreateImage", InstanceId=web, Name="image") == "InvalidAMIName.Duplicate"
    assert len(lab.call("DescribeImages")["Images"]) == 1


def test_lost_response_does_not_strike_a_call_that_failed_by_itself() -> None:
    lab = Lab()
    lab.world.faults.add({"name": "lost-response", "action": "StartInstances"})
    missing = lab.error("StartInstances", InstanceIds=["i-00000000000000000"])
    assert missing == "InvalidInstanceID.NotFound"
    assert lab.world.faults.list()[0]["hits"] == 0


def test_access_denied_refuses_without_end() -> None:
    lab = Lab()
    web = lab.launch()
    lab.world.faults.add({"name": "access-denied", "action": "StartInstances", "times": 0})
    for _ in range(5):
        assert error(lab, "StartInstances", InstanceIds=[web]) == ("UnauthorizedOperation", 403)


def test_api_error_answers_any_error_of_choice() -> None:
    lab = Lab()
    web = lab.launch()
    lab.world.faults.add(
        {
            "name": "api-error",
            "action": "CreateImage",
            "code": "InvalidParameterValue",
            "message": "Instance is not in state",
            "status": 400,
        }
    )
    assert error(lab, "CreateImage", InstanceId=web, Name="image") == ("InvalidParameterValue", 400)


def test_stop_protection_appears_when_the_stop_is_asked_for() -> None:
    lab = Lab()
    web = lab.launch()
    lab.world.faults.add({"name": "stop-protection-appears"})
    assert error(lab, "StopInstances", InstanceIds=[web]) == ("OperationNotPermitted", 400)
    assert lab.state(web) == "running"
    shown = lab.call("DescribeInstanceAttribute", InstanceId=web, Attribute="disableApiStop")
    assert shown["DisableApiStop"] == {"Value": True}


def test_instance_terminated_strikes_at_the_action_of_choice() -> None:
    lab = Lab()
    web = lab.launch()
    lab.world.faults.add({"name": "instance-terminated", "action": "StopInstances"})
    assert lab.error("StopInstances", InstanceIds=[web]) == "IncorrectInstanceState"
    assert lab.state(web) == "shutting-down"


def test_a_fault_strikes_one_instance_by_id_or_name() -> None:
    lab = Lab()
    web, db = lab.launch("web"), lab.launch("db")
    for instance in ("web", db):
        lab.world.faults.add({"name": "throttle", "instance": instance, "times": 0})
    lab.world.faults.clear(2)
    assert lab.error("StopInstances", InstanceIds=[web]) == "RequestLimitExceeded"
    assert lab.error("StopInstances", InstanceIds=[db]) == ""
    assert lab.error("DescribeInstances") == ""
    lab.world.faults.clear()
    lab.world.faults.add({"name": "throttle", "instance": db, "times": 0})
    assert lab.error("StopInstances", InstanceIds=[db]) == "RequestLimitExceeded"


def test_a_fault_strikes_what_concerns_an_instance_through_its_image() -> None:
    lab = Lab()
    web = lab.launch()
    image = lab.create_image(web)
    lab.world.faults.add({"name": "throttle", "instance": "web", "action": "DeregisterImage"})
    assert lab.error("DeregisterImage", ImageId=image) == "RequestLimitExceeded"


def test_a_fault_strikes_one_caller() -> None:
    lab = Lab()
    web = lab.launch()
    lab.world.faults.add({"name": "access-denied", "principal": "Planner", "times": 0})
    assert lab.error("StopInstances", InstanceIds=[web]) == ""
    with pytest.raises(Ec2Error):
        lab.world.call("DescribeInstances", {}, principal="arn:aws:sts::1:assumed-role/Planner/x")


def test_a_fault_can_let_the_first_calls_pass() -> None:
    lab = Lab()
    lab.world.faults.add({"name": "throttle", "action": "DescribeImages", "skip": 2})
    errors = [lab.error("DescribeImages") for _ in range(4)]
    assert errors == ["", "", "RequestLimitExceeded", ""]


def test_a_fault_can_begin_later_and_last_for_a_while() -> None:
    lab = Lab()
    lab.world.faults.add({"name": "throttle", "after_seconds": 10, "seconds": 5})
    errors = []
    for _ in range(16):
        errors.append(lab.error("DescribeImages"))
        lab.wait(1)
    assert errors == [""] * 10 + ["RequestLimitExceeded"] * 5 + [""]


def test_faults_are_listed_for_json_with_their_hits_and_cleared() -> None:
    lab = Lab()
    first = lab.world.faults.add({"name": "throttle", "action": ["DescribeImages"]})
    second = lab.world.faults.add({"name": "hung-guest", "action": "*"})
    lab.error("DescribeImages")
    listed = json.loads(json.dumps(lab.world.faults.list()))
    assert [(one["id"], one["hits"]) for one in listed] == [(first, 1), (second, 0)]
    lab.world.faults.clear(first)
    assert [one["id"] for one in lab.world.faults.list()] == [second]
    lab.world.faults.clear()
    assert lab.world.faults.list() == []
    with pytest.raises(KeyError):
        lab.world.faults.clear(first)


@pytest.mark.parametrize(
    "description",
    [
        {},
        {"name": "no-such-fault"},
        {"name": "throttle", "instance_id": "i-1"},
        {"name": "throttle", "action": 3},
        {"name": "throttle", "action": []},
        {"name": "throttle", "action": ["StopInstances", 3]},
        {"name": "throttle", "times": "often"},
        {"name": "region-outage"},
        {"name": "snapshot-delete-refused", "return_code": "success"},
    ],
)
def test_an_unsound_fault_is_refused_in_words(description: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        Lab().world.faults.add(description)


def test_every_fault_of_the_registry_can_be_put_in_force() -> None:
    lab = Lab()
    for name in FAULT_NAMES:
        lab.world.faults.add({"name": name, "region": "us-east-1"})
    assert [one["name"] for one in lab.world.faults.list()] == list(FAULT_NAMES)
