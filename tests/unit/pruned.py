"""Recovery points of one instance, and what becomes of them, for the tests of pruning."""

from collections.abc import Collection
from datetime import datetime, timedelta

from stillpoint.image import Image
from stillpoint.pruning import Situation, Verdict, judge
from stillpoint.recovery_point import image_name
from stillpoint.retain import Retain
from stillpoint.tags import Tag, iso
from stillpoint.zones import zone_named
from tests.unit.builders import at

NOW = at("2026-11-22 12:00")
UTC_ZONE = zone_named("UTC")
DAY = timedelta(days=1)
DEFAULT = Retain(count=14)
OPEN = Situation(retain=Retain(count=1000))
"""An instance whose own tags expire nothing."""


def a_point(
    days_ago: float,
    *,
    retain: str | None = "2",
    state: str = "available",
    level: str | None = "file-system",
    zone: str = "UTC",
    protection: str = "",
    **tags: str,
) -> Image:
    """Return a recovery point that was made so many days ago; its id says when."""
    occurrence = NOW - days_ago * DAY
    found: dict[str, str] = {
        Tag.STACK: "stillpoint",
        Tag.INSTANCE: "i-0a",
        Tag.OCCURRENCE: iso(occurrence),
        Tag.TIME_ZONE: zone,
    }
    if retain is not None:
        found[Tag.RETAIN] = retain
    if level is not None:
        found[Tag.CONSISTENCY] = level
    return Image(
        image_id=f"ami-{days_ago:g}",
        name=image_name("i-0a", occurrence),
        state=state,
        state_reason="",
        tags=found | {f"stillpoint:{key}": value for key, value in tags.items()},
        volumes=1,
        snapshot_ids=(f"snap-{days_ago:g}",),
        protection=protection,
        created_at=occurrence,
    )


def judged(
    *images: Image,
    situation: Situation = OPEN,
    damaged: Collection[str] = (),
    now: datetime = NOW,
) -> dict[str, Verdict]:
    """Return the verdicts by the days of the points."""
    verdicts = judge(images, situation, damaged=damaged, region="eu-west-1", zone=UTC_ZONE, now=now)
    assert all(verdict.reason for verdict in verdicts)
    return {verdict.image.image_id.removeprefix("ami-"): verdict for verdict in verdicts}


def expired(*images: Image, **facts: object) -> set[str]:
    """Return the days of the points that expire."""
    verdicts = judged(*images, **facts)  # type: ignore[arg-type]  # those of `judged`
    return {day for day, verdict in verdicts.items() if verdict.expired}
