"""Documents of a template: `AWS::SSM::Document` as SSM's own calls."""

import json
from collections.abc import Mapping
from typing import Any

from sandbox.ssm.service import Ssm

PRINCIPAL = "cloudformation.amazonaws.com"


def document_request(name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of CreateDocument for a resource of a template."""
    content = properties["Content"]
    text = content if isinstance(content, str) else json.dumps(content)
    return {
        "Name": name,
        "Content": text,
        "DocumentFormat": properties.get("DocumentFormat", "JSON"),
        "DocumentType": properties.get("DocumentType", "Command"),
        "Tags": list(properties.get("Tags") or []),
    }


def create_documents(
    ssm: Ssm, documents: Mapping[str, Mapping[str, Any]], *, account: str, region: str
) -> None:
    """Make the documents of a stack, given by name with the properties of their resources."""
    for name, properties in documents.items():
        request = document_request(name, properties)
        ssm.call("CreateDocument", request, account=account, region=region, principal=PRINCIPAL)
