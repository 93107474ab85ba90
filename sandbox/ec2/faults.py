"""Faults by name: what can go wrong with EC2, placed where a scenario wants it.

A fault is described by a dictionary that a scenario file can hold:

    {"name": "throttle", "action": "StartInstances", "instance": "web-1", "times": 3}

name           one of FAULT_NAMES
action         the action or list of actions that it strikes; each name has its default
instance       the id or the Name tag of the instance that it strikes; default is every one
principal      a part of the caller's ARN; default is every caller
region         the Region in which it strikes; default is every one, `region-outage` must name one
skip           how many matching calls pass before it strikes; default 0
times          how often it strikes, 0 for without end; default 1, without end if `seconds` is given
after_seconds  it strikes from so many seconds after it was added; default 0
seconds        and for so long from then on; default for ever
stage          the value of the parameter `command` of the SSM command that it strikes, such as
               `pre-script` or `freeze`; default is every command
code, message, status   the error of `api-error`
falls_back     for `no-capacity`: the start is accepted and the instance falls back to `stopped`
delay_seconds  for `image-failed`, `snapshot-error` and `copy-failed`: how long until it fails;
               for `agent-hangs` and `agent-offline-after-start`: how late it is, default for ever;
               for `auto-thaw-fires`: how long after the freeze, default is thawSeconds
exit_code      for `script-fails`: default 202 for a post-script, 201 for others
volume         for `snapshot-never-initiated`, `snapshot-error` and `snapshot-delete-refused`:
               which volume, counted from 0 in the order of capture, -1 for the last; default -1
return_code    for `snapshot-delete-refused`: the result of that snapshot, `missing-permissions`,
               `internal-error` or `client-error`; default `internal-error`

`region-outage` strikes every call in its Region for as long as it is in force, whatever `times`
is; `copy-stuck` is a copy that stays pending for ever.

What goes wrong in a guest, with a command of SSM (`SendCommand`):

agent-hangs                the command does its work, and the agent never reports it
agent-offline-after-start  the agent does not come up after StartInstances
script-fails, script-hangs an owner's script ends with an error, or never
freeze-fails               a file system cannot be frozen; those that were are thawed again
auto-thaw-fires            the process that holds the freeze does not end it, its watchdog does
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, assert_never

from sandbox.ec2.call import Call
from sandbox.ec2.errors import Ec2Error


class FaultName(StrEnum):
    """The faults of EC2."""

    THROTTLE = "throttle"
    SERVER_ERROR = "server-error"
    LOST_RESPONSE = "lost-response"
    ACCESS_DENIED = "access-denied"
    API_ERROR = "api-error"
    NO_CAPACITY = "no-capacity"
    NO_KMS_GRANT = "no-kms-grant"
    HUNG_GUEST = "hung-guest"
    IMAGE_FAILED = "image-failed"
    SNAPSHOT_NEVER_INITIATED = "snapshot-never-initiated"
    SNAPSHOT_ERROR = "snapshot-error"
    STOP_PROTECTION_APPEARS = "stop-protection-appears"
    INSTANCE_TERMINATED = "instance-terminated"
    COPY_FAILED = "copy-failed"
    COPY_STUCK = "copy-stuck"
    SNAPSHOT_DELETE_REFUSED = "snapshot-delete-refused"
    REGION_OUTAGE = "region-outage"
    AGENT_HANGS = "agent-hangs"
    AGENT_OFFLINE_AFTER_START = "agent-offline-after-start"
    SCRIPT_FAILS = "script-fails"
    SCRIPT_HANGS = "script-hangs"
    FREEZE_FAILS = "freeze-fails"
    AUTO_THAW_FIRES = "auto-thaw-fires"


FAULT_NAMES = tuple(name.value for name in FaultName)

# Faults that answer an error and leave everything as it was.
REFUSALS = (
    FaultName.REGION_OUTAGE,
    FaultName.THROTTLE,
    FaultName.SERVER_ERROR,
    FaultName.ACCESS_DENIED,
    FaultName.API_ERROR,
)

# The actions that a fault strikes if it names none; an empty set stands for every action.
_DEFAULT_ACTIONS: Mapping[FaultName, frozenset[str]] = {
    FaultName.NO_CAPACITY: frozenset({"StartInstances"}),
    FaultName.NO_KMS_GRANT: frozenset({"StartInstances"}),
    FaultName.HUNG_GUEST: frozenset({"StopInstances", "RebootInstances", "CreateImage"}),
    FaultName.IMAGE_FAILED: frozenset({"CreateImage"}),
    FaultName.SNAPSHOT_NEVER_INITIATED: frozenset({"CreateImage"}),
    FaultName.SNAPSHOT_ERROR: frozenset({"CreateImage"}),
    FaultName.STOP_PROTECTION_APPEARS: frozenset({"StopInstances"}),
    FaultName.INSTANCE_TERMINATED: frozenset({"CreateImage"}),
    FaultName.COPY_FAILED: frozenset({"CopyImage"}),
    FaultName.COPY_STUCK: frozenset({"CopyImage"}),
    FaultName.SNAPSHOT_DELETE_REFUSED: frozenset({"DeregisterImage"}),
    FaultName.AGENT_HANGS: frozenset({"SendCommand"}),
    FaultName.AGENT_OFFLINE_AFTER_START: frozenset({"StartInstances"}),
    FaultName.SCRIPT_FAILS: frozenset({"SendCommand"}),
    FaultName.SCRIPT_HANGS: frozenset({"SendCommand"}),
    FaultName.FREEZE_FAILS: frozenset({"SendCommand"}),
    FaultName.AUTO_THAW_FIRES: frozenset({"SendCommand"}),
}
# How long what is late takes, where a fault does not say; 30 seconds for all others.
_DEFAULT_DELAYS: Mapping[FaultName, float] = {
    FaultName.AGENT_HANGS: float("inf"),
    FaultName.AGENT_OFFLINE_AFTER_START: float("inf"),
    FaultName.AUTO_THAW_FIRES: float("inf"),
}
# What a snapshot's deletion can come to if it is refused (EC2 API Reference,
# DeleteSnapshotReturnCode); `skipped` is the world's own finding.
RETURN_CODES = ("missing-permissions", "internal-error", "client-error")


@dataclass(slots=True)
class Fault:
    """One fault, as described at the top of this module."""

    fault_id: int
    name: FaultName
    actions: frozenset[str]
    from_moment: float
    until_moment: float
    instance: str | None = None
    principal: str | None = None
    region: str | None = None
    skip: int = 0
    times: int = 1
    code: str = "InternalError"
    message: str = "An internal error has occurred"
    status: int = 500
    falls_back: bool = False
    delay_seconds: float = 30.0
    volume: int = -1
    return_code: str = "internal-error"
    stage: str | None = None
    exit_code: int | None = None
    seen: int = 0
    hits: int = 0

    def matches(self, call: Call, instance_id: str | None, instance_name: str | None) -> bool:
        """Say whether the fault concerns this call for this instance, by everything but counts."""
        return (
            self.from_moment <= call.at < self.until_moment
            and (not self.actions or call.action in self.actions)
            and (self.instance is None or self.instance in (instance_id, instance_name))
            and (self.principal is None or self.principal in call.principal)
            and self.region in (None, call.region)
            and self.stage in (None, _stage(call))
        )

    def strikes(self) -> bool:
        """Count a matching call, and say whether the fault strikes it."""
        self.seen += 1
        if self.seen <= self.skip or (self.times and self.hits >= self.times):
            return False
        self.hits += 1
        return True

    def error(self, call: Call) -> Ec2Error:
        """Return the error with which the fault answers; only for faults that answer one."""
        match self.name:
            case FaultName.THROTTLE:
                return Ec2Error("RequestLimitExceeded", "Request limit exceeded.", 503)
            case FaultName.SERVER_ERROR | FaultName.LOST_RESPONSE:
                return Ec2Error("InternalError", "An internal error has occurred", 500)
            case FaultName.ACCESS_DENIED:
                message = "You are not authorized to perform this operation. "
                message += f"User: {call.principal} is not authorized to perform: "
                message += f"ec2:{call.action}"
                return Ec2Error("UnauthorizedOperation", message, 403)
            case FaultName.NO_CAPACITY:
                return Ec2Error("InsufficientInstanceCapacity", "Insufficient capacity.", 500)
            case FaultName.REGION_OUTAGE:
                message = "The server is overloaded and can't handle the request."
                return Ec2Error("Unavailable", message, 503)
            case FaultName.API_ERROR:
                return Ec2Error(self.code, self.message, self.status)
            case (
                FaultName.NO_KMS_GRANT
                | FaultName.HUNG_GUEST
                | FaultName.IMAGE_FAILED
                | FaultName.SNAPSHOT_NEVER_INITIATED
                | FaultName.SNAPSHOT_ERROR
                | FaultName.STOP_PROTECTION_APPEARS
                | FaultName.INSTANCE_TERMINATED
                | FaultName.COPY_FAILED
                | FaultName.COPY_STUCK
                | FaultName.SNAPSHOT_DELETE_REFUSED
                | FaultName.AGENT_HANGS
                | FaultName.AGENT_OFFLINE_AFTER_START
                | FaultName.SCRIPT_FAILS
                | FaultName.SCRIPT_HANGS
                | FaultName.FREEZE_FAILS
                | FaultName.AUTO_THAW_FIRES
            ):
                message = f"{self.name} answers no error"
                raise AssertionError(message)
            case _:
                assert_never(self.name)

    def to_dict(self) -> dict[str, Any]:
        """Return the fault and how often it struck, ready for JSON."""
        return {
            "id": self.fault_id,
            "name": self.name.value,
            "action": sorted(self.actions),
            "instance": self.instance,
            "principal": self.principal,
            "region": self.region,
            "skip": self.skip,
            "times": self.times,
            "hits": self.hits,
        }


@dataclass(slots=True)
class FaultBook:
    """The faults that are in force."""

    _faults: dict[int, Fault] = field(default_factory=dict)
    _next_id: int = 1

    def add(self, description: Mapping[str, Any], now: float) -> int:
        """Put a fault in force and return its id; raise ValueError in words if it is unsound."""
        fault = _parse(description, self._next_id, now)
        self._faults[fault.fault_id] = fault
        self._next_id += 1
        return fault.fault_id

    def list(self) -> list[dict[str, Any]]:
        """Return all faults in force, ready for JSON."""
        return [fault.to_dict() for fault in self._faults.values()]

    def clear(self, fault_id: int | None = None) -> None:
        """Lift one fault, or all; raise KeyError for an id that is not in force."""
        if fault_id is None:
            self._faults.clear()
        else:
            del self._faults[fault_id]

    def is_out(self, region: str, now: float) -> bool:
        """Say whether an outage of a Region is in force."""
        return any(
            fault.name is FaultName.REGION_OUTAGE
            and fault.region == region
            and fault.from_moment <= now < fault.until_moment
            for fault in self._faults.values()
        )

    def take(
        self, name: FaultName, call: Call, instances: Mapping[str, str | None]
    ) -> Fault | None:
        """Return the first fault `name` that strikes this call.

        `instances` maps the ids of the instances that the call concerns to their Name tags. A
        fault that names no instance strikes a call without one, too.
        """
        targets: list[tuple[str | None, str | None]] = [*instances.items()] or [(None, None)]
        for fault in self._faults.values():
            concerned = any(fault.matches(call, id_, its_name) for id_, its_name in targets)
            if fault.name is name and concerned and fault.strikes():
                return fault
        return None


_KEYS = frozenset(
    {
        "name",
        "action",
        "instance",
        "principal",
        "region",
        "skip",
        "times",
        "after_seconds",
        "seconds",
    }
    | {"code", "message", "status", "falls_back", "delay_seconds", "volume", "return_code"}
    | {"stage", "exit_code"}
)


def _parse(description: Mapping[str, Any], fault_id: int, now: float) -> Fault:
    """Return the fault that `description` describes."""
    unknown = sorted(set(description) - _KEYS)
    if unknown:
        message = f"a fault has no {', '.join(unknown)}; it has: {', '.join(sorted(_KEYS))}"
        raise ValueError(message)
    if description.get("name") not in FAULT_NAMES:
        message = f"{description.get('name')!r} is not a fault of EC2; these are: "
        raise ValueError(message + ", ".join(FAULT_NAMES))
    name = FaultName(description["name"])
    _check(name, description)
    begin = now + float(description.get("after_seconds", 0))
    seconds = description.get("seconds")
    fault = Fault(
        fault_id=fault_id,
        name=name,
        actions=_actions(description.get("action"), name),
        from_moment=begin,
        until_moment=float("inf") if seconds is None else begin + float(seconds),
        instance=description.get("instance"),
        principal=description.get("principal"),
        region=description.get("region"),
        skip=int(description.get("skip", 0)),
        times=int(description.get("times", 1 if seconds is None else 0)),
        falls_back=bool(description.get("falls_back", False)),
        delay_seconds=float(description.get("delay_seconds", _DEFAULT_DELAYS.get(name, 30.0))),
        volume=int(description.get("volume", -1)),
    )
    if name is FaultName.REGION_OUTAGE:
        fault.times = 0
    fault.stage = description.get("stage")
    if "exit_code" in description:
        fault.exit_code = int(description["exit_code"])
    fault.return_code = description.get("return_code", fault.return_code)
    fault.code = description.get("code", fault.code)
    fault.message = description.get("message", fault.message)
    fault.status = int(description.get("status", fault.status))
    return fault


def _stage(call: Call) -> str | None:
    """Return the parameter `command` of the SSM command that a call sends, if there is one."""
    values = (call.params.get("Parameters") or {}).get("command")
    return str(values[0]) if values else None


def _check(name: FaultName, description: Mapping[str, Any]) -> None:
    """Raise ValueError for what does not fit the name of a fault."""
    if name is FaultName.REGION_OUTAGE and not description.get("region"):
        message = "a region-outage names its region"
        raise ValueError(message)
    code = description.get("return_code", RETURN_CODES[0])
    if code not in RETURN_CODES:
        message = f"{code!r} is not a return code; these are: {', '.join(RETURN_CODES)}"
        raise ValueError(message)


def _actions(value: object, name: FaultName) -> frozenset[str]:
    """Return the actions of a fault; raise ValueError for what is not a name or list of names."""
    match value:
        case None:
            return _DEFAULT_ACTIONS.get(name, frozenset())
        case "*":
            return frozenset()
        case str():
            return frozenset({value})
        case [*entries] if entries:
            names = frozenset(entry for entry in entries if isinstance(entry, str))
            if len(names) == len(entries):
                return names
        case _:
            pass
    message = f"a fault's action is a name or a list of names, not {value!r}"
    raise ValueError(message)
