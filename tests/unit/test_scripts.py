from copy import deepcopy
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillpoint.scripts import (
    ScriptResult,
    Stage,
    Status,
    comment_of,
    document_problem,
    earliest,
    execution_id,
    freeze_problem,
    last_lines,
    platform_problem,
    status_of,
    why_failed,
)

COMMAND: dict[str, Any] = {"DocumentType": "Command"}
CONSENT = {"DLMScriptsAccess": "true"}
CONTENT: dict[str, Any] = {
    "schemaVersion": "2.2",
    "parameters": {
        "executionId": {"type": "String", "default": "None"},
        "command": {"type": "String", "allowedValues": ["dry-run", "pre-script", "post-script"]},
    },
}


def changed(name: str, **fields: object) -> dict[str, Any]:
    content = deepcopy(CONTENT)
    content["parameters"][name].update(fields)
    return content


def without(name: str) -> dict[str, Any]:
    content = deepcopy(CONTENT)
    del content["parameters"][name]
    return content


def test_a_document_of_the_convention_is_a_script() -> None:
    assert document_problem(COMMAND, CONTENT, CONSENT) == ""


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ({"DocumentType": "Automation"}, "it is of the type Automation"),
        ({}, "it is of the type unknown"),
    ],
)
def test_a_document_of_another_type_is_no_script(kind: dict[str, Any], words: str) -> None:
    assert words in document_problem(kind, CONTENT, CONSENT)


@pytest.mark.parametrize("schema", ["1.2", "2.0", 2.2, "0.3", ""])
def test_only_the_newest_schema_is_taken(schema: object) -> None:
    problem = document_problem(COMMAND, {**CONTENT, "schemaVersion": schema}, CONSENT)
    assert bool(problem) is (schema != 2.2)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"schemaVersion": "2.2"}, "it lacks the parameter executionId"),
        ({"schemaVersion": "2.2", "parameters": ["command"]}, "lacks the parameter executionId"),
        (without("executionId"), "it lacks the parameter executionId"),
        (without("command"), "it lacks the parameter command"),
        (changed("executionId", type="StringList"), "parameter executionId has to be of the type"),
        (changed("command", type="Boolean"), "parameter command has to be of the type String"),
        (changed("command", allowedValues=["pre-script", "post-script"]), "allowedValues"),
        (
            changed("command", allowedValues=["pre-script", "post-script", "dry-run", "x"]),
            "exactly the allowedValues",
        ),
        (changed("command", allowedValues="pre-script post-script dry-run"), "allowedValues"),
        (changed("command", allowedValues=None), "allowedValues"),
        (changed("command", allowedValues=[["pre-script"], {}, 1]), "allowedValues"),
    ],
)
def test_a_document_without_the_parameters_is_no_script(
    content: dict[str, Any], words: str
) -> None:
    assert words in document_problem(COMMAND, content, CONSENT)


@pytest.mark.parametrize("tags", [{}, {"DLMScriptsAccess": "True"}, {"dlmscriptsaccess": "true"}])
def test_a_document_without_consent_is_no_script(tags: dict[str, str]) -> None:
    assert "DLMScriptsAccess" in document_problem(COMMAND, CONTENT, tags)


def test_a_document_fits_the_platforms_that_it_names() -> None:
    both = {"PlatformTypes": ["Linux", "MacOS"]}
    assert platform_problem(both, "Linux") == ""
    assert platform_problem({}, "Windows") == ""
    assert platform_problem(both, "Windows") == (
        "it is for Linux and MacOS, and the instance runs Windows"
    )


@pytest.mark.parametrize(
    ("platform", "instance_type", "works"),
    [
        ("Linux", "t3.nano", True),
        ("", "t3.nano", True),
        ("Windows", "t3.nano", False),
        ("Windows", "t2.micro", False),
        ("Windows", "t3a.small", True),
        ("Windows", "t4g.micro", True),
        ("MacOS", "mac2.metal", False),
    ],
)
def test_what_can_be_frozen(platform: str, instance_type: str, works: bool) -> None:
    assert bool(freeze_problem(platform, instance_type)) is not works


@given(st.text())
def test_an_unknown_status_is_no_end(status: str) -> None:
    known = {"Success", "Failed", "TimedOut", "Cancelled"}
    assert (status_of(status) is Status.RUNNING) is (status not in known)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (201, "the pre-script failed (exit code 201)"),
        (202, "the post-script failed (exit code 202)"),
        (203, "let the application go on before the post-script came (exit code 203)"),
        (204, "a pre-script came while a post-script was expected (exit code 204)"),
        (205, "a post-script came while no pre-script had been run (exit code 205)"),
        (206, "the application was not ready for it (exit code 206)"),
        (1, "its exit code is 1"),
        (137, "its exit code is 137"),
        (-1, "it did not come to an end of its own"),
        (None, "it did not come to an end of its own"),
    ],
)
def test_every_exit_code_has_words(code: int | None, words: str) -> None:
    assert words in why_failed("Failed", code)


def test_the_execution_id_is_a_uuid_and_always_the_same() -> None:
    assert str(UUID(execution_id("erp-20261122T030000Z"))) == execution_id("erp-20261122T030000Z")
    assert execution_id("erp-20261122T030000Z") != execution_id("erp-20261122T030000Z-2")


def test_the_comment_of_the_longest_execution_fits() -> None:
    assert max(len(comment_of("x" * 80, stage)) for stage in Stage) <= 100


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ""),
        ("\n \n", ""),
        ("one\n\ntwo\nthree\n  four \n", "two / three / four"),
        ("lost\nfailed to run commands: exit status 201\n", "lost"),
        ("bell\x07 and \x1b[31mred", "bell? and ?[31mred"),
    ],
)
def test_the_last_lines_fit_a_message(text: str, said: str) -> None:
    assert last_lines(text) == said


@given(st.text())
def test_the_last_lines_are_short_and_on_one_line(text: str) -> None:
    assert len(last_lines(text)) <= 300
    assert last_lines(text).isprintable()


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (
            ScriptResult(Status.MISSING, instance_id="i-0a", document="d"),
            "The script document d on i-0a was not run.",
        ),
        (
            ScriptResult(Status.RUNNING, instance_id="i-0a", document="d", command_id="c"),
            "The script document d on i-0a is running. Command: c.",
        ),
        (
            ScriptResult(Status.SUCCEEDED, 0, instance_id="i-0a", document="d", command_id="c"),
            "The script document d on i-0a succeeded. Command: c.",
        ),
        (
            ScriptResult(Status.FAILED, instance_id="i-0a", document="d"),
            "The script document d on i-0a failed: Systems Manager does not say why.",
        ),
        (
            ScriptResult(Status.FAILED, 1, "it broke", "i-0a", "d", "c", output="so far"),
            "The script document d on i-0a failed: it broke. Its last words: so far. Command: c.",
        ),
    ],
)
def test_a_result_is_a_sentence(result: ScriptResult, sentence: str) -> None:
    assert result.sentence == sentence


@pytest.mark.parametrize(
    ("execution", "moment"),
    [
        ("i-0abc-20261122T030000Z", datetime(2026, 11, 22, 2, tzinfo=UTC)),
        ("group-erp-20261122T030000Z-2", datetime(2026, 11, 22, 2, tzinfo=UTC)),
        ("by-hand", None),
    ],
)
def test_commands_are_looked_for_from_shortly_before_the_occurrence_on(
    execution: str, moment: datetime | None
) -> None:
    assert earliest(comment_of(execution, Stage.PRE_SCRIPT)) == moment
