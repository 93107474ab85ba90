"""Scenarios as files: a fleet, what goes wrong, and what must be true in the end.

    title = "StopInstances is throttled: the state machine tries again"

    [sandbox]                      # all optional
    scale = 20                     # simulated seconds per real second
    seed = 1
    minutes = 40                   # simulated: by then everything must have settled
    sweep = true                   # then call the pruning as its daily rule does; false if left out
    [parameters]                   # of the stack
    MaxConcurrentBackups = "2"
    [physics]                      # of every instance; sandbox/ec2/physics.py has the names
    image_seconds = [180, 600]

    [[target_group]]               # of a load balancer
    name = "site"
    port = 8080                    # 80 if left out
    deregistration_delay = 30      # seconds, 300 if left out
    [[auto_scaling_group]]
    name = "asg"
    min = 0
    max = 2
    desired = 1                    # as many as there are members if left out
    target_groups = ["site"]       # none if left out
    suspended = ["Launch"]         # processes, none if left out

    [[document]]                   # of Systems Manager, for scripts in the guests
    name = "quiesce"
    file = "docs/scripts/mysql.yaml"

    [[instance]]
    name = "web"
    volumes = 3                    # 1 if left out
    state = "stopped"              # "running" if left out
    stop_protection = true         # false if left out
    auto_scaling_group = "asg"     # none if left out; its members have to run
    target_groups = ["site:8443"]  # registered there, on the group's port if none is named
    alarms = ["web-cpu"]           # metric alarms with its InstanceId as their dimension
    [instance.tags]
    "stillpoint:schedule" = "cron({due+3m})"
    [instance.physics]             # and the knobs of its guest, which sandbox/ec2/knobs.py has
    stop_seconds = 300
    managed = true                 # its SSM Agent is there
    [instance.past]                # for one of method stop with its schedule in UTC
    days = 800                     # it was backed up on each of so many days before
    retain = "7d 4w"               # by this retention
    pruned = 3                     # which was last applied so many days ago; never if left out

    [[fault]]                      # sandbox/ec2/faults.py and sandbox/host_faults.py have the names
    name = "throttle"
    action = "StopInstances"
    instance = "web"               # `{web}` in any setting is the id of that instance
    times = 3

    [expect]
    messages = ["BackupSucceeded"] # the events that were published, in any order, no others
    [expect.web]
    outcome = "succeeded"          # succeeded failed refused aborted timed-out invalid held none
    state = "running"
    consistency = "file-system"    # as claimed on the image; "" for none
    images = 1                     # made in this run
    reason = "a part of the reason"
    kept = 11                      # its recovery points in the end, those of the past included
    expired = 3                    # those that are gone
    copies = ["eu-west-1"]         # Regions with a complete copy of the newest one
    service = "site healthy"       # its state in its target groups and its Auto Scaling group
    scripts = "pre-script 0"       # those that ended, with their exit codes, joined by commas

In a tag, `{due+3m}` is the moment three simulated minutes after the fleet has started, as the
fields of a cron expression for that minute of every year, and `{time+3m}` the same as `HH:MM`,
both in UTC.
"""

import re
import tomllib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sandbox.process import ROOT, SandboxError

FOLDER: Final = Path(__file__).parent / "scenarios"
DEFAULT_SCALE: Final = 20.0
DEFAULT_MINUTES: Final = 40.0
ENDS_OF_BACKUPS: Final = frozenset({"succeeded", "failed", "refused", "aborted", "timed-out"})
_DUE = re.compile(r"\{(due|time)\+(\d+)m\}")


class ScenarioError(SandboxError):
    """A scenario does not exist or is not what a scenario file should be."""


@dataclass(frozen=True, slots=True)
class PastSpec:
    """The recovery points that there are of an instance when the scenario begins."""

    days: int
    retain: str
    pruned: int | None = None


@dataclass(frozen=True, slots=True)
class TargetGroupSpec:
    """A target group of a load balancer; the delay is in seconds."""

    name: str
    port: int = 80
    deregistration_delay: int = 300


@dataclass(frozen=True, slots=True)
class AutoScalingGroupSpec:
    """An Auto Scaling group; `desired` is None if it is the number of its members."""

    name: str
    min: int
    max: int
    desired: int | None = None
    target_groups: tuple[str, ...] = ()
    suspended: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DocumentSpec:
    """A script document of Systems Manager; `file` is a path in this repository."""

    name: str
    file: str

    def text(self) -> str:
        """Return what is in the document."""
        return (ROOT / self.file).read_text()


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """One instance of the fleet, as the file describes it."""

    name: str
    tags: dict[str, str] = field(default_factory=dict)
    volumes: int = 1
    state: str = "running"
    stop_protection: bool = False
    physics: dict[str, Any] = field(default_factory=dict)
    past: PastSpec | None = None
    auto_scaling_group: str | None = None
    target_groups: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()

    def registrations(self) -> list[tuple[str, int | None]]:
        """Return the target groups that it is registered in, each with a port of its own or None.

        Raises ValueError for a port that is none.
        """
        parted = [each.partition(":") for each in self.target_groups]
        return [(name, int(port) if port else None) for name, _, port in parted]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must be true of one instance in the end; None means that it does not matter."""

    outcome: str | None = None
    state: str | None = None
    consistency: str | None = None
    images: int | None = None
    reason: str | None = None
    kept: int | None = None
    expired: int | None = None
    copies: list[str] | None = None
    service: str | None = None
    scripts: str | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario file. `messages` is None if it does not say which ones are expected."""

    title: str
    instances: tuple[InstanceSpec, ...]
    scale: float = DEFAULT_SCALE
    seed: int = 1
    minutes: float = DEFAULT_MINUTES
    sweep: bool = False
    parameters: dict[str, str] = field(default_factory=dict)
    physics: dict[str, Any] = field(default_factory=dict)
    faults: tuple[dict[str, Any], ...] = ()
    expected: dict[str, Expectation] = field(default_factory=dict)
    messages: tuple[str, ...] | None = None
    target_groups: tuple[TargetGroupSpec, ...] = ()
    auto_scaling_groups: tuple[AutoScalingGroupSpec, ...] = ()
    documents: tuple[DocumentSpec, ...] = ()

    def backed_up(self) -> set[str]:
        """Return the names of the instances of which a backup is expected, however it ends."""
        return {name for name, each in self.expected.items() if each.outcome in ENDS_OF_BACKUPS}


