"""RunInstances: new instances with their volumes."""

from collections.abc import Mapping
from typing import Any

from sandbox.ec2 import tags
from sandbox.ec2.call import Call
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.instance_views import reservation
from sandbox.ec2.keys import default_key
from sandbox.ec2.lagged import Lagged
from sandbox.ec2.lifecycle import launch
from sandbox.ec2.model import (
    Attachment,
    Instance,
    InstanceState,
    Protection,
    StateReason,
    Status,
    Volume,
)
from sandbox.ec2.moments import second
from sandbox.ec2.pagecache import PageCache
from sandbox.ec2.physics import Dice
from sandbox.ec2.region import Operation, Region

ROOT_DEVICE = "/dev/xvda"


def run_instances(region: Region, call: Call) -> dict[str, Any]:
    """Launch MaxCount instances as one reservation; the same ClientToken launches only once."""
    params = call.params
    least, most = int(params.get("MinCount", 1)), int(params.get("MaxCount", 1))
    if not 1 <= least <= most:
        message = f"Value ({least}) for parameter minCount is invalid."
        raise Ec2Error("InvalidParameterValue", message)
    token = params.get("ClientToken")
    if token and token in region.launches:
        return reservation(region, [region.instances[i] for i in region.launches[token]], call.at)
    _check_image(region, params.get("ImageId"), call.at)
    specifications = params.get("TagSpecifications") or []
    instance_tags = tags_for("instance", specifications)
    volume_tags = tags_for("volume", specifications)
    reservation_id = region.new_id("r")
    launched = []
    for index in range(most):
        instance = _new_instance(region, call, reservation_id, index, instance_tags)
        region.instances[instance.instance_id] = instance
        region.tags.create(instance.instance_id, instance_tags)
        for mapping in _mappings(params.get("BlockDeviceMappings") or []):
            volume = _new_volume(region, instance, mapping, call.at)
            region.tags.create(volume.volume_id, volume_tags)
        launch(region, instance, call.at)
        launched.append(instance)
    if token:
        region.launches[token] = [instance.instance_id for instance in launched]
    return reservation(region, launched, call.at)


def tags_for(kind: str, specifications: list[Mapping[str, Any]]) -> dict[str, str]:
    """Return the tags that a request's TagSpecifications give to resources of one kind."""
    entries: list[Mapping[str, str]] = []
    for specification in specifications:
        if specification.get("ResourceType") == kind:
            entries += specification.get("Tags") or []
    return tags.from_request(entries)


def attach(instance: Instance, volume: Volume, device: str, at: float, *, delete: bool) -> None:
    """Put a volume on an instance; `delete` says whether it goes when the instance terminates."""
    cache = PageCache(instance.physics.write_rate, instance.physics.writeback_seconds)
    if instance.guest_up:
        cache.boot(at)
    attachment = Attachment(instance.instance_id, device, volume.volume_id, cache, at, delete)
    instance.attachments.append(attachment)
    volume.attachments.append(attachment)


def _check_image(region: Region, image_id: str | None, now: float) -> None:
    """Raise InvalidAMIID.Unavailable for an image of this world that cannot be launched.

    An id that the world does not know is taken for somebody else's public image.
    """
    if image_id and region.any_image(image_id):
        region.available_image(image_id, now)


def _new_instance(
    region: Region, call: Call, reservation_id: str, index: int, its_tags: Mapping[str, str]
) -> Instance:
    """Return a pending instance that has no volumes yet."""
    params = call.params
    instance_id = region.new_id("i")
    dice = Dice(f"{region.seed}/{its_tags.get('Name', instance_id)}/{index}")
    network = (params.get("NetworkInterfaces") or [{}])[0]
    status = Status(InstanceState.PENDING, call.at, state_reason=StateReason("pending", "pending"))
    return Instance(
        instance_id=instance_id,
        reservation_id=reservation_id,
        created_at=call.at,
        visible_at=region.visible_at(call.at),
        status=Lagged(status),
        physics=region.physics,
        dice=dice,
        facts=_facts(region, call, index),
        protection=Protection(
            disable_api_stop=bool(params.get("DisableApiStop", False)),
            disable_api_termination=bool(params.get("DisableApiTermination", False)),
            shutdown_behavior=params.get("InstanceInitiatedShutdownBehavior", "stop"),
        ),
        assigns_public_ip=bool(network.get("AssociatePublicIpAddress", False)),
    )


