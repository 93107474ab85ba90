"""An SSM whose agents run in the guests of the emulated EC2: documents, commands, freezing, VSS.

ssm = Ssm(world)
world.configure("web-1", managed=True, scripts={"erp": {"pre-script": {"exit": 201}}})
ssm.call("SendCommand", {...}, account=account, region=region, principal=arn)
create_documents(ssm, properties_by_name, account=account, region=region)
"""

from sandbox.ssm.deployment import create_documents
from sandbox.ssm.physics import SsmPhysics
from sandbox.ssm.service import Ssm

__all__ = ["Ssm", "SsmPhysics", "create_documents"]
