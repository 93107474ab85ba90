"""The API of EC2 Auto Scaling, and what it does by itself to a member that does not run.

Groups never launch anything here: what a group terminates is not replaced. The words of errors
are those that the API is seen to use; no reference gives them.
"""

from collections import defaultdict
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from sandbox.autoscaling.groups import Group, LifecycleState, Member
from sandbox.ec2.call import Call
from sandbox.ec2.lagged import Lagged
from sandbox.ec2.lifecycle import terminate
from sandbox.ec2.model import InstanceState
from sandbox.ec2.moments import instant
from sandbox.ec2.physics import Range
from sandbox.ec2.region import Region
from sandbox.ec2.world import World
from sandbox.elb import LoadBalancing
from sandbox.modelled import Modelled, page
from sandbox.recurring import recurring
from sandbox.service_calls import ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping

PRINCIPAL: Final = "autoscaling.amazonaws.com"
GROUP_TAG: Final = "aws:autoscaling:groupName"
REQUEST_ID: Final = "autoscaling"
CHECK_SECONDS: Final = 10.0  # between two health checks
# How long a member takes to leave or enter service, apart from the draining of its targets.
STANDBY_SECONDS: Final = Range(1, 5)
IN_SERVICE_SECONDS: Final = Range(3, 12)
MOST_IDS: Final = 20  # EC2 Auto Scaling API Reference, EnterStandby
# The members of a creation that a group shows again as they are.
_FACTS: Final = (
    *("LaunchConfigurationName", "LaunchTemplate", "MixedInstancesPolicy", "HealthCheckType"),
    *("HealthCheckGracePeriod", "AvailabilityZones", "VPCZoneIdentifier", "DefaultCooldown"),
)

type Groups = dict[str, Group]


