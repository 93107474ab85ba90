"""Pruning recovery points: deleting those that have expired, in every Region, and orphans."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from stillpoint.aws import ec2, images
from stillpoint.aws import prune_report as report
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
from stillpoint.pruning import (
    Situation,
    Verdict,
    believed,
    check_limit,
    judge,
    leave_to_sweep,
    newest_point,
    situation_of,
)
from stillpoint.recovery_point import recall
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
        if self._request.after_backup:
            verdicts = leave_to_sweep(verdicts)
        orphans = {
            region: self._orphans(inventory, inventories)
            for region, inventory in inventories.items()
        }
        going = {verdict.image.image_id for verdict in verdicts if verdict.goes}
        orphans = {
            region: [orphan for orphan in some if orphan.resource_id not in going]
            for region, some in orphans.items()
        }
        limit = self._request.max_deletions or self._settings.max_deletions
        deletions = report.deletions(verdicts, orphans)
        if self._request.dry_run:
            named = self._request.instances is not None
            shown = verdicts if named else [v for v in verdicts if v.expired]
            account = report.account(verdicts, orphans, shown)
            counts = {"deletions": len(deletions), "limit": limit, "failures": self.failures}
            return {"now": iso(self._now), "dry_run": True} | account | counts
        self._check_limit(deletions, limit)
        gone = [v for v in _oldest_first(verdicts) if self._remove(v.region, v.image)]
        for region, some in orphans.items():
            for orphan in some:
                self._remove_orphan(region, orphan)
        report.log(verdicts, orphans, gone)
        report.count(verdicts, orphans, gone, swept=self._request.instances is None)
        self._tell(verdicts, gone, inventories.values())
        if self.failures:
            raise PruneIncomplete("; ".join(self.failures)[:2000])
        shown = [*gone, *(verdict for verdict in verdicts if verdict.spared)]
        account = report.account(verdicts, orphans, shown)
        return {"now": iso(self._now), "dry_run": False} | account | {"failures": self.failures}

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
                instances.get(instance_id),
                default=self._default,
                final=self._final,
                copied_to=None if inventory.region == self._settings.region else inventory.region,
            )
            newest = newest_point(some)
            self._note_end(some, newest, inventory.region, situation)
            damaged = {i.image_id for i in some if missing_snapshots(i, inventory.existing)}
            verdicts += judge(
                some,
                believed(situation, newest, self._now),
                damaged=damaged,
                region=inventory.region,
                zone=self._zone,
                now=self._now,
            )
        spare = self._spare(inventory, inventories)
        reasons = self._reasons(spare, [v.image for v in verdicts if v.expired])
        return [replace(v, spared=reasons.get(v.image.image_id, "")) for v in verdicts]

    def _note_end(
        self, some: Iterable[Image], newest: Image | None, region: str, situation: Situation
    ) -> None:
        """Write on the newest recovery point since when its instance is not seen, or take it off.

        Taken off it is of all: one that was the newest then may be so again. Only the sweep does
        this: it is what acts on it. What cannot be written counts from later on.
        """
        if self._request.dry_run or self._request.instances is not None:
            return
        try:
            if situation.ended is None:
                for image in some:
                    if (written := image.tags.get(Tag.ENDED_AT)) is not None:
                        ec2.delete_tag(image.image_id, Tag.ENDED_AT, written, region=region)
            elif newest is not None and Tag.ENDED_AT not in newest.tags:
                tags: dict[str, str] = {Tag.ENDED_AT: iso(self._now)}
                ec2.create_tags([newest.image_id], tags, region=region)
        except StillpointError as error:
            self._fail(error)

    def _orphans(self, inventory: Inventory, inventories: Mapping[str, Inventory]) -> list[Orphan]:
        """Return what belongs to no recovery point, if everything is looked at."""
        if self._request.instances is not None:
            return []
        try:
            found = [
                *orphaned_images(inventory.images, inventory.existing, self._now, self._final),
                *orphaned_snapshots(
                    inventory.snapshots,
                    inventory.images,
                    inventory.existing,
                    images_in_recycle_bin(inventory.region),
                    self._now,
                    self._final,
                ),
            ]
            loose = [orphan.resource_id for orphan in found if orphan.snapshot]
            used = images.snapshots_in_use(loose, region=inventory.region)
            found = [orphan for orphan in found if orphan.resource_id not in used]
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

    def _check_limit(self, deletions: list[str], limit: int) -> None:
        try:
            check_limit(deletions, limit)
        except TooManyDeletions as halted:
            metrics.add_metric(EventName.PRUNING_HALTED, MetricUnit.Count, 1)
            worst = sorted(halted.by_instance.items(), key=lambda each: (-each[1], each[0]))[:50]
            said = [report.Said(key, f"{n} would be deleted") for key, n in worst]
            self._publish(EventName.PRUNING_HALTED, said, _HALTED, str(halted))
            raise

    def _has_time(self, resource_id: str, region: str) -> bool:
        if self._seconds_left() >= ENOUGH_SECONDS:
            return True
        self.failures.append(f"{resource_id} in {region}: no time was left for it")
        return False

    def _remove(self, region: str, image: Image) -> bool:
        """Delete an image and its snapshots; return whether it is gone."""
        if not self._has_time(image.image_id, region):
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
        if not self._has_time(orphan.resource_id, region):
            return
        try:
            remove_snapshot(orphan.resource_id, region)
        except StillpointError as error:
            self._fail(error)

    def _fail(self, error: StillpointError) -> None:
        logger.exception("A part of the pruning failed")
        self.failures.append(str(error))

    def _tell(
        self,
        verdicts: list[Verdict],
        gone: list[Verdict],
        inventories: Iterable[Inventory],
    ) -> None:
        """Tell people what they would want to know; the daily sweep tells of failures."""
        if last := report.last_points(verdicts, gone):
            self._publish(EventName.LAST_POINT_EXPIRED, last, "Nothing.")
        if self._request.instances is not None:
            return
        self.failures += report.unreadable(verdicts)
        gone_ids = {verdict.image.image_id for verdict in gone}
        if damaged := report.damaged(inventories, gone_ids):
            self._publish(EventName.RECOVERY_POINT_DAMAGED, damaged, _DAMAGED)
        if self.failures:
            why = " ".join(f"{failure}." for failure in self.failures[:50])
            self._publish(EventName.PRUNING_FAILED, [], _FAILED, why)

    def _publish(
        self, name: EventName, said: Iterable[report.Said], remedy: str, why: str = ""
    ) -> None:
        reports = tuple(
            InstanceReport(
                instance_id=each.instance_id,
                name=self._names.get(each.instance_id, ""),
                state="",
                why=each.words,
                image_id=each.image.image_id if each.image else None,
                consistency=recall(each.image.tags).level if each.image else None,
            )
            for each in said
        )
        try:
            publish(self._settings.topic_arn, Event(name, self._now, reports, remedy, why))
        except StillpointError as error:
            self._fail(error)


def _oldest_first(verdicts: Iterable[Verdict]) -> list[Verdict]:
    going = [verdict for verdict in verdicts if verdict.goes]
    return sorted(going, key=lambda v: (v.image.tags.get(Tag.OCCURRENCE, ""), v.image.image_id))
