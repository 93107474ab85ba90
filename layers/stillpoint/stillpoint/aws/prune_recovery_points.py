"""Pruning recovery points: deleting those that have expired, in every Region, and orphans."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from stillpoint.aws import ec2
from stillpoint.aws.inventory import Inventory, take_inventory
from stillpoint.aws.notifications import publish
from stillpoint.aws.removal import remove_image, remove_snapshot
from stillpoint.aws.settings import PruneSettings
from stillpoint.aws.spare import Spare
from stillpoint.aws.telemetry import logger, metrics
from stillpoint.aws.usage import images_in_recycle_bin
from stillpoint.errors import PruneIncomplete, StillpointError, TooManyDeletions
from stillpoint.image import Image
from stillpoint.instance import Instance
from stillpoint.messages import Event, EventName, InstanceReport
from stillpoint.orphans import Orphan, missing_snapshots, orphaned_images, orphaned_snapshots
from stillpoint.pruning import Verdict, check_limit, judge, situation_of
from stillpoint.requests import PruneRequest
from stillpoint.retain import final_retention, parse_retain
from stillpoint.tags import Tag, iso
from stillpoint.zones import zone_named

ENOUGH_SECONDS = 30
"""What must be left of the function's time to begin another deletion."""

_HALTED = (
    "Nothing was deleted. If a retention was mistyped, correct it. If this is what you want, invoke"
    ' prune_recovery_points once with {"max_deletions": N}; {"dry_run": true} shows what would go.'
)
_FAILED = "It is tried again every day. If it is refused, the reason says what is missing."
_DAMAGED = (
    "Do not rely on it. If the snapshots lie in the Recycle Bin, restore them; otherwise deregister"
    " the image. Its instance's other recovery points are not concerned."
)


def prune_recovery_points(
    request: PruneRequest,
    settings: PruneSettings,
    now: datetime,
    seconds_left: Callable[[], float],
) -> dict[str, Any]:
    """Delete what has expired and return an account of it, ready for JSON.

    Each Region is seen to on its own: what cannot be done in one of them does not hold up the
    others, and PruneIncomplete is raised at the end. Raises TooManyDeletions, and deletes nothing,
    if it would be more than the stack's parameter allows.
    """
    return _Pruning(request, settings, now, seconds_left).carry_out()


