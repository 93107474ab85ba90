"""What there is in a Region: instances, volumes, snapshots and images, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sandbox.ec2.guest import Guest
from sandbox.ec2.lagged import Lagged
from sandbox.ec2.pagecache import PageCache
from sandbox.ec2.physics import Dice, Physics


class InstanceState(StrEnum):
    """The states of an instance, by the names that EC2 gives them."""

    PENDING = "pending"
    RUNNING = "running"
    SHUTTING_DOWN = "shutting-down"
    TERMINATED = "terminated"
    STOPPING = "stopping"
    STOPPED = "stopped"

    @property
    def code(self) -> int:
        """Return the number of the state (EC2 API Reference, InstanceState)."""
        return _STATE_CODES[self]


_STATE_CODES = {
    InstanceState.PENDING: 0,
    InstanceState.RUNNING: 16,
    InstanceState.SHUTTING_DOWN: 32,
    InstanceState.TERMINATED: 48,
    InstanceState.STOPPING: 64,
    InstanceState.STOPPED: 80,
}


class ImageState(StrEnum):
    """The states of an image that the world can bring about."""

    PENDING = "pending"
    AVAILABLE = "available"
    DISABLED = "disabled"
    FAILED = "failed"
    DEREGISTERED = "deregistered"


class SnapshotState(StrEnum):
    """The states of a snapshot that the world can bring about."""

    PENDING = "pending"
    COMPLETED = "completed"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class StateReason:
    """Why something is in its state: a code such as `Client.UserInitiatedShutdown`, and words."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Status:
    """The part of an instance that changes with its state, and that Describe calls show late."""

    state: InstanceState
    launched_at: float
    transition_reason: str = ""
    state_reason: StateReason | None = None
    public_ip: str | None = None


@dataclass(slots=True)
class Attachment:
    """A volume on an instance, with the page cache of the guest in front of it."""

    instance_id: str
    device: str
    volume_id: str
    cache: PageCache
    attached_at: float
    delete_on_termination: bool


@dataclass(slots=True)
class Volume:
    """An EBS volume."""

    volume_id: str
    size: int
    volume_type: str
    created_at: float
    availability_zone: str
    encrypted: bool = False
    kms_key_id: str | None = None
    snapshot_id: str = ""
    iops: int | None = None
    throughput: int | None = None
    multi_attach: bool = False
    attachments: list[Attachment] = field(default_factory=list)

    @property
    def at_rest(self) -> bool:
        """Say that no guest writes to the volume."""
        return not any(attachment.cache.writing for attachment in self.attachments)

    def dirty_bytes(self, now: float) -> int:
        """Return how many acknowledged bytes the volume misses at `now`."""
        return sum(attachment.cache.dirty_bytes(now) for attachment in self.attachments)


@dataclass(frozen=True, slots=True)
class SnapshotLock:
    """A lock of a snapshot: its mode, when it was set, and either a duration or an end.

    The duration counts from the lock, or from the snapshot's completion if that comes later.
    `cool_off_hours` is how long a lock in compliance mode can be taken back.
    """

    mode: str
    created_at: float
    duration_days: int
    expires_at: float | None = None
    cool_off_hours: int | None = None


@dataclass(slots=True)
class Snapshot:
    """A snapshot, with what only the world knows: how much it misses (`dirty_bytes`).

    `users` holds the ids of the registered images that use it, `copy_of` the snapshot that it
    was copied from.
    """

    snapshot_id: str
    volume_id: str
    volume_size: int
    encrypted: bool
    kms_key_id: str | None
    description: str
    started_at: float
    visible_at: float
    completes_at: float
    dirty_bytes: int
    at_rest: bool
    image_id: str | None = None
    state: SnapshotState = SnapshotState.PENDING
    state_message: str = ""
    completed_at: float | None = None
    deleted: bool = False
    users: set[str] = field(default_factory=set)
    copy_of: str | None = None
    permissions: set[str] = field(default_factory=set)
    lock: SnapshotLock | None = None

    def progress(self, now: float) -> str:
        """Return the progress as EC2 words it: `37%`."""
        if self.state is SnapshotState.COMPLETED:
            return "100%"
        span = max(self.completes_at - self.started_at, 0.001)
        return f"{min(int(100 * (now - self.started_at) / span), 99)}%"


@dataclass(slots=True)
class ImageVolume:
    """A volume of an image: what is to be captured, and its snapshot once that is initiated."""

    device: str
    volume_id: str
    size: int
    volume_type: str
    encrypted: bool
    delete_on_termination: bool
    initiated: bool = True
    error_delay: float | None = None
    snapshot_id: str | None = None


