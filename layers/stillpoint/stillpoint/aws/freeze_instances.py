"""Freezing running instances for a capture, and reading how their freezes ended.

A guest freezes and thaws itself: what is sent is a command of Systems Manager, known by its
comment. A Linux guest runs the stack's own document; a Windows guest runs AWS's VSS document, which
makes the image itself.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self

from stillpoint.aws import scripts
from stillpoint.aws.client import client, translated
from stillpoint.aws.settings import FreezeSettings, RejoinSettings
from stillpoint.aws.telemetry import logger
from stillpoint.errors import AwsRefused, MalformedInput, StillpointError
from stillpoint.freeze import AUTO_THAWED, FreezeAnswer, FreezeWindow, number, read_answer
from stillpoint.isolation import DONE, Progress
from stillpoint.scripts import ScriptResult, Status, comment_of, last_lines

LATER_THAN_THE_HOLD = timedelta(seconds=30)
"""How much later than the end of the hold a guest thaws itself, whatever has become of it."""
PATIENCE = timedelta(seconds=60)
"""How long guests may take until they have answered; Systems Manager delivers within seconds."""
SETTLING = timedelta(seconds=2)
"""What a guest may need to freeze the last file system; and StartTimes may be cut to the second."""
LEAST_LEFT = timedelta(seconds=5)
"""What must be left of every freeze for the snapshots to be initiated."""

STILL_FROZEN = "StillFrozen"
"""The name of the failure of a guest that could not be thawed: whatever writes in it hangs."""

_DELIVERY_SECONDS = 30
_THAW_DELIVERY_SECONDS = 300
"""The agent of a guest whose root is frozen hears of the thaw when the freeze is over: after 150 s
at most."""
_LOOK_AGAIN_SECONDS = 1.0
_VSS_SECONDS = "600"

type Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class _Guest:
    """A member to freeze, as Prepare describes it."""

    instance_id: str
    is_windows: bool
    image_name: str
    description: str
    tags: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Self:
        return cls(
            instance_id=row["instance_id"],
            is_windows=row["platform"] == "windows",
            image_name=row["image_name"],
            description=row["description"],
            tags=tuple((tag["Key"], tag["Value"]) for tag in row["tags"]),
        )


@dataclass(frozen=True, slots=True)
class _Freeze:
    """A freeze that was asked for; `failure` says in words why it cannot be relied on."""

    guest: _Guest
    command_id: str = ""
    sent_at: datetime | None = None
    seen_at: datetime | None = None
    answer: FreezeAnswer | None = None
    failure: str = ""

    @property
    def is_open(self) -> bool:
        """Whether its guest has yet to answer."""
        return self.answer is None and not self.failure and not self.guest.is_windows

    @property
    def window(self) -> FreezeWindow | None:
        """From when to when the guest is going to be frozen, in AWS's time."""
        if self.answer is None or self.sent_at is None or self.seen_at is None:
            return None
        answer = self.answer
        return FreezeWindow.between(
            self.sent_at, self.seen_at, now=answer.now, begin=answer.begin, end=answer.end
        )

    def row(self) -> dict[str, Any]:
        """Return what the state machine's record holds of it."""
        row: dict[str, Any] = {
            "instance_id": self.guest.instance_id,
            "command_id": self.command_id,
            "vss": self.guest.is_windows,
        }
        if self.answer is None or self.sent_at is None or self.seen_at is None:
            return row
        return row | {
            "sent_at": self.sent_at.isoformat(),
            "seen_at": self.seen_at.isoformat(),
            "guest_now": self.answer.now,
            "from": self.answer.begin,
            "until": self.answer.end,
        }


def freeze_instances(
    event: Mapping[str, Any], settings: FreezeSettings, clock: Clock
) -> dict[str, Any]:
    """Freeze the members, and return when all of them are frozen: `freezes` and `failures`.

    It takes up to a minute and a half. Called again it adopts the commands that were sent, and
    fails a member whose freeze is nearly over by then. What was frozen although a member failed is
    among `freezes`, so that it can be thawed; it thaws itself in any case. Windows guests are asked
    only: they make their images themselves. Raises AwsUnavailable if Systems Manager does not
    answer.
    """
    try:
        execution: str = event["execution"]
        guests = [_Guest.read(row) for row in event["members"]]
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedInput(
            f"freeze_instances was given members that it cannot read: {error!r}"
        ) from error
    freezing = _Freezing(execution, settings, clock)
    freezes = freezing.establish([freezing.send(guest) for guest in guests])
    return {
        "freezes": [freeze.row() for freeze in freezes if freeze.answer or _is_asked(freeze)],
        "failures": [
            {
                "phase": "capture",
                "instance_id": freeze.guest.instance_id,
                "error": "FreezeFailed",
                "cause": freeze.failure[:1000],
            }
            for freeze in freezes
            if freeze.failure
        ],
    }


