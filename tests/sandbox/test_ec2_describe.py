"""Filters, pages and parameters of the Describe operations."""

import pytest

from sandbox.ec2.filters import pattern
from tests.sandbox.ec2_lab import Lab


def names(lab: Lab, **params: object) -> list[str]:
    answer = lab.call("DescribeInstances", **params)
    instances = [one for group in answer["Reservations"] for one in group["Instances"]]
    return sorted(tag["Value"] for one in instances for tag in one["Tags"] if tag["Key"] == "Name")


def where(name: str, *values: str) -> list[dict[str, object]]:
    return [{"Name": name, "Values": list(values)}]


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("tag:Name", ["web-1"], ["web-1"]),
        ("tag:Name", ["web-*"], ["web-1", "web-2"]),
        ("tag:Name", ["web-?", "db"], ["db", "web-1", "web-2"]),
        ("tag:Name", ["WEB-1"], []),
        ("tag-key", ["Name"], ["db", "web-1", "web-2"]),
        ("tag-key", ["stillpoint:*"], []),
        ("tag-value", ["db"], ["db"]),
        ("instance-state-name", ["stopped"], ["db"]),
        ("instance-state-code", ["16"], ["web-1", "web-2"]),
        ("instance-type", ["t3.micro"], ["db", "web-1", "web-2"]),
        ("instance-lifecycle", ["spot"], []),
        ("operator.managed", ["false"], ["db", "web-1", "web-2"]),
    ],
)
def test_instances_are_found_by_filter(name: str, values: list[str], expected: list[str]) -> None:
    lab = Lab()
    for one in ("web-1", "web-2", "db"):
        lab.launch(one)
    lab.world.configure("db", state="stopped")
    assert names(lab, Filters=where(name, *values)) == expected


def test_filters_are_joined_by_and() -> None:
    lab = Lab()
    lab.launch("web")
    lab.launch("db")
    both = where("tag:Name", "web") + where("instance-state-name", "stopped")
    assert names(lab, Filters=both) == []


def test_instances_are_found_by_id_and_volume() -> None:
    lab = Lab()
    web = lab.launch("web")
    lab.launch("db")
    volume = lab.instance(web)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    assert names(lab, Filters=where("instance-id", web)) == ["web"]
    assert names(lab, Filters=where("block-device-mapping.volume-id", volume)) == ["web"]
    assert names(lab, Filters=where("instance-id", "i-00000000000000000")) == []


@pytest.mark.parametrize(
    "action",
    [
        "DescribeInstances",
        "DescribeInstanceStatus",
        "DescribeImages",
        "DescribeSnapshots",
        "DescribeVolumes",
    ],
)
def test_an_unknown_or_empty_filter_is_an_error_and_never_ignored(action: str) -> None:
    lab = Lab()
    assert lab.error(action, Filters=where("no-such-filter", "x")) == "InvalidParameterValue"
    assert lab.error(action, Filters=where("tag:Name")) == "InvalidParameterValue"
    many = [str(number) for number in range(201)]
    assert lab.error(action, Filters=where("tag:Name", *many)) == "FilterLimitExceeded"
    assert lab.error(action, Filters=where("tag:Name", "x") * 51) == "FilterLimitExceeded"


def test_pages_hold_everything_once_in_the_same_order() -> None:
    lab = Lab()
    for number in range(12):
        lab.launch(f"web-{number}")
    found: list[str] = []
    token: str | None = None
    sizes = []
    while True:
        answer = lab.call("DescribeInstances", MaxResults=5, NextToken=token)
        page = [one["InstanceId"] for group in answer["Reservations"] for one in group["Instances"]]
        sizes.append(len(page))
        found += page
        token = answer["NextToken"]
        if token is None:
            break
    assert sizes == [5, 5, 2]
    assert len(set(found)) == 12
    everything = lab.call("DescribeInstances")
    assert everything["NextToken"] is None
    groups = everything["Reservations"]
    assert [one["InstanceId"] for group in groups for one in group["Instances"]] == found


def test_pages_and_ids_exclude_each_other() -> None:
    lab = Lab()
    web = lab.launch()
    for action in ("DescribeInstances", "DescribeInstanceStatus"):
        error = lab.error(action, InstanceIds=[web], MaxResults=5)
        assert error == "InvalidParameterCombination"


@pytest.mark.parametrize("size", [4, 1001])
def test_a_page_has_its_limits(size: int) -> None:
    assert Lab().error("DescribeInstances", MaxResults=size) == "InvalidParameterValue"


@pytest.mark.parametrize("token", ["nonsense", "!", "b2Zmc2V0Ong="])
def test_a_foreign_token_is_refused(token: str) -> None:
    error = Lab().error("DescribeInstances", MaxResults=5, NextToken=token)
    assert error == "InvalidPaginationToken"


def test_one_launch_is_one_reservation() -> None:
    lab = Lab()
    lab.call("RunInstances", MinCount=3, MaxCount=3)
    (reservation,) = lab.call("DescribeInstances")["Reservations"]
    assert len(reservation["Instances"]) == 3


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("name", "nightly-*", True),
        ("name", "nightly", False),
        ("state", "pending", True),
        ("state", "available", False),
        ("description", "*web*", True),
        ("tag:kind", "test", True),
        ("tag-key", "kind", True),
        ("is-public", "false", True),
        ("is-public", "true", False),
        ("architecture", "x86_64", True),
    ],
)
def test_images_are_found_by_filter(name: str, value: str, *, found: bool) -> None:
    lab = Lab()
    web = lab.launch()
    specification = {"ResourceType": "image", "Tags": [{"Key": "kind", "Value": "test"}]}
    description = "the web server"
    lab.create_image(web, "nightly-1", Description=description, TagSpecifications=[specification])
    assert bool(lab.call("DescribeImages", Filters=where(name, value))["Images"]) is found


