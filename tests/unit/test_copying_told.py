"""When people are told of a copy, and in which words."""

from dataclasses import replace
from datetime import timedelta

from stillpoint.copying import Task, copy_failed, copy_given_up, copy_succeeded, must_alert
from stillpoint.messages import EventName, render
from stillpoint.tags import Tag, iso
from tests.unit.copied import NOW, OCCURRENCE, a_source


def test_people_are_told_after_a_day_that_a_copy_is_pending() -> None:
    captured_at = OCCURRENCE + timedelta(minutes=2)
    soon = captured_at + timedelta(hours=23, minutes=59)
    assert not must_alert(Task("us-west-2"), a_source(), soon)
    assert must_alert(Task("us-west-2"), a_source(), captured_at + timedelta(hours=24))


def test_people_are_told_after_three_failures_or_a_day_and_once() -> None:
    source = a_source()
    captured = OCCURRENCE + timedelta(minutes=2)
    day = timedelta(hours=24)
    assert not must_alert(Task("us-west-2", 2, NOW), source, NOW)
    assert must_alert(Task("us-west-2", 3, NOW), source, NOW)
    assert not must_alert(Task("us-west-2"), source, captured + day - timedelta(seconds=1))
    assert must_alert(Task("us-west-2"), source, captured + day)
    assert not must_alert(Task("us-west-2", 3, NOW, alerted=True), source, captured + day)


def test_a_point_without_the_time_of_its_capture_is_late_a_day_after_its_occurrence() -> None:
    source = a_source()
    source = replace(source, tags={Tag.OCCURRENCE: iso(OCCURRENCE)})
    assert must_alert(Task("us-west-2"), source, OCCURRENCE + timedelta(hours=24))


def test_a_failed_copy_is_told_with_the_reason_and_what_to_do() -> None:
    source = a_source()
    why = {source.image_id: "EC2 says: Given key ID is not accessible."}
    event = copy_failed(why, [source], region="us-west-2", home="eu-west-1", now=NOW)
    message = render(event)
    assert event.name is EventName.COPY_FAILED
    assert event.occurrence == OCCURRENCE
    assert message.attributes["severity"] == "error"
    for words in ("Given key ID is not accessible", "us-west-2", "eu-west-1", "CopyKmsKeyArns"):
        assert words in message.text
    assert source.image_id in message.text


def test_several_points_are_told_of_at_once() -> None:
    sources = [a_source(1), a_source(2)]
    event = copy_given_up(sources, region="us-west-2", now=NOW)
    assert [report.image_id for report in event.instances] == ["ami-01", "ami-02"]
    assert event.occurrence is None
    assert "CopyRegions" in render(event).text


def test_a_copy_that_came_after_an_alert_is_told_with_its_id() -> None:
    event = copy_succeeded({"ami-01": "ami-c4"}, [a_source()], region="us-west-2", now=NOW)
    assert event.name is EventName.COPY_SUCCEEDED
    assert "ami-c4" in render(event).text
