"""A group of instances with everything around them, and a state machine's part played by hand.

Each is in an Auto Scaling group or in target groups, has scripts in its guest and an alarm on it.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from sandbox.service_calls import ServiceError
from sandbox.virtual.services import Json
from stillpoint.aws import recover_instances
from stillpoint.errors import AwsUnavailable
from stillpoint.tags import Tag
from tests.functions.cloud import Cloud, Crash, Moment, cloud_at, crash
from tests.functions.documents import document
from tests.functions.fleet import cursor
from tests.functions.prune_cloud import Bumps
from tests.functions.samples import sample
from tests.functions.template import FREEZE_DOCUMENT, MACHINE_ARN
from tests.unit.builders import at

START = at("2026-11-22 03:00")
EXECUTION = "group-erp-20261122T030000Z"
SCRIPTS = "erp-scripts"
SCALING = "erp-asg"
DRAINING_SECONDS = 5
SWEEP = sample("recover_instances_sweep")
PATIENCE = timedelta(hours=3)
IN_SERVICE = ["erp-asg InService", "web:80 healthy"]
PLACES = ["api:8080 healthy", "db:80 healthy"]
"""Where the two members of the scene with everything serve."""
ISOLATION_CALLS, RETURN_CALLS = 31, 52
"""How many calls their isolation makes, and their return."""


@dataclass
class Scene:
    """The members of a backup, what surrounds them, and how far the backup has come.

    `bumps` lets one call of the functions come to grief. `frozen` are freezes that the state
    machine knows of, and `undos` what Prepare said is to be undone. `status` is the execution's,
    unless Step Functions has forgotten it.
    """

    cloud: Cloud
    members: list[dict[str, Any]] = field(default_factory=list)
    checks: int = 0
    since: datetime = START
    frozen: list[dict[str, Any]] = field(default_factory=list)
    status: str = "RUNNING"
    ended_at: datetime | None = None
    is_forgotten: bool = False
    undos: dict[str, str] = field(default_factory=dict)
    bumps: Bumps = field(default_factory=Bumps)

    def __post_init__(self) -> None:
        services: dict[str, Any] = self.cloud._services
        services["states"] = Json({"DescribeExecution": self._describe})
        for name, service in list(services.items()):
            services[name] = self.bumps.around(service)
        self._create(SCRIPTS, document("pre-script", "post-script", "dry-run"))
        seconds = {"type": "String", "default": "30"}
        freezing = ("freeze", "thaw", "dry-run")
        self._create(FREEZE_DOCUMENT, document(*freezing, holdSeconds=seconds, thawSeconds=seconds))

    # ------------------------------------------------------------ setting the scene

    def member(
        self,
        name: str = "web",
        *,
        order: int = 0,
        accept: Sequence[str] = (),
        **facts: str,
    ) -> str:
        """Launch a member; `facts` are those of its row, such as `pre` and `method`."""
        instance_id = self.cloud.launch(name=name)
        self.cloud.wait(minutes=2)
        seen = cursor("daily 03:00", "2026-11-21 03:00")
        self.cloud.tag([instance_id], {Tag.SCHEDULE: "daily 03:00", Tag.LAST: seen})
        self.configure(instance_id, managed=True)
        alarm = {"AlarmName": f"{name}-cpu", "Namespace": "AWS/EC2", "MetricName": "CPUUtilization"}
        dimensions = [{"Name": "InstanceId", "Value": instance_id}]
        self.cloud.ask("cloudwatch", "PutMetricAlarm", Dimensions=dimensions, **alarm)
        template = sample("prepare_backup")["backup"]["members"][0]
        row = {"instance_id": instance_id, "name": name, "order": order, "accept": list(accept)}
        self.members.append(template | row | facts)
        self.cloud.wait(minutes=2)  # until its agent answers
        self.since = self.cloud.now
        return instance_id

    def configure(self, instance_id: str, **knobs: object) -> None:
        """Set knobs of an instance."""
        self.cloud.world.configure(instance_id, **knobs)

    def target_group(self, name: str, *instance_ids: str, port: int | None = None) -> str:
        """Make a target group with healthy targets; return its ARN."""
        made = self.cloud.ask("elbv2", "CreateTargetGroup", Name=name, Port=80, Protocol="HTTP")
        arn = str(made["TargetGroups"][0]["TargetGroupArn"])
        delay = {
            "Key": "deregistration_delay.timeout_seconds",
            "Value": str(DRAINING_SECONDS),
        }
        self.cloud.ask(
            "elbv2", "ModifyTargetGroupAttributes", TargetGroupArn=arn, Attributes=[delay]
        )
        if instance_ids:
            ports = {} if port is None else {"Port": port}
            targets = [{"Id": each, **ports} for each in instance_ids]
            self.cloud.ask("elbv2", "RegisterTargets", TargetGroupArn=arn, Targets=targets)
            self.cloud.wait(minutes=2)
        self.since = self.cloud.now
        return arn

    def delete_target_group(self, name: str) -> None:
        """Delete a target group, as its owner may at any time."""
        (group,) = self.cloud.ask("elbv2", "DescribeTargetGroups", Names=[name])["TargetGroups"]
        arn = group["TargetGroupArn"]
        self.cloud.ask("elbv2", "DeleteTargetGroup", TargetGroupArn=arn)

    def scaling_group(self, *instance_ids: str, arns: Sequence[str] = ()) -> None:
        """Make an Auto Scaling group of these members, whose owner lets them leave it."""
        group = {"AutoScalingGroupName": SCALING}
        self.cloud.ask(
            *("autoscaling", "CreateAutoScalingGroup"),
            **group,
            MinSize=0,
            MaxSize=len(instance_ids),
            TargetGroupARNs=list(arns),
        )
        self.cloud.ask("autoscaling", "AttachInstances", **group, InstanceIds=list(instance_ids))
        for row in self.members:
            if row["instance_id"] in instance_ids:
                row["accept"].append("auto-scaling")
        self.cloud.wait(minutes=2)
        self.since = self.cloud.now

    def resize(self, **sizes: Any) -> None:  # noqa: ANN401 (whole numbers)
        """Change the sizes of the Auto Scaling group."""
        self.cloud.ask(
            "autoscaling", "UpdateAutoScalingGroup", AutoScalingGroupName=SCALING, **sizes
        )

    def script(self, instance_id: str, **stages: Mapping[str, object]) -> None:
        """Say what the stages `pre` and `post` of the script do, such as `pre={"exit": 201}`."""
        behaviour = {f"{stage}-script": spec for stage, spec in stages.items()}
        self.configure(instance_id, scripts={SCRIPTS: behaviour})

    # ------------------------------------------------------- the state machine's part

    @property
    def backup(self) -> dict[str, Any]:
        """The execution's input."""
        document: dict[str, Any] = sample("prepare_backup")["backup"]
        return document | {"members": self.members}

    @property
    def ids(self) -> list[str]:
        """The ids of the members, in their order."""
        return [row["instance_id"] for row in self.members]

    def prepare(self, *, mute: bool = True) -> dict[str, Any]:
        """Invoke Prepare, and again until it answers."""
        event = {"execution": EXECUTION, "backup": self.backup, "isolates": True}
        variables = {"MUTE_ALARMS": "true" if mute else "false"}
        answer = self.retried(partial(self.cloud.invoke, "prepare_backup", event, variables))
        assert answer["refusals"] == [], answer["refusals"]
        self.undos = {row["instance_id"]: row["undo"] for row in answer["members"]}
        self.since = self.cloud.now
        return answer

    def isolate(self) -> dict[str, Any]:
        """Take one look around, as the state machine does."""
        event = {
            "execution": EXECUTION,
            "backup": self.backup,
            "undos": self.undos,
            "since": self.since.isoformat(),
            "checks": self.checks,
        }
        answer = self.cloud.invoke("isolate_instances", event)
        self.checks += 1
        return answer

    def isolated(self) -> dict[str, Any]:
        """Look around until all members are isolated, or it is in vain; return the last answer."""
        return self._until(self.isolate)

    def stop_and_start(self) -> None:
        """Let every member be at rest for a while."""
        for action in ("StopInstances", "StartInstances"):
            for instance_id in self.ids:
                self.cloud.call(action, InstanceIds=[instance_id])
            self.cloud.wait(minutes=3)

    def quiesce(self) -> None:
        """Let the members be isolated without further ado, and at rest for a while."""
        self.prepare(mute=False)
        self.isolated()
        self.stop_and_start()

    def begin_rejoin(self) -> None:
        """Note that the instances are back."""
        self.since = self.cloud.now

    def rejoin(self, *instance_ids: str) -> dict[str, Any]:
        """Take one look at members that are back; without ids, at all."""
        event = {
            "execution": EXECUTION,
            "backup": self.backup,
            "instance_ids": list(instance_ids or self.ids),
            "undos": self.undos,
            "freezes": self.frozen,
            "since": self.since.isoformat(),
        }
        return self.cloud.invoke("rejoin_instances", event)

    def rejoined(self, *instance_ids: str) -> dict[str, Any]:
        """Look until all have rejoined, or it is in vain; return the last answer."""
        self.begin_rejoin()
        return self._until(partial(self.rejoin, *instance_ids))

    def release(self, *instance_ids: str) -> None:
        """Take off the tags that say that a backup is in charge."""
        tags = [{"Key": Tag.CYCLE}, {"Key": Tag.UNDO}]
        self.cloud.call("DeleteTags", Resources=list(instance_ids), Tags=tags)

    def retried[T](self, act: Callable[[], T]) -> T:
        """Do something again after each time that it crashed or AWS was unavailable."""
        for _ in range(9):
            try:
                return act()
            except (AwsUnavailable, Crash):
                self.cloud.wait(seconds=5)
        pytest.fail("It failed nine times")

    def crash_at(self, call: int) -> None:
        """Let the process of a function end before its call of this number."""
        self.cloud.moment = Moment(call, crash)

    @property
    def has_crashed(self) -> bool:
        """Whether it came to that."""
        return self.cloud.moment is None

    def abort(self) -> None:
        """Stop the execution, long enough ago for its end to be believed."""
        self.status, self.ended_at = "ABORTED", self.cloud.now
        self.cloud.wait(seconds=160)

    def sweep(self, *, looks: int = 10) -> dict[str, Any]:
        """Let the recovery sweep once, with so many looks in it."""
        patience = timedelta(seconds=recover_instances.LOOK_AGAIN_SECONDS * (looks - 1))
        times = mock.Mock(wraps=datetime)
        times.now.side_effect = lambda _zone: self.cloud.now
        clock = SimpleNamespace(
            sleep=lambda seconds: self.cloud.wait(seconds=seconds),
            monotonic=self.cloud.clock.now,
        )
        with mock.patch.multiple(recover_instances, datetime=times, time=clock, PATIENCE=patience):
            return self.cloud.invoke("recover_instances", SWEEP)

    def recovered(self) -> None:
        """Let sweeps follow one another every five minutes until nobody is in a cycle any more."""
        until = self.cloud.now + PATIENCE
        while any(self.tags(each).keys() & {Tag.CYCLE, Tag.UNDO} for each in self.ids):
            assert self.cloud.now < until
            self.retried(self.sweep)
            self.cloud.wait(minutes=5)

    # ------------------------------------------------------------- looking at it all

    def tags(self, instance_id: str) -> dict[str, str]:
        """Return the tags of an instance."""
        answer = self.cloud.call("DescribeInstances", InstanceIds=[instance_id])
        (instance,) = answer["Reservations"][0]["Instances"]
        return {row["Key"]: row["Value"] for row in instance.get("Tags", ())}

    def places(self) -> dict[str, list[str]]:
        """Return where each member serves, such as `erp-asg InService` and `web:80 healthy`."""
        truth = self.cloud.companions.truth()
        found: dict[str, list[str]] = {each: [] for each in self.ids}
        for group in truth["auto_scaling_groups"]:
            for instance_id, state in group["members"].items():
                if instance_id in found:
                    found[instance_id].append(f"{group['name']} {state}")
        for group in truth["target_groups"]:
            for row in group["targets"]:
                if row["instance_id"] in found:
                    place = f"{group['name']}:{row['port']} {row['state']}"
                    found[row["instance_id"]].append(place)
        return {instance_id: sorted(places) for instance_id, places in found.items()}

    def mute_rules(self) -> list[dict[str, Any]]:
        """Return the mute rules that there are."""
        return list(self.cloud.companions.truth()["mute_rules"])

    def violations(self) -> list[str]:
        """Return what must never have been done, in words."""
        return [each["what"] for each in self.cloud.companions.truth()["violations"]]

    def ran(self, *instance_ids: str) -> list[tuple[str, str]]:
        """Return which stages of scripts began on members, in the order of time."""
        rows = [
            (event["at"], instance["instance_id"], event["stage"])
            for instance in self.cloud.world.truth()["instances"]
            for event in instance["events"]
            if event["what"] == "script_began"
            and instance["instance_id"] in (instance_ids or self.ids)
        ]
        return [(instance_id, stage) for _, instance_id, stage in sorted(rows)]

    def stops(self) -> list[str]:
        """Return the ids of the members that were ever asked to stop."""
        return [
            instance["instance_id"]
            for instance in self.cloud.world.truth()["instances"]
            for event in instance["events"]
            if event["what"] == "stop_requested" and instance["instance_id"] in self.ids
        ]

    def asked(self, *actions: str) -> int:
        """Return how many calls of these actions were made."""
        return sum(action in actions for _, action in self.cloud.calls)

    def _until(self, look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        until = self.cloud.now + PATIENCE
        while (answer := self.retried(look))["status"] == "waiting":
            assert self.cloud.now < until, answer
            self.cloud.wait(seconds=answer["wait_seconds"])
        return answer

    def _create(self, name: str, content: str) -> None:
        consent = [{"Key": "DLMScriptsAccess", "Value": "true"}]
        kind = {"DocumentType": "Command", "DocumentFormat": "JSON"}
        self.cloud.ask("ssm", "CreateDocument", Name=name, Content=content, Tags=consent, **kind)

    def _describe(self, params: dict[str, Any]) -> dict[str, Any]:
        if self.is_forgotten or not params["executionArn"].endswith(f":{EXECUTION}"):
            raise ServiceError("ExecutionDoesNotExist", "Execution does not exist", 400, "test")
        began = START.timestamp()
        ended = {"stopDate": self.ended_at.timestamp()} if self.ended_at else {}
        row = {
            "executionArn": params["executionArn"],
            "stateMachineArn": MACHINE_ARN,
            "name": EXECUTION,
            "status": self.status,
            "startDate": began,
            "input": json.dumps(self.backup),
        }
        return row | ended


@contextmanager
def a_scene(**physics: object) -> Iterator[Scene]:
    """Let every client talk to a new cloud with the stack's documents in it."""
    with cloud_at(START, **physics) as cloud:
        yield Scene(cloud)


@contextmanager
def everything(**physics: object) -> Iterator[Scene]:
    """Return a scene of two: one of an Auto Scaling group, and one with scripts and targets."""
    with a_scene(**physics) as scene:
        web = scene.member("erp-web", order=1)
        db = scene.member("erp-db", order=2, pre=SCRIPTS, post=SCRIPTS)
        scene.target_group("api", db, port=8080)
        scene.target_group("db", db)
        scene.scaling_group(web, arns=[scene.target_group("web")])
        scene.cloud.calls.clear()
        yield scene


def assert_back(scene: Scene) -> None:
    """Everything around the two members is as it was before, and nothing was harmed."""
    scene.cloud.wait(minutes=1)  # a group may call a member in service before it is healthy
    web, db = scene.ids
    assert scene.places() == {web: IN_SERVICE, db: PLACES}
    assert (scene.mute_rules(), scene.violations()) == ([], [])


def errors(answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return whom the failures of an answer concern, and their stable names."""
    return [(row["instance_id"], row["error"]) for row in answer["failures"]]
