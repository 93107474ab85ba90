"""The all-clear after an alert, once the instances run."""

from typing import Any

import pytest

from stillpoint.errors import MalformedInput
from tests.functions.faults import throttled
from tests.functions.fleet import launch
from tests.functions.samples import sample
from tests.functions.stack import Stack


def an_all_clear(*instance_ids: str) -> dict[str, Any]:
    """Return the event for instances that have started after all."""
    event = sample("alert_stranded")
    planned = event["backup"]["members"][0]
    event["backup"]["members"] = [planned | {"instance_id": each} for each in instance_ids]
    return event | {"instance_ids": list(instance_ids), "starts": [], "recovered": True}


def test_whoever_was_alerted_is_told_that_it_is_over(stack: Stack) -> None:
    (web,) = launch(1, name="web")
    assert stack.invoke("alert_stranded", an_all_clear(web)) == {"alerted": [web]}
    (message,) = stack.messages()
    assert (message["event"], message["severity"]) == ("InstanceRecovered", "warning")
    assert message["subject"] == f"[Stillpoint] WARNING InstanceRecovered: web ({web})"
    (row,) = message["instances"]
    assert (row["state"], row["why"]) == ("running", "It has started after all.")
    assert message["remedy"] == "Nothing."
    assert message["occurrence"] == "2026-11-22T03:00:00Z"
    assert message["execution_arn"].endswith(":i-0a1b2c3d4e5f60003-20261122T030000Z")
    assert message["text"].startswith(f"Running again: web ({web})")


def test_the_all_clear_of_a_group_is_one_message(stack: Stack) -> None:
    event = an_all_clear(*launch(2, name="web"))
    event["backup"]["group"] = "erp"
    stack.invoke("alert_stranded", event)
    (message,) = stack.messages()
    assert message["subject"].endswith("InstanceRecovered: group erp, 2 instances")


def test_the_all_clear_is_counted_and_is_no_alarm(stack: Stack) -> None:
    stack.invoke("alert_stranded", an_all_clear(*launch(2)))
    (document,) = stack.metrics()
    assert document["InstanceRecovered"] == [2.0]
    assert "InstanceStranded" not in document


def test_if_ec2_does_not_answer_the_all_clear_is_sent_all_the_same(stack: Stack) -> None:
    (web,) = launch(1)
    with throttled("ec2", "DescribeInstances"):
        stack.invoke("alert_stranded", an_all_clear(web))
    (row,) = stack.messages()[0]["instances"]
    assert (row["instance_id"], row["name"], row["state"]) == (web, "web", "")


def test_an_all_clear_that_names_nobody_is_a_clear_error(stack: Stack) -> None:
    event = an_all_clear("i-0a")
    event["instance_ids"] = None
    with pytest.raises(MalformedInput, match="alert_stranded was given an event"):
        stack.invoke("alert_stranded", event)
