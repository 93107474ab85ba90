"""What holds of the hazards of any instance whatsoever."""

from hypothesis import given
from hypothesis import strategies as st

from stillpoint.hazards import ACCEPTABLE, HAZARDS, Rule
from stillpoint.instance import Instance, Placement
from stillpoint.isolation import MOST_TARGETS, Undo
from stillpoint.preflight import (
    Finding,
    ScheduledEvent,
    SpotRequest,
    Surroundings,
    VolumeAround,
    find_hazards,
    too_recent,
    undo_for,
)
from stillpoint.standby import Membership, Sizes
from stillpoint.tags import Tag
from stillpoint.targets import FoundTarget
from tests.unit.builders import at

NOW = at("2026-11-22 03:00:30")
CODES = [hazard.code for hazard in HAZARDS]
METHODS = ["stop", "reboot", "none", "freeze"]
texts = st.text(max_size=20)
some_texts = st.lists(texts, max_size=2).map(tuple)
moments = st.none() | st.sampled_from([NOW, at("2026-11-22 03:00:20"), at("2026-11-01 03:00")])
keys = st.sampled_from(
    [
        *(Tag.SCHEDULE, Tag.CYCLE, "aws:autoscaling:groupName"),
        *("aws:ec2:fleet-id", "aws:ec2spot:fleet-request-id", "Name"),
    ]
)
instances = st.builds(
    Instance,
    instance_id=st.just("i-0a"),
    state=st.sampled_from(["running", "stopped", "pending", "stopping", "terminated", "odd"]),
    tags=st.dictionaries(keys, texts, max_size=4),
    instance_type=st.sampled_from(["", "m5.large", "t2.micro", "t3.large", "mac2.metal", "x"]),
    root_device_type=st.sampled_from(["ebs", "instance-store"]),
    lifecycle=st.sampled_from(
        [None, "spot", "scheduled", "capacity-block", "interruptible-capacity-reservation", "new"]
    ),
    managed=st.booleans(),
    public_ip=st.none() | st.just("203.0.113.7"),
    gets_new_public_ip=st.booleans(),
    hibernation=st.booleans(),
    capacity_reservation=st.none() | texts,
    placement=st.builds(
        Placement,
        tenancy=st.sampled_from(["default", "host"]),
        affinity=st.sampled_from(["", "default", "host"]),
        host_id=texts,
        group=texts,
    ),
)
found_targets = st.builds(
    FoundTarget,
    arn=texts,
    group=st.from_regex(r"[0-9a-f]{16}", fullmatch=True) | texts,
    name=texts,
    port=st.none() | st.integers(1, 65535),
    state=st.sampled_from(["healthy", "unhealthy", "initial", "unused", "draining", "new"]),
)
surroundings = st.builds(
    Surroundings,
    stop_protected=st.booleans(),
    instance_store=st.booleans(),
    ungranted_keys=some_texts,
    unusable_keys=some_texts,
    spot=st.none()
    | st.builds(
        SpotRequest,
        persistent=st.booleans(),
        state=st.sampled_from(["active", "cancelled", "disabled"]),
        group=st.sampled_from(["", "the launch group g"]),
    ),
    membership=st.none()
    | st.builds(
        Membership,
        group=texts,
        state=st.sampled_from(["InService", "Standby", ""]),
        sizes=st.none() | st.builds(Sizes, st.integers(), st.integers(), st.integers()),
        together=st.integers(1, 40),
    ),
    targets=st.lists(found_targets, max_size=12).map(tuple),
    last_target_of=some_texts,
    shutdown_terminates=st.booleans(),
    script_problem=texts,
    not_managed=texts,
    freeze_problem=texts,
    reservation_state=st.sampled_from(["active", "expired", ""]),
    unlimited_credits=st.booleans(),
    cluster=st.booleans(),
    events=st.lists(
        st.builds(ScheduledEvent, code=texts, description=texts, not_before=moments), max_size=2
    ).map(tuple),
    volumes=st.lists(
        st.builds(
            VolumeAround,
            volume_id=texts,
            volume_type=st.sampled_from(["", "gp3", "st1"]),
            shared=st.booleans(),
            incomplete_snapshots=st.lists(texts, max_size=6).map(tuple),
            last_snapshot_at=moments,
        ),
        max_size=3,
    ).map(tuple),
)
methods = st.sampled_from(METHODS)
acceptances = st.frozensets(st.sampled_from([*CODES, "unheard-of"]))


