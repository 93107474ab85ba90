"""An AWS of several Regions for the functions: the sandbox's EC2 in place of moto's.

It copies, shares, locks and protects images, lets time pass only when it is told to, and knows
nothing of IAM. Every client that `stillpoint.aws.client` makes talks to it, in this process.
"""

import importlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.loaders import create_loader
from moto.core.models import botocore_stubber

from sandbox.companions import Companions
from sandbox.ec2 import Physics, World
from sandbox.service_calls import ServiceError
from sandbox.virtual.front_door import HOSTS, region_of
from sandbox.virtual.journal import Journal
from sandbox.virtual.services import Companion, Ec2, Kms, Request, Sns
from sandbox.virtual.stack import ACCOUNT
from stillpoint.aws.client import forget_clients
from stillpoint.ownership import CopySource
from stillpoint.recovery_point import creation_tags, image_name
from stillpoint.tags import Tag, iso
from tests.functions.stack import CONTEXT, POWERTOOLS, REGION
from tests.functions.template import STACK_NAME, environment_of

if TYPE_CHECKING:
    from sandbox.virtual.services import Service

TOPIC_ARN = f"arn:aws:sns:{REGION}:{ACCOUNT}:stillpoint-notifications"
CALM: Mapping[str, object] = {
    "first_snapshot_seconds": 1,
    "next_snapshot_seconds": 1,
    "image_seconds": 600,
    "copy_seconds": 1200,
    "snapshot_share": 0.8,
    "visibility_seconds": 0,
    "state_lag_seconds": 0,
    "name_release_seconds": 0,
}
"""Everything is visible at once, and takes as long as is easy to reckon with."""
# To read EC2's model anew for every cloud would take most of the tests' time.
_MODELS = create_loader()


class Crash(BaseException):
    """The function's process is gone: no code of it may catch this."""


class Clock:
    """Stands still until it is moved."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> float:
        return self.moment.timestamp()

    def wait(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


class _Raw:
    """A response's body, as botocore reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self._body

    def read(self, *_: object, **__: object) -> bytes:
        return self._body


@dataclass(slots=True)
class Moment:
    """What happens after so many calls, before the next one takes effect."""

    calls: int
    happening: Callable[[], None]


