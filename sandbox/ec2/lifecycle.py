"""How an instance changes its state, and when its guest writes, flushes or loses its power.

    StopInstances   running -> stopping -> stopped; the guest flushes on the way, unless it hangs
    StartInstances  stopped -> pending -> running; the guest's boot writes before `running`
    reboot          the state stays `running` while the guest goes down and comes up again

Every transition takes a new turn. What an earlier turn has put on the agenda does nothing any
more once its turn is over.
"""

from collections.abc import Callable
from typing import assert_never

from sandbox.ec2.call import Call
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.faults import FaultName
from sandbox.ec2.model import (
    DownPeriod,
    ImageState,
    Instance,
    InstanceState,
    StateReason,
    Status,
    Volume,
)
from sandbox.ec2.moments import gmt
from sandbox.ec2.region import Region

# EC2 API Reference, StateReason.
USER_SHUTDOWN = StateReason(
    "Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown"
)
NO_KMS_GRANT = StateReason("Client.InternalError", "Client.InternalError: Client error on launch")
NO_CAPACITY = StateReason(
    "Server.InsufficientInstanceCapacity",
    "Server.InsufficientInstanceCapacity: There was insufficient capacity available to satisfy "
    "the launch request.",
)
TERMINATED_DURING_CREATION = StateReason(
    "Client.InstanceTerminated",
    "Client.InstanceTerminated: The instance was terminated or rebooted during AMI creation.",
)
_PENDING = StateReason("pending", "pending")


def launch(region: Region, instance: Instance, at: float) -> None:
    """Let a new instance, already `pending`, come up."""
    instance.record("launched", at)
    _power_on(region, instance, at)


def stop(region: Region, instance: Instance, call: Call) -> None:
    """Begin to stop a running instance; do nothing for one that is stopping or stopped."""
    if instance.state is not InstanceState.RUNNING:
        return
    at = call.at
    turn = _next_turn(instance)
    reason = f"User initiated ({gmt(at)})"
    _set_state(region, instance, at, InstanceState.STOPPING, (reason, USER_SHUTDOWN))
    instance.record("stop_requested", at, call.principal)
    _go_down(instance, "stop", at)
    clean_at, down_at = _shutdown(region, instance, call)

    def shut_down(now: float) -> None:
        if instance.turn == turn:
            instance.shut_guest_down(now)
            instance.record("guest_shut_down", now)

    def arrive(now: float) -> None:
        if instance.turn != turn:
            return
        _power_off(instance, now)
        _set_state(region, instance, now, InstanceState.STOPPED, (reason, USER_SHUTDOWN))
        instance.record("stopped", now)
        if instance.down:
            instance.down.down_at = now

    if clean_at is not None:
        region.agenda.at(clean_at, shut_down)
    region.agenda.at(down_at, arrive)


def check_startable(instance: Instance) -> None:
    """Raise IncorrectInstanceState for an instance that is neither up nor stopped."""
    match instance.state:
        case InstanceState.PENDING | InstanceState.RUNNING | InstanceState.STOPPED:
            return
        case InstanceState.STOPPING | InstanceState.SHUTTING_DOWN | InstanceState.TERMINATED:
            message = f"The instance '{instance.instance_id}' is not in a state from which it can "
            raise Ec2Error("IncorrectInstanceState", message + "be started.")
        case _:
            assert_never(instance.state)


def check_stoppable(instance: Instance) -> None:
    """Raise IncorrectInstanceState for an instance that is neither running nor stopped."""
    match instance.state:
        case InstanceState.RUNNING | InstanceState.STOPPING | InstanceState.STOPPED:
            return
        case InstanceState.PENDING | InstanceState.SHUTTING_DOWN | InstanceState.TERMINATED:
            message = f"The instance '{instance.instance_id}' is not in a state from which it can "
            raise Ec2Error("IncorrectInstanceState", message + "be stopped.")
        case _:
            assert_never(instance.state)


def start_failure(region: Region, instance: Instance, call: Call) -> StateReason | None:
    """Return why a start will fall back to `stopped`; raise the error of one that is refused."""
    if instance.state is not InstanceState.STOPPED:
        return None
    if instance.kms_denied or region.fault(FaultName.NO_KMS_GRANT, call, instance.instance_id):
        return NO_KMS_GRANT
    fault = region.fault(FaultName.NO_CAPACITY, call, instance.instance_id)
    if fault is None:
        return None
    if fault.falls_back:
        return NO_CAPACITY
    raise fault.error(call)


