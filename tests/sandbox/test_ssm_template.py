"""The documents of the template, in both sandboxes."""

import json
from typing import Any

import pytest
from ministack.core import responses
from ministack.services.cloudformation import provisioners

from sandbox import cloudformation
from sandbox.ssm import create_documents
from sandbox.virtual.stack import make_stack
from tests.sandbox.ssm_lab import FREEZE, SCRIPTS, SsmLab

WHERE = {"account": "000000000000", "region": "us-east-1"}
PROPERTIES = {"Content": SCRIPTS, "DocumentType": "Command", "UpdateMethod": "NewVersion"}


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> SsmLab:
    """A world whose SSM makes the documents of ministack's CloudFormation."""
    lab = SsmLab()
    monkeypatch.setattr(provisioners, "_RESOURCE_HANDLERS", dict(provisioners._RESOURCE_HANDLERS))
    monkeypatch.setattr(responses, "get_account_id", lambda: WHERE["account"])
    monkeypatch.setattr(responses, "get_region", lambda: WHERE["region"])
    cloudformation.install_documents(lab.ssm)
    return lab


def handler(what: str) -> Any:  # noqa: ANN401 - ministack's own function
    return provisioners._RESOURCE_HANDLERS["AWS::SSM::Document"][what]


def test_cloudformation_makes_updates_and_deletes_a_document(lab: SsmLab) -> None:
    name, _ = handler("create")("Scripts", PROPERTIES, "stack")
    assert name.startswith("stack-Scripts-")
    assert json.loads(lab.do("GetDocument", Name=name)["Content"]) == SCRIPTS
    tags = [{"Key": "DLMScriptsAccess", "Value": "true"}]
    changed = PROPERTIES | {"Content": FREEZE, "Tags": tags}
    assert handler("update")(name, PROPERTIES, changed, "stack")[0] == name
    assert json.loads(lab.do("GetDocument", Name=name)["Content"]) == FREEZE
    assert lab.do("DescribeDocument", Name=name)["Document"]["Tags"] == tags
    handler("delete")(name, changed)
    assert lab.fails("GetDocument", Name=name) == "InvalidDocument"


def test_a_document_can_have_a_name_of_its_own(lab: SsmLab) -> None:
    assert handler("create")("Scripts", PROPERTIES | {"Name": "mine"}, "stack")[0] == "mine"
    assert lab.do("DescribeDocument", Name="mine")["Document"]["Status"] == "Active"


def test_cloudformation_says_why_a_document_cannot_be(lab: SsmLab) -> None:
    with pytest.raises(ValueError, match="InvalidDocumentSchemaVersion"):
        handler("create")("Scripts", PROPERTIES | {"Content": {}}, "stack")
    name, _ = handler("create")("Scripts", PROPERTIES, "stack")
    replaced = PROPERTIES | {"Content": FREEZE, "UpdateMethod": "Replace"}
    with pytest.raises(ValueError, match="needs UpdateMethod: NewVersion"):
        handler("update")(name, PROPERTIES, replaced, "stack")
    assert json.loads(lab.do("GetDocument", Name=name)["Content"]) == SCRIPTS


def test_the_templates_own_documents_are_sound_and_freeze() -> None:
    lab = SsmLab()
    stack = make_stack({})
    documents = {
        stack.names[name]: properties
        for name, properties in stack.of_type("AWS::SSM::Document").items()
    }
    create_documents(lab.ssm, documents, **WHERE)
    (name,) = documents
    web = lab.managed()
    times = {"executionId": ["one"], "holdSeconds": ["10"], "thawSeconds": ["40"]}
    begun = lab.run(web, name, "freeze", parameters=times)
    said = json.loads(begun["StandardOutputContent"])
    lab.wait_until(said["from"] + 1)
    image = lab.create_image(web)
    ended = lab.run(web, name, "thaw", parameters={"executionId": ["one"]})
    assert ended["ResponseCode"] == 0
    assert lab.image_truth(image)["dirty_bytes"] == 0
