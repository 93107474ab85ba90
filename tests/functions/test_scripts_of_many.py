"""Commands of which one goes to several guests."""

from collections.abc import Iterator

import pytest

from stillpoint.scripts import Stage, Status
from tests.functions.scripted import INSTANCE, OTHER, THIRD, run_on, send, two_instances
from tests.functions.ssm import Ssm


@pytest.fixture
def ssm(_aws: None) -> Iterator[Ssm]:
    with two_instances() as fake:
        yield fake


def test_instances_of_the_same_document_share_a_command_that_is_read_once(ssm: Ssm) -> None:
    ssm.agent(THIRD)
    everybody = [INSTANCE, OTHER, THIRD]
    assert {result.status for result in run_on(everybody, ssm).values()} == {Status.RUNNING}
    (sent,) = ssm.sent
    assert sent.request["InstanceIds"] == everybody
    ssm.calls.clear()
    run_on(everybody, ssm)
    assert ssm.calls == ["ListCommands", "ListCommandInvocations"]
    sent.end()
    ssm.calls.clear()
    results = run_on(everybody, ssm)
    assert {result.status for result in results.values()} == {Status.SUCCEEDED}
    assert ssm.calls == ["ListCommands", "ListCommandInvocations"]


def test_one_that_ssm_does_not_know_keeps_no_other_from_its_command(ssm: Ssm) -> None:
    results = run_on([INSTANCE, THIRD, OTHER], ssm)
    assert [results[each].status for each in (INSTANCE, OTHER)] == [Status.RUNNING] * 2
    assert "InvalidInstanceId" in results[THIRD].detail
    assert [sent.instance_ids for sent in ssm.sent] == [[INSTANCE], [OTHER]]
    for sent in ssm.sent:
        sent.end()
    again = run_on([INSTANCE, OTHER], ssm)
    assert [again[each].status for each in (INSTANCE, OTHER)] == [Status.SUCCEEDED] * 2
    assert len(ssm.sent) == 2


def test_members_that_were_sent_a_script_earlier_are_not_sent_it_with_the_others(ssm: Ssm) -> None:
    run_on([OTHER], ssm)
    run_on([INSTANCE, OTHER], ssm)
    assert [sent.instance_ids for sent in ssm.sent] == [[OTHER], [INSTANCE]]


def test_where_many_commands_were_sent_each_instance_is_asked_about_by_itself(ssm: Ssm) -> None:
    run_on([OTHER], ssm)
    for number in range(60):
        send(f"another {number}")
    run_on([INSTANCE, OTHER], ssm)
    assert [sent.instance_ids for sent in (ssm.sent[0], ssm.sent[-1])] == [[OTHER], [INSTANCE]]


def test_one_to_which_a_shared_post_script_was_not_delivered_gets_its_own(ssm: Ssm) -> None:
    both = [INSTANCE, OTHER]
    run_on(both, ssm, Stage.POST_SCRIPT)
    ssm.sent[0].end()
    lost = {"Status": "TimedOut", "StatusDetails": "DeliveryTimedOut", "CommandPlugins": []}
    ssm.apart[OTHER] = {ssm.sent[0].command_id: lost}
    ssm.wait(60)
    for _ in range(2):
        results = run_on(both, ssm, Stage.POST_SCRIPT)
        assert [results[each].status for each in both] == [Status.SUCCEEDED, Status.RUNNING]
    assert [sent.instance_ids for sent in ssm.sent] == [both, [OTHER]]
    ssm.sent[1].end()
    results = run_on(both, ssm, Stage.POST_SCRIPT)
    assert [results[each].status for each in both] == [Status.SUCCEEDED] * 2
