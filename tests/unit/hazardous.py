"""Instances with hazards and what is around them, for the tests of the preflight."""

from dataclasses import replace

from stillpoint.hazards import HAZARDS
from stillpoint.instance import Instance
from stillpoint.preflight import (
    Finding,
    ScheduledEvent,
    SpotRequest,
    Surroundings,
    VolumeAround,
    find_hazards,
)
from stillpoint.standby import Membership, Sizes
from stillpoint.tags import Cycle, Tag
from stillpoint.targets import FoundTarget
from tests.unit.builders import at

EXECUTION = "i-0a-20261122T030000Z"
NOW = at("2026-11-22 03:00:30")
NO_SURROUNDINGS = Surroundings()
KEY = "arn:aws:kms:eu-west-1:111122223333:key/k"
IN_A_GROUP = {"aws:autoscaling:groupName": "web-asg"}
OWN_REQUEST = SpotRequest(persistent=True, state="active")
ROOMY = Sizes(min_size=1, max_size=4, desired=2)
FULL = Sizes(min_size=2, max_size=2, desired=2)
BY_CODE = {hazard.code: hazard for hazard in HAZARDS}


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


def a_volume(kind: str = "gp3", incomplete: int = 0, *, shared: bool = False) -> Surroundings:
    snapshots = tuple(f"snap-{number}" for number in range(incomplete))
    return Surroundings(volumes=(VolumeAround("vol-0a", kind, shared, snapshots),))


def a_member(state: str = "InService", sizes: Sizes | None = ROOMY) -> Surroundings:
    return Surroundings(membership=Membership("web-asg", state, sizes))


def a_target(number: int = 1, state: str = "healthy", port: int | None = None) -> FoundTarget:
    group = f"73e2d6bc24d8a{number:03}"
    return FoundTarget(f"arn:aws:x:targetgroup/web/{group}", group, "web", port, state)


def an_event(code: str, description: str = "The host is degraded") -> Surroundings:
    return Surroundings(events=(ScheduledEvent(code, description, at("2026-12-01 10:00")),))
