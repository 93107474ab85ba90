"""The functions' settings, read from the environment when a function is called."""

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from stillpoint.errors import MissingSetting


@dataclass(frozen=True, slots=True)
class Safeguards:
    """What is done with a recovery point once it is available.

    `share_with` are the ids of AWS accounts. `lock_days` is how long its snapshots are locked
    from the capture on, and 0 if they are not.
    """

    share_with: tuple[str, ...]
    deregistration_protection: bool
    lock_days: int

    @classmethod
    def from_env(cls) -> Self:
        """Read the settings, or raise MissingSetting with the variable's name."""
        return cls(
            share_with=_list("SHARE_WITH_ACCOUNTS"),
            deregistration_protection=_text("DEREGISTRATION_PROTECTION") == "true",
            lock_days=_number("SNAPSHOT_LOCK_DAYS"),
        )


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """What `plan_backups` needs to know of its stack."""

    stack_name: str
    state_machine_arn: str
    topic_arn: str
    time_zone: str
    default_time: str
    default_retain: str
    catch_up: timedelta
    max_concurrent: int
    max_attempts: int
    copy_regions: tuple[str, ...]
    lock_days: int

    @classmethod
    def from_env(cls) -> Self:
        """Read the settings, or raise MissingSetting with the variable's name."""
        return cls(
            stack_name=_text("STACK_NAME"),
            state_machine_arn=_text("STATE_MACHINE_ARN"),
            topic_arn=_text("TOPIC_ARN"),
            time_zone=_text("TIME_ZONE"),
            default_time=_text("DEFAULT_TIME"),
            default_retain=_text("DEFAULT_RETAIN"),
            catch_up=timedelta(hours=_number("CATCH_UP_HOURS")),
            max_concurrent=_number("MAX_CONCURRENT_BACKUPS"),
            max_attempts=_number("MAX_ATTEMPTS"),
            copy_regions=_list("COPY_REGIONS"),
            lock_days=_number("SNAPSHOT_LOCK_DAYS"),
        )


@dataclass(frozen=True, slots=True)
class PrepareSettings:
    """What `prepare_backup` needs to know of its stack."""

    stack_name: str
    kms_key_arns: frozenset[str]

    @classmethod
    def from_env(cls) -> Self:
        """Read the settings, or raise MissingSetting with the variable's name."""
        return cls(
            stack_name=_text("STACK_NAME"),
            kms_key_arns=frozenset(_list("KMS_KEY_ARNS")),
        )


@dataclass(frozen=True, slots=True)
class CompleteSettings:
    """What `complete_backup` needs to know of its stack."""

    stack_name: str
    topic_arn: str
    notify_success: bool
    shutdown_grace: timedelta
    safeguards: Safeguards

    @classmethod
    def from_env(cls) -> Self:
        """Read the settings, or raise MissingSetting with the variable's name."""
        return cls(
            stack_name=_text("STACK_NAME"),
            topic_arn=_text("TOPIC_ARN"),
            notify_success=_text("NOTIFY_SUCCESS") == "true",
            shutdown_grace=timedelta(seconds=_number("SHUTDOWN_GRACE_SECONDS")),
            safeguards=Safeguards.from_env(),
        )


@dataclass(frozen=True, slots=True)
class CopySettings:
    """What `copy_recovery_points` needs to know of its stack.

    `region` is the stack's own. `kms_key_arns` are the keys that copies are encrypted with, at
    most one for a Region.
    """

    stack_name: str
    region: str
    topic_arn: str
    copy_regions: tuple[str, ...]
    encrypt: bool
    kms_key_arns: tuple[str, ...]
    safeguards: Safeguards

    @classmethod
    def from_env(cls) -> Self:
        """Read the settings, or raise MissingSetting with the variable's name."""
        return cls(
            stack_name=_text("STACK_NAME"),
            region=_text("AWS_REGION"),
            topic_arn=_text("TOPIC_ARN"),
            copy_regions=_list("COPY_REGIONS"),
            encrypt=_text("ENCRYPT_COPIES") == "true",
            kms_key_arns=_list("COPY_KMS_KEY_ARNS"),
            safeguards=Safeguards.from_env(),
        )


@dataclass(frozen=True, slots=True)
class PruneSettings:
    """What `prune_recovery_points` needs to know of its stack; `region` is the stack's own."""

    stack_name: str
    region: str
    topic_arn: str
    time_zone: str
    default_retain: str
    copy_regions: tuple[str, ...]
    final_retention: str
    max_deletions: int

    @classmethod
    def from_env(cls) -> Self:
        """Read the settings, or raise MissingSetting with the variable's name."""
        return cls(
            stack_name=_text("STACK_NAME"),
            region=_text("AWS_REGION"),
            topic_arn=_text("TOPIC_ARN"),
            time_zone=_text("TIME_ZONE"),
            default_retain=_text("DEFAULT_RETAIN"),
            copy_regions=_list("COPY_REGIONS"),
            final_retention=_text("FINAL_RETENTION"),
            max_deletions=_number("MAX_DELETIONS_PER_SWEEP"),
        )


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """What `alert_stranded` needs to know of its stack."""

    topic_arn: str

    @classmethod
    def from_env(cls) -> Self:
        """Read the settings, or raise MissingSetting with the variable's name."""
        return cls(topic_arn=_text("TOPIC_ARN"))


@dataclass(frozen=True, slots=True)
class RecoverSettings:
    """What `recover_instances` needs to know of its stack."""

    state_machine_arn: str
    topic_arn: str

    @classmethod
    def from_env(cls) -> Self:
        """Read the settings, or raise MissingSetting with the variable's name."""
        return cls(state_machine_arn=_text("STATE_MACHINE_ARN"), topic_arn=_text("TOPIC_ARN"))


def _text(name: str, *, may_be_empty: bool = False) -> str:
    value = os.environ.get(name)
    if value is None or not (value or may_be_empty):
        raise MissingSetting(f"The environment variable {name} is missing or empty.")
    return value


def _list(name: str) -> tuple[str, ...]:
    """Return what a variable lists, separated by commas; it may be empty, but must be there."""
    words = (word.strip() for word in _text(name, may_be_empty=True).split(","))
    return tuple(dict.fromkeys(word for word in words if word))


def _number(name: str) -> int:
    text = _text(name)
    try:
        return int(text)
    except ValueError:
        raise MissingSetting(
            f"The environment variable {name} must be a whole number, not {text!r}."
        ) from None
