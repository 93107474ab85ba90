"""The sandbox's scenario files in virtual time: this cloud has to agree with the deployed one.

Scenarios with faults outside EC2 are not played here: the fault matrix has its own.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from sandbox import past as pasts
from sandbox.arrangement import arrange
from sandbox.ec2 import FAULT_NAMES, past
from sandbox.fleet import INSTANCE_TYPE, Fleet
from sandbox.outcomes import Outcome, is_being_copied, outcomes_of
from sandbox.run import SCHEDULED_EVENT
from sandbox.scenario import Scenario, filled, last_due
from sandbox.virtual.cloud import Cloud, running

START: Final = datetime(2026, 11, 22, 2, 50, tzinfo=UTC).timestamp()
MINUTE: Final = 60.0
# From the end of the last backup until the pruning that it sets going is over.
PRUNING: Final = 2 * MINUTE
PRUNING_FUNCTION: Final = "PruneRecoveryPointsFunction"
TRANSITIONS: Final = frozenset({"pending", "stopping", "shutting-down"})


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a scenario: its instances, and the events that were published."""

    outcomes: list[Outcome]
    events: list[str]


def play(scenario: Scenario, seed: int) -> Played:
    """Play a scenario to its end. The process must live in virtual time already.

    Raises ValueError for a fault that is not one of EC2.
    """
    cloud = Cloud(seed=f"{seed}", start=START, parameters=scenario.parameters)
    with running(cloud, f"{seed}"):
        fleet = _launch(cloud, scenario)
        due = last_due(scenario, fleet.start).timestamp()
        cloud.run_until(due + MINUTE)
        while _busy(cloud) and cloud.scheduler.now() < START + scenario.minutes * MINUTE:
            cloud.run_until(cloud.scheduler.now() + MINUTE)
        cloud.run_until(cloud.scheduler.now() + PRUNING)
        if scenario.sweep:
            sweep = partial(cloud.lambdas.invoke_later, PRUNING_FUNCTION, SCHEDULED_EVENT)
            cloud.scheduler.spawn("the daily sweep", sweep)
            cloud.run_until(cloud.scheduler.now() + PRUNING)
    outcomes = outcomes_of(fleet, cloud.truth(), cloud.executions.report())
    return Played(outcomes, [message.event for message in cloud.journal.messages])


def _launch(cloud: Cloud, scenario: Scenario) -> Fleet:
    ids = {}
    for spec in scenario.instances:
        cloud.run_until(cloud.scheduler.now() + 2)  # EC2 throttles launches
        answer = cloud.owner_calls(
            "RunInstances",
            MinCount=1,
            MaxCount=1,
            InstanceType=INSTANCE_TYPE,
            BlockDeviceMappings=[
                {"DeviceName": f"/dev/xvd{letter}", "Ebs": {"VolumeSize": 8}}
                for letter in "abcdefghijklmnopqrstuvwxyz"[: spec.volumes]
            ],
            TagSpecifications=[
                {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": spec.name}]}
            ],
        )
        ids[spec.name] = str(answer["Instances"][0]["InstanceId"])
    cloud.run_until(START + 3 * MINUTE)  # as in the deployed sandbox, they come up first
    for spec in scenario.instances:
        knobs: dict[str, Any] = {**scenario.physics, **spec.physics}
        if spec.state != "running":
            knobs["state"] = spec.state
        cloud.world.configure(ids[spec.name], **knobs)
        if spec.stop_protection:
            cloud.owner_calls(
                "ModifyInstanceAttribute",
                InstanceId=ids[spec.name],
                DisableApiStop={"Value": True},
            )
    arrange(scenario, ids, cloud.owner_asks)
    for fault in scenario.faults:
        if fault["name"] not in FAULT_NAMES:
            raise ValueError(f"{fault['name']} is no fault of EC2")
        cloud.world.faults.add(fault)
    start = datetime.fromtimestamp(cloud.scheduler.now(), UTC)
    for spec in scenario.instances:
        past.put(cloud.world, ids[spec.name], pasts.images_of(spec, ids[spec.name], start))
    for spec in scenario.instances:
        if spec.tags:
            rows = [{"Key": key, "Value": filled(text, start)} for key, text in spec.tags.items()]
            cloud.owner_calls("CreateTags", Resources=[ids[spec.name]], Tags=rows)
    return Fleet(ids, {spec.name: spec.state for spec in scenario.instances}, start)


def _busy(cloud: Cloud) -> bool:
    """Say whether anything is under way still."""
    truth = cloud.world.truth()
    return (
        any(record.status == "RUNNING" for record in cloud.executions.records.values())
        or any(row["state"] in TRANSITIONS for row in truth["instances"])
        or any(is_being_copied(image) for image in truth["images"])
    )
