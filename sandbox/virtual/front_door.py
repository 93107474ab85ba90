"""The one door that every API call of a run goes through: latency, faults, the service, the log."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sandbox import service_errors
from sandbox.service_calls import ServiceError
from sandbox.virtual import quotas
from sandbox.virtual.meter import CallKind, Principal
from sandbox.virtual.mischief import Kind
from sandbox.virtual.permissions import Permissions
from sandbox.virtual.run import Run
from sandbox.virtual.services import Reply, Request, Service
from sandbox.virtual.stack import REGION

# The services whose hosts have another name than they have in the SDK.
HOSTS: Final = {"elasticloadbalancing": "elbv2", "monitoring": "cloudwatch"}
# Ids of resources, keys of our tags, names of executions.
_SCOPE: Final = re.compile(r"Credential=[^/]+/\d+/([a-z0-9-]+)/")
_HOST: Final = re.compile(r"[a-z0-9-]+\.([a-z]+(?:-[a-z]+)+-\d+)\.amazonaws\.com")
_SUBJECT: Final = re.compile(
    r"\b((?:i|ami|snap)-[0-9a-f]{17})\b|Key=stillpoint%3A([\w-]+)|\"name\": \"([\w-]+)\""
)


class Killed(BaseException):
    """A function's process is gone, as if the power went: no code of it may catch this."""

    def __init__(self, *, timed_out: bool) -> None:
        super().__init__()
        self.timed_out = timed_out


class ResponseLost(Exception):
    """The call took effect, and its answer never arrived."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the function or the state, the ARN that it does so with, and how it can die.

    `alive` is called whenever time has passed; it raises Killed for a function that is out of it.
    `hang` lasts until the function is killed. `kind` is what its calls are counted under.
    """

    name: str
    principal: str
    role: str
    alive: Callable[[], None] = lambda: None
    hang: Callable[[], None] = lambda: None
    kind: Principal = Principal.FUNCTION


class FrontDoor:
    """Lets calls in, one after the other, and some of them come to grief."""

    def __init__(
        self,
        services: Mapping[str, Service],
        permissions: Permissions,
        run: Run,
    ) -> None:
        self._services = services
        self._permissions = permissions
        self._run = run
        self.latency = quotas.LATENCY
        self._chance = run.chance("latency")

    def call(self, caller: Caller, service: str, headers: dict[str, str], body: str) -> Reply:
        """Answer one request to a service, given by its host or its name in the SDK.

        Raises ResponseLost, or Killed in a function.
        """
        service = HOSTS.get(service, service)
        caller.alive()
        self._wait(caller)
        behind = self._services[service]
        action = behind.action(headers, body)
        request = Request(service, region_of(headers), action, body)
        fault = self._run.mischief.call(caller.name, action)
        self._run.journal.called(caller.name, action)
        if fault is Kind.CRASH_BEFORE:
            self._log(caller, request, "the function crashes before it")
            raise Killed(timed_out=False)
        try:
            if refusal := _refusal(fault, service, action):
                raise refusal
            if denial := self._permissions.refusal(caller.role, caller.principal, request):
                if self._permissions.is_missing(body):
                    self._run.journal.surprise(
                        f"{caller.name} lacks a permission: {denial.message}"
                    )
                raise denial
            request = self._permissions.narrowed(caller.role, caller.principal, request)
            reply = behind.answer(caller.principal, request)
            code, outcome = "", "ok"
        except ServiceError as error:
            reply = behind.error(error)
            code, outcome = error.code, f"{error.code}: {error.message[:80]}"
        self._run.meter.calls[CallKind(caller.kind, service, action, code)] += 1
        self._log(caller, request, outcome + (f" [{fault}]" if fault else ""))
        match fault:
            case Kind.CRASH_AFTER:
                raise Killed(timed_out=False)
            case Kind.HANG:
                caller.hang()
            case Kind.RESPONSE_LOST:
                raise ResponseLost
            case _:
                self._wait(caller)
        return reply

    def _wait(self, caller: Caller) -> None:
        self._run.scheduler.sleep(self._chance.uniform(*self.latency))
        caller.alive()

    def _log(self, caller: Caller, request: Request, outcome: str) -> None:
        if not self._run.journal.keeps_entries:
            return
        place = "" if request.region == REGION else f"in {request.region} "
        what = f"{caller.name}: {request.action} {_subject(request.body)}{place}"
        self._run.journal.note("call", f"{what}-> {outcome}")


def region_of(headers: Mapping[str, str]) -> str:
    """Return the Region that a request is for: its signature's scope, or its host, or the stack's.

    IAM User Guide, "Elements of an AWS API request signature": the credential scope names the
    date, the Region and the service. A state's requests carry neither.
    """
    scope = _SCOPE.search(headers.get("authorization", ""))
    host = _HOST.fullmatch(headers.get("host", ""))
    found = scope or host
    return found[1] if found else REGION


def _refusal(fault: Kind | None, service: str, action: str) -> ServiceError | None:
    """Return the error that a fault answers in the service's place, if it does."""
    match fault:
        case Kind.THROTTLED_ONCE | Kind.THROTTLED_FOR_TEN_MINUTES:
            return service_errors.throttled(service)
        case Kind.SERVER_ERROR:
            return service_errors.failure("InternalError")
        case Kind.ACCESS_DENIED:
            message = f"You are not authorized to perform: {service}:{action}"
            return service_errors.denied(service, message)
        case _:
            return None


def _subject(body: str) -> str:
    """Return what a request is about, as far as it says so plainly, for the history."""
    found = (match[1] or match[2] or match[3] for match in _SUBJECT.finditer(body))
    return "".join(f"{each} " for each in dict.fromkeys(found))
