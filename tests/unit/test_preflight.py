"""Which hazards an instance has, and what each of them does to its backup."""

from dataclasses import dataclass, replace

import pytest

from stillpoint.hazards import ACCEPTABLE, HAZARDS, PRE_SCRIPT_FAILED, Concern, Rule
from stillpoint.instance import Instance, Placement
from stillpoint.policy import BackupPolicy, parse_policy
from stillpoint.preflight import Surroundings
from stillpoint.tags import Tag
from tests.unit.builders import DEFAULTS
from tests.unit.hazardous import (
    BY_CODE,
    IN_A_GROUP,
    KEY,
    NO_SURROUNDINGS,
    OWN_REQUEST,
    a_member,
    a_target,
    a_volume,
    an_event,
    codes,
    hazards_of,
    in_the_charge_of,
    instance,
)


@dataclass(frozen=True)
class Case:
    """An instance with one hazard, and words that its finding must hold."""

    subject: Instance
    words: str
    surroundings: Surroundings = NO_SURROUNDINGS


CASES = {
    "gone": Case(instance("terminated"), "does not exist"),
    "in-transition": Case(instance("stopping"), "(it is stopping)"),
    "other-backup": Case(instance(tags=in_the_charge_of("other-one")), "(other-one)"),
    "not-put-back": Case(instance(tags={Tag.UNDO: "standby"}), "(standby)"),
    "instance-store-root": Case(instance(root_device_type="instance-store"), "instance store"),
    "snapshots-pending": Case(instance(), "(vol-0a: snap-0)", a_volume("st1", 1)),
    "managed": Case(instance(managed=True), "AWS service"),
    "mac": Case(instance(instance_type="mac2.metal"), "(mac2.metal)"),
    "scheduled-instance": Case(instance(lifecycle="scheduled"), "neither stopped nor rebooted"),
    "spot": Case(instance(lifecycle="spot"), "(EC2 knows no request of it)"),
    "too-many-targets": Case(
        instance(),
        "(10, and at most 9 can be)",
        Surroundings(targets=tuple(a_target(number) for number in range(10))),
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
    "script-unusable": Case(
        instance(), "(it does not exist)", Surroundings(script_problem="it does not exist")
    ),
    "not-managed": Case(instance(), "(no agent)", Surroundings(not_managed="no agent")),
    "freeze-not-possible": Case(instance(), "(t2.nano)", Surroundings(freeze_problem="t2.nano")),
    "auto-scaling": Case(instance(tags=IN_A_GROUP), "(group web-asg, InService)", a_member()),
    "shutdown-terminates": Case(
        instance(), "shuts it down", Surroundings(shutdown_terminates=True)
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
    "only-target": Case(instance(), "(api, web)", Surroundings(last_target_of=("api", "web"))),
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
# The first is never found without auto-scaling, the other only while the backup is made.
NOT_ALONE = {"standby-not-possible", PRE_SCRIPT_FAILED.code}
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
    assert list(CASES) == [hazard.code for hazard in HAZARDS if hazard.code not in NOT_ALONE]


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
    passing = {code for code in CASES if not found_in(code, accepted=code)}
    accepted = {code for code in BY_CODE if can_be_accepted_by_a_tag(code)}
    assert passing | {PRE_SCRIPT_FAILED.code} == accepted == ACCEPTABLE


def test_codes_are_words_for_a_tag_and_unique() -> None:
    assert len(BY_CODE) == len(HAZARDS)
    assert all(code.replace("-", "").isalnum() and code == code.lower() for code in BY_CODE)
