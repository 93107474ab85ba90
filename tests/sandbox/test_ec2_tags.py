"""Tags, their limits, and when they are seen."""

import pytest

from tests.sandbox.ec2_lab import Lab


def tag(key: str, value: str = "") -> dict[str, str]:
    return {"Key": key, "Value": value}


def tags(lab: Lab, instance_id: str) -> dict[str, str]:
    return {one["Key"]: one["Value"] for one in lab.instance(instance_id)["Tags"]}


def test_tags_are_added_overwritten_and_removed() -> None:
    lab = Lab()
    web = lab.launch()
    lab.call("CreateTags", Resources=[web], Tags=[tag("a", "1"), tag("b", "2")])
    lab.call("CreateTags", Resources=[web], Tags=[tag("a", "3")])
    assert tags(lab, web) == {"Name": "web", "a": "3", "b": "2"}
    lab.call("DeleteTags", Resources=[web], Tags=[{"Key": "a"}, tag("b", "other")])
    assert tags(lab, web) == {"Name": "web", "b": "2"}
    lab.call("DeleteTags", Resources=[web], Tags=[tag("b", "2")])
    assert tags(lab, web) == {"Name": "web"}


def test_without_a_list_all_tags_go_but_those_of_aws() -> None:
    lab = Lab()
    web = lab.launch()
    lab.world.configure(web, system_tags={"aws:x": "y"})
    lab.call("DeleteTags", Resources=[web])
    assert tags(lab, web) == {"aws:x": "y"}


def test_a_resource_without_tags_has_no_list_of_them() -> None:
    lab = Lab()
    web = lab.launch()
    lab.call("DeleteTags", Resources=[web])
    assert lab.instance(web)["Tags"] is None


def test_many_kinds_of_resources_are_tagged_at_once() -> None:
    lab = Lab()
    web = lab.launch()
    image = lab.create_image(web)
    lab.wait(2)
    (snapshot,) = lab.snapshots(image)
    resources = [web, image, snapshot["SnapshotId"], snapshot["VolumeId"]]
    lab.call("CreateTags", Resources=resources, Tags=[tag("a", "1")])
    assert lab.image(image)["Tags"] == [tag("a", "1")]
    assert lab.snapshots(image)[0]["Tags"] == [tag("a", "1")]
    assert lab.call("DescribeVolumes")["Volumes"][0]["Tags"] == [tag("a", "1")]


def test_a_resource_bears_fifty_tags_and_those_of_aws_do_not_count() -> None:
    lab = Lab()
    web = lab.launch()
    lab.world.configure(web, system_tags={"aws:x": "y"})
    lab.call("CreateTags", Resources=[web], Tags=[tag(f"k{number}") for number in range(49)])
    error = lab.error("CreateTags", Resources=[web], Tags=[tag("one-more")])
    assert error == "TagLimitExceeded"
    lab.call("CreateTags", Resources=[web], Tags=[tag("k0", "overwritten")])
    assert len(tags(lab, web)) == 51


def test_a_request_that_fails_for_one_resource_changes_none() -> None:
    lab = Lab()
    full, empty = lab.launch("full"), lab.launch("empty")
    lab.call("CreateTags", Resources=[full], Tags=[tag(f"k{number}") for number in range(49)])
    lab.error("CreateTags", Resources=[empty, full], Tags=[tag("one-more")])
    assert tags(lab, empty) == {"Name": "empty"}


@pytest.mark.parametrize(
    "bad",
    [
        [tag("aws:reserved")],
        [tag("")],
        [tag("k" * 129)],
        [tag("k", "v" * 257)],
        [tag("k"), tag("k")],
    ],
)
def test_tags_that_ec2_refuses(bad: list[dict[str, str]]) -> None:
    lab = Lab()
    web = lab.launch()
    assert lab.error("CreateTags", Resources=[web], Tags=bad) == "InvalidParameterValue"
    specification = {"ResourceType": "image", "Tags": bad}
    error = lab.error(
        "CreateImage", InstanceId=web, Name="image", TagSpecifications=[specification]
    )
    assert error == "InvalidParameterValue"


@pytest.mark.parametrize(
    ("resource", "code"),
    [
        ("i-00000000000000000", "InvalidInstanceID.NotFound"),
        ("ami-00000000000000000", "InvalidAMIID.NotFound"),
        ("snap-00000000000000000", "InvalidSnapshot.NotFound"),
        ("vol-00000000000000000", "InvalidVolume.NotFound"),
    ],
)
def test_only_what_exists_can_be_tagged(resource: str, code: str) -> None:
    assert Lab().error("CreateTags", Resources=[resource], Tags=[tag("a")]) == code


def test_a_new_tag_is_seen_a_moment_late() -> None:
    lab = Lab(visibility_seconds=1)
    web = lab.launch()
    lab.call("CreateTags", Resources=[web], Tags=[tag("a", "1")])
    assert "a" not in tags(lab, web)
    found = [{"Name": "tag-key", "Values": ["a"]}]
    assert lab.call("DescribeInstances", Filters=found)["Reservations"] == []
    lab.wait(1)
    assert tags(lab, web)["a"] == "1"
