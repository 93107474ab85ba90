"""Who names an image: instances and launch templates."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.sandbox.ec2_lab import Lab

IMAGE, OTHER = "ami-11112222", "ami-33334444"


def template(lab: Lab, name: str, image: str) -> str:
    data = {"ImageId": image}
    answer = lab.call("CreateLaunchTemplate", LaunchTemplateName=name, LaunchTemplateData=data)
    return str(answer["LaunchTemplate"]["LaunchTemplateId"])


def kind(name: str, option: str = "", *values: str) -> Mapping[str, Any]:
    options = [{"OptionName": option, "OptionValues": list(values)}] if option else []
    return {"ResourceType": name, "ResourceTypeOptions": options}


def arns(lab: Lab, *kinds: Mapping[str, Any]) -> list[str]:
    answer = lab.call("DescribeImageReferences", ImageIds=[IMAGE], ResourceTypes=list(kinds))
    return [one["Arn"].rpartition(":")[2] for one in answer["ImageReferences"]]


def test_instances_are_found_in_every_state_or_in_some() -> None:
    lab = Lab()
    first = lab.launch("first", ImageId=IMAGE)
    second = lab.launch("second", ImageId=IMAGE)
    lab.launch("third", ImageId=OTHER)
    assert set(arns(lab, kind("ec2:Instance"))) == {f"instance/{first}", f"instance/{second}"}
    lab.call("TerminateInstances", InstanceIds=[second])
    lab.wait(60)
    assert f"instance/{second}" in arns(lab, kind("ec2:Instance"))
    running = kind("ec2:Instance", "state-name", "running", "stopped")
    assert arns(lab, running) == [f"instance/{first}"]
    lab.wait(3700)
    assert arns(lab, kind("ec2:Instance")) == [f"instance/{first}"]


def test_launch_templates_are_found_by_their_latest_versions() -> None:
    lab = Lab()
    old = template(lab, "old", IMAGE)
    for _ in range(10):
        lab.call(
            "CreateLaunchTemplateVersion",
            LaunchTemplateId=old,
            LaunchTemplateData={"ImageId": OTHER},
        )
    assert arns(lab, kind("ec2:LaunchTemplate")) == []
    deep = kind("ec2:LaunchTemplate", "version-depth", "11")
    assert arns(lab, deep) == [f"launch-template/{old}"]
    lab.call("DeleteLaunchTemplate", LaunchTemplateId=old)
    assert arns(lab, deep) == []


def test_all_types_can_be_asked_for_and_come_in_pages() -> None:
    lab = Lab()
    web = lab.launch(ImageId=IMAGE)
    named = template(lab, "web", IMAGE)
    asked = {"ImageIds": [IMAGE, OTHER], "IncludeAllResourceTypes": True, "MaxResults": 1}
    first = lab.call("DescribeImageReferences", **asked)
    second = lab.call("DescribeImageReferences", **asked, NextToken=first["NextToken"])
    found = [one["Arn"] for page in (first, second) for one in page["ImageReferences"]]
    assert found == [
        f"arn:aws:ec2:us-east-1:000000000000:instance/{web}",
        f"arn:aws:ec2:us-east-1:000000000000:launch-template/{named}",
    ]
    assert second["NextToken"] is None


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"ImageIds": [IMAGE] * 2}, "MissingParameter"),
        ({"ImageIds": []}, "InvalidParameterValue"),
        ({"ImageIds": [f"ami-{n:08d}" for n in range(11)]}, "InvalidParameterValue"),
        ({"ImageIds": ["web"], "IncludeAllResourceTypes": True}, "InvalidAMIID.Malformed"),
        ({"ImageIds": [IMAGE], "ResourceTypes": [kind("s3:Bucket")]}, "InvalidParameterValue"),
        (
            {"ImageIds": [IMAGE], "ResourceTypes": [kind("ec2:Instance", "version-depth", "1")]},
            "InvalidParameterValue",
        ),
        (
            {
                "ImageIds": [IMAGE],
                "ResourceTypes": [kind("ec2:LaunchTemplate", "version-depth", "0")],
            },
            "InvalidParameterValue",
        ),
    ],
)
def test_unsound_requests_are_refused(params: dict[str, Any], error: str) -> None:
    lab = Lab()
    lab.launch(ImageId=IMAGE)
    assert lab.error("DescribeImageReferences", **params) == error


def test_the_versions_of_a_launch_template_are_listed() -> None:
    lab = Lab()
    named = template(lab, "web", IMAGE)
    lab.call(
        "CreateLaunchTemplateVersion",
        LaunchTemplateName="web",
        SourceVersion="1",
        VersionDescription="bigger",
        LaunchTemplateData={"InstanceType": "m7g.large"},
    )
    answer = lab.call("DescribeLaunchTemplateVersions", LaunchTemplateId=named)
    versions = answer["LaunchTemplateVersions"]
    assert [(one["VersionNumber"], one["DefaultVersion"]) for one in versions] == [
        (2, False),
        (1, True),
    ]
    assert versions[0]["LaunchTemplateData"] == {"ImageId": IMAGE, "InstanceType": "m7g.large"}
    lab.call("ModifyLaunchTemplate", LaunchTemplateId=named, DefaultVersion="2")
    by_image = [{"Name": "image-id", "Values": [IMAGE]}]
    default = lab.call("DescribeLaunchTemplateVersions", Versions=["$Default"], Filters=by_image)
    assert [one["VersionNumber"] for one in default["LaunchTemplateVersions"]] == [2]
    (shown,) = lab.call("DescribeLaunchTemplates", LaunchTemplateNames=["web"])["LaunchTemplates"]
    assert (shown["DefaultVersionNumber"], shown["LatestVersionNumber"]) == (2, 2)


def test_launch_templates_that_do_not_exist_are_refused() -> None:
    lab = Lab()
    template(lab, "web", IMAGE)
    again = lab.error("CreateLaunchTemplate", LaunchTemplateName="web")
    assert again == "InvalidLaunchTemplateName.AlreadyExistsException"
    error = lab.error("DeleteLaunchTemplate", LaunchTemplateId="lt-1")
    assert error == "InvalidLaunchTemplateId.NotFound"
    error = lab.error("DeleteLaunchTemplate", LaunchTemplateName="db")
    assert error == "InvalidLaunchTemplateName.NotFoundException"
    version = {"LaunchTemplateName": "web", "Versions": ["7"]}
    error = lab.error("DescribeLaunchTemplateVersions", **version)
    assert error == "InvalidLaunchTemplateId.VersionNotFound"
    assert lab.error("DescribeLaunchTemplateVersions") == "InvalidParameterCombination"
