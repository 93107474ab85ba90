"""What surrounds the instances of a backup: read as far as it can matter to one of them."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import batched
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from stillpoint.aws import ec2
from stillpoint.aws.client import client, error_code, translated
from stillpoint.aws.images import find_snapshots, in_batches
from stillpoint.aws.keys import describe_key
from stillpoint.aws.scripts import find_problems
from stillpoint.aws.standby import read_memberships
from stillpoint.aws.targets import find_targets
from stillpoint.aws.telemetry import logger
from stillpoint.aws.volumes import Volume, volumes_attached_to
from stillpoint.errors import StillpointError
from stillpoint.instance import Instance
from stillpoint.preflight import (
    ScheduledEvent,
    SpotRequest,
    Surroundings,
    VolumeAround,
    is_stopped_by,
    is_t3_on_host,
)
from stillpoint.scripts import ScriptProblems
from stillpoint.targets import names_of_the_last, without_handled

if TYPE_CHECKING:
    from datetime import datetime

_STATUSES = 100
"""Instances that one call may name (EC2 API Reference, DescribeInstanceStatus)."""
_INCOMPLETE = frozenset({"pending", "error"})
"""The states of a snapshot that count against the limit of a volume (EC2 API Reference,
ConcurrentSnapshotLimitExceeded)."""


_NO_SCRIPTS: Mapping[str, tuple[str, ...]] = MappingProxyType({})


def read_surroundings(
    instances: Iterable[Instance],
    methods: Mapping[str, str],
    granted_keys: Collection[str],
    scripts: Mapping[str, tuple[str, ...]] = _NO_SCRIPTS,
    freeze_document: str = "",
) -> dict[str, Surroundings]:
    """Return what surrounds each of the instances, by id.

    `methods` are those of the members of the backup by instance id, `granted_keys` the ARNs of
    the KMS keys that the stack may use. `scripts` are the names of the SSM documents that are run
    in a member, by instance id, `freeze_document` is that of the stack. What matters to a stop is
    read for those that the backup stops, and no call is made that concerns none of the members.
    Raises AwsRefused or AwsUnavailable if AWS does not tell what could refuse the backup; what
    could only give a warning is left out then.
    """
    present = [each for each in instances if each.state not in {"terminated", "shutting-down"}]
    if not present:
        return {}
    stopping = [each for each in present if is_stopped_by(methods[each.instance_id], each.state)]
    volumes = volumes_attached_to([each.instance_id for each in present])
    ways_back = _ways_back(stopping, volumes, granted_keys)
    around = _around_volumes(volumes, frozenset(each.instance_id for each in stopping))
    problems = find_problems(present, scripts, methods, freeze_document)
    return {
        each.instance_id: replace(
            _with_the_guest(
                ways_back.get(each.instance_id, Surroundings()),
                problems.get(each.instance_id, ScriptProblems()),
                terminated=each.state == "running"
                and bool(scripts.get(each.instance_id))
                and ec2.is_terminated_by_a_shutdown(each.instance_id),
            ),
            volumes=tuple(
                around[volume.volume_id]
                for volume in volumes
                if each.instance_id in volume.instance_ids
            ),
        )
        for each in present
    }


def _with_the_guest(
    around: Surroundings, problems: ScriptProblems, *, terminated: bool
) -> Surroundings:
    return replace(
        around,
        shutdown_terminates=terminated,
        script_problem=problems.script_problem,
        not_managed=problems.not_managed,
        freeze_problem=problems.freeze_problem,
    )


def _ways_back(
    stopping: Sequence[Instance], volumes: Sequence[Volume], granted_keys: Collection[str]
) -> dict[str, Surroundings]:
    """Read what would keep the instances from being stopped, or from coming back as they were."""
    if not stopping:
        return {}
    ids = [each.instance_id for each in stopping]
    with_store = ec2.types_with_instance_store([each.instance_type for each in stopping])
    ungranted, unusable = _bad_keys(ids, volumes, granted_keys)
    spot = _spot_requests([each.instance_id for each in stopping if each.lifecycle == "spot"])
    members = read_memberships([each.instance_id for each in stopping if each.auto_scaling_group])
    targets = find_targets(stopping)
    handled = {
        instance_id: member.sizes.target_groups if member.sizes else ()
        for instance_id, member in members.items()
    }
    unlimited = _with_unlimited_credits(
        [each.instance_id for each in stopping if is_t3_on_host(each)]
    )
    reservations = _reservation_states({each.capacity_reservation for each in stopping} - {None})
    groups = {each.placement.group for each in stopping} - {""}
    clusters = _unless_refused(lambda: _cluster_groups(groups), frozenset[str]())
    events = _unless_refused(
        lambda: _scheduled_events(ids), dict[str, tuple[ScheduledEvent, ...]]()
    )
    return {
        each.instance_id: Surroundings(
            stop_protected=ec2.stop_protected(each.instance_id),
            instance_store=each.instance_type in with_store,
            ungranted_keys=tuple(sorted(ungranted.get(each.instance_id, ()))),
            unusable_keys=tuple(sorted(unusable.get(each.instance_id, ()))),
            spot=spot.get(each.instance_id),
            membership=members.get(each.instance_id),
            reservation_state=reservations.get(each.capacity_reservation or "", "active"),
            unlimited_credits=each.instance_id in unlimited,
            cluster=each.placement.group in clusters,
            events=events.get(each.instance_id, ()),
            targets=without_handled(targets[each.instance_id], handled.get(each.instance_id, ())),
            last_target_of=names_of_the_last(targets[each.instance_id]),
        )
        for each in stopping
    }


def _unless_refused[T](read: Callable[[], T], nothing: T) -> T:
    """Return what is read, or nothing if AWS does not tell: no backup is given up for a warning."""
    try:
        return read()
    except StillpointError:
        logger.exception("What a warning would be based on could not be read")
        return nothing


def _bad_keys(
    stopping: Collection[str], volumes: Sequence[Volume], granted: Collection[str]
) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Return the KMS keys that the stack may not use, and those that nobody can, by instance."""
    keys = {}
    ungranted: dict[str, set[str]] = {}
    unusable: dict[str, set[str]] = {}
    for volume in volumes:
        arn = volume.kms_key_arn
        holders = [each for each in volume.instance_ids if each in stopping]
        if arn is None or not holders:
            continue
        if arn not in keys:
            keys[arn] = describe_key(arn)
        key = keys[arn]
        for instance_id in holders:
            if arn not in granted and not (key and key.aws_managed):
                ungranted.setdefault(instance_id, set()).add(arn)
            if key is not None and not key.enabled:
                unusable.setdefault(instance_id, set()).add(arn)
    return ungranted, unusable


