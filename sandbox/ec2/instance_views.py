"""DescribeInstances and DescribeInstanceStatus: what a caller sees, a moment late."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sandbox.ec2 import tags
from sandbox.ec2.call import Call
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.filters import Extractor, candidates, matcher, page
from sandbox.ec2.model import Instance, InstanceState, Status
from sandbox.ec2.moments import second
from sandbox.ec2.region import Operation, Region

# How long a terminated instance is still listed (EC2 User Guide, "Terminate Amazon EC2
# instances": "for a short time").
TERMINATED_LISTED_SECONDS = 3600.0
MAX_STATUS_IDS = 100


def describe_instances(region: Region, call: Call) -> dict[str, Any]:
    """List instances in their reservations, by ids or filters, in pages."""
    chosen = _chosen(region, call, _instance_filters(region, call.at))
    found, token = page(chosen, call.params)
    groups: dict[str, list[Instance]] = defaultdict(list)
    for instance in found:
        groups[instance.reservation_id].append(instance)
    reservations = [reservation(region, members, call.at) for members in groups.values()]
    return {"Reservations": reservations, "NextToken": token}


def describe_instance_status(region: Region, call: Call) -> dict[str, Any]:
    """List the states and status checks; of instances that are not running only if asked to."""
    if len(call.params.get("InstanceIds") or []) > MAX_STATUS_IDS:
        message = "The maximum number of instance IDs that can be specified is 100"
        raise Ec2Error("InvalidParameterValue", message)
    chosen = _chosen(region, call, _status_filters(call.at))
    if not call.params.get("IncludeAllInstances", False):
        chosen = [one for one in chosen if _seen(one, call.at).state is InstanceState.RUNNING]
    found, token = page(chosen, call.params)
    statuses = [_instance_status(instance, call.at) for instance in found]
    return {"InstanceStatuses": statuses, "NextToken": token}


def reservation(region: Region, members: Sequence[Instance], now: float) -> dict[str, Any]:
    """Return instances of one reservation as EC2 shows them."""
    return {
        "ReservationId": members[0].reservation_id,
        "OwnerId": region.account,
        "Groups": [],
        "Instances": [_view(region, instance, now) for instance in members],
    }


def state_of(status: Status) -> dict[str, Any]:
    """Return a state as EC2 shows it: its code and its name."""
    return {"Code": status.state.code, "Name": status.state.value}


def _chosen(
    region: Region, call: Call, extractors: Mapping[str, Extractor[Instance]]
) -> list[Instance]:
    """Return the instances that a request asks for, in an order without meaning."""
    ids = call.params.get("InstanceIds") or []
    if ids and call.params.get("MaxResults") is not None:
        message = "The parameter instancesSet cannot be used with the parameter maxResults"
        raise Ec2Error("InvalidParameterCombination", message)
    matches = matcher(
        call.params.get("Filters"),
        extractors,
        lambda instance: region.tags.seen(instance.instance_id, call.at),
    )
    if ids:
        named = [region.instance(instance_id, call.at) for instance_id in dict.fromkeys(ids)]
    else:
        filters = call.params.get("Filters")
        lookups = {"instance-id": lambda value: [value]}
        named = list(candidates(filters, region.instances, lookups, region.tags.holders))
    listed = [one for one in named if is_listed(one, call.at)]
    return sorted(filter(matches, listed), key=lambda one: one.instance_id)


def is_listed(instance: Instance, now: float) -> bool:
    """Say whether calls show an instance: not yet a new one, nor one that ended long ago."""
    ended = instance.events[-1] if instance.events else None
    forgotten = (
        instance.state is InstanceState.TERMINATED
        and ended is not None
        and now - ended.at > TERMINATED_LISTED_SECONDS
    )
    return instance.visible_at <= now and not forgotten


def _seen(instance: Instance, now: float) -> Status:
    """Return the status that a Describe call shows."""
    return instance.status.seen(now)


def _view(region: Region, instance: Instance, now: float) -> dict[str, Any]:
    """Return one instance as DescribeInstances shows it."""
    status = _seen(instance, now)
    reason = status.state_reason
    return {
        "InstanceId": instance.instance_id,
        **instance.facts,
        "BlockDeviceMappings": [
            {
                "DeviceName": attachment.device,
                "Ebs": {
                    "VolumeId": attachment.volume_id,
                    "Status": "attached",
                    "AttachTime": second(attachment.attached_at),
                    "DeleteOnTermination": attachment.delete_on_termination,
                },
            }
            for attachment in instance.attachments
        ],
        "LaunchTime": second(status.launched_at),
        "NetworkInterfaces": _network(instance, status),
        "PublicDnsName": "",
        "PublicIpAddress": status.public_ip,
        "State": state_of(status),
        "StateReason": {"Code": reason.code, "Message": reason.message} if reason else None,
        "StateTransitionReason": status.transition_reason,
        "Tags": tags.to_response(region.tags.seen(instance.instance_id, now)),
    }


def _network(instance: Instance, status: Status) -> list[dict[str, Any]]:
    """Return the network interface of an instance; a terminated one has none."""
    if status.state is InstanceState.TERMINATED:
        return []
    public = {"IpOwnerId": "amazon", "PublicIp": status.public_ip} if status.public_ip else None
    address = instance.facts["PrivateIpAddress"]
    return [
        {
            "NetworkInterfaceId": f"eni-{instance.instance_id.removeprefix('i-')}",
            "Association": public,
            "PrivateIpAddress": address,
            "PrivateIpAddresses": [
                {"Primary": True, "PrivateIpAddress": address, "Association": public}
            ],
            "Status": "in-use",
        }
    ]


def _instance_status(instance: Instance, now: float) -> dict[str, Any]:
    """Return one instance as DescribeInstanceStatus shows it."""
    status = _seen(instance, now)
    checks = _checks(instance, now)
    summary = {"Status": checks, "Details": [{"Name": "reachability", "Status": _detail(checks)}]}
    return {
        "InstanceId": instance.instance_id,
        "AvailabilityZone": instance.facts["Placement"]["AvailabilityZone"],
        "InstanceState": state_of(status),
        "InstanceStatus": summary,
        "SystemStatus": summary,
        "AttachedEbsStatus": summary,
        "Events": [_event(row) for row in instance.surroundings.get("events", [])],
    }


def _event(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a scheduled event as DescribeInstanceStatus shows it."""
    moments = {key: row[key] for key in ("NotBefore", "NotAfter") if key in row}
    return {**row, **{key: datetime.fromisoformat(text) for key, text in moments.items()}}


