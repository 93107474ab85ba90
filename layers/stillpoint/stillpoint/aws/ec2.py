"""EC2 instances: reading them and writing our tags on them."""

import gc
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import batched
from typing import TYPE_CHECKING, Any

from botocore.model import ListShape, Shape, StructureShape

from stillpoint.aws.client import client, translated
from stillpoint.instance import AttachedVolume, Instance, Placement
from stillpoint.tags import Tag

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import InstanceTypeDef

_FILTER_VALUES = 200
"""Values that one filter may hold (EC2 API Reference, DescribeInstances)."""
_TAGGED_RESOURCES = 1000
"""Resources that one call may name (EC2 API Reference, CreateTags and DeleteTags)."""
_PAGE = 500
"""Instances that are in memory at a time with all that EC2 says of them; at most 1,000."""

type _Read = Mapping[str, "_Read"]
"""The members of a structure that are read, each with what is read of it."""

_ADDRESS: _Read = {"IpOwnerId": {}, "PublicIp": {}}
_INSTANCE: _Read = {
    "InstanceId": {},
    "State": {"Name": {}},
    "Tags": {"Key": {}, "Value": {}},
    "InstanceType": {},
    "RootDeviceType": {},
    "RootDeviceName": {},
    "InstanceLifecycle": {},
    "Operator": {"Managed": {}},
    "LaunchTime": {},
    "NetworkInterfaces": {
        "Association": _ADDRESS,
        "PrivateIpAddresses": {"Association": _ADDRESS, "Primary": {}},
    },
    "HibernationOptions": {"Configured": {}},
    "BlockDeviceMappings": {"DeviceName": {}, "Ebs": {"VolumeId": {}}},
    "StateReason": {"Code": {}, "Message": {}},
    "CapacityReservationSpecification": {
        "CapacityReservationTarget": {"CapacityReservationId": {}}
    },
    "Placement": {"Tenancy": {}, "Affinity": {}, "HostId": {}, "GroupName": {}},
    "VpcId": {},
    "Platform": {},
}


def scheduled_instances() -> list[Instance]:
    """Return every instance that has a schedule, is in a backup, or may be a peer of one."""
    keys = [Tag.SCHEDULE, Tag.CYCLE, Tag.ANTI_AFFINITY]
    with _no_search_for_cycles():
        return list(_describe([{"Name": "tag-key", "Values": keys}]))


def instances_by_id(instance_ids: Collection[str]) -> dict[str, Instance]:
    """Return the instances that exist, by id; one that is gone is absent, not an error.

    Filters instead of InstanceIds: one bad id would fail the whole call, and filtered pages draw
    on the larger request bucket (EC2 Developer Guide, "Request throttling").
    """
    return {
        instance.instance_id: instance
        for ids in batched(instance_ids, _FILTER_VALUES, strict=False)
        for instance in _describe([{"Name": "instance-id", "Values": list(ids)}])
    }


def stop_protected(instance_id: str) -> bool:
    """Return whether stop protection is on (EC2 API Reference, disableApiStop)."""
    with translated(f"reading the stop protection of {instance_id}"):
        answer = client("ec2").describe_instance_attribute(
            InstanceId=instance_id, Attribute="disableApiStop"
        )
    return bool(answer.get("DisableApiStop", {}).get("Value", False))


def is_terminated_by_a_shutdown(instance_id: str) -> bool:
    """Return whether a shutdown from inside terminates it, which no stop from outside does.

    EC2 API Reference, instanceInitiatedShutdownBehavior.
    """
    with translated(f"reading the shutdown behaviour of {instance_id}"):
        answer = client("ec2").describe_instance_attribute(
            InstanceId=instance_id, Attribute="instanceInitiatedShutdownBehavior"
        )
    behaviour = answer.get("InstanceInitiatedShutdownBehavior", {}).get("Value", "stop")
    return bool(behaviour == "terminate")


def types_with_instance_store(instance_types: Collection[str]) -> frozenset[str]:
    """Return those of the types that bring instance-store volumes."""
    names = sorted(set(instance_types))
    with translated("reading the instance types"):
        pages = client("ec2").get_paginator("describe_instance_types")
        return frozenset(
            row["InstanceType"]
            for some in batched(names, 100, strict=False)
            for page in pages.paginate(InstanceTypes=list(some))
            for row in page["InstanceTypes"]
            if row.get("InstanceStorageSupported")
        )


def start(instance_id: str) -> None:
    """Start one instance; starting one that runs already changes nothing."""
    with translated(f"starting {instance_id}"):
        client("ec2").start_instances(InstanceIds=[instance_id])


def create_tags(
    resource_ids: Iterable[str], tags: Mapping[str, str], *, region: str | None = None
) -> None:
    """Write the same tags on any number of resources."""
    rows = [{"Key": key, "Value": value} for key, value in tags.items()]
    for some in batched(resource_ids, _TAGGED_RESOURCES, strict=False):
        with translated(f"tagging {', '.join(some[:5])}"):
            client("ec2", region).create_tags(Resources=list(some), Tags=rows)