def read_thaw(
    instance_id: str, execution: str, freeze: Mapping[str, Any], settings: RejoinSettings
) -> tuple[Progress, dict[str, Any]]:
    """Return whether a freeze has ended, and what is known of its end.

    The thaw is asked for if nobody has. Systems Manager ends a command that does not end, so this
    waits for no longer than it allows. The row has `exit_code`, `from`, `until`, `now`, `by` and
    `failed`, or `vss`: how AWS's document ended.
    """
    if freeze.get("vss"):
        result = scripts.look(freeze["command_id"], instance_id)
        if result.status is Status.RUNNING:
            return Progress(waiting="the VSS document of AWS runs"), {}
        return DONE, {"vss": "Success" if result.status is Status.SUCCEEDED else "Failed"}
    try:
        result = scripts.look(_ask_for_thaw(instance_id, execution, settings), instance_id)
    except AwsRefused as error:
        return Progress(failure=f"The thaw was refused: {error}", error="ThawFailed"), {}
    if result.status is Status.RUNNING:
        return Progress(waiting="its thaw is not reported yet"), {}
    answer = read_answer(result.output)
    code = result.exit_code if result.exit_code is not None and result.exit_code >= 0 else None
    row = {
        "exit_code": code,
        "from": number(answer.get("from")),
        "until": number(answer.get("until")),
        "now": number(answer.get("now")),
        "by": str(answer.get("by", "")),
        "failed": _told(answer.get("failed")),
    }
    if code == AUTO_THAWED and not answer:
        return Progress(failure=result.sentence, error=STILL_FROZEN), row
    return DONE, row


