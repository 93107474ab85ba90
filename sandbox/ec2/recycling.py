"""The Recycle Bin of a Region: what was deleted and can still be restored.

EBS User Guide, "Recycle Bin": a retention rule of 1 to 365 days for snapshots, and one for
EBS-backed AMIs, keeps what is deleted or deregistered until its retention period is over. Nobody
can empty it. Its rules are set from outside, as an administrator of the account would.
"""

from dataclasses import dataclass, field

from sandbox.ec2.model import ImageState

DAY = 86_400.0
MAX_DAYS = 365


@dataclass(frozen=True, slots=True)
class Binned:
    """Something in the Recycle Bin: since when, until when, and the state of an image before."""

    entered_at: float
    exits_at: float
    state: ImageState | None = None


@dataclass(slots=True)
class RecycleBin:
    """The rules, in days or None for no rule, and what is kept, by its id."""

    image_days: int | None = None
    snapshot_days: int | None = None
    kept: dict[str, Binned] = field(default_factory=dict)

    def keep(self, resource_id: str, now: float, days: int, state: ImageState | None) -> float:
        """Keep something for so many days; return when it leaves."""
        binned = Binned(now, now + days * DAY, state)
        self.kept[resource_id] = binned
        return binned.exits_at

    def set_rules(self, image_days: int | None, snapshot_days: int | None) -> None:
        """Put rules in force for what comes; raise ValueError for an impossible number of days."""
        for days in (image_days, snapshot_days):
            if days is not None and not 1 <= days <= MAX_DAYS:
                message = f"the Recycle Bin keeps for 1 to {MAX_DAYS} days, not {days}"
                raise ValueError(message)
        self.image_days, self.snapshot_days = image_days, snapshot_days
