"""A setting is of the type that its class declares, whatever function reads it."""

import os
from collections.abc import Callable
from typing import get_origin, get_type_hints
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
from tests.functions.stack import Stack

READERS: dict[str, Callable[[], object]] = {
    "alert_stranded": AlertSettings.from_env,
    "complete_backup": CompleteSettings.from_env,
    "copy_recovery_points": CopySettings.from_env,
    "freeze_instances": FreezeSettings.from_env,
    "isolate_instances": IsolateSettings.from_env,
    "plan_backups": PlanSettings.from_env,
    "prepare_backup": PrepareSettings.from_env,
    "prune_recovery_points": PruneSettings.from_env,
    "recover_instances": RecoverSettings.from_env,
    "rejoin_instances": RejoinSettings.from_env,
}


def of_other_types(settings: object) -> dict[str, object]:
    """The fields whose values are not of their declared types."""
    hints = get_type_hints(type(settings))
    values = {name: getattr(settings, name) for name in hints}
    return {
        name: value
        for name, value in values.items()
        if type(value) is not (get_origin(hints[name]) or hints[name])
    }


@pytest.mark.parametrize("function", READERS)
def test_every_setting_is_of_its_declared_type(stack: Stack, function: str) -> None:
    with mock.patch.dict(os.environ, stack.environment(function)):
        settings = READERS[function]()
    assert of_other_types(settings) == {}


def test_a_setting_of_another_type_is_noticed() -> None:
    assert of_other_types(Safeguards((), False, 0)) == {}
    assert of_other_types(Safeguards((), False, "0")) == {"lock_days": "0"}  # type: ignore[arg-type]
