"""Resource types that the template uses and ministack's CloudFormation does not know."""

from collections.abc import Mapping
from typing import Any

from sandbox.service_calls import ServiceError
from sandbox.ssm.deployment import PRINCIPAL, document_request
from sandbox.ssm.service import Ssm


def _as_policy(properties: dict[str, Any]) -> dict[str, Any]:
    """The properties of an AWS::IAM::RolePolicy as those of an AWS::IAM::Policy with one role."""
    return {
        "PolicyName": properties["PolicyName"],
        "PolicyDocument": properties.get("PolicyDocument", {}),
        "Roles": [properties["RoleName"]],
    }


def install() -> None:
    """Add AWS::IAM::RolePolicy: an inline policy of one role, as a resource of its own."""
    from ministack.services.cloudformation import provisioners  # noqa: PLC0415  after ministack's set-up

    policy = provisioners._RESOURCE_HANDLERS["AWS::IAM::Policy"]

    def create(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        return policy["create"](logical_id, _as_policy(properties), stack)

    def update(physical_id: str, old: dict[str, Any], new: dict[str, Any], stack: str) -> Any:
        return policy["update"](physical_id, _as_policy(old), _as_policy(new), stack)

    def delete(physical_id: str, properties: dict[str, Any]) -> Any:
        return policy["delete"](physical_id, _as_policy(properties))

    provisioners._RESOURCE_HANDLERS["AWS::IAM::RolePolicy"] = {
        "create": create,
        "update": update,
        "delete": delete,
    }


def install_documents(ssm: Ssm) -> None:
    """Add AWS::SSM::Document: a document of this SSM. Ref gives its name.

    An update makes a new version and lets that be the default, as UpdateMethod: NewVersion says.
    """
    from ministack.core import responses  # noqa: PLC0415  after ministack's set-up
    from ministack.services.cloudformation import provisioners  # noqa: PLC0415

    def call(action: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        place = {"account": responses.get_account_id(), "region": responses.get_region()}
        try:
            return ssm.call(action, params, principal=PRINCIPAL, **place)
        except ServiceError as error:
            message = f"AWS::SSM::Document: {action}: {error.code}: {error.message}"
            raise ValueError(message) from error

    def create(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        name = properties.get("Name") or provisioners._physical_name(stack, logical_id)
        call("CreateDocument", document_request(name, properties))
        return name, {}

    def update(name: str, old: dict[str, Any], new: dict[str, Any], stack: str) -> Any:
        del stack
        if old.get("Content") != new.get("Content"):
            if new.get("UpdateMethod") != "NewVersion":
                message = f"AWS::SSM::Document: {name} needs UpdateMethod: NewVersion to be updated"
                raise ValueError(message)
            request = document_request(name, new)
            wanted = {key: request[key] for key in ("Name", "Content", "DocumentFormat")}
            made = call("UpdateDocument", wanted | {"DocumentVersion": "$LATEST"})
            version = made["DocumentDescription"]["DocumentVersion"]
            call("UpdateDocumentDefaultVersion", {"Name": name, "DocumentVersion": version})
        document = {"ResourceType": "Document", "ResourceId": name}
        call("AddTagsToResource", document | {"Tags": list(new.get("Tags") or [])})
        return name, {}

    def delete(name: str, properties: dict[str, Any]) -> None:
        del properties
        call("DeleteDocument", {"Name": name})

    provisioners._RESOURCE_HANDLERS["AWS::SSM::Document"] = {
        "create": create,
        "update": update,
        "delete": delete,
    }
