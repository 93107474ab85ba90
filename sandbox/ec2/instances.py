"""Starting, stopping, rebooting and terminating instances, and their attributes."""

from collections.abc import Callable
from typing import Any

from sandbox.ec2.call import Call
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.faults import FaultName
from sandbox.ec2.instance_views import state_of
from sandbox.ec2.lifecycle import (
    TERMINATED_DURING_CREATION,
    check_startable,
    check_stoppable,
    fail_images,
    reboot,
    start,
    start_failure,
    stop,
    terminate,
)
from sandbox.ec2.model import Instance, InstanceState
from sandbox.ec2.region import Operation, Region

_CHANGEABLE = frozenset(
    {"DisableApiStop", "DisableApiTermination", "InstanceInitiatedShutdownBehavior"}
    | {"EbsOptimized", "SourceDestCheck", "InstanceType"}
)


def start_instances(region: Region, call: Call) -> dict[str, Any]:
    """Start instances; one bad id or one that lacks capacity fails the whole request."""
    instances = _named(region, call)
    for instance in instances:
        check_startable(instance)
    failures = {one.instance_id: start_failure(region, one, call) for one in instances}
    changes = _change(instances, lambda one: start(region, one, call, failures[one.instance_id]))
    return {"StartingInstances": changes}


def stop_instances(region: Region, call: Call) -> dict[str, Any]:
    """Stop instances; a protected one fails the whole request.

    Force, SkipOsShutdown and Hibernate are never used by Stillpoint, because none of them leaves
    a volume that is known to be consistent: they are accepted and reported as violations.
    """
    instances = _named(region, call)
    for parameter in ("Force", "SkipOsShutdown", "Hibernate"):
        if call.params.get(parameter, False):
            region.violate(call, f"{parameter}=true")
    for instance in instances:
        if region.fault(FaultName.STOP_PROTECTION_APPEARS, call, instance.instance_id):
            instance.protection.disable_api_stop = True
        _check_unprotected(instance)
        check_stoppable(instance)
    return {"StoppingInstances": _change(instances, lambda one: stop(region, one, call))}


def reboot_instances(region: Region, call: Call) -> dict[str, Any]:
    """Reboot running instances; an image that still lacks a snapshot fails."""
    instances = _named(region, call)
    for instance in instances:
        if instance.state is not InstanceState.RUNNING:
            message = f"The instance '{instance.instance_id}' is not in a valid state for this "
            raise Ec2Error("IncorrectState", message + "operation.")
    for instance in instances:
        fail_images(region, instance, TERMINATED_DURING_CREATION)
        reboot(region, instance, call)
    return {}


def terminate_instances(region: Region, call: Call) -> dict[str, Any]:
    """Terminate instances; a protected one fails the whole request."""
    instances = _named(region, call)
    for instance in instances:
        if instance.protection.disable_api_termination:
            raise _protected(instance, "terminated", "disableApiTermination")
    changes = _change(instances, lambda one: terminate(region, one, call.at, call.principal))
    return {"TerminatingInstances": changes}


def describe_instance_attribute(region: Region, call: Call) -> dict[str, Any]:
    """Return one attribute of one instance."""
    instance = region.instance(call.params.get("InstanceId", ""), call.at)
    facts, protection = instance.facts, instance.protection
    values: dict[str, dict[str, Any]] = {
        "disableApiStop": {"DisableApiStop": {"Value": protection.disable_api_stop}},
        "disableApiTermination": {
            "DisableApiTermination": {"Value": protection.disable_api_termination}
        },
        "instanceInitiatedShutdownBehavior": {
            "InstanceInitiatedShutdownBehavior": {"Value": protection.shutdown_behavior}
        },
        "instanceType": {"InstanceType": {"Value": facts["InstanceType"]}},
        "rootDeviceName": {"RootDeviceName": {"Value": facts["RootDeviceName"]}},
        "sourceDestCheck": {"SourceDestCheck": {"Value": facts["SourceDestCheck"]}},
        "ebsOptimized": {"EbsOptimized": {"Value": facts["EbsOptimized"]}},
        "enaSupport": {"EnaSupport": {"Value": facts["EnaSupport"]}},
        "userData": {"UserData": {}},
    }
    attribute = call.params.get("Attribute", "")
    if attribute not in values:
        message = f"Value ({attribute}) for parameter attribute is invalid. Unknown attribute."
        raise Ec2Error("InvalidParameterValue", message)
    return {"InstanceId": instance.instance_id, **values[attribute]}


