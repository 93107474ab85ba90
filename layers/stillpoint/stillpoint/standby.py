"""Standby: a member of an Auto Scaling group taken out of service while it is backed up."""

from dataclasses import dataclass
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class Sizes:
    """What an Auto Scaling group says about itself.

    The sizes are in units of capacity: instances, unless the group weighs its instance types.
    `suspended` are the names of its suspended processes, such as `Launch`. `target_groups` are
    the ARNs of the target groups in which it registers its members.
    """

    min_size: int
    max_size: int
    desired: int
    suspended: frozenset[str] = frozenset()
    target_groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Membership:
    """An instance's place in an Auto Scaling group; `state` is such as `InService`, `Standby`.

    `sizes` is None if EC2 Auto Scaling does not describe the group. `together` is the capacity
    that the backup takes out of the group, with this member and all others.
    """

    group: str
    state: str
    sizes: Sizes | None = None
    together: int = 1

    @property
    def in_words(self) -> str:
        """The group and the state in it."""
        return f"group {self.group}, {self.state}"


class Move(Enum):
    """What comes next on the way into Standby, or out of it."""

    DONE = auto()
    CALL = auto()
    WAIT = auto()
    NEVER = auto()
    """It cannot come there, or (on the way out) is not held in Standby by anybody any more."""


_ON_THE_WAY_IN = frozenset({"EnteringStandby", "Pending", "Pending:Wait", "Pending:Proceed"})
_LEAVING = ("Terminat", "Detach", "Warmed:")


def way_in(state: str | None) -> Move:
    """Return what brings a member into Standby; None if it is no member.

    Only a member that is InService enters Standby (EC2 Auto Scaling User Guide, "Temporarily
    remove instances from your Auto Scaling group").
    """
    match state:
        case "Standby":
            return Move.DONE
        case "InService":
            return Move.CALL
        case _:
            return Move.WAIT if state in _ON_THE_WAY_IN else Move.NEVER


def way_out(state: str | None) -> Move:
    """Return what brings a member back into service; None if it is no member any more."""
    match state:
        case "InService":
            return Move.DONE
        case "Standby":
            return Move.CALL
        case None:
            return Move.NEVER
        case _:
            return Move.NEVER if state.startswith(_LEAVING) else Move.WAIT


def is_replaced(membership: Membership) -> bool:
    """Return whether the group replaces the member when it does not run.

    One in Standby is not looked after (EC2 Auto Scaling User Guide, "Temporarily remove instances
    from your Auto Scaling group").
    """
    return membership.state != "Standby"


def why_no_entry(membership: Membership | None) -> str:
    """Return why a member cannot be put into Standby and back, in words, or an empty text."""
    if membership is None:
        return "EC2 Auto Scaling does not know the instance"
    group, sizes = membership.group, membership.sizes
    if way_in(membership.state) is not Move.CALL:
        return f"it is {membership.state} in the group {group}, and would have to be InService"
    if sizes is None:
        return f"EC2 Auto Scaling does not describe the group {group}"
    left = sizes.desired - membership.together
    if left < sizes.min_size:
        return (
            f"the group {group} has DesiredCapacity {sizes.desired} and MinSize {sizes.min_size},"
            f" and {left} would be left"
        )
    return _why_closed(group, sizes, sizes.desired)


def why_no_exit(membership: Membership) -> str:
    """Return why a member that is in Standby cannot come back, in words, or an empty text."""
    group, sizes = membership.group, membership.sizes
    if sizes is None:
        return f"EC2 Auto Scaling does not describe the group {group}"
    return _why_closed(group, sizes, sizes.desired + membership.together)


def _why_closed(group: str, sizes: Sizes, then: int) -> str:
    """Return why nothing can come back into the group; it would have `then` as its capacity.

    The return increments DesiredCapacity and is refused above MaxSize, and while Launch is
    suspended. Without AddToLoadBalancer nothing is registered with the group's target groups (EC2
    Auto Scaling User Guide, "Suspend and resume Amazon EC2 Auto Scaling processes").
    """
    if then > sizes.max_size:
        return (
            f"the group {group} has MaxSize {sizes.max_size}, and would come to"
            f" DesiredCapacity {then} when it returns"
        )
    if "Launch" in sizes.suspended:
        return f"the process Launch of the group {group} is suspended, without which none returns"
    if "AddToLoadBalancer" in sizes.suspended and sizes.target_groups:
        return (
            f"the process AddToLoadBalancer of the group {group} is suspended, without which it"
            " would not return to the group's target groups"
        )
    return ""