class AutoScaling(Modelled[Region]):
    """All Auto Scaling groups of a world.

    `listed` and `configurations` hold, by Region, groups and launch configurations by the SDK's
    names that Describe calls list as they are: they have no members in the world.
    """

    def __init__(self, world: World, balancing: LoadBalancing) -> None:
        operations = {
            "AttachInstances": self._attach,
            "CreateAutoScalingGroup": self._create,
            "DescribeAutoScalingGroups": self._describe_groups,
            "DescribeAutoScalingInstances": self._describe_instances,
            "DescribeLaunchConfigurations": self._describe_configurations,
            "EnterStandby": self._enter_standby,
            "ExitStandby": self._exit_standby,
            "ResumeProcesses": self._resume,
            "SuspendProcesses": self._suspend,
            "UpdateAutoScalingGroup": self._update,
        }
        super().__init__("autoscaling", world, operations)
        self.listed: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        self.configurations: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        self._balancing = balancing
        self._groups: dict[tuple[str, str], Groups] = {}

    def report(self) -> dict[str, Any]:
        """Return the groups with the true states of their members, ready for JSON."""
        with self._world.lock:
            self._world.advance()
            return {
                "auto_scaling_groups": [
                    {
                        "name": group.name,
                        "region": region,
                        "min": group.least,
                        "max": group.most,
                        "desired": group.desired,
                        "members": {
                            each.instance_id: each.state.value.value
                            for each in group.members.values()
                        },
                    }
                    for (_, region), groups in self._groups.items()
                    for group in groups.values()
                ]
            }

    # ---------------------------------------------------------------------- groups

    def _create(self, place: Region, call: Call) -> dict[str, Any]:
        params, name = call.params, call.params["AutoScalingGroupName"]
        groups = self._of(place)
        if name in groups:
            message = f"AutoScalingGroup by this name already exists - A group with the name {name}"
            raise _error(f"{message} already exists", "AlreadyExists")
        if not groups:
            first = call.at + CHECK_SECONDS
            recurring(place.agenda, first, CHECK_SECONDS, lambda at: self._check(place, at))
        part = place.dice.hex_digits("auto-scaling-group", 12)
        arn = f"arn:aws:autoscaling:{place.name}:{place.account}:autoScalingGroup:{part}"
        group = Group(
            name,
            f"{arn}:autoScalingGroupName/{name}",
            created_at=call.at,
            least=params["MinSize"],
            most=params["MaxSize"],
            desired=params.get("DesiredCapacity", params["MinSize"]),
            target_groups=list(params.get("TargetGroupARNs", [])),
            facts={key: params[key] for key in _FACTS if key in params},
        )
        _check_sizes(group.least, group.desired, group.most)
        groups[name] = group
        return {}

    def _update(self, place: Region, call: Call) -> dict[str, Any]:
        group, params = self._named(place, call), call.params
        least, most = params.get("MinSize", group.least), params.get("MaxSize", group.most)
        desired = params.get("DesiredCapacity", min(max(group.desired, least), most))
        _check_sizes(least, desired, most)
        group.least, group.most, group.desired = least, most, desired
        return {}

    def _suspend(self, place: Region, call: Call) -> dict[str, Any]:
        self._named(place, call).suspended |= set(call.params["ScalingProcesses"])
        return {}

    def _resume(self, place: Region, call: Call) -> dict[str, Any]:
        self._named(place, call).suspended -= set(call.params["ScalingProcesses"])
        return {}

    def _describe_groups(self, place: Region, call: Call) -> dict[str, Any]:
        wanted = call.params.get("AutoScalingGroupNames")
        own = [
            group.view([self._row(place, each, call.at) for each in group.members.values()])
            for group in self._of(place).values()
        ]
        rows = [*self.listed[place.name], *own]
        chosen = [row for row in rows if not wanted or row["AutoScalingGroupName"] in wanted]
        return page("AutoScalingGroups", chosen, call)

    def _describe_configurations(self, place: Region, call: Call) -> dict[str, Any]:
        wanted = call.params.get("LaunchConfigurationNames")
        rows = self.configurations[place.name]
        chosen = [row for row in rows if not wanted or row["LaunchConfigurationName"] in wanted]
        return page("LaunchConfigurations", chosen, call)

    # --------------------------------------------------------------------- members

    def _attach(self, place: Region, call: Call) -> dict[str, Any]:
        """Take running instances into a group, whose desired capacity grows by as many."""
        group = self._named(place, call)
        ids = call.params["InstanceIds"]
        for instance_id in ids:
            instance = place.instances.get(instance_id)
            if instance is None or instance.state is not InstanceState.RUNNING:
                raise _error(f"Invalid Instance ID(s): [{instance_id}] specified.")
            if self._group_of(place, instance_id):
                raise _error(f"The instance {instance_id} is already part of AutoScalingGroup")
        if group.desired + len(ids) > group.most:
            raise _too_many(group, "attach", ids)
        group.desired += len(ids)
        for instance_id in ids:
            group.members[instance_id] = Member(instance_id, Lagged(LifecycleState.IN_SERVICE))
            place.tags.merge(instance_id, {GROUP_TAG: group.name}, call.at)
            self._balancing.enrol(place, group.target_groups, instance_id, call.at)
        return {}

    def _enter_standby(self, place: Region, call: Call) -> dict[str, Any]:
        """Take members out of service once they have drained (EC2 Auto Scaling User Guide)."""
        group, members = self._members(place, call)
        for member in members:
            if member.state.value is not LifecycleState.IN_SERVICE:
                raise _error(f"The instance {member.instance_id} is not in InService.")
        if call.params["ShouldDecrementDesiredCapacity"]:
            if group.desired - len(members) < group.least:
                raise _too_many(group, "place into standby", members)
            group.desired -= len(members)
        for member in members:
            self._change(place, member, LifecycleState.ENTERING_STANDBY, call.at)
            drained = self._balancing.drain(place, group.target_groups, member.instance_id, call.at)
            seconds = place.dice.draw("enter-standby", STANDBY_SECONDS)
            self._arrive(place, member, LifecycleState.STANDBY, drained + seconds)
        return self._activities(group, members, "Moving EC2 instance to Standby", call.at)

    def _exit_standby(self, place: Region, call: Call) -> dict[str, Any]:
        """Put members into service again; the desired capacity grows by as many."""
        group, members = self._members(place, call)
        for member in members:
            if member.state.value is not LifecycleState.STANDBY:
                raise _error(f"The instance {member.instance_id} is not in Standby.")
        if "Launch" in group.suspended:
            raise _error(f"The process Launch is suspended for AutoScalingGroup {group.name}.")
        if group.desired + len(members) > group.most:
            raise _too_many(group, "exit standby", members)
        group.desired += len(members)
        for member in members:
            self._change(place, member, LifecycleState.PENDING, call.at)
            self._balancing.enrol(place, group.target_groups, member.instance_id, call.at)
            seconds = place.dice.draw("exit-standby", IN_SERVICE_SECONDS)
            self._arrive(place, member, LifecycleState.IN_SERVICE, call.at + seconds)
        return self._activities(group, members, "Moving EC2 instance out of Standby", call.at)

    def _describe_instances(self, place: Region, call: Call) -> dict[str, Any]:
        """List members; ids that belong to no group are left out (API Reference)."""
        wanted = call.params.get("InstanceIds")
        rows = [
            {**self._row(place, member, call.at), "AutoScalingGroupName": group.name}
            for group in self._of(place).values()
            for member in group.members.values()
            if not wanted or member.instance_id in wanted
        ]
        return page("AutoScalingInstances", rows, call)

    def _row(self, place: Region, member: Member, now: float) -> dict[str, Any]:
        facts = place.instances[member.instance_id].facts
        zone = facts["Placement"]["AvailabilityZone"]
        kind = facts["InstanceType"]
        return {**member.view(now), "InstanceType": kind, "AvailabilityZone": zone}

    def _activities(
        self, group: Group, members: list[Member], what: str, now: float
    ) -> dict[str, Any]:
        return {
            "Activities": [
                {
                    "ActivityId": f"{member.instance_id}-{int(now)}",
                    "AutoScalingGroupName": group.name,
                    "Description": f"{what}: {member.instance_id}",
                    "Cause": f"At {instant(now)} it was asked for by a user.",
                    "StartTime": instant(now),
                    "StatusCode": "InProgress",
                    "Progress": 50,
                }
                for member in members
            ]
        }

    # ----------------------------------------------------------- what it does by itself

    def _change(self, place: Region, member: Member, state: LifecycleState, at: float) -> None:
        """Change a member's state, visible to Describe calls a moment later."""
        lag = place.dice.draw("auto-scaling-lag", place.physics.state_lag_seconds)
        member.state.change(state, at + lag)

    def _arrive(self, place: Region, member: Member, state: LifecycleState, at: float) -> None:
        """Let a member on its way reach a state at a moment; nothing else moves it until then."""
        place.agenda.at(at, lambda now: self._change(place, member, state, now))

    def _check(self, place: Region, now: float) -> None:
        """Terminate every member that is in service and does not run.

        EC2 Auto Scaling User Guide, "Health checks for instances in an Auto Scaling group": an
        instance in any state but `running` is unhealthy at once, and replaced.
        """
        for group in self._of(place).values():
            for member in list(group.members.values()):
                state = place.instances[member.instance_id].state
                if state is InstanceState.TERMINATED:
                    del group.members[member.instance_id]
                elif (
                    member.state.value is LifecycleState.IN_SERVICE
                    and state is not InstanceState.RUNNING
                ):
                    self._replace(place, group, member, now)

    def _replace(self, place: Region, group: Group, member: Member, now: float) -> None:
        """Terminate an unhealthy member, unless it is on its way out already."""
        member.healthy = False
        if group.suspended & {"HealthCheck", "ReplaceUnhealthy", "Terminate"}:
            return
        instance = place.instances[member.instance_id]
        if instance.state is not InstanceState.SHUTTING_DOWN:
            call = Call("TerminateInstances", {}, PRINCIPAL, now, (member.instance_id,))
            place.violate(
                call,
                f"the group {group.name} terminates its member, which is {instance.state} while "
                "it is in service",
            )
            terminate(place, instance, now, PRINCIPAL)
        self._change(place, member, LifecycleState.TERMINATING, now)

    # ------------------------------------------------------------------------ finding

    def _place(self, region: Region, now: float) -> Region:  # noqa: ARG002
        return region

    def _of(self, place: Region) -> Groups:
        return self._groups.setdefault((place.account, place.name), {})

    def _named(self, place: Region, call: Call) -> Group:
        """Return the group that a request names. Raises ServiceError."""
        name = call.params["AutoScalingGroupName"]
        group = self._of(place).get(name)
        if group is None:
            raise _error(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
        return group

    def _members(self, place: Region, call: Call) -> tuple[Group, list[Member]]:
        """Return the members that a request names, with their group. Raises ServiceError."""
        group, ids = self._named(place, call), call.params.get("InstanceIds") or []
        if not 1 <= len(ids) <= MOST_IDS:
            raise _error(f"Between 1 and {MOST_IDS} instance ids must be specified")
        for instance_id in ids:
            if instance_id not in group.members:
                message = f"The instance {instance_id} is not part of Auto Scaling group"
                raise _error(f"{message} {group.name}.")
        return group, [group.members[instance_id] for instance_id in ids]

    def _group_of(self, place: Region, instance_id: str) -> Group | None:
        groups = self._of(place).values()
        return next((group for group in groups if instance_id in group.members), None)


def _check_sizes(least: int, desired: int, most: int) -> None:
    if not least <= desired <= most:
        raise _error("Desired capacity must be between the minimum and the maximum size of a group")


def _too_many(group: Group, what: str, members: Collection[object]) -> ServiceError:
    """Return the error for a change that a group's sizes do not allow."""
    return _error(
        f"AutoScalingGroup {group.name} has {group.sizes}. To {what} {len(members)} instance"
        f"{'' if len(members) == 1 else 's'}, please update the AutoScalingGroup sizes "
        "appropriately."
    )


def _error(message: str, code: str = "ValidationError") -> ServiceError:
    return ServiceError(code, message, 400, REQUEST_ID)
