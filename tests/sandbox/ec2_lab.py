"""A world whose clock is moved by hand, and short ways to launch, stop, image and start in it."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sandbox.ec2 import Ec2Error, Physics, World

HOME, AWAY = "us-east-1", "eu-west-1"
START = datetime(2026, 11, 22, 3, 0, tzinfo=UTC).timestamp()
# Everything visible at once, and figures that are easy to reckon with.
CALM: Mapping[str, object] = {
    "stop_seconds": 30,
    "start_seconds": 20,
    "first_snapshot_seconds": 1,
    "next_snapshot_seconds": 1,
    "image_seconds": 600,
    "copy_seconds": 900,
    "snapshot_share": 0.8,
    "visibility_seconds": 0,
    "state_lag_seconds": 0,
}


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> float:
        return self.time


class Lab:
    """One world, its clock, and what a caller would do there."""

    def __init__(self, *, seed: int = 1, throttled: bool = False, **physics: object) -> None:
        self.clock = ManualClock()
        figures = Physics().changed({**CALM, **physics})
        self.world = World(self.clock, seed, figures, throttled=throttled)

    def wait(self, seconds: float) -> None:
        self.clock.time += seconds

    def call(self, action: str, **params: object) -> Mapping[str, Any]:
        return self.world.call(action, params, principal="tester")

    def call_in(self, region: str, action: str, **params: object) -> Mapping[str, Any]:
        """Make a call in another Region."""
        return self.world.call(action, params, region=region, principal="tester")

    def error_in(self, region: str, action: str, **params: object) -> str:
        """The code of the error that a call in another Region answers, if any."""
        try:
            self.call_in(region, action, **params)
        except Ec2Error as error:
            return error.code
        return ""

    def error(self, action: str, **params: object) -> str:
        """The code of the error that a call answers; an empty text if it answers none."""
        try:
            self.call(action, **params)
        except Ec2Error as error:
            return error.code
        return ""

    def launch(
        self, name: str = "web", *, volumes: Iterable[Mapping[str, Any]] = (), **params: object
    ) -> str:
        """Launch an instance with a root and more volumes, and wait until it runs for long."""
        mappings = [
            {"DeviceName": f"/dev/sd{letter}", "Ebs": dict(ebs)}
            for letter, ebs in zip("fghijk", volumes, strict=False)
        ]
        tags = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": name}]}]
        answer = self.call(
            "RunInstances",
            MinCount=1,
            MaxCount=1,
            BlockDeviceMappings=mappings,
            TagSpecifications=tags,
            **params,
        )
        instance_id: str = answer["Instances"][0]["InstanceId"]
        self.wait(300)
        assert self.state(instance_id) == "running"
        return instance_id

    def stop(self, instance_id: str) -> None:
        """Stop an instance and wait until it is stopped."""
        self.call("StopInstances", InstanceIds=[instance_id])
        self.wait_for(lambda: self.state(instance_id) == "stopped")

    def start(self, instance_id: str) -> None:
        self.call("StartInstances", InstanceIds=[instance_id])

    def create_image(self, instance_id: str, name: str = "image", **params: object) -> str:
        options = {"NoReboot": True, **params}
        answer = self.call("CreateImage", InstanceId=instance_id, Name=name, **options)
        return str(answer["ImageId"])

    def available_image(self, instance_id: str, name: str = "image", **params: object) -> str:
        """Make an image and wait until it is available."""
        image = self.create_image(instance_id, name, **params)
        self.wait(700)
        assert self.image(image)["State"] == "available"
        return image

    def copy(self, image_id: str, name: str = "copy", **params: object) -> str:
        """Begin to copy an image from the home Region to the one that is away."""
        options = {"SourceImageId": image_id, "SourceRegion": HOME, "Name": name, **params}
        return str(self.call_in(AWAY, "CopyImage", **options)["ImageId"])

    def copied(self, image_id: str) -> Mapping[str, Any]:
        """A copy, as DescribeImages shows it in its Region."""
        (image,) = self.call_in(AWAY, "DescribeImages", ImageIds=[image_id])["Images"]
        return dict(image)

    def copied_snapshots(self, image_id: str) -> list[Mapping[str, Any]]:
        """The snapshots of a copy, in the order of its devices."""
        mappings = self.copied(image_id)["BlockDeviceMappings"]
        ids = [mapping["Ebs"]["SnapshotId"] for mapping in mappings]
        listed = self.call_in(AWAY, "DescribeSnapshots", SnapshotIds=ids)["Snapshots"]
        return sorted(listed, key=lambda one: ids.index(one["SnapshotId"]))

    def wait_for(self, condition: Callable[[], bool], seconds: float = 2000) -> None:
        """Move the clock by quarters of a second until something is the case."""
        deadline = self.clock.time + seconds
        while not condition():
            assert self.clock.time < deadline, "it never came to be"
            self.wait(0.25)

    def state(self, instance_id: str) -> str:
        return str(self.instance(instance_id)["State"]["Name"])

    def instance(self, instance_id: str) -> Mapping[str, Any]:
        answer = self.call("DescribeInstances", InstanceIds=[instance_id])
        (reservation,) = answer["Reservations"]
        (instance,) = reservation["Instances"]
        return dict(instance)

    def image(self, image_id: str) -> Mapping[str, Any]:
        (image,) = self.call("DescribeImages", ImageIds=[image_id])["Images"]
        return dict(image)

    def snapshots(self, image_id: str) -> list[Mapping[str, Any]]:
        """The snapshots of an image, in the order of their initiation."""
        listed = self.call("DescribeSnapshots", OwnerIds=["self"])["Snapshots"]
        of_image = [one for one in listed if one["Description"].endswith(image_id)]
        return sorted(of_image, key=lambda one: one["StartTime"])

    def image_truth(self, image_id: str) -> Mapping[str, Any]:
        (image,) = [one for one in self.world.truth()["images"] if one["image_id"] == image_id]
        return dict(image)

    def instance_truth(self, instance_id: str) -> Mapping[str, Any]:
        found = self.world.truth()["instances"]
        (instance,) = [one for one in found if one["instance_id"] == instance_id]
        return dict(instance)

    def what_happened(self, instance_id: str) -> list[str]:
        return [event["what"] for event in self.instance_truth(instance_id)["events"]]
