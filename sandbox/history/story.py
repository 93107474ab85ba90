"""What happens over the days: a fleet, what its owner does, and what goes wrong."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

AWAY: Final = "eu-west-1"


class Verb(StrEnum):
    """What can happen. An AMI is the newest available one of a member in a Region."""

    LAUNCH = "launch"
    TAG = "tag"
    UNTAG = "untag"
    TERMINATE = "terminate"
    # Of an AMI, until it is let go.
    HOLD = "hold"
    HOLD_SNAPSHOT = "hold-snapshot"
    USE = "use"
    USE_IN_TEMPLATE = "use-in-template"
    PROTECT = "protect"
    LET_GO = "let-go"
    # What is the owner's own.
    COPY_BY_HAND = "copy-by-hand"
    # What goes wrong.
    IMAGE_FAILS = "image-fails"
    CUT_OFF = "cut-off"
    COPY_FAILS = "copy-fails"
    COPY_STUCK = "copy-stuck"
    SNAPSHOT_STAYS = "snapshot-stays"
    SILENCE = "silence"
    OUTAGE = "outage"
    REFUSED = "refused"
    CRASH_PRUNING = "crash-pruning"
    CRASH_COPYING = "crash-copying"
    ANSWER_LOST = "answer-lost"


LASTING: Final = frozenset({Verb.SILENCE, Verb.OUTAGE, Verb.REFUSED})
"""These last for `days`."""


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that happens on a day: 40 minutes past midnight UTC, after the daily sweep.

    `who` is a member's name, `volumes` how many it is launched with. `label` names the AMI that a
    deed picks out, to let it go again.
    """

    day: int
    verb: Verb
    who: str = ""
    label: str = ""
    region: str = ""
    days: int = 0
    volumes: int = 1
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Story:
    """A history of `days` days, and how long the last point of what is gone is kept."""

    days: int
    final_days: int
    deeds: tuple[Deed, ...]

    def deeds_of(self, day: int) -> list[Deed]:
        """Return what happens on a day, in its order."""
        return [deed for deed in self.deeds if deed.day == day]

    def disturbs(self, day: int) -> bool:
        """Say whether the sweep at the midnight with which a day begins is disturbed.

        What is refused for some days is not, an hour before the last of these midnights.
        """
        crashes = any(deed.verb is Verb.CRASH_PRUNING for deed in self.deeds_of(day))
        return crashes or any(
            deed.verb in LASTING
            and deed.day < day < deed.day + deed.days + (deed.verb is not Verb.REFUSED)
            for deed in self.deeds
        )

    def troubles(self, day: int) -> bool:
        """Say whether a function may fail on a day: its process or what it calls does."""
        crashes = {Verb.CRASH_PRUNING, Verb.CRASH_COPYING, Verb.CUT_OFF}
        return any(
            deed.day <= day <= deed.day + deed.days
            for deed in self.deeds
            if deed.verb in crashes | LASTING
        )

    def is_silent(self, day: int) -> bool:
        """Say whether EventBridge sends nothing on a day."""
        return any(
            deed.verb is Verb.SILENCE and deed.day <= day < deed.day + deed.days
            for deed in self.deeds
        )


def _launch(
    day: int, name: str, schedule: str, retain: str = "", *, copied: bool = False, volumes: int = 1
) -> Deed:
    tags = {"stillpoint:schedule": schedule}
    tags |= {"stillpoint:retain": retain} if retain else {}
    tags |= {"stillpoint:copy-to": AWAY} if copied else {}
    return Deed(day, Verb.LAUNCH, name, volumes=volumes, tags=tags)


def _retain(day: int, name: str, retain: str) -> Deed:
    return Deed(day, Verb.TAG, name, tags={"stillpoint:retain": retain})


