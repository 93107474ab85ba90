"""What other calls tell of an instance: Spot requests, credits, reservations, placement groups.

They show what the knob `surroundings` of an instance says; see `sandbox.ec2.knobs`.
"""

from typing import Any

from sandbox.ec2.call import Call
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.filters import Extractor, matcher, page
from sandbox.ec2.model import Instance
from sandbox.ec2.moments import second
from sandbox.ec2.region import Operation, Region


def describe_spot_instance_requests(region: Region, call: Call) -> dict[str, Any]:
    """List the Spot requests of all Spot Instances."""
    spot = [one for one in _instances(region) if one.facts.get("InstanceLifecycle") == "spot"]
    rows = [_spot_request(instance) for instance in spot]
    matches = matcher(call.params.get("Filters"), _SPOT_FILTERS, lambda _: {})
    found, token = page([row for row in rows if matches(row)], call.params)
    return {"SpotInstanceRequests": list(found), "NextToken": token}


def describe_instance_credit_specifications(region: Region, call: Call) -> dict[str, Any]:
    """List the credit options of burstable instances.

    Named ones are all listed, "an instance that is not a burstable performance instance" is an
    error; without names only those with unlimited credits are (EC2 API Reference,
    DescribeInstanceCreditSpecifications).
    """
    ids = call.params.get("InstanceIds") or []
    named = [region.instance(instance_id, call.at) for instance_id in ids]
    if wrong := [one for one in named if not _is_burstable(one)]:
        message = f"The instance '{wrong[0].instance_id}' is not a burstable performance instance"
        raise Ec2Error("UnsupportedOperation", message)
    chosen = named or [one for one in _instances(region) if _credits(one) == "unlimited"]
    rows = [{"InstanceId": one.instance_id, "CpuCredits": _credits(one)} for one in chosen]
    found, token = page(rows, call.params)
    return {"InstanceCreditSpecifications": list(found), "NextToken": token}


def describe_capacity_reservations(region: Region, call: Call) -> dict[str, Any]:
    """List the Capacity Reservations that instances are in, with the state that a knob gives."""
    states = {
        str(one.facts["CapacityReservationId"]): one.surroundings.get("reservation", "active")
        for one in _instances(region)
        if one.facts.get("CapacityReservationId")
    }
    wanted = call.params.get("CapacityReservationIds") or list(states)
    if unknown := [one for one in wanted if one not in states]:
        message = f"The Capacity Reservation '{unknown[0]}' does not exist."
        raise Ec2Error("InvalidCapacityReservationId.NotFound", message)
    rows = [{"CapacityReservationId": one, "State": states[one]} for one in wanted]
    found, token = page(rows, call.params)
    return {"CapacityReservations": list(found), "NextToken": token}


def describe_placement_groups(region: Region, call: Call) -> dict[str, Any]:
    """List the placement groups that instances are in, with the strategy that a knob gives."""
    strategies = {
        str(one.facts["Placement"]["GroupName"]): one.surroundings.get("placement", "cluster")
        for one in _instances(region)
        if one.facts["Placement"].get("GroupName")
    }
    rows = [
        {"GroupName": name, "Strategy": strategy, "State": "available"}
        for name, strategy in sorted(strategies.items())
    ]
    wanted = call.params.get("GroupNames") or []
    if unknown := [name for name in wanted if name not in strategies]:
        message = f"The Placement Group '{unknown[0]}' is unknown."
        raise Ec2Error("InvalidPlacementGroup.Unknown", message)
    matches = matcher(call.params.get("Filters"), _GROUP_FILTERS, lambda _: {})
    named = [row for row in rows if not wanted or row["GroupName"] in wanted]
    return {"PlacementGroups": [row for row in named if matches(row)]}


def _instances(region: Region) -> list[Instance]:
    """Return all instances, in the order of their ids."""
    return sorted(region.instances.values(), key=lambda one: one.instance_id)


def _spot_request(instance: Instance) -> dict[str, Any]:
    """Return the Spot request of an instance."""
    return {
        "SpotInstanceRequestId": f"sir-{instance.instance_id[-8:]}",
        "InstanceId": instance.instance_id,
        "Type": "one-time",
        "State": "active",
        "CreateTime": second(instance.created_at),
        **instance.surroundings.get("spot_request", {}),
    }


def _is_burstable(instance: Instance) -> bool:
    """Say whether an instance earns CPU credits."""
    return str(instance.facts["InstanceType"]).startswith("t")


def _credits(instance: Instance) -> str:
    """Return the credit option, by default unlimited except for T2.

    EC2 User Guide, "Unlimited mode for burstable performance instances".
    """
    if not _is_burstable(instance):
        return ""
    usual = "standard" if str(instance.facts["InstanceType"]).startswith("t2.") else "unlimited"
    return str(instance.surroundings.get("credits", usual))


def _column(name: str) -> Extractor[dict[str, Any]]:
    """Return the extractor of one member of a row."""
    return lambda row: [str(row[name])] if name in row else []


_SPOT_FILTERS = {
    "instance-id": _column("InstanceId"),
    "spot-instance-request-id": _column("SpotInstanceRequestId"),
    "state": _column("State"),
    "type": _column("Type"),
}
_GROUP_FILTERS = {
    "group-name": _column("GroupName"),
    "state": _column("State"),
    "strategy": _column("Strategy"),
}

ACTIONS: dict[str, Operation] = {
    "DescribeSpotInstanceRequests": describe_spot_instance_requests,
    "DescribeInstanceCreditSpecifications": describe_instance_credit_specifications,
    "DescribeCapacityReservations": describe_capacity_reservations,
    "DescribePlacementGroups": describe_placement_groups,
}
