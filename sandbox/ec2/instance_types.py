"""DescribeInstanceTypes: what is to be known of a type before an instance of it is stopped."""

import re
from typing import Any

from sandbox.ec2.call import Call
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.filters import Extractor, matcher, page
from sandbox.ec2.region import Operation, Region

# The types that are listed if a request names none.
COMMON = (
    "c7g.large",
    "i4i.large",
    "m7i.large",
    "m6gd.large",
    "mac2.metal",
    "r7i.large",
    "t3.micro",
)
MAX_NAMES = 100
_TYPE = re.compile(r"([a-z]+)(\d+)([a-z-]*)\.([a-z0-9-]+)")
# Families that are built around instance store volumes (EC2 Instance Types Guide, "Storage
# optimized"); in others a `d` among the attributes behind the generation says so.
_STORAGE_FAMILIES = frozenset({"d", "h", "i", "im", "is"})


def describe_instance_types(region: Region, call: Call) -> dict[str, Any]:
    """List instance types by name or filters, in pages."""
    del region
    names = call.params.get("InstanceTypes") or []
    if len(names) > MAX_NAMES:
        message = f"More than {MAX_NAMES} instance types in one request"
        raise Ec2Error("InvalidParameterValue", message)
    unknown = [name for name in names if not _TYPE.fullmatch(name)]
    if unknown:
        message = f"The following supplied instance types do not exist: [{', '.join(unknown)}]"
        raise Ec2Error("InvalidInstanceType", message)
    matches = matcher(call.params.get("Filters"), _FILTERS, lambda _: {})
    listed = [name for name in sorted(set(names or COMMON)) if matches(name)]
    found, token = page(listed, call.params, highest=100)
    return {"InstanceTypes": [_view(name) for name in found], "NextToken": token}


def has_instance_store(name: str) -> bool:
    """Say whether a type brings instance store volumes."""
    match = _TYPE.fullmatch(name)
    if match is None:
        return False
    family, _, attributes, _ = match.groups()
    return family in _STORAGE_FAMILIES or "d" in attributes.split("-")[0]


def _view(name: str) -> dict[str, Any]:
    """Return one type as DescribeInstanceTypes shows it."""
    return {
        "InstanceType": name,
        "CurrentGeneration": True,
        "SupportedUsageClasses": ["on-demand", "spot"],
        "SupportedRootDeviceTypes": ["ebs"],
        "SupportedVirtualizationTypes": ["hvm"],
        "BareMetal": name.endswith("metal"),
        "Hypervisor": "nitro",
        "ProcessorInfo": {"SupportedArchitectures": ["x86_64"]},
        "VCpuInfo": {"DefaultVCpus": 2},
        "MemoryInfo": {"SizeInMiB": 4096},
        "InstanceStorageSupported": has_instance_store(name),
        "HibernationSupported": False,
        "BurstablePerformanceSupported": name.startswith("t"),
    }


_FILTERS: dict[str, Extractor[str]] = {
    "instance-type": lambda name: [name],
    "bare-metal": lambda name: ["true" if name.endswith("metal") else "false"],
    "instance-storage-supported": lambda name: ["true" if has_instance_store(name) else "false"],
}

ACTIONS: dict[str, Operation] = {"DescribeInstanceTypes": describe_instance_types}
