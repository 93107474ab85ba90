"""A stack that has recovery points in two Regions, and what may befall their pruning."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from botocore.exceptions import ConnectionClosedError

from sandbox.service_calls import ServiceError
from sandbox.virtual.autoscaling import AutoScaling
from sandbox.virtual.services import Reply, Request, Service
from stillpoint.ownership import CopySource, copy_name
from stillpoint.tags import Tag
from tests.functions.cloud import Cloud, cloud_at
from tests.functions.stack import REGION
from tests.unit.builders import at

HOME, OVERSEAS = REGION, "us-east-1"
REGIONS = (HOME, OVERSEAS)
START = at("2026-10-01 00:00")
DAILY: dict[str, object] = {"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}
DRY_RUN: dict[str, object] = {"dry_run": True}
_NOT_COPIED = {*(Tag.COPYING, Tag.SHARED_WITH, Tag.PROTECTED, Tag.HOLD, Tag.COPY_TO), Tag.ENDED_AT}


class Bumps:
    """Lets one call come to grief: the service fails it, or its answer never arrives."""

    def __init__(self) -> None:
        self.call: int | None = None
        self.is_lost = False

    def around(self, service: Service) -> "_Bumpy":
        """Return the service with the bumps in front of it."""
        return _Bumpy(service, self)

    def strikes(self) -> bool:
        """Count a call, and say whether it is the one."""
        if self.call is None:
            return False
        self.call -= 1
        return self.call == -1


class _Bumpy:
    def __init__(self, service: Service, bumps: Bumps) -> None:
        self._service = service
        self._bumps = bumps
        self.action, self.error = service.action, service.error

    def answer(self, principal: str, request: Request) -> Reply:
        if not self._bumps.strikes():
            return self._service.answer(principal, request)
        if not self._bumps.is_lost:
            raise ServiceError("Unavailable", "Overloaded.", 503, "test")
        self._service.answer(principal, request)
        raise ConnectionClosedError(endpoint_url=request.region)


class Estate:
    """Instances with their recovery points, copies of them, and a way to prune them."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.auto_scaling = AutoScaling(cloud.world)
        self.bumps = Bumps()
        services: dict[str, Any] = cloud._services
        services["autoscaling"] = self.auto_scaling
        for name, service in list(services.items()):
            services[name] = self.bumps.around(service)

    # ------------------------------------------------------------ setting the scene

    def instance(self, *, volumes: int = 1, **owner: str) -> str:
        """Launch an instance with a daily schedule; further keywords are its owner's tags."""
        instance_id = self.cloud.launch(volumes=volumes)
        tags: dict[str, str] = {Tag.SCHEDULE: "daily 03:00"}
        tags |= {f"stillpoint:{key.replace('_', '-')}": value for key, value in owner.items()}
        self.cloud.tag([instance_id], tags)
        return instance_id

    def untag(self, resource_id: str, key: str, *, region: str = HOME) -> None:
        """Take a tag away."""
        self.cloud.call("DeleteTags", region=region, Resources=[resource_id], Tags=[{"Key": key}])

    def terminate(self, instance_id: str) -> None:
        """Terminate an instance."""
        self.cloud.call("TerminateInstances", InstanceIds=[instance_id])
        self.cloud.wait(hours=2)

    def let_it_be_believed(self, *, seconds: float = 900, **variables: str) -> None:
        """Let the daily sweep see that an instance is gone, and a week pass."""
        self.prune(seconds=seconds, **variables)
        self.cloud.wait(days=7)

    def until(self, moment: datetime) -> None:
        """Let time pass up to a moment, if it is still to come."""
        self.cloud.wait(seconds=max(0.0, (moment - self.cloud.now).total_seconds()))

    def point(self, instance_id: str, *, ready: bool = True, **tags: str) -> str:
        """Make a recovery point; keywords are our tags on it, such as `retain="2"`."""
        own = {f"stillpoint:{key.replace('_', '-')}": value for key, value in tags.items()}
        return self.cloud.recovery_point(instance_id, tags=own, ready=ready)

    def daily_points(self, instance_id: str, days: int, *, retain: str) -> list[str]:
        """Make a recovery point each day from now on; return them, the oldest first."""
        made = []
        for _ in range(days):
            made.append(self.point(instance_id, retain=retain))
            self.cloud.wait(days=1, minutes=-15, seconds=-30)
        return made

    def copy(
        self,
        image_id: str,
        *,
        region: str = OVERSEAS,
        name: str | None = None,
        ready: bool = True,
        **tags: str,
    ) -> str:
        """Copy a recovery point as Stillpoint does."""
        image = self.cloud.images()[image_id]
        own = {key: text for key, text in image["tags"].items() if key not in _NOT_COPIED}
        own[Tag.COPY_OF] = CopySource(HOME, image_id).render()
        own |= {f"stillpoint:{key.replace('_', '-')}": value for key, value in tags.items()}
        return self.copied_by_hand(
            image_id, name or copy_name(image["name"], 1), own, region=region, ready=ready
        )

    def copied_by_hand(
        self,
        image_id: str,
        name: str,
        tags: Mapping[str, str],
        *,
        region: str = HOME,
        ready: bool = True,
        tags_snapshots: bool = True,
    ) -> str:
        """Copy an image of the stack's own Region with any name and tags.

        EC2's own way to take the tags along leaves the snapshots without.
        """
        rows = [{"Key": str(key), "Value": value} for key, value in tags.items()]
        kinds = ("image", "snapshot") if tags_snapshots else ("image",)
        answer = self.cloud.call(
            "CopyImage",
            region=region,
            SourceImageId=image_id,
            SourceRegion=HOME,
            Name=name,
            TagSpecifications=[{"ResourceType": kind, "Tags": rows} for kind in kinds],
        )
        if ready:
            self.cloud.wait(minutes=25)
        return str(answer["ImageId"])

    def snapshots_of(self, image_id: str, region: str = HOME) -> list[str]:
        """Return the ids of an image's snapshots."""
        return list(self.cloud.images(region)[image_id]["snapshots"])

    def lose_snapshots(self, *snapshot_ids: str, region: str = HOME) -> None:
        """Let snapshots vanish from under their image, as no call of EC2 can."""
        place = self.cloud.world.region("000000000000", region)
        for snapshot_id in snapshot_ids:
            place.delete_snapshot(place.snapshots[snapshot_id], self.cloud.clock.now())

    def fail_the_next_image(self) -> None:
        """Let the next image fail, half a minute after it was asked for."""
        self.cloud.world.faults.add({"name": "image-failed", "delay_seconds": 60})

    # ------------------------------------------------------------ pruning, and what is left

    def prune(
        self, event: object = DAILY, *, seconds: float = 900, **variables: str
    ) -> dict[str, Any]:
        """Invoke the function now; keywords are changed variables of its environment."""
        named = {key.upper(): value for key, value in variables.items()}
        return self.cloud.invoke(
            "prune_recovery_points", event, {"COPY_REGIONS": OVERSEAS, **named}, seconds=seconds
        )

    def dry_run(self, *, final_retention: str = "365d") -> dict[str, Any]:
        """Ask what would be deleted."""
        return self.prune(DRY_RUN, final_retention=final_retention)

    def images(self, region: str = HOME) -> set[str]:
        """Return the ids of all images of a Region."""
        return set(self.cloud.images(region))

    def everything(self) -> dict[str, set[str]]:
        """Return the ids of the images and of the snapshots of each Region."""
        return {
            region: {*self.cloud.images(region), *self.cloud.snapshots(region)}
            for region in REGIONS
        }


@contextmanager
def an_estate(moment: datetime = START) -> Iterator[Estate]:
    """Let every client talk to a new cloud, in which a stack has been deployed."""
    with cloud_at(moment) as cloud:
        yield Estate(cloud)


def backup_ended(*instance_ids: str) -> dict[str, Any]:
    """Return the event of a backup of these instances that has succeeded."""
    members = [{"instance_id": instance_id, "name": "web"} for instance_id in instance_ids]
    return {
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "detail": {"status": "SUCCEEDED", "input": json.dumps({"members": members})},
    }


def fates(answer: Mapping[str, Any], fate: str) -> set[str]:
    """Return the ids of what has one fate in an account, orphans too."""
    rows = [*answer["recovery_points"]]
    rows += [row | {"image_id": row["id"]} for row in answer["orphans"]]
    return {row["image_id"] for row in rows if row["fate"] == fate}


def reasons(answer: Mapping[str, Any], fate: str) -> dict[str, str]:
    """Return the reasons of what has one fate in an account, by id."""
    rows = [*answer["recovery_points"]]
    rows += [row | {"image_id": row["id"]} for row in answer["orphans"]]
    return {row["image_id"]: row["reason"] for row in rows if row["fate"] == fate}