def names() -> list[str]:
    """The scenarios that come with the sandbox."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name_or_path: str) -> Scenario:
    """Read a scenario by name, or from a path. Raises ScenarioError."""
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = FOLDER / f"{name_or_path}.toml"
    if not path.is_file():
        raise ScenarioError(
            f"there is no scenario {name_or_path!r}; there are: {', '.join(names())}; "
            "the path of a .toml file will do, too"
        )
    try:
        return parse(tomllib.loads(path.read_text()))
    except (tomllib.TOMLDecodeError, TypeError, ValueError) as error:
        raise ScenarioError(f"{path}: {error}") from error


def parse(document: dict[str, Any]) -> Scenario:
    """Return a scenario from a file's content.

    Raises ValueError or TypeError for what does not belong there.
    """
    document = dict(document)
    settings = dict(document.pop("sandbox", {}))
    expect = dict(document.pop("expect", {}))
    messages = expect.pop("messages", None)
    instances = tuple(_instance(each) for each in document.pop("instance", []))
    scenario = Scenario(
        title=document.pop("title"),
        instances=instances,
        scale=float(settings.pop("scale", DEFAULT_SCALE)),
        seed=int(settings.pop("seed", 1)),
        minutes=float(settings.pop("minutes", DEFAULT_MINUTES)),
        sweep=bool(settings.pop("sweep", False)),
        parameters=document.pop("parameters", {}),
        physics=document.pop("physics", {}),
        faults=tuple(document.pop("fault", [])),
        expected={name: Expectation(**each) for name, each in expect.items()},
        messages=None if messages is None else tuple(messages),
        target_groups=tuple(TargetGroupSpec(**each) for each in document.pop("target_group", [])),
        auto_scaling_groups=tuple(
            AutoScalingGroupSpec(**_with_tuples(each))
            for each in document.pop("auto_scaling_group", [])
        ),
        documents=tuple(DocumentSpec(**each) for each in document.pop("document", [])),
    )
    _check_groups(scenario)
    known = {instance.name for instance in instances}
    if unknown := sorted([*document, *settings, *(scenario.expected.keys() - known)]):
        raise ValueError(f"unknown: {', '.join(unknown)}")
    return scenario


def _instance(row: dict[str, Any]) -> InstanceSpec:
    past = row.get("past")
    spec = InstanceSpec(**{**_with_tuples(row), "past": PastSpec(**past) if past else None})
    if spec.past and not _offsets(spec):
        raise ValueError(f"{spec.name} has a past, but nothing of it is ever due")
    return spec


def _with_tuples(row: dict[str, Any]) -> dict[str, Any]:
    """Return a table with tuples for its lists, so that what is read stays as it was read."""
    return {key: tuple(each) if isinstance(each, list) else each for key, each in row.items()}


def _check_groups(scenario: Scenario) -> None:
    """Raise ValueError for a group that is not described, or a member that does not run."""
    targets = {each.name for each in scenario.target_groups}
    scaling = {each.name for each in scenario.auto_scaling_groups}
    named = {name for each in scenario.auto_scaling_groups for name in each.target_groups}
    for spec in scenario.instances:
        named |= {name for name, _ in spec.registrations()}
        if spec.auto_scaling_group and spec.auto_scaling_group not in scaling:
            raise ValueError(f"{spec.name} is in {spec.auto_scaling_group}, which is no group")
        if spec.state != "running" and (spec.auto_scaling_group or spec.target_groups):
            raise ValueError(f"{spec.name} is in a group, but does not run")
    if unknown := sorted(named - targets):
        raise ValueError(f"no target group has the name {', '.join(unknown)}")


def filled(value: str, start: datetime) -> str:
    """Return a tag's value with its `{due+Nm}` and `{time+Nm}` filled in.

    They count from `start` and are rounded up to the full minute.
    """

    def moment(match: re.Match[str]) -> str:
        at = minute(start, int(match[2]))
        return (
            f"{at.minute} {at.hour} {at.day} {at.month} ? *" if match[1] == "due" else f"{at:%H:%M}"
        )

    return _DUE.sub(moment, value)


def minute(start: datetime, after: int) -> datetime:
    """The full minute at or after `after` minutes from `start`."""
    exact = start.astimezone(UTC) + timedelta(minutes=after)
    whole = exact.replace(second=0, microsecond=0)
    return whole if whole == exact else whole + timedelta(minutes=1)


def due(spec: InstanceSpec, start: datetime) -> datetime:
    """The first moment after `start` at which an instance is due. Raises ValueError if never."""
    return min(minute(start, offset) for offset in _offsets(spec))


def last_due(scenario: Scenario, start: datetime) -> datetime:
    """The latest moment at which anything of the fleet is due, or `start` if nothing is."""
    offsets = [offset for spec in scenario.instances for offset in _offsets(spec)]
    return max((minute(start, offset) for offset in offsets), default=start)


def _offsets(spec: InstanceSpec) -> list[int]:
    """The minutes after the start that an instance's tags name."""
    return [int(match[2]) for value in spec.tags.values() for match in _DUE.finditer(value)]