class _Pruning:
    """One invocation: `failures` is what did not work, in words."""

    def __init__(
        self,
        request: PruneRequest,
        settings: PruneSettings,
        now: datetime,
        seconds_left: Callable[[], float],
    ) -> None:
        self._request = request
        self._settings = settings
        self._now = now
        self._seconds_left = seconds_left
        self._zone = zone_named(settings.time_zone)
        self._default = parse_retain(settings.default_retain)
        self._final = final_retention(settings.final_retention)
        self._names: dict[str, str] = {}
        self.failures: list[str] = []

    def carry_out(self) -> dict[str, Any]:
        inventories = self._inventories()
        instances = self._instances()
        self._names = {key: instance.name for key, instance in instances.items()}
        verdicts = [
            verdict
            for inventory in inventories.values()
            for verdict in self._judge(inventory, instances, inventories)
        ]
        orphans = {
            region: self._orphans(inventory, inventories)
            for region, inventory in inventories.items()
        }
        if self._request.dry_run:
            return self._account(verdicts, orphans) | {"dry_run": True}
        self._check_limit(verdicts, orphans)
        gone = [v for v in _oldest_first(verdicts) if self._remove(v.region, v.image)]
        for region, some in orphans.items():
            for orphan in some:
                self._remove_orphan(region, orphan)
        self._count(verdicts, orphans, gone)
        self._tell(gone, inventories.values())
        if self.failures:
            raise PruneIncomplete("; ".join(self.failures)[:2000])
        return self._account(verdicts, orphans, gone) | {"dry_run": False}

    def _inventories(self) -> dict[str, Inventory]:
        """Return the inventory of each Region; one that does not answer is a failure."""
        home, found = self._settings.region, {}
        for region in dict.fromkeys((home, *self._settings.copy_regions)):
            try:
                found[region] = take_inventory(
                    self._settings.stack_name,
                    region=region,
                    home=home,
                    instance_ids=self._request.instances,
                )
            except StillpointError as error:
                self._fail(error)
        return found

    def _instances(self) -> dict[str, Instance]:
        if self._request.instances is not None:
            return ec2.instances_by_id(self._request.instances)
        return {instance.instance_id: instance for instance in ec2.scheduled_instances()}

    def _judge(
        self,
        inventory: Inventory,
        instances: Mapping[str, Instance],
        inventories: Mapping[str, Inventory],
    ) -> list[Verdict]:
        by_instance: dict[str, list[Image]] = {}
        for image in inventory.images:
            by_instance.setdefault(image.tags.get(Tag.INSTANCE, ""), []).append(image)
        verdicts = []
        for instance_id, some in by_instance.items():
            situation = situation_of(
                instances.get(instance_id), default=self._default, final=self._final
            )
            damaged = {i.image_id for i in some if missing_snapshots(i, inventory.existing)}
            verdicts += judge(
                some,
                situation,
                damaged=damaged,
                region=inventory.region,
                zone=self._zone,
                now=self._now,
            )
        spare = self._spare(inventory, inventories)
        reasons = self._reasons(spare, [v.image for v in verdicts if v.expired])
        return [replace(v, spared=reasons.get(v.image.image_id, "")) for v in verdicts]

    def _orphans(self, inventory: Inventory, inventories: Mapping[str, Inventory]) -> list[Orphan]:
        """Return what belongs to no recovery point, if everything is looked at."""
        if self._request.instances is not None:
            return []
        try:
            found = [
                *orphaned_images(inventory.images, inventory.existing, self._now),
                *orphaned_snapshots(
                    inventory.snapshots,
                    inventory.images,
                    images_in_recycle_bin(inventory.region),
                    self._now,
                ),
            ]
        except StillpointError as error:
            self._fail(error)
            return []
        spare = self._spare(inventory, inventories)
        reasons = self._reasons(
            spare,
            [orphan.image for orphan in found if orphan.image],
            [orphan.snapshot.snapshot_id for orphan in found if orphan.snapshot],
        )
        return [
            replace(orphan, spared=orphan.spared or reasons.get(orphan.resource_id, ""))
            for orphan in found
        ]

    def _spare(self, inventory: Inventory, inventories: Mapping[str, Inventory]) -> Spare:
        is_home = inventory.region == self._settings.region
        others = self._settings.copy_regions if is_home else ()
        return Spare(
            inventory,
            copies={region: inventories[region] for region in others if region in inventories},
            unknown=[region for region in others if region not in inventories],
            zone=self._zone,
            now=self._now,
        )

    def _reasons(
        self, spare: Spare, images: Iterable[Image], snapshot_ids: Iterable[str] = ()
    ) -> Mapping[str, str]:
        """Return what is left alone and why; all of it, if that cannot be found out."""
        images, snapshot_ids = list(images), list(snapshot_ids)
        try:
            return spare.reasons(images, snapshot_ids)
        except StillpointError as error:
            self._fail(error)
            unknown = "it is not known whether it is in use"
            return dict.fromkeys([*(i.image_id for i in images), *snapshot_ids], unknown)

    def _check_limit(
        self, verdicts: Iterable[Verdict], orphans: Mapping[str, list[Orphan]]
    ) -> None:
        limit = self._request.max_deletions or self._settings.max_deletions
        of = [v.instance_id for v in verdicts if v.goes]
        of += [o.instance_id for some in orphans.values() for o in some if not o.spared]
        try:
            check_limit(of, limit)
        except TooManyDeletions as halted:
            metrics.add_metric(EventName.PRUNING_HALTED, MetricUnit.Count, 1)
            worst = sorted(halted.by_instance.items(), key=lambda each: (-each[1], each[0]))[:50]
            reports = tuple(self._report(key, f"{n} would be deleted") for key, n in worst)
            self._publish(EventName.PRUNING_HALTED, reports, _HALTED, str(halted))
            raise

    def _remove(self, region: str, image: Image) -> bool:
        """Delete an image and its snapshots; return whether it is gone."""
        if self._seconds_left() < ENOUGH_SECONDS:
            self.failures.append(f"{image.image_id} in {region}: no time was left for it")
            return False
        try:
            stayed = remove_image(image, region)
        except StillpointError as error:
            self._fail(error)
            return False
        self.failures += stayed
        return True

    def _remove_orphan(self, region: str, orphan: Orphan) -> None:
        if orphan.spared:
            return
        if orphan.image is not None:
            self._remove(region, orphan.image)
            return
        try:
            remove_snapshot(orphan.resource_id, region)
        except StillpointError as error:
            self._fail(error)

    def _fail(self, error: StillpointError) -> None:
        logger.exception("A part of the pruning failed")
        self.failures.append(str(error))

    def _count(
        self,
        verdicts: list[Verdict],
        orphans: Mapping[str, list[Orphan]],
        gone: list[Verdict],
    ) -> None:
        counts = {
            "RecoveryPointsExpired": len(gone),
            "RecoveryPointsSpared": sum(bool(v.spared) for v in verdicts),
            "OrphansRemoved": sum(not o.spared for some in orphans.values() for o in some),
        }
        if self._request.instances is None:
            counts["RecoveryPoints"] = len(verdicts) - len(gone)
        for name, value in counts.items():
            metrics.add_metric(name, MetricUnit.Count, value)

    def _tell(self, gone: Iterable[Verdict], inventories: Iterable[Inventory]) -> None:
        """Tell people what they would want to know; the daily sweep tells of failures."""
        last = tuple(
            self._report(v.instance_id, f"{v.reason}, in {v.region}", v.image.image_id)
            for v in gone
            if v.is_last
        )
        if last:
            self._publish(EventName.LAST_POINT_EXPIRED, last, "Nothing.")
        if self._request.instances is not None:
            return
        damaged = tuple(
            self._report(image.tags.get(Tag.INSTANCE, ""), why, image.image_id)
            for inventory in inventories
            for image in inventory.images
            if (why := _damage(image, inventory))
        )
        if damaged:
            self._publish(EventName.RECOVERY_POINT_DAMAGED, damaged, _DAMAGED)
        if self.failures:
            why = " ".join(f"{failure}." for failure in self.failures[:50])
            self._publish(EventName.PRUNING_FAILED, (), _FAILED, why)

    def _publish(
        self, name: EventName, reports: tuple[InstanceReport, ...], remedy: str, why: str = ""
    ) -> None:
        try:
            publish(self._settings.topic_arn, Event(name, self._now, reports, remedy, why))
        except StillpointError as error:
            self._fail(error)

    def _report(self, instance_id: str, why: str, image_id: str | None = None) -> InstanceReport:
        return InstanceReport(instance_id, self._names.get(instance_id, ""), "", why, image_id)

    def _account(
        self,
        verdicts: list[Verdict],
        orphans: Mapping[str, list[Orphan]],
        gone: Iterable[Verdict] | None = None,
    ) -> dict[str, Any]:
        """Return what was done; of a dry run, a line for every recovery point."""
        shown = verdicts if gone is None else [*gone, *(v for v in verdicts if v.spared)]
        return {
            "now": iso(self._now),
            "kept": sum(not v.goes for v in verdicts),
            "recovery_points": [_line(verdict) for verdict in shown],
            "orphans": [
                {
                    "id": orphan.resource_id,
                    "instance_id": orphan.instance_id,
                    "region": region,
                    "fate": "spared" if orphan.spared else "orphaned",
                    "reason": orphan.spared or orphan.reason,
                }
                for region, some in orphans.items()
                for orphan in some
            ],
            "failures": self.failures,
        }


def _line(verdict: Verdict) -> dict[str, Any]:
    fate = "spared" if verdict.spared else "expired" if verdict.expired else "kept"
    return {
        "image_id": verdict.image.image_id,
        "instance_id": verdict.instance_id,
        "region": verdict.region,
        "occurrence": verdict.image.tags.get(Tag.OCCURRENCE),
        "fate": fate,
        "reason": verdict.spared or verdict.reason,
    }


def _oldest_first(verdicts: Iterable[Verdict]) -> list[Verdict]:
    going = [verdict for verdict in verdicts if verdict.goes]
    return sorted(going, key=lambda v: (v.image.tags.get(Tag.OCCURRENCE, ""), v.image.image_id))


def _damage(image: Image, inventory: Inventory) -> str:
    """Return what an image has lost, unless it has lost everything: then it is an orphan."""
    missing = missing_snapshots(image, inventory.existing)
    if not missing or len(missing) == len(image.snapshot_ids):
        return ""
    return (
        f"{len(missing)} of its {len(image.snapshot_ids)} snapshots in {inventory.region} are gone"
    )
