"""What there is in a guest besides its writing: its agent, its scripts, its applications.

The guest does nothing by itself: `sandbox.ssm` lets its agent take commands.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Platform(StrEnum):
    """The systems that a guest can run."""

    LINUX = "linux"
    WINDOWS = "windows"


@dataclass(slots=True)
class Quiet:
    """A time in which a guest's applications had written out all that they hold."""

    began_at: float
    ended_at: float = float("inf")


@dataclass(slots=True)
class Guest:
    """A guest's agent, what its scripts do, and when its applications were quiesced.

    `managed` says whether SSM knows the instance, `agent_online` whether its agent runs,
    `agent_late_seconds` how much later than usual it comes up in this boot. `freezable` says
    whether its file systems can be frozen, `vss_works` whether VSS quiesces its applications.
    `scripts` says what scripts do, by the name of their document; see `sandbox.ec2.knobs`.
    """

    platform: Platform = Platform.LINUX
    managed: bool = False
    agent_online: bool = True
    clock_skew_seconds: float = 0.0
    freezable: bool = True
    vss_works: bool = True
    scripts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    boots: int = 0
    booted_at: float = float("inf")
    agent_late_seconds: float = 0.0
    quiets: list[Quiet] = field(default_factory=list)
    _endings: dict[object, Callable[[float], None]] = field(default_factory=dict)

    def boot(self, now: float) -> None:
        """Let the guest come up; its applications begin to work."""
        self.boots += 1
        self.booted_at = now
        self.resume_applications(now)

    def go_down(self, now: float) -> None:
        """End what runs in the guest; its applications stay as they were left."""
        self.booted_at = float("inf")
        self.agent_late_seconds = 0.0
        endings, self._endings = self._endings, {}
        for end in endings.values():
            end(now)

    def when_down(self, key: object, end: Callable[[float], None]) -> None:
        """Call `end(moment)` when the guest goes down, unless the key is forgotten before."""
        self._endings[key] = end

    def forget(self, key: object) -> None:
        """Forget what was to be called when the guest goes down."""
        self._endings.pop(key, None)

    def quiesce_applications(self, now: float) -> None:
        """Let the applications write out all that they hold, and wait."""
        if not self.quiets or self.quiets[-1].ended_at <= now:
            self.quiets.append(Quiet(now))

    def resume_applications(self, now: float) -> None:
        """Let the applications go on."""
        if self.quiets and now < self.quiets[-1].ended_at:
            self.quiets[-1].ended_at = now

    def quiesced(self, moment: float) -> bool:
        """Say whether the applications were quiesced at a moment."""
        return any(quiet.began_at <= moment <= quiet.ended_at for quiet in self.quiets)
