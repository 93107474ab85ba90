"""The fleet of a run: its instances, what they stand in, and where they have to end up."""

from dataclasses import replace
from typing import Any, Final

from sandbox.arrangement import arrange
from sandbox.faults.fleets import Spec
from sandbox.faults.moments import SCHEDULE
from sandbox.scenario import DocumentSpec, InstanceSpec, Scenario
from sandbox.virtual.cloud import Cloud
from sandbox.virtual.stack import ACCOUNT, REGION

GROUP: Final = "stillpoint:group"
ANTI_AFFINITY: Final = "stillpoint:anti-affinity"
SCRIPTS: Final = frozenset({"stillpoint:pre", "stillpoint:post"})


class Fleet:
    """The instances of a run.

    `touched` are the names of those that their owner himself has stopped, terminated or brought
    into danger, `unplaced` those whose place behind a load balancer he has taken away.
    """

    def __init__(self, cloud: Cloud, plan: Scenario) -> None:
        """Launch instances, let them be in their states at once, and put them where they belong."""
        self._cloud = cloud
        self.plan = plan
        self.before = {spec.name: spec.state for spec in plan.instances}
        self.groups = {
            spec.name: spec.tags[GROUP].partition(":")[0]
            for spec in plan.instances
            if GROUP in spec.tags
        }
        self.touched: set[str] = set()
        self.unplaced: set[str] = set()
        self.mended_at = 0.0
        self.ids = {spec.name: self._launch(spec) for spec in plan.instances}
        for spec in plan.instances:
            knobs = {**plan.physics, **spec.physics}
            cloud.world.configure(self.ids[spec.name], state=spec.state, **knobs)
        arrange(replace(plan, documents=_samples(plan)), self.ids, cloud.owner_asks)

    def name_of(self, instance_id: str) -> str:
        """Return the name of an instance."""
        return next(name for name, each in self.ids.items() if each == instance_id)

    def accepted(self, name: str) -> frozenset[str]:
        """Return the states in which an instance may be in the end.

        One that its owner stopped or terminated stays as he left it; one that he stopped while
        the backup had it stopped anyway may run, for nobody can tell the two apart.
        """
        if name not in self.touched:
            return frozenset({self.before[name]})
        return frozenset({"running", "stopped", "terminated"})

    def mend_agents(self) -> None:
        """Let the agents come up that did not: without them, nothing is backed up that has one."""
        instances = self._cloud.world.region(ACCOUNT, REGION).instances
        for instance_id in self.ids.values():
            instances[instance_id].guest.agent_late_seconds = 0.0

    def _launch(self, spec: InstanceSpec) -> str:
        tags = {"Name": spec.name, "stillpoint:schedule": SCHEDULE, **spec.tags}
        encrypted = isinstance(spec, Spec) and spec.encrypted
        answer = self._cloud.owner_calls(
            "RunInstances",
            MinCount=1,
            MaxCount=1,
            InstanceType="m7i.large",
            BlockDeviceMappings=[
                {
                    "DeviceName": f"/dev/xvd{letter}",
                    "Ebs": {"VolumeSize": 8, "Encrypted": encrypted},
                }
                for letter in "abcdef"[: spec.volumes]
            ],
            TagSpecifications=[{"ResourceType": "instance", "Tags": _rows(tags)}],
        )
        return str(answer["Instances"][0]["InstanceId"])


def _samples(plan: Scenario) -> tuple[DocumentSpec, ...]:
    """Return the samples of the documentation that the instances' tags name."""
    names = {spec.tags[key] for spec in plan.instances for key in SCRIPTS & spec.tags.keys()}
    return tuple(DocumentSpec(name, f"docs/scripts/{name}.yaml") for name in sorted(names))


def _rows(tags: dict[str, str]) -> list[dict[str, Any]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
