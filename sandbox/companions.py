"""The services beside EC2 that act on its instances, each a model over the same world.

Services go by their names in the SDK: `autoscaling`, `cloudwatch` (alarm mute rules), `elbv2` and
`ssm`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from sandbox.alarm_muting import AlarmMuting
from sandbox.autoscaling import AutoScaling
from sandbox.ec2.world import World
from sandbox.elb import LoadBalancing
from sandbox.ssm import Ssm
from sandbox.ssm.service import ACTIONS as SSM_ACTIONS


class Model(Protocol):
    """A service that is performed by a model."""

    def call(
        self, action: str, params: Mapping[str, Any], *, account: str, region: str, principal: str
    ) -> Mapping[str, Any]:
        """Perform one call. Raises ServiceError."""
        ...


@dataclass(frozen=True, slots=True)
class Offer:
    """A model and the actions that it offers."""

    model: Model
    actions: Collection[str]


class Companions:
    """The companions of one world's EC2."""

    def __init__(self, world: World) -> None:
        self.balancing = LoadBalancing(world)
        self.autoscaling = AutoScaling(world, self.balancing)
        self.muting = AlarmMuting(world)
        self.ssm = Ssm(world)
        self._world = world

    @cached_property
    def offers(self) -> Mapping[str, Offer]:
        """What each service offers."""
        return {
            "autoscaling": Offer(self.autoscaling, self.autoscaling.actions),
            "cloudwatch": Offer(self.muting, self.muting.actions),
            "elbv2": Offer(self.balancing, self.balancing.actions),
            "ssm": Offer(self.ssm, SSM_ACTIONS),
        }

    def truth(self) -> dict[str, Any]:
        """Return the truth about the world with that about the companions, ready for JSON."""
        # Looking at the companions comes first: they find out what was done to their targets.
        own = self.autoscaling.report() | self.balancing.report() | self.muting.report()
        return self._world.truth() | own

    def document_tags(self, account: str, region: str, name: str) -> Mapping[str, str]:
        """Return the tags of a document of SSM; none if there is no such document."""
        library = self.ssm._place(account, region).library  # no call: faults strike calls
        known = library.own.get(name)
        return known.tags if known else {}
