"""What a pruning did, for its log, its metrics, its answer, and the messages to people."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from stillpoint.aws.inventory import Inventory
from stillpoint.aws.telemetry import logger, metrics
from stillpoint.image import Image
from stillpoint.orphans import Orphan, missing_snapshots
from stillpoint.pruning import Verdict, is_point
from stillpoint.tags import Tag


@dataclass(frozen=True, slots=True)
class Said:
    """What there is to say about an instance, or about one of its images."""

    instance_id: str
    words: str
    image: Image | None = None


def deletions(verdicts: Iterable[Verdict], orphans: Mapping[str, list[Orphan]]) -> list[str]:
    """Return the instance of each image and lone snapshot that is to be deleted."""
    loose = [orphan for some in orphans.values() for orphan in some if not orphan.spared]
    return [v.instance_id for v in verdicts if v.goes] + [orphan.instance_id for orphan in loose]


def log(
    verdicts: Iterable[Verdict], orphans: Mapping[str, list[Orphan]], gone: Iterable[Verdict]
) -> None:
    """Log a line for everything that was deleted, or was left alone for a reason."""
    for verdict in (*gone, *(v for v in verdicts if v.spared)):
        logger.info("A recovery point has expired", extra=_line(verdict))
    for region, some in orphans.items():
        for orphan in some:
            logger.info("Something belongs to no recovery point", extra=_orphan(region, orphan))


def count(
    verdicts: Collection[Verdict],
    orphans: Mapping[str, list[Orphan]],
    gone: Collection[Verdict],
    *,
    swept: bool,
) -> None:
    """Count what was done; `swept` says that all recovery points were looked at."""
    counts = {
        "RecoveryPointsExpired": len(gone),
        "RecoveryPointsSpared": sum(bool(v.spared) for v in verdicts),
    }
    if swept:
        counts["RecoveryPoints"] = len(verdicts) - len(gone)
        counts["OrphansRemoved"] = sum(not o.spared for some in orphans.values() for o in some)
    for name, value in counts.items():
        metrics.add_metric(name, MetricUnit.Count, value)


def account(
    verdicts: Iterable[Verdict], orphans: Mapping[str, list[Orphan]], shown: Iterable[Verdict]
) -> dict[str, Any]:
    """Return the answer to the caller: how many are kept, and a line for each that is shown."""
    return {
        "kept": sum(not v.goes for v in verdicts),
        "recovery_points": [_line(verdict) for verdict in shown],
        "orphans": [_orphan(region, orphan) for region, some in orphans.items() for orphan in some],
    }


def last_points(verdicts: Iterable[Verdict], gone: Collection[Verdict]) -> list[Said]:
    """Return of which instances the last recovery point in a Region is gone."""
    left = {(v.instance_id, v.region) for v in verdicts if v.is_last and v not in gone}
    # The newest of each instance and Region: `gone` begins with the oldest.
    newest = {(v.instance_id, v.region): v for v in gone if v.is_last}
    return [
        Said(v.instance_id, f"{v.reason}, in {v.region}", v.image)
        for key, v in newest.items()
        if key not in left
    ]


def unreadable(verdicts: Iterable[Verdict]) -> list[str]:
    """Return of which instances nothing expires because an image's own tags cannot be read."""
    found = {(v.instance_id, v.region): v.reason for v in verdicts if v.unreadable}
    return [f"{key} in {region}: {reason}" for (key, region), reason in found.items()]


def damaged(inventories: Iterable[Inventory], gone: Collection[str]) -> list[Said]:
    """Return which recovery points have lost snapshots, except those that are gone."""
    return [
        Said(image.tags.get(Tag.INSTANCE, ""), words, image)
        for inventory in inventories
        for image in inventory.images
        if image.image_id not in gone and (words := _damage(image, inventory))
    ]


def _damage(image: Image, inventory: Inventory) -> str:
    """Return what a recovery point has lost. One that has lost everything goes as an orphan."""
    missing = missing_snapshots(image, inventory.existing)
    if not missing or not is_point(image) or image.state == "pending":
        return ""
    lost = f"{len(missing)} of its {len(image.snapshot_ids)} snapshots"
    return f"{lost} in {inventory.region} are gone"


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


def _orphan(region: str, orphan: Orphan) -> dict[str, Any]:
    return {
        "id": orphan.resource_id,
        "instance_id": orphan.instance_id,
        "region": region,
        "fate": "spared" if orphan.spared else "orphaned",
        "reason": orphan.spared or orphan.reason,
    }