def found(
    subject: Instance, around: Surroundings, method: str, accepted: frozenset[str]
) -> tuple[Finding, ...]:
    return find_hazards(
        subject,
        instance_id="i-0a",
        name="web",
        method=method,
        execution="e-1",
        accepted=accepted,
        surroundings=around,
    )


@given(instances, surroundings, methods, acceptances)
def test_whatever_an_instance_is_like_it_is_judged(
    subject: Instance, around: Surroundings, method: str, accepted: frozenset[str]
) -> None:
    findings = found(subject, around, method, accepted)
    places = [HAZARDS.index(finding.hazard) for finding in findings]
    assert places == sorted(set(places))
    assert all(finding.reason for finding in findings)
    volumes = {volume.volume_id for volume in around.volumes}
    assert set(too_recent(subject, method, around, NOW)) <= volumes


@given(instances, surroundings, methods, acceptances, st.sampled_from(CODES))
def test_accepting_one_more_hazard_takes_away_that_one_and_adds_none(
    subject: Instance, around: Surroundings, method: str, accepted: frozenset[str], code: str
) -> None:
    before = found(subject, around, method, accepted)
    after = found(subject, around, method, accepted | {code})
    gone = {finding.hazard.code for finding in before} - {f.hazard.code for f in after}
    assert set(after) <= set(before)
    assert gone <= {code} & ACCEPTABLE


@given(instances, surroundings, methods)
def test_whoever_accepts_everything_is_left_with_what_can_never_be(
    subject: Instance, around: Surroundings, method: str
) -> None:
    everything = found(subject, around, method, frozenset())
    left = found(subject, around, method, frozenset(CODES))
    assert left == tuple(f for f in everything if f.hazard.rule is not Rule.UNLESS_ACCEPTED)


@given(instances, surroundings, methods, acceptances)
def test_a_stop_has_all_the_hazards_that_another_method_has(
    subject: Instance, around: Surroundings, method: str, accepted: frozenset[str]
) -> None:
    assert set(found(subject, around, method, accepted)) <= set(
        found(subject, around, "stop", accepted)
    )


@given(instances, surroundings, methods, acceptances, st.booleans())
def test_whatever_passes_can_be_written_down_and_undone(
    subject: Instance, around: Surroundings, method: str, accepted: frozenset[str], scripts: bool
) -> None:
    refused = any(finding.refuses for finding in found(subject, around, method, accepted))
    undo = undo_for(
        subject,
        method=method,
        accepted=accepted,
        surroundings=around,
        scripts=scripts,
        mute=not scripts,
    )
    if refused or not undo:
        return
    assert len(undo.render()) <= 256
    assert len(undo.targets) <= MOST_TARGETS
    assert Undo.parse(undo.render()) == undo


@given(instances, surroundings, acceptances)
def test_no_member_is_stopped_that_its_group_would_replace(
    subject: Instance, around: Surroundings, accepted: frozenset[str]
) -> None:
    if any(finding.refuses for finding in found(subject, around, "stop", accepted)):
        return
    member = around.membership
    looked_after = member.state != "Standby" if member else subject.auto_scaling_group is not None
    undo = undo_for(
        subject,
        method="stop",
        accepted=accepted,
        surroundings=around,
        scripts=False,
        mute=False,
    )
    assert undo.standby == (subject.state == "running" and looked_after)