def start(region: Region, instance: Instance, call: Call, failure: StateReason | None) -> None:
    """Begin to start a stopped instance; do nothing for one that is pending or running.

    With a `failure` the start falls back to `stopped` behind the caller's back.
    """
    if instance.state is not InstanceState.STOPPED:
        return
    at = call.at
    instance.status.change(
        Status(
            InstanceState.PENDING,
            launched_at=at,
            state_reason=_PENDING,
            public_ip=_public_ip(region, instance),
        ),
        _state_visible_at(instance, at),
    )
    instance.record("start_requested", at, call.principal)
    if instance.down:
        instance.down.start_requested_at = at
    if late := region.fault(FaultName.AGENT_OFFLINE_AFTER_START, call, instance.instance_id):
        instance.guest.agent_late_seconds = late.delay_seconds
    if failure is None:
        _power_on(region, instance, at)
    else:
        _fall_back(region, instance, at, failure)


def terminate(region: Region, instance: Instance, at: float, by: str) -> None:
    """Begin to terminate an instance; its unfinished images fail."""
    if instance.state in (InstanceState.SHUTTING_DOWN, InstanceState.TERMINATED):
        return
    turn = _next_turn(instance)
    reason = f"User initiated ({gmt(at)})"
    _set_state(region, instance, at, InstanceState.SHUTTING_DOWN, (reason, USER_SHUTDOWN))
    instance.record("termination_requested", at, by)
    fail_images(region, instance, TERMINATED_DURING_CREATION)

    def arrive(now: float) -> None:
        if instance.turn != turn:
            return
        instance.shut_guest_down(now)
        _set_state(region, instance, now, InstanceState.TERMINATED, (reason, USER_SHUTDOWN))
        instance.record("terminated", now)
        for attachment in instance.attachments:
            volume = region.volumes[attachment.volume_id]
            volume.attachments.remove(attachment)
            if attachment.delete_on_termination and not volume.attachments:
                _delete_volume(region, volume)
        instance.attachments.clear()

    region.agenda.at(at + instance.draw("stop_seconds"), arrive)


def reboot(
    region: Region,
    instance: Instance,
    call: Call,
    kind: str = "reboot",
    while_down: Callable[[float], float] | None = None,
) -> None:
    """Let the guest go down and come up again, the state staying `running`.

    `while_down(moment)` is called when the guest is down, even if a stop has overtaken the reboot
    by then, and returns until when the guest has to stay down.
    """
    at = call.at
    turn = _next_turn(instance)
    instance.record(f"{kind}_requested", at, call.principal)
    _go_down(instance, kind, at)
    clean_at, down_at = _shutdown(region, instance, call)

    def arrive(now: float) -> None:
        # A stop that has overtaken the reboot finds the guest on its way down already.
        if instance.turn == turn or instance.state is InstanceState.STOPPING:
            if clean_at is None:
                instance.pull_plug(now)
            else:
                instance.shut_guest_down(now)
            instance.record("guest_down", now)
            if instance.down and instance.turn == turn:
                instance.down.down_at = now
        until = while_down(now) if while_down else now
        if instance.turn == turn:
            region.agenda.at(until, come_up)

    def come_up(now: float) -> None:
        if instance.turn == turn:
            if instance.down:
                instance.down.start_requested_at = now
            _power_on(region, instance, now)

    region.agenda.at(down_at if clean_at is None else clean_at, arrive)


def fail_images(region: Region, instance: Instance, reason: StateReason) -> None:
    """Fail the images of an instance that still lack a snapshot, or all if it is terminated."""
    for image in region.images.values():
        if image.source_instance_id != instance.instance_id:
            continue
        terminated = instance.state is InstanceState.SHUTTING_DOWN
        complete = all(volume.snapshot_id for volume in image.volumes)
        if image.state is ImageState.PENDING and (terminated or not complete):
            image.state, image.state_reason = ImageState.FAILED, reason


