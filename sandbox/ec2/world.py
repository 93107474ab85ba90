"""The world: an EC2 that takes time, forgets what was not flushed, and knows the truth.

The world is a pure model. It runs no thread and reads no clock but the one it is given: each call
first lets everything happen whose moment has passed. Operations take and give dictionaries by the
names of the AWS SDK.
"""

import threading
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from sandbox.ec2 import (
    copying,
    deregistering,
    image_views,
    images,
    instance_types,
    instance_views,
    instances,
    launching,
    locking,
    protecting,
    recycled,
    references,
    registering,
    sharing,
    snapshots,
    surrounding_views,
    tagging,
    templates,
    truth,
    volumes,
)
from sandbox.ec2.call import Call, CallRecord
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.faults import REFUSALS, FaultBook, FaultName
from sandbox.ec2.keys import KeyRing
from sandbox.ec2.knobs import configure, describe_physics
from sandbox.ec2.lifecycle import terminate
from sandbox.ec2.model import Instance
from sandbox.ec2.physics import Physics
from sandbox.ec2.region import Operation, Region
from sandbox.ec2.tags import TagBook
from sandbox.ec2.throttle import Throttle

ACTIONS: Mapping[str, Operation] = {
    **launching.ACTIONS,
    **instances.ACTIONS,
    **instance_views.ACTIONS,
    **instance_types.ACTIONS,
    **surrounding_views.ACTIONS,
    **images.ACTIONS,
    **image_views.ACTIONS,
    **copying.ACTIONS,
    **registering.ACTIONS,
    **deregistering.ACTIONS,
    **recycled.ACTIONS,
    **sharing.ACTIONS,
    **protecting.ACTIONS,
    **locking.ACTIONS,
    **references.ACTIONS,
    **templates.ACTIONS,
    **snapshots.ACTIONS,
    **volumes.ACTIONS,
    **tagging.ACTIONS,
}

DEFAULT_ACCOUNT = "000000000000"
DEFAULT_REGION = "us-east-1"


class Clock(Protocol):
    """What the world needs of a clock."""

    def now(self) -> float:
        """Return the time as epoch seconds; it never goes back."""
        ...


class WorldTags(Protocol):
    """What the world tells whoever keeps a copy of all tags."""

    def __call__(
        self, account: str, region: str, resource_id: str, tags: Mapping[str, str], /
    ) -> None:
        """Hear that these are all the tags of a resource now."""
        ...


class KeyFinder(Protocol):
    """What the world asks of whoever keeps KMS keys."""

    def __call__(self, account: str, region: str, key: str, /) -> str | None:
        """Return the ARN of a key that is given as an ARN, an id or an alias, if there is one."""
        ...


class WorldFaults:
    """The faults in force, as `world.faults`."""

    def __init__(self, world: "World", book: FaultBook) -> None:
        """Offer the book of a world."""
        self._world = world
        self._book = book

    def add(self, description: Mapping[str, Any]) -> int:
        """Put a fault in force from now on and return its id; see `sandbox.ec2.faults`."""
        with self._world.lock:
            return self._book.add(description, self._world.clock.now())

    def list(self) -> list[dict[str, Any]]:
        """Return the faults in force and how often each struck, ready for JSON."""
        with self._world.lock:
            return self._book.list()

    def clear(self, fault_id: int | None = None) -> None:
        """Lift one fault, or all of them."""
        with self._world.lock:
            self._book.clear(fault_id)


