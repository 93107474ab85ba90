"""Launching the instances of a scenario and tagging them so that they become due."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from botocore import xform_name

from sandbox import past
from sandbox.arrangement import arrange
from sandbox.process import SandboxError
from sandbox.scenario import InstanceSpec, Scenario, filled
from sandbox.session import Session

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import BlockDeviceMappingTypeDef

BASE_IMAGE: Final = "ami-0123456789abcdef0"
INSTANCE_TYPE: Final = "m7i.large"
LAUNCH_SECONDS: Final = 120.0  # simulated


@dataclass(frozen=True, slots=True)
class Fleet:
    """Instance ids and first states by name, and when the tags were written (simulated)."""

    ids: dict[str, str]
    states: dict[str, str]
    start: datetime

    def name_of(self, instance_id: str) -> str:
        """The name of an instance of this fleet, or the id itself."""
        return next((name for name, each in self.ids.items() if each == instance_id), instance_id)


def launch(session: Session, scenario: Scenario) -> Fleet:
    """Launch the fleet, wait until it is in its states, then give it its tags.

    From then on it can become due.
    """
    ids = {spec.name: _launch_one(session, spec) for spec in scenario.instances}
    _await_running(session, ids)
    for spec in scenario.instances:
        knobs = {**scenario.physics, **spec.physics}
        if spec.state != "running":
            knobs["state"] = spec.state
        if knobs:
            session.control.set_physics(ids[spec.name], **knobs)
        if spec.stop_protection:
            session.aws.ec2.modify_instance_attribute(
                InstanceId=ids[spec.name], DisableApiStop={"Value": True}
            )
    arrange(scenario, ids, partial(_call, session))
    for fault in scenario.faults:
        session.control.add_fault({key: _with_ids(value, ids) for key, value in fault.items()})
    start = datetime.fromtimestamp(session.server.clock.now(), UTC)
    for spec in scenario.instances:
        if spec.past:
            images = past.images_of(spec, ids[spec.name], start)
            session.control.put_past(ids[spec.name], images)
    for spec in scenario.instances:
        if spec.tags:
            tags = [{"Key": key, "Value": filled(value, start)} for key, value in spec.tags.items()]
            session.aws.ec2.create_tags(Resources=[ids[spec.name]], Tags=tags)  # type: ignore[arg-type]
    return Fleet(ids, {spec.name: spec.state for spec in scenario.instances}, start)


def _call(session: Session, service: str, action: str, /, **params: object) -> Mapping[str, Any]:
    """Call an action of any service, both by the names of the SDK."""
    client = session.aws.client(service)
    answer: Mapping[str, Any] = getattr(client, xform_name(action))(**params)
    return answer


def _with_ids(value: Any, ids: dict[str, str]) -> Any:
    """Return a fault's setting with every `{name}` of an instance replaced by its id."""
    if isinstance(value, str):
        for name, instance_id in ids.items():
            value = value.replace(f"{{{name}}}", instance_id)
    return value


def _launch_one(session: Session, spec: InstanceSpec) -> str:
    volumes: list[BlockDeviceMappingTypeDef] = [
        {"DeviceName": f"/dev/xvd{letter}", "Ebs": {"VolumeSize": 8}}
        for letter, _ in zip("abcdefghijklmnopqrstuvwxyz", range(spec.volumes), strict=False)
    ]
    answer = session.aws.ec2.run_instances(
        ImageId=BASE_IMAGE,
        InstanceType=INSTANCE_TYPE,
        MinCount=1,
        MaxCount=1,
        BlockDeviceMappings=volumes,
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": spec.name}]}
        ],
    )
    return answer["Instances"][0]["InstanceId"]


def _await_running(session: Session, ids: dict[str, str]) -> None:
    clock = session.server.clock
    deadline = clock.now() + LAUNCH_SECONDS
    while clock.now() < deadline:
        truth = {
            each["instance_id"]: each["state"] for each in session.control.truth()["instances"]
        }
        if all(truth[instance_id] == "running" for instance_id in ids.values()):
            return
        time.sleep(0.1)
    raise SandboxError(f"the fleet did not start within {LAUNCH_SECONDS:g} simulated seconds")
