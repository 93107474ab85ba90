"""What a freeze proves, and what scripts add to any method."""

from dataclasses import replace

import pytest

from stillpoint.freeze import FreezeProof
from stillpoint.policy import Method
from stillpoint.recovery_point import Consistency, Evidence, ScriptOutcome, assess
from tests.unit.evidence import (
    GRACE,
    a_freeze,
    a_reboot,
    a_stop,
    a_vss_image,
    changed,
    level_of,
    snapshot,
    with_snapshots,
)


def test_a_freeze_that_held_over_every_snapshot_is_file_system_consistent() -> None:
    assessment = assess(a_freeze(), grace=GRACE)
    assert assessment.level is Consistency.FILE_SYSTEM
    assert "frozen for 22 s at least from 2026-11-22T03:00:30Z" in assessment.reason


def test_an_image_that_vss_made_consistent_is_application_consistent() -> None:
    assessment = assess(a_vss_image(), grace=GRACE)
    assert assessment.level is Consistency.APPLICATION
    assert "AppConsistent=True" in assessment.reason


@pytest.mark.parametrize("evidence", [a_stop(), a_reboot(), a_freeze()])
def test_a_pre_script_that_succeeded_makes_it_application_consistent(evidence: Evidence) -> None:
    for post, code in (("none", None), ("succeeded", 0), ("failed", 202)):
        scripts = ScriptOutcome("succeeded", post, code)
        assessment = assess(replace(evidence, scripts=scripts), grace=GRACE)
        assert assessment.level is Consistency.APPLICATION
        assert assessment.reason.endswith("and its pre-script succeeded")


@pytest.mark.parametrize(
    ("scripts", "doubt"),
    [
        (ScriptOutcome("none", "succeeded", 0), "every snapshot"),
        (ScriptOutcome("failed"), "every snapshot"),
        (ScriptOutcome("succeeded", "failed", 203), "had gone on before the post-script"),
        (ScriptOutcome("succeeded", "failed"), "whether its pre-script held is not known"),
    ],
)
@pytest.mark.parametrize("evidence", [a_stop(), a_reboot(), a_freeze()])
def test_scripts_that_prove_nothing_change_no_level(
    evidence: Evidence, scripts: ScriptOutcome, doubt: str
) -> None:
    assessment = assess(replace(evidence, scripts=scripts), grace=GRACE)
    assert assessment.level is Consistency.FILE_SYSTEM
    assert doubt in assessment.reason


def test_a_pre_script_does_not_mend_what_was_imaged_while_it_wrote() -> None:
    evidence = replace(a_stop(), method=Method.NONE, scripts=ScriptOutcome("succeeded"))
    assert level_of(evidence) is Consistency.CRASH


AGAINST_A_FREEZE = {
    "nothing is known of it": (changed(freeze=None), "there is no proof that a freeze held"),
    "it did not hold": (
        changed(freeze=FreezeProof(problem="the guest had to thaw itself after 60 s")),
        "the guest had to thaw itself after 60 s",
    ),
    "a snapshot was initiated before it": (
        with_snapshots(snapshot(1), snapshot(2, after=-11.25)),
        "a snapshot was initiated 3 s before it was certainly frozen",
    ),
    "a snapshot was initiated after it": (
        with_snapshots(snapshot(1), snapshot(2, after=20)),
        "a snapshot was initiated 6 s after it was last certainly frozen",
    ),
    "a snapshot was initiated within its last second": (
        with_snapshots(snapshot(1), snapshot(2, after=14)),
        "a snapshot was initiated 0 s before it was last certainly frozen",
    ),
    "VSS did not succeed": (
        changed(freeze=FreezeProof(vss=True, problem="the VSS document of AWS failed")),
        "the VSS document of AWS failed",
    ),
    "VSS did not reach every volume": (
        lambda _: replace(a_vss_image(), snapshots=(*a_vss_image().snapshots, snapshot(3))),
        "says AppConsistent=True of 2 of 3 snapshots",
    ),
    "VSS fell back": (
        lambda _: a_vss_image("False"),
        "says AppConsistent=True of 0 of 2 snapshots",
    ),
    "it was stopped before": (changed(state_before="stopped"), "it was stopped before"),
    "another instance has a volume attached too": (
        changed(shared_volumes=("vol-0a",)),
        "other instances have vol-0a attached too",
    ),
}


@pytest.mark.parametrize("contradiction", AGAINST_A_FREEZE)
def test_a_freeze_is_not_called_consistent_if(contradiction: str) -> None:
    contradict, reason = AGAINST_A_FREEZE[contradiction]
    assessment = assess(contradict(a_freeze()), grace=GRACE)
    assert assessment.level is Consistency.CRASH
    assert reason in assessment.reason
