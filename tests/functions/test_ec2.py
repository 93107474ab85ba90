"""Reading instances and images, and writing tags: what the calls say and what they leave out."""

import pytest

from stillpoint.aws import ec2, executions, images
from stillpoint.aws.volumes import volumes_attached_to
from stillpoint.errors import AwsRefused
from stillpoint.instance import AttachedVolume, Placement
from stillpoint.tags import Tag
from tests.functions.captured import EXECUTION, a_captured
from tests.functions.faults import answered, refused, small_pages
from tests.functions.fleet import (
    attach_volume,
    backend,
    change,
    launch,
    launch_one,
    lend_public_ip,
    set_launch_time,
    set_state,
    tags_of,
    volumes_of,
)
from tests.functions.stack import Stack
from tests.unit.builders import at

UNKNOWN = "i-0123456789abcdef0"


def test_an_instance_is_read_with_all_that_a_backup_needs_to_know() -> None:
    web = launch_one(name="web", instance_type="t3.micro")
    attach_volume(web)
    set_launch_time(web, at("2026-11-01 12:00"))
    set_state(web, "stopped", reason="Client.UserInitiatedShutdown")
    instance = ec2.instances_by_id([web])[web]
    root, data = volumes_of(web)
    assert (instance.instance_id, instance.name, instance.state) == (web, "web", "stopped")
    assert instance.instance_type == "t3.micro"
    assert (instance.root_device_type, instance.root_device_name) == ("ebs", "/dev/sda1")
    assert instance.volumes == (
        AttachedVolume(root, "/dev/sda1"),
        AttachedVolume(data, "/dev/sdf"),
    )
    assert instance.launch_time == at("2026-11-01 12:00")
    assert instance.state_reason == "Client.UserInitiatedShutdown"
    assert instance.tags[Tag.SCHEDULE] == "daily 03:00"
    assert (instance.lifecycle, instance.managed, instance.hibernation) == (None, False, False)
    assert instance.vpc_id == backend().get_instance(web).vpc_id
    assert instance.platform == "linux"


@pytest.mark.parametrize(
    ("said", "platform"), [({}, "linux"), ({"Platform": "windows"}, "windows")]
)
def test_ec2_names_the_platform_only_of_windows(said: dict[str, str], platform: str) -> None:
    row = {"InstanceId": UNKNOWN, "State": {"Name": "running"}, **said}
    with answered("ec2", "DescribeInstances", {"Reservations": [{"Instances": [row]}]}):
        (instance,) = ec2.scheduled_instances()
    assert (instance.platform, instance.vpc_id) == (platform, "")


@pytest.mark.parametrize(("behaviour", "terminated"), [("stop", False), ("terminate", True)])
def test_a_shutdown_stops_or_terminates_as_the_owner_says(behaviour: str, terminated: bool) -> None:
    web = launch_one()
    change(web, instance_initiated_shutdown_behavior=behaviour)
    assert ec2.is_terminated_by_a_shutdown(web) == terminated


def test_only_an_address_that_amazon_owns_is_lost_by_a_stop() -> None:
    kept, lost = launch(2)
    lend_public_ip(lost)
    found = ec2.instances_by_id([kept, lost])
    assert found[kept].public_ip is None
    assert found[lost].public_ip is not None


NETWORK_INTERFACE = {"PrivateIpAddresses": [{"Primary": True, "Association": {"PublicIp": "x"}}]}
SECOND_ADDRESS = {"Primary": False, "PrivateIpAddress": "10.0.0.5"}


@pytest.mark.parametrize(
    ("interfaces", "another"),
    [
        ([NETWORK_INTERFACE], True),
        ([NETWORK_INTERFACE, {"PrivateIpAddresses": []}], False),
        ([{"PrivateIpAddresses": [SECOND_ADDRESS]}], True),
        ([{"PrivateIpAddresses": [SECOND_ADDRESS | {"Association": {"PublicIp": "x"}}]}], False),
    ],
)
def test_a_second_interface_or_elastic_ip_keeps_a_start_from_bringing_a_new_address(
    interfaces: list[dict[str, object]], another: bool
) -> None:
    row = {"InstanceId": UNKNOWN, "State": {"Name": "running"}, "NetworkInterfaces": interfaces}
    with answered("ec2", "DescribeInstances", {"Reservations": [{"Instances": [row]}]}):
        (instance,) = ec2.scheduled_instances()
    assert instance.gets_new_public_ip is another


def test_the_place_of_an_instance_and_the_reservation_that_it_targets_are_read() -> None:
    web = launch_one()
    place = {"tenancy": "host", "affinity": "host", "host_id": "h-0a", "group_name": "hpc"}
    target = {"CapacityReservationTarget": {"CapacityReservationId": "cr-0a"}}
    change(web, placement=place, capacity_reservation_specification=target)
    instance = ec2.instances_by_id([web])[web]
    assert instance.placement == Placement("host", "host", "h-0a", "hpc")
    assert instance.capacity_reservation == "cr-0a"
    assert ec2.instances_by_id([launch_one()]).popitem()[1].placement == Placement()


def test_the_group_of_an_instance_is_that_of_auto_scalings_own_tag() -> None:
    member, other = launch_one(tags={"aws:autoscaling:groupName": "web-asg"}), launch_one()
    found = ec2.instances_by_id([member, other])
    assert found[member].auto_scaling_group == "web-asg"
    assert found[other].auto_scaling_group is None