class _Freezing:
    """The freezes of one execution."""

    def __init__(self, execution: str, settings: FreezeSettings, clock: Clock) -> None:
        self._execution = execution
        self._comment = comment_of(execution, "freeze")
        self._settings = settings
        self._clock = clock

    def send(self, guest: _Guest) -> _Freeze:
        """Ask a guest to freeze, unless it has been asked."""
        # The first call makes the client, which takes a while: it would count as doubt about when
        # the guest's clock was read.
        scripts.find_command(guest.instance_id, self._settings.freeze_document, self._comment)
        sent_at = self._clock()
        try:
            if guest.is_windows:
                return _Freeze(guest, self._send_vss(guest))
            command_id = scripts.send(
                guest.instance_id,
                self._settings.freeze_document,
                self._comment,
                self._parameters(),
                delivery_seconds=_DELIVERY_SECONDS,
            )
        except AwsRefused as error:
            return _Freeze(guest, failure=f"It cannot be asked to freeze: {error}")
        return _Freeze(guest, command_id, sent_at)

    def establish(self, freezes: Sequence[_Freeze]) -> list[_Freeze]:
        """Wait until all are frozen, or one of them cannot be."""
        deadline = self._clock() + PATIENCE
        current = [self._look(freeze) for freeze in freezes]
        while _is_undecided(current) and self._clock() < deadline:
            time.sleep(_LOOK_AGAIN_SECONDS)
            current = [self._look(freeze) for freeze in current]
        current = [self._give_up(freeze) if freeze.is_open else freeze for freeze in current]
        windows = [freeze.window for freeze in current if freeze.window is not None]
        if windows and not any(freeze.failure for freeze in current):
            wait = max(window.begin for window in windows) + SETTLING - self._clock()
            time.sleep(max(0.0, wait.total_seconds()))
        now = self._clock()
        return [_checked(freeze, now) for freeze in current]

    def _parameters(self) -> dict[str, list[str]]:
        hold = self._settings.freeze_hold
        thaw = hold + LATER_THAN_THE_HOLD
        return {
            "executionId": [self._execution],
            "command": ["freeze"],
            "holdSeconds": [f"{hold.total_seconds():.0f}"],
            "thawSeconds": [f"{thaw.total_seconds():.0f}"],
        }

    def _send_vss(self, guest: _Guest) -> str:
        """Let a Windows guest make its image itself, by AWS's document.

        A copy-only backup leaves the chain of SQL Server's own differential backups as it is (EC2
        User Guide, "Use Systems Manager command documents to create VSS based snapshots").
        """
        return scripts.send(
            guest.instance_id,
            scripts.VSS_DOCUMENT,
            self._comment,
            {
                "CreateAmi": ["True"],
                "AmiName": [guest.image_name],
                "description": [guest.description],
                "CopyOnly": ["True"],
                "ExcludeBootVolume": ["False"],
                "executionTimeout": [_VSS_SECONDS],
                "tags": [";".join(f"Key={key},Value={value}" for key, value in guest.tags)],
            },
        )

    def _look(self, freeze: _Freeze) -> _Freeze:
        """Look whether a guest has answered."""
        if not freeze.is_open:
            return freeze
        result = scripts.look(freeze.command_id, freeze.guest.instance_id)
        match result.status:
            case Status.SUCCEEDED:
                return self._answered(freeze, result)
            case Status.FAILED:
                return self._failed(freeze, result)
            case _:
                return freeze

    def _answered(self, freeze: _Freeze, result: ScriptResult) -> _Freeze:
        answer = FreezeAnswer.parse(result.output)
        if answer is None:
            return replace(freeze, failure="What the guest said of its freeze cannot be read.")
        # A command that was adopted was sent earlier, and Systems Manager knows when.
        moments = [freeze.sent_at or self._clock(), *_requested_at(freeze.command_id)]
        return replace(freeze, sent_at=min(moments), seen_at=self._clock(), answer=answer)

    def _failed(self, freeze: _Freeze, result: ScriptResult) -> _Freeze:
        """Say why; but if the call was repeated on its way, it is the first command that counts."""
        first = scripts.find_command(
            freeze.guest.instance_id, self._settings.freeze_document, self._comment
        )
        if first is not None and first != freeze.command_id:
            return self._look(replace(freeze, command_id=first))
        said = last_lines(result.error_output or result.output) or result.detail
        code = "" if result.exit_code is None else f" (exit code {result.exit_code})"
        failure = f"The guest cannot freeze{code}: {said}. Command: {freeze.command_id}."
        return replace(freeze, failure=failure)

    def _give_up(self, freeze: _Freeze) -> _Freeze:
        """Call a command off that was not answered: the guest would freeze for nothing."""
        try:
            with translated(f"cancelling the command {freeze.command_id}"):
                client("ssm").cancel_command(
                    CommandId=freeze.command_id, InstanceIds=[freeze.guest.instance_id]
                )
        except StillpointError:  # then it thaws itself again
            logger.exception("A freeze could not be called off")
        waited = f"{PATIENCE.total_seconds():.0f} s"
        return replace(
            freeze,
            failure=f"Its agent did not report a freeze within {waited} (command"
            f" {freeze.command_id}).",
        )


def _checked(freeze: _Freeze, now: datetime) -> _Freeze:
    """Fail a freeze of which too little is left, because it was asked for long ago."""
    if freeze.window is None or freeze.failure or freeze.window.end - now >= LEAST_LEFT:
        return freeze
    left = max(0.0, (freeze.window.end - now).total_seconds())
    return replace(
        freeze,
        failure=f"Only {left:.0f} s of its freeze were certainly left when all were frozen.",
    )


def _is_undecided(freezes: Iterable[_Freeze]) -> bool:
    """Return whether somebody has yet to answer, and nobody has failed."""
    every = list(freezes)
    return any(each.is_open for each in every) and not any(each.failure for each in every)


def _is_asked(freeze: _Freeze) -> bool:
    return freeze.guest.is_windows and not freeze.failure


def _requested_at(command_id: str) -> list[datetime]:
    with translated(f"reading the command {command_id}"):
        rows = client("ssm").list_commands(CommandId=command_id)["Commands"]
    return [row["RequestedDateTime"] for row in rows]


def _ask_for_thaw(instance_id: str, execution: str, settings: RejoinSettings) -> str:
    """Return the id of the command that asks for the thaw; a repeated call sends none."""
    return scripts.send(
        instance_id,
        settings.freeze_document,
        comment_of(execution, "thaw"),
        {"executionId": [execution], "command": ["thaw"]},
        delivery_seconds=_THAW_DELIVERY_SECONDS,
    )


def _told(failed: object) -> list[str]:
    return [str(each)[:100] for each in failed[:3]] if isinstance(failed, list) else []
