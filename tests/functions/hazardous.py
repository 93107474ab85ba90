"""Instances with hazards, as AWS shows them: one for each hazard that Prepare can find."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from moto.kms.models import kms_backends

from stillpoint.aws.client import client
from tests.functions.faults import answered
from tests.functions.fleet import (
    attach_volume,
    backend,
    change,
    launch_one,
    lend_public_ip,
    set_state,
    snapshot,
    terminate,
    volumes_of,
)
from tests.functions.ssm import Document, a_systems_manager
from tests.functions.stack import ACCOUNT, NOW, REGION
from tests.unit.builders import at

AN_HOUR_AGO = at("2026-11-22 02:00")
UNKNOWN = "i-0123456789abcdef0"
SCRIPT = "quiesce-erp"

type Told = tuple[str, str, dict[str, Any]]
"""What moto cannot say: the service, the operation, and its answer."""


def new_key() -> str:
    arn: str = client("kms").create_key()["KeyMetadata"]["Arn"]
    return arn


def aws_managed(key: str) -> str:
    kms_backends[ACCOUNT][REGION].keys[key.rpartition("/")[2]].key_manager = "AWS"
    return key


def disabled(key: str) -> str:
    client("kms").disable_key(KeyId=key.rpartition("/")[2])
    return key


def with_volume_of(key: str) -> str:
    instance_id = launch_one()
    attach_volume(instance_id, kms_key_id=key)
    return instance_id


def changed(instance_type: str = "m5.large", **facts: object) -> str:
    """Launch an instance and change what EC2 says about it."""
    instance_id = launch_one(instance_type=instance_type)
    change(instance_id, **facts)
    return instance_id


def after(act: Callable[[str], object]) -> str:
    """Launch an instance and let something happen to it."""
    instance_id = launch_one()
    act(instance_id)
    return instance_id


def with_snapshots(kind: str, *states: str) -> str:
    """Launch an instance whose volume has incomplete snapshots."""
    instance_id = launch_one()
    (volume_id,) = volumes_of(instance_id)
    backend().volumes[volume_id].volume_type = kind
    for state in states:
        snapshot(volume_id, state=state, started_at=AN_HOUR_AGO)
    return instance_id


def with_capacity_reservation() -> str:
    target = {"CapacityReservationTarget": {"CapacityReservationId": "cr-0a"}}
    return changed(capacity_reservation_specification=target)


def balance(instance_id: str, *others: str, groups: int = 1) -> list[str]:
    """Register instances with so many new target groups, in which they are healthy."""
    elb = client("elbv2")
    vpc_id = backend().get_instance(instance_id).vpc_id
    arns = []
    for number in range(groups):
        made = elb.create_target_group(
            Name=f"web-{number}", Protocol="HTTP", Port=80, VpcId=vpc_id, TargetType="instance"
        )
        arn: str = made["TargetGroups"][0]["TargetGroupArn"]
        targets = [{"Id": each} for each in (instance_id, *others)]
        elb.register_targets(TargetGroupArn=arn, Targets=targets)
        arns.append(arn)
    return arns


def a_member(instance_id: str, state: str = "InService", **sizes: object) -> list[Told]:
    """Let Auto Scaling say that an instance is a member of the group web-asg, which is roomy."""
    row = {"InstanceId": instance_id, "AutoScalingGroupName": "web-asg", "LifecycleState": state}
    group = {"AutoScalingGroupName": "web-asg", "MinSize": 1, "MaxSize": 4, "DesiredCapacity": 2}
    return [
        ("autoscaling", "DescribeAutoScalingInstances", {"AutoScalingInstances": [row]}),
        ("autoscaling", "DescribeAutoScalingGroups", {"AutoScalingGroups": [group | sizes]}),
    ]


NOT_ALONE = frozenset({"standby-not-possible", "pre-script-failed"})
"""The first comes with auto-scaling, and the other is found only while the backup is made."""
ARRANGED: dict[str, Callable[[], str]] = {
    "gone": lambda: after(terminate),
    "in-transition": lambda: after(lambda instance_id: set_state(instance_id, "stopping")),
    "other-backup": lambda: launch_one(cycle="execution=x before=running since=yesterday"),
    "not-put-back": lambda: launch_one(undo="standby muted"),
    "instance-store-root": lambda: changed(root_device_type="instance-store"),
    "snapshots-pending": lambda: with_snapshots("st1", "pending"),
    "managed": lambda: changed(operator={"Managed": True, "Principal": "eks.amazonaws.com"}),
    "mac": lambda: launch_one(instance_type="mac2.metal"),
    "scheduled-instance": lambda: changed(lifecycle="scheduled"),
    "spot": lambda: changed(lifecycle="spot"),
    "too-many-targets": lambda: after(lambda each: balance(each, launch_one(), groups=10)),
    "stop-protection": lambda: changed(disable_api_stop=True),
    "kms-not-granted": lambda: with_volume_of(new_key()),
    "kms-key-unusable": lambda: with_volume_of(disabled(aws_managed(new_key()))),
    "capacity-reservation": with_capacity_reservation,
    "t3-unlimited-on-host": lambda: changed("t3.large", placement={"tenancy": "host"}),
    "script-unusable": launch_one,
    "not-managed": launch_one,
    "freeze-not-possible": launch_one,
    "auto-scaling": lambda: launch_one(tags={"aws:autoscaling:groupName": "web-asg"}),
    "shutdown-terminates": lambda: changed(instance_initiated_shutdown_behavior="terminate"),
    "hibernation": lambda: changed(hibernation_options={"Configured": True}),
    "instance-store": lambda: launch_one(instance_type="m5d.large"),
    "public-ip": lambda: after(lend_public_ip),
    "spot-persistent": lambda: changed(lifecycle="spot"),
    "capacity-block": lambda: changed(lifecycle="capacity-block"),
    "interruptible-capacity": lambda: changed(lifecycle="interruptible-capacity-reservation"),
    "multi-attach": launch_one,
    "only-target": lambda: after(balance),
    "t2-credits": lambda: launch_one(instance_type="t2.micro"),
    "host-affinity": lambda: changed(placement={"affinity": "host", "host_id": "h-0a"}),
    "placement-group": lambda: changed(placement={"group_name": "hpc"}),
    "retirement": launch_one,
}
TOLD: dict[str, Callable[[str], list[Told]]] = {
    "capacity-reservation": lambda _: [
        (
            "ec2",
            "DescribeCapacityReservations",
            {"CapacityReservations": [{"CapacityReservationId": "cr-0a", "State": "expired"}]},
        )
    ],
    "t3-unlimited-on-host": lambda instance_id: [
        (
            "ec2",
            "DescribeInstanceCreditSpecifications",
            {
                "InstanceCreditSpecifications": [
                    {"InstanceId": instance_id, "CpuCredits": "unlimited"}
                ]
            },
        )
    ],
    "spot-persistent": lambda instance_id: [
        (
            "ec2",
            "DescribeSpotInstanceRequests",
            {
                "SpotInstanceRequests": [
                    {"InstanceId": instance_id, "Type": "persistent", "State": "active"}
                ]
            },
        )
    ],
    "auto-scaling": a_member,
    "multi-attach": lambda instance_id: [
        (
            "ec2",
            "DescribeVolumes",
            {
                "Volumes": [
                    {
                        "VolumeId": "vol-0a",
                        "VolumeType": "io2",
                        "Attachments": [{"InstanceId": instance_id}, {"InstanceId": UNKNOWN}],
                    }
                ]
            },
        )
    ],
    "placement-group": lambda _: [
        (
            "ec2",
            "DescribePlacementGroups",
            {"PlacementGroups": [{"GroupName": "hpc", "Strategy": "cluster"}]},
        )
    ],
    "retirement": lambda instance_id: [
        (
            "ec2",
            "DescribeInstanceStatus",
            {
                "InstanceStatuses": [
                    {
                        "InstanceId": instance_id,
                        "Events": [{"Code": "instance-retirement", "NotBefore": NOW}],
                    }
                ]
            },
        )
    ],
}

FACTS: Mapping[str, Mapping[str, str]] = {
    "script-unusable": {"pre": "missing"},
    "not-managed": {"pre": SCRIPT},
    "freeze-not-possible": {"method": "freeze"},
    "shutdown-terminates": {"post": SCRIPT},
}
"""What the tags of an instance ask for that has the hazard only then."""


@contextmanager
def arranged(code: str) -> Iterator[str]:
    """Launch an instance with a hazard, and let AWS tell of it."""
    instance_id = ARRANGED[code]()
    with ExitStack() as told:
        systems = told.enter_context(a_systems_manager())
        systems.documents[SCRIPT] = Document()
        if code != "not-managed":
            systems.agent(instance_id, "MacOS" if code == "freeze-not-possible" else "Linux")
        for answer in TOLD[code](instance_id) if code in TOLD else ():
            told.enter_context(answered(*answer))
        yield instance_id
