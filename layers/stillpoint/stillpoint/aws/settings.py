"""The functions' settings, read from the environment when a function is called."""

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from stillpoint.errors import MissingSetting


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
        )


@dataclass(frozen=True, slots=True)
class PrepareSettings:
    """What `prepare_backup` needs to know of its stack."""

    stack_name: str
    kms_key_arns: frozenset[str]

    @classmethod
    def from_env(cls) -> Self:
        """Read the settings, or raise MissingSetting with the variable's name."""
        arns = _text("KMS_KEY_ARNS", may_be_empty=True)
        return cls(
            stack_name=_text("STACK_NAME"),
            kms_key_arns=frozenset(arn.strip() for arn in arns.split(",") if arn.strip()),
        )


@dataclass(frozen=True, slots=True)
class CompleteSettings:
    """What `complete_backup` needs to know of its stack."""

    stack_name: str
    topic_arn: str
    notify_success: bool
    shutdown_grace: timedelta

    @classmethod
    def from_env(cls) -> Self:
        """Read the settings, or raise MissingSetting with the variable's name."""
        return cls(
            stack_name=_text("STACK_NAME"),
            topic_arn=_text("TOPIC_ARN"),
            notify_success=_text("NOTIFY_SUCCESS") == "true",
            shutdown_grace=timedelta(seconds=_number("SHUTDOWN_GRACE_SECONDS")),
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


def _number(name: str) -> int:
    text = _text(name)
    try:
        return int(text)
    except ValueError:
        raise MissingSetting(
            f"The environment variable {name} must be a whole number, not {text!r}."
        ) from None
