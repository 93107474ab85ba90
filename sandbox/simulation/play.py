"""One night: the fleet is launched, becomes due, is backed up, and comes to rest."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from sandbox.ec2 import Physics
from sandbox.simulation.account import account
from sandbox.simulation.night import Night
from sandbox.simulation.output import Output
from sandbox.simulation.setting import Setting
from sandbox.simulation.watch import Watch
from sandbox.virtual import lambdas
from sandbox.virtual.cloud import Cloud, running
from sandbox.virtual.stack import ACCOUNT, REGION

DUE: Final = datetime(2026, 11, 22, 3, tzinfo=UTC).timestamp()
LAUNCH: Final = DUE - 300
MINUTE: Final = 60.0
# Longer than the pause before another attempt: until then a backup that failed may come again.
SECOND_ATTEMPT: Final = 17 * MINUTE
# What follows the last backup: pruning.
AFTERWARDS: Final = 3 * MINUTE
LETTERS: Final = "abcdef"
SCHEDULED: Final = "monthly 22 03:00"  # once, however long the images are pending
NOT_DUE: Final = "monthly last 00:00"
PLANNER: Final = "PlanBackupsFunction"


def play(setting: Setting, output: Output, clock: Callable[[], float]) -> Night:
    """Play a night. The process must live in virtual time already.

    `output` is what standard output has been replaced by, `clock` tells the real time.
    """
    begun = clock()
    cloud = Cloud(
        seed=f"{setting.seed}",
        start=LAUNCH,
        parameters=setting.parameters,
        physics=Physics().changed(setting.physics),
        allowed=setting.quotas,
    )
    cloud.journal.keeps_entries = False
    cloud.world.keeps_calls = False
    cloud.door.latency = setting.latency
    watch = Watch()
    cloud.world.on_tags = lambda _account, _region, resource, tags: watch.tags_changed(
        resource, tags, cloud.scheduler.now()
    )
    output.writer = _writer
    with running(cloud, f"{setting.seed}"):
        ids = _launch(cloud, setting)
        cloud.run_until(DUE)
        cloud.meter.clear()
        output.clear()
        _back_up(cloud, setting, ids)
        return account(cloud, setting, ids, watch, output, due=DUE, begun=begun, clock=clock)


def _launch(cloud: Cloud, setting: Setting) -> dict[str, str]:
    """Launch the fleet and return the names by id. EC2 limits requests from the due minute on."""
    place = cloud.world.region(ACCOUNT, REGION)
    place.throttle.enabled = False
    schedule = NOT_DUE if setting.at_once else SCHEDULED
    ids = {}
    for number in range(setting.instances):
        name = setting.name_of(number)
        tags = {"Name": name, "stillpoint:schedule": schedule}
        answer = cloud.owner_calls(
            "RunInstances",
            MinCount=1,
            MaxCount=1,
            InstanceType="m7i.large",
            BlockDeviceMappings=[
                {"DeviceName": f"/dev/xvd{letter}", "Ebs": {"VolumeSize": 8}}
                for letter in LETTERS[: 1 + number % len(LETTERS)]
            ],
            TagSpecifications=[
                {
                    "ResourceType": "instance",
                    "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
                }
            ],
        )
        ids[str(answer["Instances"][0]["InstanceId"])] = name
    cloud.run_until(DUE - MINUTE)
    place.throttle.enabled = True
    return ids


def _back_up(cloud: Cloud, setting: Setting, ids: dict[str, str]) -> None:
    """Let the night pass until all is over."""
    if setting.at_once:
        event: dict[str, Any] = {"backup_now": sorted(ids)}
        cloud.scheduler.spawn("all at once", partial(cloud.lambdas.invoke, PLANNER, event))
    if setting.killed_after is not None:
        cloud.run_until(DUE + setting.killed_after)
        for record in list(cloud.executions.records.values()):
            cloud.executions.stop({"executionArn": record.arn})
    quiet_since = None
    while cloud.scheduler.now() < DUE + setting.longest_hours * 60 * MINUTE:
        cloud.run_until(cloud.scheduler.now() + MINUTE)
        now = cloud.scheduler.now()
        if not _is_quiet(cloud, ids):
            quiet_since = None
            continue
        quiet_since = quiet_since or now
        if _all_succeeded(cloud, ids) or now - quiet_since >= SECOND_ATTEMPT:
            cloud.run_until(now + AFTERWARDS)
            return


def _is_quiet(cloud: Cloud, ids: dict[str, str]) -> bool:
    """Say whether no backup is under way and every instance runs."""
    instances = cloud.world.region(ACCOUNT, REGION).instances
    return not cloud.executions.running and all(instances[each].state == "running" for each in ids)


def _all_succeeded(cloud: Cloud, ids: dict[str, str]) -> bool:
    records = cloud.executions.records.values()
    done = {each for one in records if one.status == "SUCCEEDED" for each in one.members}
    return done >= ids.keys()


def _writer() -> str:
    """Return the name of the function that runs on this thread."""
    invocation = lambdas.running()
    return invocation.function if invocation else ""