def test_images_are_found_by_source_owner_and_snapshot() -> None:
    lab = Lab()
    web = lab.launch()
    image = lab.create_image(web)
    lab.wait(2)
    snapshot = lab.snapshots(image)[0]["SnapshotId"]
    for filters in (
        where("source-instance-id", web),
        where("image-id", image),
        where("block-device-mapping.snapshot-id", snapshot),
    ):
        assert len(lab.call("DescribeImages", Owners=["self"], Filters=filters)["Images"]) == 1
    assert lab.call("DescribeImages", Owners=["amazon"])["Images"] == []


def test_snapshots_are_found_by_volume_description_status_and_owner() -> None:
    lab = Lab()
    web = lab.launch(volumes=[{}])
    image = lab.create_image(web)
    lab.wait(5)
    volume = lab.instance(web)["BlockDeviceMappings"][1]["Ebs"]["VolumeId"]

    def count(**params: object) -> int:
        return len(lab.call("DescribeSnapshots", **params)["Snapshots"])

    assert count(Filters=where("volume-id", volume)) == 1
    assert count(Filters=where("description", f"*{image}")) == 2
    assert count(Filters=where("status", "pending")) == 2
    assert count(Filters=where("status", "completed")) == 0
    assert count(OwnerIds=["self"]) == 2
    assert count(OwnerIds=["amazon"]) == 0
    assert count(MaxResults=5) == 2


def test_volumes_are_found_by_id_and_by_their_instance() -> None:
    lab = Lab()
    web = lab.launch(volumes=[{"VolumeType": "st1", "VolumeSize": 125}])
    lab.launch("db")
    answer = lab.call("DescribeVolumes", Filters=where("attachment.instance-id", web))
    assert sorted(volume["VolumeType"] for volume in answer["Volumes"]) == ["gp3", "st1"]
    (volume,) = lab.call("DescribeVolumes", Filters=where("volume-type", "st1"))["Volumes"]
    assert volume["Attachments"][0]["InstanceId"] == web
    again = lab.call("DescribeVolumes", VolumeIds=[volume["VolumeId"]])["Volumes"]
    assert again[0]["Size"] == 125
    error = lab.error("DescribeVolumes", VolumeIds=["vol-00000000000000000"])
    assert error == "InvalidVolume.NotFound"


def test_a_volume_is_attached_and_detached_and_only_then_deleted() -> None:
    lab = Lab()
    web = lab.launch()
    volume = lab.call("CreateVolume", Size=8)["VolumeId"]
    lab.call("AttachVolume", VolumeId=volume, InstanceId=web, Device="/dev/sdf")
    assert len(lab.instance(web)["BlockDeviceMappings"]) == 2
    again = {"VolumeId": volume, "InstanceId": web, "Device": "/dev/sdg"}
    assert lab.error("AttachVolume", **again) == "VolumeInUse"
    assert lab.error("DeleteVolume", VolumeId=volume) == "VolumeInUse"
    lab.call("DetachVolume", VolumeId=volume)
    assert len(lab.instance(web)["BlockDeviceMappings"]) == 1
    assert lab.error("DetachVolume", VolumeId=volume) == "IncorrectState"
    lab.call("DeleteVolume", VolumeId=volume)
    assert len(lab.call("DescribeVolumes")["Volumes"]) == 1


@pytest.mark.parametrize(
    ("name", "has"),
    [
        ("t3.micro", False),
        ("m7i.large", False),
        ("m7i-flex.large", False),
        ("m5d.large", True),
        ("r6gd.xlarge", True),
        ("i4i.large", True),
        ("is4gen.medium", True),
        ("d3.xlarge", True),
        ("mac2.metal", False),
    ],
)
def test_instance_types_say_whether_they_have_an_instance_store(name: str, *, has: bool) -> None:
    lab = Lab()
    (shown,) = lab.call("DescribeInstanceTypes", InstanceTypes=[name])["InstanceTypes"]
    assert shown["InstanceStorageSupported"] is has
    assert shown["BareMetal"] is name.endswith("metal")
    found = where("instance-storage-supported", "true")
    answer = lab.call("DescribeInstanceTypes", InstanceTypes=[name], Filters=found)
    assert len(answer["InstanceTypes"]) == has


def test_an_unknown_instance_type_is_an_error() -> None:
    lab = Lab()
    assert lab.error("DescribeInstanceTypes", InstanceTypes=["huge"]) == "InvalidInstanceType"
    assert len(lab.call("DescribeInstanceTypes")["InstanceTypes"]) > 5


@pytest.mark.parametrize(
    ("value", "text", "matches"),
    [
        ("a*", "abc", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        (r"a\*", "a*", True),
        (r"a\*", "ab", False),
        ("a.c", "abc", False),
        ("*", "", True),
        ("a*c", "a\nc", True),
    ],
)
def test_wildcards(value: str, text: str, *, matches: bool) -> None:
    assert bool(pattern(value).fullmatch(text)) is matches
