"""The owner: what he and his cloud do over the days, carried out in the world."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, assert_never

from sandbox.history.judge import Judge
from sandbox.history.ledger import Ledger, Made
from sandbox.history.story import Deed, Verb
from sandbox.virtual.cloud import Cloud
from sandbox.virtual.stack import REGION

DAY: Final = 86_400.0
_HOLD: Final = "stillpoint:hold"


@dataclass(frozen=True, slots=True)
class _Picked:
    """An AMI that a deed picked out, and what lets it go again."""

    made: Made
    verb: Verb
    resource: str = ""


class Owner:
    """Carries out deeds, and tells the judge what they ask for.

    `ids` holds the members' instance ids, `cut_off` the members whose next backup is cut off.
    """

    def __init__(self, cloud: Cloud, ledger: Ledger, judge: Judge) -> None:
        """Begin with nothing."""
        self._cloud = cloud
        self._ledger = ledger
        self._judge = judge
        self._picked: dict[str, _Picked] = {}
        self.ids: dict[str, str] = {}
        self.cut_off: set[str] = set()

    def does(self, deed: Deed) -> None:
        """Let a deed happen now."""
        match deed.verb:
            case Verb.LAUNCH | Verb.TAG | Verb.UNTAG | Verb.TERMINATE:
                self._see_to(deed)
            case Verb.LET_GO:
                self._let_go(deed.label)
            case Verb.COPY_BY_HAND:
                self._copy(deed)
            case Verb.HOLD | Verb.HOLD_SNAPSHOT | Verb.USE | Verb.USE_IN_TEMPLATE | Verb.PROTECT:
                self._pick(deed)
            case Verb.CUT_OFF:
                self.cut_off.add(deed.who)
            case (
                Verb.IMAGE_FAILS
                | Verb.COPY_FAILS
                | Verb.COPY_STUCK
                | Verb.SNAPSHOT_STAYS
                | Verb.OUTAGE
                | Verb.REFUSED
            ):
                self._cloud.world.faults.add(_fault(deed))
            case Verb.SILENCE | Verb.CRASH_PRUNING | Verb.CRASH_COPYING | Verb.ANSWER_LOST:
                pass  # of the run, not of the world
            case _:
                assert_never(deed.verb)

    def settle_in(self, region: str) -> None:
        """Let others have what is theirs in a Region: it carries this stack's own tags."""
        for stack, copy_of in (("other", ""), ("stillpoint", "ap-south-1:ami-0123456789abcdef0")):
            theirs = self._launch({"Name": f"{stack}'s"}, region)
            self._cloud.run_until(self._cloud.scheduler.now() + 60)
            occurrence = "2026-01-01T03:00:00Z"
            tags = {
                "stillpoint:stack": stack,
                "stillpoint:instance": theirs,
                "stillpoint:occurrence": occurrence,
                "stillpoint:consistency": "file-system",
                "stillpoint:retain": "1",
            } | ({"stillpoint:copy-of": copy_of} if copy_of else {})
            name = f"stillpoint-{theirs}-{occurrence.replace('-', '').replace(':', '')}"
            kinds = ("image", "snapshot")
            self._call(
                "CreateImage",
                region=region,
                InstanceId=theirs,
                Name=name,
                NoReboot=True,
                TagSpecifications=[{"ResourceType": kind, "Tags": _rows(tags)} for kind in kinds],
            )

    def _see_to(self, deed: Deed) -> None:
        """Launch a member, change its tags, or terminate it."""
        if deed.verb is Verb.LAUNCH:
            tags = {"Name": deed.who, **deed.tags}
            self.ids[deed.who] = self._launch(tags, volumes=deed.volumes)
            return
        instance_id = self.ids[deed.who]
        match deed.verb:
            case Verb.TAG:
                self._tag([instance_id], deed.tags)
            case Verb.UNTAG:
                schedule = [{"Key": "stillpoint:schedule"}]
                self._call("DeleteTags", Resources=[instance_id], Tags=schedule)
            case _:
                self._call("TerminateInstances", InstanceIds=[instance_id])
                self._judge.terminated.add(instance_id)

    def _call(self, action: str, **params: Any) -> Mapping[str, Any]:
        return self._cloud.owner_calls(action, **params)

    def _launch(
        self, tags: Mapping[str, str], region: str = REGION, *, volumes: int = 1, **more: Any
    ) -> str:
        answer = self._call(
            "RunInstances",
            region=region,
            MinCount=1,
            MaxCount=1,
            InstanceType="m7i.large",
            BlockDeviceMappings=[
                {"DeviceName": f"/dev/xvd{letter}", "Ebs": {"VolumeSize": 8}}
                for letter in "abc"[:volumes]
            ],
            TagSpecifications=[{"ResourceType": "instance", "Tags": _rows(tags)}],
            **more,
        )
        return str(answer["Instances"][0]["InstanceId"])

    def _tag(self, resources: list[str], tags: Mapping[str, str], region: str = REGION) -> None:
        self._call("CreateTags", region=region, Resources=resources, Tags=_rows(tags))

    def _newest(self, deed: Deed) -> Made:
        """Return the newest available point of a member in the deed's Region."""
        found = self._ledger.by_instance[deed.region or REGION, self.ids[deed.who]].values()
        usable = [
            one for one in found if one.ours and one.is_point and one.image.state == "available"
        ]
        return max(usable, key=lambda one: one.point().occurrence)

    def _pick(self, deed: Deed) -> None:
        made, resource = self._newest(deed), ""
        image_id, region = made.image_id, made.region
        match deed.verb:
            case Verb.HOLD:
                self._tag([image_id], {_HOLD: "true"}, region)
            case Verb.HOLD_SNAPSHOT:
                resource = str(made.image.volumes[0].snapshot_id)
                self._tag([resource], {_HOLD: "2020-01-01/2099-12-31"}, region)
            case Verb.USE:
                resource = self._launch({"Name": deed.label}, region, ImageId=image_id)
            case Verb.USE_IN_TEMPLATE:
                data = {"ImageId": image_id}
                answer = self._call(
                    "CreateLaunchTemplate",
                    region=region,
                    LaunchTemplateName=deed.label,
                    LaunchTemplateData=data,
                )
                resource = str(answer["LaunchTemplate"]["LaunchTemplateId"])
            case _:
                self._call("EnableImageDeregistrationProtection", region=region, ImageId=image_id)
        self._picked[deed.label] = _Picked(made, deed.verb, resource)
        self._judge.guarded[image_id][deed.label] = f"{deed.verb}: {deed.label}"

    def _let_go(self, label: str) -> None:
        picked = self._picked.pop(label)
        image_id, region = picked.made.image_id, picked.made.region
        hold = [{"Key": _HOLD}]
        match picked.verb:
            case Verb.HOLD:
                self._call("DeleteTags", region=region, Resources=[image_id], Tags=hold)
            case Verb.HOLD_SNAPSHOT:
                self._call("DeleteTags", region=region, Resources=[picked.resource], Tags=hold)
            case Verb.USE:
                self._call("TerminateInstances", region=region, InstanceIds=[picked.resource])
            case Verb.USE_IN_TEMPLATE:
                template = picked.resource
                self._call("DeleteLaunchTemplate", region=region, LaunchTemplateId=template)
            case _:
                self._call("DisableImageDeregistrationProtection", region=region, ImageId=image_id)
        del self._judge.guarded[image_id][label]

    def _copy(self, deed: Deed) -> None:
        """Copy an AMI with all its tags: the copy is the owner's."""
        made = self._newest(deed)
        self._call(
            "CopyImage",
            region=made.region,
            SourceRegion=made.region,
            SourceImageId=made.image_id,
            Name=deed.label,
            CopyImageTags=True,
        )


def _fault(deed: Deed) -> dict[str, Any]:
    """Return the fault of the world that a deed stands for; see `sandbox.ec2.faults`."""
    names = {
        Verb.IMAGE_FAILS: "image-failed",
        Verb.COPY_FAILS: "copy-failed",
        Verb.COPY_STUCK: "copy-stuck",
        Verb.SNAPSHOT_STAYS: "snapshot-delete-refused",
    }
    if deed.verb in names:
        return {"name": names[deed.verb], "instance": deed.who}
    seconds = deed.days * DAY - 3600  # it ends before the sweep of its last day's end
    if deed.verb is Verb.OUTAGE:
        return {"name": "region-outage", "region": deed.region, "seconds": seconds + 1800}
    return {
        "name": "api-error",
        "action": "DeregisterImage",
        "code": "ServiceUnavailable",
        "status": 503,
        "principal": "prune_recovery_points",
        "seconds": seconds,
    }


def _rows(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
