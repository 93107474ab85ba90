from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillpoint.errors import MalformedInput
from stillpoint.outcome import Failure, Record, wait_before_next_check
from stillpoint.policy import Method
from stillpoint.recovery_point import ScriptOutcome
from tests.functions.samples import sample
from tests.unit.builders import at

APP, DB, WEB = (f"i-0a1b2c3d4e5f6000{number}" for number in (1, 2, 3))
OPTIONAL = {"starts", "warnings", "freezes", "rejoins"}


def succeeded() -> dict[str, Any]:
    return sample("complete_backup_succeeded")


def failed() -> dict[str, Any]:
    return sample("complete_backup_failed")


def test_a_record_knows_its_backup() -> None:
    record = Record.parse(succeeded())
    assert record.execution == "group-erp-20261122T030000Z"
    assert record.execution_arn.endswith(":execution:stillpoint-backup:group-erp-20261122T030000Z")
    assert (record.group, record.schedule) == ("erp", "daily 03:00 UTC")
    assert record.occurrence == at("2026-11-22 03:00")
    assert record.capture_from == at("2026-11-22 03:00:40.377")
    assert record.checks == 0


def test_a_record_knows_how_far_each_member_came() -> None:
    app, db = Record.parse(succeeded()).members
    assert (app.instance_id, app.name, app.method) == (APP, "erp-app", Method.STOP)
    assert (app.state_before, app.retain, app.volumes) == ("running", "14", 1)
    assert app.stop_requested_at == at("2026-11-22 03:00:07.102")
    assert app.stopped_at == at("2026-11-22 03:00:34.012")
    assert app.captured_at == at("2026-11-22 03:00:43.918")
    assert app.running_at == at("2026-11-22 03:00:59.640")
    assert db.volumes == 3


def test_downtime_is_from_the_request_to_stop_until_seen_running() -> None:
    app, _ = Record.parse(succeeded()).members
    assert app.downtime == timedelta(seconds=52.538)


@pytest.mark.parametrize("lost", ["stops", "running_at"])
def test_downtime_is_unknown_as_long_as_an_end_of_it_is(lost: str) -> None:
    event = succeeded() | {lost: type(succeeded()[lost])()}
    assert [member.downtime for member in Record.parse(event).members] == [None, None]


def test_a_member_that_was_not_captured_has_no_moment_of_capture() -> None:
    (web,) = Record.parse(failed()).members
    assert web.captured_at is None
    assert web.volumes == 0


def test_a_member_that_ec2_would_not_stop_was_not_seen_stopped() -> None:
    event = succeeded()
    event["stops"][0] = {"instance_id": APP, "error": "Ec2.Ec2Exception", "cause": "No."}
    event["stopped_at"].pop(APP)
    app, db = Record.parse(event).members
    assert (app.stop_requested_at, app.stopped_at) == (None, None)
    assert db.stopped_at is not None


@pytest.mark.parametrize(
    ("method", "before", "expected"),
    [
        ("stop", "running", True),
        ("stop", "stopped", False),
        ("reboot", "running", False),
        ("none", "running", False),
    ],
)
def test_only_what_ran_and_was_to_be_stopped_was_stopped(
    method: str, before: str, expected: bool
) -> None:
    event = failed()
    event["members"][0] |= {"method": method, "state_before": before}
    assert Record.parse(event).members[0].was_stopped is expected


def test_members_of_a_backup_that_failed_in_prepare_are_the_planned_ones() -> None:
    event = failed() | {"members": failed()["backup"]["members"], "stops": [], "captures": []}
    (web,) = Record.parse(event).members
    assert (web.instance_id, web.name, web.state_before) == (WEB, "web", "")
    assert not web.was_stopped


def test_a_failure_says_in_one_sentence_what_went_wrong_where() -> None:
    (failure,) = Record.parse(failed()).failures
    assert failure.instance_id == WEB
    assert failure.sentence == (
        "capture failed with SnapshotFailed: Snapshot in state error: snap-0a1b2c3d4e5f60003"
    )


def test_a_failure_of_the_whole_group_belongs_to_no_instance() -> None:
    event = failed() | {"failures": [{"phase": "quiesce", "error": "E", "cause": "C"}]}
    assert Record.parse(event).failures == (Failure("quiesce", "E", "C", None),)


def test_a_refused_backup_has_refusals_and_no_members() -> None:
    record = Record.parse(sample("complete_backup_refused"))
    assert record.members == ()
    assert [refusal["code"] for refusal in record.refusals] == ["stop-protection"]


def test_what_an_earlier_version_did_not_write_is_not_made_up() -> None:
    event = succeeded()
    del event["warnings"]
    for planned in event["backup"]["members"]:
        del planned["time_zone"], planned["copy_to"]
    record = Record.parse(event)
    assert record.warnings == ()
    assert [(member.time_zone, member.copy_to) for member in record.members] == [("", ())] * 2


