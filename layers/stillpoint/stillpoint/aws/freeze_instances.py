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
from stillpoint.aws.commands import Commands, cancel
from stillpoint.aws.once import Once
from stillpoint.aws.settings import FreezeSettings, RejoinSettings
from stillpoint.aws.telemetry import logger
from stillpoint.errors import AwsRefused, MalformedInput, StillpointError
from stillpoint.freeze import AUTO_THAWED, FreezeAnswer, FreezeWindow, number, read_answer
from stillpoint.isolation import DONE, LONGEST_CAUSE, Progress
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
    freezes = freezing.establish(freezing.send(guests))
    return {
        "freezes": [freeze.row() for freeze in freezes if freeze.answer or _is_asked(freeze)],
        "failures": [
            {
                "phase": "capture",
                "instance_id": freeze.guest.instance_id,
                "error": "FreezeFailed",
                "cause": freeze.failure[:LONGEST_CAUSE],
            }
            for freeze in freezes
            if freeze.failure
        ],
    }


class Thaws:
    """How the freezes of an execution ended, as one look sees it.

    The thaw of those that `ask_for` names is asked for if nobody has, by one command.
    """

    def __init__(
        self, execution: str, ask_for: Sequence[str], settings: RejoinSettings, commands: Commands
    ) -> None:
        """Ask for nothing yet."""
        self._execution = execution
        self._instance_ids = tuple(ask_for)
        self._settings = settings
        self._commands = commands
        self._asked = Once(self._ask)

    def read(self, instance_id: str, freeze: Mapping[str, Any]) -> tuple[Progress, dict[str, Any]]:
        """Return whether a freeze has ended, and what is known of its end.

        Systems Manager ends a command that does not end, so this waits for no longer than it
        allows. The row has `exit_code`, `from`, `until`, `now`, `by` and `failed`, or `vss`: how
        AWS's document ended.
        """
        if freeze.get("vss"):
            result = self._commands.look(freeze["command_id"], instance_id)
            if result.status is Status.RUNNING:
                return Progress(waiting="the VSS document of AWS runs"), {}
            return DONE, {"vss": "Success" if result.status is Status.SUCCEEDED else "Failed"}
        command = self._asked(None)[instance_id]
        if isinstance(command, AwsRefused):
            return Progress(failure=f"The thaw was refused: {command}", error="ThawFailed"), {}
        result = self._commands.look(command, instance_id)
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

    def _ask(self, _: None) -> dict[str, str | AwsRefused]:
        return self._commands.send(
            self._instance_ids,
            self._settings.freeze_document,
            comment_of(self._execution, "thaw"),
            {"executionId": [self._execution], "command": ["thaw"]},
            delivery_seconds=_THAW_DELIVERY_SECONDS,
        )


