"""How each service words the errors that every service has: too often, not allowed, not there."""

from typing import Final

from sandbox.service_calls import ServiceError

REQUEST_ID: Final = "00000000-0000-0000-0000-000000000000"
# What each service answers to who asks too often, and to who may not.
THROTTLING: Final = {
    "autoscaling": ("Throttling", 400),
    "cloudwatch": ("Throttling", 400),
    "ec2": ("RequestLimitExceeded", 503),
    "elbv2": ("Throttling", 400),
    "kms": ("ThrottlingException", 400),
    "sns": ("Throttling", 400),
    "ssm": ("ThrottlingException", 400),
    "stepfunctions": ("ThrottlingException", 400),
}
DENIAL: Final = {
    "autoscaling": ("AccessDenied", 403),
    "cloudwatch": ("AccessDenied", 403),
    "ec2": ("UnauthorizedOperation", 403),
    "elbv2": ("AccessDenied", 403),
    "kms": ("AccessDeniedException", 400),
    "sns": ("AuthorizationError", 403),
    "ssm": ("AccessDeniedException", 400),
    "stepfunctions": ("AccessDeniedException", 400),
}


def throttled(service: str) -> ServiceError:
    """Return what a service, by the SDK's name, answers to who asks too often."""
    code, status = THROTTLING[service]
    return ServiceError(code, "Rate exceeded", status, REQUEST_ID)


def denied(service: str, message: str) -> ServiceError:
    """Return what a service answers to who may not."""
    code, status = DENIAL[service]
    return ServiceError(code, message, status, REQUEST_ID)


def failure(code: str = "InternalFailure") -> ServiceError:
    """Return what a service answers that has failed by itself."""
    return ServiceError(code, "Internal failure", 500, REQUEST_ID)
