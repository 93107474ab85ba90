"""Isolation: what is done around an instance before it is quiesced, and undone when it is back."""

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Self

MOST_TARGETS = 9
"""Registrations with target groups that the tag's value can hold."""

LONGEST_CAUSE = 400
"""Characters of a failure's cause. An execution's state holds 262,144 bytes (Step Functions
Developer Guide, "Quotas"), and each of 40 members may fail in several ways."""

_NOTHING = "nothing"
_TARGET = re.compile(r"([0-9A-Za-z]{1,20})(?::([0-9]{1,5}))?([+-])")


@dataclass(frozen=True, slots=True)
class Registration:
    """A place of an instance in a target group.

    `group` is the last part of the group's ARN, which AWS makes and never gives twice. `port` is
    None if the instance is registered with the group's own port. `was_healthy` says whether the
    target was healthy before the backup, and so has to be again.
    """

    group: str
    port: int | None
    was_healthy: bool

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the registration in a text such as `73e2d6bc24d8a067:80+`, or None."""
        match = _TARGET.fullmatch(text)
        return (
            cls(match[1], int(match[2]) if match[2] else None, match[3] == "+") if match else None
        )

    def render(self) -> str:
        """Return the text that `parse` reads."""
        port = "" if self.port is None else f":{self.port}"
        return f"{self.group}{port}{'+' if self.was_healthy else '-'}"


@dataclass(frozen=True, slots=True)
class Undo:
    """The value of `stillpoint:undo`: what a backup may have done around an instance.

    It is written before anything of it is done, and removed when everything is as it was before.
    `standby`: it was taken out of service in its Auto Scaling group. `scripts`: a pre-script was
    run in it, and a post-script may be due. `muted`: its alarms are muted. `targets` are the
    registrations with target groups that were taken away.
    """

    standby: bool = False
    scripts: bool = False
    muted: bool = False
    targets: tuple[Registration, ...] = ()

    def __bool__(self) -> bool:
        return self.standby or self.scripts or self.muted or bool(self.targets)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return what is in a text such as `standby scripts 73e2d6bc24d8a067:80+`, or None."""
        if text == _NOTHING:
            return cls()
        words = text.split()
        flags = {word for word in words if word in {"standby", "scripts", "muted"}}
        targets = [Registration.parse(word) for word in words if word not in flags]
        if not words or None in targets:
            return None
        return cls(
            "standby" in flags,
            "scripts" in flags,
            "muted" in flags,
            tuple(target for target in targets if target),
        )

    def render(self) -> str:
        """Return the tag's value."""
        flags = [name for name in ("standby", "scripts", "muted") if getattr(self, name)]
        return " ".join([*flags, *(target.render() for target in self.targets)]) or _NOTHING


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one step has come; a step that is done is the default.

    `waiting` says in words what it waits for. `failure` says in words why it cannot be done now,
    and `error` is its stable name; trying it again is always harmless. `lost` says in words what
    can never be done: that is waited for no more, and people are told.
    """

    waiting: str = ""
    failure: str = ""
    error: str = ""
    lost: str = ""

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return not self.waiting and not self.failure


DONE = Progress()


def together(*steps: Progress) -> Progress:
    """Return how far several steps have come: the first failure, or all that they wait for."""
    lost = " ".join(step.lost for step in steps if step.lost)
    failed = next((step for step in steps if step.failure), None)
    if failed:
        return replace(failed, lost=lost)
    return Progress(", ".join(step.waiting for step in steps if step.waiting), lost=lost)


def wait_before_next_look(elapsed: timedelta) -> int:
    """Return the seconds until the next look: a quarter of what has passed, 5 s to a minute."""
    return int(min(60, max(5, elapsed.total_seconds() / 4)))
