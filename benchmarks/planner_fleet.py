"""Fleets for the planner: instances as DescribeInstances answers them, rendered once.

Each has what an ordinary instance has on the wire: two volumes, a network interface, the settings
that EC2 always names, and eight tags of its owner beside ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Any, Final

from sandbox.ec2 import wire
from stillpoint.schedule import fingerprint, parse_schedules
from stillpoint.tags import Cursor, LastRecoveryPoint, Tag

LAUNCHED: Final = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
ZONES: Final = ("UTC", "Europe/Berlin", "Asia/Seoul", "America/New_York", "Australia/Sydney")
FEW: Final = 50
MINUTES_OF_A_DAY: Final = 1440
_MARKS: Final = ("@number@", "@hex@", "@schedule@", "@cursor@", "@point@")


class Schedules(StrEnum):
    """How many different schedules the fleet has."""

    ONE = "one"
    FEW = "few"
    MANY = "many"
    ZONES = "zones"

    def expression(self, number: int) -> str:
        """Return the schedule of an instance."""
        match self:
            case Schedules.ONE:
                return "daily 03:00"
            case Schedules.FEW:
                return f"daily {_clock(number % FEW * 7)}"
            case Schedules.MANY:
                return f"daily {_clock(number % MINUTES_OF_A_DAY)}"
            case Schedules.ZONES:
                zone = ZONES[number % len(ZONES)]
                return f"daily {_clock(number % MINUTES_OF_A_DAY)} {zone}"


class Scene(StrEnum):
    """What there is to do.

    Nothing, as at most ticks; everything is due; no policy can be understood; or no instance was
    ever seen before.
    """

    IDLE = "idle"
    DUE = "due"
    INVALID = "invalid"
    NEW = "new"


@dataclass(frozen=True, slots=True)
class Fleet:
    """A fleet of so many instances."""

    size: int
    schedules: Schedules
    scene: Scene

    def reservations(self, now: datetime) -> list[str]:
        """Return the XML of each instance's reservation."""
        template = _template(self.scene)
        point = LastRecoveryPoint(now - timedelta(hours=6), "ami-0123456789abcdef0", "file-system")
        rows = []
        for number in range(self.size):
            expression = self.schedules.expression(number)
            values = (
                f"{number:05}",
                f"{number:017x}",
                "every night" if self.scene is Scene.INVALID else expression,
                _cursor(expression, self.scene, now),
                point.render(),
            )
            row = template
            for mark, value in zip(_MARKS, values, strict=True):
                row = row.replace(mark, value)
            rows.append(row)
        return rows


def page(reservations: Sequence[str], start: int, length: int) -> bytes:
    """Return a page of DescribeInstances; its token is where the next one begins."""
    rows = "".join(reservations[start : start + length])
    rest = start + length < len(reservations)
    token = f"<nextToken>{start + length}</nextToken>" if rest else ""
    head, tail = wire.xml_response("DescribeInstances", "r-1", {"Reservations": []}).split(
        "<reservationSet></reservationSet>"
    )
    return f"{head}<reservationSet>{rows}</reservationSet>{token}{tail}".encode()


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _cursor(expression: str, scene: Scene, now: datetime) -> str:
    """Return a cursor after which nothing is due for some minutes, or something since yesterday."""
    seen = now - timedelta(hours=25) if scene is Scene.DUE else now + timedelta(minutes=30)
    schedules = parse_schedules(expression, default_time=time(3), default_zone="UTC")
    return Cursor(seen, fingerprint(schedules)).render()


def _template(scene: Scene) -> str:
    """Return the reservation of one instance, with marks where instances differ."""
    text = wire.xml_response("DescribeInstances", "r-1", {"Reservations": [_reservation(scene)]})
    return text.split("<reservationSet>")[1].split("</reservationSet>")[0]


def _reservation(scene: Scene) -> dict[str, Any]:
    return {
        "ReservationId": "r-@hex@",
        "OwnerId": "123456789012",
        "Groups": [],
        "Instances": [_instance(scene)],
    }


