"""Scenario files: what they may say, and that there is one for every fault."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sandbox import run, scenario
from sandbox.arrangement import arrange
from sandbox.ec2 import FAULT_NAMES
from sandbox.host_faults import HOST_FAULT_NAMES
from sandbox.outcomes import CopyOutcome
from sandbox.scenario import ScenarioError, filled, last_due, load, parse
from sandbox.session import Message
from tests.sandbox.companion_lab import CompanionLab
from tests.sandbox.told import OUTCOME

START = datetime(2026, 11, 22, 2, 57, 30, tzinfo=UTC)

# "Faults by name" of the design.
FAULTS = {
    "throttle",
    "server-error",
    "lost-response",
    "access-denied",
    "no-capacity",
    "no-kms-grant",
    "hung-guest",
    "image-failed",
    "snapshot-never-initiated",
    "execution-aborted",
    "event-doubled",
    "tick-missed",
    "script-fails",
    "freeze-fails",
}


@pytest.mark.parametrize("name", scenario.names())
def test_every_scenario_that_comes_along_can_be_read(name: str) -> None:
    chosen = load(name)
    assert chosen.title
    assert chosen.expected
    assert {each["name"] for each in chosen.faults} <= {*FAULT_NAMES, *HOST_FAULT_NAMES}


def test_every_fault_of_the_design_has_a_scenario_that_sets_it() -> None:
    assert set(scenario.names()) >= FAULTS
    for name in FAULTS:
        assert name in {each["name"] for each in load(name).faults}


def test_an_unknown_scenario_is_answered_with_those_that_exist() -> None:
    with pytest.raises(ScenarioError, match=r"no scenario 'flood'; there are: .*throttle"):
        load("flood")


def test_a_file_that_says_something_unknown_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('title = "t"\nsurprise = 1\n[expect.nobody]\nstate = "running"\n')
    with pytest.raises(ScenarioError, match="unknown: nobody, surprise"):
        load(str(path))
    path.write_text("title = ")
    with pytest.raises(ScenarioError, match=r"mine\.toml"):
        load(str(path))


def test_due_is_a_full_minute_that_far_from_the_start() -> None:
    assert filled("cron({due+3m})", START) == "cron(1 3 22 11 ? *)"
    assert filled("daily {time+3m}", START) == "daily 03:01"
    assert filled("daily 03:00", START) == "daily 03:00"
    assert filled("cron({due+2m})", START.replace(second=0)) == "cron(59 2 22 11 ? *)"


def test_the_last_due_moment_is_that_of_the_whole_fleet() -> None:
    tags = {"stillpoint:schedule": "daily {time+3m}"}
    later = {"stillpoint:schedule": "daily {time+9m}"}
    chosen = parse(
        {"title": "t", "instance": [{"name": "a", "tags": tags}, {"name": "b", "tags": later}]}
    )
    assert last_due(chosen, START) == datetime(2026, 11, 22, 3, 7, tzinfo=UTC)


SURROUNDED: dict[str, Any] = {
    "title": "t",
    "target_group": [{"name": "site", "deregistration_delay": 30}, {"name": "admin"}],
    "auto_scaling_group": [
        {"name": "asg", "min": 1, "max": 4, "target_groups": ["site"], "suspended": ["AZRebalance"]}
    ],
    "instance": [
        {"name": "a", "auto_scaling_group": "asg", "alarms": ["a-cpu"]},
        {"name": "b", "auto_scaling_group": "asg"},
        {"name": "c", "target_groups": ["admin:8443", "site"]},
    ],
}


def arranged(document: dict[str, Any]) -> dict[str, Any]:
    """The truth about the surroundings of a scenario's instances, which it gives by name."""
    lab, chosen = CompanionLab(), parse(document)
    ids = {spec.name: lab.launch(spec.name) for spec in chosen.instances}
    arrange(chosen, ids, lab.ask)
    lab.wait(30)
    text = json.dumps(lab.companions.truth())
    for name, instance_id in ids.items():
        text = text.replace(instance_id, name)
    truth: dict[str, Any] = json.loads(text)
    (alarm,) = lab.ask("cloudwatch", "DescribeAlarms")["MetricAlarms"]
    truth["alarm"] = (alarm["AlarmName"], alarm["Dimensions"][0]["Value"] == ids["a"])
    return truth


def test_instances_are_put_into_groups_behind_load_balancers_and_under_alarms() -> None:
    truth = arranged(SURROUNDED)
    (group,) = truth["auto_scaling_groups"]
    assert group == {
        "name": "asg",
        "region": "us-east-1",
        "min": 1,
        "max": 4,
        "desired": 2,
        "members": {"a": "InService", "b": "InService"},
    }
    registered = {
        (group["name"], each["instance_id"], each["port"], each["state"])
        for group in truth["target_groups"]
        for each in group["targets"]
    }
    assert registered == {
        ("site", "a", 80, "healthy"),
        ("site", "b", 80, "healthy"),
        ("site", "c", 80, "healthy"),
        ("admin", "c", 8443, "healthy"),
    }
    assert truth["alarm"] == ("a-cpu", True)
    assert truth["violations"] == []


def test_documents_are_made_so_that_they_may_be_run_as_scripts() -> None:
    lab = CompanionLab()
    file = "docs/scripts/mysql.yaml"
    documents = [{"name": "quiesce", "file": file}]
    arrange(parse({"title": "t", "document": documents}), {}, lab.ask)
    made = lab.ask("ssm", "GetDocument", Name="quiesce", DocumentFormat="YAML")
    assert "pre-script" in made["Content"]
    tags = lab.ask("ssm", "ListTagsForResource", ResourceType="Document", ResourceId="quiesce")
    assert tags["TagList"] == [{"Key": "DLMScriptsAccess", "Value": "true"}]


