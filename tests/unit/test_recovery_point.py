from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillpoint.freeze import FreezeProof, FreezeWindow
from stillpoint.policy import Method
from stillpoint.recovery_point import (
    BORN_WITH,
    TAG_LIMIT,
    Assessment,
    Consistency,
    Evidence,
    ScriptOutcome,
    assess,
    creation_tags,
    evidence_tags,
    image_name,
    recall,
)
from stillpoint.tags import Tag, portable
from tests.unit.builders import at
from tests.unit.evidence import (
    GRACE,
    INITIATED,
    LAUNCHED,
    LAUNCHED_BEFORE,
    RUNNING,
    STOPPED,
    a_freeze,
    a_reboot,
    a_stop,
    a_vss_image,
    changed,
    level_of,
    snapshot,
    with_snapshots,
)


def test_a_clean_stop_that_was_captured_at_rest_is_file_system_consistent() -> None:
    assessment = assess(a_stop(), grace=GRACE)
    assert assessment.level is Consistency.FILE_SYSTEM
    for proof in ("stopped in 27 s", "2026-11-22T03:00:34Z", "2026-11-22T03:00:45Z"):
        assert proof in assessment.reason


def test_an_instance_that_is_still_at_rest_was_captured_at_rest() -> None:
    evidence = replace(a_stop(), started_again=False, launched_at=LAUNCHED_BEFORE)
    assessment = assess(evidence, grace=GRACE)
    assert assessment.level is Consistency.FILE_SYSTEM
    assert "not started since" in assessment.reason


def test_a_reboot_that_ec2_finished_in_time_is_file_system_consistent() -> None:
    assessment = assess(a_reboot(), grace=GRACE)
    assert assessment.level is Consistency.FILE_SYSTEM
    assert "EC2 shut it down for the image" in assessment.reason


# Each takes one piece of evidence away, or contradicts it.
AGAINST_A_STOP = {
    "the request to stop is not known": changed(stop_requested_at=None),
    "it was not seen stopped": changed(stopped_at=None),
    "it was seen stopped before it was asked to stop": changed(
        stop_requested_at=STOPPED + timedelta(seconds=1)
    ),
    "the stop took longer than the grace": changed(
        stop_requested_at=STOPPED - GRACE - timedelta(milliseconds=1)
    ),
    "a snapshot was initiated before it was seen stopped": with_snapshots(
        snapshot(1), snapshot(2, after=-10)
    ),
    "it was started before the last snapshot": with_snapshots(snapshot(1), snapshot(2, after=60)),
    "when it was started again is not known": changed(launched_at=None),
    "it was last started before the stop and runs": changed(launched_at=LAUNCHED_BEFORE),
    "it was started and stopped again during the capture": changed(
        started_again=False, launched_at=STOPPED + timedelta(seconds=2)
    ),
    "it was started within the second in which it was seen stopped": changed(
        started_again=False, stopped_at=STOPPED.replace(microsecond=500_000), launched_at=STOPPED
    ),
    "it was stopped and started once more after it was back": changed(
        launched_at=RUNNING + timedelta(minutes=20)
    ),
    "it is at rest and nobody knows since when": changed(started_again=False, launched_at=None),
    "it was stopped before": changed(state_before="stopped"),
    "another instance has a volume attached too": changed(shared_volumes=("vol-0a",)),
    "it was imaged without a stop": changed(method=Method.NONE),
    "a freeze has no proof": changed(method=Method.FREEZE),
}
AGAINST_A_REBOOT = {
    "the last snapshot was initiated after the grace": with_snapshots(
        snapshot(1), snapshot(2, after=600)
    ),
    "somebody stopped it meanwhile": lambda e: replace(e, runs=False),
    "somebody stopped and started it meanwhile": lambda e: replace(e, launched_at=LAUNCHED),
    "it is not known when it was started": lambda e: replace(e, launched_at=None),
    "a snapshot was initiated before the reboot was asked for": with_snapshots(
        snapshot(1), snapshot(2, after=-60)
    ),
    "it was stopped before": changed(state_before="stopped"),
    "another instance has a volume attached too": changed(shared_volumes=("vol-0a",)),
}
NOT_THE_WHOLE = {
    "a volume has no snapshot": with_snapshots(snapshot(1)),
    "no volume has a snapshot": with_snapshots(),
    "one volume has two snapshots and one has none": with_snapshots(snapshot(1), snapshot(1)),
    "a snapshot failed": with_snapshots(snapshot(1), snapshot(2, state="error")),
    "a snapshot is being recovered": with_snapshots(snapshot(1), snapshot(2, state="recovering")),
    "no volume is known": changed(volumes=0, snapshots=()),
    "there are snapshots and no volume is known": changed(volumes=0),
}


