import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillpoint.messages import SEVERITIES, Event, EventName, InstanceReport, Message, render
from tests.unit.builders import at

SNS_LIMIT = 256 * 1024
NOW = at("2026-11-22 03:05")
WEB = InstanceReport(
    instance_id="i-0a1b2c3d4e5f60003",
    name="web",
    state="running",
    why="stopped in 27 s and every snapshot initiated after it",
    image_id="ami-0a1b2c3d4e5f60003",
    consistency="file-system",
    downtime=timedelta(seconds=52.5),
)
SUCCEEDED = Event(
    EventName.BACKUP_SUCCEEDED,
    NOW,
    (WEB,),
    "Nothing.",
    occurrence=at("2026-11-22 03:00"),
    execution_arn="arn:aws:states:eu-west-1:111122223333:execution:stillpoint-backup:web",
)
BODY_KEYS = {
    *("event", "severity", "at", "group", "occurrence", "execution_arn", "why", "remedy"),
    "instances",
}
INSTANCE_KEYS = {
    *("instance_id", "name", "state", "why", "image_id", "consistency", "downtime_seconds"),
    "warnings",
}
ABOUT_RECOVERY_POINTS = {
    *(EventName.COPY_FAILED, EventName.COPY_SUCCEEDED, EventName.SHARING_FAILED),
    *(EventName.PROTECTION_FAILED, EventName.PRUNING_HALTED, EventName.PRUNING_FAILED),
    *(EventName.LAST_POINT_EXPIRED, EventName.RECOVERY_POINT_DAMAGED),
}

ANY_TEXT = st.text(max_size=300)
REPORTS = st.builds(
    InstanceReport,
    instance_id=st.from_regex(r"i-[0-9a-f]{17}", fullmatch=True),
    name=ANY_TEXT,
    state=ANY_TEXT,
    why=ANY_TEXT,
    image_id=st.none() | st.just("ami-0a1b2c3d4e5f60003"),
    consistency=st.none() | st.sampled_from(["file-system", "crash"]),
    downtime=st.none() | st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=2)),
    warnings=st.lists(ANY_TEXT, max_size=2).map(tuple),
)
EVENTS = st.builds(
    Event,
    name=st.sampled_from(EventName),
    at=st.just(NOW),
    instances=st.lists(REPORTS, min_size=1, max_size=5).map(tuple),
    remedy=ANY_TEXT,
    why=ANY_TEXT,
    group=st.none() | ANY_TEXT.filter(bool),
    occurrence=st.none() | st.just(at("2026-11-22 03:00")),
)


def body_of(message: Message) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(message.body)
    return body


def size_of(message: Message) -> int:
    """Return the bytes of the JSON document that SNS is given."""
    forms = {"default": message.body, "email": message.text, "sms": message.subject}
    return len(json.dumps(forms).encode())


def a_group(size: int, *, name: str = "web", why: str = "") -> Event:
    members = tuple(
        replace(WEB, instance_id=f"i-{number:017x}", name=name, why=why) for number in range(size)
    )
    remedy = "Start it now, by hand if need be."
    return replace(
        SUCCEEDED, name=EventName.BACKUP_FAILED, instances=members, group="erp", remedy=remedy
    )


def test_a_person_reads_what_happened_to_which_instance() -> None:
    assert (
        render(SUCCEEDED).text
        == """\
Backed up: web (i-0a1b2c3d4e5f60003)

web (i-0a1b2c3d4e5f60003)
  state now:      running
  why:            stopped in 27 s and every snapshot initiated after it
  recovery point: ami-0a1b2c3d4e5f60003
  consistency:    file-system
  downtime:       52 s

What to do: Nothing.

Occurrence: 2026-11-22T03:00:00Z
Reported:   2026-11-22T03:05:00Z
Execution:  arn:aws:states:eu-west-1:111122223333:execution:stillpoint-backup:web"""
    )


def test_a_machine_reads_the_same() -> None:
    assert body_of(render(SUCCEEDED)) == {
        "event": "BackupSucceeded",
        "severity": "info",
        "at": "2026-11-22T03:05:00Z",
        "group": None,
        "occurrence": "2026-11-22T03:00:00Z",
        "execution_arn": SUCCEEDED.execution_arn,
        "why": "",
        "remedy": "Nothing.",
        "instances": [
            {
                "instance_id": "i-0a1b2c3d4e5f60003",
                "name": "web",
                "state": "running",
                "why": "stopped in 27 s and every snapshot initiated after it",
                "image_id": "ami-0a1b2c3d4e5f60003",
                "consistency": "file-system",
                "downtime_seconds": 52.5,
                "warnings": [],
            }
        ],
    }


def test_a_subject_says_how_bad_it_is_what_happened_and_to_whom() -> None:
    assert render(SUCCEEDED).subject == (
        "[Stillpoint] INFO BackupSucceeded: web (i-0a1b2c3d4e5f60003)"
    )
    assert render(a_group(3)).subject == ("[Stillpoint] ERROR BackupFailed: group erp, 3 instances")


def test_several_instances_without_a_group_are_counted() -> None:
    event = replace(SUCCEEDED, instances=(replace(WEB, name=""), WEB, WEB))
    assert render(event).subject.endswith("BackupSucceeded: i-0a1b2c3d4e5f60003 and 2 more")


def test_filter_policies_find_event_severity_instance_and_group() -> None:
    assert render(SUCCEEDED).attributes == {
        "event": "BackupSucceeded",
        "severity": "info",
        "instance_id": "i-0a1b2c3d4e5f60003",
        "group": "none",
    }
    assert render(a_group(2)).attributes["group"] == "erp"