def place(region: Region, instance: Instance, state: InstanceState, at: float) -> None:
    """Put an instance at rest in `state`, running or stopped, at once and without history."""
    _next_turn(instance)
    instance.shut_guest_down(at)
    instance.down = None
    instance.downs.clear()
    instance.events.clear()
    launched_at = instance.status.value.launched_at
    if state is InstanceState.RUNNING:
        instance.boot_guest(at)
        ip = instance.status.value.public_ip or _public_ip(region, instance)
        instance.status.settle(Status(state, launched_at, public_ip=ip))
    else:
        reason = f"User initiated ({gmt(at)})"
        instance.status.settle(Status(state, launched_at, reason, USER_SHUTDOWN))
    instance.visible_at = min(instance.visible_at, at)
    instance.record(f"placed_{state}", at)


def _next_turn(instance: Instance) -> int:
    """Begin a new transition: what earlier ones had on the agenda is void."""
    instance.turn += 1
    return instance.turn


def _shutdown(region: Region, instance: Instance, call: Call) -> tuple[float | None, float]:
    """Return when the guest has shut down cleanly (None: never) and when it has no power."""
    hung = instance.hung or region.fault(FaultName.HUNG_GUEST, call, instance.instance_id)
    if hung:
        return None, call.at + instance.physics.plug_seconds
    duration = instance.draw("stop_seconds")
    return call.at + duration * instance.physics.flush_share, call.at + duration


def _power_on(region: Region, instance: Instance, at: float) -> None:
    """Give the guest power at `at`: it boots, and the instance is `running` a while later."""
    turn = _next_turn(instance)
    duration = instance.draw("start_seconds")

    def boot(now: float) -> None:
        if instance.turn == turn:
            instance.boot_guest(now)
            instance.record("guest_booted", now)

    def arrive(now: float) -> None:
        if instance.turn != turn:
            return
        if instance.state is InstanceState.PENDING:
            _set_state(region, instance, now, InstanceState.RUNNING)
        instance.record("running", now)
        instance.checks_pass_at = now + instance.draw("status_check_seconds")
        if instance.down:
            instance.down.up_at = now
            instance.downs.append(instance.down)
            instance.down = None

    region.agenda.at(at + min(instance.physics.boot_delay_seconds, duration / 2), boot)
    region.agenda.at(at + duration, arrive)


def _power_off(instance: Instance, now: float) -> None:
    """Take the guest's power: a guest that is still up loses what it had not written back."""
    if instance.guest_up:
        instance.pull_plug(now)
        instance.record("plug_pulled", now)


def _fall_back(region: Region, instance: Instance, at: float, reason: StateReason) -> None:
    """Let a start fail behind the caller's back: pending, then stopped with its reason."""
    turn = _next_turn(instance)

    def arrive(now: float) -> None:
        if instance.turn == turn:
            _set_state(region, instance, now, InstanceState.STOPPED, (reason.code, reason))
            instance.record("start_failed", now, reason=reason.message)

    region.agenda.at(at + instance.draw("failed_start_seconds"), arrive)


def _go_down(instance: Instance, kind: str, at: float) -> None:
    """Open a down period, or let a stop take over that of a reboot in progress."""
    if instance.down is None:
        instance.down = DownPeriod(kind, at)
    else:
        instance.down.kind = kind


def _set_state(
    region: Region,
    instance: Instance,
    at: float,
    state: InstanceState,
    reasons: tuple[str, StateReason | None] = ("", None),
) -> None:
    """Change the state, visible to Describe calls a moment later."""
    old = instance.status.value
    keeps_ip = state in (InstanceState.RUNNING, InstanceState.STOPPING)
    public_ip = old.public_ip if keeps_ip else None
    if state is InstanceState.RUNNING and public_ip is None:
        public_ip = _public_ip(region, instance)
    instance.status.change(
        Status(state, old.launched_at, *reasons, public_ip),
        _state_visible_at(instance, at),
    )


def _state_visible_at(instance: Instance, at: float) -> float:
    """Return when a change of state that happens at `at` is visible."""
    return at + instance.draw("state_lag_seconds")


def _public_ip(region: Region, instance: Instance) -> str | None:
    """Return a new public address, if the instance is given one at each start."""
    if not instance.assigns_public_ip:
        return None
    return f"198.51.100.{int(region.dice.hex_digits('public-ip', 2), 16) % 254 + 1}"


def _delete_volume(region: Region, volume: Volume) -> None:
    """Delete a volume and forget its tags."""
    del region.volumes[volume.volume_id]
    region.tags.forget(volume.volume_id)
