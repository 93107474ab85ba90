"""One run's cloud: a stack deployed into virtual time, from which nothing leaves this process."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sandbox.companions import Companions
from sandbox.ec2 import Physics, World
from sandbox.ssm import create_documents
from sandbox.virtual import lambdas as functions
from sandbox.virtual import network, process_time, quotas
from sandbox.virtual.autoscaling import AutoScaling
from sandbox.virtual.executions import Executions
from sandbox.virtual.front_door import FrontDoor
from sandbox.virtual.journal import Journal
from sandbox.virtual.lambdas import Lambdas
from sandbox.virtual.meter import Meter
from sandbox.virtual.mischief import Fault, Kind, Mischief
from sandbox.virtual.permissions import Permissions
from sandbox.virtual.quotas import Quotas
from sandbox.virtual.rules import Rules
from sandbox.virtual.run import Run
from sandbox.virtual.scheduler import Scheduler
from sandbox.virtual.services import Companion, Ec2, Json, Kms, Sns
from sandbox.virtual.stack import ACCOUNT, REGION, make_stack
from stillpoint.aws.client import forget_clients

OWNER = "arn:aws:iam::000000000000:user/owner"


class Cloud:
    """A deployed stack with its EC2, and what is to go wrong."""

    def __init__(
        self,
        *,
        seed: str,
        start: float,
        parameters: Mapping[str, str],
        faults: tuple[Fault, ...] = (),
        physics: Physics | None = None,
        allowed: Quotas = quotas.DEFAULT,
    ) -> None:
        """`start` is the first moment, as epoch seconds."""
        self.scheduler = Scheduler(start)
        self.journal = Journal(self.scheduler.now)
        self.mischief = Mischief(faults, self.scheduler.now)
        self.stack = make_stack(parameters)
        self.world = World(self.scheduler, seed, physics, neighbour=allowed.neighbour)
        self.companions = Companions(self.world)
        documents = self.stack.of_type("AWS::SSM::Document")
        create_documents(
            self.companions.ssm,
            {self.stack.names[name]: each for name, each in documents.items()},
            account=ACCOUNT,
            region=REGION,
        )
        self.autoscaling = AutoScaling(self.world, self.companions.autoscaling)
        self.meter = Meter()
        self.lambdas = Lambdas(self.stack, self.scheduler, self.journal, self.meter, allowed)
        run = Run(self.scheduler, self.mischief, self.journal, seed, allowed, self.meter)
        self.executions = Executions(self.stack, self.lambdas, run)
        self.rules = Rules(self.stack, self.lambdas, run)
        self.door = FrontDoor(
            {
                "ec2": Ec2(self.world),
                "sns": Sns(self.journal),
                "kms": Kms(self.world),
                "autoscaling": self.autoscaling,
                **{
                    service: Companion(service, self.companions.offers[service])
                    for service in ("cloudwatch", "elbv2", "ssm")
                },
                "stepfunctions": Json(
                    {
                        "StartExecution": self.executions.start,
                        "DescribeExecution": self.executions.describe,
                        "ListExecutions": self.executions.list,
                        "StopExecution": self.executions.stop,
                    }
                ),
            },
            Permissions(self.stack, self.world, self.companions),
            run,
        )
        self.executions.door = self.door
        self.executions.on_end = self.rules.execution_ended
        for fault in faults:
            if fault.kind is Kind.PHYSICS:
                self.world.faults.add(fault.physics)

    def owner_calls(self, action: str, *, region: str = REGION, **params: Any) -> Mapping[str, Any]:
        """Make an EC2 call as the owner of the instances, who waits for nothing."""
        named = ", ".join(params.get("InstanceIds") or params.get("Resources") or [])
        self.journal.note("owner", f"{action} {named}")
        return self.world.call(action, params, account=ACCOUNT, region=region, principal=OWNER)

    def owner_asks(self, service: str, action: str, /, **params: object) -> Mapping[str, Any]:
        """Make a call to a companion of EC2, such as `elbv2`, as the owner of the instances."""
        self.journal.note("owner", f"{service} {action}")
        model = self.companions.offers[service].model
        return model.call(action, params, account=ACCOUNT, region=REGION, principal=OWNER)

    def truth(self) -> dict[str, Any]:
        """Return what only the world and its companions know, ready for JSON."""
        return self.companions.truth()

    def run_until(self, moment: float) -> None:
        """Let virtual time pass up to a moment, in epoch seconds."""
        self.scheduler.run_until(moment)
        self.world.advance()


@contextmanager
def running(cloud: Cloud, seed: str) -> Iterator[Cloud]:
    """Let the process live in a cloud while the context lasts."""

    def sleep(seconds: float) -> None:
        invocation = functions.running()
        if invocation is None:
            cloud.scheduler.sleep(seconds)
        else:
            invocation.sleep(seconds)

    forget_clients()  # botocore's retry quota begins anew
    random.seed(seed)  # botocore draws its jitter from here
    with process_time.of(cloud.scheduler.now, sleep):
        network.connect(cloud.door)
        cloud.rules.start()
        try:
            yield cloud
        finally:
            cloud.scheduler.close()
            network.connect(None)