def test_an_answer_that_says_little_is_read_too() -> None:
    row = {"InstanceId": UNKNOWN, "State": {"Name": "running"}}
    with answered("ec2", "DescribeInstances", {"Reservations": [{"Instances": [row]}]}):
        (instance,) = ec2.scheduled_instances()
    assert (instance.instance_id, instance.tags, instance.volumes) == (UNKNOWN, {}, ())
    assert (instance.public_ip, instance.launch_time, instance.state_reason) == (None, None, "")
    assert (instance.placement, instance.capacity_reservation) == (Placement(), None)


def test_one_that_is_gone_is_absent_and_hides_nobody() -> None:
    web = launch_one()
    assert ec2.instances_by_id([UNKNOWN, web]).keys() == {web}
    assert ec2.instances_by_id([]) == {}


def test_instances_with_a_schedule_or_a_cycle_are_found_and_no_others() -> None:
    scheduled = launch_one(seen=None)
    busy = launch_one(schedule=None, cycle="execution=x before=running since=?")
    launch_one(schedule=None, group="erp")
    assert {instance.instance_id for instance in ec2.scheduled_instances()} == {scheduled, busy}


def test_more_ids_than_a_filter_holds_are_asked_for_in_several_calls() -> None:
    ids = [f"i-{number:017x}" for number in range(450)]
    with small_pages("DescribeInstances", 1000) as calls:
        assert ec2.instances_by_id(ids) == {}
    assert len(calls) == 3


def test_more_resources_than_one_call_may_tag_are_tagged_in_several() -> None:
    with answered("ec2", "CreateTags", {}) as calls:
        ec2.create_tags([f"i-{number:017x}" for number in range(2100)], {"Name": "web"})
    assert len(calls) == 3


def test_a_tag_that_has_changed_meanwhile_is_not_removed() -> None:
    web = launch_one(name="web")
    ec2.delete_tag(web, "Name", "shop")
    assert tags_of(web)["Name"] == "web"
    ec2.delete_tag(web, "Name", "web")
    assert "Name" not in tags_of(web)


def test_instance_types_with_an_instance_store_are_told_from_the_others() -> None:
    types = ["m5.large", "m5d.large", "i3.large", "m5d.large"]
    assert ec2.types_with_instance_store(types) == {"m5d.large", "i3.large"}


def test_images_and_snapshots_are_found_by_their_execution(stack: Stack) -> None:
    backup = a_captured(stack, 2, volumes=2)
    found = images.images_of(EXECUTION)
    assert {each: image.image_id for each, image in found.items()} == dict(
        zip(backup.instance_ids, backup.image_ids, strict=True)
    )
    snapshots = images.snapshots_of(EXECUTION)
    for instance_id, expected in zip(backup.instance_ids, backup.snapshot_ids, strict=True):
        rows = snapshots[instance_id]
        assert sorted(row.snapshot_id for row in rows) == sorted(expected)
        assert sorted(row.volume_id for row in rows) == sorted(volumes_of(instance_id))
        assert {row.started_at for row in rows} == {at("2026-11-22 03:00:38")}


def test_images_of_another_execution_are_none_of_ours(stack: Stack) -> None:
    a_captured(stack)
    assert images.images_of("another") == {}
    assert images.snapshots_of("another") == {}


def test_a_volume_knows_its_instances_and_its_key() -> None:
    web = launch_one()
    attach_volume(web, kms_key_id="arn:aws:kms:eu-west-1:123456789012:key/k")
    plain, encrypted = sorted(volumes_attached_to([web]), key=lambda v: bool(v.kms_key_arn))
    assert plain.kms_key_arn is None
    assert encrypted.kms_key_arn == "arn:aws:kms:eu-west-1:123456789012:key/k"
    assert plain.instance_ids == encrypted.instance_ids == (web,)
    assert plain.volume_type == "gp2"


def test_an_execution_is_started_once_by_its_name(stack: Stack) -> None:
    first = executions.start(stack.state_machine_arn, "web-1", {"a": 1})
    again = executions.start(stack.state_machine_arn, "web-1", {"a": 1})
    other = executions.start(stack.state_machine_arn, "web-1", {"a": 2})
    assert (first, again) == (executions.Start.STARTED, executions.Start.STARTED)
    assert other is executions.Start.ALREADY_RUNNING
    stack.end_execution("web-1")
    ended = executions.start(stack.state_machine_arn, "web-1", {"a": 1})
    assert ended is executions.Start.ALREADY_FAILED
    assert stack.executions() == {"web-1": {"a": 1}}


def test_the_order_of_the_keys_does_not_make_another_input(stack: Stack) -> None:
    executions.start(stack.state_machine_arn, "web-1", {"a": 1, "b": 2})
    again = executions.start(stack.state_machine_arn, "web-1", {"b": 2, "a": 1})
    assert again is executions.Start.STARTED


def test_an_execution_that_may_not_be_started_is_a_refusal(stack: Stack) -> None:
    with (
        refused("stepfunctions", "StartExecution", "AccessDeniedException"),
        pytest.raises(AwsRefused, match="starting the backup web-1"),
    ):
        executions.start(stack.state_machine_arn, "web-1", {})
