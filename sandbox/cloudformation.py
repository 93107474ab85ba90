"""Resource types that the template uses and ministack's CloudFormation does not know."""

from typing import Any


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
