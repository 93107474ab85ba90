"""The alert while an instance does not start again."""

from typing import Any

import pytest

from stillpoint.errors import AwsUnavailable, MalformedInput, MissingSetting
from tests.functions.faults import throttled
from tests.functions.fleet import launch_one, set_state
from tests.functions.samples import sample
from tests.functions.stack import Stack

CAPACITY = "We currently do not have sufficient m5.large capacity"
LAUNCH_ERROR = "Client.InternalError: Client error on launch"


def an_alert(*instance_ids: str, refused: bool = True) -> dict[str, Any]:
    """Return the event for instances of which EC2 refused, or accepted, the start."""
    event = sample("alert_stranded")
    planned, start = event["backup"]["members"][0], event["starts"][0]
    accepted = {"requested_at": "2026-11-22T03:00:45Z"}
    event["instance_ids"] = list(instance_ids)
    event["backup"]["members"] = [planned | {"instance_id": each} for each in instance_ids]
    event["starts"] = [
        start | {"instance_id": each} if refused else accepted | {"instance_id": each}
        for each in instance_ids
    ]
    return event


def stranded(reason: str = "") -> str:
    instance_id = launch_one(name="web")
    set_state(instance_id, "stopped", reason=reason)
    return instance_id


def test_people_are_told_which_instance_is_down_and_why_ec2_does_not_start_it(
    stack: Stack,
) -> None:
    web = stranded()
    assert stack.invoke("alert_stranded", an_alert(web)) == {"alerted": [web]}
    (message,) = stack.messages()
    assert (message["event"], message["severity"]) == ("InstanceStranded", "critical")
    assert message["subject"] == f"[Stillpoint] CRITICAL InstanceStranded: web ({web})"
    (row,) = message["instances"]
    assert (row["instance_id"], row["name"], row["state"]) == (web, "web", "stopped")
    assert CAPACITY in row["why"]
    assert message["execution_arn"].endswith(":i-0a1b2c3d4e5f60003-20261122T030000Z")
    assert message["occurrence"] == "2026-11-22T03:00:00Z"
    for words in ("DOWN", "goes on trying", "KMS", "capacity"):
        assert words in message["text"]


def test_a_start_that_was_accepted_and_fell_back_is_told_with_ec2s_state_reason(
    stack: Stack,
) -> None:
    stack.invoke("alert_stranded", an_alert(stranded(LAUNCH_ERROR), refused=False))
    assert stack.messages()[0]["instances"][0]["why"].startswith(LAUNCH_ERROR)


def test_both_reasons_are_told_if_there_are_two(stack: Stack) -> None:
    stack.invoke("alert_stranded", an_alert(stranded(LAUNCH_ERROR)))
    why = stack.messages()[0]["instances"][0]["why"]
    assert why.startswith(CAPACITY)
    assert LAUNCH_ERROR in why


def test_if_ec2_gives_no_reason_that_is_said(stack: Stack) -> None:
    stack.invoke("alert_stranded", an_alert(stranded(), refused=False))
    assert stack.messages()[0]["instances"][0]["why"] == "EC2 gives no reason."


def test_the_stranded_members_of_a_group_are_told_together(stack: Stack) -> None:
    web, db = stranded(), stranded()
    event = an_alert(web, db)
    event["backup"]["group"] = "erp"
    stack.invoke("alert_stranded", event)
    (message,) = stack.messages()
    assert message["subject"].endswith("InstanceStranded: group erp, 2 instances")
    assert [row["instance_id"] for row in message["instances"]] == [web, db]


def test_each_stranded_instance_is_counted(stack: Stack) -> None:
    stack.invoke("alert_stranded", an_alert(stranded(), stranded()))
    (document,) = stack.metrics()
    (directive,) = document["_aws"]["CloudWatchMetrics"]
    assert document["InstanceStranded"] == [2.0]
    assert directive["Dimensions"] == [["service"]]


def test_if_ec2_does_not_answer_what_is_known_is_told(stack: Stack) -> None:
    web = stranded()
    with throttled("ec2", "DescribeInstances"):
        stack.invoke("alert_stranded", an_alert(web))
    (row,) = stack.messages()[0]["instances"]
    assert (row["name"], row["state"]) == ("web", "")
    assert CAPACITY in row["why"]


def test_an_instance_that_ec2_does_not_know_is_told_all_the_same(stack: Stack) -> None:
    stack.invoke("alert_stranded", sample("alert_stranded"))
    (message,) = stack.messages()
    assert message["instances"][0]["instance_id"] == "i-0a1b2c3d4e5f60003"
    assert "state now:      not known" in message["text"]


def test_an_alert_that_cannot_be_sent_is_an_error(stack: Stack) -> None:
    with throttled("sns", "Publish"), pytest.raises(AwsUnavailable, match="InstanceStranded"):
        stack.invoke("alert_stranded", an_alert(stranded()))
    (document,) = stack.metrics()
    assert document["InstanceStranded"] == [1.0]


@pytest.mark.parametrize("lost", ["backup", "instance_ids", "starts"])
def test_an_event_that_cannot_be_read_is_a_clear_error(stack: Stack, lost: str) -> None:
    event = sample("alert_stranded")
    event.pop(lost)
    with pytest.raises(MalformedInput, match=f"alert_stranded .* cannot read: .*{lost}"):
        stack.invoke("alert_stranded", event)


def test_a_missing_environment_variable_is_named(stack: Stack) -> None:
    with pytest.raises(MissingSetting, match=r"\bTOPIC_ARN\b"):
        stack.invoke("alert_stranded", sample("alert_stranded"), without="TOPIC_ARN")
