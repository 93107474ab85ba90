"""A short way for the functions' calls: straight to the world, without botocore and without IAM.

It gives what botocore would give: dates as datetimes, nothing for what is absent, paginators,
ClientError after the same number of tries. Faults strike as they do at the front door.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock

import boto3
from botocore import xform_name
from botocore.exceptions import ClientError, ConnectionClosedError
from botocore.session import get_session

from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.world import ACTIONS
from sandbox.virtual import lambdas
from sandbox.virtual.cloud import Cloud
from sandbox.virtual.front_door import Killed
from sandbox.virtual.journal import Message
from sandbox.virtual.mischief import Kind
from sandbox.virtual.services import UnknownCall
from sandbox.virtual.stack import ACCOUNT, REGION
from stillpoint.aws.client import forget_clients

_TRIES: Final = 5
_PAUSE: Final = 1.0  # seconds between two tries; botocore draws up to twenty
_LATENCY: Final = 0.1  # of a call that changes anything; reading takes no time
_READING: Final = ("Describe", "List")
_SERVER_ERROR: Final = 500
_NESTED: Final = frozenset({dict, list})
_ACTIONS: Final = {xform_name(action): action for action in ACTIONS}


@contextmanager
def taken(cloud: Cloud) -> Iterator[None]:
    """Let every client of the functions take the short way while the context lasts."""

    def make(service: str, *, region_name: str | None = None, **_: object) -> Any:
        match service:
            case "ec2":
                return _Ec2(cloud, region_name or REGION)
            case "sns":
                return _Sns(cloud)
            case "autoscaling":
                return _AutoScaling(cloud, region_name or REGION)
            case _:
                raise UnknownCall(f"the short way does not lead to {service}")

    forget_clients()
    with mock.patch.object(boto3, "client", make):
        yield
    forget_clients()


class _Paginator:
    """Gives an operation's answers page by page."""

    def __init__(self, operation: Callable[..., Mapping[str, Any]]) -> None:
        self._operation = operation

    def paginate(
        self,
        *,
        PaginationConfig: Mapping[str, int] | None = None,  # noqa: N803  boto3's own name
        **params: Any,
    ) -> Iterator[Mapping[str, Any]]:
        """Ask for page after page."""
        if PaginationConfig:
            params["MaxResults"] = PaginationConfig["PageSize"]
        while True:
            answer = self._operation(**params)
            yield answer
            if not answer.get("NextToken"):
                return
            params["NextToken"] = answer["NextToken"]


@cache
def _meta() -> SimpleNamespace:
    """Return what a client of EC2 says of itself; nothing is parsed by it here."""
    return SimpleNamespace(service_model=get_session().get_service_model("ec2"))


class _Ec2:
    """EC2 in one Region."""

    def __init__(self, cloud: Cloud, region: str) -> None:
        self._cloud = cloud
        self._region = region
        self.meta = _meta()

    def __getattr__(self, name: str) -> Callable[..., Mapping[str, Any]]:
        return partial(self._call, _ACTIONS[name])

    def get_paginator(self, name: str) -> _Paginator:
        """Return what gives an operation's answers page by page."""
        return _Paginator(getattr(self, name))

    def _call(self, action: str, **params: Any) -> Mapping[str, Any]:
        """Make a call, and again if EC2 cannot answer it, as botocore does."""
        invocation = lambdas.running()
        if invocation is None:
            raise UnknownCall(f"{action} is called by no function")
        for tries_left in reversed(range(_TRIES)):
            if not action.startswith(_READING):
                self._wait(invocation, _LATENCY)
            try:
                return self._attempt(invocation, action, params)
            except Ec2Error as error:
                is_transient = error.status >= _SERVER_ERROR
                if not (is_transient and tries_left):
                    raise _client_error(error, action) from error
            except ConnectionClosedError:
                if not tries_left:
                    raise
            self._wait(invocation, _PAUSE)
        raise AssertionError("the last try answers or raises")

    def _wait(self, invocation: lambdas.Invocation, seconds: float) -> None:
        """Let time pass. The function has read its environment and needs it no more."""
        self._cloud.scheduler.sleep(seconds)
        if self._cloud.scheduler.now() >= invocation.deadline:
            raise Killed(timed_out=True)

    def _attempt(
        self, invocation: lambdas.Invocation, action: str, params: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        fault = self._cloud.mischief.call(invocation.function, action)
        if fault is Kind.CRASH_BEFORE:
            raise Killed(timed_out=False)
        answer = self._cloud.world.call(
            action,
            params,
            account=ACCOUNT,
            region=self._region,
            principal=invocation.caller.principal,
        )
        if fault is Kind.CRASH_AFTER:
            raise Killed(timed_out=False)
        if fault is Kind.RESPONSE_LOST:
            raise ConnectionClosedError(endpoint_url=action)
        return dict(_present(answer))


class _AutoScaling:
    """Auto Scaling in one Region."""

    def __init__(self, cloud: Cloud, region: str) -> None:
        autoscaling = cloud.autoscaling
        self._pages = {
            "describe_launch_configurations": {
                "LaunchConfigurations": autoscaling.configurations[region]
            },
            "describe_auto_scaling_groups": {"AutoScalingGroups": autoscaling.groups[region]},
        }
        self._is_out = partial(cloud.world.is_out, region)

    def get_paginator(self, name: str) -> _Paginator:
        """Return what gives an operation's answers page by page."""

        def answer() -> Mapping[str, Any]:
            if self._is_out():
                unavailable = Ec2Error("InternalFailure", "Internal failure", _SERVER_ERROR)
                raise _client_error(unavailable, name)
            return self._pages[name]

        return _Paginator(answer)


class _Sns:
    """SNS: keeps what is published."""

    def __init__(self, cloud: Cloud) -> None:
        self._journal = cloud.journal

    def publish(self, **params: Any) -> None:
        """Keep a message."""
        forms = json.loads(params["Message"])
        attributes = {
            name: str(value["StringValue"]) for name, value in params["MessageAttributes"].items()
        }
        body = json.loads(forms["default"])
        message = Message(
            self._journal.now(), "function", params["Subject"], forms["email"], attributes, body
        )
        self._journal.published(message)


def _client_error(error: Ec2Error, action: str) -> ClientError:
    return ClientError(
        {
            "Error": {"Code": error.code, "Message": error.message},
            "ResponseMetadata": {
                "HTTPStatusCode": error.status,
                "RequestId": "",
                "HostId": "",
                "HTTPHeaders": {},
                "RetryAttempts": 0,
            },
        },
        action,
    )


def _present(value: Any) -> Any:
    """Return a part of an answer without what is absent in it. Lists of tags are whole."""
    kind = type(value)
    if kind is dict:
        return {
            key: each if key == "Tags" or type(each) not in _NESTED else _present(each)
            for key, each in value.items()
            if each is not None
        }
    return [_present(each) for each in value] if kind is list else value