@pytest.mark.parametrize("contradiction", AGAINST_A_STOP)
def test_a_stop_is_not_called_consistent_if(contradiction: str) -> None:
    assert level_of(AGAINST_A_STOP[contradiction](a_stop())) is Consistency.CRASH


@pytest.mark.parametrize("contradiction", AGAINST_A_REBOOT)
def test_a_reboot_is_not_called_consistent_if(contradiction: str) -> None:
    assert level_of(AGAINST_A_REBOOT[contradiction](a_reboot())) is Consistency.CRASH


@pytest.mark.parametrize(
    "evidence",
    [a_stop(), a_reboot(), a_freeze(), a_vss_image(), replace(a_stop(), method=Method.NONE)],
)
@pytest.mark.parametrize("contradiction", NOT_THE_WHOLE)
def test_an_image_without_every_volume_is_no_recovery_point(
    contradiction: str, evidence: Evidence
) -> None:
    assert level_of(NOT_THE_WHOLE[contradiction](evidence)) is None


def test_a_stop_may_take_as_long_as_the_grace() -> None:
    evidence = replace(a_stop(), stop_requested_at=STOPPED - GRACE)
    assert level_of(evidence) is Consistency.FILE_SYSTEM


def test_a_volume_that_has_a_good_snapshot_beside_a_failed_one_is_covered() -> None:
    snapshots = (*a_stop().snapshots, snapshot(1, state="error", after=-600))
    assert level_of(replace(a_stop(), snapshots=snapshots)) is Consistency.FILE_SYSTEM


MOMENTS = st.none() | st.integers(-900, 900).map(lambda s: STOPPED + timedelta(seconds=s / 3))
SNAPSHOTS = st.lists(
    st.builds(
        snapshot,
        st.integers(1, 4),
        state=st.sampled_from(["pending", "completed", "error", "recoverable", "recovering"]),
        after=st.integers(-300, 300).map(lambda s: s / 3),
    ),
    max_size=6,
).map(tuple)
EVIDENCE = st.builds(
    Evidence,
    method=st.sampled_from(Method),
    state_before=st.sampled_from(["running", "stopped", ""]),
    capture_from=MOMENTS.map(lambda moment: moment or STOPPED),
    volumes=st.integers(0, 4),
    snapshots=SNAPSHOTS,
    stop_requested_at=MOMENTS,
    stopped_at=MOMENTS,
    started_again=st.booleans(),
    launched_at=MOMENTS.map(lambda moment: moment and moment.replace(microsecond=0)),
    running_at=MOMENTS,
    shared_volumes=st.lists(st.from_regex(r"vol-[0-9a-f]{17}", fullmatch=True), max_size=128).map(
        tuple
    ),
    freeze=st.none()
    | st.just(FreezeProof(problem="its freeze never held: it was called off"))
    | st.builds(
        lambda begin, span: FreezeProof(FreezeWindow(begin, begin + timedelta(seconds=span))),
        MOMENTS.map(lambda moment: moment or STOPPED),
        st.integers(1, 900),
    ),
    scripts=st.builds(
        ScriptOutcome,
        st.sampled_from(["none", "succeeded", "failed"]),
        st.sampled_from(["none", "succeeded", "failed"]),
        st.sampled_from([None, 0, 202, 203]),
    ),
)
PERHAPS_GOOD = st.builds(
    replace,
    st.sampled_from([a_stop(), a_reboot(), a_freeze()]),
    stop_requested_at=MOMENTS,
    stopped_at=MOMENTS,
    launched_at=MOMENTS,
    running_at=MOMENTS,
    started_again=st.booleans(),
)


@given(EVIDENCE | PERHAPS_GOOD)
def test_whatever_is_claimed_is_proven(evidence: Evidence) -> None:
    level = level_of(evidence)
    if level is Consistency.APPLICATION:
        assert evidence.scripts.pre == "succeeded"
        assert evidence.scripts.post_exit != 203
    elif level is not Consistency.FILE_SYSTEM:
        return
    good = [one for one in evidence.snapshots if one.state in {"pending", "completed"}]
    first, last = min(s.started_at for s in good), max(s.started_at for s in good)
    assert len({one.volume_id for one in good}) >= evidence.volumes > 0
    assert evidence.state_before != "stopped"
    assert not evidence.shared_volumes
    if evidence.method is Method.REBOOT:
        assert timedelta(seconds=-1) < first - evidence.capture_from
        assert last - evidence.capture_from <= GRACE
        return
    if evidence.method is Method.FREEZE:
        assert evidence.freeze is not None
        assert evidence.freeze.window is not None
        assert evidence.freeze.window.begin <= first <= last < evidence.freeze.window.end
        return
    assert evidence.method is Method.STOP
    requested, stopped, launched = (
        evidence.stop_requested_at,
        evidence.stopped_at,
        evidence.launched_at,
    )
    assert requested is not None
    assert stopped is not None
    assert launched is not None
    assert timedelta(0) <= stopped - requested <= GRACE
    second = timedelta(seconds=1)  # as exactly as EC2 gives its times
    assert first > stopped - second
    assert evidence.running_at is None or launched <= evidence.running_at
    assert launched > last - second or (launched < stopped and not evidence.started_again)