YEARS: Final = Story(
    days=1095,
    final_days=180,
    deeds=(
        # A count: made longer, shorter, illegible and legible again.
        _launch(0, "web", "daily 02:10", "14"),
        _retain(200, "web", "21"),
        _retain(420, "web", "10"),
        _retain(600, "web", "a fortnight"),
        _retain(630, "web", "14"),
        # Grandfather, father and son in Seoul, with copies.
        _launch(0, "db", "daily 11:30 Asia/Seoul", "7d 4w 12m 1y", copied=True, volumes=2),
        _retain(520, "db", "14d 8w 12m 1y"),
        _retain(800, "db", "7d 4w 6m"),
        # An age in New York, with copies; terminated in the second year.
        _launch(0, "erp", "daily 22:15 America/New_York", "30d", copied=True),
        Deed(505, Verb.TERMINATE, "erp"),
        # Twice a day; loses its schedule for two months, and then for good.
        _launch(560, "mail", "rate(12 hours)", "1m"),
        Deed(660, Verb.UNTAG, "mail"),
        Deed(700, Verb.TAG, "mail", tags={"stillpoint:schedule": "rate(12 hours)"}),
        Deed(780, Verb.UNTAG, "mail"),
        # Once a week, for two years.
        _launch(0, "archive", "weekly sun 02:40 Europe/Berlin", "2y"),
        # Two schedules and few points, with copies; terminated too late for its last to go.
        _launch(100, "batch", "weekly mon,wed,fri 02:20; weekly tue,sat 02:50", "5", copied=True),
        Deed(1000, Verb.TERMINATE, "batch"),
        # The stack's own retention; terminated, and all gone before the end.
        _launch(300, "cache", "weekly mon,thu 02:00"),
        Deed(640, Verb.TERMINATE, "cache"),
        # A ladder of an instance that is terminated: its days go on without it.
        _launch(330, "wiki", "daily 03:05 Pacific/Auckland", "7d 4w 3m"),
        Deed(620, Verb.TERMINATE, "wiki"),
        # The latest: its very first backup is cut off, so its first image proves nothing.
        _launch(850, "shop", "daily 02:45", "4m"),
        Deed(850, Verb.CUT_OFF, "shop"),
        _retain(970, "shop", "20d"),
        _retain(1010, "shop", "3m"),
        # What must stay although it has expired, for a while or to the end.
        Deed(50, Verb.USE, "web", "bystander"),
        Deed(150, Verb.LET_GO, label="bystander"),
        Deed(60, Verb.USE_IN_TEMPLATE, "db", "template", AWAY),
        Deed(300, Verb.LET_GO, label="template"),
        Deed(80, Verb.HOLD, "erp", "audit"),
        Deed(260, Verb.LET_GO, label="audit"),
        Deed(320, Verb.PROTECT, "web", "protected"),
        Deed(400, Verb.LET_GO, label="protected"),
        Deed(410, Verb.HOLD_SNAPSHOT, "db", "evidence"),
        Deed(530, Verb.LET_GO, label="evidence"),
        Deed(900, Verb.HOLD, "web", "for-good"),
        Deed(905, Verb.USE, "shop", "tenant"),
        Deed(910, Verb.USE_IN_TEMPLATE, "batch", "template-for-good", AWAY),
        Deed(915, Verb.PROTECT, "batch", "protected-for-good"),
        # Copies that the owner makes himself, with all tags.
        Deed(70, Verb.COPY_BY_HAND, "web", "own-1"),
        Deed(71, Verb.COPY_BY_HAND, "db", "own-2", AWAY),
        # Backups, copies and deletions that fail.
        Deed(120, Verb.IMAGE_FAILS, "web"),
        Deed(130, Verb.CUT_OFF, "db"),
        Deed(645, Verb.IMAGE_FAILS, "mail"),
        Deed(650, Verb.CUT_OFF, "archive"),
        Deed(160, Verb.COPY_FAILS, "db"),
        Deed(170, Verb.COPY_STUCK, "erp"),
        Deed(180, Verb.SNAPSHOT_STAYS, "web"),
        Deed(185, Verb.CRASH_COPYING),
        Deed(190, Verb.ANSWER_LOST),
        # Outages: of EventBridge, of a Region, and of one call.
        Deed(240, Verb.SILENCE, days=10),
        Deed(365, Verb.OUTAGE, region=AWAY, days=5),
        Deed(450, Verb.REFUSED, days=1),
        Deed(451, Verb.CRASH_PRUNING),
    ),
)

FORTNIGHT: Final = Story(
    days=14,
    final_days=4,
    deeds=(
        _launch(0, "web", "daily 02:10", "3"),
        _launch(0, "db", "daily 11:30 Asia/Seoul", "2d 1w", copied=True, volumes=2),
        _launch(0, "erp", "daily 21:15 America/New_York", "4d", copied=True),
        _launch(0, "batch", "daily 02:20; daily 03:10", "2"),
        _launch(3, "shop", "daily 02:30", "1d 1w"),
        _retain(4, "web", "5"),
        _retain(9, "web", "2"),
        _retain(5, "batch", "some"),
        _retain(7, "batch", "2"),
        Deed(6, Verb.TERMINATE, "erp"),
        Deed(9, Verb.UNTAG, "shop"),
        Deed(2, Verb.HOLD, "web", "audit"),
        Deed(7, Verb.LET_GO, label="audit"),
        Deed(2, Verb.USE_IN_TEMPLATE, "db", "template", AWAY),
        Deed(11, Verb.LET_GO, label="template"),
        Deed(3, Verb.COPY_BY_HAND, "db", "own-1", AWAY),
        Deed(3, Verb.PROTECT, "batch", "protected"),
        Deed(4, Verb.IMAGE_FAILS, "db"),
        Deed(5, Verb.CUT_OFF, "web"),
        Deed(8, Verb.SILENCE, days=1),
        Deed(10, Verb.OUTAGE, region=AWAY, days=1),
        Deed(12, Verb.CRASH_PRUNING),
    ),
)
