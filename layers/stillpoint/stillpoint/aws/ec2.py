"""EC2 instances: reading them and writing our tags on them."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import batched
from typing import TYPE_CHECKING, Any

from stillpoint.aws.client import client, translated
from stillpoint.instance import AttachedVolume, Instance, Placement
from stillpoint.tags import Tag

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import InstanceTypeDef

_FILTER_VALUES = 200
"""Values that one filter may hold (EC2 API Reference, DescribeInstances)."""
_TAGGED_RESOURCES = 1000
"""Resources that one CreateTags may name (EC2 API Reference, CreateTags)."""
_PAGE = 1000


def scheduled_instances() -> list[Instance]:
    """Return every instance that has a schedule, is in a backup, or may be a peer of one."""
    keys = [Tag.SCHEDULE, Tag.CYCLE, Tag.ANTI_AFFINITY]
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
    with translated(f"removing the tag {key} of {resource_id}"):
        client("ec2", region).delete_tags(
            Resources=[resource_id], Tags=[{"Key": key, "Value": value}]
        )


def tags_of(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of anything that EC2 describes."""
    return {tag["Key"]: tag["Value"] for tag in row.get("Tags", ())}


def _describe(filters: list[dict[str, Any]]) -> Iterator[Instance]:
    with translated("reading the instances"):
        pages = client("ec2").get_paginator("describe_instances")
        for page in pages.paginate(Filters=filters, PaginationConfig={"PageSize": _PAGE}):
            for reservation in page["Reservations"]:
                for row in reservation["Instances"]:
                    yield _instance(row)


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
