"""The agent in each guest: it takes commands, lets them do their work and reports.

While the guest's root file system is frozen the agent can neither take nor report anything: it
writes below /var/lib/amazon/ssm. A guest that goes down ends what runs in it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, assert_never

from sandbox.ec2.call import Call
from sandbox.ec2.faults import Fault, FaultName
from sandbox.ec2.model import Instance, InstanceState
from sandbox.ec2.physics import Dice, Range
from sandbox.ec2.region import Region
from sandbox.ssm.commands import KILLED, Command, Invocation, Result, Status
from sandbox.ssm.documents import Role
from sandbox.ssm.physics import SsmPhysics

# How often an agent that cannot do something now tries it again.
_RETRY_SECONDS = 0.5


def root_frozen(instance: Instance) -> bool:
    """Say whether the root file system of a guest is frozen."""
    root = instance.facts["RootDeviceName"]
    return any(each.device == root and each.cache.frozen for each in instance.attachments)


@dataclass(slots=True, eq=False)
class Job:
    """An invocation in its guest: what its work needs of the world, and how it ends."""

    region: Region
    invocation: Invocation
    physics: SsmPhysics
    faults: dict[FaultName, Fault]
    on_finish: Callable[["Job", Result, float], None]

    @property
    def instance(self) -> Instance:
        """Return the instance in which the job runs."""
        return self.invocation.instance

    def value(self, parameter: str) -> str:
        """Return the first value of a parameter, or an empty text."""
        return next(iter(self.invocation.command.values.get(parameter, [])), "")

    def draw(self, quantity: str) -> float:
        """Draw a duration: the name of a Span of SSM's physics."""
        return draw(self.instance, quantity, self.physics)

    def at(self, moment: float, happening: Callable[[float], None]) -> None:
        """Call `happening(moment)` then, if the work is not over."""

        def happen(now: float) -> None:
            if not self.invocation.work_over:
                happening(now)

        self.region.agenda.at(moment, happen)

    def finish(self, result: Result, now: float) -> None:
        """End the work: the script has come to a result."""
        self.on_finish(self, result, now)


class Work(Protocol):
    """What a document does in a guest."""

    def __call__(self, job: Job, now: float, /) -> None:
        """Begin to work; `job.finish` ends it, at once or later, or never."""
        ...


def draw(instance: Instance, quantity: str, physics: SsmPhysics) -> float:
    """Draw a duration of an instance: the name of a Span of SSM's physics."""
    return instance.dice.draw(f"ssm/{quantity}", Range.of(getattr(physics, quantity)))


