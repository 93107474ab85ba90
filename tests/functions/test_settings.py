"""The functions' settings."""

import os
from collections.abc import Callable
from datetime import timedelta
from unittest import mock

import pytest

from stillpoint.aws.settings import (
    AlertSettings,
    CompleteSettings,
    CopySettings,
    FreezeSettings,
    IsolateSettings,
    PlanSettings,
    PrepareSettings,
    PruneSettings,
    RecoverSettings,
    RejoinSettings,
    Safeguards,
)
from stillpoint.errors import MissingSetting
from tests.functions.stack import Stack

READERS: dict[str, Callable[[], object]] = {
    "plan_backups": PlanSettings.from_env,
    "prepare_backup": PrepareSettings.from_env,
    "isolate_instances": IsolateSettings.from_env,
    "freeze_instances": FreezeSettings.from_env,
    "rejoin_instances": RejoinSettings.from_env,
    "recover_instances": RecoverSettings.from_env,
    "complete_backup": CompleteSettings.from_env,
    "alert_stranded": AlertSettings.from_env,
    "copy_recovery_points": CopySettings.from_env,
    "prune_recovery_points": PruneSettings.from_env,
}
# Those that read the name of their stack: every function is given it.
KNOW_THEIR_STACK = {
    *("plan_backups", "prepare_backup", "complete_backup"),
    *("copy_recovery_points", "prune_recovery_points"),
}
MAY_BE_EMPTY = {"COPY_KMS_KEY_ARNS", "COPY_REGIONS", "KMS_KEY_ARNS", "SHARE_WITH_ACCOUNTS"}


def variables_of(stack: Stack, function: str) -> dict[str, str]:
    environment = stack.environment(function)
    return {name: value for name, value in environment.items() if not name.startswith("POWER")}


def test_the_planner_knows_its_stack_and_its_limits(stack: Stack) -> None:
    with mock.patch.dict(os.environ, variables_of(stack, "plan_backups")):
        settings = PlanSettings.from_env()
    assert settings.stack_name == "stillpoint"
    assert settings.state_machine_arn == stack.state_machine_arn
    assert settings.topic_arn == stack.topic_arn
    assert (settings.time_zone, settings.default_time) == ("UTC", "03:00")
    assert settings.default_retain == "14"
    assert settings.catch_up == timedelta(hours=6)
    assert settings.max_concurrent == 10


@pytest.mark.parametrize(
    ("text", "arns"),
    [
        ("", set()),
        (" , ", set()),
        ("arn:a", {"arn:a"}),
        ("arn:a, arn:b,arn:a", {"arn:a", "arn:b"}),
    ],
)
def test_keys_are_read_from_a_list_with_commas(stack: Stack, text: str, arns: set[str]) -> None:
    environment = variables_of(stack, "prepare_backup") | {"KMS_KEY_ARNS": text}
    with mock.patch.dict(os.environ, environment):
        assert PrepareSettings.from_env().kms_key_arns == arns


@pytest.mark.parametrize(("text", "wanted"), [("true", True), ("false", False), ("yes", False)])
def test_successes_are_sent_only_if_that_is_true(stack: Stack, text: str, wanted: bool) -> None:
    own = {"NOTIFY_SUCCESS": text, "SHUTDOWN_GRACE_SECONDS": "180"}
    environment = variables_of(stack, "complete_backup") | own
    with mock.patch.dict(os.environ, environment):
        settings = CompleteSettings.from_env()
    assert settings.notify_success is wanted
    assert settings.shutdown_grace == timedelta(minutes=3)


def test_nothing_is_shared_locked_or_protected_unless_it_is_asked_for(stack: Stack) -> None:
    with mock.patch.dict(os.environ, variables_of(stack, "complete_backup")):
        assert CompleteSettings.from_env().safeguards == Safeguards((), False, 0)


def test_safeguards_are_read_from_their_variables(stack: Stack) -> None:
    own = {
        "SHARE_WITH_ACCOUNTS": "111111111111, 222222222222",
        "DEREGISTRATION_PROTECTION": "true",
        "SNAPSHOT_LOCK_DAYS": "30",
    }
    with mock.patch.dict(os.environ, variables_of(stack, "complete_backup") | own):
        safeguards = CompleteSettings.from_env().safeguards
    assert safeguards == Safeguards(("111111111111", "222222222222"), True, 30)


@pytest.mark.parametrize("function", READERS)
@pytest.mark.parametrize("empty", [False, True])
def test_every_variable_that_is_missing_or_empty_is_named(
    stack: Stack, function: str, empty: bool
) -> None:
    complete = variables_of(stack, function)
    with mock.patch.dict(os.environ, complete):
        READERS[function]()
    unused = set() if function in KNOW_THEIR_STACK else {"STACK_NAME"}
    for name in complete.keys() - unused - (MAY_BE_EMPTY if empty else set()):
        without = {other: value for other, value in complete.items() if other != name}
        environment = without | ({name: ""} if empty else {})
        with (
            mock.patch.dict(os.environ, environment),
            pytest.raises(MissingSetting, match=rf"variable {name} is missing or empty"),
        ):
            READERS[function]()


@pytest.mark.parametrize("function", ["copy_recovery_points", "prune_recovery_points"])
def test_the_region_that_lambda_names_is_the_stacks_own(
    stack: Stack, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mock.patch.dict(os.environ, variables_of(stack, function)):
        monkeypatch.setenv("AWS_REGION", "ap-northeast-2")
        settings = READERS[function]()
        assert isinstance(settings, CopySettings | PruneSettings)
        assert settings.region == "ap-northeast-2"
        monkeypatch.delenv("AWS_REGION")
        with pytest.raises(MissingSetting, match="variable AWS_REGION is missing or empty"):
            READERS[function]()


@pytest.mark.parametrize("text", ["six", "6.5", "0x10", "6 hours"])
@pytest.mark.parametrize("name", ["CATCH_UP_HOURS", "MAX_CONCURRENT_BACKUPS"])
def test_a_number_that_is_none_is_named_with_its_value(stack: Stack, name: str, text: str) -> None:
    environment = variables_of(stack, "plan_backups") | {name: text}
    with (
        mock.patch.dict(os.environ, environment),
        pytest.raises(MissingSetting, match=f"{name} must be a whole number, not '{text}'"),
    ):
        PlanSettings.from_env()
