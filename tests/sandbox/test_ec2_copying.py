"""Copies of images in another Region: what they are, how long they take, what fails them."""

from typing import Any

import pytest

from sandbox.ec2 import Ec2Error
from tests.sandbox.ec2_lab import AWAY, HOME, Lab

KEY = "11112222-3333-4444-5555-666677778888"


def tags(kind: str, **values: str) -> dict[str, Any]:
    pairs = [{"Key": key, "Value": value} for key, value in values.items()]
    return {"ResourceType": kind, "Tags": pairs}


def test_a_copy_is_pending_and_has_its_snapshots_from_the_beginning() -> None:
    lab = Lab()
    image = lab.available_image(lab.launch(volumes=[{}]))
    copy = lab.copy(image)
    assert lab.copied(copy)["State"] == "pending"
    snapshots = lab.copied_snapshots(copy)
    assert [one["State"] for one in snapshots] == ["pending", "pending"]
    assert {one["VolumeId"] for one in snapshots} == {"vol-ffffffff"}
    assert all(
        f"DestinationAmi {copy} from SourceAmi {image}" in s["Description"] for s in snapshots
    )
    assert lab.error("DescribeImages", ImageIds=[copy]) == "InvalidAMIID.NotFound"
    lab.wait(800)
    assert [one["State"] for one in lab.copied_snapshots(copy)] == ["completed", "completed"]
    assert lab.copied(copy)["State"] == "pending"
    lab.wait(100)
    assert lab.copied(copy)["State"] == "available"


def test_a_copy_tells_its_source_and_no_instance() -> None:
    lab = Lab()
    web = lab.launch()
    image = lab.available_image(web)
    shown = lab.copied(lab.copy(image, Description="elsewhere"))
    assert (shown["SourceImageId"], shown["SourceImageRegion"]) == (image, HOME)
    assert shown["SourceInstanceId"] is None
    assert shown["Description"] == "elsewhere"
    by_source = [{"Name": "source-image-id", "Values": [image]}]
    assert len(lab.call_in(AWAY, "DescribeImages", Filters=by_source)["Images"]) == 1
    by_instance = [{"Name": "source-instance-id", "Values": [web]}]
    assert lab.call_in(AWAY, "DescribeImages", Filters=by_instance)["Images"] == []


def test_an_image_of_an_instance_descends_from_the_image_that_it_was_launched_from() -> None:
    lab = Lab()
    web = lab.launch(ImageId="ami-11112222")
    shown = lab.image(lab.create_image(web))
    assert (shown["SourceImageId"], shown["SourceImageRegion"]) == ("ami-11112222", HOME)


def test_the_truth_of_a_copy_is_that_of_its_source() -> None:
    lab = Lab()
    web = lab.launch()
    image = lab.available_image(web)
    copy = lab.copy(image)
    source, truth = lab.image_truth(image), lab.image_truth(copy)
    assert truth["copy_of"] == f"{HOME}:{image}"
    assert source["copy_of"] is None
    assert truth["dirty_bytes"] == source["dirty_bytes"] > 0
    assert truth["at_rest"] is source["at_rest"] is False
    assert (truth["instance_id"], truth["origin_instance_id"]) == (None, web)
    assert truth["instance_name"] == "web"
    assert truth["region"] == AWAY
    assert truth["snapshots"][0]["copy_of"] == source["snapshots"][0]["snapshot_id"]


def test_tags_of_the_request_go_to_the_copy_and_to_its_snapshots() -> None:
    lab = Lab()
    image = lab.available_image(lab.launch())
    lab.call("CreateTags", Resources=[image], Tags=[{"Key": "old", "Value": "1"}])
    copy = lab.copy(image, TagSpecifications=[tags("image", a="i"), tags("snapshot", a="s")])
    assert lab.copied(copy)["Tags"] == [{"Key": "a", "Value": "i"}]
    assert lab.copied_snapshots(copy)[0]["Tags"] == [{"Key": "a", "Value": "s"}]


