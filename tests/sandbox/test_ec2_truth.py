"""What the world tells of downtime, of its floor and of the calls that were made."""

import json

from tests.sandbox.ec2_lab import Lab


def test_the_floor_of_a_downtime_is_its_own_stop_initiation_and_start() -> None:
    lab = Lab()
    web = lab.launch(volumes=[{}, {}])
    lab.stop(web)
    lab.wait(7)
    lab.create_image(web)
    lab.wait(13)
    lab.start(web)
    lab.wait(20)
    (down,) = lab.instance_truth(web)["downs"]
    assert down["kind"] == "stop"
    assert down["downtime_seconds"] == 30 + 7 + 13 + 20
    assert down["floor_seconds"] == 30 + 3 + 20


def test_the_floor_counts_the_last_image_that_did_not_fail() -> None:
    lab = Lab()
    web = lab.launch()
    lab.stop(web)
    lab.world.faults.add({"name": "image-failed", "delay_seconds": 3})
    lab.create_image(web, "first")
    lab.wait(20)
    lab.create_image(web, "second")
    lab.wait(5)
    lab.start(web)
    lab.wait(20)
    (down,) = lab.instance_truth(web)["downs"]
    assert down["floor_seconds"] == 30 + 1 + 20
    assert down["downtime_seconds"] == 30 + 25 + 20
    assert len(down["image_ids"]) == 2


def test_a_down_period_that_lasts_has_no_figures_yet() -> None:
    lab = Lab()
    web = lab.launch()
    lab.stop(web)
    (down,) = lab.instance_truth(web)["downs"]
    assert down["downtime_seconds"] is None
    assert down["floor_seconds"] is None
    assert down["up_at"] is None


def test_the_history_tells_what_happened_in_order_and_by_whom() -> None:
    lab = Lab()
    web = lab.launch()
    lab.stop(web)
    lab.create_image(web)
    lab.wait(2)
    lab.start(web)
    lab.wait(20)
    assert lab.what_happened(web) == [
        "launched",
        "guest_booted",
        "running",
        "stop_requested",
        "guest_shut_down",
        "stopped",
        "image_requested",
        "snapshot_initiated",
        "start_requested",
        "guest_booted",
        "running",
    ]
    events = lab.instance_truth(web)["events"]
    assert {one["by"] for one in events if one["what"].endswith("_requested")} == {"tester"}
    moments = [one["at"] for one in events]
    assert moments == sorted(moments)


def test_the_truth_is_ready_for_json_and_has_images_snapshots_and_tags() -> None:
    lab = Lab()
    web = lab.launch()
    specification = {"ResourceType": "snapshot", "Tags": [{"Key": "a", "Value": "b"}]}
    image = lab.create_image(web, TagSpecifications=[specification])
    lab.wait(2)
    truth = json.loads(json.dumps(lab.world.truth()))
    assert truth["images"][0]["image_id"] == image
    assert truth["images"][0]["instance_name"] == "web"
    assert truth["images"][0]["snapshots"] == truth["snapshots"]
    assert truth["snapshots"][0]["tags"] == {"a": "b"}
    assert truth["violations"] == []


def test_a_world_that_nobody_watched_is_where_a_watched_one_is() -> None:
    def story(step: float) -> object:
        lab = Lab(stop_seconds=[20, 70], image_seconds=[180, 1200])
        answer = lab.call("RunInstances", MinCount=1, MaxCount=1)
        web = answer["Instances"][0]["InstanceId"]
        lab.wait(100)
        lab.call("StopInstances", InstanceIds=[web])
        lab.create_image(web)
        for _ in range(int(2000 / step)):
            lab.wait(step)
            lab.world.advance()
        return lab.world.truth()

    assert story(1) == story(2000)


def test_every_call_is_recorded_with_its_caller_its_moment_and_its_error() -> None:
    lab = Lab()
    web = lab.launch()
    lab.world.calls.clear()
    lab.call("DescribeInstances", InstanceIds=[web])
    lab.error("StartInstances", InstanceIds=["i-00000000000000000"])
    first, second = lab.world.calls
    assert (first.action, first.principal, first.error) == ("DescribeInstances", "tester", None)
    assert (first.instances, first.at) == ((web,), lab.clock.time)
    assert (second.action, second.error) == ("StartInstances", "InvalidInstanceID.NotFound")


def test_calls_about_images_and_snapshots_concern_the_instance_behind_them() -> None:
    lab = Lab()
    web = lab.launch()
    image = lab.create_image(web)
    lab.wait(700)
    (snapshot,) = lab.snapshots(image)
    lab.call("DescribeSnapshots", SnapshotIds=[snapshot["SnapshotId"]])
    lab.call("DeregisterImage", ImageId=image)
    filters = [{"Name": "instance-id", "Values": [web]}]
    lab.call("DescribeInstances", Filters=filters)
    assert [call.instances for call in lab.world.calls[-3:]] == [(web,)] * 3