def delete_tag(resource_id: str, key: str, value: str, *, region: str | None = None) -> None:
    """Remove a tag if it still has this value (EC2 API Reference, DeleteTags)."""
    delete_tags([resource_id], key, value, region=region)


def delete_tags(
    resource_ids: Iterable[str], key: str, value: str, *, region: str | None = None
) -> None:
    """Remove a tag of any number of resources, wherever it still has this value."""
    rows = [{"Key": key, "Value": value}]
    for some in batched(resource_ids, _TAGGED_RESOURCES, strict=False):
        with translated(f"removing the tag {key} of {', '.join(some[:5])}"):
            client("ec2", region).delete_tags(Resources=list(some), Tags=rows)


def tags_of(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of anything that EC2 describes."""
    return {tag["Key"]: tag["Value"] for tag in row.get("Tags", ())}


def _describe(filters: list[dict[str, Any]]) -> Iterator[Instance]:
    with translated("reading the instances"):
        ec2 = client("ec2")
        _parse_only_what_is_read(ec2)
        pages = ec2.get_paginator("describe_instances")
        for page in pages.paginate(Filters=filters, PaginationConfig={"PageSize": _PAGE}):
            for reservation in page["Reservations"]:
                for row in reservation["Instances"]:
                    yield _instance(row)


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Let Python's collector of cycles rest.

    A large fleet's pages are millions of objects in no cycle at all, which are gone with their
    page. To search them over and over takes a third of the time of reading them.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _parse_only_what_is_read(ec2: Any) -> None:  # noqa: ANN401 (made at run time)
    """Let the SDK pass over the members of an instance that `_instance` does not read.

    There are some 60, and parsing them is most of what the planner does in a large fleet. Shapes
    belong to one operation of one client: no other call is concerned.
    """
    answer = ec2.meta.service_model.operation_model("DescribeInstances").output_shape
    _keep(answer.members["Reservations"].member.members["Instances"], _INSTANCE)


def _keep(shape: Shape, read: _Read) -> None:
    """Take the members that are not read out of a structure, or out of those in a list."""
    if isinstance(shape, ListShape):
        _keep(shape.member, read)
    elif isinstance(shape, StructureShape):
        for name in shape.members.keys() - read.keys():
            del shape.members[name]
        for name, member in shape.members.items():
            _keep(member, read[name])


def _instance(row: "InstanceTypeDef") -> Instance:
    return Instance(
        instance_id=row["InstanceId"],
        state=row["State"]["Name"],
        tags=tags_of(row),
        instance_type=row.get("InstanceType", ""),
        root_device_type=row.get("RootDeviceType", "ebs"),
        root_device_name=row.get("RootDeviceName", ""),
        lifecycle=row.get("InstanceLifecycle"),
        managed=row.get("Operator", {}).get("Managed", False),
        launch_time=row.get("LaunchTime"),
        public_ip=_borrowed_public_ip(row),
        hibernation=row.get("HibernationOptions", {}).get("Configured", False),
        volumes=tuple(
            AttachedVolume(mapping["Ebs"]["VolumeId"], mapping["DeviceName"])
            for mapping in row.get("BlockDeviceMappings", ())
            if mapping.get("Ebs", {}).get("VolumeId")
        ),
        state_reason=_state_reason(row),
        gets_new_public_ip=_gets_new_public_ip(row),
        capacity_reservation=row.get("CapacityReservationSpecification", {})
        .get("CapacityReservationTarget", {})
        .get("CapacityReservationId"),
        placement=_placement(row),
        vpc_id=row.get("VpcId", ""),
        platform="windows" if row.get("Platform", "").lower() == "windows" else "linux",
    )


def _placement(row: "InstanceTypeDef") -> Placement:
    place = row.get("Placement", {})
    return Placement(
        tenancy=place.get("Tenancy", "default"),
        affinity=place.get("Affinity", ""),
        host_id=place.get("HostId", ""),
        group=place.get("GroupName", ""),
    )


def _borrowed_public_ip(row: "InstanceTypeDef") -> str | None:
    """Return the public IPv4 address that a stop takes away: one that Amazon owns.

    An Elastic IP belongs to the account (EC2 API Reference, InstanceNetworkInterfaceAssociation).
    """
    for interface in row.get("NetworkInterfaces", ()):
        association = interface.get("Association", {})
        if association.get("IpOwnerId") == "amazon":
            return association.get("PublicIp")
    return None


def _gets_new_public_ip(row: "InstanceTypeDef") -> bool:
    """Return whether a start may bring a public IPv4 address in place of the lost one.

    Not with a second network interface, nor with a second private address that has an Elastic IP
    (EC2 User Guide, "How EC2 instance stop and start works").
    """
    interfaces = row.get("NetworkInterfaces", [])
    return len(interfaces) <= 1 and not any(
        address.get("Association") and not address.get("Primary")
        for interface in interfaces
        for address in interface.get("PrivateIpAddresses", ())
    )


def _state_reason(row: "InstanceTypeDef") -> str:
    """Return EC2's words for the last change of state, which begin with their code."""
    reason = row.get("StateReason", {})
    code, message = reason.get("Code", ""), reason.get("Message", "")
    return message if code in message else f"{code}: {message}"