@dataclass(frozen=True, slots=True)
class ImageSource:
    """The image that an image descends from, and its Region."""

    region: str
    image_id: str


@dataclass(slots=True)
class DeregistrationProtection:
    """Whether an image can be deregistered.

    Protection `with_cooldown` lasts on until the moment `cools_until` after it was disabled.
    """

    enabled: bool = False
    with_cooldown: bool = False
    cools_until: float = float("-inf")

    def holds(self, now: float) -> bool:
        """Say whether the image cannot be deregistered at `now`."""
        return self.enabled or now < self.cools_until


@dataclass(slots=True)
class Image:
    """An image (AMI) that CreateImage or CopyImage made.

    `source_instance_id` is what EC2 shows: nothing for a copy. `origin_instance_id` is the
    instance whose data it holds, even through copies. `copied_from` is the source of a copy.
    """

    image_id: str
    name: str
    description: str
    source_instance_id: str
    origin_instance_id: str
    created_at: float
    visible_at: float
    available_at: float
    no_reboot: bool
    volumes: list[ImageVolume]
    excluded_volumes: list[str]
    root_device_name: str
    architecture: str
    platform_details: str
    snapshot_tags: Mapping[str, str]
    state: ImageState = ImageState.PENDING
    state_reason: StateReason | None = None
    initiated_at: list[float] = field(default_factory=list)
    gone_at: float | None = None
    source_image: ImageSource | None = None
    copied_from: ImageSource | None = None
    launch_permissions: set[str] = field(default_factory=set)
    protection: DeregistrationProtection = field(default_factory=DeregistrationProtection)


@dataclass(frozen=True, slots=True)
class TemplateVersion:
    """One version of a launch template."""

    number: int
    created_at: float
    created_by: str
    description: str | None
    data: Mapping[str, Any]


@dataclass(slots=True)
class LaunchTemplate:
    """A launch template with the data of its versions, by number."""

    template_id: str
    name: str
    created_at: float
    created_by: str
    versions: dict[int, TemplateVersion] = field(default_factory=dict)
    default_version: int = 1

    @property
    def latest_version(self) -> int:
        """Return the highest number of a version."""
        return max(self.versions)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of an instance's history: what happened when, and by whose call."""

    what: str
    at: float
    by: str = ""
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class DownPeriod:
    """A time in which an instance that had been running was not up."""

    kind: str
    began_at: float
    down_at: float | None = None
    start_requested_at: float | None = None
    up_at: float | None = None
    image_ids: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Protection:
    """What an owner has set against mishaps, and what a shutdown from inside the guest does."""

    disable_api_stop: bool = False
    disable_api_termination: bool = False
    shutdown_behavior: str = "stop"


@dataclass(slots=True)
class Instance:
    """An instance: its state, its guest and its history."""

    instance_id: str
    reservation_id: str
    created_at: float
    visible_at: float
    status: Lagged[Status]
    physics: Physics
    dice: Dice
    facts: dict[str, Any]
    attachments: list[Attachment] = field(default_factory=list)
    protection: Protection = field(default_factory=Protection)
    assigns_public_ip: bool = False
    hung: bool = False
    kms_denied: bool = False
    guest_up: bool = False
    guest: Guest = field(default_factory=Guest)
    surroundings: dict[str, Any] = field(default_factory=dict)
    turn: int = 0
    checks_pass_at: float = 0.0
    down: DownPeriod | None = None
    downs: list[DownPeriod] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    @property
    def state(self) -> InstanceState:
        """Return the state that is true now."""
        return self.status.value.state

    def draw(self, quantity: str) -> float:
        """Draw a duration of this instance: the name of a Range of its physics."""
        return self.dice.draw(quantity, getattr(self.physics, quantity))

    def boot_guest(self, now: float) -> None:
        """Let the guest come up and start writing."""
        self.guest_up = True
        self.guest.boot(now)
        for attachment in self.attachments:
            attachment.cache.boot(now)

    def shut_guest_down(self, now: float) -> None:
        """Let the guest write everything back and halt."""
        self.guest.go_down(now)
        self.guest_up = False
        for attachment in self.attachments:
            attachment.cache.flush()

    def pull_plug(self, now: float) -> None:
        """Take the guest's power away: what its page cache held is lost."""
        self.guest.go_down(now)
        self.guest_up = False
        for attachment in self.attachments:
            attachment.cache.pull_plug(now)

    def record(self, what: str, at: float, by: str = "", **details: str) -> None:
        """Add a line to the instance's history."""
        self.events.append(Event(what, at, by, details))
