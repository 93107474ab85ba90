"""Pruning: which of an instance's recovery points in one Region have expired, and may go."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from stillpoint.errors import InvalidText, TooManyDeletions
from stillpoint.hold import parse_hold
from stillpoint.image import Image
from stillpoint.instance import Instance
from stillpoint.recovery_point import recall
from stillpoint.retain import Retain, parse_retain
from stillpoint.retention import Decision, Ended, Point, Rule, decide
from stillpoint.tags import Tag, parse_iso, printable
from stillpoint.zones import zone_named

GONE = frozenset({"terminated", "shutting-down"})
PROTECTED_BY_US = "deregistration"
"""The value of `stillpoint:protected` on an image whose protection is our own."""
BELIEVED_AFTER = timedelta(days=7)
"""An instance that is not seen with its schedule is believed to be gone when so much has passed
since that was first written on its newest recovery point: a tag may be lost for a night."""
_UNPROTECTED = frozenset({"", "disabled"})
_OUR_PROTECTION = "enabled-without-cooldown"
_LAUNCHABLE, _DISABLED = "available", "disabled"


@dataclass(frozen=True, slots=True)
class Situation:
    """How an instance stands, as far as its recovery points depend on it.

    `retain` is what its tags say now, and None once it is gone: then `ended` says how long its
    last one is kept. `unreadable` says why its tags do not tell, `uncertain` that it may be gone
    or not: then nothing expires.
    """

    retain: Retain | None = None
    ended: Ended | None = None
    unreadable: str = ""
    uncertain: bool = False


def situation_of(
    instance: Instance | None,
    *,
    default: Retain,
    final: timedelta | None,
    copied_to: str | None = None,
) -> Situation:
    """Return how an instance stands; one that EC2 does not know any more is None.

    `copied_to` is the Region that is looked at, if it is one of copies: where an instance is not
    copied to any more, it has ended.
    """
    if instance is None or instance.state in GONE or Tag.SCHEDULE not in instance.tags:
        return Situation(ended=Ended(final))
    if copied_to is not None and copied_to not in _words(instance.tags.get(Tag.COPY_TO, "")):
        return Situation(ended=Ended(final))
    text = instance.tags.get(Tag.RETAIN)
    try:
        return Situation(retain=default if text is None else parse_retain(text))
    except InvalidText as error:
        return Situation(unreadable=f"{Tag.RETAIN} on the instance: {error.reason}")


def believed(situation: Situation, newest: Image | None, now: datetime) -> Situation:
    """Return the situation as far as it may be acted on: the end of an instance only in time.

    The newest recovery point says since when the instance is not seen. What its tags would say is
    not known meanwhile: they may ask for more than its recovery points do.
    """
    if situation.ended is None:
        return situation
    since = parse_iso(newest.tags.get(Tag.ENDED_AT, "")) if newest is not None else None
    if since is not None and now - since >= BELIEVED_AFTER:
        return situation
    return Situation(uncertain=True)


def newest_point(images: Iterable[Image]) -> Image | None:
    """Return the newest recovery point of an instance: an available one, if there is any."""
    points = [image for image in images if is_point(image)]
    available = [image for image in points if image.state == _LAUNCHABLE]
    return max(available or points, key=_order, default=None)


def _words(text: str) -> list[str]:
    return text.lower().replace(",", " ").split()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one recovery point, and why.

    `spared` says that it has expired and is left alone all the same, for this reason. `unreadable`
    says that it does not expire because the retention on one of its instance's images cannot be
    read, which nobody else tells of.
    """

    image: Image
    region: str
    expired: bool
    reason: str
    spared: str = ""
    is_last: bool = False
    unreadable: bool = False

    @property
    def instance_id(self) -> str:
        """The instance that it was made of."""
        return self.image.tags.get(Tag.INSTANCE, "")

    @property
    def goes(self) -> bool:
        """Whether it is to be deleted."""
        return self.expired and not self.spared


def is_point(image: Image) -> bool:
    """Return whether an image is a recovery point, or becomes one when it is available."""
    return (
        image.state in {_LAUNCHABLE, _DISABLED, "pending"}
        and recall(image.tags).level is not None
        and parse_iso(image.tags.get(Tag.OCCURRENCE, "")) is not None
    )


