"""Auto Scaling in every Region: lists the groups and launch configurations that a test puts there.

A group or a launch configuration is a dictionary by the SDK's names, such as
{"AutoScalingGroupName": "web", "MixedInstancesPolicy": {"LaunchTemplate": {...}}}.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from sandbox.ec2 import World
from sandbox.service_calls import ServiceError
from sandbox.virtual.services import REQUEST_ID, Reply, Request, UnknownCall

_NAMESPACE: Final = "http://autoscaling.amazonaws.com/doc/2011-01-01/"


class AutoScaling:
    """What there is of Auto Scaling, by Region."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.groups: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        self.configurations: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)

    def action(self, headers: dict[str, str], body: str) -> str:  # noqa: ARG002
        """Return the form's Action."""
        return parse_qs(body)["Action"][0]

    def answer(self, principal: str, request: Request) -> Reply:  # noqa: ARG002
        """List groups or launch configurations; names in the request choose among them."""
        if self._world.is_out(request.region):
            raise ServiceError("InternalFailure", "Internal failure", 500, REQUEST_ID)
        match request.action:
            case "DescribeAutoScalingGroups":
                rows, name, key = self.groups, "AutoScalingGroups", "AutoScalingGroupName"
            case "DescribeLaunchConfigurations":
                rows, name = self.configurations, "LaunchConfigurations"
                key = "LaunchConfigurationName"
            case _:
                raise UnknownCall(f"the harness's Auto Scaling does not offer {request.action}")
        form = parse_qs(request.body)
        wanted = {values[0] for field, values in form.items() if field.startswith(f"{key}s.")}
        chosen = [row for row in rows[request.region] if not wanted or row[key] in wanted]
        result = f"<{request.action}Result>{_xml({name: chosen})}</{request.action}Result>"
        metadata = f"<ResponseMetadata><RequestId>{REQUEST_ID}</RequestId></ResponseMetadata>"
        return 200, (
            f'<{request.action}Response xmlns="{_NAMESPACE}">{result}{metadata}'
            f"</{request.action}Response>"
        ).encode()

    def error(self, error: ServiceError) -> Reply:
        """Word an error as the Query protocol does."""
        return error.status, (
            f'<ErrorResponse xmlns="{_NAMESPACE}"><Error><Type>Sender</Type>'
            f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message></Error>"
            f"<RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
        ).encode()


def _xml(value: Any) -> str:
    """Return a value as the Query protocol words it: what is in a list is a `member`."""
    if isinstance(value, Mapping):
        return "".join(f"<{name}>{_xml(each)}</{name}>" for name, each in value.items())
    if isinstance(value, list):
        return "".join(f"<member>{_xml(each)}</member>" for each in value)
    return str(value).lower() if isinstance(value, bool) else escape(str(value))
