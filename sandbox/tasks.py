"""What a Task state can call: a Lambda function, SNS, and any action of the SDK's services."""

import json
from typing import Any, Final, Protocol

from sandbox.service_calls import ServiceError, UnsupportedCallError

# AWS reports errors of these services, which model none, under one name (Step Functions Developer
# Guide, "AWS SDK service integrations").
SINGLE_ERROR_SERVICES: Final = {"ec2": "Ec2.Ec2Exception"}


class StateError(Exception):
    """A state failed with an error name that Retry and Catch can match, and a cause in words."""

    def __init__(self, error: str, cause: str) -> None:
        super().__init__(f"{error}: {cause}")
        self.error = error
        self.cause = cause


class Services(Protocol):
    """What can be called with the permissions of the state machine's role."""

    def call(self, service: str, action: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call `stopInstances` of `ec2`. Raises ServiceError or UnsupportedCallError."""
        ...

    def invoke(self, arguments: dict[str, Any], timeout: float | None) -> dict[str, Any]:
        """Invoke a function within `timeout` seconds. Raises StateError."""
        ...


class Tasks:
    """Runs the work of Task states."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def run(self, resource: str, arguments: Any, timeout: float | None) -> Any:
        """Do what `resource` names and return its result. Raises StateError.

        `timeout` concerns Lambda functions only: every other call answers at once.
        """
        match resource.split(":", 5)[5].split(":"):
            case ["lambda", "invoke"]:
                return self._services.invoke(arguments, timeout)
            case ["sns", "publish"]:
                return self._call("sns", "publish", _message_as_text(arguments))
            case ["aws-sdk", service, action]:
                return self._call(service, action, arguments)
            case _:
                raise StateError("States.Runtime", f"the sandbox has no integration {resource}")

    def _call(self, service: str, action: str, arguments: dict[str, Any]) -> Any:
        prefix = service[0].upper() + service[1:]
        try:
            return self._services.call(service, action, arguments)
        except ServiceError as error:
            name = SINGLE_ERROR_SERVICES.get(service, f"{prefix}.{error.code}")
            cause = (
                f"{error.message} (Service: {prefix}, Status Code: {error.status}, "
                f"Request ID: {error.request_id})"
            )
            raise StateError(name, cause) from error
        except UnsupportedCallError as error:
            raise StateError("States.Runtime", str(error)) from error


def _message_as_text(arguments: dict[str, Any]) -> dict[str, Any]:
    """The optimised integration accepts an object as message and sends its JSON text."""
    message = arguments.get("Message")
    if isinstance(message, str) or message is None:
        return arguments
    return {**arguments, "Message": json.dumps(message)}
