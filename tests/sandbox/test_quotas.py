"""Token buckets, and what of AWS's limits a neighbour leaves."""

import pytest

from sandbox.buckets import Bucket, Limit
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.throttle import Throttle, instance_limit, request_limit
from sandbox.service_calls import ServiceError
from sandbox.virtual.quotas import Quotas, Turnstile


def test_a_bucket_gives_what_it_holds_and_then_what_flows_in() -> None:
    bucket = Bucket.full(Limit(2, 0.5), 0)
    assert [bucket.take(0) for _ in range(3)] == [True, True, False]
    assert not bucket.take(1.9)
    assert bucket.take(2)


def test_who_waits_for_a_token_stands_in_line() -> None:
    bucket = Bucket.full(Limit(1, 0.5), 0)
    assert [bucket.wait(0) for _ in range(3)] == [0, 2, 4]
    assert bucket.wait(4) == 2


def test_a_bucket_beside_a_neighbour_is_smaller_and_still_holds_a_token() -> None:
    assert Limit(100, 20).beside(0.25) == Limit(75, 15)
    assert Limit(8, 2).beside(0.875) == Limit(1, 0.25)
    assert Limit(5, 2).beside(0.875) == Limit(1, 0.25)


def test_the_limits_of_ec2_can_be_asked_for() -> None:
    assert request_limit("StartInstances") == Limit(5, 2)
    assert request_limit("StopInstances") == Limit(50, 5)
    assert request_limit("DescribeInstances") == Limit(100, 20)
    assert request_limit("DescribeInstances", narrowed=False) == Limit(50, 10)
    assert instance_limit("StartInstances") == Limit(1000, 2)
    assert instance_limit("CreateImage") is None


@pytest.mark.parametrize(("neighbour", "admitted"), [(0.0, 5), (0.4, 3)])
def test_a_neighbour_takes_its_share_of_ec2s_limits(neighbour: float, admitted: int) -> None:
    throttle = Throttle(neighbour=neighbour)
    for _ in range(admitted):
        throttle.admit("StartInstances", 0)
    with pytest.raises(Ec2Error) as raised:
        throttle.admit("StartInstances", 0)
    assert raised.value.code == "RequestLimitExceeded"


@pytest.mark.parametrize(
    ("action", "number"), [("StartExecution", 800), ("DescribeExecution", 250)]
)
def test_step_functions_refuses_what_exceeds_its_bucket(action: str, number: int) -> None:
    turnstile = Turnstile(Quotas())
    for _ in range(number):
        turnstile.admit(action, 0)
    with pytest.raises(ServiceError) as raised:
        turnstile.admit(action, 0)
    assert raised.value.code == "ThrottlingException"
    turnstile.admit(action, 1)


def test_step_functions_does_not_count_what_has_no_bucket_here() -> None:
    turnstile = Turnstile(Quotas(start_execution=Limit(1, 0.1)))
    turnstile.admit("StartExecution", 0)
    for _ in range(5):
        turnstile.admit("StopExecution", 0)


def test_eight_hundred_transitions_happen_at_once_and_the_next_ones_later() -> None:
    turnstile = Turnstile(Quotas())
    waits = [turnstile.transition(0) for _ in range(802)]
    assert waits[:800] == [0] * 800
    assert waits[800:] == [pytest.approx(1 / 800), pytest.approx(2 / 800)]
