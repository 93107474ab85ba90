"""What the owner of a fleet does in mid-backup, and how far that excuses what comes of it."""

from collections.abc import Callable
from typing import Final

from sandbox.ec2 import Ec2Error
from sandbox.faults.fleet import Fleet
from sandbox.faults.moments import SCHEDULE
from sandbox.scenario import InstanceSpec
from sandbox.service_calls import ServiceError
from sandbox.virtual.cloud import Cloud
from sandbox.virtual.executions import Record
from sandbox.virtual.mischief import Fault, Kind
from sandbox.virtual.stack import ACCOUNT, REGION

# The owner mends his own doing, and wants a thing to happen for so long.
MENDED_AFTER: Final = 3600.0
PATIENCE: Final = 600.0


class Owner:
    """Meddles with one instance of a backup."""

    def __init__(self, cloud: Cloud, fleet: Fleet) -> None:
        """Let him act whenever a fault of a state wants him to."""
        self._cloud = cloud
        self._fleet = fleet
        cloud.executions.on_owner = self.act

    def act(self, fault: Fault, record: Record) -> None:
        """Let him act on the subject, or on the first member that the backup has to bring back."""
        members = [self._fleet.name_of(each) for each in record.members]
        running = (each for each in members if self._fleet.before[each] == "running")
        name = fault.subject or next(running)
        self._cloud.scheduler.spawn(f"owner of {name}", lambda: self._act(fault.kind, name))

    def _act(self, kind: Kind, name: str) -> None:
        instance_id = self._fleet.ids[name]
        match kind:
            case Kind.OWNER_STOPS:
                self._fleet.touched.add(name)
                self._insist("StopInstances", instance_id)
            case Kind.OWNER_STARTS:
                self._insist("StartInstances", instance_id)
            case Kind.OWNER_TERMINATES:
                self._fleet.touched.add(name)
                self._insist("TerminateInstances", instance_id)
            case Kind.OWNER_PROTECTS:
                self._protect(instance_id, protected=True)
                self._mend(lambda: self._protect(instance_id, protected=False))
            case Kind.OWNER_UNTAGS:
                self._tag("DeleteTags", instance_id)
                self._mend(lambda: self._tag("CreateTags", instance_id))
            case Kind.OWNER_DEREGISTERS:
                self._deregister(name)
            case Kind.OWNER_DELETES_GROUP:
                self._delete_target_groups(name)
            case Kind.OWNER_EXITS_STANDBY:
                self._exit_standby(name)
            case Kind.OWNER_LOWERS_MAX:
                self._lower_max(name)
            case _:
                raise AssertionError(f"{kind} is nothing that an owner does")

    def _mend(self, undo: Callable[[], object]) -> None:
        self._fleet.mended_at = self._cloud.scheduler.now() + MENDED_AFTER
        self._cloud.scheduler.sleep(MENDED_AFTER)
        undo()

    def _tag(self, action: str, instance_id: str) -> None:
        tags = [{"Key": "stillpoint:schedule", "Value": SCHEDULE}]
        self._cloud.owner_calls(action, Resources=[instance_id], Tags=tags)

    def _protect(self, instance_id: str, *, protected: bool) -> None:
        self._cloud.owner_calls(
            "ModifyInstanceAttribute",
            InstanceId=instance_id,
            DisableApiStop={"Value": protected},
        )

    def _insist(self, action: str, instance_id: str) -> None:
        """Make a call until EC2 takes it: an instance in transition cannot be started."""
        until = self._cloud.scheduler.now() + PATIENCE
        while self._cloud.scheduler.now() < until:
            try:
                self._cloud.owner_calls(action, InstanceIds=[instance_id])
            except Ec2Error:
                self._cloud.scheduler.sleep(2)
            else:
                return

    # -- around the instance ------------------------------------------------------

    def _deregister(self, name: str) -> None:
        """Take an instance out of its target groups, wherever it is registered just now."""
        self._fleet.unplaced.add(name)
        for arn, port in self._places(name):
            target = {"Id": self._fleet.ids[name], "Port": port}
            self._cloud.owner_asks(
                "elbv2", "DeregisterTargets", TargetGroupArn=arn, Targets=[target]
            )

    def _delete_target_groups(self, name: str) -> None:
        """Delete the target groups of an instance, as the model has no call for it."""
        self._fleet.unplaced.add(name)
        wanted = {each for each, _ in self._spec(name).registrations()}
        balancing = self._cloud.companions.balancing
        groups = balancing._places[ACCOUNT, REGION].groups
        self._cloud.journal.note("owner", f"elbv2 DeleteTargetGroup {' '.join(sorted(wanted))}")
        for arn in [arn for arn, group in groups.items() if group.name in wanted]:
            del groups[arn]

    def _places(self, name: str) -> list[tuple[str, int]]:
        rows = self._cloud.truth()["target_groups"]
        return [
            (row["arn"], target["port"])
            for row in rows
            for target in row["targets"]
            if target["instance_id"] == self._fleet.ids[name]
        ]

    def _exit_standby(self, name: str) -> None:
        """Take a member out of Standby himself: while it does not run, its group replaces it."""
        instance_id = self._fleet.ids[name]
        [row] = [r for r in self._cloud.truth()["instances"] if r["instance_id"] == instance_id]
        if not row["downs"] or row["downs"][-1]["up_at"] is None:
            self._fleet.touched.add(name)
        try:
            self._cloud.owner_asks(
                *("autoscaling", "ExitStandby"),
                AutoScalingGroupName=self._spec(name).auto_scaling_group,
                InstanceIds=[instance_id],
            )
        except ServiceError as error:
            self._cloud.journal.note("owner", f"{error.code}: {error.message}")

    def _lower_max(self, name: str) -> None:
        """Leave no room for a member to return, until that is mended."""
        group = self._spec(name).auto_scaling_group
        [row] = [r for r in self._cloud.truth()["auto_scaling_groups"] if r["name"] == group]

        def resize(most: int) -> None:
            self._cloud.owner_asks(
                *("autoscaling", "UpdateAutoScalingGroup"),
                AutoScalingGroupName=group,
                MaxSize=most,
            )

        resize(row["desired"])
        self._mend(lambda: resize(row["max"]))

    def _spec(self, name: str) -> InstanceSpec:
        return next(each for each in self._fleet.plan.instances if each.name == name)
