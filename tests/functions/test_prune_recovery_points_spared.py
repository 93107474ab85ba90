"""What has expired and is left alone all the same, and what was never ours to delete."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from sandbox.virtual.stack import ACCOUNT
from stillpoint.errors import PruneIncomplete
from stillpoint.tags import Tag, iso
from tests.functions.prune_cloud import DAILY, HOME, OVERSEAS, Estate, backup_ended, fates, reasons

# ---------------------------------------------------------------- reasons to spare


def hold_image(estate: Estate, image_id: str) -> str:
    estate.cloud.tag([image_id], {Tag.HOLD: "2026-10-01/2026-12-31"})
    return "it is held until 2027-01-01T00:00:00Z"


def hold_oddly(estate: Estate, image_id: str) -> str:
    estate.cloud.tag([image_id], {Tag.HOLD: "legal, see ticket 7"})
    return "it is held: stillpoint:hold = legal, see ticket 7"


def hold_snapshot(estate: Estate, image_id: str) -> str:
    estate.cloud.tag(estate.snapshots_of(image_id)[1:], {Tag.HOLD: "true"})
    return "it is held until the tag is removed"


def protect(estate: Estate, image_id: str) -> str:
    estate.cloud.call("EnableImageDeregistrationProtection", ImageId=image_id)
    return "it is protected against deregistration (enabled-without-cooldown)"


def protect_with_cooldown(estate: Estate, image_id: str) -> str:
    estate.cloud.call("EnableImageDeregistrationProtection", ImageId=image_id, WithCooldown=True)
    estate.cloud.tag([image_id], {Tag.PROTECTED: "deregistration"})
    return "it is protected against deregistration (enabled-with-cooldown)"


def launch(estate: Estate, image_id: str) -> str:
    answer = estate.cloud.call("RunInstances", ImageId=image_id, MinCount=1, MaxCount=1)
    instance_id = answer["Instances"][0]["InstanceId"]
    return f"it is in use by arn:aws:ec2:{HOME}:{ACCOUNT}:instance/{instance_id}"


def launch_and_stop(estate: Estate, image_id: str) -> str:
    reason = launch(estate, image_id)
    estate.cloud.wait(minutes=5)
    estate.cloud.call("StopInstances", InstanceIds=[reason.rpartition("/")[2]])
    estate.cloud.wait(minutes=5)
    return reason


def put_into_an_old_version_of_a_template(estate: Estate, image_id: str) -> str:
    answer = estate.cloud.call(
        "CreateLaunchTemplate",
        LaunchTemplateName="web",
        LaunchTemplateData={"ImageId": image_id},
    )
    template = answer["LaunchTemplate"]["LaunchTemplateId"]
    for _ in range(12):
        estate.cloud.call(
            "CreateLaunchTemplateVersion",
            LaunchTemplateId=template,
            LaunchTemplateData={"ImageId": "ami-0fedcba9876543210"},
        )
    return f"it is in use by arn:aws:ec2:{HOME}:{ACCOUNT}:launch-template/{template}"


def put_into_a_launch_configuration(estate: Estate, image_id: str) -> str:
    estate.auto_scaling.configurations[HOME] += [
        {"LaunchConfigurationName": "other", "ImageId": "ami-0fedcba9876543210"},
        {"LaunchConfigurationName": "web-2019", "ImageId": image_id},
    ]
    return "it is in use by the launch configuration web-2019"


def put_into_an_override(estate: Estate, image_id: str) -> str:
    template = {"Overrides": [{"InstanceType": "m5.large"}, {"ImageId": image_id}]}
    estate.auto_scaling.groups[HOME] += [
        {"AutoScalingGroupName": "plain"},
        {"AutoScalingGroupName": "web", "MixedInstancesPolicy": {"LaunchTemplate": template}},
    ]
    return "it is in use by the Auto Scaling group web"


def lock(estate: Estate, image_id: str) -> str:
    snapshot_id = estate.snapshots_of(image_id)[0]
    estate.cloud.call(
        "LockSnapshot", SnapshotId=snapshot_id, LockMode="governance", LockDuration=30
    )
    until = estate.cloud.now + timedelta(days=30)
    return f"its snapshot {snapshot_id} is locked until {iso(until)}"


def begin_to_copy(estate: Estate, image_id: str) -> str:
    estate.copy(image_id, ready=False)
    return f"it is being copied to {OVERSEAS}"


def wait_for_a_copy(estate: Estate, image_id: str) -> str:
    estate.cloud.tag([image_id], {Tag.COPYING: OVERSEAS})
    return "it is still to be copied"


REASONS = [
    *(hold_image, hold_oddly, hold_snapshot, protect, protect_with_cooldown, launch),
    *(launch_and_stop, put_into_an_old_version_of_a_template, put_into_a_launch_configuration),
    *(put_into_an_override, lock, begin_to_copy, wait_for_a_copy),
]


@pytest.mark.parametrize("sweep", [True, False], ids=["daily", "after a backup"])
@pytest.mark.parametrize("spare", REASONS)
def test_what_there_is_a_reason_to_spare_is_left_alone_and_reported(
    estate: Estate, spare: Callable[[Estate, str], str], sweep: bool
) -> None:
    web = estate.instance(retain="1", volumes=2)
    points = estate.daily_points(web, 3, retain="1")
    reason = spare(estate, points[0])
    snapshots = estate.snapshots_of(points[0])
    request = {} if sweep else {"event": backup_ended(web)}
    answer = estate.prune(**request)  # type: ignore[arg-type]  # the event
    assert reasons(answer, "spared") == {points[0]: reason}
    assert fates(answer, "expired") == {points[1]}
    assert estate.images() == {points[0], points[2]}
    assert set(snapshots) <= set(estate.cloud.snapshots())


def test_a_copy_in_use_in_its_own_region_is_left_alone(estate: Estate) -> None:
    web = estate.instance(retain="1", copy_to=OVERSEAS)
    points = estate.daily_points(web, 2, retain="1")
    copies = [estate.copy(image_id) for image_id in points]
    estate.cloud.call("RunInstances", region=OVERSEAS, ImageId=copies[0], MinCount=1, MaxCount=1)
    answer = estate.prune()
    assert fates(answer, "spared") == {copies[0]}
    assert estate.images(HOME) == {points[1]}
    assert estate.images(OVERSEAS) == set(copies)


def test_when_the_reason_is_gone_it_goes(estate: Estate) -> None:
    points = estate.daily_points(estate.instance(retain="1"), 2, retain="1")
    estate.cloud.tag([points[0]], {Tag.HOLD: "2026-10-01/2026-10-20"})
    lock(estate, points[0])
    estate.prune()
    assert estate.images() == set(points)
    estate.cloud.wait(days=31)
    estate.prune()
    assert estate.images() == {points[1]}


def test_an_instance_that_was_terminated_uses_nothing(estate: Estate) -> None:
    points = estate.daily_points(estate.instance(retain="1"), 2, retain="1")
    restored = launch(estate, points[0]).rpartition("/")[2]
    estate.terminate(restored)
    estate.prune()
    assert estate.images() == {points[1]}


def test_our_own_protection_is_taken_off(estate: Estate) -> None:
    points = estate.daily_points(estate.instance(retain="1"), 3, retain="1")
    for image_id in points:
        protect(estate, image_id)
        estate.cloud.tag([image_id], {Tag.PROTECTED: "deregistration"})
    estate.prune()
    assert estate.images() == {points[2]}
    calls = [action for _, action in estate.cloud.calls]
    assert calls.count("DisableImageDeregistrationProtection") == 2


def test_while_a_region_is_silent_what_may_be_copied_to_it_stays(estate: Estate) -> None:
    web = estate.instance(retain="1")
    waiting = estate.point(web, retain="1", copying=OVERSEAS)
    done, newest = estate.point(web, retain="1"), estate.point(web, retain="1")
    estate.cloud.world.faults.add({"name": "region-outage", "region": OVERSEAS})
    answer = estate.dry_run()
    assert reasons(answer, "spared") == {
        waiting: f"it may be being copied to {OVERSEAS}, which does not answer"
    }
    assert fates(answer, "expired") == {done}
    assert answer["kept"] == 2
    assert newest in estate.images()
    assert len(answer["failures"]) == 1


def test_what_is_still_to_be_copied_waits_for_a_week(estate: Estate) -> None:
    web = estate.instance(retain="1", copy_to=OVERSEAS)
    waiting = estate.point(web, retain="1", copying=OVERSEAS)
    newest = estate.point(web, retain="1")
    estate.cloud.wait(days=6, hours=23)
    for event in (DAILY, backup_ended(web)):
        assert reasons(estate.prune(event), "spared") == {waiting: "it is still to be copied"}
    estate.cloud.wait(hours=1)
    estate.prune(backup_ended(web))
    assert estate.images() == {newest}


def test_a_silent_region_keeps_what_is_to_be_copied_to_it_longer(estate: Estate) -> None:
    web = estate.instance(retain="1", copy_to=OVERSEAS)
    waiting, newest = estate.point(web, retain="1", copying=OVERSEAS), estate.point(web, retain="1")
    estate.cloud.wait(days=30)
    fault = estate.cloud.world.faults.add({"name": "region-outage", "region": OVERSEAS})
    with pytest.raises(PruneIncomplete):
        estate.prune()
    assert estate.images() == {waiting, newest}
    estate.cloud.world.faults.clear(fault)
    estate.prune()
    assert estate.images() == {newest}


def test_nothing_goes_in_a_region_whose_uses_cannot_be_read(estate: Estate) -> None:
    web = estate.instance(retain="1")
    points = estate.daily_points(web, 2, retain="1")
    estate.cloud.refuse("DescribeImageReferences", "UnauthorizedOperation", 403)
    answer = estate.dry_run()
    assert reasons(answer, "spared") == {points[0]: "it is not known whether it is in use"}
    assert "reading the uses of images" in answer["failures"][0]


# ---------------------------------------------------------------- the last one


def fail_newer(estate: Estate, web: str) -> list[str]:
    estate.fail_the_next_image()
    return [estate.point(web, retain="1")]


def leave_newer_pending(estate: Estate, web: str) -> list[str]:
    estate.cloud.world.configure(web, image_seconds=1e9)
    return [estate.point(web, retain="1")]


def disable_newer(estate: Estate, web: str) -> list[str]:
    image_id = estate.point(web, retain="1")
    estate.cloud.call("DisableImage", ImageId=image_id)
    return [image_id]


def damage_newer(estate: Estate, web: str) -> list[str]:
    image_id = estate.point(web, retain="1")
    estate.lose_snapshots(estate.snapshots_of(image_id)[0])
    return [image_id]


def ruin_newer(estate: Estate, web: str) -> list[str]:
    image_id = estate.point(web, retain="1")
    estate.lose_snapshots(*estate.snapshots_of(image_id))
    return [image_id]


def leave_newer_unproven(estate: Estate, web: str) -> list[str]:
    image_id = estate.point(web, retain="1")
    estate.untag(image_id, Tag.CONSISTENCY)
    return [image_id]


def all_of_them(estate: Estate, web: str) -> list[str]:
    return [
        *fail_newer(estate, web),
        *disable_newer(estate, web),
        *damage_newer(estate, web),
        *leave_newer_unproven(estate, web),
        *leave_newer_pending(estate, web),
    ]


@pytest.mark.parametrize(
    "spoil",
    [
        *(fail_newer, leave_newer_pending, disable_newer, damage_newer, ruin_newer),
        *(leave_newer_unproven, all_of_them),
    ],
)
@pytest.mark.parametrize("days_later", [0, 1, 3, 100])
def test_the_last_available_one_is_never_deleted_for_what_cannot_be_launched(
    estate: Estate, spoil: Callable[[Estate, str], list[str]], days_later: int
) -> None:
    web = estate.instance(retain="1", volumes=2)
    older, last = estate.daily_points(web, 2, retain="1")
    spoil(estate, web)
    estate.cloud.wait(days=days_later)
    for event in (backup_ended(web), {"detail-type": "Scheduled Event"}):
        estate.prune(event)
    left = estate.cloud.images()
    assert left[last]["state"] == "available"
    assert older not in left
    assert set(left[last]["snapshots"]) <= set(estate.cloud.snapshots())


# ---------------------------------------------------------------- what is not ours


def an_owners_copy(estate: Estate, image_id: str) -> list[tuple[str, str]]:
    image = estate.cloud.images()[image_id]
    here = estate.copied_by_hand(image_id, f"{image['name']}-before-upgrade", image["tags"])
    there = estate.copied_by_hand(image_id, image["name"], image["tags"], region=OVERSEAS)
    return [(HOME, here), (OVERSEAS, there)]


def another_stacks_image(estate: Estate, image_id: str) -> list[tuple[str, str]]:
    estate.cloud.tag([image_id, *estate.snapshots_of(image_id)], {Tag.STACK: "stillpoint-test"})
    return [(HOME, image_id)]


def a_copy_from_a_stack_of_our_name(estate: Estate, image_id: str) -> list[tuple[str, str]]:
    image = estate.cloud.images()[image_id]
    tags = image["tags"] | {Tag.COPY_OF: "ap-south-1:ami-0123456789abcdef0"}
    there = estate.copied_by_hand(image_id, image["name"], tags, region=OVERSEAS)
    here = estate.copied_by_hand(image_id, image["name"] + "-c2", tags)
    return [(HOME, here), (OVERSEAS, there)]


def an_image_of_a_stack_of_our_name_over_there(
    estate: Estate, image_id: str
) -> list[tuple[str, str]]:
    image = estate.cloud.images()[image_id]
    there = estate.copied_by_hand(image_id, image["name"], image["tags"], region=OVERSEAS)
    return [(OVERSEAS, there)]


def an_image_that_its_owner_has_taken_over(estate: Estate, image_id: str) -> list[tuple[str, str]]:
    estate.untag(image_id, Tag.STACK)
    return [(HOME, image_id)]


def an_image_without_our_tags(estate: Estate, image_id: str) -> list[tuple[str, str]]:
    return [(HOME, estate.copied_by_hand(image_id, "golden", {"Name": "golden"}))]


@pytest.mark.parametrize(
    "make",
    [
        *(an_owners_copy, another_stacks_image, a_copy_from_a_stack_of_our_name),
        *(an_image_of_a_stack_of_our_name_over_there, an_image_that_its_owner_has_taken_over),
        an_image_without_our_tags,
    ],
)
@pytest.mark.parametrize("gone", [False, True])
def test_what_is_not_ours_is_never_touched(
    estate: Estate, make: Callable[[Estate, str], list[tuple[str, str]]], gone: bool
) -> None:
    web = estate.instance(retain="1")
    points = estate.daily_points(web, 3, retain="1")
    foreign = make(estate, points[0])
    snapshots = [
        (region, snapshot)
        for region, image_id in foreign
        for snapshot in estate.snapshots_of(image_id, region)
    ]
    before = {region: estate.cloud.images(region) for region in (HOME, OVERSEAS)}
    if gone:
        estate.terminate(web)
        estate.let_it_be_believed()
        estate.cloud.wait(days=4000)
    estate.prune(backup_ended(web))
    estate.prune()
    after = {region: estate.cloud.images(region) for region in (HOME, OVERSEAS)}
    for region, image_id in foreign:
        assert after[region][image_id] == before[region][image_id]
    for region, snapshot in snapshots:
        assert snapshot in estate.cloud.snapshots(region)
    ours = set() if gone else {points[2]}
    assert set(after[HOME]) == ours | {key for region, key in foreign if region == HOME}