def test_an_owner_s_copy_can_take_the_tags_along_but_not_those_of_aws() -> None:
    lab = Lab()
    image = lab.available_image(lab.launch())
    lab.call("CreateTags", Resources=[image], Tags=[{"Key": "old", "Value": "1"}])
    lab.world.region().tags.merge(image, {"aws:cloudformation:stack-name": "x"}, 0)
    copy = lab.copy(image, CopyImageTags=True, TagSpecifications=[tags("image", new="2")])
    pairs = [(tag["Key"], tag["Value"]) for tag in lab.copied(copy)["Tags"]]
    assert pairs == [("new", "2"), ("old", "1")]


def test_the_same_token_copies_only_once() -> None:
    lab = Lab()
    image = lab.available_image(lab.launch())
    copy = lab.copy(image, ClientToken="once")
    assert lab.copy(image, ClientToken="once") == copy
    with pytest.raises(Ec2Error) as refused:
        lab.copy(image, "other-name", ClientToken="once")
    assert refused.value.code == "IdempotentParameterMismatch"
    assert len(lab.call_in(AWAY, "DescribeImages")["Images"]) == 1


def test_names_are_unique_in_each_region_alone() -> None:
    lab = Lab()
    image = lab.available_image(lab.launch(), "nightly")
    lab.copy(image, "nightly")
    with pytest.raises(Ec2Error) as refused:
        lab.copy(image, "nightly")
    assert refused.value.code == "InvalidAMIName.Duplicate"


def test_what_cannot_be_copied_is_refused() -> None:
    lab = Lab()
    web = lab.launch()
    pending = lab.create_image(web, "pending")
    lab.wait(20)
    gone = lab.available_image(web, "gone")
    lab.call("DeregisterImage", ImageId=gone)

    def error(**changes: object) -> str:
        options = {"SourceImageId": pending, "SourceRegion": HOME, "Name": "copy", **changes}
        return lab.error_in(AWAY, "CopyImage", **options)

    lab.world.region(region=AWAY)
    cut = lab.create_image(web, "cut")
    assert error(SourceImageId=cut) == "InvalidAMIID.Unavailable"
    assert error(SourceImageId=gone) == "InvalidAMIID.Unavailable"
    assert error(SourceImageId="ami-00000000") == "InvalidAMIID.NotFound"
    assert error(SourceRegion="mars-north-1") == "InvalidAMIID.NotFound"
    assert error(SourceRegion="") == "MissingParameter"
    assert error(Name="a:b") == "InvalidAMIName.Malformed"
    assert error(KmsKeyId=KEY) == "InvalidParameterDependency"
    assert error() == ""


def test_encryption_can_be_added_and_is_never_taken_away() -> None:
    lab = Lab()
    key = lab.world.add_key(KEY, region=AWAY)
    image = lab.available_image(lab.launch(volumes=[{"Encrypted": True}]))
    plain = lab.copied_snapshots(lab.copy(image, "plain", Encrypted=False))
    assert [one["Encrypted"] for one in plain] == [False, True]
    assert plain[1]["KmsKeyId"].startswith(f"arn:aws:kms:{AWAY}:")
    default = lab.copied_snapshots(lab.copy(image, "default", Encrypted=True))
    assert [one["Encrypted"] for one in default] == [True, True]
    for number, name in enumerate((KEY, key)):
        ours = lab.copied_snapshots(lab.copy(image, f"own-{number}", Encrypted=True, KmsKeyId=name))
        assert {one["KmsKeyId"] for one in ours} == {key}


def test_a_copy_within_its_region_keeps_the_key() -> None:
    lab = Lab()
    key = lab.world.add_key(KEY)
    image = lab.available_image(lab.launch(volumes=[{"Encrypted": True, "KmsKeyId": key}]))
    options = {"SourceImageId": image, "SourceRegion": HOME, "Name": "copy"}
    copy = str(lab.call("CopyImage", **options)["ImageId"])
    mappings = lab.image(copy)["BlockDeviceMappings"]
    snapshot = lab.call("DescribeSnapshots", SnapshotIds=[mappings[1]["Ebs"]["SnapshotId"]])
    assert snapshot["Snapshots"][0]["KmsKeyId"] == key


