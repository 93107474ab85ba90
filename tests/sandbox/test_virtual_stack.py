"""The stack that the virtual cloud deploys is the template's."""

import json

import pytest

from sandbox.virtual.stack import Stack, make_stack


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
    text = json.dumps(dict(stack.resources))
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