def test_the_desired_capacity_may_be_another_than_the_number_of_members() -> None:
    (group,) = SURROUNDED["auto_scaling_group"]
    truth = arranged(SURROUNDED | {"auto_scaling_group": [group | {"desired": 4}]})
    assert truth["auto_scaling_groups"][0]["desired"] == 4


@pytest.mark.parametrize(
    ("instance", "problem"),
    [
        ({"auto_scaling_group": "none"}, "d is in none, which is no group"),
        ({"target_groups": ["none"]}, "no target group has the name none"),
        ({"target_groups": ["site:http"]}, "invalid literal"),
        ({"target_groups": ["site"], "state": "stopped"}, "does not run"),
        ({"auto_scaling_group": "asg", "state": "stopped"}, "does not run"),
    ],
)
def test_a_group_that_cannot_be_is_refused(instance: dict[str, Any], problem: str) -> None:
    instances = [*SURROUNDED["instance"], {"name": "d", **instance}]
    with pytest.raises(ValueError, match=problem):
        parse(SURROUNDED | {"instance": instances})


CHOSEN = parse(
    {
        "title": "t",
        "instance": [{"name": "web"}],
        "expect": {
            "messages": ["BackupSucceeded"],
            "web": {"outcome": "succeeded", "state": "running", "consistency": "file-system"},
        },
    }
)
SUCCEEDED = Message("s", "t", {"event": "BackupSucceeded", "severity": "info"}, {})
ALARM = Message("s", "t", {}, {"AlarmName": "silent"})


def test_nothing_is_wrong_if_all_is_as_expected_and_alarms_are_no_events() -> None:
    assert run.judge(CHOSEN, [OUTCOME], [SUCCEEDED, ALARM]) == []


def test_a_false_claim_is_a_failure_whatever_is_expected() -> None:
    (failure,) = run.judge(CHOSEN, [replace(OUTCOME, dirty_bytes=5)], [SUCCEEDED])
    assert failure == "web: claimed file-system, but its image lacks 5 bytes"
    crash = replace(OUTCOME, dirty_bytes=5, consistency="crash")
    assert not crash.claim_is_false


def test_every_difference_is_told_in_words() -> None:
    failed = replace(OUTCOME, outcome="failed", state_after="stopped", reason="no capacity")
    assert run.judge(CHOSEN, [failed], []) == [
        "web: expected outcome 'succeeded', found 'failed' (no capacity)",
        "web: expected state 'running', found 'stopped' (no capacity)",
        "messages: expected ['BackupSucceeded'], received []",
    ]


def test_what_is_kept_and_copied_is_compared_too() -> None:
    there = CopyOutcome("eu-west-1", "ami-2", "available", "file-system", 0, [])
    wanted = {"kept": 23, "expired": 3, "copies": ["eu-west-1"]}
    chosen = parse({"title": "t", "instance": [{"name": "web"}], "expect": {"web": wanted}})
    kept = replace(OUTCOME, kept=23, expired=3, copies=(there,))
    assert run.judge(chosen, [kept], []) == []
    pending = replace(OUTCOME, kept=24, expired=2, copies=(replace(there, state="pending"),))
    assert run.judge(chosen, [pending], []) == [
        "web: expected kept 23, found 24",
        "web: expected expired 3, found 2",
        "web: expected copies ['eu-west-1'], found []",
    ]


def test_where_it_serves_and_its_scripts_are_compared_too() -> None:
    wanted = {"service": "site healthy", "scripts": "pre-script 0, post-script 0"}
    chosen = parse({"title": "t", "instance": [{"name": "web"}], "expect": {"web": wanted}})
    good = replace(OUTCOME, service="site healthy", scripts="pre-script 0, post-script 0")
    assert run.judge(chosen, [good], []) == []
    assert run.judge(chosen, [OUTCOME], []) == [
        "web: expected service 'site healthy', found ''",
        "web: expected scripts 'pre-script 0, post-script 0', found ''",
    ]


def test_a_claim_of_application_that_is_false_is_a_failure_in_words_of_its_own() -> None:
    claimed = replace(OUTCOME, consistency="application", quiesced=False)
    chosen = parse({"title": "t", "instance": [{"name": "web"}]})
    assert run.judge(chosen, [claimed], []) == [
        "web: claimed application, but its image was made while its applications were at work"
    ]


def test_a_copy_that_claims_too_much_or_says_too_little_is_a_failure() -> None:
    bad = CopyOutcome("eu-west-1", "ami-2", "available", "file-system", 5, ["stillpoint:retain"])
    assert run.judge(CHOSEN, [replace(OUTCOME, copies=(bad,))], [SUCCEEDED]) == [
        "web: its copy ami-2 claims file-system, but lacks 5 bytes",
        "web: its copy ami-2 does not say stillpoint:retain",
    ]


def test_a_fault_that_never_struck_is_a_failure() -> None:
    faults = {
        "ec2": [{"name": "throttle", "hits": 0}, {"name": "hung-guest", "hits": 1}],
        "host": [{"name": "tick-missed", "seen": 1, "skip": 2}],
    }
    assert run.idle_faults(faults) == [
        "the fault throttle never struck",
        "the fault tick-missed never struck",
    ]
