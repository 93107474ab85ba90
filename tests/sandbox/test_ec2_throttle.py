"""EC2's token buckets, in the world's time."""

import pytest

from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.throttle import Throttle
from tests.sandbox.ec2_lab import Lab


def admitted(
    throttle: Throttle, action: str, now: float, *, instances: int = 0, narrowed: bool = True
) -> int:
    """How many calls the buckets let through at one moment."""
    number = 0
    while True:
        try:
            throttle.admit(action, now, instances=instances, narrowed=narrowed)
        except Ec2Error:
            return number
        number += 1


def test_a_throttled_call_gets_ec2s_error() -> None:
    throttle = Throttle()
    assert admitted(throttle, "StartInstances", 0) == 5
    with pytest.raises(Ec2Error) as refused:
        throttle.admit("StartInstances", 0)
    assert (refused.value.code, refused.value.status) == ("RequestLimitExceeded", 503)


@pytest.mark.parametrize(
    ("action", "size", "refill"),
    [
        ("StartInstances", 5, 2),
        ("RunInstances", 5, 2),
        ("StopInstances", 50, 5),
        ("CreateImage", 50, 5),
        ("CreateTags", 100, 10),
        ("DeregisterImage", 100, 5),
        ("DescribeInstances", 100, 20),
    ],
)
def test_a_bucket_has_its_size_and_its_refill(action: str, size: int, refill: int) -> None:
    throttle = Throttle()
    assert admitted(throttle, action, 0) == size
    assert admitted(throttle, action, 1) == refill
    assert admitted(throttle, action, 10_000) == size


def test_reading_without_a_filter_draws_on_a_smaller_bucket() -> None:
    throttle = Throttle()
    assert admitted(throttle, "DescribeInstances", 0, narrowed=False) == 50
    assert admitted(throttle, "DescribeInstances", 0, narrowed=True) == 100
    assert admitted(throttle, "DescribeImages", 0, narrowed=False) == 100


def test_many_instances_in_one_request_draw_on_a_second_bucket() -> None:
    throttle = Throttle()
    throttle.admit("StartInstances", 0, instances=999)
    assert admitted(throttle, "StartInstances", 0, instances=2) == 0
    throttle.admit("StartInstances", 0, instances=1)
    assert admitted(throttle, "StartInstances", 1, instances=3) == 0
    assert admitted(throttle, "StartInstances", 1, instances=2) == 1


def test_a_world_throttles_unless_told_not_to() -> None:
    throttled, free = Lab(throttled=True), Lab(throttled=False)
    for lab in (throttled, free):
        lab.launch()

    def errors(lab: Lab) -> list[str]:
        (reservation,) = lab.call("DescribeInstances")["Reservations"]
        web = reservation["Instances"][0]["InstanceId"]
        return [lab.error("StartInstances", InstanceIds=[web]) for _ in range(7)]

    assert errors(throttled) == [""] * 5 + ["RequestLimitExceeded"] * 2
    assert errors(free) == [""] * 7


def test_regions_have_buckets_of_their_own() -> None:
    lab = Lab(throttled=True)
    for _ in range(100):
        lab.world.call("DescribeImages", {}, region="eu-west-1")
    with pytest.raises(Ec2Error):
        lab.world.call("DescribeImages", {}, region="eu-west-1")
    lab.world.call("DescribeImages", {}, region="eu-west-2")