def _around_volumes(volumes: Sequence[Volume], stopping: frozenset[str]) -> dict[str, VolumeAround]:
    """Read the snapshots of the volumes, by volume id.

    Of a volume that is captured only after a stop those that are complete do not matter; of the
    others the newest one does, whatever its state.
    """
    ids = {each.volume_id for each in volumes}
    at_once = {each.volume_id for each in volumes if stopping.isdisjoint(each.instance_ids)}
    incomplete: dict[str, list[str]] = {}
    newest: dict[str, datetime] = {}
    states = [{"Name": "status", "Values": sorted(_INCOMPLETE)}]
    for some, condition in ((at_once, []), (ids - at_once, states)):
        for batch in in_batches(sorted(some)):
            named = {"Name": "volume-id", "Values": list(batch)}
            for snapshot in find_snapshots([named, *condition]):
                volume_id = snapshot.volume_id
                if snapshot.state in _INCOMPLETE:
                    incomplete.setdefault(volume_id, []).append(snapshot.snapshot_id)
                newest[volume_id] = max(
                    newest.get(volume_id, snapshot.started_at), snapshot.started_at
                )
    return {
        each.volume_id: VolumeAround(
            volume_id=each.volume_id,
            volume_type=each.volume_type,
            shared=len(each.instance_ids) > 1,
            incomplete_snapshots=tuple(sorted(incomplete.get(each.volume_id, ()))),
            last_snapshot_at=newest.get(each.volume_id),
        )
        for each in volumes
    }


def _spot_requests(instance_ids: Collection[str]) -> dict[str, SpotRequest]:
    found = {}
    with translated("reading the Spot requests"):
        pages = client("ec2").get_paginator("describe_spot_instance_requests")
        for batch in in_batches(instance_ids):
            filters = [{"Name": "instance-id", "Values": list(batch)}]
            for page in pages.paginate(Filters=filters):
                for row in page["SpotInstanceRequests"]:
                    found[row["InstanceId"]] = _spot_request(row)
    return found


def _spot_request(row: Mapping[str, Any]) -> SpotRequest:
    group = ""
    if row.get("LaunchGroup"):
        group = f"the launch group {row['LaunchGroup']}"
    elif row.get("AvailabilityZoneGroup"):
        group = f"the Availability Zone group {row['AvailabilityZoneGroup']}"
    return SpotRequest(row.get("Type") == "persistent", row.get("State", "unknown"), group)


def _with_unlimited_credits(instance_ids: Collection[str]) -> frozenset[str]:
    with translated("reading the CPU credit options"):
        return frozenset(
            row["InstanceId"]
            for batch in in_batches(instance_ids)
            for row in client("ec2").describe_instance_credit_specifications(
                InstanceIds=list(batch)
            )["InstanceCreditSpecifications"]
            if row.get("CpuCredits") == "unlimited"
        )


def _reservation_states(reservation_ids: Collection[str | None]) -> dict[str, str]:
    """Return the state of each Capacity Reservation.

    One by one: an id that EC2 has forgotten would fail the whole call, and there is no filter for
    ids (EC2 API Reference, DescribeCapacityReservations).
    """
    states = {}
    for reservation_id in filter(None, reservation_ids):
        with translated(f"reading the Capacity Reservation {reservation_id}"):
            try:
                answer = client("ec2").describe_capacity_reservations(
                    CapacityReservationIds=[reservation_id]
                )
            except ClientError as error:
                if error_code(error) != "InvalidCapacityReservationId.NotFound":
                    raise
                answer = {"CapacityReservations": []}
        rows = answer["CapacityReservations"]
        states[reservation_id] = rows[0]["State"] if rows else "unknown to EC2"
    return states


def _cluster_groups(names: Collection[str]) -> frozenset[str]:
    """Return those of the placement groups that keep their instances close together."""
    with translated("reading the placement groups"):
        return frozenset(
            row["GroupName"]
            for batch in in_batches(sorted(names))
            for row in client("ec2").describe_placement_groups(
                Filters=[
                    {"Name": "group-name", "Values": list(batch)},
                    {"Name": "strategy", "Values": ["cluster"]},
                ]
            )["PlacementGroups"]
        )


def _scheduled_events(instance_ids: Collection[str]) -> dict[str, tuple[ScheduledEvent, ...]]:
    """Return what EC2 has scheduled for the instances, which run: it tells nothing of others."""
    with translated("reading the scheduled events"):
        return {
            row["InstanceId"]: tuple(
                ScheduledEvent(
                    event.get("Code", "event"), event.get("Description", ""), event.get("NotBefore")
                )
                for event in row.get("Events", ())
            )
            for batch in batched(instance_ids, _STATUSES, strict=False)
            for row in client("ec2").describe_instance_status(InstanceIds=list(batch))[
                "InstanceStatuses"
            ]
        }
