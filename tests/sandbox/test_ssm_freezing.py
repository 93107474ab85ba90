"""Freezing a guest: what it holds, what it says, and what ends it."""

import json
from typing import Any

import pytest

from tests.sandbox.ssm_lab import FREEZE, SCRIPTS, SsmLab


def lab_with_freeze(**knobs: object) -> tuple[SsmLab, str]:
    lab = SsmLab()
    lab.create("freeze", FREEZE)
    return lab, lab.managed("web", **knobs)


def thaw(lab: SsmLab, web: str, **more: object) -> tuple[int, dict[str, Any]]:
    end = lab.run(web, "freeze", "thaw", **more)
    output = end["StandardOutputContent"]
    return end["ResponseCode"], json.loads(output) if output else {}


def test_an_image_within_the_freeze_is_clean_and_the_thaw_says_that_it_held() -> None:
    lab, web = lab_with_freeze()
    said = lab.freeze(web)
    assert said["filesystems"] == ["/mnt/sdf", "/mnt/sdg", "/"]
    assert said["skipped"] == ["/boot/efi"]
    assert said["from"] - said["now"] == 5
    assert said["until"] - said["from"] == 30
    assert lab.clock.time < said["from"]
    lab.wait_until(said["from"] + 0.5)
    image = lab.create_image(web)
    code, end = thaw(lab, web)
    assert (code, end["by"], end["failed"]) == (0, "hold-over", [])
    assert end["from"] == pytest.approx(said["from"] + 0.3)
    assert end["until"] == pytest.approx(end["from"] + 30)
    truth = lab.image_truth(image)
    assert (truth["dirty_bytes"], truth["at_rest"], truth["application"]) == (0, True, False)
    assert lab.world.truth()["violations"] == []


def test_an_image_before_or_after_the_freeze_is_not_clean() -> None:
    lab, web = lab_with_freeze()
    before = lab.create_image(web, "before")
    lab.wait(20)
    said = lab.freeze(web)
    lab.wait_until(said["until"] + 1)
    after = lab.create_image(web, "after")
    lab.wait(5)
    assert lab.image_truth(before)["dirty_bytes"] > 0
    assert lab.image_truth(after)["dirty_bytes"] > 0


def test_nothing_reaches_the_agent_while_the_root_is_frozen() -> None:
    lab, web = lab_with_freeze()
    lab.create("erp", SCRIPTS)
    said = lab.freeze(web)
    lab.wait_until(said["from"] + 1)
    command = lab.send(web, "erp", "pre-script")
    lab.wait(20)
    assert lab.look(command, web)["Status"] == "Pending"
    lab.ended(command, web)
    (began,) = lab.happened(web, "script_began")
    (thawed,) = lab.happened(web, "guest_thawed")
    assert began["at"] >= thawed["at"]


def test_what_ends_while_the_root_is_frozen_is_reported_after_the_thaw() -> None:
    lab, web = lab_with_freeze(scripts={"erp": {"pre-script": {"seconds": 8}}})
    lab.create("erp", SCRIPTS)
    said = lab.freeze(web)
    command = lab.send(web, "erp", "pre-script")
    lab.wait_until(said["from"] + 15)
    assert lab.look(command, web)["Status"] == "InProgress"
    lab.wait_until(said["until"] + 2)
    assert lab.look(command, web)["Status"] == "Success"


def test_a_thaw_that_is_asked_for_before_the_freeze_prevents_it() -> None:
    lab, web = lab_with_freeze()
    lab.freeze(web)
    code, end = thaw(lab, web)
    assert (code, end["by"], end["from"], end["until"]) == (201, "asked", None, None)
    lab.wait(60)
    assert lab.happened(web, "guest_frozen") == []


def test_a_guests_clock_can_be_wrong() -> None:
    lab, web = lab_with_freeze(clock_skew_seconds=-3600)
    said = lab.freeze(web)
    assert said["now"] == pytest.approx(lab.clock.time - 3600, abs=2)
    lab.wait(5)
    _, end = thaw(lab, web)
    assert end["from"] == pytest.approx(said["from"], abs=1)


def test_a_thaw_concerns_the_freeze_of_its_own_execution() -> None:
    lab, web = lab_with_freeze()
    assert thaw(lab, web)[0] == 204
    lab.freeze(web, executionId=["one"])
    assert thaw(lab, web, parameters={"executionId": ["two"]})[0] == 204
    lab.wait(60)
    assert thaw(lab, web, parameters={"executionId": ["one"]})[0] == 0
    assert thaw(lab, web, parameters={"executionId": ["one"]})[0] == 0


def test_a_second_freeze_is_refused_while_the_first_lasts() -> None:
    lab, web = lab_with_freeze()
    lab.freeze(web)
    end = lab.run(web, "freeze", "freeze")
    assert (end["ResponseCode"], end["StatusDetails"]) == (201, "Failed")
    assert "in progress" in end["StandardErrorContent"]
    lab.wait(60)
    assert lab.freeze(web)["filesystems"]


