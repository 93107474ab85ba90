"""Documents: made, read, described, versioned, tagged and refused."""

import json

import pytest
import yaml

from sandbox.ssm import create_documents
from sandbox.ssm.owned import VSS
from tests.sandbox.ssm_lab import FREEZE, SCRIPTS, SsmLab, document

WHERE = {"account": "000000000000", "region": "us-east-1"}


def test_a_document_is_described_and_read_as_json_or_yaml() -> None:
    lab = SsmLab()
    text = str(yaml.safe_dump(SCRIPTS))
    lab.do("CreateDocument", Name="erp", Content=text, DocumentFormat="YAML")
    described = lab.do("DescribeDocument", Name="erp")["Document"]
    assert (described["Owner"], described["DocumentType"]) == (WHERE["account"], "Command")
    assert (described["SchemaVersion"], described["PlatformTypes"]) == ("2.2", ["Linux", "MacOS"])
    assert [row["Name"] for row in described["Parameters"]] == ["command", "executionId"]
    assert json.loads(lab.do("GetDocument", Name="erp")["Content"]) == SCRIPTS
    as_written = lab.do("GetDocument", Name="erp", DocumentFormat="YAML")
    assert (as_written["Content"], as_written["DocumentFormat"]) == (text, "YAML")


def test_a_document_is_found_by_its_arn() -> None:
    lab = SsmLab()
    lab.create("erp", SCRIPTS)
    arn = "arn:aws:ssm:us-east-1:000000000000:document/erp"
    assert lab.do("DescribeDocument", Name=arn)["Document"]["Name"] == "erp"


def test_aws_owns_documents_that_are_always_there_and_never_changed() -> None:
    lab = SsmLab()
    for name in ("AWS-RunShellScript", *VSS):
        assert lab.do("DescribeDocument", Name=name)["Document"]["Owner"] == "Amazon"
        assert lab.fails("DeleteDocument", Name=name) == "InvalidDocument"


def test_tags_are_listed_and_changed() -> None:
    lab = SsmLab()
    lab.create("erp", SCRIPTS, Tags=[{"Key": "a", "Value": "1"}])
    whose = {"ResourceType": "Document", "ResourceId": "erp"}
    lab.do("AddTagsToResource", **whose, Tags=[{"Key": "DLMScriptsAccess", "Value": "true"}])
    lab.do("RemoveTagsFromResource", **whose, TagKeys=["a"])
    tags = lab.do("ListTagsForResource", **whose)["TagList"]
    assert tags == [{"Key": "DLMScriptsAccess", "Value": "true"}]
    assert lab.ssm.document_tags(name="erp", **WHERE) == {"DLMScriptsAccess": "true"}
    assert lab.ssm.document_tags(name="none", **WHERE) == {}
    unknown = {"ResourceType": "Document", "ResourceId": "none"}
    assert lab.fails("ListTagsForResource", **unknown) == "InvalidResourceId"
    parameter = {"ResourceType": "Parameter", "ResourceId": "erp"}
    assert lab.fails("ListTagsForResource", **parameter) == "InvalidResourceType"


def test_a_new_version_is_run_only_once_it_is_the_default() -> None:
    lab = SsmLab()
    lab.create("erp", SCRIPTS)
    changed = json.dumps(FREEZE)
    lab.do("UpdateDocument", Name="erp", Content=changed, DocumentVersion="$LATEST")
    assert lab.fails("UpdateDocument", Name="erp", Content=changed) == "DuplicateDocumentContent"
    assert json.loads(lab.do("GetDocument", Name="erp")["Content"]) == SCRIPTS
    lab.do("UpdateDocumentDefaultVersion", Name="erp", DocumentVersion="2")
    assert json.loads(lab.do("GetDocument", Name="erp")["Content"]) == FREEZE
    assert lab.do("DescribeDocument", Name="erp")["Document"]["DefaultVersion"] == "2"
    assert lab.fails("GetDocument", Name="erp", DocumentVersion="3") == "InvalidDocumentVersion"


def test_a_deleted_document_is_gone() -> None:
    lab = SsmLab()
    lab.create("erp", SCRIPTS)
    lab.do("DeleteDocument", Name="erp")
    for action in ("GetDocument", "DescribeDocument", "DeleteDocument"):
        assert lab.fails(action, Name="erp") == "InvalidDocument"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("{", "InvalidDocumentContent"),
        ("[]", "InvalidDocumentContent"),
        (json.dumps(SCRIPTS | {"schemaVersion": "9"}), "InvalidDocumentSchemaVersion"),
        (json.dumps(SCRIPTS | {"mainSteps": []}), "InvalidDocumentContent"),
        (json.dumps(SCRIPTS | {"mainSteps": SCRIPTS["mainSteps"] * 2}), "InvalidDocumentContent"),
        (json.dumps(SCRIPTS | {"parameters": {}}), "InvalidDocumentContent"),
        (json.dumps(document("a", odd={"type": "Number"})), "InvalidDocumentContent"),
        (
            json.dumps(document("a", b={"type": "String", "default": "x", "allowedValues": ["y"]})),
            "InvalidDocumentContent",
        ),
        (json.dumps(SCRIPTS | {"description": "x" * 65_536}), "MaxDocumentSizeExceeded"),
    ],
)
def test_content_that_is_no_document_is_refused(content: str, code: str) -> None:
    lab = SsmLab()
    assert lab.fails("CreateDocument", Name="erp", Content=content) == code


def test_names_are_unique_and_keep_to_their_alphabet() -> None:
    lab = SsmLab()
    lab.create("erp", SCRIPTS)
    text = json.dumps(SCRIPTS)
    assert lab.fails("CreateDocument", Name="erp", Content=text) == "DocumentAlreadyExists"
    for name in ("AWS-Mine", "a", "with space"):
        assert lab.fails("CreateDocument", Name=name, Content=text) == "ValidationException"


def test_a_stacks_documents_are_made_of_their_properties() -> None:
    lab = SsmLab()
    tags = [{"Key": "stack", "Value": "stillpoint"}]
    properties = {"Content": FREEZE, "DocumentType": "Command", "Tags": tags}
    create_documents(lab.ssm, {"stillpoint-FreezeDocument": properties}, **WHERE)
    described = lab.do("DescribeDocument", Name="stillpoint-FreezeDocument")["Document"]
    assert (described["Status"], described["Tags"]) == ("Active", tags)
