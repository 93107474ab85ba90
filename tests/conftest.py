"""What every test stands on: an environment without surprises, and no way to a real AWS account."""

import os
from collections.abc import Iterator
from unittest import mock

import pytest
from hypothesis import settings

# Searching for examples shares the machine with everything else: a slow example is not a wrong one.
# In CI the examples are the same in every run, so that a run that fails can be repeated.
settings.register_profile("stillpoint", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("stillpoint")

# Credentials and places that boto3 accepts and AWS does not.
AWS_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_SESSION_TOKEN": "testing",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}

# What remains of the caller's environment: what processes need to run at all ...
KEPT_NAMES = frozenset({"CI", "HOME", "LANG", "LC_ALL", "PATH", "PYTHONUTF8", "TERM", "TMPDIR"})
# ... what pytest and its plugins keep there, and how `sam build` reaches a package index: by its
# own settings, a proxy and certificates.
KEPT_PREFIXES = ("PYTEST_", "PIP_", "SSL_CERT_", "REQUESTS_CA_", "CURL_CA_", "SAM_CLI_")
PROXIES = frozenset({"http_proxy", "https_proxy", "no_proxy"})


def _is_kept(name: str) -> bool:
    return name in KEPT_NAMES or name.startswith(KEPT_PREFIXES) or name.lower() in PROXIES


def _clean_environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if _is_kept(name)}
    return AWS_ENVIRONMENT | kept


@pytest.fixture(scope="session", autouse=True)
def _no_aws_account() -> Iterator[None]:
    """Keep fixtures that live longer than one test away from real credentials, too."""
    with mock.patch.dict(os.environ, _clean_environment(), clear=True):
        yield


@pytest.fixture(autouse=True)
def _environment(_no_aws_account: None) -> Iterator[None]:
    """Give every test the same environment; what a test sets there ends with it."""
    with mock.patch.dict(os.environ, _clean_environment(), clear=True):
        yield
