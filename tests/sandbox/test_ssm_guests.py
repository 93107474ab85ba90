"""What scripts and VSS do to the applications in a guest, and what can go wrong there."""

import pytest

from tests.sandbox.ssm_lab import SCRIPTS, SsmLab
from tests.sandbox.test_ssm_commands import lab_with_script, ping

VSS = "AWSEC2-VssInstallAndSnapshot"


def test_an_image_between_the_scripts_holds_quiesced_applications() -> None:
    lab, web = lab_with_script()
    assert lab.run(web, "erp", "pre-script")["Status"] == "Success"
    lab.stop(web)
    image = lab.create_image(web)
    lab.wait(5)
    lab.start(web)
    lab.wait_for(lambda: ping(lab, web) == "Online")
    assert lab.run(web, "erp", "post-script")["Status"] == "Success"
    truth = lab.image_truth(image)
    assert (truth["application"], truth["dirty_bytes"]) == (True, 0)


@pytest.mark.parametrize("stages", [[], ["dry-run"], ["pre-script", "post-script"]])
def test_without_a_pre_script_in_force_no_application_is_quiesced(stages: list[str]) -> None:
    lab, web = lab_with_script()
    for stage in stages:
        lab.run(web, "erp", stage)
    image = lab.create_image(web)
    lab.wait(5)
    assert lab.image_truth(image)["application"] is False


def test_a_pre_script_that_failed_has_quiesced_nothing() -> None:
    lab, web = lab_with_script(scripts={"erp": {"pre-script": {"exit": 201}}})
    lab.run(web, "erp", "pre-script")
    image = lab.create_image(web)
    lab.wait(5)
    assert lab.image_truth(image)["application"] is False


def test_the_next_boot_ends_the_quiescence() -> None:
    lab, web = lab_with_script()
    lab.run(web, "erp", "pre-script")
    lab.stop(web)
    lab.start(web)
    lab.wait(60)
    image = lab.create_image(web)
    lab.wait(5)
    assert lab.image_truth(image)["application"] is False


def test_a_copy_holds_the_applications_as_its_source_does() -> None:
    lab, web = lab_with_script()
    lab.run(web, "erp", "pre-script")
    copy = lab.copy(lab.available_image(web))
    lab.wait(5)
    assert lab.image_truth(copy)["application"] is True


def test_a_script_that_lets_go_by_itself_says_so_in_the_post_script() -> None:
    spec = {"pre-script": {"auto_thaw_seconds": 3}}
    lab, web = lab_with_script(scripts={"erp": spec})
    lab.run(web, "erp", "pre-script")
    lab.wait(3)
    image = lab.create_image(web)
    lab.wait(5)
    assert lab.image_truth(image)["application"] is False
    assert lab.run(web, "erp", "post-script")["ResponseCode"] == 203


def test_a_script_made_to_fail_fails_at_its_stage_alone() -> None:
    lab, web = lab_with_script()
    lab.world.faults.add({"name": "script-fails", "stage": "post-script", "times": 2})
    assert lab.run(web, "erp", "pre-script")["Status"] == "Success"
    assert lab.run(web, "erp", "post-script")["ResponseCode"] == 202
    lab.world.faults.add({"name": "script-fails", "stage": "pre-script", "exit_code": 206})
    assert lab.run(web, "erp", "pre-script")["ResponseCode"] == 206


def test_a_script_made_to_hang_hangs_once() -> None:
    lab, web = lab_with_script()
    lab.world.faults.add({"name": "script-hangs", "instance": "web"})
    assert lab.run(web, "erp", "pre-script")["StatusDetails"] == "ExecutionTimedOut"
    assert lab.run(web, "erp", "pre-script")["Status"] == "Success"


def test_an_agent_that_hangs_never_reports_what_was_done() -> None:
    lab, web = lab_with_script()
    lab.world.faults.add({"name": "agent-hangs"})
    command = lab.send(web, "erp", "pre-script")
    lab.wait(60)
    assert lab.look(command, web)["Status"] == "InProgress"
    assert [each["exit_code"] for each in lab.happened(web, "script_ended")] == ["0"]
    lab.wait(70)
    assert lab.look(command, web)["StatusDetails"] == "ExecutionTimedOut"


