"""Preflight: the hazards of backing up an instance, found before anything is touched."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from stillpoint import hazards
from stillpoint.hazards import AUTO_SCALING, HAZARDS, Concern, Hazard, Rule
from stillpoint.instance import Instance
from stillpoint.isolation import Undo
from stillpoint.standby import Membership, is_replaced, why_no_entry
from stillpoint.tags import Cycle, Tag, iso
from stillpoint.targets import FoundTarget, to_take_away, why_not_remembered

SNAPSHOT_INTERVAL = timedelta(seconds=15)
"""What must lie between two snapshots of a volume (EC2 API Reference,
SnapshotCreationPerVolumeRateExceeded)."""

_INCOMPLETE = 5
_INCOMPLETE_ON_HDD = 1
_HDD = frozenset({"st1", "sc1"})
_FLEETS = ("aws:ec2:fleet-id", "aws:ec2spot:fleet-request-id")

type _Check = tuple[Hazard, bool, str]
"""A hazard, whether it is present, and its detail."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A hazard that was found on one instance, and that its owner has not accepted."""

    instance_id: str
    name: str
    state: str
    hazard: Hazard
    detail: str = ""

    @property
    def reason(self) -> str:
        """The hazard in one sentence, with its detail."""
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.hazard.sentence}{detail}"

    @property
    def refuses(self) -> bool:
        """Whether the backup must not be made; otherwise it is only a warning."""
        return self.hazard.rule is not Rule.WARNING