class _Freezing:
    """The freezes of one execution."""

    def __init__(self, execution: str, settings: FreezeSettings, clock: Clock) -> None:
        self._execution = execution
        self._comment = comment_of(execution, "freeze")
        self._settings = settings
        self._clock = clock
        self._requested_at = Once(_requested_at)

    def send(self, guests: Sequence[_Guest]) -> list[_Freeze]:
        """Ask the guests to freeze, unless they have been asked: those of Linux by one command."""
        commands = Commands()
        ids = {guest.instance_id: guest for guest in guests if not guest.is_windows}
        # The first call makes the client, which takes a while: it would count as doubt about when
        # the guest's clock was read.
        commands.find(ids, self._settings.freeze_document, self._comment)
        sent_at = self._clock()
        answers = commands.send(
            list(ids),
            self._settings.freeze_document,
            self._comment,
            self._parameters(),
            delivery_seconds=_DELIVERY_SECONDS,
        )
        for guest in guests:
            if guest.is_windows:
                answers |= self._send_vss(guest, commands)
        return [_sent(guest, answers[guest.instance_id], sent_at) for guest in guests]

    def establish(self, freezes: Sequence[_Freeze]) -> list[_Freeze]:
        """Wait until all are frozen, or one of them cannot be."""
        deadline = self._clock() + PATIENCE
        current = self._look_at(freezes)
        while _is_undecided(current) and self._clock() < deadline:
            time.sleep(_LOOK_AGAIN_SECONDS)
            current = self._look_at(current)
        current = self._give_up(current)
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

    def _send_vss(self, guest: _Guest, commands: Commands) -> dict[str, str | AwsRefused]:
        """Let a Windows guest make its image itself, by AWS's document.

        A copy-only backup leaves the chain of SQL Server's own differential backups as it is (EC2
        User Guide, "Use Systems Manager command documents to create VSS based snapshots").
        """
        return commands.send(
            [guest.instance_id],
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

    def _look_at(self, freezes: Iterable[_Freeze]) -> list[_Freeze]:
        """Look whether the guests have answered; a command that all share is read once."""
        commands = Commands()
        return [self._look(freeze, commands) if freeze.is_open else freeze for freeze in freezes]

    def _look(self, freeze: _Freeze, commands: Commands) -> _Freeze:
        result = commands.look(freeze.command_id, freeze.guest.instance_id)
        match result.status:
            case Status.SUCCEEDED:
                return self._answered(freeze, result)
            case Status.FAILED:
                return self._failed(freeze, result, commands)
            case _:
                return freeze

    def _answered(self, freeze: _Freeze, result: ScriptResult) -> _Freeze:
        answer = FreezeAnswer.parse(result.output)
        if answer is None:
            return replace(freeze, failure="What the guest said of its freeze cannot be read.")
        # A command that was adopted was sent earlier, and Systems Manager knows when.
        moments = [freeze.sent_at or self._clock(), *self._requested_at(freeze.command_id)]
        return replace(freeze, sent_at=min(moments), seen_at=self._clock(), answer=answer)

    def _failed(self, freeze: _Freeze, result: ScriptResult, commands: Commands) -> _Freeze:
        """Say why; but if the call was repeated on its way, it is the first command that counts."""
        instance_id, document = freeze.guest.instance_id, self._settings.freeze_document
        first, *_ = [
            *(
                row["CommandId"]
                for row in commands.find_alone(instance_id, document, self._comment)
            ),
            freeze.command_id,
        ]
        if first != freeze.command_id:
            return self._look(replace(freeze, command_id=first), commands)
        said = last_lines(result.error_output or result.output) or result.detail
        code = "" if result.exit_code is None else f" (exit code {result.exit_code})"
        failure = f"The guest cannot freeze{code}: {said}. Command: {freeze.command_id}."
        return replace(freeze, failure=failure)

    def _give_up(self, freezes: Sequence[_Freeze]) -> list[_Freeze]:
        """Call commands off that were not answered: the guests would freeze for nothing."""
        unanswered: dict[str, list[str]] = {}
        for freeze in freezes:
            if freeze.is_open:
                unanswered.setdefault(freeze.command_id, []).append(freeze.guest.instance_id)
        for command_id, instance_ids in unanswered.items():
            try:
                cancel(command_id, instance_ids)
            except StillpointError:  # then they thaw themselves again
                logger.exception("A freeze could not be called off")
        waited = f"{PATIENCE.total_seconds():.0f} s"
        return [
            replace(
                freeze,
                failure=f"Its agent did not report a freeze within {waited} (command"
                f" {freeze.command_id}).",
            )
            if freeze.is_open
            else freeze
            for freeze in freezes
        ]


def _sent(guest: _Guest, command: str | AwsRefused, sent_at: datetime) -> _Freeze:
    if isinstance(command, AwsRefused):
        return _Freeze(guest, failure=f"It cannot be asked to freeze: {command}")
    return _Freeze(guest, command, None if guest.is_windows else sent_at)


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


def _told(failed: object) -> list[str]:
    return [str(each)[:100] for each in failed[:3]] if isinstance(failed, list) else []
