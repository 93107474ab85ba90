"""The knobs of one instance: how it differs from the physics of its world.

Besides every figure of `sandbox.ec2.physics.Physics` (a number, or a pair for a range) there are:

hung          its guest never shuts down, EC2 pulls the plug after `plug_seconds`
kms_denied    whoever starts it lacks the grant for its key: the start falls back to `stopped`
state         `running` or `stopped`: puts it there at once, without a history
attributes    fields of DescribeInstances by the SDK's names, such as {"InstanceLifecycle": "spot"}
system_tags   tags that AWS itself sets, such as {"aws:autoscaling:groupName": "web"}
surroundings  what other calls tell of it: `spot_request` (fields of its Spot request by the SDK's
              names), `credits` (`standard`, `unlimited`), `reservation` (the state of the Capacity
              Reservation of its attributes), `placement` (the strategy of its placement group),
              `events` (scheduled events: `Code`, `Description`, `NotBefore` as ISO 8601)
platform      `linux` or `windows`
managed       SSM knows the instance: it has the agent and the permissions; false if not set
agent_online  its agent runs; true if not set
freezable     its file systems can be frozen; true if not set
vss_works     VSS quiesces its applications, if it runs Windows; true if not set
clock_skew_seconds   how far the guest's clock is ahead
scripts       what scripts do, by the name of their document and by stage, such as
              {"erp-scripts": {"pre-script": {"exit": 201, "seconds": 5, "stderr": "no"}}}. A stage
              has `exit`, `seconds`, `stdout`, `stderr`, `hangs` and, for a pre-script,
              `auto_thaw_seconds`: after that it lets the applications go on by itself, and the
              post-script ends with 203. `hangs` beside the stages holds for all of them. A
              document without stages has these keys itself
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sandbox.ec2.guest import Platform
from sandbox.ec2.lifecycle import place
from sandbox.ec2.model import Instance, InstanceState
from sandbox.ec2.region import Region

_PLACES = (InstanceState.RUNNING, InstanceState.STOPPED)
# The knobs of the guest, and of which kind they are.
_GUEST: Mapping[str, str] = {
    "platform": "linux or windows",
    "managed": "flag",
    "agent_online": "flag",
    "freezable": "flag",
    "vss_works": "flag",
    "clock_skew_seconds": "number of seconds",
    "scripts": "table of tables",
}


def configure(region: Region, instance: Instance, knobs: Mapping[str, object], now: float) -> None:
    """Set knobs of an instance; raise ValueError in words for one that is unsound."""
    figures = dict(knobs)
    hung = figures.pop("hung", instance.hung)
    kms_denied = figures.pop("kms_denied", instance.kms_denied)
    state = figures.pop("state", None)
    attributes = _table("attributes", figures)
    system_tags = _table("system_tags", figures)
    surroundings = _table("surroundings", figures)
    if state not in (None, *_PLACES):
        message = f"an instance is put in the state running or stopped, not {state!r}"
        raise ValueError(message)
    guest = {key: _checked(key, figures.pop(key)) for key in _GUEST if key in figures}
    instance.physics = instance.physics.changed(figures)
    _configure_guest(instance, guest)
    instance.hung, instance.kms_denied = bool(hung), bool(kms_denied)
    instance.facts.update(attributes)
    instance.surroundings.update(surroundings)
    for attachment in instance.attachments:
        attachment.cache.write_rate = instance.physics.write_rate
        attachment.cache.writeback_seconds = instance.physics.writeback_seconds
    if system_tags:
        tags = {str(key): str(value) for key, value in system_tags.items()}
        region.tags.merge(instance.instance_id, tags, now)
    if isinstance(state, str):
        place(region, instance, InstanceState(state), now)


def describe_physics(instance: Instance) -> dict[str, Any]:
    """Return the knobs of an instance, ready for JSON."""
    return {
        **asdict(instance.physics),
        "hung": instance.hung,
        "kms_denied": instance.kms_denied,
        "state": instance.state.value,
        **{name: getattr(instance.guest, name) for name in _GUEST},
    }


def _configure_guest(instance: Instance, knobs: Mapping[str, object]) -> None:
    """Set the knobs of the guest; its platform shows in DescribeInstances."""
    for name, value in knobs.items():
        setattr(instance.guest, name, value)
    if "platform" in knobs:
        instance.facts["PlatformDetails"] = "Linux/UNIX"
        instance.facts.pop("Platform", None)
        if instance.guest.platform is Platform.WINDOWS:
            instance.facts |= {"Platform": "windows", "PlatformDetails": "Windows"}


def _table(name: str, figures: dict[str, object]) -> Mapping[Any, Any]:
    """Take a knob that is a table out of `figures`; raise ValueError in words if it is none."""
    value = figures.pop(name, {})
    if not isinstance(value, Mapping):
        message = f"{name} is a table of names and values"
        raise ValueError(message)  # noqa: TRY004 - every unsound knob is a ValueError
    return value


def _checked(name: str, value: object) -> object:
    """Return the value of a knob of the guest; raise ValueError in words for an unsound one."""
    match _GUEST[name], value:
        case "linux or windows", str() if value in tuple(Platform):
            return Platform(value)
        case "flag", bool():
            return value
        case "number of seconds", int() | float():
            return float(value)
        case "table of tables", Mapping() if all(
            isinstance(each, Mapping) for each in value.values()
        ):
            return dict(value)
        case kind, _:
            message = f"{name}: {kind}, not {value!r}"
            raise ValueError(message)


def _are_tables(value: Mapping[Any, Any]) -> bool:
    """Say whether all values of a table are tables."""
    return all(isinstance(each, Mapping) for each in value.values())