def _checks(instance: Instance, now: float) -> str:
    """Return the result of the status checks."""
    if _seen(instance, now).state is not InstanceState.RUNNING:
        return "not-applicable"
    return "ok" if now >= instance.checks_pass_at else "initializing"


def _detail(checks: str) -> str:
    """Return the word with which a single check reports `checks`."""
    return {"ok": "passed", "initializing": "initializing"}.get(checks, "insufficient-data")


def _fact(*path: str) -> Extractor[Instance]:
    """Return the extractor of one of an instance's facts; one that it lacks matches nothing."""

    def extract(instance: Instance) -> list[str]:
        value: Any = instance.facts
        for key in path:
            value = value.get(key, {})
        if isinstance(value, bool):
            return ["true" if value else "false"]
        return [] if value == {} else [str(value)]

    return extract


def _instance_filters(region: Region, now: float) -> dict[str, Extractor[Instance]]:
    """Return the filters of DescribeInstances."""

    def status(read: Callable[[Status], str]) -> Extractor[Instance]:
        return lambda instance: [read(_seen(instance, now))]

    return {
        "instance-id": lambda instance: [instance.instance_id],
        "instance-state-name": status(lambda seen: seen.state.value),
        "instance-state-code": status(lambda seen: str(seen.state.code)),
        "state-reason-code": status(lambda s: s.state_reason.code if s.state_reason else ""),
        "instance-type": _fact("InstanceType"),
        "instance-lifecycle": _fact("InstanceLifecycle"),
        "image-id": _fact("ImageId"),
        "availability-zone": _fact("Placement", "AvailabilityZone"),
        "placement-group-name": _fact("Placement", "GroupName"),
        "tenancy": _fact("Placement", "Tenancy"),
        "operator.managed": _fact("Operator", "Managed"),
        "private-ip-address": _fact("PrivateIpAddress"),
        "root-device-type": _fact("RootDeviceType"),
        "hibernation-options.configured": _fact("HibernationOptions", "Configured"),
        "subnet-id": _fact("SubnetId"),
        "vpc-id": _fact("VpcId"),
        "owner-id": lambda _: [region.account],
        "reservation-id": lambda instance: [instance.reservation_id],
        "block-device-mapping.volume-id": lambda instance: [
            attachment.volume_id for attachment in instance.attachments
        ],
    }


def _status_filters(now: float) -> dict[str, Extractor[Instance]]:
    """Return the filters of DescribeInstanceStatus."""
    return {
        "availability-zone": _fact("Placement", "AvailabilityZone"),
        "instance-state-name": lambda instance: [_seen(instance, now).state.value],
        "instance-state-code": lambda instance: [str(_seen(instance, now).state.code)],
        "instance-status.status": lambda instance: [_checks(instance, now)],
        "system-status.status": lambda instance: [_checks(instance, now)],
        "attached-ebs-status.status": lambda instance: [_checks(instance, now)],
    }


ACTIONS: dict[str, Operation] = {
    "DescribeInstances": describe_instances,
    "DescribeInstanceStatus": describe_instance_status,
}
