"""Targets: the places of an instance in the target groups of load balancers."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from stillpoint.isolation import MOST_TARGETS, Registration, Undo

HEALTHY = "healthy"
DRAINING = "draining"
_WITHOUT_TRAFFIC = frozenset({DRAINING, "unused"})
_TAG_VALUE = 256
"""Characters that a tag's value may have (EC2 User Guide, "Tag your Amazon EC2 resources")."""


@dataclass(frozen=True, slots=True)
class FoundTarget:
    """A place of an instance in a target group, as Elastic Load Balancing describes it.

    `group` is the last part of the group's ARN, `name` the group's name. `port` is None if it is
    the group's own. `state` is that of the target: `healthy`, `unhealthy`, `initial`, `unused`
    (no load balancer sends it anything), `draining` (it is being deregistered). `only_healthy`
    says that no other target is healthy, apart from those of instances that are backed up with it.
    """

    arn: str
    group: str
    name: str
    port: int | None
    state: str
    only_healthy: bool = False

    @property
    def registration(self) -> Registration:
        """What has to be remembered of it to register it again."""
        return Registration(self.group, self.port, self.state == HEALTHY)


def without_handled(
    targets: Iterable[FoundTarget], handled: Collection[str]
) -> tuple[FoundTarget, ...]:
    """Return the targets without those that Standby takes care of; `handled` are the groups' ARNs.

    An Auto Scaling group registers its members with the target group's own port alone.
    """
    return tuple(each for each in targets if each.arn not in handled or each.port is not None)


def to_take_away(targets: Iterable[FoundTarget]) -> tuple[Registration, ...]:
    """Return the registrations that a stop would cut off from their load balancers.

    What gets no traffic stays as it is: a target that no load balancer uses, and one that its
    owner is taking away already, who will not want it back.
    """
    return tuple(each.registration for each in targets if each.state not in _WITHOUT_TRAFFIC)


def names_of_the_last(targets: Iterable[FoundTarget]) -> tuple[str, ...]:
    """Return the names of the groups that are left without a healthy target."""
    return tuple(sorted({each.name for each in targets if each.only_healthy}))


def why_lost(groups: Iterable[str]) -> str:
    """Return in words that target groups do not exist any more, or an empty text.

    `groups` are the last parts of their ARNs, which are all that is remembered of them.
    """
    named = ", ".join(f"targetgroup/*/{each}" for each in groups)
    if not named:
        return ""
    return (
        f"It was registered with {named}, which does not exist any more. If another target group"
        " has taken its place, register the instance there."
    )


def why_not_remembered(registrations: Collection[Registration]) -> str:
    """Return why the tag `stillpoint:undo` cannot hold them, in words, or an empty text."""
    if len(registrations) > MOST_TARGETS:
        return f"{len(registrations)}, and at most {MOST_TARGETS} can be"
    for each in registrations:
        if Registration.parse(each.render()) != each:
            return f"the target group {each.group} has an unusual ARN"
    longest = Undo(standby=True, scripts=True, muted=True, targets=tuple(registrations)).render()
    return "their text is too long for a tag" if len(longest) > _TAG_VALUE else ""
