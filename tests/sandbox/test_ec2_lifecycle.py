"""How instances change their state."""

import pytest

from sandbox.ec2 import Ec2Error
from tests.sandbox.ec2_lab import Lab


def test_a_stop_goes_through_stopping_and_takes_its_time() -> None:
    lab = Lab()
    web = lab.launch()
    answer = lab.call("StopInstances", InstanceIds=[web])
    change = answer["StoppingInstances"][0]
    assert change["PreviousState"] == {"Code": 16, "Name": "running"}
    assert change["CurrentState"] == {"Code": 64, "Name": "stopping"}
    lab.wait(29.9)
    assert lab.state(web) == "stopping"
    lab.wait(0.1)
    assert lab.state(web) == "stopped"


def test_a_stopped_instance_says_who_stopped_it_and_when() -> None:
    lab = Lab()
    web = lab.launch()
    lab.clock.time = 1795316405.0
    lab.stop(web)
    shown = lab.instance(web)
    assert shown["StateTransitionReason"] == "User initiated (2026-11-22 03:00:05 GMT)"
    assert shown["StateReason"]["Code"] == "Client.UserInitiatedShutdown"


def test_a_start_goes_through_pending_and_renews_the_launch_time() -> None:
    lab = Lab()
    web = lab.launch()
    launched = lab.instance(web)["LaunchTime"]
    lab.stop(web)
    assert lab.instance(web)["LaunchTime"] == launched
    lab.start(web)
    assert lab.state(web) == "pending"
    assert lab.instance(web)["LaunchTime"] > launched
    lab.wait(20)
    assert lab.state(web) == "running"
    assert lab.instance(web)["StateTransitionReason"] == ""
    assert lab.instance(web)["StateReason"] is None


def test_a_reboot_changes_neither_state_nor_launch_time() -> None:
    lab = Lab()
    web = lab.launch()
    launched = lab.instance(web)["LaunchTime"]
    lab.call("RebootInstances", InstanceIds=[web])
    for _ in range(60):
        assert lab.state(web) == "running"
        lab.wait(1)
    assert lab.instance(web)["LaunchTime"] == launched
    assert "guest_down" in lab.what_happened(web)


def test_stopping_a_stopped_and_starting_a_running_instance_change_nothing() -> None:
    lab = Lab()
    web = lab.launch()
    lab.start(web)
    assert lab.state(web) == "running"
    lab.stop(web)
    lab.call("StopInstances", InstanceIds=[web])
    assert lab.state(web) == "stopped"
    assert lab.what_happened(web).count("stop_requested") == 1


def test_an_instance_that_is_stopping_cannot_be_started() -> None:
    lab = Lab()
    web = lab.launch()
    lab.call("StopInstances", InstanceIds=[web])
    assert lab.error("StartInstances", InstanceIds=[web]) == "IncorrectInstanceState"


def test_an_instance_that_is_pending_cannot_be_stopped() -> None:
    lab = Lab()
    web = lab.launch()
    lab.stop(web)
    lab.start(web)
    assert lab.error("StopInstances", InstanceIds=[web]) == "IncorrectInstanceState"


def test_stop_protection_is_shown_refuses_and_is_lifted() -> None:
    lab = Lab()
    web = lab.launch(DisableApiStop=True)

    def shown() -> bool:
        answer = lab.call("DescribeInstanceAttribute", InstanceId=web, Attribute="disableApiStop")
        return bool(answer["DisableApiStop"]["Value"])

    assert shown()
    with pytest.raises(Ec2Error) as refused:
        lab.call("StopInstances", InstanceIds=[web])
    assert refused.value.code == "OperationNotPermitted"
    assert refused.value.message == (
        f"The instance '{web}' may not be stopped. Modify its 'disableApiStop' instance attribute "
        "and try again."
    )
    lab.call("ModifyInstanceAttribute", InstanceId=web, DisableApiStop={"Value": False})
    assert not shown()
    lab.stop(web)


