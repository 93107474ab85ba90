"""Commands in the guest: sent once, looked at, cancelled, and found again."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from stillpoint.aws import scripts
from stillpoint.aws.commands import Commands
from stillpoint.errors import AwsRefused, AwsUnavailable
from stillpoint.scripts import ScriptResult, Stage, Status, execution_id
from tests.functions.faults import refused
from tests.functions.scripted import (
    DOCUMENT,
    EXECUTION,
    INSTANCE,
    OTHER,
    SHARED,
    THIRD,
    find,
    look,
    run,
    send,
    two_instances,
)
from tests.functions.ssm import CONTENT, PARAMETERS, START, Document, Ssm, Step


@pytest.fixture
def ssm(_aws: None) -> Iterator[Ssm]:
    with two_instances() as fake:
        yield fake


def outcome(stage: Stage = Stage.PRE_SCRIPT) -> ScriptResult:
    return scripts.outcomes({INSTANCE: DOCUMENT}, stage, EXECUTION, Commands())[INSTANCE]


def test_a_command_is_sent_with_its_comment_and_a_limit_on_its_delivery(ssm: Ssm) -> None:
    command_id = send()

    (sent,) = ssm.sent
    assert sent.command_id == command_id
    assert sent.request == {
        "InstanceIds": [INSTANCE],
        "DocumentName": DOCUMENT,
        "Comment": f"{EXECUTION} freeze",
        "Parameters": {"command": ["freeze"]},
        "TimeoutSeconds": 60,
    }


@pytest.mark.parametrize("document", [DOCUMENT, SHARED])
def test_a_command_of_the_same_comment_is_not_sent_again(ssm: Ssm, document: str) -> None:
    first = send(document=document)
    for number in range(5):
        send(f"another {number}", document)

    assert send(document=document) == first
    assert find(INSTANCE, document, f"{EXECUTION} freeze") == [first]
    assert len(ssm.sent) == 6


def test_the_command_of_another_instance_document_or_execution_is_not_taken_for_it(
    ssm: Ssm,
) -> None:
    send()

    assert find(OTHER, DOCUMENT, f"{EXECUTION} freeze") == []
    assert find(INSTANCE, "another", f"{EXECUTION} freeze") == []
    assert find(INSTANCE, DOCUMENT, f"{EXECUTION} thaw") == []
    assert len(ssm.sent) == 1


def test_of_two_commands_of_a_comment_the_first_counts(ssm: Ssm) -> None:
    first = run(ssm)
    ssm.sent[0].hidden = True  # shown late
    ssm.wait(2)
    run(ssm)
    ssm.sent[0].hidden = False
    ssm.sent[0].end()
    ssm.sent[1].fail(204)

    assert len(ssm.sent) == 2
    assert run(ssm).status is Status.SUCCEEDED
    assert outcome().command_id == first.command_id == ssm.sent[0].command_id


def test_a_command_that_is_not_shown_yet_is_running(ssm: Ssm) -> None:
    command_id = send()
    ssm.sent[0].hidden = True

    assert look(command_id).status is Status.RUNNING
    with refused("ssm", "ListCommandInvocations", "InvalidCommandId"):
        assert look(command_id).status is Status.RUNNING


@pytest.mark.parametrize("status", ["Pending", "InProgress", "Delayed", "Cancelling"])
def test_a_command_without_an_end_is_running(ssm: Ssm, status: str) -> None:
    command_id = send()
    ssm.sent[0].status = ssm.sent[0].details = status

    assert look(command_id).status is Status.RUNNING


def test_what_a_command_wrote_is_returned_with_its_exit_code(ssm: Ssm) -> None:
    command_id = send()
    ssm.sent[0].end("Success", "Success", Step(output='{"now": 1}\n'))

    result = look(command_id)

    assert (result.status, result.exit_code, result.output) == (
        Status.SUCCEEDED,
        0,
        '{"now": 1}\n',
    )
    assert (result.document, result.command_id) == (DOCUMENT, command_id)


def test_of_several_steps_the_one_that_failed_speaks(ssm: Ssm) -> None:
    command_id = send()
    ssm.sent[0].end(
        "Failed",
        "Failed",
        Step("check"),
        Step("quiesce", "Failed", 206, error="The standby lags behind.\n"),
        Step("report", "Success", 0, "done"),
    )

    result = look(command_id)

    assert (result.status, result.exit_code) == (Status.FAILED, 206)
    assert result.detail == "the application was not ready for it (exit code 206)"
    assert result.sentence == (
        f"The script document {DOCUMENT} on {INSTANCE} failed: the application was not ready for it"
        f" (exit code 206). Its last words: The standby lags behind. Command: {command_id}."
    )


def test_of_several_steps_that_succeeded_the_last_speaks(ssm: Ssm) -> None:
    command_id = send()
    ssm.sent[0].end("Success", "Success", Step("check", output="a"), Step("quiesce", output="b"))

    assert look(command_id).output == "b"


def test_a_step_with_a_name_too_short_to_ask_for_speaks_all_the_same(ssm: Ssm) -> None:
    command_id = send()
    ssm.sent[0].end("Failed", "Failed", Step("look"), Step("run", "Failed", 201, error="lost"))

    result = look(command_id)

    assert (result.exit_code, result.output) == (201, "lost")


@pytest.mark.parametrize("error", ["InvocationDoesNotExist", "InvalidPluginName"])
def test_a_verdict_without_its_output_is_a_verdict(ssm: Ssm, error: str) -> None:
    command_id = send()
    ssm.sent[0].fail(201)
    ssm.refusals["GetCommandInvocation"] = error

    result = look(command_id)

    assert (result.status, result.exit_code) == (Status.FAILED, 201)


@pytest.mark.parametrize(
    ("status", "details", "words", "delivered"),
    [
        ("TimedOut", "DeliveryTimedOut", "it was not delivered in time", False),
        ("TimedOut", "Delivery Timed Out", "it was not delivered in time", False),
        ("TimedOut", "ExecutionTimedOut", "it did not end in time", True),
        ("Failed", "Undeliverable", "it could not be delivered", False),
        ("Failed", "Terminated", "Systems Manager ended it", True),
        ("Failed", "InvalidPlatform", "not for the platform", True),
        ("Failed", "AccessDenied", "lacks the permission", True),
        ("Cancelled", "Cancelled", "it was cancelled", True),
        ("Failed", "Something\nNew", "Systems Manager calls it Something?New", True),
    ],
)
def test_every_way_to_fail_has_words(
    ssm: Ssm, status: str, details: str, words: str, delivered: bool
) -> None:
    command_id = send()
    ssm.sent[0].end(status, details, Step(status="Failed", code=-1))

    result = look(command_id)

    assert result.status is Status.FAILED
    assert words in result.detail
    assert result.delivered is delivered


def test_a_script_is_run_once_and_its_result_is_found_again(ssm: Ssm) -> None:
    assert outcome().status is Status.MISSING
    first = run(ssm)
    ssm.wait(5)
    second = run(ssm)
    ssm.sent[0].end()
    third = run(ssm)

    assert [first.status, second.status, third.status] == [
        Status.RUNNING,
        Status.RUNNING,
        Status.SUCCEEDED,
    ]
    (sent,) = ssm.sent
    assert sent.request["Comment"] == f"{EXECUTION} pre-script"
    assert sent.request["Parameters"] == {
        "executionId": [execution_id(EXECUTION)],
        "command": ["pre-script"],
    }
    assert outcome() == third
    assert third.document == DOCUMENT


def test_the_stages_of_a_script_are_commands_of_their_own(ssm: Ssm) -> None:
    run(ssm)
    ssm.sent[0].end()

    assert run(ssm, Stage.POST_SCRIPT).status is Status.RUNNING
    assert [sent.request["Parameters"]["command"] for sent in ssm.sent] == [
        ["pre-script"],
        ["post-script"],
    ]
    assert outcome(Stage.DRY_RUN).status is Status.MISSING


def test_a_document_that_limits_its_time_is_told_the_limit(ssm: Ssm) -> None:
    parameters = {**PARAMETERS, "executionTimeout": {"type": "String"}}
    ssm.documents[DOCUMENT] = Document({**CONTENT, "parameters": parameters})

    run(ssm)

    assert ssm.sent[0].request["Parameters"]["executionTimeout"] == ["120"]


def test_a_script_that_does_not_end_is_cancelled_and_has_failed(ssm: Ssm) -> None:
    run(ssm)
    ssm.wait(180)
    assert run(ssm).status is Status.RUNNING
    assert ssm.cancelled == []
    ssm.wait(1)

    result = run(ssm)

    assert result.status is Status.FAILED
    assert "it did not end within 120 s and was cancelled" in result.sentence
    assert ssm.cancelled == [ssm.sent[0].command_id]
    ssm.sent[0].end("Cancelled", "Cancelled", Step(status="Cancelled", code=-1))
    assert run(ssm).status is Status.FAILED
    assert len(ssm.sent) == 1


def test_a_script_that_cannot_be_cancelled_has_failed_all_the_same(ssm: Ssm) -> None:
    run(ssm)
    ssm.wait(181)
    ssm.refusals["CancelCommand"] = "AccessDeniedException"

    assert run(ssm).status is Status.FAILED


def test_a_script_that_ended_late_keeps_its_result(ssm: Ssm) -> None:
    run(ssm)
    ssm.sent[0].end()
    ssm.wait(3600)

    assert run(ssm).status is Status.SUCCEEDED
    assert ssm.cancelled == []


def test_a_pre_script_that_was_not_delivered_has_failed(ssm: Ssm) -> None:
    run(ssm)
    ssm.sent[0].end("TimedOut", "DeliveryTimedOut", Step(status="TimedOut", code=-1))

    assert run(ssm).status is Status.FAILED
    assert len(ssm.sent) == 1


def test_a_post_script_that_was_not_delivered_is_sent_again(ssm: Ssm) -> None:
    run(ssm, Stage.POST_SCRIPT)
    ssm.sent[0].end("TimedOut", "DeliveryTimedOut", Step(status="TimedOut", code=-1))
    ssm.wait(60)

    assert run(ssm, Stage.POST_SCRIPT).status is Status.RUNNING
    assert run(ssm, Stage.POST_SCRIPT).status is Status.RUNNING
    ssm.sent[1].end()
    assert run(ssm, Stage.POST_SCRIPT).status is Status.SUCCEEDED
    assert outcome(Stage.POST_SCRIPT).command_id == ssm.sent[1].command_id
    assert len(ssm.sent) == 2


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ("SendCommand", "InvalidInstanceId"),
        ("SendCommand", "AccessDeniedException"),
        ("DescribeDocument", "InvalidDocument"),
    ],
)
def test_a_script_that_is_refused_has_failed_with_the_words_of_aws(
    ssm: Ssm, operation: str, code: str
) -> None:
    ssm.refusals[operation] = code

    result = run(ssm)

    assert result.status is Status.FAILED
    assert code in result.sentence
    assert ssm.sent == []


def test_a_script_of_which_aws_says_nothing_has_not_failed(ssm: Ssm) -> None:
    with refused("ssm", "SendCommand", "ThrottlingException"), pytest.raises(AwsUnavailable):
        run(ssm)
    with refused("ssm", "ListCommands", "AccessDeniedException"), pytest.raises(AwsRefused):
        run(ssm)
    run(ssm)
    with (
        refused("ssm", "ListCommandInvocations", "AccessDeniedException"),
        pytest.raises(AwsRefused),
    ):
        outcome()
    ssm.sent[0].fail(201)
    with refused("ssm", "GetCommandInvocation", "AccessDeniedException"), pytest.raises(AwsRefused):
        outcome()


def test_an_agent_is_online_when_it_has_been_heard_of(ssm: Ssm) -> None:
    ssm.agent(OTHER, ping="ConnectionLost")

    anybody = dict.fromkeys([INSTANCE, OTHER, THIRD])
    assert scripts.online(anybody) == {INSTANCE}
    assert scripts.online({INSTANCE: START}) == {INSTANCE}
    assert scripts.online({INSTANCE: START + timedelta(seconds=1)}) == frozenset()
    assert scripts.online({}) == frozenset()


def test_an_id_that_ssm_refuses_does_not_hide_the_others(ssm: Ssm) -> None:
    assert scripts.online(dict.fromkeys([INSTANCE, "i-bad", OTHER])) == {INSTANCE, OTHER}
    with (
        refused("ssm", "DescribeInstanceInformation", "AccessDeniedException"),
        pytest.raises(AwsRefused),
    ):
        scripts.online({INSTANCE: None})
    assert ssm.calls.count("DescribeInstanceInformation") == 4


def test_an_output_that_a_list_cuts_off_is_asked_for(ssm: Ssm) -> None:
    command_id = send()
    ssm.sent[0].end("Success", "Success", Step(output="x" * 3000))
    assert look(command_id).output == "x" * 3000
    assert ssm.calls.count("GetCommandInvocation") == 1
