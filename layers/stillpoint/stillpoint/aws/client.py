"""Clients of AWS, and the translation of their errors into ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from stillpoint.errors import AwsRefused, AwsUnavailable

_CONFIG = Config(
    # "standard" repeats throttled calls, 5xx and lost connections, with backoff and jitter.
    retries={"mode": "standard", "total_max_attempts": 5},
    connect_timeout=5,
    read_timeout=20,
)

_TRANSIENT = frozenset(
    {
        "ConcurrentTagAccess",
        "EC2ThrottledException",
        "InternalError",
        "InternalFailure",
        "KMSThrottlingException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "Throttling",
        "Throttled",
        "ThrottlingException",
        "TooManyRequestsException",
        "Unavailable",
    }
)


def client(service: str, region: str | None = None) -> Any:  # noqa: ANN401 (made at run time)
    """Return the client of a service, made once for as long as the function's process lives.

    Without a Region it is that of the function's own Region.
    """
    return _made(service, region)


def forget_clients() -> None:
    """Let clients be made anew, for tests: each has a retry quota of its own."""
    _made.cache_clear()


@cache
def _made(service: str, region: str | None) -> Any:  # noqa: ANN401 (made at run time)
    return boto3.client(service, region_name=region, config=_CONFIG)  # type: ignore[call-overload]


def error_code(error: ClientError) -> str:
    """Return the code that AWS gave the error, such as `InvalidInstanceID.NotFound`."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn the SDK's errors into AwsUnavailable or AwsRefused, which say what was being done."""
    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if error_code(error) in _TRANSIENT or status == 429 or status >= 500:  # noqa: PLR2004 (HTTP)
            raise AwsUnavailable(f"{doing}: {error}") from error
        raise AwsRefused(f"{doing}: {error}") from error
    except ParamValidationError as error:
        raise AwsRefused(f"{doing}: {error}") from error
    except BotoCoreError as error:
        raise AwsUnavailable(f"{doing}: {error}") from error
