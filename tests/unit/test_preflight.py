"""Which hazards an instance has, and what each of them does to its backup."""

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from stillpoint.hazards import ACCEPTABLE, HAZARDS, Concern, Rule
from stillpoint.instance import Instance, Placement
from stillpoint.policy import BackupPolicy, parse_policy
from stillpoint.preflight import (
    Finding,
    Membership,
    ScheduledEvent,
    SpotRequest,
    Surroundings,
    VolumeAround,
    find_hazards,
    too_recent,
)
from stillpoint.tags import Cycle, Tag
from tests.unit.builders import DEFAULTS, at

EXECUTION = "i-0a-20261122T030000Z"
NOW = at("2026-11-22 03:00:30")
NO_SURROUNDINGS = Surroundings()
KEY = "arn:aws:kms:eu-west-1:111122223333:key/k"
IN_A_GROUP = {"aws:autoscaling:groupName": "web-asg"}
OWN_REQUEST = SpotRequest(persistent=True, state="active")


def instance(
    state: str = "running",
    *,
    tags: dict[str, str] | None = None,
    instance_type: str = "m5.large",
    **facts: object,
) -> Instance:
    owned = {Tag.SCHEDULE: "daily"} | (tags or {})
    plain = Instance("i-0a", state, owned, instance_type=instance_type)
    return replace(plain, **facts)  # type: ignore[arg-type]


def in_the_charge_of(execution: str) -> dict[str, str]:
    return {Tag.CYCLE: Cycle(execution, "running", at("2026-11-22 03:00")).render()}


def hazards_of(
    subject: Instance | None,
    *,
    method: str = "stop",
    accepted: frozenset[str] = frozenset(),
    surroundings: Surroundings = NO_SURROUNDINGS,
) -> tuple[Finding, ...]:
    return find_hazards(
        subject,
        instance_id="i-0a",
        name="web",
        method=method,
        execution=EXECUTION,
        accepted=accepted,
        surroundings=surroundings,
    )


def codes(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.hazard.code for finding in findings]


@dataclass(frozen=True)
class Case:
    """An instance with one hazard, and words that its finding must hold."""

    subject: Instance
    words: str
    surroundings: Surroundings = NO_SURROUNDINGS


def a_volume(kind: str = "gp3", incomplete: int = 0, *, shared: bool = False) -> Surroundings:
    snapshots = tuple(f"snap-{number}" for number in range(incomplete))
    return Surroundings(volumes=(VolumeAround("vol-0a", kind, shared, snapshots),))


def an_event(code: str, description: str = "The host is degraded") -> Surroundings:
    return Surroundings(events=(ScheduledEvent(code, description, at("2026-12-01 10:00")),))


CASES = {
    "gone": Case(instance("terminated"), "does not exist"),
    "in-transition": Case(instance("stopping"), "(it is stopping)"),
    "other-backup": Case(instance(tags=in_the_charge_of("other-one")), "(other-one)"),
    "instance-store-root": Case(instance(root_device_type="instance-store"), "instance store"),
    "snapshots-pending": Case(instance(), "(vol-0a: snap-0)", a_volume("st1", 1)),
    "managed": Case(instance(managed=True), "AWS service"),
    "mac": Case(instance(instance_type="mac2.metal"), "(mac2.metal)"),
    "scheduled-instance": Case(instance(lifecycle="scheduled"), "neither stopped nor rebooted"),
    "spot": Case(instance(lifecycle="spot"), "(EC2 knows no request of it)"),
    "auto-scaling": Case(
        instance(tags=IN_A_GROUP),
        "(group web-asg, InService)",
        Surroundings(membership=Membership("web-asg", "InService")),
    ),
    "stop-protection": Case(instance(), "Stop protection", Surroundings(stop_protected=True)),
    "kms-not-granted": Case(instance(), f"({KEY})", Surroundings(ungranted_keys=(KEY,))),
    "kms-key-unusable": Case(instance(), f"({KEY})", Surroundings(unusable_keys=(KEY,))),
    "capacity-reservation": Case(
        instance(capacity_reservation="cr-0a"),
        "(cr-0a is expired)",
        Surroundings(reservation_state="expired"),
    ),
    "t3-unlimited-on-host": Case(
        instance(instance_type="t3.large", placement=Placement(tenancy="host")),
        "(t3.large)",
        Surroundings(unlimited_credits=True),
    ),
    "hibernation": Case(instance(hibernation=True), "Hibernation"),
    "instance-store": Case(
        instance(instance_type="m5d.large"), "(m5d.large)", Surroundings(instance_store=True)
    ),
    "public-ip": Case(instance(public_ip="203.0.113.7"), "(203.0.113.7)"),
    "spot-persistent": Case(
        instance(lifecycle="spot"), "Spot capacity", Surroundings(spot=OWN_REQUEST)
    ),
    "capacity-block": Case(instance(lifecycle="capacity-block"), "Capacity Block"),
    "interruptible-capacity": Case(
        instance(lifecycle="interruptible-capacity-reservation"), "interruptible"
    ),
    "multi-attach": Case(instance(), "(vol-0a)", a_volume("io2", shared=True)),
    "t2-credits": Case(instance(instance_type="t2.micro"), "(t2.micro)"),
    "host-affinity": Case(
        instance(placement=Placement(tenancy="host", affinity="host", host_id="h-0a")), "(h-0a)"
    ),
    "placement-group": Case(
        instance(placement=Placement(group="hpc")), "(group hpc)", Surroundings(cluster=True)
    ),
    "retirement": Case(
        instance(),
        "(instance-retirement not before 2026-12-01T10:00:00Z)",
        an_event("instance-retirement"),
    ),
}
BY_CODE = {hazard.code: hazard for hazard in HAZARDS}
OF_EVERY_METHOD = [c for c in CASES if BY_CODE[c].concern is Concern.EVERY_METHOD]
OF_A_STOP = [c for c in CASES if BY_CODE[c].concern is not Concern.EVERY_METHOD]