def test_one_bad_id_fails_the_whole_request() -> None:
    lab = Lab()
    web = lab.launch()
    lab.stop(web)
    gone = "i-00000000000000000"
    assert lab.error("StartInstances", InstanceIds=[web, gone]) == "InvalidInstanceID.NotFound"
    assert lab.state(web) == "stopped"
    assert lab.error("StartInstances", InstanceIds=["web"]) == "InvalidInstanceID.Malformed"


def test_termination_takes_the_volumes_along() -> None:
    lab = Lab()
    web = lab.launch(volumes=[{"DeleteOnTermination": False}])
    lab.call("TerminateInstances", InstanceIds=[web])
    assert lab.state(web) == "shutting-down"
    lab.wait(30)
    assert lab.state(web) == "terminated"
    (left,) = lab.call("DescribeVolumes")["Volumes"]
    assert left["State"] == "available"
    assert lab.error("StartInstances", InstanceIds=[web]) == "IncorrectInstanceState"
    lab.wait(3601)
    assert lab.call("DescribeInstances")["Reservations"] == []


def test_termination_protection_refuses() -> None:
    lab = Lab()
    web = lab.launch(DisableApiTermination=True)
    assert lab.error("TerminateInstances", InstanceIds=[web]) == "OperationNotPermitted"


@pytest.mark.parametrize("parameter", ["Force", "SkipOsShutdown", "Hibernate"])
def test_a_stop_that_endangers_data_is_reported_as_a_violation(parameter: str) -> None:
    lab = Lab()
    web = lab.launch()
    lab.call("StopInstances", InstanceIds=[web], **{parameter: True})
    (violation,) = lab.world.truth()["violations"]
    assert violation["what"] == f"{parameter}=true"
    assert violation["by"] == "tester"
    assert violation["instances"] == [web]


def test_durations_lie_in_their_ranges_and_repeat_with_the_seed() -> None:
    def stop_seconds(seed: int) -> float:
        lab = Lab(seed=seed, stop_seconds=[20, 70])
        web = lab.launch()
        begin = lab.clock.time
        lab.stop(web)
        return lab.clock.time - begin

    durations = [stop_seconds(seed) for seed in range(8)]
    assert all(20 <= duration <= 70.25 for duration in durations)
    assert len(set(durations)) > 4
    assert stop_seconds(3) == durations[3]


def test_durations_do_not_depend_on_the_order_of_launches() -> None:
    def stop_seconds(names: list[str]) -> float:
        lab = Lab(stop_seconds=[20, 70])
        instances = {name: lab.launch(name) for name in names}
        begin = lab.clock.time
        lab.stop(instances["db"])
        return lab.clock.time - begin

    assert stop_seconds(["web", "db"]) == stop_seconds(["db", "web"])


def test_a_change_of_state_is_seen_a_moment_late_but_never_early() -> None:
    lab = Lab(state_lag_seconds=0.5)
    web = lab.launch()
    answer = lab.call("StopInstances", InstanceIds=[web])
    assert answer["StoppingInstances"][0]["CurrentState"]["Name"] == "stopping"
    assert lab.state(web) == "running"
    lab.wait(0.5)
    assert lab.state(web) == "stopping"
    lab.wait(29.5)
    assert lab.state(web) == "stopping"
    assert lab.instance_truth(web)["state"] == "stopped"
    lab.wait(0.5)
    assert lab.state(web) == "stopped"


def test_a_new_instance_is_invisible_for_a_moment() -> None:
    lab = Lab(visibility_seconds=1)
    answer = lab.call("RunInstances", MinCount=1, MaxCount=1)
    new = answer["Instances"][0]["InstanceId"]
    not_found = "InvalidInstanceID.NotFound"
    assert lab.error("DescribeInstances", InstanceIds=[new]) == not_found
    assert lab.call("DescribeInstances")["Reservations"] == []
    assert lab.error("StopInstances", InstanceIds=[new]) == not_found
    lab.wait(1)
    assert lab.state(new) == "pending"


