"""What ought to be left after a pruning, said a second time and in the plainest way.

It shares no code with `stillpoint.retention` and `stillpoint.pruning`: each rule is read from its
definition, for one recovery point after the other.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

DAY = timedelta(days=1)
GRACE = 2 * DAY
OFFSETS = {"UTC": timedelta(0), "Asia/Seoul": timedelta(hours=9)}


@dataclass(slots=True, eq=False)
class Made:
    """An image of ours, as the one who made it remembers it."""

    region: str
    image_id: str
    instance_id: str
    occurrence: datetime
    created_at: datetime
    retain: str
    zone: str
    state: str = "available"
    is_proven: bool = True
    is_held: bool = False
    is_damaged: bool = False
    is_source_of_pending: bool = False
    is_to_be_copied: bool = False
    ended_at: datetime | None = None
    snapshots: set[str] = field(default_factory=set)

    @property
    def is_point(self) -> bool:
        return self.is_proven and self.state != "failed"

    @property
    def is_launchable(self) -> bool:
        return self.is_point and self.state == "available" and not self.is_damaged


@dataclass(frozen=True, slots=True)
class Loose:
    """A snapshot of a recovery point whose image was deregistered by hand."""

    snapshot_id: str
    region: str
    instance_id: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of an instance's points: by its tag now, or how long the last one stays.

    `is_gone` says that it is believed to be gone, `is_uncertain` that it is not believed yet.
    `knows_copies` says that the Regions of its copies answer, `after_backup` that this is not the
    daily sweep.
    """

    retain: str | None
    final: timedelta | None
    is_gone: bool = False
    is_uncertain: bool = False
    knows_copies: bool = True
    after_backup: bool = False


def newest_point(made: Iterable[Made]) -> Made | None:
    """Return the point of one instance in one Region on which its end is written.

    It is the newest of all if none is available.
    """
    points = [one for one in made if one.is_point]
    available = [one for one in points if one.state == "available"]
    return max(available or points, key=lambda one: one.occurrence, default=None)


def is_believed(made: Iterable[Made], now: datetime) -> bool:
    """Whether an instance that is not seen is believed to be gone."""
    newest = newest_point(made)
    return newest is not None and newest.ended_at is not None and now - newest.ended_at >= 7 * DAY


def doomed_points(made: Iterable[Made], asked: Asked, now: datetime) -> set[Made]:
    """Return which points of one instance in one Region go."""
    points = sorted(
        (one for one in made if one.is_point), key=lambda one: one.occurrence, reverse=True
    )
    launchable = [one for one in points if one.is_launchable]
    useless = [one for one in points if not one.is_launchable and one.state != "pending"]
    if not points or asked.is_uncertain:
        return set()
    speaks = (launchable or points)[0]
    rules = {speaks.retain, asked.retain} - {None}
    everything = [one for one in points if one.is_launchable or one in useless]
    kept = _kept(launchable, rules, speaks.zone, asked, now)
    kept_of_all = _kept(everything, rules, speaks.zone, asked, now)
    gone = {one for one in launchable if one not in kept}
    gone |= {one for one in useless if one not in kept_of_all}
    if asked.after_backup:
        gone = {one for one in gone if one.retain == points[0].retain}
    return {one for one in gone if not one.is_held and not _awaits_a_copy(one, asked, now)}


def _awaits_a_copy(one: Made, asked: Asked, now: datetime) -> bool:
    if one.is_to_be_copied and (not asked.knows_copies or now - one.occurrence < 7 * DAY):
        return True
    return one.is_source_of_pending


def doomed_orphans(made: Collection[Made], now: datetime, final: timedelta | None) -> set[Made]:
    """Return which images of one Region were never recovery points and go."""
    return {
        one
        for one in made
        if now - one.created_at >= GRACE
        and not one.is_held
        and (
            one.state == "failed"
            or (not one.is_proven and _is_spare(one.instance_id, one.created_at, made, now, final))
        )
    }


def doomed_snapshots(
    loose: Iterable[Loose], made: Collection[Made], now: datetime, final: timedelta | None
) -> set[str]:
    """Return the ids of those snapshots without an image in one Region that go."""
    return {
        one.snapshot_id
        for one in loose
        if now - one.started_at >= GRACE
        and _is_spare(one.instance_id, one.started_at, made, now, final)
    }


def _is_spare(
    instance_id: str,
    since: datetime,
    made: Iterable[Made],
    now: datetime,
    final: timedelta | None,
) -> bool:
    """Whether an instance has something better, or would not want this any longer."""
    has_better = any(one.is_launchable for one in made if one.instance_id == instance_id)
    return has_better or (final is not None and now - since > final)


def _kept(
    newest_first: Sequence[Made],
    rules: Iterable[str | None],
    zone: str,
    asked: Asked,
    now: datetime,
) -> set[Made]:
    is_gone = asked.is_gone
    kept = {
        one
        for rule in rules
        for position, one in enumerate(newest_first)
        if _is_kept(
            str(rule), newest_first, position, zone=zone, gone=asked if is_gone else None, now=now
        )
    }
    if newest_first and (not is_gone or kept or _is_young(newest_first[0], asked.final, now)):
        kept.add(newest_first[0])
    return kept


def _is_young(one: Made, final: timedelta | None, now: datetime) -> bool:
    return final is None or now - one.occurrence < final


def _is_kept(
    rule: str,
    newest_first: Sequence[Made],
    position: int,
    *,
    zone: str,
    gone: Asked | None,
    now: datetime,
) -> bool:
    """Whether a rule keeps the point at a position, the newest being at 0."""
    one, words = newest_first[position], rule.split()
    if rule.isdecimal():
        return position < int(rule) and (gone is None or _is_young(one, gone.final, now))
    if len(words) == 1:
        days = int(rule[:-1]) * {"d": 1, "w": 7}[rule[-1]]
        return now - one.occurrence < days * DAY
    days_of = [(each.occurrence + OFFSETS[zone]).date() for each in newest_first]
    today = (now + OFFSETS[zone]).date()
    # One that is gone ages as if it had been backed up on every day since.
    since = (today - days_of[0]).days if gone else 0
    stairs = [today - number * DAY for number in range(since)] + days_of
    return since + position in _stand_on_stairs(stairs, words)


def _stand_on_stairs(days: Sequence[date], words: Sequence[str]) -> set[int]:
    """Return the places of those days, newest first, that the terms of a ladder keep."""
    kept: set[int] = set()
    for word in words:
        left, seen = int(word[:-1]), set[tuple[int, ...]]()
        for place, day in enumerate(days):
            period = {
                "d": (day.toordinal(),),
                "w": ((day.toordinal() - 1) // 7,),
                "m": (day.year, day.month),
                "y": (day.year,),
            }[word[-1]]
            is_newest = period not in seen
            seen.add(period)
            if is_newest and place not in kept and left:
                left -= 1
                kept.add(place)
    return kept