def _instance(scene: Scene) -> dict[str, Any]:
    groups = [{"GroupId": "sg-@hex@", "GroupName": "application-servers"}]
    return {
        "Architecture": "x86_64",
        "BlockDeviceMappings": [
            _volume("/dev/xvda", "vol-a@hex@"),
            _volume("/dev/sdf", "vol-b@hex@"),
        ],
        "ClientToken": "9f7b2c1e-51aa-4c0f-9e2b-@hex@",
        "EbsOptimized": True,
        "EnaSupport": True,
        "Hypervisor": "xen",
        "IamInstanceProfile": {
            "Arn": "arn:aws:iam::123456789012:instance-profile/application-server",
            "Id": "AIPA0123456789ABCDEFG",
        },
        "NetworkInterfaces": [_interface(groups)],
        "RootDeviceName": "/dev/xvda",
        "RootDeviceType": "ebs",
        "SecurityGroups": groups,
        "SourceDestCheck": True,
        "Tags": [{"Key": key, "Value": value} for key, value in _tags(scene).items()],
        "VirtualizationType": "hvm",
        "CpuOptions": {"CoreCount": 2, "ThreadsPerCore": 2},
        "CapacityReservationSpecification": {"CapacityReservationPreference": "open"},
        "HibernationOptions": {"Configured": False},
        "MetadataOptions": {
            "State": "applied",
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": 2,
            "HttpEndpoint": "enabled",
            "HttpProtocolIpv6": "disabled",
            "InstanceMetadataTags": "disabled",
        },
        "EnclaveOptions": {"Enabled": False},
        "PlatformDetails": "Linux/UNIX",
        "UsageOperation": "RunInstances",
        "UsageOperationUpdateTime": LAUNCHED,
        "PrivateDnsNameOptions": {
            "HostnameType": "ip-name",
            "EnableResourceNameDnsARecord": False,
            "EnableResourceNameDnsAAAARecord": False,
        },
        "MaintenanceOptions": {"AutoRecovery": "default", "RebootMigration": "default"},
        "CurrentInstanceBootMode": "uefi",
        "NetworkPerformanceOptions": {"BandwidthWeighting": "default"},
        "Operator": {"Managed": False},
        "InstanceId": "i-@hex@",
        "ImageId": "ami-00000000000000001",
        "State": {"Code": 16, "Name": "running"},
        "PrivateDnsName": "ip-10-0-0-1.eu-west-1.compute.internal",
        "PublicDnsName": "ec2-203-0-113-10.eu-west-1.compute.amazonaws.com",
        "StateTransitionReason": "",
        "KeyName": "operations",
        "AmiLaunchIndex": 0,
        "ProductCodes": [],
        "InstanceType": "m6i.large",
        "LaunchTime": LAUNCHED,
        "Placement": {
            "AvailabilityZone": "eu-west-1a",
            "AvailabilityZoneId": "euw1-az1",
            "GroupName": "",
            "Tenancy": "default",
        },
        "Monitoring": {"State": "disabled"},
        "SubnetId": "subnet-0123456789abcdef0",
        "VpcId": "vpc-0123456789abcdef0",
        "PrivateIpAddress": "10.0.0.1",
        "PublicIpAddress": "203.0.113.10",
    }


def _volume(device: str, volume_id: str) -> dict[str, Any]:
    return {
        "DeviceName": device,
        "Ebs": {
            "AttachTime": LAUNCHED,
            "DeleteOnTermination": True,
            "Status": "attached",
            "VolumeId": volume_id,
        },
    }


def _interface(groups: list[dict[str, str]]) -> dict[str, Any]:
    association = {
        "IpOwnerId": "amazon",
        "PublicDnsName": "ec2-203-0-113-10.eu-west-1.compute.amazonaws.com",
        "PublicIp": "203.0.113.10",
    }
    return {
        "Association": association,
        "Attachment": {
            "AttachTime": LAUNCHED,
            "AttachmentId": "eni-attach-@hex@",
            "DeleteOnTermination": True,
            "DeviceIndex": 0,
            "Status": "attached",
            "NetworkCardIndex": 0,
        },
        "Description": "",
        "Groups": groups,
        "Ipv6Addresses": [],
        "MacAddress": "06:00:00:00:00:01",
        "NetworkInterfaceId": "eni-@hex@",
        "OwnerId": "123456789012",
        "PrivateDnsName": "ip-10-0-0-1.eu-west-1.compute.internal",
        "PrivateIpAddress": "10.0.0.1",
        "PrivateIpAddresses": [
            {
                "Association": association,
                "Primary": True,
                "PrivateDnsName": "ip-10-0-0-1.eu-west-1.compute.internal",
                "PrivateIpAddress": "10.0.0.1",
            }
        ],
        "SourceDestCheck": True,
        "Status": "in-use",
        "SubnetId": "subnet-0123456789abcdef0",
        "VpcId": "vpc-0123456789abcdef0",
        "InterfaceType": "interface",
        "Operator": {"Managed": False},
    }


def _tags(scene: Scene) -> dict[str, str]:
    own = {
        "Name": "application-@number@",
        "Environment": "production",
        "CostCentre": "4711-application",
        "Owner": "team-application@example.com",
        "Application": "order-entry",
        "Compliance": "internal",
        "Terraform": "true",
        Tag.SCHEDULE: "@schedule@",
        Tag.RETAIN: "7d 4w 12m",
        Tag.RECOVERY_POINT: "@point@",
    }
    return own if scene in {Scene.NEW, Scene.INVALID} else own | {Tag.LAST: "@cursor@"}
