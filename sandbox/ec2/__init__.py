"""An EC2 that takes time: states, images, snapshots, the page cache, limits and faults.

    world = World(clock, seed=7, physics=Physics())
    install(world)                       # ministack's EC2 in this process is the world now
    world.configure("web-1", hung=True)  # the knobs of one instance
    world.faults.add({"name": "throttle", "action": "StartInstances", "times": 3})
    world.add_key("1234abcd-...", region="eu-west-1")                  # a customer managed key
    world.set_recycle_bin(image_days=7, snapshot_days=7, region="eu-west-1")
    world.truth()                        # what only the world knows
    world.calls                          # every call of the API

The model itself (`world` and what it imports) knows nothing of ministack; `emulator` and `wire`
join the two.
"""

from sandbox.ec2.emulator import STEP_FUNCTIONS, install
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.faults import FAULT_NAMES, FaultName
from sandbox.ec2.physics import Physics, Range
from sandbox.ec2.world import World

__all__ = [
    "FAULT_NAMES",
    "STEP_FUNCTIONS",
    "Ec2Error",
    "FaultName",
    "Physics",
    "Range",
    "World",
    "install",
]
