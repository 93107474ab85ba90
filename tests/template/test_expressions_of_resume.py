"""The expressions of Resume and Complete are right, and no wait is long."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.expressions import render
from stillpoint.outcome import Record
from tests.template.evaluation import (
    CAUGHT,
    CONTEXT,
    SIZES,
    STATES,
    ago,
    chosen,
    member,
    status,
    statuses,
    value,
)


@pytest.mark.parametrize(
    ("members", "gone", "leads_to"),
    [
        ([member("i-0a")], [], "StartMembers"),
        ([member("i-0a", "none"), member("i-0b")], [], "StartMembers"),
        ([member("i-0a", "stop", "stopped")], [], "AnyToRejoin?"),
        ([member("i-0a", "reboot"), member("i-0b", "none")], [], "AnyToRejoin?"),
        ([member("i-0a", "freeze")], [], "AnyToRejoin?"),
        ([member("i-0a"), member("i-0b")], ["i-0a"], "StartMembers"),
        ([member("i-0a"), member("i-0b", "none")], ["i-0a"], "AnyToRejoin?"),
    ],
)
def test_what_was_running_and_had_to_stop_is_started_unless_it_is_gone(
    members: list[dict[str, Any]], gone: list[str], leads_to: str
) -> None:
    variables = {"members": members, "gone": gone, "freezes": []}
    assert chosen("AnyToThaw?", variables) == leads_to
    assert chosen("AnyToStart?", variables) == leads_to


@pytest.mark.parametrize(
    ("running", "gone", "started"),
    [
        ([], [], ["i-0d", "i-0b", "i-0a"]),
        (["i-0d"], [], ["i-0b", "i-0a"]),
        (["i-0a"], ["i-0d"], ["i-0b"]),
        (["i-0a", "i-0b"], [], ["i-0d"]),
        (["i-0a", "i-0b", "i-0d"], [], []),
        ([], ["i-0a", "i-0b", "i-0d"], []),
    ],
)
def test_instances_start_in_the_reverse_of_the_stopping_order(
    running: list[str], gone: list[str], started: list[str]
) -> None:
    members = [
        member("i-0a"),
        member("i-0b"),
        member("i-0c", "stop", "stopped"),
        member("i-0d"),
        member("i-0e", "reboot"),
    ]
    variables = {"members": members, "running_at": dict.fromkeys(running, ago()), "gone": gone}
    items = value(STATES["StartMembers"]["Items"], variables)
    assert [each["instance_id"] for each in items] == started


def test_a_lone_instance_is_a_list_of_one_to_start() -> None:
    variables = {"members": [member("i-0a")], "running_at": {}, "gone": []}
    assert value(STATES["StartMembers"]["Items"], variables) == [member("i-0a")]


@SIZES
def test_only_running_counts_as_running(ids: list[str]) -> None:
    assign = STATES["DescribeStarting"]["Assign"]
    result = statuses(
        status("i-9a", "pending"),
        status("i-9b", "shutting-down"),
        *(status(i, "running") for i in ids),
    )
    seen = {
        "running_at": {},
        "stopped_at": dict.fromkeys(ids, ago(seconds=120)),
        "quiesce_from": ago(seconds=10),
    }
    assert value(assign["running_at"], seen, result=result).keys() == set(ids)
    assert value(assign["down"], result=result) == []


@SIZES
def test_one_that_was_never_seen_stopped_is_believed_to_run_only_after_a_minute(
    ids: list[str],
) -> None:
    assign = STATES["DescribeStarting"]["Assign"]["running_at"]
    result = statuses(*(status(i, "running") for i in ids))
    soon = {"running_at": {}, "stopped_at": {}, "quiesce_from": ago(seconds=10)}
    assert value(assign, soon, result=result) == {}
    late = soon | {"quiesce_from": ago(seconds=120)}
    assert value(assign, late, result=result).keys() == set(ids)


@SIZES
def test_what_is_gone_stays_gone_and_is_counted_once(ids: list[str]) -> None:
    assign = STATES["DescribeStarting"]["Assign"]["gone"]
    unseen = statuses(status("i-9a", "running"))
    assert value(assign, {"gone": ids}, result=unseen) == ids
    seen = statuses(*(status(i, "terminated") for i in [*ids, "i-9a"]))
    assert sorted(value(assign, {"gone": ids}, result=seen)) == [*ids, "i-9a"]
    assert value(assign, {"gone": ["i-9a"]}, result=statuses()) == ["i-9a"]


@SIZES
def test_what_is_gone_is_not_asked_about_again(ids: list[str]) -> None:
    members = [member("i-9a"), *(member(i) for i in ids), member("i-9b", "none")]
    asked = STATES["DescribeStarting"]["Arguments"]["InstanceIds"]
    assert value(asked, {"members": members, "gone": []}) == ["i-9a", *ids]
    assert value(asked, {"members": members, "gone": ["i-9a"]}) == ids
    assert value(asked, {"members": members, "gone": ids}) == ["i-9a"]


@pytest.mark.parametrize("state", ["stopped", "stopping"])
@SIZES
def test_an_instance_that_fell_back_is_down(ids: list[str], state: str) -> None:
    result = statuses(status("i-9a", "running"), *(status(i, state) for i in ids))
    assert value(STATES["DescribeStarting"]["Assign"]["down"], result=result) == ids


@pytest.mark.parametrize(
    ("running", "gone", "down", "seconds", "leads_to"),
    [
        (["i-0a", "i-0b"], [], [], 5, "AnyToRejoin?"),
        (["i-0a"], ["i-0b"], [], 5, "AnyToRejoin?"),
        ([], ["i-0a", "i-0b"], [], 5, "AnyToRejoin?"),
        ([], ["i-0a", "i-0b", "i-0c"], [], 5, "CompleteBackup"),
        ([], [], [], 5, "WaitForStart"),
        (["i-0a"], [], [], 5, "WaitForStart"),
        (["i-0a"], [], ["i-0b"], 29, "WaitForStart"),
        (["i-0a"], [], ["i-0b"], 31, "AlertStranded"),
        ([], [], [], 590, "WaitForStart"),
        ([], [], [], 610, "StartDeadline?"),
    ],
)
def test_a_backup_is_resumed_when_every_member_that_exists_runs(
    running: list[str], gone: list[str], down: list[str], seconds: int, leads_to: str
) -> None:
    variables = {
        "members": [member("i-0a"), member("i-0b"), member("i-0c", "stop", "stopped")],
        "running_at": dict.fromkeys(running, ago()),
        "gone": gone,
        "down": down,
        "alerted": [],
        "alerted_at": "",
        "round_from": ago(seconds=seconds),
    }
    assert chosen("AllRunning?", variables) == leads_to


ALERTED = {"members": [member("i-0a"), member("i-0b")], "gone": [], "round_from": ago(seconds=31)}


@pytest.mark.parametrize(
    ("minutes", "leads_to"),
    [(0, "StartDeadline?"), (59, "StartDeadline?"), (61, "AlertStranded"), (600, "AlertStranded")],
)
def test_people_are_told_again_every_hour(minutes: int, leads_to: str) -> None:
    variables = ALERTED | {
        "running_at": {"i-0a": ago()},
        "down": ["i-0b"],
        "alerted": ["i-0b"],
        "alerted_at": ago(minutes=minutes),
    }
    assert chosen("AllRunning?", variables) == leads_to


@pytest.mark.parametrize(
    ("alerted", "gone", "told"),
    [
        ([], [], None),
        (["i-0b"], [], ["i-0b"]),
        (["i-0a", "i-0b"], [], ["i-0a", "i-0b"]),
        (["i-0a", "i-0b"], ["i-0b"], ["i-0a"]),
        (["i-0b"], ["i-0b"], None),  # it was terminated while it was down: it is not back
    ],
)
def test_people_are_told_when_what_they_were_told_of_runs_again(
    alerted: list[str], gone: list[str], told: list[str] | None
) -> None:
    variables = ALERTED | {
        "running_at": {i: ago() for i in ("i-0a", "i-0b") if i not in gone},
        "gone": gone,
        "down": [],
        "alerted": alerted,
        "alerted_at": ago(hours=2) if alerted else "",
    }
    assert chosen("AllRunning?", variables) == ("AlertRecovered" if told else "AnyToRejoin?")
    if told:
        payload = render(
            STATES["AlertRecovered"]["Arguments"]["Payload"], variables, {"context": CONTEXT}
        )
        assert payload["instance_ids"] == told
        assert payload["recovered"] is True
        assert payload["backup"] == CONTEXT["Execution"]["Input"]


@SIZES
def test_everyone_who_was_down_at_an_alert_is_remembered_once(ids: list[str]) -> None:
    assign = STATES["AlertStranded"]["Assign"]
    assert value(assign["alerted"], {"alerted": [], "down": ids}) == ids
    assert value(assign["alerted"], {"alerted": ids, "down": ids}) == ids
    both = value(assign["alerted"], {"alerted": ids, "down": ["i-9a"]})
    assert both == [*ids, "i-9a"]
    told_at = datetime.fromisoformat(value(assign["alerted_at"]))
    assert abs(datetime.now(UTC) - told_at) < timedelta(minutes=1)


def test_an_alert_that_could_not_be_sent_is_tried_again() -> None:
    # Only an alert that was sent is remembered.
    assert all("Assign" not in rule for rule in STATES["AlertStranded"]["Catch"])


def test_an_instance_is_given_up_after_twelve_hours_and_named() -> None:
    variables = {
        "members": [member("i-0a"), member("i-0b"), member("i-0c", "none")],
        "running_at": {"i-0a": ago()},
        "gone": [],
        "failures": [],
    }
    early = {**variables, "resume_from": ago(hours=11.9)}
    late = {**variables, "resume_from": ago(hours=12.1)}
    assert chosen("StartDeadline?", early) == "AnyToRejoinMeanwhile?"
    assert chosen("StartDeadline?", late) == "AnyBack?"
    (rule,) = STATES["StartDeadline?"]["Choices"]
    (failure,) = value(rule["Assign"]["failures"], late)
    assert (failure["instance_id"], failure["error"]) == ("i-0b", "InstanceStranded")


@pytest.mark.parametrize(
    ("stranded", "gone", "back"),
    [
        ([], [], ["i-0a", "i-0b", "i-0c"]),
        (["i-0b"], [], ["i-0a", "i-0c"]),
        (["i-0b"], ["i-0a"], ["i-0c"]),
        ([], ["i-0a", "i-0b"], ["i-0c"]),
        (["i-0a", "i-0b", "i-0c"], [], []),
    ],
)
def test_what_is_back_rejoins_and_what_has_rejoined_is_released(
    stranded: list[str], gone: list[str], back: list[str]
) -> None:
    variables = {
        "members": [member("i-0a"), member("i-0b"), member("i-0c", "none")],
        "gone": gone,
        "failures": [
            {"phase": "capture", "error": "ImageFailed", "cause": "...", "instance_id": "i-0a"},
            {"phase": "quiesce", "error": "Ec2.Ec2Exception", "cause": "..."},
            *({"error": "InstanceStranded", "instance_id": i} for i in stranded),
        ],
    }
    resources = STATES["ReleaseInstances"]["Arguments"]["Resources"]
    payload = STATES["RejoinMembers"]["Arguments"]["Payload"]
    assert value(payload["instance_ids"], variables) == back
    assert chosen("AnyBack?", variables) == ("AnyToRejoin?" if back else "CompleteBackup")
    # EC2 refuses a DeleteTags without resources, so an empty list never comes to it.
    for unjoined in ([], *([each] for each in back), back):
        released = [each for each in back if each not in unjoined]
        found = variables | {"unjoined": unjoined}
        assert value(resources, found) == released
        expected = "ReleaseInstances" if released else "CompleteBackup"
        assert chosen("AnyToRelease?", found) == expected


@SIZES
def test_the_alert_names_every_instance_that_is_down(ids: list[str]) -> None:
    payload = render(
        STATES["AlertStranded"]["Arguments"]["Payload"],
        {"down": ids, "starts": [{"instance_id": i} for i in ids]},
        {"context": CONTEXT},
    )
    assert payload["instance_ids"] == ids
    assert payload["backup"] == CONTEXT["Execution"]["Input"]
    assert "recovered" not in payload


@given(st.integers(0, 100_000), st.integers(0, 10_000), st.integers(1, 200))
def test_every_wait_is_a_whole_number_of_seconds_and_never_long(
    elapsed: int, looks: int, rounds: int
) -> None:
    began = ago(seconds=elapsed)
    variables = {
        "quiesce_from": began,
        "round_from": began,
        "looks": looks,
        "volumes": ["vol-1"] * min(rounds, 128),
        "start_rounds": rounds,
    }
    for name in ("WaitForStop", "WaitForSnapshots", "WaitForStart", "WaitToStartAgain"):
        seconds = value(STATES[name]["Seconds"], variables)
        assert isinstance(seconds, int)
        assert 1 <= seconds <= (300 if name == "WaitToStartAgain" else 20)


@SIZES
def test_what_complete_is_given_is_what_it_reads(ids: list[str]) -> None:
    context = {
        **CONTEXT,
        "Execution": {
            **CONTEXT["Execution"],
            "Input": {
                **CONTEXT["Execution"]["Input"],
                "members": [{"instance_id": i, "name": i, "retain": "14"} for i in ids],
            },
        },
    }
    variables = {
        "members": [member(i) for i in ids],
        "refusals": [],
        "warnings": [{"instance_id": i, "reason": "It is odd.", "remedy": "Look."} for i in ids],
        "stops": [{"instance_id": i, "requested_at": ago(minutes=3)} for i in ids],
        "stopped_at": dict.fromkeys(ids, ago(minutes=2)),
        "capture_from": ago(minutes=2),
        "captures": [{"instance_id": i, "volumes": 1, "captured_at": ago(minutes=1)} for i in ids],
        "starts": [],
        "running_at": dict.fromkeys(ids, ago()),
        "gone": [],
        "freezes": [],
        "rejoins": {"thaws": {}, "scripts": {}},
        "failures": [],
        "checks": 0,
    }
    payload = render(
        STATES["CompleteBackup"]["Arguments"]["Payload"], variables, {"context": context}
    )
    record = Record.parse(payload)
    assert [each.instance_id for each in record.members] == ids
    assert all(each.downtime is not None and each.volumes == 1 for each in record.members)
    assert [record.warnings_of(i) for i in ids] == [("It is odd. Look.",) for _ in ids]
    assert len(record.warnings) == len(ids)


@pytest.mark.parametrize(
    ("outcome", "leads_to"),
    [
        ("succeeded", "BackupSucceeded"),
        ("pending", "WaitForImages"),
        ("failed", "BackupFailed"),
        ("refused", "BackupFailed"),
        ("", "BackupFailed"),
    ],
)
def test_only_what_succeeded_is_shown_as_succeeded(outcome: str, leads_to: str) -> None:
    assert chosen("Completed?", {}, input={"status": outcome}) == leads_to


def test_an_answer_that_cannot_be_read_is_not_shown_as_succeeded() -> None:
    assert chosen("Completed?", {}, input={}) == "BackupFailed"


@SIZES
def test_the_last_resort_always_has_something_to_say(ids: list[str]) -> None:
    failure = render(
        STATES["CompleteBackup"]["Catch"][0]["Output"],
        {},
        {"context": CONTEXT, "errorOutput": CAUGHT},
    )
    name = "group-" + "x" * 70
    context = {**CONTEXT, "Execution": {**CONTEXT["Execution"], "Name": name}}
    arguments = render(
        {k: v for k, v in STATES["PublishFailure"]["Arguments"].items() if k != "TopicArn"},
        {"members": [member(i) for i in ids], "running_at": dict.fromkeys(ids, ago())},
        {"context": context, "input": failure},
    )
    assert len(arguments["Subject"]) < 100
    assert arguments["Subject"].isascii()
    assert name in arguments["Message"]
    assert all(i in arguments["Message"] for i in ids)
    end = {key: STATES["BackupFailed"][key] for key in ("Error", "Cause")}
    shown = render(end, {}, {"context": CONTEXT, "input": failure})
    assert shown == {"Error": "Ec2.Ec2Exception", "Cause": "x" * 4000}