def _facts(region: Region, call: Call, index: int) -> dict[str, Any]:
    """Return what DescribeInstances says of an instance and what never changes by itself."""
    params = call.params
    placement = dict(params.get("Placement") or {})
    hibernation = (params.get("HibernationOptions") or {}).get("Configured", False)
    number = int(region.dice.hex_digits("private-ip", 4), 16)
    private_ip = f"172.31.{number // 256}.{number % 250 + 4}"
    facts: dict[str, Any] = {
        "ImageId": params.get("ImageId") or "ami-0abcdef1234567890",
        "InstanceType": params.get("InstanceType") or "t3.micro",
        "AmiLaunchIndex": index,
        "Architecture": "x86_64",
        "ClientToken": params.get("ClientToken", ""),
        "EbsOptimized": bool(params.get("EbsOptimized", False)),
        "EnaSupport": True,
        "Hypervisor": "xen",
        "HibernationOptions": {"Configured": bool(hibernation)},
        "Monitoring": {"State": "disabled"},
        "Operator": {"Managed": False},
        "Placement": {
            "AvailabilityZone": placement.get("AvailabilityZone") or f"{region.name}a",
            "GroupName": placement.get("GroupName", ""),
            "Tenancy": placement.get("Tenancy", "default"),
        },
        "PlatformDetails": "Linux/UNIX",
        "PrivateDnsName": f"ip-{private_ip.replace('.', '-')}.ec2.internal",
        "PrivateIpAddress": params.get("PrivateIpAddress") or private_ip,
        "ProductCodes": [],
        "RootDeviceName": ROOT_DEVICE,
        "RootDeviceType": "ebs",
        "SecurityGroups": [],
        "SourceDestCheck": True,
        "SubnetId": params.get("SubnetId") or "subnet-00000001",
        "VirtualizationType": "hvm",
        "VpcId": "vpc-00000001",
    }
    if params.get("KeyName"):
        facts["KeyName"] = params["KeyName"]
    if (params.get("InstanceMarketOptions") or {}).get("MarketType") == "spot":
        facts["InstanceLifecycle"] = "spot"
    return facts


def _mappings(requested: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the EBS mappings of a launch, the root device first and always there."""
    wanted = [entry for entry in requested if entry.get("Ebs") is not None]
    root = [entry for entry in wanted if entry.get("DeviceName") == ROOT_DEVICE]
    others = [entry for entry in wanted if entry.get("DeviceName") != ROOT_DEVICE]
    return (root or [{"DeviceName": ROOT_DEVICE, "Ebs": {}}]) + others


def _new_volume(
    region: Region, instance: Instance, mapping: Mapping[str, Any], at: float
) -> Volume:
    """Make a volume and attach it."""
    ebs = mapping["Ebs"]
    key = ebs.get("KmsKeyId")
    encrypted = bool(ebs.get("Encrypted", False)) or key is not None
    volume = Volume(
        volume_id=region.new_id("vol"),
        size=int(ebs.get("VolumeSize", 8)),
        volume_type=ebs.get("VolumeType", "gp3"),
        created_at=at,
        availability_zone=instance.facts["Placement"]["AvailabilityZone"],
        encrypted=encrypted,
        kms_key_id=(key or default_key(region.account, region.name)) if encrypted else None,
        snapshot_id=ebs.get("SnapshotId", ""),
        iops=ebs.get("Iops"),
        throughput=ebs.get("Throughput"),
    )
    region.volumes[volume.volume_id] = volume
    delete = bool(ebs.get("DeleteOnTermination", True))
    attach(instance, volume, mapping["DeviceName"], at, delete=delete)
    instance.facts.setdefault("UsageOperationUpdateTime", second(at))
    return volume


ACTIONS: dict[str, Operation] = {"RunInstances": run_instances}