@given(EVIDENCE | PERHAPS_GOOD)
def test_every_reason_fits_a_tag_as_it_is(evidence: Evidence) -> None:
    reason = assess(evidence, grace=GRACE).reason
    assert 0 < len(reason) <= 256
    assert portable(reason) == reason


def test_the_reason_names_the_volumes_that_are_shared_as_far_as_there_is_room() -> None:
    few = replace(a_stop(), shared_volumes=("vol-0a", "vol-0b"))
    assert "vol-0a and vol-0b" in assess(few, grace=GRACE).reason
    many = replace(a_stop(), shared_volumes=tuple(f"vol-{n:017x}" for n in range(128)))
    assert "125 more" in assess(many, grace=GRACE).reason


CONSISTENT = Assessment(Consistency.FILE_SYSTEM, "stopped in 27 s")


def tags_of(
    assessment: Assessment = CONSISTENT,
    *,
    group: str | None = None,
    group_consistency: str = "",
    owner: Mapping[str, str] | None = None,
) -> dict[str, str]:
    return evidence_tags(
        assessment,
        schedule="cron(0 3 ? * MON *) Asia/Seoul",
        method=Method.STOP,
        retain="7d 4w",
        time_zone="Asia/Seoul",
        copy_to=(),
        group=group,
        stopped_at=STOPPED,
        captured_at=INITIATED,
        resumed_at=None,
        owner_tags=owner or {},
        group_consistency=group_consistency,
    )


def test_a_recovery_point_says_what_it_is_worth_and_why() -> None:
    assert tags_of(group="erp", group_consistency="held") == {
        "stillpoint:schedule": "cron_0 3 _ _ MON __ Asia/Seoul",
        "stillpoint:method": "stop",
        "stillpoint:retain": "7d 4w",
        "stillpoint:time-zone": "Asia/Seoul",
        "stillpoint:group": "erp",
        "stillpoint:group-consistency": "held",
        "stillpoint:consistency": "file-system",
        "stillpoint:evidence": "stopped in 27 s",
        "stillpoint:stopped-at": "2026-11-22T03:00:34Z",
        "stillpoint:captured-at": "2026-11-22T03:00:38Z",
    }


def test_an_image_that_is_no_recovery_point_claims_no_level() -> None:
    assert Tag.CONSISTENCY not in tags_of(Assessment(None, "1 of 2 volumes have a snapshot"))


@given(st.dictionaries(st.text(min_size=1, max_size=128), st.text(max_size=256), max_size=70))
def test_the_owners_tags_are_copied_as_far_as_there_is_room(owner: dict[str, str]) -> None:
    owner |= {"Name": "web", "aws:cloudformation:stack-name": "x", Tag.CYCLE: "x"}
    written = tags_of(owner=owner)
    assert len(written) + BORN_WITH <= TAG_LIMIT
    assert written["Name"] == "web"
    assert not any(key.startswith("aws:") for key in written)
    assert Tag.CYCLE not in written
    for key, value in written.items():
        assert portable(value) == value if key.startswith("stillpoint:") else value == owner[key]


def test_an_image_is_born_with_its_ownership_and_no_claim() -> None:
    born = creation_tags(
        stack="stillpoint",
        instance_id="i-0a",
        execution="i-0a-20261122T030000Z",
        occurrence=at("2026-11-22 03:00"),
    )
    assert born == {
        "stillpoint:stack": "stillpoint",
        "stillpoint:instance": "i-0a",
        "stillpoint:execution": "i-0a-20261122T030000Z",
        "stillpoint:occurrence": "2026-11-22T03:00:00Z",
    }
    assert len(born) == BORN_WITH


def test_the_same_occurrence_has_the_same_image_name() -> None:
    name = image_name("i-0a1b2c3d4e5f60001", at("2026-11-22 03:00"))
    assert name == "stillpoint-i-0a1b2c3d4e5f60001-20261122T030000Z"


@given(EVIDENCE | PERHAPS_GOOD)
def test_an_assessment_is_read_back_as_it_was_written(evidence: Evidence) -> None:
    assessment = assess(evidence, grace=GRACE)
    assert recall(tags_of(assessment)) == assessment


@pytest.mark.parametrize(
    "tags", [{}, {Tag.CONSISTENCY: "certain"}, {Tag.EVIDENCE: "stopped in 27 s"}]
)
def test_tags_that_claim_no_known_level_are_no_claim(tags: dict[str, str]) -> None:
    assert recall(tags).level is None
    assert recall(tags).reason
