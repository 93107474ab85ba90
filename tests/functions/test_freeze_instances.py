"""Freezing: what is asked of guests that run, and what the snapshots are worth."""

import importlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest

from stillpoint.aws import images
from stillpoint.aws.freeze_instances import freeze_instances
from stillpoint.errors import AwsUnavailable, MalformedInput, MissingSetting
from tests.functions.alone import read_thaw
from tests.functions.cloud import Crash, Moment, cloud_at, crash
from tests.functions.freezing import CONTENT, DOCUMENT, EXECUTION, FREEZING, REJOINING, Site
from tests.functions.stack import CONTEXT, POWERTOOLS
from tests.unit.builders import at


@pytest.fixture
def site() -> Iterator[Site]:
    with cloud_at(at("2026-11-22 03:00")) as cloud:
        cloud.ask(
            "ssm",
            "CreateDocument",
            Name=DOCUMENT,
            Content=json.dumps(CONTENT),
            DocumentType="Command",
        )
        yield Site(cloud)


def test_a_frozen_guest_is_captured_without_a_stop_and_clean(site: Site) -> None:
    web = site.launch(clock_skew_seconds=-86_400)
    answer = site.freeze()
    assert answer["failures"] == []
    (freeze,) = answer["freezes"]
    assert freeze["instance_id"] == web
    assert not freeze["vss"]
    image_id = site.capture(web)
    thaw = site.thaw(freeze)
    assert (thaw["exit_code"], thaw["by"], thaw["failed"]) == (0, "hold-over", [])
    assessment = site.judge(web, freeze, thaw)
    assert assessment.level == "file-system"
    assert "every snapshot initiated meanwhile" in assessment.reason
    truth = site.truth(image_id)
    assert (truth["dirty_bytes"], truth["at_rest"]) == (0, True)
    assert site.cloud.world.truth()["violations"] == []
    assert site.sent() == [f"{EXECUTION} freeze", f"{EXECUTION} thaw"]


def test_the_guest_is_told_how_long_to_hold_and_when_to_thaw_itself(site: Site) -> None:
    site.launch()
    site.freeze()
    (command,) = site.cloud.ask("ssm", "ListCommands")["Commands"]
    assert command["DocumentName"] == DOCUMENT
    assert command["Parameters"] == {
        "executionId": [EXECUTION],
        "command": ["freeze"],
        "holdSeconds": ["30"],
        "thawSeconds": ["60"],
    }


def test_guests_are_asked_to_freeze_by_one_command_that_is_read_once_a_look(site: Site) -> None:
    for _ in range(4):
        site.launch()
    site.cloud.calls.clear()
    answer = site.freeze()
    assert len(answer["freezes"]) == 4
    asked = Counter(action for _, action in site.cloud.calls)
    looks = asked.pop("ListCommandInvocations")
    assert looks <= 10  # one a second, until the last guest has answered
    assert asked == {"ListCommands": 3, "SendCommand": 1}


def test_it_returns_when_the_freeze_has_certainly_begun_and_enough_is_left(site: Site) -> None:
    (web, db) = site.launch(), site.launch()
    answer = site.freeze()
    assert [row["instance_id"] for row in answer["freezes"]] == [web, db]
    for truth in site.cloud.world.truth()["instances"]:
        happened = [event["what"] for event in truth["events"]]
        assert "guest_frozen" in happened
        assert "guest_thawed" not in happened
    captured = [site.capture(instance_id) for instance_id in (web, db)]
    assert [site.truth(image_id)["dirty_bytes"] for image_id in captured] == [0, 0]
    for freeze in answer["freezes"]:
        assessment = site.judge(freeze["instance_id"], freeze, site.thaw(freeze))
        assert assessment.level == "file-system"


def test_a_repeated_call_adopts_the_freeze(site: Site) -> None:
    site.launch()
    first = site.freeze()
    again = site.freeze()
    assert again["failures"] == []
    assert again["freezes"][0]["command_id"] == first["freezes"][0]["command_id"]
    assert again["freezes"][0]["guest_now"] == first["freezes"][0]["guest_now"]
    assert site.sent() == [f"{EXECUTION} freeze"]
    # Nobody knows better when the guest read its clock than that it was after it was asked.
    assert at_row(again, "sent_at") <= at_row(first, "sent_at")
    assert at_row(again, "seen_at") > at_row(first, "seen_at")


