"""Domain events, and the messages that tell people and machines of them."""

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from stillpoint.tags import iso, printable

SUBJECT_LIMIT = 99
"""Characters in an SNS subject: "less than 100" (SNS API Reference, Publish)."""
SIZE_LIMIT = 240_000
"""Bytes of the two forms, escaped; SNS takes 256 KiB in all (SNS API Reference, Publish)."""
_SHORTER = (1_000, 200, 50)
"""Characters left of every name and reason, by and by, in a message that is too long."""


class Severity(StrEnum):
    """How soon a person must look."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class EventName(StrEnum):
    """What happened, in the past tense. Each is one kind of message and one metric."""

    BACKUP_SUCCEEDED = "BackupSucceeded"
    BACKUP_FAILED = "BackupFailed"
    BACKUP_REFUSED = "BackupRefused"
    BACKUP_MISSED = "BackupMissed"
    POLICY_INVALID = "PolicyInvalid"
    INSTANCE_STRANDED = "InstanceStranded"
    INSTANCE_OUT_OF_SERVICE = "InstanceOutOfService"
    INSTANCE_RECOVERED = "InstanceRecovered"
    COPY_FAILED = "CopyFailed"
    COPY_SUCCEEDED = "CopySucceeded"
    SHARING_FAILED = "SharingFailed"
    PROTECTION_FAILED = "ProtectionFailed"
    PRUNING_HALTED = "PruningHalted"
    PRUNING_FAILED = "PruningFailed"
    LAST_POINT_EXPIRED = "LastPointExpired"
    RECOVERY_POINT_DAMAGED = "RecoveryPointDamaged"


SEVERITIES = {
    EventName.BACKUP_SUCCEEDED: Severity.INFO,
    EventName.BACKUP_FAILED: Severity.ERROR,
    EventName.BACKUP_REFUSED: Severity.WARNING,
    EventName.BACKUP_MISSED: Severity.ERROR,
    EventName.POLICY_INVALID: Severity.WARNING,
    EventName.INSTANCE_STRANDED: Severity.CRITICAL,
    EventName.INSTANCE_OUT_OF_SERVICE: Severity.CRITICAL,
    EventName.INSTANCE_RECOVERED: Severity.WARNING,
    EventName.COPY_FAILED: Severity.ERROR,
    EventName.COPY_SUCCEEDED: Severity.INFO,
    EventName.SHARING_FAILED: Severity.WARNING,
    EventName.PROTECTION_FAILED: Severity.WARNING,
    EventName.PRUNING_HALTED: Severity.ERROR,
    EventName.PRUNING_FAILED: Severity.WARNING,
    EventName.LAST_POINT_EXPIRED: Severity.INFO,
    EventName.RECOVERY_POINT_DAMAGED: Severity.ERROR,
}

_HEADLINES = {
    EventName.BACKUP_SUCCEEDED: "Backed up",
    EventName.BACKUP_FAILED: "The backup failed",
    EventName.BACKUP_REFUSED: "Not backed up: refused before anything was touched",
    EventName.BACKUP_MISSED: "Not backed up: the backup could not start in time",
    EventName.POLICY_INVALID: "Not backed up: its tags cannot be understood",
    EventName.INSTANCE_STRANDED: "DOWN: stopped for its backup and not starting again",
    EventName.INSTANCE_OUT_OF_SERVICE: "NOT IN SERVICE: running, but not put back after its backup",
    EventName.INSTANCE_RECOVERED: "Running again",
    EventName.COPY_FAILED: "Backed up, but not copied to another Region",
    EventName.COPY_SUCCEEDED: "Copied to another Region after all",
    EventName.SHARING_FAILED: "Backed up, but not shared with other accounts",
    EventName.PROTECTION_FAILED: "Backed up, but not protected against deletion",
    EventName.PRUNING_HALTED: "Nothing was deleted: more recovery points than usual have expired",
    EventName.PRUNING_FAILED: "Expired recovery points could not be deleted",
    EventName.RECOVERY_POINT_DAMAGED: "A recovery point has lost snapshots: it cannot be restored",
    EventName.LAST_POINT_EXPIRED: "The last recovery point was deleted: FinalRetention has passed",
}


_ABOUT_RECOVERY_POINTS = frozenset(
    {
        EventName.COPY_FAILED,
        EventName.COPY_SUCCEEDED,
        EventName.SHARING_FAILED,
        EventName.PROTECTION_FAILED,
        EventName.PRUNING_HALTED,
        EventName.PRUNING_FAILED,
        EventName.LAST_POINT_EXPIRED,
        EventName.RECOVERY_POINT_DAMAGED,
    }
)
"""The events that say nothing about an instance itself: nobody need wonder whether it is down."""


@dataclass(frozen=True, slots=True)
class InstanceReport:
    """What there is to say about one instance of an event.

    `state` is its EC2 state now, or an empty text if that is not known. `why` is one or more
    sentences. `downtime` is from the request to stop it until it was seen running. `warnings` are
    hazards that did not refuse the backup.
    """

    instance_id: str
    name: str
    state: str
    why: str
    image_id: str | None = None
    consistency: str | None = None
    downtime: timedelta | None = None
    warnings: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The name and the id, as far as there is a name."""
        return f"{printable(self.name)} ({self.instance_id})" if self.name else self.instance_id


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one backup, told once."""

    name: EventName
    at: datetime
    instances: tuple[InstanceReport, ...]
    remedy: str
    why: str = ""
    group: str | None = None
    occurrence: datetime | None = None
    execution_arn: str | None = None

    @property
    def severity(self) -> Severity:
        """How soon a person must look."""
        return SEVERITIES[self.name]


@dataclass(frozen=True, slots=True)
class Message:
    """What SNS is given: `text` for people, `body` for machines, and attributes to filter by."""

    subject: str
    text: str
    body: str
    attributes: dict[str, str]


def render(event: Event) -> Message:
    """Return the event as a message. Any text of the owner's is made harmless.

    In a message that would be too long, names and reasons are shortened; nothing is left out.
    """
    text, body = _text(event), _body(event)
    for limit in _SHORTER:
        if len(json.dumps([text, body])) > SIZE_LIMIT:
            shorter = _shortened(event, limit)
            text, body = _text(shorter), _body(shorter)
    return Message(
        subject=_subject(event),
        text=text,
        body=body,
        attributes={
            "event": event.name,
            "severity": event.severity,
            "instance_id": event.instances[0].instance_id if event.instances else "none",
            "group": event.group or "none",
        },
    )


def _subject(event: Event) -> str:
    """Return an ASCII subject: a Name tag in it must not be able to break an alert."""
    who = _who(event)
    text = f"[Stillpoint] {event.severity.upper()} {event.name}: {who}"
    plain = "".join(ch if " " <= ch <= "~" else "?" for ch in text)
    return plain if len(plain) <= SUBJECT_LIMIT else plain[: SUBJECT_LIMIT - 3] + "..."


def _who(event: Event) -> str:
    if event.group is not None:
        return f"group {event.group}, {len(event.instances)} instances"
    if not event.instances:
        return "no instance in particular"
    first, *others = event.instances
    return first.label + (f" and {len(others)} more" if others else "")


def _shortened(event: Event, limit: int) -> Event:
    return replace(
        event,
        why=_cut(event.why, limit),
        instances=tuple(
            replace(
                report,
                name=_cut(report.name, limit),
                why=_cut(report.why, limit),
                warnings=tuple(_cut(warning, limit) for warning in report.warnings),
            )
            for report in event.instances
        ),
    )


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _text(event: Event) -> str:
    lines = [f"{_HEADLINES[event.name]}: {_who(event)}"]
    if event.why:
        lines += ["", f"Why: {event.why}"]
    for report in event.instances:
        lines += ["", report.label, *_facts(report, event)]
    lines += ["", f"What to do: {event.remedy}", ""]
    if event.occurrence is not None:
        lines.append(f"Occurrence: {iso(event.occurrence)}")
    lines.append(f"Reported:   {iso(event.at)}")
    if event.execution_arn is not None:
        lines.append(f"Execution:  {event.execution_arn}")
    return "\n".join(lines)


def _facts(report: InstanceReport, event: Event) -> list[str]:
    facts = []
    if report.state or event.name not in _ABOUT_RECOVERY_POINTS:
        facts.append(f"  state now:      {report.state or 'not known'}")
    if report.why:
        facts.append(f"  why:            {report.why}")
    if report.image_id is not None:
        facts.append(f"  recovery point: {report.image_id}")
        facts.append(f"  consistency:    {report.consistency or 'none proven, do not rely on it'}")
    if report.downtime is not None:
        facts.append(f"  downtime:       {report.downtime.total_seconds():.0f} s")
    facts += [f"  good to know:   {warning}" for warning in report.warnings]
    return facts


def _body(event: Event) -> str:
    body: dict[str, Any] = {
        "event": event.name,
        "severity": event.severity,
        "at": iso(event.at),
        "group": event.group,
        "occurrence": iso(event.occurrence) if event.occurrence else None,
        "execution_arn": event.execution_arn,
        "why": event.why,
        "remedy": event.remedy,
        "instances": [
            {
                "instance_id": report.instance_id,
                "name": report.name,
                "state": report.state,
                "why": report.why,
                "image_id": report.image_id,
                "consistency": report.consistency,
                "downtime_seconds": report.downtime.total_seconds() if report.downtime else None,
                "warnings": list(report.warnings),
            }
            for report in event.instances
        ],
    }
    return json.dumps(body)
