"""Backup policies: what the tags of one instance ask for, parsed and validated."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import time
from enum import StrEnum
from typing import Self

from stillpoint.errors import InvalidRegions, InvalidText
from stillpoint.hazards import ACCEPTABLE, HAZARDS
from stillpoint.hold import Hold, parse_hold
from stillpoint.retain import Retain, parse_retain
from stillpoint.safeguards import life_under, lock_problem
from stillpoint.schedule import Schedule, fingerprint, parse_schedules, parse_time
from stillpoint.tags import OWNER_TAGS, PREFIX, Tag, printable
from stillpoint.zones import zone_named

# The name of a group becomes part of an execution's name, where only these characters keep
# CloudWatch logging working (Step Functions API Reference, StartExecution).
_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
_GROUP = re.compile(r"([A-Za-z0-9_-]{1,40})(?::([0-9]{1,3}))?")
# SendCommand takes a name or, for a document that another account shares, its ARN (Systems Manager
# API Reference, SendCommand and CreateDocument).
_DOCUMENT = re.compile(
    r"[A-Za-z0-9_.-]{3,128}"
    r"|arn:aws[a-z-]*:ssm:[a-z0-9-]+:[0-9]{12}:document/[A-Za-z0-9_.-]{3,128}"
)
_NAME_RULE = "a name is 1 to 40 letters, digits, - or _"
_NOT_ACCEPTABLE = frozenset(hazard.code for hazard in HAZARDS) - ACCEPTABLE
MOST_REGIONS = 5
"""Regions that an instance may be copied to: their state has to fit into one tag."""


class Method(StrEnum):
    """How an instance is quiesced."""

    STOP = "stop"
    REBOOT = "reboot"
    FREEZE = "freeze"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class PolicyDefaults:
    """What applies where a tag says nothing: the stack's parameters.

    `zone` is a name such as `Asia/Seoul`. It also decides where the days of a hold begin.
    `copy_regions` are the Regions that an instance may be copied to. `lock_days` is for how long
    snapshots are locked from the capture on, and 0 if they are not.
    """

    time: time
    zone: str
    retain: Retain
    copy_regions: frozenset[str] = frozenset()
    lock_days: int = 0

    @classmethod
    def parse(
        cls,
        *,
        time: str,
        zone: str,
        retain: str,
        copy_regions: Iterable[str] = (),
        lock_days: int = 0,
    ) -> Self:
        """Return the defaults from texts such as `03:00`, `UTC` and `14`.

        Raises InvalidText, with the reason in words, for any that cannot be understood.
        """
        return cls(
            parse_time(time),
            zone_named(zone).key,
            parse_retain(retain),
            frozenset(copy_regions),
            lock_days,
        )


@dataclass(frozen=True, slots=True)
class BackupPolicy:
    """What one instance's tags ask for.

    `fingerprint` identifies the schedules, `order` the place in the stop order of a group,
    `accept` the hazards that the owner accepts, `copy_to` the Regions to copy to. `time_zone` is
    the name of the zone in which the days of the retention begin: that of the schedule. `pre` and
    `post` are the names or ARNs of the Systems Manager documents to run in the guest before it is
    quiesced and after it is back.
    """

    schedules: tuple[Schedule, ...]
    fingerprint: str
    method: Method
    retain: Retain
    group: str | None = None
    order: int = 0
    anti_affinity: str | None = None
    hold: Hold | None = None
    accept: frozenset[str] = frozenset()
    copy_to: tuple[str, ...] = ()
    time_zone: str = "UTC"
    pre: str | None = None
    post: str | None = None


@dataclass(frozen=True, slots=True)
class InvalidPolicy:
    """Tags that cannot be understood, with every problem in words.

    `group` is the consistency group that the instance belongs to as far as its tags say,
    because its invalidity concerns the others too.
    """

    problems: tuple[str, ...]
    group: str | None = None


def parse_policy(tags: Mapping[str, str], defaults: PolicyDefaults) -> BackupPolicy | InvalidPolicy:
    """Return the policy in an instance's tags, or everything that is wrong with them.

    No tag, whatever it says, makes this raise. Tags of other prefixes are not looked at.
    """
    reader = _Reader(tags)
    schedules = reader.read(
        Tag.SCHEDULE,
        lambda text: parse_schedules(text, default_time=defaults.time, default_zone=defaults.zone),
        (),
    )
    method = reader.read(Tag.METHOD, _parse_method, Method.STOP)
    retain = reader.read(Tag.RETAIN, parse_retain, defaults.retain)
    group, order = reader.read(Tag.GROUP, _parse_group, (None, 0))
    anti_affinity = reader.read(Tag.ANTI_AFFINITY, _parse_name, None)
    hold = reader.read(Tag.HOLD, lambda text: parse_hold(text, zone_named(defaults.zone)), None)
    accept = reader.read(Tag.ACCEPT, _parse_accept, frozenset[str]())
    copy_to = reader.read(Tag.COPY_TO, lambda text: _parse_regions(text, defaults), ())
    pre = reader.read(Tag.PRE, _parse_document, None)
    post = reader.read(Tag.POST, _parse_document, None)
    time_zone = _zone_of(schedules) or defaults.zone
    problems = [
        *reader.problems,
        *_missing(tags),
        *_locked_too_long(schedules, retain, time_zone, defaults.lock_days),
        *_unknown_keys(tags),
    ]
    if problems:
        return InvalidPolicy(tuple(problems), group)
    return BackupPolicy(
        schedules=schedules,
        fingerprint=fingerprint(schedules),
        method=method,
        retain=retain,
        group=group,
        order=order,
        anti_affinity=anti_affinity,
        hold=hold,
        accept=accept,
        copy_to=copy_to,
        time_zone=time_zone,
        pre=pre,
        post=post,
    )


class _Reader:
    """Reads tags one by one, and collects what is wrong with them."""

    def __init__(self, tags: Mapping[str, str]) -> None:
        self._tags = tags
        self.problems: list[str] = []

    def read[T, D](self, tag: Tag, parse: Callable[[str], T], default: D) -> T | D:
        """Return the parsed value of a tag, or the default if it is absent or invalid."""
        text = self._tags.get(tag)
        if text is None:
            return default
        try:
            return parse(text)
        except InvalidText as error:
            self.problems.append(f"{tag}: {error.reason}")
            return default


def _parse_method(text: str) -> Method:
    word = text.strip().lower()
    try:
        return Method(word)
    except ValueError:
        raise InvalidText(
            f"'{printable(text)}' is not a method, write stop, reboot, freeze or none"
        ) from None


def _parse_group(text: str) -> tuple[str, int]:
    match = _GROUP.fullmatch(text.strip())
    if match is None:
        raise InvalidText(
            f"'{printable(text)}' is not a group, {_NAME_RULE}, "
            "and an order may follow such as erp:2"
        )
    return match[1], int(match[2] or 0)


def _parse_name(text: str) -> str:
    word = text.strip()
    if not _NAME.fullmatch(word):
        raise InvalidText(f"'{printable(text)}' is not a name, {_NAME_RULE}")
    return word


def _parse_document(text: str) -> str:
    word = text.strip()
    if not _DOCUMENT.fullmatch(word):
        raise InvalidText(
            f"'{printable(text)}' is not a Systems Manager document, write its name, 3 to 128"
            " letters, digits, - _ or ., or its ARN"
        )
    return word


def _parse_accept(text: str) -> frozenset[str]:
    words = text.lower().replace(",", " ").split()
    known = f"write {' or '.join(sorted(ACCEPTABLE))}"
    for word in words:
        if word in _NOT_ACCEPTABLE:
            raise InvalidText(f"{word} is no hazard that can be accepted, {known}")
        if word not in ACCEPTABLE:
            raise InvalidText(f"'{printable(word)}' is not a hazard to accept, {known}")
    if not words:
        raise InvalidText(f"it is empty, {known}")
    return frozenset(words)


def _parse_regions(text: str, defaults: PolicyDefaults) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(text.lower().replace(",", " ").split()))
    allowed = " and ".join(sorted(defaults.copy_regions)) or "none so far"
    if not words:
        raise InvalidRegions(f"it is empty, write Regions such as {allowed}")
    if len(words) > MOST_REGIONS:
        raise InvalidRegions(f"it names {len(words)} Regions, at most {MOST_REGIONS} are possible")
    for word in words:
        if word not in defaults.copy_regions:
            raise InvalidRegions(
                f"'{printable(word)}' is not a Region that the stack may copy to, its parameter"
                f" CopyRegions allows {allowed}"
            )
    return words


def _zone_of(schedules: tuple[Schedule, ...]) -> str | None:
    """Return the zone of the first schedule that has one: a rate has none."""
    zones = (schedule.zone for schedule in schedules)
    return next((zone.key for zone in zones if zone is not None), None)


def _missing(tags: Mapping[str, str]) -> list[str]:
    return [] if Tag.SCHEDULE in tags else [f"{Tag.SCHEDULE} is missing"]


def _locked_too_long(
    schedules: tuple[Schedule, ...], retain: Retain, time_zone: str, lock_days: int
) -> list[str]:
    """Return a problem if the stack locks some of the recovery points longer than they are kept."""
    if not lock_days or not schedules:
        return []
    life = life_under(schedules, retain, zone_named(time_zone))
    problem = lock_problem(retain, life, lock_days)
    return [f"{Tag.RETAIN}: {problem}"] if problem else []


def _unknown_keys(tags: Mapping[str, str]) -> list[str]:
    known = frozenset[str](Tag)
    unknown = sorted(key for key in tags if key.casefold().startswith(PREFIX) and key not in known)
    return [_unknown_key(key) for key in unknown]


def _unknown_key(key: str) -> str:
    names = sorted(tag.removeprefix(PREFIX) for tag in OWNER_TAGS)
    near = difflib.get_close_matches(key.casefold().removeprefix(PREFIX)[:40], names, n=1)
    hint = f"perhaps {PREFIX}{near[0]} is meant" if near else "remove it"
    return f"the tag '{printable(key)}' is not known, {hint}"
