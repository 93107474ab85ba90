"""The errors of SSM, by the names and with the statuses of its API Reference."""

import uuid

from sandbox.service_calls import ServiceError


def error(code: str, message: str, status: int = 400) -> ServiceError:
    """Return an error of SSM."""
    return ServiceError(code, message, status, str(uuid.uuid4()))


def invalid(message: str) -> ServiceError:
    """Return the error for a request that does not keep to the API's own limits."""
    return error("ValidationException", f"1 validation error detected: {message}")
