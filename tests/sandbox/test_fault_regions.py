"""Faults of one Region among several."""

import pytest

from sandbox.ec2 import Ec2Error
from tests.sandbox.ec2_lab import AWAY, HOME, Lab


def test_an_outage_answers_every_call_of_its_region_with_a_server_error() -> None:
    lab = Lab()
    fault = {"name": "region-outage", "region": AWAY, "after_seconds": 10, "seconds": 60}
    lab.world.faults.add(fault)
    assert lab.error_in(AWAY, "DescribeImages") == ""
    assert not lab.world.is_out(AWAY)
    lab.wait(10)
    for action in ("DescribeImages", "DescribeImages", "CopyImage"):
        assert lab.error_in(AWAY, action) == "Unavailable"
        assert lab.error(action) in {"", "MissingParameter"}
    assert lab.world.is_out(AWAY)
    assert not lab.world.is_out(HOME)
    with pytest.raises(Ec2Error) as refused:
        lab.call_in(AWAY, "DescribeInstances")
    assert refused.value.status == 503
    lab.wait(60)
    assert lab.error_in(AWAY, "DescribeImages") == ""
    assert not lab.world.is_out(AWAY)


def test_what_was_under_way_goes_on_during_an_outage() -> None:
    lab = Lab()
    copy = lab.copy(lab.available_image(lab.launch()))
    lab.world.faults.add({"name": "region-outage", "region": AWAY, "seconds": 2000})
    lab.wait(2000)
    assert lab.copied(copy)["State"] == "available"


def test_any_fault_can_be_that_of_one_region() -> None:
    lab = Lab()
    lab.world.faults.add({"name": "throttle", "region": AWAY, "times": 0})
    assert lab.error("DescribeImages") == ""
    assert lab.error_in(AWAY, "DescribeImages") == "RequestLimitExceeded"
    (listed,) = lab.world.faults.list()
    assert listed["region"] == AWAY
