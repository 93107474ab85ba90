"""What the models of the services beside EC2 have in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from sandbox import service_errors
from sandbox.ec2.call import Call
from sandbox.ec2.faults import REFUSALS, FaultName
from sandbox.ec2.region import Region
from sandbox.ec2.world import World
from sandbox.service_calls import ServiceError

TOKENS: Final = ("NextToken", "MaxRecords", "NextToken")
MARKERS: Final = ("Marker", "PageSize", "NextMarker")

type Operation[P] = Callable[[P, Call], Mapping[str, Any]]


class Modelled[P](ABC):
    """A service whose operations work on what it keeps in one Region, a P.

    The world's faults strike its calls as they do those of EC2.
    """

    def __init__(self, service: str, world: World, operations: Mapping[str, Operation[P]]) -> None:
        """`service` is its name in the SDK, `operations` are the actions that it offers."""
        self._service = service
        self._world = world
        self._operations = operations

    @property
    def actions(self) -> Collection[str]:
        """The actions that it offers."""
        return self._operations.keys()

    def call(
        self, action: str, params: Mapping[str, Any], *, account: str, region: str, principal: str
    ) -> Mapping[str, Any]:
        """Perform one call. Raises ServiceError, KeyError for an action that is not offered."""
        operation = self._operations[action]
        with self._world.lock:
            now = self._world.advance()
            ec2 = self._world.region(account, region)
            named = tuple(dict.fromkeys(_instances(params)))
            call = Call(action, params, principal, now, named, region)
            self._let_strike(ec2, call, REFUSALS)
            answer = operation(self._place(ec2, now), call)
            self._let_strike(ec2, call, (FaultName.LOST_RESPONSE,))
            return answer

    @abstractmethod
    def _place(self, region: Region, now: float) -> P:
        """Return what the service keeps in a Region, as it is now."""
        ...

    def _let_strike(self, ec2: Region, call: Call, faults: Collection[FaultName]) -> None:
        """Answer an error if one of these faults strikes. Raises ServiceError."""
        for name in faults:
            fault = ec2.fault(name, call, *call.instances)
            if fault is None:
                continue
            match name:
                case FaultName.THROTTLE:
                    raise service_errors.throttled(self._service)
                case FaultName.ACCESS_DENIED:
                    message = f"User: {call.principal} is not authorized to do {call.action}"
                    raise service_errors.denied(self._service, message)
                case FaultName.API_ERROR:
                    raise ServiceError(
                        fault.code, fault.message, fault.status, service_errors.REQUEST_ID
                    )
                case _:
                    raise service_errors.failure()


def page(
    name: str, rows: Sequence[Any], call: Call, names: tuple[str, str, str] = TOKENS
) -> dict[str, Any]:
    """Return the page of rows that a request asks for, of 100 if it does not say.

    `names` are those of where it begins, of its size, and of where the next one begins.
    """
    begins, size, following = names
    begin = int(call.params.get(begins, 0))
    end = begin + call.params.get(size, 100)
    return {name: list(rows[begin:end]), following: str(end) if end < len(rows) else None}


def _instances(params: Mapping[str, Any]) -> Iterator[str]:
    """The ids of the instances that a request names."""
    yield from params.get("InstanceIds") or []
    yield from (target["Id"] for target in params.get("Targets") or [])
