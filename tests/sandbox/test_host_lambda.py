"""Execution environments: real processes that see what a function sees on AWS."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.clock import Clock
from sandbox.lambda_environment import (
    EnvironmentDiedError,
    ExecutionEnvironment,
    FunctionTimeoutError,
)

type Load = Callable[..., ExecutionEnvironment]

VARIABLES = {
    "AWS_LAMBDA_FUNCTION_NAME": "function",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
    "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/function",
    "AWS_LAMBDA_LOG_STREAM_NAME": "stream",
}


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Return what loads a function from its source."""
    loaded: list[ExecutionEnvironment] = []

    def load_function(
        source: str, *, timeout: float = 30, clock: Clock | None = None
    ) -> ExecutionEnvironment:
        (tmp_path / "app.py").write_text(source)
        config = {"Handler": "app.handler", "Timeout": timeout}
        variables = VARIABLES | (clock.environment() if clock else {})
        loaded.append(ExecutionEnvironment(config, [str(tmp_path)], variables))
        return loaded[-1]

    yield load_function
    for each in loaded:
        each.stop()


def test_a_function_answers_and_its_output_is_its_log(load: Load) -> None:
    environment = load(
        "def handler(event, context):\n    print('seen')\n    return event['n'] + 1\n"
    )
    answer = environment.invoke({"n": 1}, "request-1", "arn")
    assert (answer.result, answer.error, answer.log) == (2, {}, "seen")


def test_an_environment_stays_warm_after_an_error(load: Load) -> None:
    environment = load(
        "count = 0\n"
        "def handler(event, context):\n"
        "    global count\n"
        "    count += 1\n"
        "    if event: raise KeyError('x')\n"
        "    return count\n"
    )
    assert environment.invoke("fail", "request-1", "arn").error["errorType"] == "KeyError"
    assert environment.invoke("", "request-2", "arn").result == 2


def test_an_error_keeps_its_class_name_message_and_trace(load: Load) -> None:
    environment = load(
        "class StopRefused(Exception): pass\n"
        "def handler(event, context): raise StopRefused('protected')\n"
    )
    error = environment.invoke({}, "request-1", "arn").error
    assert error["errorType"] == "StopRefused"
    assert error["errorMessage"] == "protected"
    assert error["requestId"] == "request-1"
    assert len(error["stackTrace"]) == 1
    assert "app.py" in error["stackTrace"][0]


def test_a_function_sees_the_standard_library_and_its_own_code_only(load: Load) -> None:
    environment = load(
        "import importlib.util\n"
        "def handler(event, context):\n"
        "    return [name for name in event if importlib.util.find_spec(name)]\n"
    )
    names = ["boto3", "ministack", "sandbox", "shifted_time", "bootstrap", "pytest", "json", "app"]
    assert environment.invoke(names, "request-1", "arn").result == ["json", "app"]


def test_a_missing_module_fails_the_start_by_name(load: Load) -> None:
    environment = load("import croniter_is_missing\n")
    assert environment.failure["errorType"] == "Runtime.ImportModuleError"
    assert "croniter_is_missing" in environment.failure["errorMessage"]


def test_a_missing_handler_fails_the_start(load: Load) -> None:
    assert load("x = 1\n").failure["errorType"] == "Runtime.HandlerNotFound"


def test_an_answer_that_is_not_json_is_an_error(load: Load) -> None:
    environment = load("def handler(event, context): return object()\n")
    error = environment.invoke({}, "request-1", "arn").error
    assert error["errorType"] == "Runtime.MarshalError"


def test_a_function_that_takes_too_long_is_ended(load: Load) -> None:
    environment = load("import time\ndef handler(event, context): time.sleep(60)\n", timeout=0.3)
    with pytest.raises(FunctionTimeoutError):
        environment.invoke({}, "request-1", "arn")
    with pytest.raises(EnvironmentDiedError):
        environment.invoke({}, "request-2", "arn")


def test_a_process_that_dies_gives_no_answer(load: Load) -> None:
    environment = load("import os\ndef handler(event, context): os._exit(3)\n")
    with pytest.raises(EnvironmentDiedError):
        environment.invoke({}, "request-1", "arn")


def test_a_function_lives_in_simulated_time_and_its_deadline_is_real(load: Load) -> None:
    clock = Clock.starting_now(scale=1000)
    environment = load(
        "import time\n"
        "def handler(event, context):\n"
        "    before = time.time()\n"
        "    time.sleep(100)\n"
        "    return [before, time.time(), context.get_remaining_time_in_millis()]\n",
        clock=clock,
    )
    before, after, left = environment.invoke({}, "request-1", "arn").result
    assert after - before >= 100
    assert abs(after - clock.now()) < 5000
    assert 25_000 < left <= 30_000