def test_an_agent_can_stay_away_after_a_start() -> None:
    lab, web = lab_with_script()
    lab.world.faults.add({"name": "agent-offline-after-start", "delay_seconds": 300})
    lab.stop(web)
    lab.start(web)
    lab.wait(120)
    assert (lab.state(web), ping(lab, web)) == ("running", "ConnectionLost")
    lab.wait(300)
    assert ping(lab, web) == "Online"
    lab.world.faults.add({"name": "agent-offline-after-start"})
    lab.stop(web)
    lab.start(web)
    lab.wait(100_000)
    assert ping(lab, web) == "ConnectionLost"


def vss(lab: SsmLab, win: str) -> dict[str, object]:
    tags = "Key=Name,Value=win;Key=stillpoint:instance,Value=x"
    parameters = {"CreateAmi": ["True"], "AmiName": ["point"], "tags": [tags]}
    return lab.run(win, VSS, parameters=parameters)


def test_vss_makes_a_consistent_image_of_a_running_guest() -> None:
    lab = SsmLab()
    win = lab.managed("win", platform="windows")
    assert vss(lab, win)["Status"] == "Success"
    (truth,) = lab.world.truth()["images"]
    assert (truth["name"], truth["no_reboot"]) == ("point", True)
    assert (truth["application"], truth["dirty_bytes"], truth["at_rest"]) == (True, 0, True)
    assert truth["tags"] == {"Name": "win", "stillpoint:instance": "x"}
    for snapshot in truth["snapshots"]:
        assert snapshot["tags"] == truth["tags"] | {"AppConsistent": "True"}
    lab.wait(15)
    later = lab.create_image(win, "later")
    lab.wait(5)
    assert lab.image_truth(later)["dirty_bytes"] > 0


def test_vss_that_does_not_work_makes_an_image_that_says_so() -> None:
    lab = SsmLab()
    win = lab.managed("win", platform="windows", vss_works=False)
    assert vss(lab, win)["Status"] == "Success"
    (truth,) = lab.world.truth()["images"]
    assert truth["application"] is False
    assert truth["dirty_bytes"] > 0
    assert {one["tags"]["AppConsistent"] for one in truth["snapshots"]} == {"False"}


def test_vss_holds_the_writers_for_ten_seconds_at_most() -> None:
    lab = SsmLab(next_snapshot_seconds=8)
    win = lab.managed("win", platform="windows")
    assert vss(lab, win)["Status"] == "Success"
    lab.wait(10)
    (truth,) = lab.world.truth()["images"]
    assert truth["application"] is False
    assert [one["dirty_bytes"] > 0 for one in truth["snapshots"]] == [False, False, True]


def test_vss_fails_with_the_words_of_ec2() -> None:
    lab = SsmLab()
    win = lab.managed("win", platform="windows")
    lab.create_image(win, "point")
    end = vss(lab, win)
    assert end["Status"] == "Failed"
    assert "InvalidAMIName.Duplicate" in str(end["StandardErrorContent"])
    listed = lab.do("ListCommandInvocations", CommandId=end["CommandId"], Details=True)
    (invocation,) = listed["CommandInvocations"]
    (step,) = invocation["CommandPlugins"]
    assert (invocation["Status"], invocation["StatusDetails"]) == ("Failed", "Failed")
    assert "InvalidAMIName.Duplicate" in step["Output"]


def test_vss_ends_its_pause_even_if_its_command_is_over() -> None:
    lab = SsmLab(first_snapshot_seconds=60)
    win = lab.managed("win", platform="windows")
    parameters = {"CreateAmi": ["True"], "AmiName": ["point"], "executionTimeout": ["12"]}
    assert lab.run(win, VSS, parameters=parameters)["StatusDetails"] == "ExecutionTimedOut"
    lab.wait(30)
    image = lab.create_image(win, "later")
    lab.wait(70)
    assert lab.image_truth(image)["at_rest"] is False


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("platform", "beos"),
        ("managed", "yes"),
        ("clock_skew_seconds", "fast"),
        ("scripts", {"erp": 1}),
        ("scripts", []),
    ],
)
def test_an_unsound_knob_is_refused_in_words(knob: str, value: object) -> None:
    lab, web = lab_with_script()
    with pytest.raises(ValueError, match=knob):
        lab.world.configure(web, **{knob: value})


def test_knobs_are_shown() -> None:
    lab, web = lab_with_script(clock_skew_seconds=3)
    shown = lab.world.describe_physics(web)
    assert (shown["managed"], shown["platform"], shown["clock_skew_seconds"]) == (True, "linux", 3)
    assert SCRIPTS["schemaVersion"] == "2.2"
