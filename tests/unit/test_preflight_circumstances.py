"""Under which circumstances something is a hazard, and what its finding says of them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from stillpoint.instance import Instance, Placement
from stillpoint.preflight import (
    ScheduledEvent,
    SpotRequest,
    Surroundings,
    VolumeAround,
    too_recent,
)
from stillpoint.tags import Tag
from tests.unit.hazardous import (
    BY_CODE,
    EXECUTION,
    NOW,
    OWN_REQUEST,
    a_volume,
    an_event,
    codes,
    hazards_of,
    in_the_charge_of,
    instance,
)


@pytest.mark.parametrize("state", ["pending", "stopping"])
def test_an_instance_on_its_way_between_states_is_refused(state: str) -> None:
    assert codes(hazards_of(instance(state))) == ["in-transition"]


@pytest.mark.parametrize("subject", [None, instance("shutting-down"), instance("terminated")])
def test_an_instance_that_is_gone_has_this_hazard_and_no_other(subject: Instance | None) -> None:
    (finding,) = hazards_of(subject, surroundings=Surroundings(stop_protected=True))
    assert finding.hazard.code == "gone"
    assert finding.state == "terminated"


def test_a_backup_does_not_stand_in_its_own_way() -> None:
    assert hazards_of(instance(tags=in_the_charge_of(EXECUTION))) == ()


@pytest.mark.parametrize("value", ["", "running", "execution= before= since=", "\x00" * 256])
def test_a_cycle_tag_that_cannot_be_read_may_be_somebody_elses(value: str) -> None:
    assert codes(hazards_of(instance(tags={Tag.CYCLE: value}))) == ["other-backup"]


def test_everything_that_is_found_is_reported_at_once_in_the_order_of_the_table() -> None:
    subject = instance(
        lifecycle="spot",
        instance_type="t2.micro",
        public_ip="203.0.113.7",
        hibernation=True,
        tags=in_the_charge_of("other"),
    )
    found = hazards_of(subject, surroundings=Surroundings(stop_protected=True))
    assert codes(found) == [
        *("other-backup", "spot", "stop-protection"),
        *("hibernation", "public-ip"),
        "t2-credits",
    ]


def test_an_address_that_nothing_replaces_is_said_to_be_lost_for_good() -> None:
    subject = instance(public_ip="203.0.113.7", gets_new_public_ip=False)
    (finding,) = hazards_of(subject)
    assert "(203.0.113.7, and EC2 assigns no other at the start, because" in finding.reason


@pytest.mark.parametrize(
    ("request_", "tags", "why"),
    [
        (None, {}, "EC2 knows no request of it"),
        (replace(OWN_REQUEST, persistent=False), {}, "its request is one-time"),
        (replace(OWN_REQUEST, state="cancelled"), {}, "its request is cancelled"),
        (replace(OWN_REQUEST, group="the launch group g"), {}, "belongs to the launch group g"),
        (OWN_REQUEST, {"aws:ec2:fleet-id": "fleet-1"}, "belongs to the fleet fleet-1"),
        (OWN_REQUEST, {"aws:ec2spot:fleet-request-id": "sfr-1"}, "belongs to the fleet sfr-1"),
    ],
)
def test_a_spot_instance_that_ec2_would_not_stop_is_never_stopped(
    request_: SpotRequest | None, tags: dict[str, str], why: str
) -> None:
    found = hazards_of(
        instance(lifecycle="spot", tags=tags),
        accepted=frozenset(BY_CODE),
        surroundings=Surroundings(spot=request_),
    )
    assert codes(found) == ["spot"]
    assert why in found[0].reason


def test_a_spot_instance_with_a_request_of_its_own_may_be_stopped_if_its_owner_accepts() -> None:
    subject, around = instance(lifecycle="spot"), Surroundings(spot=OWN_REQUEST)
    assert codes(hazards_of(subject, surroundings=around)) == ["spot-persistent"]
    accepted = frozenset({"spot-persistent"})
    assert hazards_of(subject, accepted=accepted, surroundings=around) == ()


@pytest.mark.parametrize(
    ("kind", "incomplete", "refused"),
    [
        *(("st1", 0, False), ("st1", 1, True), ("sc1", 1, True), ("st1", 3, True)),
        *(("gp3", 4, False), ("gp3", 5, True), ("io2", 6, True), ("standard", 4, False)),
        ("", 4, False),
    ],
)
def test_a_volume_has_room_for_so_many_incomplete_snapshots(
    kind: str, incomplete: int, refused: bool
) -> None:
    found = hazards_of(instance(), surroundings=a_volume(kind, incomplete))
    assert codes(found) == (["snapshots-pending"] if refused else [])


def test_only_the_volume_without_room_is_named() -> None:
    volumes = (
        VolumeAround("vol-0a", "gp3", incomplete_snapshots=("snap-1",)),
        VolumeAround("vol-0b", "sc1", incomplete_snapshots=("snap-2", "snap-3")),
    )
    (finding,) = hazards_of(instance(), surroundings=Surroundings(volumes=volumes))
    assert finding.detail == "vol-0b: snap-2, snap-3"


@pytest.mark.parametrize("state", ["pending", "expired", "cancelled", "failed", "unknown to EC2"])
def test_only_an_active_reservation_lets_an_instance_start(state: str) -> None:
    subject = instance(capacity_reservation="cr-0a")
    around = Surroundings(reservation_state=state)
    assert codes(hazards_of(subject, surroundings=around)) == ["capacity-reservation"]
    assert hazards_of(subject) == ()
    assert hazards_of(instance(), surroundings=around) == ()


@pytest.mark.parametrize(
    ("instance_type", "tenancy", "unlimited"),
    [("t3.large", "host", False), ("t3.large", "default", True), ("t3a.large", "host", True)],
)
def test_only_a_t3_with_unlimited_credits_on_a_host_does_not_start(
    instance_type: str, tenancy: str, unlimited: bool
) -> None:
    subject = instance(instance_type=instance_type, placement=Placement(tenancy=tenancy))
    assert hazards_of(subject, surroundings=Surroundings(unlimited_credits=unlimited)) == ()


@pytest.mark.parametrize(
    "placement",
    [Placement(tenancy="host", affinity="default", host_id="h-0a"), Placement(group="spread")],
)
def test_a_place_that_is_not_fixed_is_no_warning(placement: Placement) -> None:
    assert hazards_of(instance(placement=placement)) == ()


@pytest.mark.parametrize("word", ["[Completed]", "[Canceled]"])
def test_an_event_that_is_over_is_no_warning(word: str) -> None:
    around = an_event("instance-stop", f"{word} The instance is running on degraded hardware")
    assert hazards_of(instance(), surroundings=around) == ()


def test_every_event_that_is_to_come_is_named() -> None:
    events = (ScheduledEvent("system-reboot", ""), ScheduledEvent("instance-stop", "[Completed] x"))
    (finding,) = hazards_of(instance(), surroundings=Surroundings(events=events))
    assert (finding.hazard.code, finding.detail) == ("retirement", "system-reboot")


@pytest.mark.parametrize(
    ("method", "state", "waits"),
    [
        *(("stop", "running", False), ("stop", "stopped", True)),
        *(("reboot", "running", True), ("none", "running", True), ("none", "stopped", True)),
    ],
)
def test_only_what_is_captured_without_a_stop_waits_for_a_young_snapshot(
    method: str, state: str, waits: bool
) -> None:
    around = Surroundings(volumes=(VolumeAround("vol-0a", last_snapshot_at=NOW),))
    found = too_recent(instance(state), method, around, NOW)
    assert found == (("vol-0a",) if waits else ())
    assert hazards_of(instance(state), method=method, surroundings=around) == ()


@pytest.mark.parametrize(
    ("seconds", "waits"), [(0, True), (14.9, True), (15, False), (3600, False), (-2, True)]
)
def test_a_snapshot_is_young_for_fifteen_seconds(seconds: float, waits: bool) -> None:
    started = NOW - timedelta(seconds=seconds)
    around = Surroundings(volumes=(VolumeAround("vol-0a", last_snapshot_at=started),))
    assert bool(too_recent(instance(), "none", around, NOW)) == waits


def test_a_volume_without_a_snapshot_waits_for_none() -> None:
    assert too_recent(instance(), "none", a_volume(), NOW) == ()
