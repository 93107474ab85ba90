"""An Elastic Load Balancing whose targets take time to become healthy, and to drain.

balancing = LoadBalancing(world)
balancing.call("RegisterTargets", {...}, account=..., region=..., principal=...)
balancing.unhealthy.add("i-...")   # the application of an instance answers no health check
balancing.report()                 # who is registered where, and whose connections were cut
"""

from sandbox.elb.model import LoadBalancing

__all__ = ["LoadBalancing"]