def test_a_public_address_goes_with_a_stop_and_another_comes_with_a_start() -> None:
    lab = Lab()
    interface = {"DeviceIndex": 0, "AssociatePublicIpAddress": True}
    web = lab.launch(NetworkInterfaces=[interface])
    first = lab.instance(web)["PublicIpAddress"]
    assert first is not None
    assert lab.instance(web)["NetworkInterfaces"][0]["Association"]["IpOwnerId"] == "amazon"
    lab.stop(web)
    assert lab.instance(web)["PublicIpAddress"] is None
    lab.start(web)
    lab.wait(20)
    assert lab.instance(web)["PublicIpAddress"] not in (None, first)


def test_the_same_client_token_launches_only_once() -> None:
    lab = Lab()
    first = lab.call("RunInstances", MinCount=1, MaxCount=1, ClientToken="t")
    second = lab.call("RunInstances", MinCount=1, MaxCount=1, ClientToken="t")
    assert first["Instances"][0]["InstanceId"] == second["Instances"][0]["InstanceId"]


def test_knobs_change_one_instance_only() -> None:
    lab = Lab()
    slow, quick = lab.launch("slow"), lab.launch("quick")
    lab.world.configure("slow", stop_seconds=100)
    lab.call("StopInstances", InstanceIds=[slow, quick])
    lab.wait(30)
    assert (lab.state(slow), lab.state(quick)) == ("stopping", "stopped")
    lab.wait(70)
    assert lab.state(slow) == "stopped"
    assert lab.world.describe_physics("slow")["stop_seconds"] == {"low": 100.0, "high": 100.0}


def test_an_instance_can_be_put_to_rest_without_a_history() -> None:
    lab = Lab()
    answer = lab.call("RunInstances", MinCount=1, MaxCount=1)
    web = answer["Instances"][0]["InstanceId"]
    lab.world.configure(web, state="stopped")
    assert lab.state(web) == "stopped"
    lab.wait(100)
    assert lab.state(web) == "stopped"
    assert lab.instance_truth(web)["downs"] == []
    lab.world.configure(web, state="running")
    assert lab.state(web) == "running"


def test_knobs_show_hazards_and_aws_own_tags() -> None:
    lab = Lab()
    web = lab.launch()
    lab.world.configure(
        web,
        attributes={"InstanceLifecycle": "spot"},
        system_tags={"aws:autoscaling:groupName": "web"},
    )
    assert lab.instance(web)["InstanceLifecycle"] == "spot"
    assert {"Key": "aws:autoscaling:groupName", "Value": "web"} in lab.instance(web)["Tags"]


@pytest.mark.parametrize(
    "knobs",
    [
        {"stop_secs": 3},
        {"stop_seconds": [3, 2]},
        {"stop_seconds": -1},
        {"stop_seconds": "long"},
        {"stop_seconds": True},
        {"write_rate": [1, 2]},
        {"state": "terminated"},
        {"attributes": "spot"},
    ],
)
def test_an_unsound_knob_is_refused_in_words(knobs: dict[str, object]) -> None:
    lab = Lab()
    web = lab.launch()
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        lab.world.configure(web, **knobs)


def test_a_knob_needs_an_instance_that_exists() -> None:
    with pytest.raises(KeyError, match="nobody"):
        Lab().world.configure("nobody", hung=True)


def test_status_checks_pass_a_while_after_the_start_and_only_running_is_listed() -> None:
    lab = Lab(status_check_seconds=60)
    web = lab.launch()

    def statuses(**params: object) -> list[str]:
        answer = lab.call("DescribeInstanceStatus", **params)
        return [one["InstanceStatus"]["Status"] for one in answer["InstanceStatuses"]]

    lab.stop(web)
    assert statuses() == []
    assert statuses(IncludeAllInstances=True) == ["not-applicable"]
    lab.start(web)
    lab.wait(20)
    assert statuses() == ["initializing"]
    lab.wait(60)
    assert statuses() == ["ok"]
