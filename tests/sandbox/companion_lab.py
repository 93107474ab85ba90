"""A world with its companions, whose clock is moved by hand."""

from collections.abc import Mapping
from typing import Any

from sandbox.companions import Companions
from sandbox.service_calls import ServiceError
from tests.sandbox.ec2_lab import HOME, Lab

ACCOUNT = "000000000000"


class CompanionLab(Lab):
    """A lab in which instances have target groups, Auto Scaling groups and alarms."""

    def __init__(self, **physics: object) -> None:
        super().__init__(**physics)  # type: ignore[arg-type]  # figures of the physics
        self.companions = Companions(self.world)

    def ask(self, service: str, action: str, /, **params: object) -> Mapping[str, Any]:
        """Make a call to a companion."""
        model = self.companions.offers[service].model
        return model.call(action, params, account=ACCOUNT, region=HOME, principal="tester")

    def refusal(self, service: str, action: str, /, **params: object) -> str:
        """The code and the message of the error that a companion answers; empty if none."""
        try:
            self.ask(service, action, **params)
        except ServiceError as error:
            return f"{error.code}: {error.message}"
        return ""

    def violations(self) -> list[str]:
        """What the truth says must never have been done."""
        return [each["what"] for each in self.companions.truth()["violations"]]

    # ------------------------------------------------------------- load balancing

    def target_group(self, name: str = "site", *, delay: int = 30, port: int = 80) -> str:
        """Make a target group and return its ARN."""
        made = self.ask("elbv2", "CreateTargetGroup", Name=name, Port=port, Protocol="HTTP")
        arn = str(made["TargetGroups"][0]["TargetGroupArn"])
        attribute = {"Key": "deregistration_delay.timeout_seconds", "Value": str(delay)}
        self.ask(
            *("elbv2", "ModifyTargetGroupAttributes"), TargetGroupArn=arn, Attributes=[attribute]
        )
        return arn

    def register(self, arn: str, *targets: Mapping[str, Any]) -> None:
        self.ask("elbv2", "RegisterTargets", TargetGroupArn=arn, Targets=list(targets))

    def deregister(self, arn: str, *targets: Mapping[str, Any]) -> None:
        self.ask("elbv2", "DeregisterTargets", TargetGroupArn=arn, Targets=list(targets))

    def health(self, arn: str, *targets: Mapping[str, Any]) -> dict[int, str]:
        """The states of targets by port, those that are not `healthy` with their reason."""
        named = {"Targets": list(targets)} if targets else {}
        answer = self.ask("elbv2", "DescribeTargetHealth", TargetGroupArn=arn, **named)
        return {
            row["Target"]["Port"]: " ".join(
                filter(None, [row["TargetHealth"]["State"], row["TargetHealth"]["Reason"]])
            )
            for row in answer["TargetHealthDescriptions"]
        }

    # --------------------------------------------------------------- Auto Scaling

    def scaling_group(
        self, *members: str, least: int = 0, most: int = 4, arns: tuple[str, ...] = ()
    ) -> None:
        """Make the group `asg` with these members in service."""
        name = {"AutoScalingGroupName": "asg"}
        self.ask(
            *("autoscaling", "CreateAutoScalingGroup"),
            **name,
            MinSize=0,
            MaxSize=most,
            TargetGroupARNs=list(arns),
        )
        self.ask("autoscaling", "AttachInstances", **name, InstanceIds=list(members))
        self.ask("autoscaling", "UpdateAutoScalingGroup", **name, MinSize=least)

    def enter(self, *members: str, decrement: bool = True) -> str:
        """Let members enter standby; return the error, if it is one."""
        return self.refusal(
            *("autoscaling", "EnterStandby"),
            AutoScalingGroupName="asg",
            InstanceIds=list(members),
            ShouldDecrementDesiredCapacity=decrement,
        )

    def leave(self, *members: str) -> str:
        """Let members exit standby; return the error, if it is one."""
        return self.refusal(
            *("autoscaling", "ExitStandby"),
            AutoScalingGroupName="asg",
            InstanceIds=list(members),
        )

    def membership(self, instance_id: str) -> str:
        """The lifecycle state of a member; empty if it is none."""
        answer = self.ask("autoscaling", "DescribeAutoScalingInstances", InstanceIds=[instance_id])
        return "".join(row["LifecycleState"] for row in answer["AutoScalingInstances"])

    def group(self) -> Mapping[str, Any]:
        """The group, as DescribeAutoScalingGroups shows it."""
        names = {"AutoScalingGroupNames": ["asg"]}
        (row,) = self.ask("autoscaling", "DescribeAutoScalingGroups", **names)["AutoScalingGroups"]
        return dict(row)
