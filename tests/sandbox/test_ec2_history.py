"""A long history costs the calls of today nothing."""

from time import process_time

from tests.sandbox.ec2_lab import Lab

DAYS, FLEET, KEPT = 60, 9, 5
BY_TAG = [{"Name": "tag:stillpoint:stack", "Values": ["stillpoint"]}]


def play(lab: Lab, instances: list[str], first: int, days: int, images: list[str]) -> float:
    """Make and prune one image of each instance a day; the processor seconds that it takes."""
    tags = [
        {"ResourceType": kind, "Tags": [{"Key": "stillpoint:stack", "Value": "stillpoint"}]}
        for kind in ("image", "snapshot")
    ]
    begin = process_time()
    for day in range(first, first + days):
        for number, instance in enumerate(instances):
            images.append(lab.create_image(instance, f"{number}-{day}", TagSpecifications=tags))
        lab.wait(86_400)
        found = lab.call("DescribeImages", Owners=["self"], Filters=BY_TAG)["Images"]
        assert len(found) == min(len(images), (KEPT + 1) * len(instances))
        while len(images) > KEPT * len(instances):
            lab.call("DeregisterImage", ImageId=images.pop(0), DeleteAssociatedSnapshots=True)
    return process_time() - begin


def test_two_months_do_not_slow_the_third_down() -> None:
    lab = Lab()
    instances = [lab.launch(f"web-{number}") for number in range(FLEET)]
    images: list[str] = []
    play(lab, instances, 0, KEPT, images)
    early = play(lab, instances, KEPT, DAYS, images)
    late = play(lab, instances, KEPT + DAYS, DAYS, images)
    assert late < 2 * early + 0.5
    region = lab.world.region()
    assert len(region.images) == len(region.snapshots) == KEPT * FLEET
    assert len(lab.world.truth()["images"]) == FLEET * (KEPT + 2 * DAYS)
