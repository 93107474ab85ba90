"""The sample documents are scripts as the preflight wants them."""

import re

import pytest

from stillpoint.scripts import document_problem, execution_id
from tests.documents.guest import read_document

NAMES = ["docs/scripts/postgresql.yaml", "docs/scripts/mysql.yaml"]


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_document_is_a_script(name: str) -> None:
    consent = {"DLMScriptsAccess": "true"}
    assert document_problem({"DocumentType": "Command"}, read_document(name), consent) == ""


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_document_does_nothing_unless_it_is_told_to(name: str) -> None:
    parameters = read_document(name)["parameters"]
    assert parameters["command"]["default"] == "dry-run"
    assert parameters["executionId"]["default"] == "None"


@pytest.mark.parametrize("name", NAMES)
def test_no_parameter_can_bring_in_shell(name: str) -> None:
    for key, parameter in read_document(name)["parameters"].items():
        assert parameter["type"] == "String"
        if key == "command":
            continue
        pattern = parameter["allowedPattern"]
        assert pattern.startswith("^")
        assert pattern.endswith("$")
        assert re.match(pattern, parameter["default"])
        for hostile in ("", "1; reboot", "$(reboot)", "`reboot`", "1\nreboot", "'", "None'"):
            assert not re.fullmatch(pattern, hostile)


@pytest.mark.parametrize("name", NAMES)
def test_the_execution_id_of_a_backup_is_taken(name: str) -> None:
    pattern = read_document(name)["parameters"]["executionId"]["allowedPattern"]
    assert re.match(pattern, execution_id("erp-20261122T030000Z"))


@pytest.mark.parametrize("name", NAMES)
def test_the_agent_ends_a_sample_that_hangs(name: str) -> None:
    (step,) = read_document(name)["mainSteps"]
    assert step["action"] == "aws:runShellScript"
    assert step["inputs"]["timeoutSeconds"] == "{{ executionTimeout }}"
    assert len(step["name"]) >= 4
