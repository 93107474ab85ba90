"""The fleet of a run, what its owner does to it, and where it has to end up."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sandbox.ec2 import Ec2Error
from sandbox.faults.moments import SCHEDULE
from sandbox.virtual.cloud import Cloud
from sandbox.virtual.executions import Record
from sandbox.virtual.mischief import Kind

# The owner mends his own doing, and wants a thing to happen for so long.
MENDED_AFTER: Final = 3600.0
PATIENCE: Final = 600.0


@dataclass(frozen=True, slots=True)
class Spec:
    """One instance: its volumes, its state before, its tags beside the schedule.

    Volumes that are encrypted are so with the key that AWS manages for the account.
    """

    name: str
    volumes: int = 1
    state: str = "running"
    encrypted: bool = False
    tags: dict[str, str] = field(default_factory=dict)


# Refused the day before: what says so is to go from an instance once a backup has succeeded.
_WEB: Final = Spec(
    "web", volumes=2, encrypted=True, tags={"stillpoint:problem": "refused 2026-11-21T03:00:00Z"}
)
FLEETS: Final[dict[str, tuple[Spec, ...]]] = {
    # Everything is stopped; a group has a member that is stopped already.
    "stops": (
        _WEB,
        Spec("erp-app", tags={"stillpoint:group": "erp:2"}),
        Spec("erp-db", volumes=2, tags={"stillpoint:group": "erp:1"}),
        Spec("erp-spare", state="stopped", tags={"stillpoint:group": "erp:3"}),
    ),
    # The other methods, and a group that mixes them.
    "methods": (
        _WEB,
        Spec("build", tags={"stillpoint:method": "reboot"}),
        Spec("cache", tags={"stillpoint:method": "none"}),
        Spec("shop-app", tags={"stillpoint:group": "shop:2", "stillpoint:method": "none"}),
        Spec("shop-db", volumes=2, tags={"stillpoint:group": "shop:1"}),
    ),
}


class Fleet:
    """The instances of a run."""

    def __init__(self, cloud: Cloud, specs: Sequence[Spec]) -> None:
        """Launch instances and let them be in their states at once."""
        self._cloud = cloud
        self.ids: dict[str, str] = {}
        self.before = {spec.name: spec.state for spec in specs}
        self.groups = {
            spec.name: spec.tags["stillpoint:group"].partition(":")[0]
            for spec in specs
            if "stillpoint:group" in spec.tags
        }
        self.touched: set[str] = set()
        self.mended_at = 0.0
        for spec in specs:
            self.ids[spec.name] = self._launch(spec)
            cloud.world.configure(self.ids[spec.name], state=spec.state)
        cloud.executions.on_owner = self.owner_acts

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

    def owner_acts(self, kind: Kind, record: Record) -> None:
        """Let the owner meddle with the first member that the backup has to bring back."""
        members = [self.name_of(each) for each in record.members]
        name = next(each for each in members if self.before[each] == "running")
        self._cloud.scheduler.spawn(f"owner of {name}", lambda: self._act(kind, name))

    def _act(self, kind: Kind, name: str) -> None:
        instance_id = self.ids[name]
        tag = [{"Key": "stillpoint:schedule", "Value": SCHEDULE}]
        match kind:
            case Kind.OWNER_STOPS:
                self.touched.add(name)
                self._insist("StopInstances", instance_id)
            case Kind.OWNER_STARTS:
                self._insist("StartInstances", instance_id)
            case Kind.OWNER_TERMINATES:
                self.touched.add(name)
                self._insist("TerminateInstances", instance_id)
            case Kind.OWNER_PROTECTS:
                self._protect(instance_id, protected=True)
                self._mend()
                self._protect(instance_id, protected=False)
            case Kind.OWNER_UNTAGS:
                self._cloud.owner_calls("DeleteTags", Resources=[instance_id], Tags=tag)
                self._mend()
                self._cloud.owner_calls("CreateTags", Resources=[instance_id], Tags=tag)
            case _:
                raise AssertionError(f"{kind} is nothing that an owner does")

    def _mend(self) -> None:
        self.mended_at = self._cloud.scheduler.now() + MENDED_AFTER
        self._cloud.scheduler.sleep(MENDED_AFTER)

    def _protect(self, instance_id: str, *, protected: bool) -> None:
        self._cloud.owner_calls(
            "ModifyInstanceAttribute",
            InstanceId=instance_id,
            DisableApiStop={"Value": protected},
        )

    def _insist(self, action: str, instance_id: str) -> None:
        """Make a call until EC2 takes it: an instance in transition cannot be started."""
        until = self._cloud.scheduler.now() + PATIENCE
        while self._cloud.scheduler.now() < until:
            try:
                self._cloud.owner_calls(action, InstanceIds=[instance_id])
            except Ec2Error:
                self._cloud.scheduler.sleep(2)
            else:
                return

    def _launch(self, spec: Spec) -> str:
        tags = {"Name": spec.name, "stillpoint:schedule": SCHEDULE, **spec.tags}
        answer = self._cloud.owner_calls(
            "RunInstances",
            MinCount=1,
            MaxCount=1,
            InstanceType="m7i.large",
            BlockDeviceMappings=[
                {
                    "DeviceName": f"/dev/xvd{letter}",
                    "Ebs": {"VolumeSize": 8, "Encrypted": spec.encrypted},
                }
                for letter in "abcdef"[: spec.volumes]
            ],
            TagSpecifications=[
                {
                    "ResourceType": "instance",
                    "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
                }
            ],
        )
        return str(answer["Instances"][0]["InstanceId"])
