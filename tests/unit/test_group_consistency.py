from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillpoint.freeze import FreezeProof, FreezeWindow
from stillpoint.group_consistency import HELD, group_claim
from stillpoint.policy import Method
from stillpoint.recovery_point import Evidence, Snapshot
from stillpoint.tags import portable
from tests.unit.builders import at

STOPPED, CAPTURED = at("2026-11-22 03:00:34.5"), at("2026-11-22 03:00:40")
LAUNCHED, LONG_AGO = at("2026-11-22 03:00:50"), at("2026-11-01 12:00")


def snapshots(*moments: datetime) -> tuple[Snapshot, ...]:
    return tuple(
        Snapshot(f"snap-{number}", f"vol-{number}", "pending", moment)
        for number, moment in enumerate(moments)
    )


STOP = Evidence(
    method=Method.STOP,
    state_before="running",
    capture_from=STOPPED,
    volumes=2,
    snapshots=snapshots(CAPTURED, CAPTURED + timedelta(seconds=2)),
    stop_requested_at=STOPPED - timedelta(seconds=27),
    stopped_at=STOPPED,
    launched_at=LAUNCHED,
)
FREEZE = replace(
    STOP,
    method=Method.FREEZE,
    stop_requested_at=None,
    stopped_at=None,
    launched_at=LONG_AGO,
    freeze=FreezeProof(FreezeWindow(STOPPED, LAUNCHED)),
)
AT_REST_BEFORE = replace(
    STOP,
    state_before="stopped",
    stopped_at=None,
    stop_requested_at=None,
    started_again=False,
    launched_at=LONG_AGO,
)


def test_a_group_that_rested_at_every_snapshot_of_all_of_it_is_of_one_moment() -> None:
    group = {"i-0a": STOP, "i-0b": replace(STOP), "i-0c": FREEZE, "i-0d": AT_REST_BEFORE}
    assert group_claim(group) == HELD


def test_a_member_that_is_still_stopped_rests() -> None:
    still = replace(STOP, started_again=False, launched_at=LONG_AGO)
    assert group_claim({"i-0a": STOP, "i-0b": still}) == HELD


NOT_AT_REST = {
    "stopped after a snapshot of its peer": replace(
        STOP,
        stopped_at=CAPTURED + timedelta(seconds=1),
        snapshots=snapshots(CAPTURED + timedelta(seconds=3), CAPTURED + timedelta(seconds=4)),
    ),
    "started before a snapshot of its peer": replace(
        STOP, launched_at=CAPTURED + timedelta(seconds=1), snapshots=snapshots(CAPTURED, CAPTURED)
    ),
    "frozen too late": replace(
        FREEZE, freeze=FreezeProof(FreezeWindow(CAPTURED + timedelta(seconds=1), LAUNCHED))
    ),
    "thawed too early": replace(
        FREEZE, freeze=FreezeProof(FreezeWindow(STOPPED, CAPTURED + timedelta(seconds=2.5)))
    ),
    "was stopped before and started meanwhile": replace(
        AT_REST_BEFORE, started_again=True, launched_at=CAPTURED + timedelta(seconds=1)
    ),
}
NOT_KNOWN = {
    "rebooted": replace(STOP, method=Method.REBOOT),
    "imaged while it ran": replace(STOP, method=Method.NONE),
    "not seen stopped": replace(STOP, stopped_at=None),
    "started nobody knows when": replace(STOP, launched_at=LONG_AGO),
    "frozen without a proof": replace(FREEZE, freeze=FreezeProof(problem="it never held")),
    "never frozen": replace(FREEZE, freeze=None),
    "made by VSS": replace(FREEZE, freeze=FreezeProof(vss=True)),
    "written to by others": replace(STOP, shared_volumes=("vol-0a",)),
}


@pytest.mark.parametrize("case", NOT_AT_REST)
def test_a_group_is_broken_by_a_member_that_was(case: str) -> None:
    claim = group_claim({"i-0a": STOP, "i-0b": NOT_AT_REST[case]})
    assert claim == "broken: i-0b not at rest at every snapshot of the group"


@pytest.mark.parametrize("case", NOT_KNOWN)
def test_a_group_is_broken_by_a_member_of_which_it_is_not_known_that_was(case: str) -> None:
    claim = group_claim({"i-0a": STOP, "i-0b": NOT_KNOWN[case]})
    assert claim == "broken: when i-0b rested is not known"


@pytest.mark.parametrize("missing", [None, replace(STOP, volumes=3), replace(STOP, volumes=0)])
def test_a_group_without_a_recovery_point_of_every_member_is_broken(
    missing: Evidence | None,
) -> None:
    claim = group_claim({"i-0a": STOP, "i-0b": missing})
    assert claim == "broken: i-0b without a recovery point of this backup"


def test_a_claim_of_a_large_group_names_some_and_counts_the_rest() -> None:
    claim = group_claim({f"i-{number:017x}": None for number in range(40)})
    assert "37 more" in claim
    assert len(claim) <= 256
    assert portable(claim) == claim


SPANS = st.integers(-20, 20).map(lambda quarter: timedelta(seconds=quarter / 4))


@given(st.lists(st.tuples(SPANS, SPANS, SPANS), min_size=1, max_size=4))
def test_held_means_that_all_were_stopped_at_every_snapshot(
    members: list[tuple[timedelta, timedelta, timedelta]],
) -> None:
    group = {
        f"i-{number}": replace(
            STOP,
            volumes=1,
            stopped_at=CAPTURED + stopped,
            launched_at=(CAPTURED + launched).replace(microsecond=0),
            snapshots=snapshots(CAPTURED + moment),
        )
        for number, (stopped, launched, moment) in enumerate(members)
    }
    if group_claim(group) != HELD:
        return
    second = timedelta(seconds=1)  # as exactly as EC2 gives its times
    for stopped, launched, _ in members:
        assert all(stopped - second < moment < launched + second for _, _, moment in members)
