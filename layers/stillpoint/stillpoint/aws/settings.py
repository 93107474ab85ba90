"""The functions' settings, read from the environment when a function is called."""

import os
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Annotated, Self, get_type_hints

from stillpoint.errors import MissingSetting


def _text(name: str, *, may_be_empty: bool = False) -> str:
    value = os.environ.get(name)
    if value is None or not (value or may_be_empty):
        raise MissingSetting(f"The environment variable {name} is missing or empty.")
    return value


def _list(name: str) -> tuple[str, ...]:
    """Return what a variable lists, separated by commas; it may be empty, but must be there."""
    words = (word.strip() for word in _text(name, may_be_empty=True).split(","))
    return tuple(dict.fromkeys(word for word in words if word))


def _set(name: str) -> frozenset[str]:
    return frozenset(_list(name))


def _flag(name: str) -> bool:
    return _text(name) == "true"


def _number(name: str) -> int:
    text = _text(name)
    try:
        return int(text)
    except ValueError:
        raise MissingSetting(
            f"The environment variable {name} must be a whole number, not {text!r}."
        ) from None


def _hours(name: str) -> timedelta:
    return timedelta(hours=_number(name))


def _minutes(name: str) -> timedelta:
    return timedelta(minutes=_number(name))


def _seconds(name: str) -> timedelta:
    return timedelta(seconds=_number(name))


# The variables that several functions have.
_StackName = Annotated[str, partial(_text, "STACK_NAME")]
_Region = Annotated[str, partial(_text, "AWS_REGION")]
_StateMachineArn = Annotated[str, partial(_text, "STATE_MACHINE_ARN")]
_TopicArn = Annotated[str, partial(_text, "TOPIC_ARN")]
_TimeZone = Annotated[str, partial(_text, "TIME_ZONE")]
_DefaultRetain = Annotated[str, partial(_text, "DEFAULT_RETAIN")]
_CopyRegions = Annotated[tuple[str, ...], partial(_list, "COPY_REGIONS")]
_LockDays = Annotated[int, partial(_number, "SNAPSHOT_LOCK_DAYS")]
_ScriptTimeout = Annotated[int, partial(_number, "SCRIPT_TIMEOUT_SECONDS")]
_FreezeDocument = Annotated[str, partial(_text, "FREEZE_DOCUMENT")]


@dataclass(frozen=True, slots=True)
class _Settings:
    """Settings of which every field is annotated with the function that reads it."""

    @classmethod
    def from_env(cls) -> Self:
        """Read the settings, or raise MissingSetting with the variable's name."""
        hints = get_type_hints(cls, include_extras=True)
        return cls(**{field: hint.__metadata__[0]() for field, hint in hints.items()})


@dataclass(frozen=True, slots=True)
class Safeguards(_Settings):
    """What is done with a recovery point once it is available.

    `share_with` are the ids of AWS accounts. `lock_days` is how long its snapshots are locked
    from the capture on, and 0 if they are not.
    """

    share_with: Annotated[tuple[str, ...], partial(_list, "SHARE_WITH_ACCOUNTS")]
    deregistration_protection: Annotated[bool, partial(_flag, "DEREGISTRATION_PROTECTION")]
    lock_days: _LockDays


@dataclass(frozen=True, slots=True)
class PlanSettings(_Settings):
    """What `plan_backups` needs to know of its stack."""

    stack_name: _StackName
    state_machine_arn: _StateMachineArn
    topic_arn: _TopicArn
    time_zone: _TimeZone
    default_time: Annotated[str, partial(_text, "DEFAULT_TIME")]
    default_retain: _DefaultRetain
    catch_up: Annotated[timedelta, partial(_hours, "CATCH_UP_HOURS")]
    max_concurrent: Annotated[int, partial(_number, "MAX_CONCURRENT_BACKUPS")]
    per_minute: Annotated[int, partial(_number, "BACKUPS_PER_MINUTE")]
    tick: Annotated[timedelta, partial(_minutes, "TICK_MINUTES")]
    max_attempts: Annotated[int, partial(_number, "MAX_ATTEMPTS")]
    copy_regions: _CopyRegions
    lock_days: _LockDays


@dataclass(frozen=True, slots=True)
class PrepareSettings(_Settings):
    """What `prepare_backup` needs to know of its stack."""

    stack_name: _StackName
    kms_key_arns: Annotated[frozenset[str], partial(_set, "KMS_KEY_ARNS")]
    mute_alarms: Annotated[bool, partial(_flag, "MUTE_ALARMS")]
    freeze_document: _FreezeDocument


@dataclass(frozen=True, slots=True)
class IsolateSettings(_Settings):
    """What `isolate_instances` needs to know: how long a script may run."""

    script_timeout_seconds: _ScriptTimeout


@dataclass(frozen=True, slots=True)
class FreezeSettings(_Settings):
    """What `freeze_instances` needs to know: its document, and how long a freeze holds."""

    freeze_document: _FreezeDocument
    freeze_hold: Annotated[timedelta, partial(_seconds, "FREEZE_HOLD_SECONDS")]


@dataclass(frozen=True, slots=True)
class RejoinSettings(_Settings):
    """What `rejoin_instances` needs to know of its stack."""

    script_timeout_seconds: _ScriptTimeout
    freeze_document: _FreezeDocument


@dataclass(frozen=True, slots=True)
class CompleteSettings(_Settings):
    """What `complete_backup` needs to know of its stack."""

    stack_name: _StackName
    topic_arn: _TopicArn
    time_zone: _TimeZone
    notify_success: Annotated[bool, partial(_flag, "NOTIFY_SUCCESS")]
    shutdown_grace: Annotated[timedelta, partial(_seconds, "SHUTDOWN_GRACE_SECONDS")]
    safeguards: Annotated[Safeguards, Safeguards.from_env]


@dataclass(frozen=True, slots=True)
class CopySettings(_Settings):
    """What `copy_recovery_points` needs to know of its stack.

    `region` is the stack's own. `kms_key_arns` are the keys that copies are encrypted with, at
    most one for a Region.
    """

    stack_name: _StackName
    region: _Region
    topic_arn: _TopicArn
    copy_regions: _CopyRegions
    encrypt: Annotated[bool, partial(_flag, "ENCRYPT_COPIES")]
    kms_key_arns: Annotated[tuple[str, ...], partial(_list, "COPY_KMS_KEY_ARNS")]
    safeguards: Annotated[Safeguards, Safeguards.from_env]


@dataclass(frozen=True, slots=True)
class PruneSettings(_Settings):
    """What `prune_recovery_points` needs to know of its stack; `region` is the stack's own."""

    stack_name: _StackName
    region: _Region
    topic_arn: _TopicArn
    time_zone: _TimeZone
    default_retain: _DefaultRetain
    copy_regions: _CopyRegions
    final_retention: Annotated[str, partial(_text, "FINAL_RETENTION")]
    max_deletions: Annotated[int, partial(_number, "MAX_DELETIONS_PER_SWEEP")]


@dataclass(frozen=True, slots=True)
class AlertSettings(_Settings):
    """What `alert_stranded` needs to know of its stack."""

    topic_arn: _TopicArn


@dataclass(frozen=True, slots=True)
class RecoverSettings(_Settings):
    """What `recover_instances` needs to know of its stack."""

    state_machine_arn: _StateMachineArn
    topic_arn: _TopicArn
    script_timeout_seconds: _ScriptTimeout