def test_a_bad_key_is_accepted_and_fails_the_copy_later() -> None:
    lab = Lab()
    home_key = lab.world.add_key(KEY)
    image = lab.available_image(lab.launch())
    copy = lab.copy(image, Encrypted=True, KmsKeyId=home_key)
    assert lab.copied(copy)["State"] == "pending"
    lab.wait(60)
    shown = lab.copied(copy)
    assert shown["State"] == "failed"
    assert "Given key ID is not accessible" in shown["StateReason"]["Message"]
    (snapshot,) = lab.copied_snapshots(copy)
    assert snapshot["State"] == "error"
    assert snapshot["StateMessage"] == "Given key ID is not accessible"
    lab.call_in(AWAY, "DeregisterImage", ImageId=copy, DeleteAssociatedSnapshots=True)
    assert lab.call_in(AWAY, "DescribeSnapshots")["Snapshots"] == []


def test_deregistering_the_source_fails_a_copy_in_progress_but_not_a_finished_one() -> None:
    lab = Lab()
    image = lab.available_image(lab.launch())
    finished = lab.copy(image, "finished")
    lab.wait(1000)
    pending = lab.copy(image, "pending")
    lab.call("DeregisterImage", ImageId=image, DeleteAssociatedSnapshots=True)
    assert lab.copied(finished)["State"] == "available"
    assert lab.copied(pending)["State"] == "failed"
    assert lab.copied_snapshots(pending)[0]["State"] == "error"
    lab.wait(1000)
    assert lab.copied(pending)["State"] == "failed"


def test_three_hundred_copies_are_in_progress_at_most() -> None:
    lab = Lab()
    image = lab.available_image(lab.launch())
    copies = [lab.copy(image, f"copy-{number}") for number in range(300)]
    with pytest.raises(Ec2Error) as refused:
        lab.copy(image, "one-more")
    assert refused.value.code == "ResourceLimitExceeded"
    lab.call_in(AWAY, "DeregisterImage", ImageId=copies[0])
    lab.copy(image, "one-more")
    lab.wait(900)
    lab.copy(image, "another")


def test_copies_draw_on_a_bucket_that_refills_slowly() -> None:
    lab = Lab()
    image = lab.available_image(lab.launch())
    lab.world.region(region=AWAY).throttle.enabled = True
    for number in range(100):
        lab.copy(image, f"copy-{number}")
    with pytest.raises(Ec2Error, match="RequestLimitExceeded"):
        lab.copy(image, "too-many")
    lab.wait(1)
    lab.copy(image, "later")


def test_a_copy_can_be_copied_on() -> None:
    lab = Lab()
    web = lab.launch()
    copy = lab.copy(lab.available_image(web))
    lab.wait(900)
    options = {"SourceImageId": copy, "SourceRegion": AWAY, "Name": "back"}
    again = str(lab.call("CopyImage", **options)["ImageId"])
    assert lab.image_truth(again)["copy_of"] == f"{AWAY}:{copy}"
    assert lab.image_truth(again)["origin_instance_id"] == web


def test_a_copy_can_fail_and_can_be_stuck() -> None:
    lab = Lab()
    image = lab.available_image(lab.launch())
    lab.world.faults.add({"name": "copy-failed", "instance": "web", "delay_seconds": 60})
    failed = lab.copy(image, "failed")
    lab.world.faults.add({"name": "copy-stuck", "region": AWAY})
    stuck = lab.copy(image, "stuck")
    lab.wait(60)
    assert lab.copied(failed)["State"] == "failed"
    assert lab.copied_snapshots(failed)[0]["State"] == "error"
    lab.wait(86_400)
    assert lab.copied(stuck)["State"] == "pending"
    assert lab.copied_snapshots(stuck)[0]["Progress"] == "99%"


def test_a_copy_takes_as_long_as_the_physics_of_its_instance_say() -> None:
    lab = Lab()
    slow, fast = lab.launch("slow"), lab.launch("fast")
    lab.world.configure("slow", copy_seconds=7200)
    lab.create_image(slow, "slow")
    copies = [lab.copy(lab.available_image(fast, "fast"), "fast")]
    by_name = [{"Name": "name", "Values": ["slow"]}]
    (image,) = lab.call("DescribeImages", Filters=by_name)["Images"]
    copies.append(lab.copy(image["ImageId"], "slow"))
    lab.wait(900)
    assert [lab.copied(copy)["State"] for copy in copies] == ["available", "pending"]
    lab.wait(6300)
    assert lab.copied(copies[1])["State"] == "available"
