"""What would keep scripts and freezing from working, found before anything is touched."""

from collections.abc import Iterator
from typing import Any

import pytest

from stillpoint.aws import scripts
from stillpoint.errors import AwsRefused
from stillpoint.instance import Instance
from stillpoint.scripts import ScriptProblems
from tests.functions.faults import refused
from tests.functions.ssm import CONTENT, Document, Ssm, a_systems_manager

INSTANCE = "i-0aaaaaaaaaaaaaaaa"
DOCUMENT = "quiesce-erp"
FREEZE = "stillpoint-freeze"
VSS = "AWSEC2-VssInstallAndSnapshot"


@pytest.fixture
def ssm(_aws: None) -> Iterator[Ssm]:
    with a_systems_manager() as fake:
        fake.agent(INSTANCE)
        fake.documents = {DOCUMENT: Document(), FREEZE: Document(), VSS: Document()}
        yield fake


def problems(
    *documents: str,
    method: str = "stop",
    state: str = "running",
    instance_type: str = "t3.large",
) -> dict[str, ScriptProblems]:
    instance = Instance(INSTANCE, state, {}, instance_type)
    return scripts.find_problems([instance], {INSTANCE: documents}, {INSTANCE: method}, FREEZE)


def script_problem(**document: Any) -> str:  # noqa: ANN401 (of a document's fields)
    with a_systems_manager() as fake:
        fake.agent(INSTANCE)
        fake.documents[DOCUMENT] = Document(**document)
        found = problems(DOCUMENT)
    return found[INSTANCE].script_problem if found else ""


def test_a_fit_document_on_a_managed_instance_is_no_problem(ssm: Ssm) -> None:
    assert problems(DOCUMENT, DOCUMENT) == {}
    assert ssm.calls.count("GetDocument") == 1


def test_nothing_is_asked_about_an_instance_that_needs_no_agent(ssm: Ssm) -> None:
    assert problems() == {}
    assert problems(DOCUMENT, "missing", state="stopped") == {}
    assert problems(method="freeze", state="stopped") == {}
    assert ssm.calls == []


def test_an_unmanaged_instance_is_told_what_it_needs(ssm: Ssm) -> None:
    ssm.agents.clear()

    (found,) = problems(DOCUMENT).values()

    assert found.not_managed == (
        "Systems Manager does not know the instance: install the agent, and give the role of the"
        " instance the policy AmazonSSMManagedInstanceCore"
    )
    assert found.script_problem == ""
    assert problems(method="freeze")[INSTANCE] == found


def test_an_agent_that_is_silent_is_told_since_when(ssm: Ssm) -> None:
    ssm.agent(INSTANCE, ping="ConnectionLost")
    assert problems(DOCUMENT)[INSTANCE].not_managed == (
        "its agent was last heard of at 2026-11-22T03:00:00Z"
    )
    del ssm.agents[INSTANCE]["LastPingDateTime"]
    assert "an unknown time" in problems(DOCUMENT)[INSTANCE].not_managed


def test_a_document_that_does_not_exist_is_named(ssm: Ssm) -> None:
    (found,) = problems(DOCUMENT, "quiesce-epr").values()

    assert found.script_problem == (
        "quiesce-epr: there is no such document in this account and Region"
    )
    assert found.not_managed == ""
    assert ssm.sent == []


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"kind": "Automation"}, "of the type Automation"),
        ({"content": {**CONTENT, "parameters": {}}}, "lacks the parameter executionId"),
        ({"content": "no JSON"}, "its content is no JSON object"),
        ({"content": "[]"}, "its content is no JSON object"),
        ({"tags": {}}, "the tag DLMScriptsAccess with the value true"),
        ({"platforms": ("Windows",)}, "it is for Windows, and the instance runs Linux"),
    ],
)
def test_a_document_that_is_no_script_is_told_why(document: dict[str, Any], words: str) -> None:
    problem = script_problem(**document)

    assert problem.startswith(f"{DOCUMENT}: ")
    assert words in problem


@pytest.mark.parametrize("operation", ["DescribeDocument", "GetDocument", "ListTagsForResource"])
def test_a_document_that_cannot_be_read_is_no_script(ssm: Ssm, operation: str) -> None:
    ssm.refusals[operation] = "AccessDeniedException"

    (found,) = problems(DOCUMENT).values()

    assert "it cannot be read" in found.script_problem
    assert "AccessDeniedException" in found.script_problem


def test_the_documents_of_a_group_are_read_once(ssm: Ssm) -> None:
    group = [Instance(f"i-{number:017}", "running", {}) for number in range(60)]
    for each in group:
        ssm.agent(each.instance_id)

    found = scripts.find_problems(
        group,
        {each.instance_id: (DOCUMENT,) for each in group},
        {each.instance_id: "stop" for each in group},
        FREEZE,
    )

    assert found == {}
    assert ssm.calls.count("DescribeDocument") == 1
    assert ssm.calls.count("DescribeInstanceInformation") == 2


def test_linux_is_frozen_by_the_document_of_the_stack(ssm: Ssm) -> None:
    assert problems(method="freeze") == {}
    del ssm.documents[FREEZE]
    assert problems(method="freeze")[INSTANCE].freeze_problem.startswith(f"{FREEZE}: there is no")


def test_windows_is_frozen_by_the_document_of_aws(ssm: Ssm) -> None:
    ssm.agent(INSTANCE, "Windows")
    assert problems(method="freeze") == {}
    assert problems(method="freeze", instance_type="t3a.micro")[INSTANCE].freeze_problem == (
        "a t3a.micro is too small for VSS, which a freeze of Windows needs"
    )
    del ssm.documents[VSS]
    assert problems(method="freeze")[INSTANCE].freeze_problem.startswith(f"{VSS}: there is no")


def test_a_mac_is_not_frozen(ssm: Ssm) -> None:
    ssm.agent(INSTANCE, "MacOS")
    assert "MacOS cannot be frozen" in problems(method="freeze")[INSTANCE].freeze_problem


def test_what_aws_does_not_tell_is_no_answer(ssm: Ssm) -> None:
    with (
        refused("ssm", "DescribeInstanceInformation", "AccessDeniedException"),
        pytest.raises(AwsRefused),
    ):
        problems(DOCUMENT)
    assert ssm.sent == []
