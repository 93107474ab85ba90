"""Planning: which groups are due and may start now, and how everyone else stands.

The same instances at the same time give the same plan, whoever asks and however often. A plan
made again before its effects are visible names the same executions, and StartExecution takes a
name only once; a plan made after them starts nothing twice, because of the cursors.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import assert_never

from stillpoint.admission import Admissions, Candidate, admit
from stillpoint.grouping import Group, Subject, form_groups, survey
from stillpoint.instance import Instance
from stillpoint.plan import (
    ON_DEMAND_SCHEDULE,
    Backup,
    Limits,
    Member,
    Missed,
    Plan,
    Refusal,
    Status,
    Trigger,
    Verdict,
)
from stillpoint.standing import Standing, in_backup_reason, stand
from stillpoint.tags import LastRecoveryPoint, Tag, iso, portable

__all__ = [
    "Backup",
    "Limits",
    "Member",
    "Missed",
    "Plan",
    "Refusal",
    "Status",
    "Trigger",
    "Verdict",
    "make_plan",
]

OVERDUE_AFTER = timedelta(minutes=60)
PROBLEM_PREFIX = "policy:"
"""What the values of `stillpoint:problem` that planning writes, and only those, begin with."""


def make_plan(
    instances: Iterable[Instance],
    *,
    now: datetime,
    limits: Limits,
    backup_now: Collection[str] | None = None,
    scheduled_at: datetime | None = None,
) -> Plan:
    """Return the plan for an instant.

    `instances` are all that carry a schedule, are in a backup or have anti-affinity peers. With
    `backup_now`, the groups of those instance ids are started at once, within the same limits, and
    nothing else is: no scheduled backup, no enrolment, no problem; each id that cannot start gets
    a refusal. `scheduled_at` is when the tick that asks was to come, if that is known.
    """
    now = now.astimezone(UTC).replace(microsecond=0)
    subjects = survey(instances, limits.defaults, now)
    standings = [stand(group, now, limits) for group in form_groups(subjects)]
    by_instance = {s.instance_id: one for one in standings for s in one.group.subjects}
    due = [standing.candidate for standing in standings if standing.candidate]
    if backup_now is None:
        admissions = admit(due, subjects, limits, now)
    else:
        candidates = _requested(by_instance, backup_now, now)
        asked_for = {candidate.group.group_id for candidate in candidates}
        others = [one.group for one in due if one.group.group_id not in asked_for]
        admissions = admit(candidates, subjects, limits, now, about_to_begin=others)
    # Those with peers go first: from now on until they are down, a peer could be stopped, too.
    admitted = sorted(admissions.admitted.values(), key=lambda each: not _has_peers(each.group))
    moments = limits.pace.beginnings(
        (len(candidate.group.subjects) for candidate in admitted),
        now=now,
        scheduled_at=scheduled_at or now,
    )
    backups = tuple(_backup(*each) for each in zip(admitted, moments, strict=True))
    verdicts = tuple(
        _verdict(subject, by_instance.get(subject.instance_id), admissions, now)
        for subject in subjects
        if subject.policy is not None or subject.in_backup or subject.gone
    )
    if backup_now is not None:
        refusals = _refusals(backup_now, by_instance, admissions, verdicts)
        return Plan(backups, {}, {}, (), (), refusals, verdicts)
    problems = {
        instance_id: _problem_value(problem)
        for standing in standings
        for instance_id, problem in standing.problems.items()
    }
    return Plan(
        backups=backups,
        cursors={key: c for standing in standings for key, c in standing.cursors.items()},
        problems=_changed(problems, subjects),
        problems_cleared=_cleared(problems, subjects),
        missed=tuple(standing.missed for standing in standings if standing.missed),
        refusals=(),
        verdicts=verdicts,
    )


def _has_peers(group: Group) -> bool:
    return any(subject.anti_affinity is not None for subject in group.subjects)


def _problem_value(problem: str) -> str:
    """Return the value of the problem tag, with punctuation that a tag can hold."""
    plain = problem.replace(", ", " - ").translate(str.maketrans("()", "  ", "'"))
    return portable(f"{PROBLEM_PREFIX} {' '.join(plain.split())}")


def _changed(problems: Mapping[str, str], subjects: Iterable[Subject]) -> dict[str, str]:
    """Return the problems that are not yet on their instances."""
    present = {s.instance_id: s.instance.tags.get(Tag.PROBLEM) for s in subjects}
    return {key: value for key, value in problems.items() if present[key] != value}


def _cleared(problems: Mapping[str, str], subjects: Iterable[Subject]) -> tuple[str, ...]:
    """Return the instances whose tag speaks of a policy that is valid now."""
    return tuple(
        subject.instance_id
        for subject in subjects
        if subject.instance.tags.get(Tag.PROBLEM, "").startswith(PROBLEM_PREFIX)
        and subject.instance_id not in problems
        and not subject.gone
    )


def _requested(
    by_instance: Mapping[str, Standing], backup_now: Collection[str], now: datetime
) -> list[Candidate]:
    """Return one candidate for each group that was asked for and that nothing keeps back."""
    occurrence = now.replace(second=0)
    groups = {
        by_instance[instance_id].group.group_id: by_instance[instance_id].group
        for instance_id in backup_now
        if instance_id in by_instance and not _keeps_back(by_instance[instance_id].status)
    }
    return [
        Candidate(group, occurrence, ON_DEMAND_SCHEDULE, Trigger.ON_DEMAND)
        for group in groups.values()
    ]


def _keeps_back(status: Status) -> bool:
    """Return whether a status of a standing forbids a backup that was asked for."""
    match status:
        case Status.INVALID | Status.HELD | Status.IN_BACKUP | Status.GONE:
            return True
        case Status.IDLE | Status.WAITING | Status.MISSED | Status.STARTING:
            return False
        case _:
            assert_never(status)


def _refusals(
    backup_now: Collection[str],
    by_instance: Mapping[str, Standing],
    admissions: Admissions,
    verdicts: Iterable[Verdict],
) -> tuple[Refusal, ...]:
    """Return why each instance that was asked for and does not start is not started."""
    seen = {verdict.instance_id: verdict for verdict in verdicts}
    refusals = []
    for instance_id in sorted(set(backup_now)):
        standing = by_instance.get(instance_id)
        if standing is not None and standing.group.group_id in admissions.admitted:
            continue
        verdict = seen.get(instance_id)
        reason = verdict.reason if verdict else f"no instance of this id has the tag {Tag.SCHEDULE}"
        refusals.append(Refusal(instance_id, reason))
    return tuple(refusals)


def _backup(candidate: Candidate, begins_at: datetime) -> Backup:
    members = [
        Member(
            instance_id=subject.instance_id,
            name=subject.instance.name,
            method=policy.method,
            order=policy.order,
            retain=policy.retain,
            accept=tuple(sorted(policy.accept)),
            copy_to=policy.copy_to,
            time_zone=policy.time_zone,
            pre=policy.pre,
            post=policy.post,
        )
        for subject, policy in zip(candidate.group.subjects, candidate.group.policies, strict=True)
    ]
    return Backup(
        group_id=candidate.group.group_id,
        group=candidate.group.name,
        occurrence=candidate.occurrence,
        schedule=candidate.schedule,
        trigger=candidate.trigger,
        members=tuple(sorted(members, key=lambda member: (member.order, member.instance_id))),
        begins_at=begins_at,
        attempt=candidate.attempt,
    )


def _verdict(
    subject: Subject, standing: Standing | None, admissions: Admissions, now: datetime
) -> Verdict:
    status, reason = _status(subject, standing, admissions)
    due = standing.due if standing else None
    return Verdict(
        instance_id=subject.instance_id,
        name=subject.instance.name,
        status=status,
        reason=reason,
        next_occurrence=standing.next_occurrence if standing else None,
        overdue=due is not None and status is not Status.STARTING and now - due > OVERDUE_AFTER,
        recovery_point_at=_recovery_point_at(subject),
    )


def _status(
    subject: Subject, standing: Standing | None, admissions: Admissions
) -> tuple[Status, str]:
    """Return the status of one instance, and the reason for it."""
    if subject.gone:
        return Status.GONE, f"it is {subject.instance.state}"
    if subject.in_backup or standing is None:
        return Status.IN_BACKUP, in_backup_reason(subject)
    problem = standing.problems.get(subject.instance_id)
    if problem is not None:
        return Status.INVALID, problem
    group_id = standing.group.group_id
    if group_id in admissions.admitted:
        occurrence = admissions.admitted[group_id].occurrence
        return Status.STARTING, f"starts now, for {iso(occurrence)}"
    if group_id in admissions.waiting:
        return Status.WAITING, admissions.waiting[group_id]
    return standing.status, standing.reason


def _recovery_point_at(subject: Subject) -> datetime | None:
    point = LastRecoveryPoint.parse(subject.instance.tags.get(Tag.RECOVERY_POINT, ""))
    return point.captured_at if point else None
