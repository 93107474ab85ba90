"""An Auto Scaling that terminates a member which stops while it is in service.

scaling = AutoScaling(world, balancing)
scaling.call("EnterStandby", {...}, account=..., region=..., principal=...)
scaling.report()              # the groups with their members' states
scaling.listed["us-east-1"]   # groups without members of the world, for Describe calls only
"""

from sandbox.autoscaling.model import AutoScaling

__all__ = ["AutoScaling"]
