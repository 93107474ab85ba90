"""Consistency groups: which instances are backed up as one, and when they cannot be."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from stillpoint.instance import Instance
from stillpoint.policy import BackupPolicy, InvalidPolicy, PolicyDefaults, parse_policy
from stillpoint.schedule import Schedule
from stillpoint.tags import Cursor, Tag, printable

MOST_MEMBERS = 40
"""The largest consistency group: the members of one run side by side in one execution."""

_GONE = frozenset({"terminated", "shutting-down"})
_CLOCK_SKEW = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Subject:
    """An instance and what its tags mean.

    `policy` is None for an instance without a schedule, which is only here because a backup is
    in charge of it. `cursor` is None unless it belongs to the policy's present schedules.
    """

    instance: Instance
    policy: BackupPolicy | InvalidPolicy | None
    cursor: Cursor | None

    @property
    def instance_id(self) -> str:
        """The instance's id."""
        return self.instance.instance_id

    @property
    def gone(self) -> bool:
        """Whether the instance is terminated, or about to be."""
        return self.instance.state in _GONE

    @property
    def in_backup(self) -> bool:
        """Whether an execution is in charge of the instance, even if its tag is unreadable."""
        return Tag.CYCLE in self.instance.tags

    @property
    def anti_affinity(self) -> str | None:
        """The name in the anti-affinity tag, which counts even if the policy is invalid."""
        return self.instance.tags.get(Tag.ANTI_AFFINITY, "").strip() or None

    @property
    def label(self) -> str:
        """The id, and the name if there is one, for messages."""
        name = printable(self.instance.name)
        return f"{self.instance_id} ({name})" if name else self.instance_id


@dataclass(frozen=True, slots=True)
class Group:
    """A consistency group: `name` is None for a lone instance. Members are sorted by id."""

    group_id: str
    name: str | None
    subjects: tuple[Subject, ...]

    @property
    def policies(self) -> tuple[BackupPolicy, ...]:
        """The valid policies of the members: one of each member unless the group has problems."""
        return tuple(s.policy for s in self.subjects if isinstance(s.policy, BackupPolicy))

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """The schedules on which the members agree."""
        return self.policies[0].schedules

    def __str__(self) -> str:
        return self.group_id if self.name is None else f"group {self.name}"


def survey(
    instances: Iterable[Instance], defaults: PolicyDefaults, now: datetime
) -> tuple[Subject, ...]:
    """Return what the tags of each instance mean, sorted by instance id."""
    unique: dict[str, Instance] = {}
    for instance in sorted(instances, key=_freshness):
        unique[instance.instance_id] = instance
    return tuple(_read(unique[instance_id], defaults, now) for instance_id in sorted(unique))


def form_groups(subjects: Iterable[Subject]) -> tuple[Group, ...]:
    """Return the groups of all subjects that have a schedule and exist, sorted by group id."""
    lone: list[Group] = []
    named: dict[str, list[Subject]] = defaultdict(list)
    for subject in subjects:
        if subject.policy is None or subject.gone:
            continue
        if subject.policy.group is None:
            lone.append(Group(subject.instance_id, None, (subject,)))
        else:
            named[subject.policy.group].append(subject)
    groups = [Group(f"group-{name}", name, tuple(members)) for name, members in named.items()]
    return tuple(sorted([*lone, *groups], key=lambda group: group.group_id))


def group_problems(group: Group, max_concurrent: int) -> Mapping[str, str]:
    """Return why the group cannot be backed up, in words, by instance id; empty if it can be.

    One invalid member refuses its whole group: the others must not be backed up without it,
    for that would not be what their owner asked for.
    """
    own = {
        subject.instance_id: ". ".join(subject.policy.problems)
        for subject in group.subjects
        if isinstance(subject.policy, InvalidPolicy)
    }
    shared = _shared_problem(group, max_concurrent)
    if shared is None:
        return own
    return {subject.instance_id: shared for subject in group.subjects} | own


def _shared_problem(group: Group, max_concurrent: int) -> str | None:
    """Return the first problem that concerns every member of a named group."""
    if group.name is None:
        return None
    refused = f"{group} is not backed up"
    for subject in group.subjects:
        if isinstance(subject.policy, InvalidPolicy):
            return f"{refused} because the policy of {subject.label} is invalid"
    most = min(MOST_MEMBERS, max_concurrent)
    if len(group.subjects) > most:
        return (
            f"{refused} because it has {len(group.subjects)} members "
            f"and at most {most} instances may be backed up at a time"
        )
    return _disagreement(group, refused) or _rivalry(group, refused)


def _disagreement(group: Group, refused: str) -> str | None:
    first = group.subjects[0]
    for subject, policy in zip(group.subjects, group.policies, strict=True):
        if policy.fingerprint != group.policies[0].fingerprint:
            return f"{refused} because {first.label} and {subject.label} have different schedules"
    return None


def _rivalry(group: Group, refused: str) -> str | None:
    seen: dict[str, Subject] = {}
    for subject in group.subjects:
        name = subject.anti_affinity
        if name in seen:
            return (
                f"{refused} because {seen[name].label} and {subject.label} "
                f"may never be down together, by their anti-affinity {name}"
            )
        if name is not None:
            seen[name] = subject
    return None


def _freshness(instance: Instance) -> tuple[bool, str, str]:
    """Order two sightings of one instance: the one that knows of a backup comes last and wins."""
    tags = instance.tags
    return (Tag.CYCLE in tags, tags.get(Tag.LAST, ""), instance.state)


def _read(instance: Instance, defaults: PolicyDefaults, now: datetime) -> Subject:
    if Tag.SCHEDULE not in instance.tags:
        return Subject(instance, None, None)
    policy = parse_policy(instance.tags, defaults)
    cursor = Cursor.parse(instance.tags.get(Tag.LAST, ""))
    usable = (
        cursor is not None
        and isinstance(policy, BackupPolicy)
        and cursor.fingerprint == policy.fingerprint
        and cursor.occurrence <= now + _CLOCK_SKEW
    )
    return Subject(instance, policy, cursor if usable else None)
