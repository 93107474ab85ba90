"""AWS's document for VSS snapshots, as far as it makes an image.

The guest's writers are flushed and held while the snapshots are initiated, for ten seconds at
most; then the snapshots are tagged with AppConsistent (EC2 User Guide, "Application consistent
Windows VSS based Amazon EBS snapshots"). If VSS does not work, the image is made all the same.
"""

from functools import partial

from sandbox.ec2.call import Call
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.images import create_image
from sandbox.ec2.model import Image, ImageState, Instance
from sandbox.ssm.agent import Job
from sandbox.ssm.commands import Result

_LOOK_SECONDS = 0.25


def run(job: Job, now: float) -> None:
    """Make an image of the guest's own instance."""
    if job.value("CreateAmi") != "True":
        message = "The sandbox's VSS makes images only: CreateAmi=True."
        job.finish(Result(1, stderr=message), now)
        return
    job.at(now + job.draw("vss_seconds"), partial(_capture, job))


def _capture(job: Job, now: float) -> None:
    """Hold the writers, and let the image begin."""
    try:
        answer = create_image(job.region, _call(job, now))
    except Ec2Error as error:
        job.finish(Result(1, stderr=f"{error.code}: {error.message}"), now)
        return
    image = job.region.images[answer["ImageId"]]
    if job.instance.guest.vss_works:
        job.instance.guest.quiesce_applications(now)
        for attachment in job.instance.attachments:
            attachment.cache.freeze()
    _watch(job, image, now, now)


def _watch(job: Job, image: Image, begun_at: float, now: float) -> None:
    """Hold the writers until every snapshot is initiated, or for as long as VSS allows."""
    complete = all(volume.snapshot_id for volume in image.volumes)
    late = now - begun_at >= job.physics.vss_pause_seconds
    if not (complete or late or image.state is not ImageState.PENDING):
        # Not the job's own: the pause ends even if the command is over before.
        again = partial(_watch, job, image, begun_at)
        job.region.agenda.at(now + _LOOK_SECONDS, again)
        return
    _thaw(job.instance, now)
    consistent = complete and not late and job.instance.guest.vss_works
    for volume in image.volumes:
        if volume.snapshot_id:
            tags = {"AppConsistent": str(consistent)}
            job.region.tags.merge(volume.snapshot_id, tags, job.region.visible_at(now))
    failed = image.state is ImageState.FAILED
    result = Result(1, stderr="The image failed.") if failed else Result(stdout=image.image_id)
    end = now + job.draw("vss_end_seconds")
    job.at(end, lambda moment: job.finish(result, moment))


def _thaw(instance: Instance, now: float) -> None:
    """Let the writers and the applications go on."""
    instance.guest.resume_applications(now)
    for attachment in instance.attachments:
        attachment.cache.thaw(now)


def _call(job: Job, now: float) -> Call:
    """Return the guest's own call of CreateImage."""
    instance_id, region = job.instance.instance_id, job.region
    tags = [{"Key": key, "Value": value} for key, value in _tags(job.value("tags")).items()]
    params = {
        "InstanceId": instance_id,
        "Name": job.value("AmiName"),
        "Description": job.value("description"),
        "NoReboot": True,
        "TagSpecifications": [
            {"ResourceType": kind, "Tags": tags} for kind in ("image", "snapshot") if tags
        ],
    }
    guest = f"arn:aws:sts::{region.account}:assumed-role/guest/{instance_id}"
    return Call("CreateImage", params, guest, now, (instance_id,), region.name)


def _tags(text: str) -> dict[str, str]:
    """Return the tags in a text such as `Key=Name,Value=web;Key=env,Value=test`."""
    tags = {}
    for entry in filter(None, text.split(";")):
        key, _, value = entry.removeprefix("Key=").partition(",Value=")
        tags[key] = value
    return tags