def test_the_planned_zone_and_regions_are_each_members_own() -> None:
    event = succeeded()
    event["backup"]["members"][1] |= {"time_zone": "Asia/Seoul", "copy_to": ["us-west-2"]}
    app, db = Record.parse(event).members
    assert (app.time_zone, app.copy_to) == ("UTC", ())
    assert (db.time_zone, db.copy_to) == ("Asia/Seoul", ("us-west-2",))


FREEZE = {
    "instance_id": APP,
    "command_id": "c-1",
    "vss": False,
    "sent_at": "2026-11-22T03:00:20+00:00",
    "seen_at": "2026-11-22T03:00:23+00:00",
    "guest_now": 100.0,
    "from": 105.0,
    "until": 135.0,
    "filesystems": ["/"],
}
THAW = {"exit_code": 0, "from": 106.0, "until": 136.0, "now": 137.0, "by": "asked", "failed": []}


def of_frozen(freeze: object, rejoins: object) -> dict[str, Any]:
    """Return the record of a backup of which the first member was to be frozen."""
    event = succeeded() | {"freezes": freeze, "rejoins": rejoins}
    event["members"][0]["method"] = "freeze"
    return event


def test_a_record_knows_from_when_to_when_a_member_was_frozen() -> None:
    app, db = Record.parse(of_frozen([FREEZE], {"thaws": {APP: THAW}})).members
    assert app.freeze is not None
    assert app.freeze.window is not None
    assert app.freeze.window.begin == at("2026-11-22 03:00:29")
    assert app.freeze.window.end == at("2026-11-22 03:00:56")
    assert db.freeze is None


def test_a_freeze_of_which_nothing_is_recorded_proves_nothing() -> None:
    app, _ = Record.parse(of_frozen([], {})).members
    assert app.freeze is not None
    assert app.freeze.problem == "there is no proof that a freeze held"


def test_a_record_knows_what_became_of_the_scripts() -> None:
    row = {"pre": "succeeded", "post": "failed", "post_exit": 203}
    event = succeeded() | {"rejoins": {"thaws": {}, "scripts": {DB: row}}}
    app, db = Record.parse(event).members
    assert app.scripts == ScriptOutcome()
    assert db.scripts == ScriptOutcome("succeeded", "failed", 203)


def without(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda event: {name: value for name, value in event.items() if name != key}


def with_value(key: str, value: object) -> Callable[[dict[str, Any]], Any]:
    return lambda event: event | {key: value}


@pytest.mark.parametrize(
    "spoil",
    [
        *(without(key) for key in succeeded() if key not in OPTIONAL),
        with_value("members", [{"instance_id": "i-0123456789abcdef0", "method": "stop"}]),
        with_value("members", [{"instance_id": APP, "method": "sideways"}]),
        with_value("members", ["i-0a"]),
        with_value("backup", []),
        with_value("capture_from", "yesterday"),
        with_value("checks", "many"),
        with_value("stopped_at", "2026-11-22T03:00:34Z"),
        with_value("failures", [{}]),
        with_value("freezes", [{}]),
        with_value("rejoins", []),
        with_value("rejoins", {"scripts": {APP: {"pre": "succeeded"}}}),
        lambda _: of_frozen([{"instance_id": APP}], {"thaws": {APP: THAW}}),
        lambda _: of_frozen([FREEZE | {"sent_at": "soon"}], {"thaws": {APP: THAW}}),
        lambda _: of_frozen([FREEZE], {"thaws": {APP: ["ended"]}}),
        lambda _: None,
        lambda _: [],
    ],
)
def test_a_record_that_cannot_be_read_is_a_clear_error(
    spoil: Callable[[dict[str, Any]], Any],
) -> None:
    event = spoil(succeeded())
    with pytest.raises(MalformedInput, match="complete_backup was given a record that it cannot"):
        Record.parse(event)


@pytest.mark.parametrize(
    ("minutes", "seconds"),
    [(0, 120), (1, 120), (2, 120), (4, 240), (10, 600), (30, 1800), (31, 1800), (1440, 1800)],
)
def test_the_wait_grows_with_the_time_since_the_capture(minutes: int, seconds: int) -> None:
    assert wait_before_next_check(timedelta(minutes=minutes)) == seconds


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3)))
def test_a_wait_is_whole_seconds_from_two_to_thirty_minutes(since: timedelta) -> None:
    wait = wait_before_next_check(since)
    assert isinstance(wait, int)
    assert 120 <= wait <= 1800
    assert wait <= wait_before_next_check(since + timedelta(minutes=1))