def at_row(answer: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401 (a datetime)
    return at(answer["freezes"][0][key].replace("T", " ").removesuffix("+00:00"))


def test_a_freeze_that_is_adopted_too_late_fails(site: Site) -> None:
    site.launch()
    site.freeze()
    site.cloud.wait(seconds=25)
    answer = site.freeze()
    (failure,) = answer["failures"]
    assert (failure["phase"], failure["error"]) == ("capture", "FreezeFailed")
    assert "s of its freeze were certainly left when all were frozen" in failure["cause"]
    assert len(answer["freezes"]) == 1  # so that it is thawed


@pytest.mark.parametrize("calls", range(6))
def test_a_crash_at_any_call_and_a_repeat_freeze_once(site: Site, calls: int) -> None:
    site.launch()
    site.cloud.moment = Moment(calls, crash)
    with pytest.raises(Crash):
        site.freeze()
    site.cloud.wait(seconds=2)
    answer = site.freeze()
    assert answer["failures"] == []
    assert site.sent() == [f"{EXECUTION} freeze"]


def test_a_lost_answer_of_the_command_does_no_harm(site: Site) -> None:
    web = site.launch()
    site.fault("lost-response", action="SendCommand")
    answer = site.freeze()
    assert answer["failures"] == []
    (freeze,) = answer["freezes"]
    image_id = site.capture(web)
    assert site.judge(web, freeze, site.thaw(freeze)).level == "file-system"
    assert site.truth(image_id)["dirty_bytes"] == 0


def test_a_guest_that_cannot_freeze_fails_with_its_own_words(site: Site) -> None:
    web = site.launch(freezable=False)
    answer = site.freeze()
    assert answer["freezes"] == []
    (failure,) = answer["failures"]
    assert failure["instance_id"] == web
    assert "exit code 201" in failure["cause"]
    assert "fsfreeze is not installed" in failure["cause"]


def test_one_that_fails_fails_at_once_and_the_frozen_ones_are_named(site: Site) -> None:
    good, bad = site.launch(), site.launch(freezable=False)
    began = site.cloud.now
    answer = site.freeze()
    assert [row["instance_id"] for row in answer["failures"]] == [bad]
    assert [row["instance_id"] for row in answer["freezes"]] in ([good], [])
    assert site.cloud.now - began < timedelta(seconds=15)


def test_an_instance_without_an_agent_fails_with_a_reason(site: Site) -> None:
    site.launch()
    site.cloud.world.configure(site.instance_ids[0], managed=False)
    (failure,) = site.freeze()["failures"]
    assert failure["cause"].startswith("It cannot be asked to freeze: ")
    assert "InvalidInstanceId" in failure["cause"]


def test_an_agent_that_never_reports_is_given_up_and_its_command_called_off(site: Site) -> None:
    web = site.launch()
    site.fault("agent-hangs")
    began = site.cloud.now
    answer = site.freeze()
    (failure,) = answer["failures"]
    assert "did not report a freeze within 60 s" in failure["cause"]
    assert timedelta(seconds=60) <= site.cloud.now - began < timedelta(seconds=70)
    assert "CancelCommand" in [action for _, action in site.cloud.calls]
    assert web not in [row["instance_id"] for row in answer["freezes"]]


def test_a_freeze_that_fails_in_the_guest_claims_nothing(site: Site) -> None:
    web = site.launch()
    site.fault("freeze-fails")
    (freeze,) = site.freeze()["freezes"]
    image_id = site.capture(web)
    thaw = site.thaw(freeze)
    assert thaw["exit_code"] == 201
    assessment = site.judge(web, freeze, thaw)
    assert assessment.level == "crash"
    assert "its freeze never held: /: Operation not supported" in assessment.reason
    assert site.truth(image_id)["dirty_bytes"] > 0


def test_a_freeze_that_the_guest_had_to_end_claims_nothing(site: Site) -> None:
    web = site.launch()
    site.fault("auto-thaw-fires", delay_seconds=3)
    (freeze,) = site.freeze()["freezes"]
    site.capture(web)
    thaw = site.thaw(freeze)
    assert thaw["exit_code"] == 203
    assessment = site.judge(web, freeze, thaw)
    assert assessment.level == "crash"
    assert "the guest had to thaw itself after 3 s" in assessment.reason


def test_a_capture_after_the_hold_claims_nothing(site: Site) -> None:
    web = site.launch()
    (freeze,) = site.freeze()["freezes"]
    site.cloud.wait(seconds=40)
    image_id = site.capture(web)
    assessment = site.judge(web, freeze, site.thaw(freeze))
    assert assessment.level == "crash"
    assert "after it was last certainly frozen" in assessment.reason
    assert site.truth(image_id)["dirty_bytes"] > 0


def test_a_guest_that_was_restarted_meanwhile_claims_nothing(site: Site) -> None:
    web = site.launch()
    (freeze,) = site.freeze()["freezes"]
    site.cloud.call("RebootInstances", InstanceIds=[web])
    site.capture(web)
    site.cloud.wait(minutes=3)
    thaw = site.thaw(freeze)
    assert thaw["exit_code"] == 204
    assessment = site.judge(web, freeze, thaw)
    assert assessment.level == "crash"
    assert "it may have been restarted" in assessment.reason


def test_a_thaw_that_nobody_asked_for_is_asked_for_once(site: Site) -> None:
    site.launch()
    (freeze,) = site.freeze()["freezes"]
    first = site.thaw(freeze)
    assert site.thaw(freeze) == first
    assert site.sent().count(f"{EXECUTION} thaw") == 1


def test_a_thaw_of_an_instance_that_is_stopped_is_told(site: Site) -> None:
    web = site.launch()
    (freeze,) = site.freeze()["freezes"]
    site.cloud.call("StopInstances", InstanceIds=[web])
    site.cloud.wait(minutes=3)
    progress, row = read_thaw(web, EXECUTION, freeze, REJOINING)
    assert progress.error == "ThawFailed"
    assert "InvalidInstanceId" in progress.failure
    assert row == {}


def test_a_windows_guest_makes_its_image_itself(site: Site) -> None:
    win = site.launch(platform="windows")
    answer = site.freeze()
    assert answer["failures"] == []
    (freeze,) = answer["freezes"]
    assert freeze == {"instance_id": win, "command_id": freeze["command_id"], "vss": True}
    thaw = site.thaw(freeze)
    assert thaw == {"vss": "Success"}
    (image,) = images.images_of(EXECUTION).values()
    assert image.name == f"stillpoint-{win}-20261122T030000Z"
    assert site.tags(win).items() <= image.tags.items()
    assert site.judge(win, freeze, thaw).level == "application"
    truth = site.truth(image.image_id)
    assert (truth["dirty_bytes"], truth["application"]) == (0, True)


def test_a_windows_guest_whose_vss_does_not_work_claims_nothing(site: Site) -> None:
    win = site.launch(platform="windows", vss_works=False)
    (freeze,) = site.freeze()["freezes"]
    assessment = site.judge(win, freeze, site.thaw(freeze))
    assert assessment.level == "crash"
    assert "AppConsistent=True of 0 of 2 snapshots" in assessment.reason


def test_a_vss_command_that_fails_is_said_so(site: Site) -> None:
    win = site.launch(platform="windows")
    site.capture(win)  # takes the name
    (freeze,) = site.freeze()["freezes"]
    thaw = site.thaw(freeze)
    assert thaw == {"vss": "Failed"}
    assert "ended with the status Failed" in site.judge(win, freeze, thaw).reason


def test_systems_manager_that_does_not_answer_is_asked_again_by_the_state_machine(
    site: Site,
) -> None:
    site.launch()
    site.cloud.refuse("SendCommand", "InternalServerError", 500)
    with pytest.raises(AwsUnavailable):
        site.freeze()


@pytest.mark.parametrize("event", [{}, {"execution": "e", "members": [{}]}, {"execution": "e"}])
def test_an_event_that_cannot_be_read_is_a_clear_error(event: dict[str, Any], site: Site) -> None:
    with pytest.raises(MalformedInput, match="freeze_instances was given members"):
        freeze_instances(event, FREEZING, lambda: site.cloud.now)


def test_the_handler_reads_its_settings(site: Site) -> None:
    settings = {"FREEZE_DOCUMENT": DOCUMENT, "FREEZE_HOLD_SECONDS": "30"}
    with mock.patch.dict(os.environ, POWERTOOLS):
        app = importlib.import_module("functions.freeze_instances.app")
        with pytest.raises(MissingSetting, match="FREEZE_DOCUMENT"):
            app.handler(site.event(), CONTEXT)
        with mock.patch.dict(os.environ, settings):
            assert app.handler(site.event(), CONTEXT) == {"freezes": [], "failures": []}