class Cloud:
    """The world, what was published, and ways to set the scene in it."""

    def __init__(self, moment: datetime, **physics: object) -> None:
        self.clock = Clock(moment)
        figures = Physics().changed({**CALM, **physics})
        self.world = World(self.clock, 1, figures, throttled=False)
        self.journal = Journal(self.clock.now)
        self.calls: list[tuple[str, str]] = []
        self.refusals: dict[str, ServiceError] = {}
        self.moment: Moment | None = None
        self.companions = Companions(self.world)
        self._services: dict[str, Service] = {
            "ec2": Ec2(self.world),
            "sns": Sns(self.journal),
            "kms": Kms(self.world),
            **{name: Companion(name, offer) for name, offer in self.companions.offers.items()},
        }

    @property
    def now(self) -> datetime:
        """The present."""
        return self.clock.moment

    def wait(self, **span: float) -> None:
        """Let time pass, such as `minutes=5`."""
        self.clock.wait(timedelta(**span).total_seconds())
        self.world.advance()

    def call(self, action: str, *, region: str = REGION, **params: object) -> Mapping[str, Any]:
        """Make an EC2 call as the owner of the account."""
        return self.world.call(action, params, account=ACCOUNT, region=region, principal="owner")

    def ask(
        self, service: str, action: str, *, region: str = REGION, **params: object
    ) -> Mapping[str, Any]:
        """Make a call to a companion of EC2, such as `elbv2`, as the owner of the account."""
        model = self.companions.offers[service].model
        return model.call(action, params, account=ACCOUNT, region=region, principal="owner")

    def refuse(self, action: str, code: str, status: int = 400) -> None:
        """Let every call of an action be refused from now on."""
        self.refusals[action] = ServiceError(code, f"Refused with {code}.", status, "test")

    def launch(self, *, name: str = "web", volumes: int = 1) -> str:
        """Launch an instance with so many volumes."""
        more = [
            {"DeviceName": f"/dev/sd{letter}", "Ebs": {"VolumeSize": 8}}
            for letter in "fghijklmnop"[: volumes - 1]
        ]
        tags = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": name}]}]
        answer = self.call(
            "RunInstances",
            MinCount=1,
            MaxCount=1,
            BlockDeviceMappings=more,
            TagSpecifications=tags,
        )
        return str(answer["Instances"][0]["InstanceId"])

    def recovery_point(
        self, instance_id: str, *, tags: Mapping[str, str] | None = None, ready: bool = True
    ) -> str:
        """Make a recovery point of an instance as a backup does, now, and wait until it is ready.

        Further `tags` are the image's alone.
        """
        self.wait(minutes=5)
        occurrence = self.now.replace(microsecond=0)
        born = creation_tags(
            stack=STACK_NAME, instance_id=instance_id, execution="e-1", occurrence=occurrence
        )
        evidence = {
            Tag.CONSISTENCY: "file-system",
            Tag.EVIDENCE: "stopped in 20 s",
            Tag.CAPTURED_AT: iso(occurrence),
            Tag.RETAIN: "14",
            Tag.TIME_ZONE: "UTC",
            "Name": "web",
        }
        answer = self.call(
            "CreateImage",
            InstanceId=instance_id,
            Name=image_name(instance_id, occurrence),
            NoReboot=True,
            TagSpecifications=[
                {"ResourceType": kind, "Tags": _rows(born)} for kind in ("image", "snapshot")
            ],
        )
        image_id = str(answer["ImageId"])
        self.wait(seconds=30)
        made = [image_id, *self.images()[image_id]["snapshots"]]
        self.tag(made, evidence)
        self.tag([image_id], tags or {})
        if ready:
            self.wait(minutes=10)
        return image_id

    def tag(self, resources: list[str], tags: Mapping[str, str], *, region: str = REGION) -> None:
        """Write tags."""
        if tags:
            self.call("CreateTags", region=region, Resources=resources, Tags=_rows(tags))

    def images(self, region: str = REGION) -> dict[str, dict[str, Any]]:
        """Return the images of a Region: name, state, tags and snapshots, by id."""
        answer = self.call("DescribeImages", region=region, Owners=["self"], IncludeDisabled=True)
        return {
            row["ImageId"]: {
                "name": row["Name"],
                "state": row["State"],
                "tags": _tags(row),
                "snapshots": [
                    mapping["Ebs"]["SnapshotId"]
                    for mapping in row["BlockDeviceMappings"]
                    if mapping["Ebs"].get("SnapshotId")
                ],
            }
            for row in answer["Images"]
        }

    def snapshots(self, region: str = REGION) -> dict[str, dict[str, Any]]:
        """Return the snapshots of a Region: state, tags and key, by id."""
        answer = self.call("DescribeSnapshots", region=region, OwnerIds=["self"])
        return {
            row["SnapshotId"]: {
                "state": row["State"],
                "tags": _tags(row),
                "key": row.get("KmsKeyId"),
            }
            for row in answer["Snapshots"]
        }

    def copies(self, image_id: str, region: str) -> dict[str, dict[str, Any]]:
        """Return the images of a Region that say that they are copies of this one."""
        source = CopySource(REGION, image_id).render()
        found = self.images(region).items()
        return {key: image for key, image in found if image["tags"].get(Tag.COPY_OF) == source}

    def messages(self, event: str = "") -> list[dict[str, Any]]:
        """Return the documents that were published, oldest first: all, or those of an event."""
        found = [message for message in self.journal.messages if event in ("", message.event)]
        return [message.body | {"text": message.text} for message in found]

    def events(self) -> list[str]:
        """Return the names of the events that were published, oldest first."""
        return [message.event for message in self.journal.messages]

    def invoke(
        self,
        function: str,
        event: object,
        variables: Mapping[str, str] | None = None,
        *,
        seconds: float = 600,
    ) -> dict[str, Any]:
        """Invoke a function's handler now; it has so many seconds."""
        app = load(function)
        environment = environment_of(function, {"NotificationTopic": TOPIC_ARN})
        context = SimpleNamespace(
            **vars(CONTEXT) | {"get_remaining_time_in_millis": lambda: int(seconds * 1000)}
        )
        with (
            mock.patch.dict(os.environ, environment | dict(variables or {})),
            mock.patch.object(app, "datetime", create=True) as clock,
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", message="No application metrics to publish")
            clock.now.side_effect = lambda *_: self.now
            answer = app.handler(json.loads(json.dumps(event)), context)
        document: dict[str, Any] = json.loads(json.dumps(answer))  # as Lambda hands it on
        return document

    def answer(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        """Answer what botocore would send."""
        name = request.url.split("/")[2].partition(".")[0]
        name = HOSTS.get(name, name)
        service = self._services[name]
        headers = {name.lower(): _text(value) for name, value in request.headers.items()}
        body = _text(request.body)
        action = service.action(headers, body)
        self._happen()
        self.calls.append((region_of(headers), action))
        try:
            if action in self.refusals:
                raise self.refusals[action]
            wire = Request(name, region_of(headers), action, body)
            status, content = service.answer("function", wire)
        except ServiceError as error:
            status, content = service.error(error)
        return AWSResponse(request.url, status, HTTPHeaders(), _Raw(content))

    def _happen(self) -> None:
        moment = self.moment
        if moment is None:
            return
        if moment.calls == 0:
            self.moment = None
            moment.happening()
        moment.calls -= 1


def crash() -> None:
    """Let the process of a function end here, whatever it was about to do."""
    raise Crash


@contextmanager
def cloud_at(moment: datetime, **physics: object) -> Iterator[Cloud]:
    """Let every client talk to a new cloud, in which it is this moment.

    `physics` are figures of the sandbox's EC2, such as `copy_seconds=60`. Pauses between two
    tries of the SDK pass at once, on the cloud's clock.
    """
    cloud = Cloud(moment.astimezone(UTC), **physics)
    session = boto3.Session()
    session._session.register_component("data_loader", _MODELS)
    # botocore asks all who are registered: moto, which serves the other tests, must not answer.
    session.events.unregister("before-send", botocore_stubber)  # type: ignore[arg-type] # may too
    session.events.register("before-send", cloud.answer)  # type: ignore[arg-type] # may answer
    forget_clients()
    with (
        mock.patch.object(boto3, "DEFAULT_SESSION", session),
        mock.patch("time.sleep", cloud.clock.wait),
    ):
        yield cloud
    forget_clients()


def load(function: str) -> ModuleType:
    """Import a function as Lambda does: with the telemetry's settings in the environment."""
    with mock.patch.dict(os.environ, POWERTOOLS):
        return importlib.import_module(f"functions.{function}.app")


def _rows(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": str(key), "Value": value} for key, value in tags.items()]


def _tags(row: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in row.get("Tags") or []}


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "")
