"""The stack that the virtual cloud deploys is the template's, and its rules send what AWS's do."""

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from sandbox.virtual.journal import Journal
from sandbox.virtual.mischief import Mischief
from sandbox.virtual.rules import Rules
from sandbox.virtual.run import Run
from sandbox.virtual.scheduler import Scheduler
from sandbox.virtual.stack import Stack, make_stack

if TYPE_CHECKING:
    from sandbox.virtual.lambdas import Lambdas

COPIES = {"CopyRegions": "eu-central-1,us-west-2"}
KEYS = {"KmsKeyArns": "arn:aws:kms:us-east-1:000000000000:key/1"}
NOON = 1_795_348_800.0  # 2026-11-22T12:00:00Z
DAY = 86_400.0


@pytest.fixture(autouse=True)
def a_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """The translator of templates asks for one."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture
def stack() -> Stack:
    return make_stack({})


def test_every_function_has_its_code_its_role_and_its_environment(stack: Stack) -> None:
    functions = stack.of_type("AWS::Lambda::Function")
    assert functions
    for name, properties in functions.items():
        assert (stack.folders[name] / "app.py").is_file()
        assert stack.logical_id(properties["Role"]) in stack.of_type("AWS::IAM::Role")
        assert properties["Environment"]["Variables"]["STACK_NAME"] == "stillpoint"


def test_nothing_is_left_to_fill_in(stack: Stack) -> None:
    scripts = stack.of_type("AWS::SSM::Document")  # a shell writes its variables like that, too
    text = json.dumps({name: row for name, row in stack.resources.items() if name not in scripts})
    assert scripts
    assert "${" not in text
    assert "Fn::" not in text
    assert '"Ref"' not in text


def test_the_definition_calls_the_functions_of_the_stack(stack: Stack) -> None:
    _, definition = stack.state_machine()
    text = json.dumps(definition)
    assert "${" not in text
    called = [
        state["Arguments"]["FunctionName"]
        for state in definition["States"].values()
        if state.get("Resource", "").endswith(":lambda:invoke")
    ]
    assert {stack.logical_id(arn) for arn in called} <= set(stack.of_type("AWS::Lambda::Function"))
    assert called


def test_a_parameter_reaches_the_environment_of_a_function() -> None:
    stack = make_stack({"CatchUpHours": "3"})
    variables = stack.of_type("AWS::Lambda::Function")["PlanBackupsFunction"]["Environment"]
    assert variables["Variables"]["CATCH_UP_HOURS"] == "3"


def test_a_parameter_that_the_template_does_not_have_is_refused() -> None:
    with pytest.raises(KeyError, match="Typo"):
        make_stack({"Typo": "1"})


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, set()),
        (KEYS, {"VolumeKeysPolicy"}),
        (COPIES, {"MakeCopiesPolicy", "RemoveCopiesPolicy"}),
        (
            COPIES | KEYS,
            {"MakeCopiesPolicy", "RemoveCopiesPolicy", "VolumeKeysPolicy", "CopyFromKeysPolicy"},
        ),
    ],
)
def test_a_condition_may_be_made_of_others(parameters: dict[str, str], expected: set[str]) -> None:
    policies = make_stack(parameters).of_type("AWS::IAM::Policy").keys()
    assert policies & {*expected, "CopyToKeysPolicy", "CopyFromKeysPolicy"} == expected


def test_a_policy_beside_the_roles_names_them_and_the_regions() -> None:
    stack = make_stack(COPIES)
    policy = stack.of_type("AWS::IAM::Policy")["RemoveCopiesPolicy"]
    assert stack.names["PruneRecoveryPointsRole"] in policy["Roles"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    equal = statement["Condition"]["StringEquals"]
    assert equal["aws:RequestedRegion"] == ["eu-central-1", "us-west-2"]
    assert "arn:aws:ec2:*::image/*" in statement["Resource"]


class Invoked:
    """Stands for the functions, and remembers when each was invoked with what."""

    def __init__(self, stack: Stack, scheduler: Scheduler) -> None:
        self._stack = stack
        self._scheduler = scheduler
        self.calls: list[tuple[str, float, dict[str, Any]]] = []

    def name(self, logical_id: str) -> str:
        return self._stack.folders[logical_id].name

    def invoke_later(self, logical_id: str, event: dict[str, Any]) -> None:
        self.calls.append((self.name(logical_id), self._scheduler.now(), event))

    def times(self, function: str) -> int:
        return sum(name == function for name, *_ in self.calls)


def rules_of(
    parameters: dict[str, str], made: Stack | None = None
) -> tuple[Rules, Scheduler, Invoked]:
    stack, scheduler = made or make_stack(parameters), Scheduler(NOON)
    invoked = Invoked(stack, scheduler)
    run = Run(scheduler, Mischief((), scheduler.now), Journal(scheduler.now), seed="rules")
    rules = Rules(stack, cast("Lambdas", invoked), run)
    return rules, scheduler, invoked


def test_every_schedule_rule_ticks_at_its_rate() -> None:
    rules, scheduler, invoked = rules_of({"TickInterval": "15"})
    rules.start()
    scheduler.run_until(NOON + 2 * DAY + 60)
    scheduler.close()
    assert invoked.times("prune_recovery_points") == 2  # rate(24 hours)
    assert invoked.times("plan_backups") == 2 * 24 * 4
    assert invoked.times("copy_recovery_points") == 2 * 24 * 12


def test_a_schedule_rule_that_is_disabled_does_not_tick() -> None:
    made = make_stack({})
    off = {name: {**each} for name, each in made.resources.items()}
    for name in made.of_type("AWS::Events::Rule"):
        off[name]["Properties"] = {**off[name]["Properties"], "State": "DISABLED"}
    rules, scheduler, invoked = rules_of({}, replace(made, resources=off))
    rules.start()
    scheduler.run_until(NOON + DAY)
    scheduler.close()
    assert invoked.calls == []


@pytest.mark.parametrize(
    ("parameters", "status", "told"),
    [
        ({}, "SUCCEEDED", ["prune_recovery_points"]),
        (COPIES, "SUCCEEDED", ["copy_recovery_points", "prune_recovery_points"]),
        (COPIES, "ABORTED", ["recover_instances"]),
    ],
)
def test_every_rule_that_is_enabled_is_told_of_the_end_of_an_execution(
    parameters: dict[str, str], status: str, told: list[str]
) -> None:
    rules, scheduler, invoked = rules_of(parameters)
    machine, _ = make_stack(parameters).state_machine()
    detail = {
        "stateMachineArn": make_stack(parameters).arns[machine],
        "name": "i-0a-20261122T030000Z",
        "status": status,
    }
    rules.execution_ended(detail)
    scheduler.run_until(NOON + 60)
    scheduler.close()
    assert sorted(name for name, *_ in invoked.calls) == told
    assert all(event["detail"] == detail for *_, event in invoked.calls)