class World:
    """All accounts and Regions of the emulated EC2, behind one lock."""

    def __init__(
        self,
        clock: Clock,
        seed: int | str = 0,
        physics: Physics | None = None,
        *,
        throttled: bool = True,
        neighbour: float = 0.0,
    ) -> None:
        """Make an empty world; `throttled` says whether EC2's request limits hold.

        `neighbour` is the share of every limit that another tool of the account takes.
        """
        self.clock = clock
        self.physics = physics or Physics()
        self.lock = threading.RLock()
        self.throttled = throttled
        self._neighbour = neighbour
        self.calls: list[CallRecord] = []
        self.keeps_calls = True
        self.on_tags: WorldTags | None = None
        self.find_key: KeyFinder | None = None
        self._seed = str(seed)
        self._book = FaultBook()
        self.faults = WorldFaults(self, self._book)
        self._regions: dict[tuple[str, str], Region] = {}

    def call(
        self,
        action: str,
        params: Mapping[str, Any],
        *,
        account: str = DEFAULT_ACCOUNT,
        region: str = DEFAULT_REGION,
        principal: str = "root",
        forbidden: frozenset[str] = frozenset(),
    ) -> Mapping[str, Any]:
        """Perform one call of the API and return its answer; raise Ec2Error for an error.

        Permissions are for whoever passes the call on to see to. `forbidden` names the snapshots
        that the caller may not delete, for DeregisterImage: it succeeds without them.
        """
        with self.lock:
            place = self.region(account, region)
            now = self.advance()
            concerned = tuple(_concerned(place, params))
            call = Call(action, params, principal, now, concerned, region, forbidden)
            error: str | None = None
            try:
                return self._perform(place, call)
            except Ec2Error as failure:
                error = failure.code
                raise
            finally:
                if self.keeps_calls:
                    record = CallRecord(action, principal, now, region, call.instances, error)
                    self.calls.append(record)

    def advance(self) -> float:
        """Let everything happen whose moment has passed; return the present."""
        with self.lock:
            now = self.clock.now()
            for place in self._regions.values():
                place.agenda.run_until(now)
            return now

    def region(self, account: str = DEFAULT_ACCOUNT, region: str = DEFAULT_REGION) -> Region:
        """Return one account's EC2 in one Region."""
        key = (account, region)
        if key not in self._regions:
            self._regions[key] = Region(
                account=account,
                name=region,
                physics=self.physics,
                seed=self._seed,
                faults=self._book,
                tags=TagBook(lambda resource, tags: self._tell(account, region, resource, tags)),
                throttle=Throttle(enabled=self.throttled, neighbour=self._neighbour),
                places=self._regions,
                keys=KeyRing(account, region, lambda key: self._find_key(account, region, key)),
            )
        return self._regions[key]

    def regions(self, account: str = DEFAULT_ACCOUNT) -> list[Region]:
        """Return all Regions in which something of an account has ever been asked for."""
        return [place for place in self._regions.values() if place.account == account]

    def configure(self, instance: str, **knobs: object) -> None:
        """Set the knobs of an instance, given by id or Name tag; see `sandbox.ec2.knobs`."""
        with self.lock:
            now = self.advance()
            place, found = self._find(instance)
            configure(place, found, knobs, now)

    def describe_physics(self, instance: str) -> dict[str, Any]:
        """Return the knobs of an instance, given by id or Name tag, ready for JSON."""
        with self.lock:
            return describe_physics(self._find(instance)[1])

    def add_key(
        self, key_id: str, *, account: str = DEFAULT_ACCOUNT, region: str = DEFAULT_REGION
    ) -> str:
        """Let a Region have one more customer managed key, and return the key's ARN."""
        with self.lock:
            return self.region(account, region).keys.add(key_id)

    def set_recycle_bin(
        self,
        *,
        image_days: int | None,
        snapshot_days: int | None,
        account: str = DEFAULT_ACCOUNT,
        region: str = DEFAULT_REGION,
    ) -> None:
        """Set for how many days a Region's Recycle Bin keeps what is deleted from now on.

        None is no rule: what is deleted is gone. Raise ValueError for an impossible number.
        """
        with self.lock:
            self.region(account, region).recycle_bin.set_rules(image_days, snapshot_days)

    def is_out(self, region: str) -> bool:
        """Say whether an outage strikes a Region now; for services beside EC2."""
        with self.lock:
            return self._book.is_out(region, self.clock.now())

    def truth(self) -> dict[str, Any]:
        """Return what only the world knows, ready for JSON; see `sandbox.ec2.truth`."""
        with self.lock:
            now = self.advance()
            return truth.report(self._regions.values(), now)

    def _perform(self, place: Region, call: Call) -> Mapping[str, Any]:
        """Let throttling and faults have their say around an operation."""
        place.throttle.admit(
            call.action,
            call.at,
            instances=len(call.params.get("InstanceIds") or []),
            narrowed=bool(call.params.get("Filters") or call.params.get("MaxResults")),
        )
        for name in REFUSALS:
            if fault := place.fault(name, call, *call.instances):
                raise fault.error(call)
        for instance_id in call.instances:
            victim = place.instances.get(instance_id)
            if victim and place.fault(FaultName.INSTANCE_TERMINATED, call, instance_id):
                terminate(place, victim, call.at, "fault")
        if call.params.get("DryRun", False):
            message = "Request would have succeeded, but DryRun flag is set."
            raise Ec2Error("DryRunOperation", message, 412)
        answer = ACTIONS[call.action](place, call)
        if fault := place.fault(FaultName.LOST_RESPONSE, call, *call.instances):
            raise fault.error(call)
        return answer

    def _find(self, instance: str) -> tuple[Region, Instance]:
        """Return the one instance with this id or Name tag; raise KeyError if there is not one."""
        found = [
            (place, one)
            for place in self._regions.values()
            for one in place.instances.values()
            if instance in (one.instance_id, place.instance_name(one.instance_id))
        ]
        if len(found) != 1:
            message = f"{len(found)} instances have the id or the Name tag {instance!r}"
            raise KeyError(message)
        return found[0]

    def _find_key(self, account: str, region: str, key: str) -> str | None:
        """Ask whoever keeps the keys."""
        return self.find_key(account, region, key) if self.find_key else None

    def _tell(self, account: str, region: str, resource: str, tags: Mapping[str, str]) -> None:
        """Pass a change of tags on."""
        if self.on_tags:
            self.on_tags(account, region, resource, tags)


def _concerned(region: Region, params: Mapping[str, Any]) -> Iterable[str]:
    """Return the ids of the instances that a request concerns, each once."""
    named = [params.get("InstanceId"), params.get("ImageId"), params.get("SnapshotId")]
    for key in ("InstanceIds", "Resources", "ImageIds", "SnapshotIds"):
        named += params.get(key) or []
    for entry in params.get("Filters") or []:
        if entry.get("Name") in ("instance-id", "source-instance-id"):
            named += entry.get("Values") or []
    found = [_source(region, str(name)) for name in named if name]
    elsewhere = region.places.get((region.account, str(params.get("SourceRegion"))))
    if elsewhere and params.get("SourceImageId"):
        found.append(_source(elsewhere, str(params["SourceImageId"])))
    return dict.fromkeys(instance_id for instance_id in found if instance_id)


def _source(region: Region, resource_id: str) -> str | None:
    """Return the instance that a resource is, or holds the data of."""
    if resource_id in region.instances:
        return resource_id
    snapshot = region.any_snapshot(resource_id)
    image = region.any_image((snapshot.image_id if snapshot else resource_id) or "")
    return image.origin_instance_id if image else None
