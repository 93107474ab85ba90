"""Auto Scaling in every Region, with the groups and launch configurations that a test puts there.

A group or a launch configuration is a dictionary by the SDK's names, such as
{"AutoScalingGroupName": "web", "MixedInstancesPolicy": {"LaunchTemplate": {...}}}. Groups that
have members are made by calls of the API.
"""

from sandbox.autoscaling import AutoScaling as Model
from sandbox.companions import Offer
from sandbox.ec2 import World
from sandbox.elb import LoadBalancing
from sandbox.virtual.services import Companion


class AutoScaling(Companion):
    """What there is of Auto Scaling, by Region."""

    def __init__(self, world: World, model: Model | None = None) -> None:
        """Answer from a model, or from one of its own."""
        model = model or Model(world, LoadBalancing(world))
        super().__init__("autoscaling", Offer(model, model.actions))
        self.groups = model.listed
        self.configurations = model.configurations
