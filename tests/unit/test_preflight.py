from dataclasses import replace

import pytest

from stillpoint.instance import Instance
from stillpoint.policy import ACCEPTABLE_HAZARDS
from stillpoint.preflight import HAZARDS, Finding, Rule, Surroundings, find_hazards
from stillpoint.tags import Cycle, Tag
from tests.unit.builders import at

EXECUTION = "i-0a-20261122T030000Z"
NO_SURROUNDINGS = Surroundings()


def instance(
    state: str = "running",
    *,
    tags: dict[str, str] | None = None,
    instance_type: str = "m5.large",
    root_device_type: str = "ebs",
    lifecycle: str | None = None,
    managed: bool = False,
    public_ip: str | None = None,
) -> Instance:
    return Instance(
        "i-0a",
        state,
        {Tag.SCHEDULE: "daily"} | (tags or {}),
        instance_type=instance_type,
        root_device_type=root_device_type,
        lifecycle=lifecycle,
        managed=managed,
        public_ip=public_ip,
    )


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


# What speaks against a stop, and the words that its finding must hold.
AGAINST_A_STOP = {
    "managed": (instance(managed=True), NO_SURROUNDINGS, "AWS service"),
    "mac": (instance(instance_type="mac2.metal"), NO_SURROUNDINGS, "(mac2.metal)"),
    "spot": (instance(lifecycle="spot"), NO_SURROUNDINGS, "Spot"),
    "auto-scaling": (
        instance(tags={"aws:autoscaling:groupName": "web-asg"}),
        NO_SURROUNDINGS,
        "(group web-asg)",
    ),
    "stop-protection": (instance(), Surroundings(stop_protected=True), "Stop protection"),
    "kms-not-granted": (
        instance(),
        Surroundings(ungranted_keys=("arn:aws:kms:eu-west-1:111122223333:key/k",)),
        "(arn:aws:kms:eu-west-1:111122223333:key/k)",
    ),
    "kms-key-unusable": (
        instance(),
        Surroundings(unusable_keys=("arn:aws:kms:eu-west-1:111122223333:key/k",)),
        "(arn:aws:kms:eu-west-1:111122223333:key/k)",
    ),
    "instance-store": (
        instance(instance_type="m5d.large"),
        Surroundings(instance_store=True),
        "(m5d.large)",
    ),
    "public-ip": (instance(public_ip="203.0.113.7"), NO_SURROUNDINGS, "(203.0.113.7)"),
}
AGAINST_ANY_METHOD = {
    "gone": (instance("terminated"), "does not exist"),
    "in-transition": (instance("stopping"), "(it is stopping)"),
    "other-backup": (instance(tags=in_the_charge_of("other-one")), "(other-one)"),
    "instance-store-root": (instance(root_device_type="instance-store"), "instance store"),
}


def test_an_ordinary_running_instance_may_be_stopped() -> None:
    assert hazards_of(instance()) == ()


def test_every_hazard_is_tried_here() -> None:
    assert AGAINST_A_STOP.keys() | AGAINST_ANY_METHOD.keys() == {h.code for h in HAZARDS}


@pytest.mark.parametrize("code", AGAINST_A_STOP)
def test_a_hazard_of_stopping_refuses_a_stop_and_says_what_it_is(code: str) -> None:
    subject, surroundings, words = AGAINST_A_STOP[code]
    (finding,) = hazards_of(subject, surroundings=surroundings)
    assert finding.hazard.code == code
    assert words in finding.reason
    assert finding.hazard.remedy
    assert (finding.instance_id, finding.name, finding.state) == ("i-0a", "web", "running")


@pytest.mark.parametrize("method", ["reboot", "none"])
@pytest.mark.parametrize("code", AGAINST_A_STOP)
def test_a_hazard_of_stopping_does_not_concern_the_other_methods(code: str, method: str) -> None:
    subject, surroundings, _ = AGAINST_A_STOP[code]
    assert hazards_of(subject, method=method, surroundings=surroundings) == ()


@pytest.mark.parametrize("code", AGAINST_A_STOP)
def test_a_hazard_of_stopping_does_not_concern_one_that_is_stopped_already(code: str) -> None:
    subject, surroundings, _ = AGAINST_A_STOP[code]
    stopped = replace(subject, state="stopped")
    assert hazards_of(stopped, surroundings=surroundings) == ()


@pytest.mark.parametrize("method", ["stop", "reboot", "none"])
@pytest.mark.parametrize("code", AGAINST_ANY_METHOD)
def test_some_hazards_refuse_every_method(code: str, method: str) -> None:
    subject, words = AGAINST_ANY_METHOD[code]
    (finding,) = hazards_of(subject, method=method)
    assert finding.hazard.code == code
    assert words in finding.reason


@pytest.mark.parametrize("code", AGAINST_A_STOP)
def test_an_owner_can_accept_what_may_be_accepted_and_nothing_else(code: str) -> None:
    subject, surroundings, _ = AGAINST_A_STOP[code]
    every_code = frozenset(hazard.code for hazard in HAZARDS)
    found = hazards_of(subject, accepted=every_code, surroundings=surroundings)
    assert codes(found) == ([] if code in ACCEPTABLE_HAZARDS else [code])


def test_what_tags_can_accept_is_what_preflight_lets_pass() -> None:
    passing = {hazard.code for hazard in HAZARDS if hazard.rule is Rule.UNLESS_ACCEPTED}
    assert passing == ACCEPTABLE_HAZARDS


def test_accepting_one_hazard_does_not_accept_another() -> None:
    subject = instance(instance_type="m5d.large", public_ip="203.0.113.7")
    around = Surroundings(instance_store=True)
    found = hazards_of(subject, accepted=frozenset({"public-ip"}), surroundings=around)
    assert codes(found) == ["instance-store"]


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


def test_everything_that_is_found_is_reported_at_once() -> None:
    subject = instance(lifecycle="spot", public_ip="203.0.113.7", tags=in_the_charge_of("other"))
    found = hazards_of(subject, surroundings=Surroundings(stop_protected=True))
    assert codes(found) == ["other-backup", "spot", "stop-protection", "public-ip"]