def test_a_guest_that_cannot_freeze_says_so_at_once() -> None:
    lab, web = lab_with_freeze(freezable=False)
    assert lab.run(web, "freeze", "freeze")["ResponseCode"] == 201
    assert lab.run(web, "freeze", "dry-run")["ResponseCode"] == 201
    lab.wait(60)
    assert lab.happened(web, "guest_frozen") == []


def test_a_dry_run_changes_nothing() -> None:
    lab, web = lab_with_freeze()
    end = lab.run(web, "freeze", "dry-run")
    assert json.loads(end["StandardOutputContent"])["filesystems"][-1] == "/"
    lab.wait(60)
    assert lab.happened(web, "guest_frozen") == []


def test_the_watchdog_needs_room_behind_the_hold() -> None:
    lab, web = lab_with_freeze()
    times = {"holdSeconds": ["30"], "thawSeconds": ["34"]}
    assert lab.run(web, "freeze", "freeze", parameters=times)["ResponseCode"] == 201


def test_a_file_system_that_cannot_be_frozen_ends_the_freeze() -> None:
    lab, web = lab_with_freeze()
    lab.world.faults.add({"name": "freeze-fails"})
    said = lab.freeze(web)
    lab.wait_until(said["from"] + 1)
    image = lab.create_image(web)
    code, end = thaw(lab, web)
    assert (code, end["by"], end["from"]) == (201, "failed", None)
    assert end["failed"] == ["/: Operation not supported"]
    assert lab.image_truth(image)["dirty_bytes"] > 0


def test_the_watchdog_thaws_when_the_holder_does_not() -> None:
    lab, web = lab_with_freeze()
    lab.world.faults.add({"name": "auto-thaw-fires"})
    said = lab.freeze(web)
    lab.wait_until(said["from"] + 1)
    code, end = thaw(lab, web)
    assert (code, end["by"]) == (203, "auto-thaw")
    assert end["until"] == pytest.approx(said["from"] + 60)
    assert lab.world.truth()["violations"] == []


def test_a_holder_that_dies_early_leaves_an_image_that_is_not_clean() -> None:
    lab, web = lab_with_freeze()
    lab.world.faults.add({"name": "auto-thaw-fires", "delay_seconds": 2})
    said = lab.freeze(web)
    lab.wait_until(said["from"] + 0.5)
    image = lab.create_image(web)
    code, end = thaw(lab, web)
    assert (code, end["until"]) == (203, pytest.approx(said["from"] + 2))
    lab.wait(5)
    dirty = [one["dirty_bytes"] > 0 for one in lab.image_truth(image)["snapshots"]]
    assert dirty == [False, True, True]


def test_an_agent_that_hangs_freezes_without_a_word() -> None:
    lab, web = lab_with_freeze()
    lab.world.faults.add({"name": "agent-hangs", "stage": "freeze"})
    command = lab.send(web, "freeze", "freeze")
    lab.wait(60)
    assert lab.look(command, web)["Status"] == "InProgress"
    assert len(lab.happened(web, "guest_frozen")) == 1
    assert thaw(lab, web)[0] == 0


@pytest.mark.parametrize("action", ["StopInstances", "RebootInstances"])
def test_a_guest_that_goes_down_is_frozen_no_more(action: str) -> None:
    lab, web = lab_with_freeze()
    said = lab.freeze(web)
    lab.wait_until(said["from"] + 1)
    lab.call(action, InstanceIds=[web])
    lab.wait(60)
    assert [each["by"] for each in lab.happened(web, "guest_thawed")] == ["down"]
    if action == "StopInstances":
        lab.start(web)
    lab.wait(60)
    assert thaw(lab, web)[0] == 204
    image = lab.create_image(web)
    lab.wait(5)
    assert lab.image_truth(image)["dirty_bytes"] > 0


def test_a_plug_that_is_pulled_while_frozen_loses_nothing() -> None:
    lab, web = lab_with_freeze(hung=True, plug_seconds=3)
    said = lab.freeze(web)
    lab.wait_until(said["from"] + 1)
    lab.stop(web)
    assert "plug_pulled" in lab.what_happened(web)
    image = lab.create_image(web)
    lab.wait(5)
    assert lab.image_truth(image)["dirty_bytes"] == 0


def test_a_freeze_of_more_than_two_minutes_is_a_violation() -> None:
    lab, web = lab_with_freeze()
    said = lab.freeze(web, holdSeconds=["200"], thawSeconds=["300"])
    lab.wait_until(said["from"] + 119)
    assert lab.world.truth()["violations"] == []
    lab.wait(3)
    (violation,) = lab.world.truth()["violations"]
    assert (violation["instances"], violation["action"]) == ([web], "SendCommand")
    assert violation["what"].startswith("a file system is frozen since 120 s")
