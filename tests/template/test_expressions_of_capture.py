"""The expressions of Capture are right: above all, when it is safe to start."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.expressions import render
from tests.template.evaluation import (
    CONTEXT,
    SIZES,
    STATES,
    ago,
    chosen,
    member,
    stamp,
    value,
)


@pytest.mark.parametrize(
    ("method", "state_before", "no_reboot"),
    [
        ("stop", "running", True),
        ("stop", "stopped", True),
        ("none", "running", True),
        ("reboot", "stopped", True),
        ("reboot", "running", False),
    ],
)
def test_only_a_running_member_whose_method_is_reboot_is_rebooted(
    method: str, state_before: str, no_reboot: bool
) -> None:
    asked = STATES["CreateImage"]["Arguments"]["NoReboot"]
    assert value(asked, input=member("i-0a", method, state_before)) is no_reboot


@SIZES
def test_the_volumes_at_rest_are_those_of_the_instance(ids: list[str]) -> None:
    volumes = [f"vol-{i}" for i in ids]
    mappings = [{"DeviceName": f"/dev/{v}", "Ebs": {"VolumeId": v}} for v in volumes]
    result = {"Reservations": [{"Instances": [{"BlockDeviceMappings": mappings}]}]}
    assert value(STATES["ReadVolumes"]["Assign"]["volumes"], result=result) == volumes


def test_an_instance_without_volumes_or_without_a_trace_has_no_volumes() -> None:
    expression = STATES["ReadVolumes"]["Assign"]["volumes"]
    assert value(expression, result={"Reservations": []}) == []
    assert value(expression, result={"Reservations": [{"Instances": [{}]}]}) == []


REST = datetime(2026, 11, 22, 3, 0, 20, 400_000, UTC)
VOLUMES = [f"vol-{n}" for n in range(5)]
snapshots = st.lists(
    st.fixed_dictionaries(
        {
            "SnapshotId": st.sampled_from(["snap-1", "snap-2", "snap-3"]),
            "VolumeId": st.sampled_from([*VOLUMES, "vol-other"]),
            "State": st.sampled_from(
                ["pending", "completed", "error", "recoverable", "recovering"]
            ),
            "StartTime": st.integers(-3000, 3000).map(
                lambda offset: stamp(REST + timedelta(milliseconds=offset))
            ),
        }
    ),
    max_size=8,
)


def missing(volumes: list[str], found: list[dict[str, str]], at_rest: dict[str, str]) -> list[str]:
    """The volumes of i-0a that the state machine finds without a snapshot."""
    missed: list[str] = value(
        STATES["DescribeSnapshots"]["Assign"]["missing"],
        {"volumes": volumes, "stopped_at": at_rest},
        input=member("i-0a"),
        result={"Snapshots": found},
    )
    return missed


@given(st.lists(st.sampled_from(VOLUMES), unique=True), snapshots, st.booleans())
def test_safe_to_start_means_a_snapshot_of_every_volume_initiated_at_rest(
    volumes: list[str], found: list[dict[str, str]], was_stopped: bool
) -> None:
    # EC2 may cut a snapshot's start to the second, so the moment of rest is cut as well.
    at_rest = REST.replace(microsecond=0)
    expected = []
    for volume in volumes:
        proven = False
        for each in found:
            if each["VolumeId"] == volume and each["State"] in {"pending", "completed"}:
                begun = datetime.fromisoformat(each["StartTime"])
                proven = proven or not was_stopped or begun >= at_rest
        if not proven:
            expected.append(volume)
    seen = {"i-0b": stamp(REST + timedelta(hours=1))}
    if was_stopped:
        seen["i-0a"] = stamp(REST)
    assert missing(volumes, found, seen) == expected


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("2026-11-22T03:00:19.999Z", ["vol-1"]),
        ("2026-11-22T03:00:20Z", []),
        ("2026-11-22T03:00:20.000Z", []),
        ("2026-11-22T03:00:21.000Z", []),
    ],
)
def test_a_snapshot_counts_from_the_second_in_which_the_instance_was_seen_stopped(
    start: str, expected: list[str]
) -> None:
    row = {"SnapshotId": "snap-1", "VolumeId": "vol-1", "State": "pending", "StartTime": start}
    assert missing(["vol-1"], [row], {"i-0a": stamp(REST)}) == expected


@SIZES
def test_snapshots_in_error_are_told_apart(ids: list[str]) -> None:
    rows = [{"SnapshotId": i, "State": "error"} for i in ids]
    result = {"Snapshots": [*rows, {"SnapshotId": "snap-9", "State": "pending"}]}
    assert value(STATES["DescribeSnapshots"]["Assign"]["broken"], result=result) == ids


@pytest.mark.parametrize(
    ("volumes", "lacking", "broken", "minutes", "leads_to"),
    [
        (["vol-1"], [], [], 0, "Captured"),
        (["vol-1", "vol-2"], [], [], 11, "Captured"),
        (["vol-1", "vol-2"], ["vol-2"], [], 0, "WaitForSnapshots"),
        (["vol-1", "vol-2"], ["vol-2"], [], 11, "CaptureFailed"),
        (["vol-1"], [], ["snap-1"], 0, "CaptureFailed"),
        ([], [], [], 0, "WaitForSnapshots"),
        ([], [], [], 11, "CaptureFailed"),
    ],
)
def test_captured_is_only_what_is_complete(
    volumes: list[str], lacking: list[str], broken: list[str], minutes: int, leads_to: str
) -> None:
    variables = {
        "volumes": volumes,
        "missing": lacking,
        "broken": broken,
        "image_id": "ami-1",
        "looks": 1,
        "capture_from": ago(minutes=minutes),
    }
    assert chosen("SafeToStart?", variables) == leads_to
    ends = [rule for rule in STATES["SafeToStart?"]["Choices"] if "Output" in rule]
    assert len(ends) == 3
    for rule in ends:
        outcome = render(rule["Output"], variables, {"context": CONTEXT, "input": member("i-0a")})
        assert outcome["instance_id"] == "i-0a"
        assert outcome["image_id"] == "ami-1"


@pytest.mark.parametrize("looks", range(1, 30))
def test_an_image_that_failed_is_noticed_while_snapshots_are_missing(looks: int) -> None:
    asked = looks % 4 == 0 or looks >= 20
    variables = {
        "volumes": ["vol-1"],
        "missing": ["vol-1"],
        "broken": [],
        "looks": looks,
        "capture_from": ago(minutes=1),
    }
    leads_to = "DescribeImage" if asked else "WaitForSnapshots"
    assert chosen("SafeToStart?", variables) == leads_to


@pytest.mark.parametrize(
    ("images", "image_id"), [([], ""), ([{"ImageId": "ami-1"}], "ami-1")], ids=["none", "one"]
)
def test_an_image_of_our_name_is_adopted(images: list[dict[str, str]], image_id: str) -> None:
    found = value(STATES["FindImage"]["Assign"]["image_id"], result={"Images": images})
    assert found == image_id
    variables = {"image_id": found, "capture_from": ago()}
    assert chosen("ImageFound?", variables) == ("ReadVolumes" if images else "WaitToCreateImage")
    late = {"image_id": found, "capture_from": ago(minutes=4)}
    assert chosen("ImageFound?", late) == ("ReadVolumes" if images else "CaptureFailed")


@pytest.mark.parametrize(
    ("images", "leads_to"),
    [
        ([], "WaitForSnapshots"),
        ([{"State": "pending"}], "WaitForSnapshots"),
        ([{"State": "available"}], "WaitForSnapshots"),
        ([{"State": "failed"}], "CaptureFailed"),
        ([{"State": "failed", "StateReason": {"Message": "no"}}], "CaptureFailed"),
        ([{"State": "invalid"}], "CaptureFailed"),
    ],
)
def test_a_failed_image_is_not_waited_for(images: list[dict[str, Any]], leads_to: str) -> None:
    assign = STATES["DescribeImage"]["Assign"]
    variables = {name: value(text, result={"Images": images}) for name, text in assign.items()}
    assert chosen("ImageFailed?", variables) == leads_to
    (failed,) = STATES["ImageFailed?"]["Choices"]
    cause = value(failed["Output"]["cause"], variables)
    assert cause.endswith(": no" if variables["image_reason"] else ".")


@SIZES
def test_a_capture_that_failed_becomes_a_failure_of_its_instance(ids: list[str]) -> None:
    assign = STATES["CaptureMembers"]["Assign"]
    outcomes = [
        {"instance_id": "i-9a", "image_id": "ami-9", "volumes": 1, "captured_at": ago()},
        *({"instance_id": i, "error": "ImageFailed", "cause": "no"} for i in ids),
    ]
    failures = value(assign["failures"], {"failures": []}, result=outcomes)
    assert [(f["phase"], f["instance_id"]) for f in failures] == [("capture", i) for i in ids]
    assert value(assign["captures"], result=outcomes) == outcomes