def judge(  # noqa: PLR0913 (everything that the verdicts depend on)
    images: Iterable[Image],
    situation: Situation,
    *,
    damaged: Collection[str],
    region: str,
    zone: ZoneInfo,
    now: datetime,
) -> list[Verdict]:
    """Return a verdict for each recovery point of one instance in one Region.

    `damaged` are those that have lost a snapshot: they expire, and count for nothing. `zone` is
    where days begin if a recovery point does not say it. What is no recovery point gets none (see
    `orphans`). The rules in force are the instance's own and that of its newest point:
    a longer retention counts at once, a shorter one when a backup was made under it.
    """
    points = [image for image in images if is_point(image)]
    if situation.uncertain:
        reason = "nothing expires: its instance is not seen, but not for a week yet"
        return [Verdict(image, region, expired=False, reason=reason) for image in points]
    launchable = {
        image.image_id
        for image in points
        if image.state == _LAUNCHABLE and image.image_id not in damaged
    }
    try:
        rules = _rules(points, launchable, situation, zone)
    except InvalidText as error:
        reason = f"nothing expires, because its retention cannot be read: {error.reason}"
        on_image = not situation.unreadable
        return [
            Verdict(i, region, expired=False, reason=reason, unreadable=on_image) for i in points
        ]
    decision = _decide(points, launchable, rules, situation, now)
    is_last = bool(launchable) and launchable <= decision.expire.keys()
    unusable = "it cannot be launched, and goes when it would have gone if it could"
    useless = {image.image_id for image in points if image.state != "pending"} - launchable
    return [
        Verdict(
            image,
            region,
            expired=image.image_id in decision.expire,
            reason=decision.expire.get(image.image_id)
            or (unusable if image.image_id in useless else decision.keep[image.image_id]),
            is_last=is_last and image.image_id in launchable,
        )
        for image in points
    ]


def _rules(
    points: Sequence[Image], launchable: Collection[str], situation: Situation, zone: ZoneInfo
) -> list[Rule]:
    """Return the rules in force, or raise InvalidText if one of them cannot be read."""
    if situation.unreadable:
        raise InvalidText(situation.unreadable)
    best = [image for image in points if image.image_id in launchable] or points
    newest = max(best, key=_order, default=None)
    if newest is None:
        return []
    written = newest.tags.get(Tag.TIME_ZONE)
    own_zone = zone_named(written) if written else zone
    rules = [Rule(parse_retain(newest.tags.get(Tag.RETAIN, "")), own_zone)]
    if situation.retain is not None:
        rules.append(Rule(situation.retain, own_zone))
    return rules


def _decide(
    points: Sequence[Image],
    launchable: Collection[str],
    rules: Sequence[Rule],
    situation: Situation,
    now: datetime,
) -> Decision:
    """Apply retention.

    What is disabled or damaged cannot be launched: it takes no other one's place, and goes when it
    would go if it could.
    """
    decision = decide(_points(points, launchable), rules, now, situation.ended)
    useless = {
        image.image_id
        for image in points
        if image.state != "pending" and image.image_id not in launchable
    }
    if not useless:
        return decision
    among_all = decide(_points(points, {*launchable, *useless}), rules, now, situation.ended)
    also = {key: why for key, why in among_all.expire.items() if key in useless}
    return replace(
        decision,
        keep={key: why for key, why in decision.keep.items() if key not in also},
        expire={**decision.expire, **also},
    )


def _points(images: Iterable[Image], launchable: Collection[str]) -> list[Point]:
    return [
        Point(image.image_id, occurrence, image.image_id in launchable)
        for image in images
        if (occurrence := parse_iso(image.tags.get(Tag.OCCURRENCE, ""))) is not None
    ]


def _order(image: Image) -> tuple[str, str]:
    return image.tags.get(Tag.OCCURRENCE, ""), image.image_id


def leave_to_sweep(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return the verdicts after a backup, without those that a changed retention brings about.

    Somebody may have mistyped it, or the stack's default, which concerns many instances at once.
    The daily sweep sees all of them, and whether they are too many. Whatever was made under the
    retention of the instance's newest recovery point goes at once.
    """
    newest: dict[tuple[str, str], Image] = {}
    for verdict in sorted(verdicts, key=lambda each: _order(each.image)):
        newest[verdict.instance_id, verdict.region] = verdict.image
    return [
        replace(verdict, spared="its retention was changed: left to the daily sweep")
        if verdict.goes
        and verdict.image.tags.get(Tag.RETAIN)
        != newest[verdict.instance_id, verdict.region].tags.get(Tag.RETAIN)
        else verdict
        for verdict in verdicts
    ]


def hold_on(tags: Mapping[str, str], zone: ZoneInfo, now: datetime) -> str:
    """Return why an image or a snapshot is held, or an empty text if it is not.

    A hold that cannot be understood holds: somebody meant something by it.
    """
    text = tags.get(Tag.HOLD)
    if text is None:
        return ""
    try:
        hold = parse_hold(text, zone)
    except InvalidText:
        return f"it is held: {Tag.HOLD} = {printable(text)}"
    return f"it is held {hold}" if hold is not None and hold.active(now) else ""


def is_protected_by_us(image: Image) -> bool:
    """Return whether the image's deregistration protection is the one that we gave it."""
    return image.tags.get(Tag.PROTECTED) == PROTECTED_BY_US and image.protection == _OUR_PROTECTION


def protection_of(image: Image) -> str:
    """Return why somebody else's protection keeps an image, or an empty text if none does."""
    if image.protection in _UNPROTECTED or is_protected_by_us(image):
        return ""
    return f"it is protected against deregistration ({image.protection})"


def check_limit(instance_ids: Iterable[str], limit: int) -> None:
    """Raise TooManyDeletions if more is to be deleted than may be in one pruning.

    `instance_ids` holds the instance of each deletion.
    """
    by_instance = Counter(instance_ids)
    if by_instance.total() > limit:
        raise TooManyDeletions(by_instance.total(), limit, by_instance)