@dataclass(slots=True)
class Agents:
    """The agents of all guests in one account and Region."""

    region: Region
    physics: SsmPhysics
    work: Work
    _starts: dict[str, tuple[int, float]] = field(default_factory=dict)

    def online(self, instance: Instance, now: float) -> bool:
        """Say whether the service hears of an instance's agent."""
        guest = instance.guest
        running = instance.state is InstanceState.RUNNING and instance.guest_up
        if not (running and guest.managed and guest.agent_online):
            return False
        return now >= self.online_from(instance)

    def online_from(self, instance: Instance) -> float:
        """Return when the agent of a guest that is up comes online."""
        guest = instance.guest
        known = self._starts.get(instance.instance_id)
        if known is None or known[0] != guest.boots:
            dice = Dice(f"{self.region.seed}/{instance.instance_id}/{guest.boots}")
            span = Range.of(self.physics.agent_start_seconds)
            known = guest.boots, dice.draw("agent_start_seconds", span)
            self._starts[instance.instance_id] = known
        return guest.booted_at + known[1] + guest.agent_late_seconds

    def send(self, invocation: Invocation, call: Call) -> None:
        """Let a command find its way to the guest; the call's faults go with it."""
        instance_id = invocation.instance.instance_id
        found = {
            name: fault
            for name in _possible_faults(invocation.command)
            if (fault := self.region.fault(name, call, instance_id)) is not None
        }
        job = Job(self.region, invocation, self.physics, found, self._finished)
        delay = draw(invocation.instance, "delivery_seconds", self.physics)
        self.region.agenda.at(call.at + delay, partial(self._deliver, job))

    def cancel(self, invocation: Invocation, now: float) -> None:
        """Cancel an invocation; one that runs is ended a moment later."""
        if invocation.status is Status.PENDING:
            invocation.end(now, Status.CANCELLED)
        elif invocation.status is Status.IN_PROGRESS:
            invocation.move(Status.CANCELLING)
            delay = draw(invocation.instance, "cancel_seconds", self.physics)
            self.region.agenda.at(now + delay, partial(self._cancelled, invocation))

    def _deliver(self, job: Job, now: float) -> None:
        """Let the agent take a command, as soon as it can and if that is not too late."""
        invocation = job.invocation
        expires_at = invocation.command.expires_at
        if invocation.status is not Status.PENDING:
            return
        if now >= expires_at:
            invocation.end(now, Status.TIMED_OUT, "DeliveryTimedOut")
        elif not self._listening(invocation.instance, now):
            again = min(now + _RETRY_SECONDS, expires_at)
            self.region.agenda.at(again, partial(self._deliver, job))
        else:
            self._begin(job, now)

    def _listening(self, instance: Instance, now: float) -> bool:
        """Say whether the agent can take or report something now."""
        return self.online(instance, now) and not root_frozen(instance)

    def _begin(self, job: Job, now: float) -> None:
        """Begin the work in the guest."""
        invocation = job.invocation
        invocation.move(Status.IN_PROGRESS)
        invocation.began_at = now
        invocation.instance.guest.when_down(invocation, partial(_killed, invocation))
        seconds = invocation.command.content.execution_seconds(invocation.command.values)
        self.region.agenda.at(now + seconds, partial(self._run_out, invocation))
        self.work(job, now)

    def _finished(self, job: Job, result: Result, now: float) -> None:
        """Take the result of the work, and report it if the agent does not hang."""
        invocation = job.invocation
        invocation.result, invocation.ended_at, invocation.work_over = result, now, True
        hang = job.faults.get(FaultName.AGENT_HANGS)
        late = hang.delay_seconds if hang else 0.0
        moment = now + late + job.draw("report_seconds")
        if moment < float("inf"):
            self.region.agenda.at(moment, partial(self._report, invocation))

    def _report(self, invocation: Invocation, now: float) -> None:
        """Tell the service what the work came to, as soon as the agent can."""
        result = invocation.result
        if invocation.status.ended or result is None:
            return
        if not self._listening(invocation.instance, now):
            self.region.agenda.at(now + _RETRY_SECONDS, partial(self._report, invocation))
            return
        invocation.shown = result
        if result.exit_code == 0:
            invocation.end(now, Status.SUCCESS, code=0)
            return
        words = f"failed to run commands: exit status {result.exit_code}"
        stderr = f"{result.stderr.rstrip()}\n{words}" if result.stderr else words
        invocation.shown = Result(result.exit_code, result.stdout, stderr)
        invocation.end(now, Status.FAILED, code=result.exit_code)

    def _run_out(self, invocation: Invocation, now: float) -> None:
        """End what has run for as long as it may; the service says so of what it never heard of."""
        if invocation.status.ended:
            return
        if root_frozen(invocation.instance):
            self.region.agenda.at(now + _RETRY_SECONDS, partial(self._run_out, invocation))
            return
        invocation.end(now, Status.TIMED_OUT, "ExecutionTimedOut", KILLED)

    def _cancelled(self, invocation: Invocation, now: float) -> None:
        """End a command that is being cancelled, as soon as the agent can."""
        if invocation.status is not Status.CANCELLING:
            return
        if self._listening(invocation.instance, now):
            invocation.end(now, Status.CANCELLED)
        else:
            again = partial(self._cancelled, invocation)
            self.region.agenda.at(now + _RETRY_SECONDS, again)


def _killed(invocation: Invocation, now: float) -> None:
    """End what runs in a guest that goes down."""
    if not invocation.status.ended:
        invocation.end(now, Status.FAILED, "Terminated")


def _possible_faults(command: Command) -> tuple[FaultName, ...]:
    """Return what can go wrong with a command in its guest."""
    match command.content.role:
        case Role.SCRIPT:
            own: tuple[FaultName, ...] = (FaultName.SCRIPT_FAILS, FaultName.SCRIPT_HANGS)
        case Role.FREEZE if command.values["command"] == ["freeze"]:
            own = (FaultName.FREEZE_FAILS, FaultName.AUTO_THAW_FIRES)
        case Role.FREEZE | Role.OTHER:
            own = ()
        case _:
            assert_never(command.content.role)
    return FaultName.AGENT_HANGS, *own