def modify_instance_attribute(region: Region, call: Call) -> dict[str, Any]:
    """Change one attribute of one instance, given by name or as `Attribute` and `Value`."""
    instance = region.instance(call.params.get("InstanceId", ""), call.at)
    changes = {
        key: value.get("Value") if isinstance(value, dict) else value
        for key, value in call.params.items()
        if key not in ("InstanceId", "DryRun", "Attribute", "Value")
    }
    if call.params.get("Attribute"):
        name = call.params["Attribute"]
        changes[name[0].upper() + name[1:]] = call.params.get("Value")
    if len(changes) != 1 or not changes.keys() <= _CHANGEABLE:
        message = "Fields for multiple attribute types or for an unknown attribute specified: "
        raise Ec2Error("InvalidParameterCombination", message + ", ".join(sorted(changes)))
    key, value = changes.popitem()
    _set_attribute(instance, key, value)
    return {}


def _named(region: Region, call: Call) -> list[Instance]:
    """Return the instances that a request names; raise Ec2Error if one does not exist."""
    ids = call.params.get("InstanceIds") or []
    if not ids:
        raise Ec2Error("MissingParameter", "The request must contain the parameter InstanceId")
    return [region.instance(instance_id, call.at) for instance_id in dict.fromkeys(ids)]


def _change(instances: list[Instance], act: Callable[[Instance], None]) -> list[dict[str, Any]]:
    """Let `act` change each instance; return their states before and after."""
    changes = []
    for instance in instances:
        before = state_of(instance.status.value)
        act(instance)
        changes.append(
            {
                "InstanceId": instance.instance_id,
                "PreviousState": before,
                "CurrentState": state_of(instance.status.value),
            }
        )
    return changes


def _check_unprotected(instance: Instance) -> None:
    """Raise the error with which EC2 refuses to stop an instance."""
    if instance.protection.disable_api_stop:
        raise _protected(instance, "stopped", "disableApiStop")
    if instance.facts["RootDeviceType"] == "instance-store":
        message = f"The instance '{instance.instance_id}' does not have an 'ebs' root device type "
        raise Ec2Error("UnsupportedOperation", message + "and cannot be stopped")


def _protected(instance: Instance, what: str, attribute: str) -> Ec2Error:
    """Return the error for an instance that is protected."""
    message = f"The instance '{instance.instance_id}' may not be {what}. Modify its "
    message += f"'{attribute}' instance attribute and try again."
    return Ec2Error("OperationNotPermitted", message)


def _set_attribute(instance: Instance, key: str, value: object) -> None:
    """Set one attribute of an instance."""
    protection = instance.protection
    flag = value in (True, "true")
    match key:
        case "DisableApiStop":
            protection.disable_api_stop = flag
        case "DisableApiTermination":
            protection.disable_api_termination = flag
        case "InstanceInitiatedShutdownBehavior":
            protection.shutdown_behavior = str(value)
        case "InstanceType":
            if instance.state is not InstanceState.STOPPED:
                message = f"The instance '{instance.instance_id}' is not in the 'stopped' state."
                raise Ec2Error("IncorrectInstanceState", message)
            instance.facts["InstanceType"] = str(value)
        case _:
            instance.facts[key] = flag


ACTIONS: dict[str, Operation] = {
    "StartInstances": start_instances,
    "StopInstances": stop_instances,
    "RebootInstances": reboot_instances,
    "TerminateInstances": terminate_instances,
    "DescribeInstanceAttribute": describe_instance_attribute,
    "ModifyInstanceAttribute": modify_instance_attribute,
}
