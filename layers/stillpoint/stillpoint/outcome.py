"""What became of a backup: the state machine's record, judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from stillpoint.errors import MalformedInput
from stillpoint.freeze import FreezeProof, prove
from stillpoint.policy import Method
from stillpoint.recovery_point import NO_SCRIPTS, ScriptOutcome


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that went wrong in a phase; `instance_id` is None if it concerns the group."""

    phase: str
    error: str
    cause: str
    instance_id: str | None = None

    @property
    def sentence(self) -> str:
        """What went wrong, in words."""
        return f"{self.phase} failed with {self.error}: {self.cause}"


@dataclass(frozen=True, slots=True)
class Member:
    """One instance of the backup, as far as its execution got with it.

    `volumes` is the number of EBS volumes that were attached to it at rest, each of which the
    state machine saw a snapshot of; `captured_at` is None if it did not come so far. `copy_to`
    are the Regions to copy to, `time_zone` is where the days of the retention begin,
    or empty if the input does not say it. `freeze` is None if it was not frozen for the capture.
    """

    instance_id: str
    name: str
    method: Method
    state_before: str
    retain: str
    volumes: int
    captured_at: datetime | None
    stop_requested_at: datetime | None
    stopped_at: datetime | None
    running_at: datetime | None
    copy_to: tuple[str, ...] = ()
    time_zone: str = ""
    freeze: FreezeProof | None = None
    scripts: ScriptOutcome = NO_SCRIPTS

    @property
    def was_stopped(self) -> bool:
        """Whether the backup asked EC2 to stop it, and so had to start it again."""
        return self.method is Method.STOP and self.state_before == "running"

    @property
    def downtime(self) -> timedelta | None:
        """From the request to stop it until it was seen running, if both happened."""
        if self.stop_requested_at is None or self.running_at is None:
            return None
        return self.running_at - self.stop_requested_at


@dataclass(frozen=True, slots=True)
class Record:
    """What the state machine hands to `complete_backup`."""

    execution: str
    execution_arn: str
    group: str | None
    occurrence: datetime
    attempt: int
    schedule: str
    members: tuple[Member, ...]
    refusals: tuple[Mapping[str, Any], ...]
    warnings: tuple[Mapping[str, Any], ...]
    failures: tuple[Failure, ...]
    gone: tuple[str, ...]
    capture_from: datetime
    checks: int

    def warnings_of(self, instance_id: str) -> tuple[str, ...]:
        """Return what Prepare found of an instance that did not refuse the backup, in words."""
        rows = (row for row in self.warnings if row["instance_id"] == instance_id)
        return tuple(f"{row['reason']} {row['remedy']}" for row in rows)

    @classmethod
    def parse(cls, event: Mapping[str, Any]) -> Self:
        """Return the record in a state machine's payload, or raise MalformedInput."""
        try:
            return cls._parse(event)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MalformedInput(
                f"complete_backup was given a record that it cannot read: {error!r}"
            ) from error

    @classmethod
    def _parse(cls, event: Mapping[str, Any]) -> Self:
        backup = event["backup"]
        captures = _by_instance(event["captures"])
        stops = _by_instance(event["stops"])
        planned = _by_instance(backup["members"])
        # An execution that an earlier version of the state machine runs has neither.
        freezes = _by_instance(event.get("freezes", ()))
        rejoins: Mapping[str, Any] = event.get("rejoins", {})
        return cls(
            execution=event["execution"],
            execution_arn=event["execution_arn"],
            group=backup["group"],
            occurrence=datetime.fromisoformat(backup["occurrence"]),
            attempt=int(backup.get("attempt", 1)),
            schedule=backup["schedule"],
            members=tuple(
                Member(
                    instance_id=member["instance_id"],
                    name=member.get("name", ""),
                    method=Method(member["method"]),
                    state_before=member.get("state_before", ""),
                    retain=planned[member["instance_id"]]["retain"],
                    volumes=captures.get(member["instance_id"], {}).get("volumes", 0),
                    captured_at=_moment(captures.get(member["instance_id"]), "captured_at"),
                    stop_requested_at=_moment(stops.get(member["instance_id"]), "requested_at"),
                    stopped_at=_moment(event["stopped_at"], member["instance_id"]),
                    running_at=_moment(event["running_at"], member["instance_id"]),
                    # An execution that an earlier version of the planner started has neither.
                    copy_to=tuple(planned[member["instance_id"]].get("copy_to", ())),
                    time_zone=planned[member["instance_id"]].get("time_zone", ""),
                    freeze=_freeze_of(member, freezes, rejoins),
                    scripts=_scripts_of(member, rejoins),
                )
                for member in event["members"]
            ),
            refusals=tuple(event["refusals"]),
            # An execution that an earlier version of the state machine runs has none.
            warnings=tuple(event.get("warnings", ())),
            failures=tuple(
                Failure(
                    failure["phase"],
                    failure["error"],
                    failure["cause"],
                    failure.get("instance_id"),
                )
                for failure in event["failures"]
            ),
            gone=tuple(event["gone"]),
            capture_from=datetime.fromisoformat(event["capture_from"]),
            checks=int(event["checks"]),
        )


def wait_before_next_check(since_capture: timedelta) -> int:
    """Return the seconds until the next look at pending AMIs: as long again, 2 to 30 minutes.

    Nothing is down meanwhile, and each look is billed.
    """
    return int(min(1800, max(120, since_capture.total_seconds())))


def _by_instance(rows: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {row["instance_id"]: row for row in rows}


def _freeze_of(
    member: Mapping[str, Any],
    freezes: Mapping[str, Mapping[str, Any]],
    rejoins: Mapping[str, Any],
) -> FreezeProof | None:
    if member["method"] != Method.FREEZE:
        return None
    instance_id = member["instance_id"]
    return prove(freezes.get(instance_id), rejoins.get("thaws", {}).get(instance_id))


def _scripts_of(member: Mapping[str, Any], rejoins: Mapping[str, Any]) -> ScriptOutcome:
    row = rejoins.get("scripts", {}).get(member["instance_id"])
    return ScriptOutcome(row["pre"], row["post"], row["post_exit"]) if row else NO_SCRIPTS


def _moment(row: Mapping[str, Any] | None, key: str) -> datetime | None:
    text = (row or {}).get(key)
    return datetime.fromisoformat(text) if text else None
