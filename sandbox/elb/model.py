"""The API of Elastic Load Balancing (version 2), as far as it concerns instances as targets."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

from sandbox.ec2.call import Call
from sandbox.ec2.model import InstanceState
from sandbox.ec2.moments import iso
from sandbox.ec2.region import Region
from sandbox.ec2.world import World
from sandbox.elb.guests import Guest
from sandbox.elb.targets import (
    FIRST_CHECK_SECONDS,
    NOT_REGISTERED,
    Health,
    Target,
    TargetGroup,
    health,
)
from sandbox.modelled import MARKERS, Modelled, page
from sandbox.recurring import recurring
from sandbox.service_calls import ServiceError

LOOK_SECONDS: Final = 15.0  # between two looks at what the instances have done
REQUEST_ID: Final = "elb"


@dataclass(slots=True)
class _Place:
    """The target groups of one account in one Region by ARN, and who is registered in them."""

    region: Region
    groups: dict[str, TargetGroup] = field(default_factory=dict)
    guests: dict[str, Guest] = field(default_factory=dict)
    cut: list[dict[str, Any]] = field(default_factory=list)


class LoadBalancing(Modelled[_Place]):
    """All target groups of a world.

    `unhealthy` holds the ids of instances whose application answers no health check.
    """

    def __init__(self, world: World) -> None:
        operations = {
            "CreateTargetGroup": self._create,
            "DeleteTargetGroup": self._delete,
            "DeregisterTargets": self._deregister,
            "DescribeTargetGroupAttributes": _attributes,
            "DescribeTargetGroups": _describe,
            "DescribeTargetHealth": self._describe_health,
            "ModifyTargetGroupAttributes": _modify,
            "RegisterTargets": self._register,
        }
        super().__init__("elbv2", world, operations)
        self.unhealthy: set[str] = set()
        self._places: dict[tuple[str, str], _Place] = {}

    def drain(self, region: Region, arns: Collection[str], instance_id: str, now: float) -> float:
        """Deregister an instance from target groups; return when the last draining is over."""
        place = self._place(region, now)
        until = now
        for arn in arns:
            group = place.groups[arn]
            for target in group.targets.values():
                if target.instance_id == instance_id:
                    until = max(until, self._drain(place, group, target, now))
        return until

    def enrol(self, region: Region, arns: Collection[str], instance_id: str, now: float) -> None:
        """Register an instance with target groups on their own ports, if it runs."""
        place = self._place(region, now)
        for arn in arns:
            if region.instances[instance_id].state is InstanceState.RUNNING:
                group = place.groups[arn]
                self._add(place, group, (instance_id, group.port), now)

    def report(self) -> dict[str, Any]:
        """Return who is registered where and whose connections were cut, ready for JSON."""
        with self._world.lock:
            now = self._world.advance()
            places = self._places.values()
            for place in places:
                self._catch_up(place, now)
            return {
                "target_groups": [
                    {
                        "name": group.name,
                        "arn": group.arn,
                        "region": place.region.name,
                        "targets": [
                            {
                                "instance_id": each.instance_id,
                                "port": each.port,
                                "state": self._health(place, each, now).state,
                            }
                            for each in group.targets.values()
                        ],
                    }
                    for place in places
                    for group in place.groups.values()
                ],
                "connections_cut": [each for place in places for each in place.cut],
            }

    def _place(self, region: Region, now: float) -> _Place:
        key = (region.account, region.name)
        if key not in self._places:
            self._places[key] = _Place(region)
        self._catch_up(self._places[key], now)
        return self._places[key]

    def _catch_up(self, place: _Place, now: float) -> None:
        """Read what the registered instances have done since, and forget who has drained."""
        for instance_id, guest in place.guests.items():
            for event in guest.unread():
                if event.what == "stop_requested":
                    self._note_stop(place, instance_id, event.by, event.at)
        for group in place.groups.values():
            group.forget_drained(now)
        registered = {key[0] for group in place.groups.values() for key in group.targets}
        for instance_id in place.guests.keys() - registered:
            del place.guests[instance_id]

    def _note_stop(self, place: _Place, instance_id: str, by: str, at: float) -> None:
        """Note the connections that a stop cuts, which nobody who drains first ever does."""
        for group in place.groups.values():
            group.forget_drained(at)
            for target in group.targets.values():
                state = self._health(place, target, at).state
                busy = target.served if state == "draining" else state == "healthy"
                if target.instance_id != instance_id or not busy:
                    continue
                place.cut.append(
                    {
                        "at": iso(at),
                        "instance_id": instance_id,
                        "group": group.name,
                        "port": target.port,
                        "state": state,
                    }
                )
                call = Call("StopInstances", {}, by, at, (instance_id,))
                place.region.violate(
                    call, f"cuts the connections of a {state} target of {group.name}"
                )

    def _health(self, place: _Place, target: Target, now: float) -> Health:
        return health(target, place.guests[target.instance_id], self.unhealthy, now)

    def _drain(self, place: _Place, group: TargetGroup, target: Target, now: float) -> float:
        """Deregister a target, unless it drains already; return when its draining is over."""
        if target.drains_until is None:
            target.served = self._health(place, target, now).state == "healthy"
            target.drains_until = now + group.delay
        return target.drains_until

    def _create(self, place: _Place, call: Call) -> dict[str, Any]:
        """Make a group of instances; it is in use by a load balancer at once."""
        params = call.params
        name, region = params["Name"], place.region
        if params.get("TargetType", "instance") != "instance":
            raise _error("ValidationError", "The sandbox offers target groups of instances only")
        if any(group.name == name for group in place.groups.values()):
            raise _error("DuplicateTargetGroupName", f"A target group with the name {name} exists")
        part = region.dice.hex_digits("target-group", 16)
        arn = (
            f"arn:aws:elasticloadbalancing:{region.name}:{region.account}:targetgroup/{name}/{part}"
        )
        group = TargetGroup(
            arn,
            name,
            port=params["Port"],
            vpc_id=params.get("VpcId", "vpc-00000001"),
            protocol=params.get("Protocol", "HTTP"),
        )
        if not place.groups:
            first = call.at + LOOK_SECONDS
            recurring(region.agenda, first, LOOK_SECONDS, lambda at: self._catch_up(place, at))
        place.groups[arn] = group
        return {"TargetGroups": [group.view()]}

    def _delete(self, place: _Place, call: Call) -> dict[str, Any]:
        """Delete a group, which is in use by no load balancer any more."""
        del place.groups[_group(place, call).arn]
        self._catch_up(place, call.at)
        return {}

    def _register(self, place: _Place, call: Call) -> dict[str, Any]:
        group = _group(place, call)
        named = [group.named(each) for each in call.params["Targets"]]
        for instance_id, _ in named:
            if instance_id not in place.region.instances:
                raise _error("InvalidTarget", f"The target '{instance_id}' does not exist")
        still = sorted(
            {
                instance_id
                for instance_id, _ in named
                if place.region.instances[instance_id].state is not InstanceState.RUNNING
            }
        )
        if still:
            listed = ", ".join(f"'{each}'" for each in still)
            raise _error(
                "InvalidTarget",
                "The following targets are not in a running state and cannot be registered: "
                + listed,
            )
        for key in named:
            self._add(place, group, key, call.at)
        return {}

    def _add(self, place: _Place, group: TargetGroup, key: tuple[str, int], now: float) -> None:
        """Register a target anew, unless it is registered already."""
        known = group.targets.get(key)
        if known and known.drains_until is None:
            return
        seconds = place.region.dice.draw("target-check", FIRST_CHECK_SECONDS)
        group.targets[key] = Target(*key, registered_at=now, check_seconds=seconds)
        if key[0] not in place.guests:
            guest = Guest(place.region.instances[key[0]])
            place.guests[key[0]] = guest
            for _ in guest.unread():
                pass  # what happened before concerns no connection

    def _deregister(self, place: _Place, call: Call) -> dict[str, Any]:
        """Let targets drain; one that is not registered is no error (API Reference)."""
        group = _group(place, call)
        for requested in call.params["Targets"]:
            target = group.targets.get(group.named(requested))
            if target:
                self._drain(place, group, target, call.at)
        self._catch_up(place, call.at)
        return {}

    def _describe_health(self, place: _Place, call: Call) -> dict[str, Any]:
        group = _group(place, call)
        wanted = [group.named(each) for each in call.params.get("Targets", [])]
        rows = []
        for key in wanted or list(group.targets):
            target = group.targets.get(key)
            seen = self._health(place, target, call.at) if target else NOT_REGISTERED
            rows.append(
                {
                    "Target": {"Id": key[0], "Port": key[1]},
                    "HealthCheckPort": str(key[1]),
                    "TargetHealth": seen.view(),
                }
            )
        return {"TargetHealthDescriptions": rows}


def _describe(place: _Place, call: Call) -> dict[str, Any]:
    """List groups by ARN, name or load balancer, in pages."""
    params = call.params
    arns, names = params.get("TargetGroupArns"), params.get("Names")
    balancer = params.get("LoadBalancerArn")
    missing = set(arns or []) - place.groups.keys()
    missing |= set(names or []) - {group.name for group in place.groups.values()}
    if missing:
        raise _not_found()
    found = [
        group.view()
        for arn, group in place.groups.items()
        if (not arns or arn in arns)
        and (not names or group.name in names)
        and balancer in {None, group.balancer_arn}
    ]
    return page("TargetGroups", found, call, MARKERS)


def _attributes(place: _Place, call: Call) -> dict[str, Any]:
    attributes = _group(place, call).attributes
    return {"Attributes": [{"Key": key, "Value": value} for key, value in attributes.items()]}


def _modify(place: _Place, call: Call) -> dict[str, Any]:
    group = _group(place, call)
    group.attributes |= {each["Key"]: each["Value"] for each in call.params["Attributes"]}
    return _attributes(place, call)


def _group(place: _Place, call: Call) -> TargetGroup:
    """Return the group that a request names. Raises TargetGroupNotFound."""
    group = place.groups.get(call.params["TargetGroupArn"])
    if group is None:
        raise _not_found()
    return group


def _not_found() -> ServiceError:
    return _error("TargetGroupNotFound", "One or more target groups not found")


def _error(code: str, message: str) -> ServiceError:
    return ServiceError(code, message, 400, REQUEST_ID)