def found_in(code: str, *, method: str = "stop", state: str = "", accepted: str = "") -> list[str]:
    case = CASES[code]
    subject = replace(case.subject, state=state or case.subject.state)
    accepts = frozenset(accepted.split())
    found = hazards_of(subject, method=method, accepted=accepts, surroundings=case.surroundings)
    return codes(found)


def can_be_accepted_by_a_tag(code: str) -> bool:
    policy = parse_policy({Tag.SCHEDULE: "daily", Tag.ACCEPT: code}, DEFAULTS)
    return isinstance(policy, BackupPolicy) and policy.accept == {code}


def test_an_ordinary_running_instance_may_be_stopped() -> None:
    assert hazards_of(instance()) == ()
    assert hazards_of(instance(), surroundings=a_volume()) == ()


def test_every_hazard_is_tried_here() -> None:
    assert list(CASES) == [hazard.code for hazard in HAZARDS]


@pytest.mark.parametrize("code", CASES)
def test_a_hazard_is_found_and_says_what_it_is_and_what_to_do(code: str) -> None:
    case = CASES[code]
    (finding,) = hazards_of(case.subject, surroundings=case.surroundings)
    assert finding.hazard.code == code
    assert case.words in finding.reason
    assert finding.hazard.remedy.endswith(".") or finding.hazard.remedy.endswith(")")
    assert (finding.instance_id, finding.name) == ("i-0a", "web")
    assert finding.state == case.subject.state
    assert finding.refuses == (finding.hazard.rule is not Rule.WARNING)


@pytest.mark.parametrize("method", ["stop", "reboot", "none"])
@pytest.mark.parametrize("code", CASES)
def test_a_hazard_concerns_the_methods_that_the_table_says(code: str, method: str) -> None:
    concerned = {
        Concern.EVERY_METHOD: {"stop", "reboot", "none"},
        Concern.STOP: {"stop"},
        Concern.STOP_OR_REBOOT: {"stop", "reboot"},
    }[BY_CODE[code].concern]
    assert found_in(code, method=method) == ([code] if method in concerned else [])


@pytest.mark.parametrize("method", ["stop", "reboot", "none"])
@pytest.mark.parametrize("code", OF_A_STOP)
def test_a_hazard_of_a_stop_does_not_concern_what_is_stopped_already(
    code: str, method: str
) -> None:
    assert found_in(code, method=method, state="stopped") == []


@pytest.mark.parametrize("code", [c for c in OF_EVERY_METHOD if c not in {"gone", "in-transition"}])
def test_some_hazards_concern_what_is_stopped_already_too(code: str) -> None:
    assert found_in(code, state="stopped") == [code]


@pytest.mark.parametrize("code", CASES)
def test_an_owner_can_accept_what_may_be_accepted_and_nothing_else(code: str) -> None:
    acceptable = BY_CODE[code].rule is Rule.UNLESS_ACCEPTED
    assert found_in(code, accepted=" ".join(BY_CODE)) == ([] if acceptable else [code])
    assert found_in(code, accepted=code) == ([] if acceptable else [code])


@pytest.mark.parametrize("code", CASES)
def test_accepting_the_other_hazards_does_not_accept_this_one(code: str) -> None:
    assert found_in(code, accepted=" ".join(BY_CODE.keys() - {code})) == [code]


def test_a_hazard_that_is_accepted_and_not_there_does_no_harm() -> None:
    assert hazards_of(instance(), accepted=frozenset(BY_CODE) | {"unheard-of"}) == ()


def test_what_tags_can_accept_is_what_preflight_lets_pass() -> None:
    passing = {code for code in BY_CODE if not found_in(code, accepted=code)}
    accepted = {code for code in BY_CODE if can_be_accepted_by_a_tag(code)}
    assert passing == accepted == ACCEPTABLE


def test_codes_are_words_for_a_tag_and_unique() -> None:
    assert len(BY_CODE) == len(HAZARDS)
    assert all(code.replace("-", "").isalnum() and code == code.lower() for code in BY_CODE)


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
    "state", ["InService", "EnteringStandby", "Pending", "Warmed:Running", "Terminating:Wait"]
)
def test_a_group_replaces_its_members_in_every_state_but_standby(state: str) -> None:
    around = Surroundings(membership=Membership("web-asg", state))
    (finding,) = hazards_of(instance(tags=IN_A_GROUP), surroundings=around)
    assert finding.hazard.code == "auto-scaling"
    assert f"(group web-asg, {state})" in finding.reason


def test_a_member_in_standby_is_not_replaced() -> None:
    around = Surroundings(membership=Membership("web-asg", "Standby"))
    assert hazards_of(instance(tags=IN_A_GROUP), surroundings=around) == ()


def test_a_tag_is_enough_for_a_member_that_auto_scaling_does_not_know() -> None:
    (finding,) = hazards_of(instance(tags=IN_A_GROUP))
    assert finding.hazard.code == "auto-scaling"
    assert "(group web-asg)" in finding.reason


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