@pytest.mark.parametrize("name", EventName)
def test_every_event_has_a_severity_and_a_headline(name: EventName) -> None:
    message = render(replace(SUCCEEDED, name=name))
    assert message.attributes["severity"] == SEVERITIES[name]
    assert message.text.splitlines()[0].endswith(": web (i-0a1b2c3d4e5f60003)")
    assert SEVERITIES[name].upper() in message.subject


def test_an_image_that_proves_nothing_is_not_to_be_relied_on() -> None:
    event = replace(SUCCEEDED, instances=(replace(WEB, consistency=None),))
    assert "consistency:    none proven, do not rely on it" in render(event).text


def test_a_state_that_is_not_known_is_said_to_be_so() -> None:
    event = replace(SUCCEEDED, instances=(InstanceReport("i-0a", "", "", "No answer."),))
    assert "state now:      not known" in render(event).text


@pytest.mark.parametrize("name", EventName)
def test_only_events_about_recovery_points_leave_out_a_state_that_nobody_gave(
    name: EventName,
) -> None:
    report = InstanceReport("i-0a", "", "", "Gone.", image_id="ami-1", consistency="crash")
    text = render(replace(SUCCEEDED, name=name, instances=(report,))).text
    assert ("state now:" in text) is (name not in ABOUT_RECOVERY_POINTS)
    assert "recovery point: ami-1\n  consistency:    crash" in text
    given = replace(report, state="stopped")
    text = render(replace(SUCCEEDED, name=name, instances=(given,))).text
    assert "state now:      stopped" in text


def test_an_event_without_an_instance_can_be_told_too() -> None:
    message = render(replace(SUCCEEDED, name=EventName.PRUNING_FAILED, instances=(), why="No."))
    assert message.subject == ("[Stillpoint] WARNING PruningFailed: no instance in particular")
    assert message.text.startswith(
        "Expired recovery points could not be deleted: no instance in particular\n\nWhy: No.\n"
    )
    assert message.attributes["instance_id"] == "none"
    assert body_of(message)["instances"] == []


@given(EVENTS)
def test_no_name_can_break_a_subject(event: Event) -> None:
    subject = render(event).subject
    assert re.fullmatch(r"[ -~]{1,99}", subject)
    assert event.name in subject


@given(EVENTS)
def test_the_document_for_machines_is_always_complete(event: Event) -> None:
    body = body_of(render(event))
    assert body.keys() == BODY_KEYS
    assert [row["instance_id"] for row in body["instances"]] == [
        report.instance_id for report in event.instances
    ]
    for row, report in zip(body["instances"], event.instances, strict=True):
        assert row.keys() == INSTANCE_KEYS
        assert (row["name"], row["why"]) == (report.name, report.why)


@given(EVENTS)
def test_the_text_for_people_always_says_what_which_why_state_and_what_to_do(event: Event) -> None:
    text = render(event).text
    told = [report for report in event.instances if report.state]
    if event.name not in ABOUT_RECOVERY_POINTS:
        told = list(event.instances)
    assert text.count("\n  state now:") >= len(told)
    assert f"What to do: {event.remedy}" in text
    assert f"Why: {event.why}" in text or not event.why
    for report in event.instances:
        assert report.instance_id in text
        assert report.why in text
        assert all(f"good to know:   {warning}" in text for warning in report.warnings)


@given(EVENTS)
def test_a_name_is_shown_on_a_line_of_its_own_and_cannot_forge_another(event: Event) -> None:
    lines = render(event).text.split("\n")
    for report in event.instances:
        assert report.label in lines
        assert report.label.isprintable()


@given(EVENTS)
def test_attributes_are_never_empty(event: Event) -> None:
    attributes = render(event).attributes
    assert attributes.keys() == {"event", "severity", "instance_id", "group"}
    assert all(attributes.values())


EMOJI = "\N{FLOPPY DISK}" * 256


@pytest.mark.parametrize("why", ["", "stopped in 27 s", "x" * 1000, EMOJI * 4, '"\\' * 500])
def test_forty_members_with_the_longest_names_fit_one_message(why: str) -> None:
    event = replace(a_group(40, name=EMOJI, why=why), why=why * 4)
    message = render(event)
    assert size_of(message) < SNS_LIMIT
    body = body_of(message)
    assert body.keys() == BODY_KEYS
    assert len(body["instances"]) == 40
    for row in body["instances"]:
        assert row.keys() == INSTANCE_KEYS
        assert row["state"] == "running"
        assert row["consistency"] == "file-system"
        assert why[:40] in row["why"]


@pytest.mark.parametrize("why", ["x" * 1000, EMOJI * 40, "\x00" * 50_000])
def test_what_to_do_is_said_however_much_there_is_to_say(why: str) -> None:
    event = replace(a_group(40, name=EMOJI, why=why), why=why)
    message = render(event)
    assert "What to do: Start it now, by hand if need be." in message.text
    assert "Occurrence: 2026-11-22T03:00:00Z" in message.text
    assert "What to do" in message.text[-1000:]
    assert size_of(message) < SNS_LIMIT


def test_forty_members_of_ordinary_length_are_told_in_full() -> None:
    message = render(a_group(40, why="stopped in 27 s and every snapshot initiated " * 4))
    assert message.text.count("state now:") == 40
    assert message.text.count("recovery point:") == 40
