"""What an owner's script does in a guest, by Data Lifecycle Manager's convention.

A pre-script that succeeds leaves the applications quiesced, a post-script lets them go on (EBS
User Guide, "Automate application-consistent snapshots with Data Lifecycle Manager").
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.ec2.faults import FaultName
from sandbox.ssm.agent import Job
from sandbox.ssm.commands import Result

PRE, POST = "pre-script", "post-script"
PRE_FAILED, POST_FAILED, AUTO_THAWED = 201, 202, 203


@dataclass(slots=True)
class Scripts:
    """The scripts of all guests. `_thawed` holds where a script's own timer fired, and the boot."""

    _thawed: set[tuple[str, int]] = field(default_factory=set)

    def run(self, job: Job, now: float) -> None:
        """Run a script; what it does is in the knobs of its instance."""
        stage = job.value("command")
        behaviour = job.instance.guest.scripts.get(job.invocation.command.document, {})
        spec: Mapping[str, Any] = behaviour.get(stage, {})
        job.instance.record("script_began", now, stage=stage)
        if stage == POST:
            job.instance.guest.resume_applications(now)
        if behaviour.get("hangs") or spec.get("hangs") or FaultName.SCRIPT_HANGS in job.faults:
            return
        code = self._exit_code(job, stage, spec)
        seconds = float(spec.get("seconds", job.draw("script_seconds")))
        result = Result(code, str(spec.get("stdout", "")), str(spec.get("stderr", "")))

        def end(moment: float) -> None:
            job.instance.record("script_ended", moment, stage=stage, exit_code=str(code))
            if stage == PRE and code == 0:
                self._quiesce(job, spec, moment)
            job.finish(result, moment)

        job.at(now + seconds, end)

    def _exit_code(self, job: Job, stage: str, spec: Mapping[str, Any]) -> int:
        """Return the exit code of a script."""
        boot = job.instance.instance_id, job.instance.guest.boots
        if fault := job.faults.get(FaultName.SCRIPT_FAILS):
            usual = POST_FAILED if stage == POST else PRE_FAILED
            return usual if fault.exit_code is None else fault.exit_code
        if stage == POST and boot in self._thawed and "exit" not in spec:
            self._thawed.discard(boot)
            return AUTO_THAWED
        return int(spec.get("exit", 0))

    def _quiesce(self, job: Job, spec: Mapping[str, Any], now: float) -> None:
        """Quiesce the applications, for as long as the script's own timer lets it last."""
        instance, guest = job.instance, job.instance.guest
        guest.quiesce_applications(now)
        boot = instance.instance_id, guest.boots
        self._thawed.discard(boot)

        def auto_thaw(moment: float) -> None:
            up = instance.guest_up and boot == (instance.instance_id, guest.boots)
            if up and guest.quiesced(moment):
                guest.resume_applications(moment)
                self._thawed.add(boot)

        if "auto_thaw_seconds" in spec:
            job.region.agenda.at(now + float(spec["auto_thaw_seconds"]), auto_thaw)


def run_plain(job: Job, now: float) -> None:
    """Run a document of which the sandbox knows nothing but what the knobs say."""
    spec = job.instance.guest.scripts.get(job.invocation.command.document, {})
    if spec.get("hangs"):
        return
    seconds = float(spec.get("seconds", job.draw("script_seconds")))
    code = int(spec.get("exit", 0))
    result = Result(code, str(spec.get("stdout", "")), str(spec.get("stderr", "")))
    job.at(now + seconds, lambda moment: job.finish(result, moment))
