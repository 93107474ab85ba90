"""Members of a backup that are frozen, in a cloud whose guests do what the document does."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from stillpoint.aws import images
from stillpoint.aws.freeze_instances import freeze_instances
from stillpoint.aws.settings import FreezeSettings, RejoinSettings
from stillpoint.freeze import prove
from stillpoint.policy import Method
from stillpoint.recovery_point import Assessment, Evidence, assess, creation_tags
from tests.functions.alone import read_thaw
from tests.functions.cloud import Cloud
from tests.unit.builders import at

EXECUTION = "group-erp-20261122T030000Z"
OCCURRENCE = at("2026-11-22 03:00")
DOCUMENT = "stillpoint-FreezeDocument-1ABC"
FREEZING = FreezeSettings(DOCUMENT, timedelta(seconds=30))
REJOINING = RejoinSettings(120, DOCUMENT)
CONTENT = {
    "schemaVersion": "2.2",
    "parameters": {
        "executionId": {"type": "String", "allowedPattern": "^[A-Za-z0-9_-]{1,80}$"},
        "command": {"type": "String", "allowedValues": ["freeze", "thaw", "dry-run"]},
        "holdSeconds": {"type": "String", "default": "30"},
        "thawSeconds": {"type": "String", "default": "60"},
    },
    "mainSteps": [
        {
            "name": "freeze",
            "action": "aws:runShellScript",
            "inputs": {"timeoutSeconds": "240", "runCommand": ["echo"]},
        }
    ],
}


@dataclass(slots=True)
class Site:
    """A cloud in which the stack's document exists, and the members of a backup in it."""

    cloud: Cloud
    instance_ids: list[str] = field(default_factory=list)
    platforms: dict[str, str] = field(default_factory=dict)

    def launch(self, **knobs: object) -> str:
        """Launch an instance that Systems Manager knows, and that is a member."""
        instance_id = self.cloud.launch(volumes=2)
        self.cloud.world.configure(instance_id, managed=True, **knobs)
        self.instance_ids.append(instance_id)
        self.platforms[instance_id] = str(knobs.get("platform", "linux"))
        self.cloud.wait(minutes=3)  # until its agent is there
        return instance_id

    def fault(self, name: str, **terms: object) -> None:
        """Let something go wrong."""
        self.cloud.world.faults.add({"name": name, **terms})

    def event(self) -> dict[str, Any]:
        """Return the event of the state machine."""
        rows = [
            {
                "instance_id": each,
                "platform": self.platforms[each],
                "image_name": f"stillpoint-{each}-20261122T030000Z",
                "description": f"Made by Stillpoint of {each}",
                "tags": [{"Key": k, "Value": v} for k, v in self.tags(each).items()],
            }
            for each in self.instance_ids
        ]
        return {"execution": EXECUTION, "backup": {}, "members": rows}

    @staticmethod
    def tags(instance_id: str) -> dict[str, str]:
        """Return what an image and its snapshots are born with."""
        return creation_tags(
            stack="stillpoint",
            instance_id=instance_id,
            execution=EXECUTION,
            occurrence=OCCURRENCE,
        )

    def freeze(self) -> dict[str, Any]:
        """Call the function, and hand its answer on as the state machine does."""
        answer = freeze_instances(self.event(), FREEZING, lambda: self.cloud.now)
        document: dict[str, Any] = json.loads(json.dumps(answer))
        return document

    def capture(self, instance_id: str) -> str:
        """Make an image as the state machine does, and wait until its snapshots are initiated."""
        rows = [{"Key": k, "Value": v} for k, v in self.tags(instance_id).items()]
        answer = self.cloud.call(
            "CreateImage",
            InstanceId=instance_id,
            Name=f"stillpoint-{instance_id}-20261122T030000Z",
            NoReboot=True,
            TagSpecifications=[
                {"ResourceType": kind, "Tags": rows} for kind in ("image", "snapshot")
            ],
        )
        self.cloud.wait(seconds=4)
        return str(answer["ImageId"])

    def thaw(self, freeze: Mapping[str, Any]) -> dict[str, Any]:
        """Read how a freeze ended, as often as it takes."""
        for _ in range(200):
            progress, row = read_thaw(freeze["instance_id"], EXECUTION, freeze, REJOINING)
            assert not progress.failure
            if progress.done:
                return dict(json.loads(json.dumps(row)))
            assert progress.waiting
            self.cloud.wait(seconds=5)
        raise AssertionError("the freeze does not end")

    def judge(
        self, instance_id: str, freeze: Mapping[str, Any] | None, thaw: Mapping[str, Any]
    ) -> Assessment:
        """Return what a capture is worth."""
        snapshots = tuple(images.snapshots_of(EXECUTION)[instance_id])
        evidence = Evidence(
            method=Method.FREEZE,
            state_before="running",
            capture_from=self.cloud.now,
            volumes=2,
            snapshots=snapshots,
            freeze=prove(freeze, thaw),
        )
        return assess(evidence, grace=timedelta(seconds=180))

    def truth(self, image_id: str) -> dict[str, Any]:
        """Return what an image really holds."""
        (image,) = [
            each for each in self.cloud.world.truth()["images"] if each["image_id"] == image_id
        ]
        return dict(image)

    def sent(self) -> list[str]:
        """Return the comments of the commands that were sent, oldest first."""
        rows = self.cloud.ask("ssm", "ListCommands")["Commands"]
        return [row["Comment"] for row in sorted(rows, key=lambda row: row["RequestedDateTime"])]
