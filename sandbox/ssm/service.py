"""The service: one call after another, with the world's clock and the world's faults."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox import service_errors
from sandbox.ec2.call import Call, CallRecord
from sandbox.ec2.faults import REFUSALS, Fault, FaultName
from sandbox.ec2.region import Region
from sandbox.ec2.world import World
from sandbox.service_calls import ServiceError
from sandbox.ssm import dispatch, library, vss
from sandbox.ssm.agent import Agents, Job
from sandbox.ssm.dispatch import Dispatch
from sandbox.ssm.documents import Role
from sandbox.ssm.errors import error
from sandbox.ssm.freezing import Freezer
from sandbox.ssm.library import Library
from sandbox.ssm.owned import VSS
from sandbox.ssm.physics import SsmPhysics
from sandbox.ssm.scripts import Scripts, run_plain

ACTIONS = frozenset(library.ACTIONS) | frozenset(dispatch.ACTIONS)


@dataclass(frozen=True, slots=True)
class _Place:
    """One account's SSM in one Region."""

    region: Region
    library: Library
    dispatch: Dispatch


class Ssm:
    """SSM in all accounts and Regions of a world, behind the world's lock."""

    def __init__(self, world: World, physics: SsmPhysics | None = None) -> None:
        """Make an SSM without documents of its own; its agents are in the world's guests."""
        self.physics = physics or SsmPhysics()
        self.calls: list[CallRecord] = []
        self._world = world
        self._places: dict[tuple[str, str], _Place] = {}
        self._freezer, self._scripts = Freezer(), Scripts()

    def call(
        self, action: str, params: Mapping[str, Any], *, account: str, region: str, principal: str
    ) -> Mapping[str, Any]:
        """Perform one call of the API and return its answer, by the names of the SDK.

        Raises ServiceError for an error of SSM, KeyError for an action that is not offered.
        """
        with self._world.lock:
            now = self._world.advance()
            place = self._place(account, region)
            call = Call(action, params, principal, now, _instances(params), region)
            failure: str | None = None
            try:
                return self._perform(place, call)
            except ServiceError as answered:
                failure = answered.code
                raise
            finally:
                record = CallRecord(action, principal, now, region, call.instances, failure)
                self.calls.append(record)

    def document_tags(self, account: str, region: str, name: str) -> Mapping[str, str]:
        """Return the tags of one of an account's own documents; none if there is no such one.

        This is for whoever judges permissions: it is no call, and no fault strikes it.
        """
        document = self._place(account, region).library.own.get(name)
        return document.tags if document else {}

    def _perform(self, place: _Place, call: Call) -> Mapping[str, Any]:
        """Let faults have their say around an operation."""
        for name in REFUSALS:
            if fault := place.region.fault(name, call, *call.instances):
                raise _refusal(fault, call)
        if call.action in library.ACTIONS:
            answer = library.ACTIONS[call.action](place.library, call)
        else:
            answer = dispatch.ACTIONS[call.action](place.dispatch, call)
        if fault := place.region.fault(FaultName.LOST_RESPONSE, call, *call.instances):
            raise _refusal(fault, call)
        return answer

    def _place(self, account: str, region: str) -> _Place:
        """Return one account's SSM in one Region."""
        key = account, region
        if key not in self._places:
            ec2, documents = self._world.region(account, region), Library(account)
            agents = Agents(ec2, self.physics, self._work)
            self._places[key] = _Place(ec2, documents, Dispatch(ec2, documents, agents))
        return self._places[key]

    def _work(self, job: Job, now: float) -> None:
        """Do in a guest what a document does."""
        command = job.invocation.command
        if command.document in VSS:
            vss.run(job, now)
            return
        match command.content.role:
            case Role.FREEZE:
                self._freezer.run(job, now)
            case Role.SCRIPT:
                self._scripts.run(job, now)
            case Role.OTHER:
                run_plain(job, now)


def _instances(params: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ids of the instances that a request names."""
    named = [params.get("InstanceId"), *(params.get("InstanceIds") or [])]
    return tuple(str(instance_id) for instance_id in named if instance_id)


def _refusal(fault: Fault, call: Call) -> ServiceError:
    """Return the error with which a fault answers, in the words of SSM."""
    match fault.name:
        case FaultName.THROTTLE:
            return service_errors.throttled("ssm")
        case FaultName.ACCESS_DENIED:
            message = f"User: {call.principal} is not authorized to perform: ssm:{call.action}"
            return service_errors.denied("ssm", message)
        case FaultName.API_ERROR:
            return error(fault.code, fault.message, fault.status)
        case _:
            return service_errors.failure("InternalServerError")
