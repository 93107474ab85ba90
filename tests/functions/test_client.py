"""The SDK's errors, translated into ours: what may be tried again, and what may not."""

from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)

from stillpoint.aws import ec2
from stillpoint.aws.client import client, error_code, translated
from stillpoint.errors import AwsRefused, AwsUnavailable, StillpointError
from tests.functions.faults import refused
from tests.functions.fleet import launch_one

ENDPOINT = "https://ec2.eu-west-1.amazonaws.com"


def client_error(code: str, status: int) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "No."},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "CreateTags")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("RequestLimitExceeded", 503),
        ("EC2ThrottledException", 400),
        ("Throttling", 400),
        ("ThrottlingException", 400),
        ("TooManyRequestsException", 429),
        ("ConcurrentTagAccess", 400),
        ("KMSThrottlingException", 400),
        ("InternalError", 500),
        ("Unavailable", 503),
        ("SomethingNew", 502),
    ],
)
def test_an_error_that_passes_may_be_tried_again(code: str, status: int) -> None:
    with pytest.raises(AwsUnavailable, match=code), translated("tagging i-0a"):
        raise client_error(code, status)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("UnauthorizedOperation", 403),
        ("AccessDeniedException", 400),
        ("TagLimitExceeded", 400),
        ("InvalidInstanceID.NotFound", 400),
        ("OptInRequired", 401),
        ("", 400),
    ],
)
def test_an_error_that_stays_is_a_refusal(code: str, status: int) -> None:
    with pytest.raises(AwsRefused), translated("tagging i-0a"):
        raise client_error(code, status)


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url=ENDPOINT),
        ConnectTimeoutError(endpoint_url=ENDPOINT),
        ReadTimeoutError(endpoint_url=ENDPOINT),
        NoCredentialsError(),
    ],
)
def test_an_answer_that_does_not_come_may_come_later(error: Exception) -> None:
    with pytest.raises(AwsUnavailable, match="tagging i-0a: "), translated("tagging i-0a"):
        raise error


def test_a_call_that_makes_no_sense_makes_none_later_either() -> None:
    with pytest.raises(AwsRefused, match="Parameter validation failed"):
        ec2.create_tags(["i-0a"], {"Name": None})  # type: ignore[dict-item]


def test_the_message_says_what_was_being_done_and_keeps_the_cause() -> None:
    with pytest.raises(AwsRefused) as failure, translated("tagging i-0a"):
        raise client_error("TagLimitExceeded", 400)
    assert str(failure.value).startswith("tagging i-0a: ")
    assert "TagLimitExceeded" in str(failure.value)
    assert isinstance(failure.value.__cause__, ClientError)
    assert isinstance(failure.value, StillpointError)


def test_an_error_of_our_own_making_passes_through() -> None:
    with pytest.raises(ZeroDivisionError), translated("dividing"):
        _ = 1 // 0


def test_a_real_refusal_of_ec2_is_translated() -> None:
    web = launch_one()
    with (
        refused("ec2", "CreateTags", "UnauthorizedOperation", status=403),
        pytest.raises(AwsRefused, match=f"tagging {web}: .*UnauthorizedOperation"),
    ):
        ec2.create_tags([web], {"Name": "web"})


def test_the_code_of_an_error_without_one_is_empty() -> None:
    assert error_code(client_error("Throttling", 400)) == "Throttling"
    assert not error_code(ClientError({}, "CreateTags"))


def test_a_client_is_made_once_and_gives_up_in_time() -> None:
    assert client("ec2") is client("ec2")
    config = client("ec2").meta.config
    assert config.retries == {"mode": "standard", "total_max_attempts": 5}
    assert config.connect_timeout + config.read_timeout < 30
