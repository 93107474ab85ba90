"""Putting a scenario's instances behind load balancers, into Auto Scaling groups, under alarms.

And the documents for their scripts into Systems Manager.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from sandbox.scenario import AutoScalingGroupSpec, DocumentSpec, Scenario, TargetGroupSpec


class Caller(Protocol):
    """Makes calls as the owner of the instances."""

    def __call__(self, service: str, action: str, /, **params: object) -> Mapping[str, Any]:
        """Call an action of a service, both by the names of the SDK."""
        ...


def arrange(scenario: Scenario, ids: Mapping[str, str], call: Caller) -> None:
    """Make the groups, alarms and documents of a scenario and put the instances there, by id."""
    for document in scenario.documents:
        _make_document(document, call)
    arns = {spec.name: _make_target_group(spec, call) for spec in scenario.target_groups}
    for group in scenario.auto_scaling_groups:
        members = [
            ids[spec.name] for spec in scenario.instances if spec.auto_scaling_group == group.name
        ]
        _make_auto_scaling_group(group, members, arns, call)
    for spec in scenario.instances:
        for name, port in spec.registrations():
            target = {"Id": ids[spec.name], **({} if port is None else {"Port": port})}
            call("elbv2", "RegisterTargets", TargetGroupArn=arns[name], Targets=[target])
        for alarm in spec.alarms:
            _make_alarm(alarm, ids[spec.name], call)


def _make_document(spec: DocumentSpec, call: Caller) -> None:
    """Make a document that may be run as a script."""
    call(
        *("ssm", "CreateDocument"),
        Name=spec.name,
        Content=spec.text(),
        DocumentFormat="YAML",
        DocumentType="Command",
        Tags=[{"Key": "DLMScriptsAccess", "Value": "true"}],
    )


def _make_target_group(spec: TargetGroupSpec, call: Caller) -> str:
    """Return the ARN of a new target group."""
    made = call("elbv2", "CreateTargetGroup", Name=spec.name, Protocol="HTTP", Port=spec.port)
    arn = str(made["TargetGroups"][0]["TargetGroupArn"])
    delay = {
        "Key": "deregistration_delay.timeout_seconds",
        "Value": str(spec.deregistration_delay),
    }
    call("elbv2", "ModifyTargetGroupAttributes", TargetGroupArn=arn, Attributes=[delay])
    return arn


def _make_auto_scaling_group(
    spec: AutoScalingGroupSpec, members: list[str], arns: Mapping[str, str], call: Caller
) -> None:
    """Make a group and attach its members, each of which makes its desired capacity grow."""
    name = spec.name
    call(
        *("autoscaling", "CreateAutoScalingGroup"),
        AutoScalingGroupName=name,
        MinSize=0,
        MaxSize=spec.max,
        DesiredCapacity=0,
        TargetGroupARNs=[arns[each] for each in spec.target_groups],
    )
    if members:
        call("autoscaling", "AttachInstances", AutoScalingGroupName=name, InstanceIds=members)
    call(
        *("autoscaling", "UpdateAutoScalingGroup"),
        AutoScalingGroupName=name,
        MinSize=spec.min,
        DesiredCapacity=len(members) if spec.desired is None else spec.desired,
    )
    if spec.suspended:
        processes = list(spec.suspended)
        call(
            *("autoscaling", "SuspendProcesses"),
            AutoScalingGroupName=name,
            ScalingProcesses=processes,
        )


def _make_alarm(name: str, instance_id: str, call: Caller) -> None:
    """Make an alarm on an instance's CPU that is never reached."""
    call(
        *("cloudwatch", "PutMetricAlarm"),
        AlarmName=name,
        Namespace="AWS/EC2",
        MetricName="CPUUtilization",
        Dimensions=[{"Name": "InstanceId", "Value": instance_id}],
        Statistic="Average",
        Period=60,
        EvaluationPeriods=1,
        Threshold=101.0,
        ComparisonOperator="GreaterThanThreshold",
    )
