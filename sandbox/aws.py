"""Clients of a running server: boto3 for AWS's APIs, and the sandbox's own control interface."""

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from sandbox.process import ACCOUNT, REGION, SECRET, SandboxError, Server

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient


class ControlError(SandboxError):
    """The control interface refused a request; the message says why."""


class Aws:
    """boto3 clients with root credentials.

    Every call goes to the sandbox, whatever this machine is configured for.
    """

    def __init__(self, server: Server) -> None:
        self._endpoint = server.endpoint
        self._session = boto3.Session(
            aws_access_key_id=ACCOUNT, aws_secret_access_key=SECRET, region_name=REGION
        )
        self.ec2: EC2Client = self.client("ec2")
        self.cloudformation: CloudFormationClient = self.client("cloudformation")
        self.sns: SNSClient = self.client("sns")
        self.sqs: SQSClient = self.client("sqs")

    def client(self, service: str) -> Any:
        """A client of any other service."""
        config = Config(retries={"mode": "standard", "max_attempts": 5})
        return self._session.client(  # type: ignore[call-overload]
            service, endpoint_url=self._endpoint, config=config
        )


class Control:
    """The sandbox's own interface: what really happened, and what is to go wrong."""

    def __init__(self, server: Server) -> None:
        self._base = f"{server.endpoint}/_sandbox/"

    def truth(self) -> dict[str, Any]:
        """What the EC2 model knows: instances with timelines, images with dirty bytes."""
        return dict(self._request("GET", "truth"))

    def calls(self) -> list[dict[str, Any]]:
        """Every EC2 API call so far."""
        return list(self._request("GET", "calls"))

    def executions(self) -> dict[str, dict[str, Any]]:
        """Every execution by ARN: status, transitions, and where it is now."""
        return dict(self._request("GET", "executions"))

    def lambdas(self) -> dict[str, dict[str, Any]]:
        """What every function has cost so far."""
        return dict(self._request("GET", "lambdas"))

    def faults(self) -> dict[str, list[dict[str, Any]]]:
        """The faults that are set, and those of the host that have hit."""
        return dict(self._request("GET", "faults"))

    def add_fault(self, fault: dict[str, Any]) -> None:
        """Set a fault, as sandbox.ec2.faults and sandbox.host_faults describe them.

        Raises ControlError.
        """
        self._request("POST", "faults", fault)

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._request("DELETE", "faults")

    def set_physics(self, instance_id: str, **knobs: Any) -> None:
        """Set the physics of one instance. Raises ControlError for an unknown instance or knob."""
        self._request("POST", f"instances/{instance_id}/physics", knobs)

    def put_past(self, instance_id: str, images: list[dict[str, Any]]) -> None:
        """Put images of an instance into its past, as `sandbox.ec2.past` describes them.

        Raises ControlError.
        """
        self._request("POST", f"instances/{instance_id}/past", images)

    def _request(self, method: str, what: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            self._base + what,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"x-sandbox-key": SECRET},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise ControlError(json.load(error).get("error", str(error))) from error