@dataclass(frozen=True, slots=True)
class SpotRequest:
    """The request that a Spot Instance came from.

    `state` is EC2's name of it, such as `active` or `cancelled`. `group` says in words which
    group the request belongs to, and is empty if it stands alone.
    """

    persistent: bool
    state: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class ScheduledEvent:
    """What EC2 is going to do to an instance, such as `instance-retirement`."""

    code: str
    description: str
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class VolumeAround:
    """An attached volume: its type, who else has it, and its snapshots.

    `incomplete_snapshots` are the ids of those that are pending or in error. `last_snapshot_at`
    is when the newest one was initiated, if that had to be known.
    """

    volume_id: str
    volume_type: str = ""
    shared: bool = False
    incomplete_snapshots: tuple[str, ...] = ()
    last_snapshot_at: datetime | None = None

    @property
    def most_incomplete(self) -> int:
        """The incomplete snapshots that it may have (EBS User Guide, "Quotas for Amazon EBS")."""
        return _INCOMPLETE_ON_HDD if self.volume_type in _HDD else _INCOMPLETE


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What must be known about an instance beyond what DescribeInstances says.

    `ungranted_keys` are the ARNs of the KMS keys of its encrypted volumes that the stack may not
    use, `unusable_keys` those that nobody can use now. `instance_store` says that its type brings
    instance-store volumes. `spot` is None if EC2 knows no Spot request of it, `membership` if Auto
    Scaling does not know it. `reservation_state` is that of the Capacity Reservation that it
    targets. `cluster` says that the strategy of its placement group is `cluster`. `targets` are its
    places in target groups, without those that standby takes care of; `last_target_of` names the
    groups, with those, that are left without a healthy target. `shutdown_terminates` says that it
    has scripts and is terminated if one of them shuts it down. `script_problem` says why a document
    of its scripts cannot be run, `not_managed` why SSM does not reach it although scripts or a
    freeze need that, `freeze_problem` why it cannot be frozen; each is empty otherwise.
    """

    stop_protected: bool = False
    instance_store: bool = False
    ungranted_keys: tuple[str, ...] = ()
    unusable_keys: tuple[str, ...] = ()
    spot: SpotRequest | None = None
    membership: Membership | None = None
    reservation_state: str = "active"
    unlimited_credits: bool = False
    cluster: bool = False
    events: tuple[ScheduledEvent, ...] = ()
    volumes: tuple[VolumeAround, ...] = ()
    targets: tuple[FoundTarget, ...] = ()
    last_target_of: tuple[str, ...] = ()
    shutdown_terminates: bool = False
    script_problem: str = ""
    not_managed: str = ""
    freeze_problem: str = ""


def find_hazards(  # noqa: PLR0913 (the subject and everything it is judged by)
    instance: Instance | None,
    *,
    instance_id: str,
    name: str,
    method: str,
    execution: str,
    accepted: Collection[str],
    surroundings: Surroundings,
) -> tuple[Finding, ...]:
    """Return everything that speaks against backing up one instance now, and every warning.

    `instance` is None if EC2 does not know it any more. `execution` is the one that asks:
    a cycle tag of any other execution is a hazard, its own is not. What the owner accepts is not
    returned; an accepted code that does not apply, or that cannot be accepted, changes nothing.
    """
    if instance is None or instance.state in {"terminated", "shutting-down"}:
        return (Finding(instance_id, name, "terminated", hazards.GONE),)
    checks = (
        *_of_the_moment(instance, execution),
        *_of_the_instance(instance),
        *_of_the_way_back(instance, surroundings),
        *_of_the_volumes(surroundings.volumes),
        *_of_the_events(surroundings.events),
        *_of_the_isolation(instance, surroundings),
        *_of_the_guest(surroundings),
    )
    found = [
        Finding(instance_id, name, instance.state, hazard, detail)
        for hazard, is_present, detail in checks
        if is_present
        and _concerns(hazard.concern, method, instance.state)
        and not (hazard.rule is Rule.UNLESS_ACCEPTED and hazard.code in accepted)
    ]
    return tuple(sorted(found, key=lambda finding: HAZARDS.index(finding.hazard)))


def is_stopped_by(method: str, state: str) -> bool:
    """Return whether a backup by this method stops an instance that is in this state."""
    return method == "stop" and state == "running"


def undo_for(  # noqa: PLR0913 (the subject and everything it depends on)
    instance: Instance,
    *,
    method: str,
    accepted: Collection[str],
    surroundings: Surroundings,
    scripts: bool,
    mute: bool,
) -> Undo:
    """Return what a backup may do around an instance, and so has to undo.

    `scripts` says that the instance has a pre- or a post-script, `mute` that alarms are to be
    muted; neither matters to one that does not run. A member that its owner has put into Standby
    stays there.
    """
    if instance.state != "running":
        return Undo()
    stopping = is_stopped_by(method, instance.state)
    in_service = _is_replaced(instance, surroundings.membership)
    return Undo(
        standby=stopping and in_service and AUTO_SCALING.code in accepted,
        scripts=scripts,
        muted=mute and method in {"stop", "reboot"},
        targets=to_take_away(surroundings.targets) if stopping else (),
    )


def too_recent(
    instance: Instance, method: str, surroundings: Surroundings, now: datetime
) -> tuple[str, ...]:
    """Return the volumes that have a snapshot too young for another one right now.

    A stop takes longer than that, so it concerns only what is captured without one. If the clocks
    disagree, a snapshot may seem to begin a moment later than now.
    """
    if is_stopped_by(method, instance.state):
        return ()
    return tuple(
        volume.volume_id
        for volume in surroundings.volumes
        if volume.last_snapshot_at is not None
        and abs(now - volume.last_snapshot_at) < SNAPSHOT_INTERVAL
    )


def _concerns(concern: Concern, method: str, state: str) -> bool:
    match concern:
        case Concern.EVERY_METHOD:
            return True
        case Concern.STOP:
            return is_stopped_by(method, state)
        case Concern.STOP_OR_REBOOT:
            return method in {"stop", "reboot"} and state == "running"
    assert_never(concern)


def _of_the_moment(instance: Instance, execution: str) -> Iterable[_Check]:
    """Check whether the instance is at rest and free."""
    value = instance.tags.get(Tag.CYCLE, "")
    undo = instance.tags.get(Tag.UNDO, Undo().render())
    cycle = Cycle.parse(value)
    is_free = Tag.CYCLE not in instance.tags or (cycle and cycle.execution == execution)
    return (
        (
            hazards.IN_TRANSITION,
            instance.state not in {"running", "stopped"},
            f"it is {instance.state}",
        ),
        (hazards.OTHER_BACKUP, not is_free, cycle.execution if cycle else value),
        (
            hazards.NOT_PUT_BACK,
            Tag.CYCLE not in instance.tags and Undo.parse(undo) != Undo(),
            undo,
        ),
    )


def _of_the_instance(instance: Instance) -> Iterable[_Check]:
    """Check what DescribeInstances alone tells."""
    kind, ip = instance.instance_type, instance.public_ip
    lost = (
        ""
        if instance.gets_new_public_ip
        else ", and EC2 assigns no other at the start, because the instance has a second network"
        " interface or a second address with an Elastic IP"
    )
    return (
        (hazards.INSTANCE_STORE_ROOT, instance.root_device_type == "instance-store", ""),
        (hazards.MANAGED, instance.managed, ""),
        (hazards.MAC, kind.startswith("mac"), kind),
        (hazards.SCHEDULED_INSTANCE, instance.lifecycle == "scheduled", ""),
        (hazards.CAPACITY_BLOCK, instance.lifecycle == "capacity-block", ""),
        (
            hazards.INTERRUPTIBLE_CAPACITY,
            instance.lifecycle == "interruptible-capacity-reservation",
            "",
        ),
        (hazards.HIBERNATION, instance.hibernation, ""),
        (hazards.PUBLIC_IP, ip is not None, f"{ip}{lost}"),
        (hazards.T2_CREDITS, kind.startswith("t2."), kind),
        (
            hazards.HOST_AFFINITY,
            instance.placement.affinity == "host",
            instance.placement.host_id,
        ),
    )


def _of_the_way_back(instance: Instance, around: Surroundings) -> Iterable[_Check]:
    """Check what would keep the instance from being stopped, or from coming back as it was."""
    place = instance.placement
    spot = _why_not_stoppable(instance, around.spot)
    return (
        (hazards.SPOT, instance.lifecycle == "spot" and bool(spot), spot),
        (hazards.SPOT_PERSISTENT, instance.lifecycle == "spot" and not spot, ""),
        (hazards.STOP_PROTECTION, around.stop_protected, ""),
        (hazards.KMS_NOT_GRANTED, bool(around.ungranted_keys), ", ".join(around.ungranted_keys)),
        (hazards.KMS_KEY_UNUSABLE, bool(around.unusable_keys), ", ".join(around.unusable_keys)),
        (
            hazards.CAPACITY_RESERVATION,
            instance.capacity_reservation is not None and around.reservation_state != "active",
            f"{instance.capacity_reservation} is {around.reservation_state}",
        ),
        (
            hazards.T3_UNLIMITED_ON_HOST,
            is_t3_on_host(instance) and around.unlimited_credits,
            instance.instance_type,
        ),
        (hazards.INSTANCE_STORE, around.instance_store, instance.instance_type),
        (hazards.PLACEMENT_GROUP, bool(place.group) and around.cluster, f"group {place.group}"),
    )


def is_t3_on_host(instance: Instance) -> bool:
    """Return whether the credit option of an instance matters to its start."""
    return instance.instance_type.startswith("t3.") and instance.placement.tenancy == "host"


def _why_not_stoppable(instance: Instance, request: SpotRequest | None) -> str:
    """Return why EC2 does not stop a Spot Instance, in words, or an empty text if it does.

    Only one with a persistent request that is not cancelled, and that belongs to no fleet, launch
    group or Availability Zone group (EC2 User Guide, "Manage your Spot Instances").
    """
    fleet = next((instance.tags[key] for key in _FLEETS if key in instance.tags), None)
    if fleet is not None:
        return f"it belongs to the fleet {fleet}"
    if request is None:
        return "EC2 knows no request of it"
    if not request.persistent:
        return "its request is one-time"
    if request.group:
        return f"its request belongs to {request.group}"
    return "" if request.state == "active" else f"its request is {request.state}"


def _is_replaced(instance: Instance, membership: Membership | None) -> bool:
    """Return whether an Auto Scaling group replaces the instance when it does not run.

    The tag of a member is enough if Auto Scaling does not know it (yet).
    """
    if membership is not None:
        return is_replaced(membership)
    return instance.auto_scaling_group is not None


def _of_the_isolation(instance: Instance, around: Surroundings) -> Iterable[_Check]:
    """Check what has to be done around the instance before it can be stopped."""
    member = around.membership
    replaced = _is_replaced(instance, member)
    no_entry = why_no_entry(member)
    group = member.in_words if member else f"group {instance.auto_scaling_group}"
    too_many = why_not_remembered(to_take_away(around.targets))
    last = around.last_target_of
    return (
        (hazards.AUTO_SCALING, replaced, group),
        (hazards.STANDBY_NOT_POSSIBLE, replaced and bool(no_entry), no_entry),
        (hazards.TOO_MANY_TARGETS, bool(too_many), too_many),
        (hazards.ONLY_TARGET, bool(last), ", ".join(last)),
    )


def _of_the_guest(around: Surroundings) -> Iterable[_Check]:
    """Check what is run in the guest."""
    return (
        (hazards.SCRIPT_UNUSABLE, bool(around.script_problem), around.script_problem),
        (hazards.NOT_MANAGED, bool(around.not_managed), around.not_managed),
        (hazards.FREEZE_NOT_POSSIBLE, bool(around.freeze_problem), around.freeze_problem),
        (hazards.SHUTDOWN_TERMINATES, around.shutdown_terminates, ""),
    )


def _of_the_volumes(volumes: Iterable[VolumeAround]) -> Iterable[_Check]:
    full = [each for each in volumes if len(each.incomplete_snapshots) >= each.most_incomplete]
    shared = [each.volume_id for each in volumes if each.shared]
    detail = "; ".join(f"{each.volume_id}: {', '.join(each.incomplete_snapshots)}" for each in full)
    return (
        (hazards.SNAPSHOTS_PENDING, bool(full), detail),
        (hazards.MULTI_ATTACH, bool(shared), ", ".join(shared)),
    )


def _of_the_events(events: Iterable[ScheduledEvent]) -> Iterable[_Check]:
    """Check what EC2 plans; what is done or called off is still listed for a week."""
    coming = [
        f"{event.code} not before {iso(event.not_before)}" if event.not_before else event.code
        for event in events
        if not event.description.startswith(("[Completed]", "[Canceled]"))
    ]
    return ((hazards.RETIREMENT, bool(coming), ", ".join(coming)),)
