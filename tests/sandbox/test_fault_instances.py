"""Faults of instances: they do not start, or do not shut down."""

import pytest

from tests.sandbox.ec2_lab import Lab

ENCRYPTED = [{"Encrypted": True, "KmsKeyId": "arn:aws:kms:us-east-1:000000000000:key/k"}]


def test_no_capacity_refuses_starts_for_a_while() -> None:
    lab = Lab()
    web = lab.launch()
    lab.stop(web)
    lab.world.faults.add({"name": "no-capacity", "seconds": 120})
    assert lab.error("StartInstances", InstanceIds=[web]) == "InsufficientInstanceCapacity"
    assert lab.state(web) == "stopped"
    lab.wait(119)
    assert lab.error("StartInstances", InstanceIds=[web]) == "InsufficientInstanceCapacity"
    lab.wait(1)
    lab.start(web)
    lab.wait(20)
    assert lab.state(web) == "running"


def test_no_capacity_can_strike_behind_the_callers_back() -> None:
    lab = Lab(failed_start_seconds=5)
    web = lab.launch()
    lab.stop(web)
    lab.world.faults.add({"name": "no-capacity", "falls_back": True})
    lab.start(web)
    assert lab.state(web) == "pending"
    lab.wait(5)
    assert lab.state(web) == "stopped"
    reason = lab.instance(web)["StateReason"]
    assert reason["Code"] == "Server.InsufficientInstanceCapacity"
    lab.start(web)
    lab.wait(20)
    assert lab.state(web) == "running"


def test_one_instance_without_capacity_fails_the_whole_request() -> None:
    lab = Lab()
    web, db = lab.launch("web"), lab.launch("db")
    for instance in (web, db):
        lab.stop(instance)
    lab.world.faults.add({"name": "no-capacity", "instance": "db", "times": 0})
    both = lab.error("StartInstances", InstanceIds=[web, db])
    assert both == "InsufficientInstanceCapacity"
    assert (lab.state(web), lab.state(db)) == ("stopped", "stopped")
    assert lab.error("StartInstances", InstanceIds=[web]) == ""


def test_no_kms_grant_lets_the_start_succeed_and_the_instance_fall_back() -> None:
    lab = Lab(failed_start_seconds=5)
    web = lab.launch(volumes=ENCRYPTED)
    lab.stop(web)
    lab.world.faults.add({"name": "no-kms-grant"})
    lab.start(web)
    assert lab.state(web) == "pending"
    lab.wait(5)
    assert lab.state(web) == "stopped"
    reason = lab.instance(web)["StateReason"]
    assert reason["Code"] == "Client.InternalError"
    assert reason["Message"] == "Client.InternalError: Client error on launch"
    assert lab.what_happened(web)[-1] == "start_failed"
    (down,) = lab.instance_truth(web)["downs"]
    assert down["up_at"] is None


def test_the_knob_kms_denied_lasts_until_it_is_taken_back() -> None:
    lab = Lab(failed_start_seconds=5)
    web = lab.launch(volumes=ENCRYPTED)
    lab.stop(web)
    lab.world.configure(web, kms_denied=True)
    for _ in range(2):
        lab.start(web)
        lab.wait(5)
        assert lab.state(web) == "stopped"
    lab.world.configure(web, kms_denied=False)
    lab.start(web)
    lab.wait(20)
    assert lab.state(web) == "running"


@pytest.mark.parametrize("action", ["StopInstances", "RebootInstances"])
def test_hung_guest_is_cut_off_without_a_flush(action: str) -> None:
    lab = Lab()
    web = lab.launch()
    lab.world.faults.add({"name": "hung-guest"})
    lab.call(action, InstanceIds=[web])
    lab.wait(239)
    assert lab.instance_truth(web)["guest_up"]
    lab.wait(1)
    assert not lab.instance_truth(web)["guest_up"]
    assert "guest_shut_down" not in lab.what_happened(web)


def test_hung_guest_leaves_a_dirty_image_and_only_that_once() -> None:
    lab = Lab()
    web = lab.launch()
    lab.world.faults.add({"name": "hung-guest"})
    lab.stop(web)
    image = lab.create_image(web, "dirty")
    lab.wait(5)
    assert lab.image_truth(image)["dirty_bytes"] > 0
    lab.start(web)
    lab.wait(100)
    lab.stop(web)
    image = lab.create_image(web, "clean")
    lab.wait(5)
    assert lab.image_truth(image)["dirty_bytes"] == 0
