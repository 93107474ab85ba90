"""The Lambda runtime of the sandbox: one process is one execution environment, as on AWS.

Started as `python -I -S bootstrap.py`, so that a function sees the standard library, its own code
and its layers, and nothing else. Messages are JSON lines: the parent writes to standard input,
answers go to the original standard output. Whatever the function prints goes to standard error,
which the parent reads as the function's log; a line of RECORD and the request id ends the log of
an invocation.
"""

import importlib
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

RECORD = "\x1e"


class Context:
    """The context object that AWS hands to a Python handler."""

    def __init__(self, invocation: dict[str, Any]) -> None:
        """Take the per-invocation values; the rest is in the environment, where AWS puts it."""
        self._deadline = time.monotonic() + invocation["timeout"]
        self.aws_request_id = invocation["request_id"]
        self.invoked_function_arn = invocation["function_arn"]
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = None
        self.client_context = None

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds of real time that are left: a function's work is not accelerated."""
        return max(0, int((self._deadline - time.monotonic()) * 1000))


def report(
    error_type: str, message: str, request_id: str = "", error: BaseException | None = None
) -> dict[str, Any]:
    """Return an error as AWS's Python runtime words it: class name, message, trace.

    The trace begins below the runtime's own frames.
    """
    trace = (
        []
        if error is None
        else traceback.format_list(traceback.extract_tb(error.__traceback__)[1:])
    )
    return {
        "errorMessage": message,
        "errorType": error_type,
        "requestId": request_id,
        "stackTrace": trace,
    }


def load(handler: str) -> Callable[[Any, Context], Any]:
    """Import `module.function` and return it.

    Raises ImportError or AttributeError.
    """
    module_name, _, function_name = handler.rpartition(".")
    module = importlib.import_module(module_name.replace("/", "."))
    return getattr(module, function_name)  # type: ignore[no-any-return]


def initialise(handler: str) -> tuple[Callable[[Any, Context], Any] | None, dict[str, Any]]:
    """The handler, or None and the error with which the environment fails to start."""
    module_name = handler.rpartition(".")[0]
    try:
        return load(handler), {}
    except ImportError as error:
        message = f"Unable to import module '{module_name}': {error}"
        return None, report("Runtime.ImportModuleError", message, error=error)
    except AttributeError as error:
        return None, report("Runtime.HandlerNotFound", str(error), error=error)
    except Exception as error:  # noqa: BLE001  whatever the module raises is its author's to see
        return None, report(type(error).__name__, str(error), error=error)


def invoke(handler: Callable[[Any, Context], Any], invocation: dict[str, Any]) -> str:
    """Run the handler once and return the answer, already serialised."""
    request_id = invocation["request_id"]
    try:
        result = handler(invocation["event"], Context(invocation))
    except Exception as error:  # noqa: BLE001  an unhandled error is an answer, as on AWS
        sys.stdout.write(
            f"[ERROR] {type(error).__name__}: {error}\n{''.join(traceback.format_exc())}"
        )
        return json.dumps({"error": report(type(error).__name__, str(error), request_id, error)})
    try:
        return json.dumps({"result": result})
    except TypeError as error:
        message = f"Unable to marshal response: {error}"
        return json.dumps({"error": report("Runtime.MarshalError", message, request_id)})


def log_like_the_runtime() -> None:
    """Give the root logger the handler and the format of AWS's runtime."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("[%(levelname)s]\t%(asctime)s\t%(message)s"))
    logging.getLogger().addHandler(handler)


def main() -> None:
    """Start up once, then answer invocations until the parent closes the pipe."""
    protocol = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    start = json.loads(sys.stdin.readline())
    sys.path[:0] = start["paths"]
    log_like_the_runtime()
    handler, failure = initialise(start["handler"])
    protocol.write(json.dumps({"ready": handler is not None, "error": failure}) + "\n")
    if handler is None:
        return
    for line in sys.stdin:
        invocation = json.loads(line)
        os.environ["_X_AMZN_TRACE_ID"] = invocation["trace_id"]
        answer = invoke(handler, invocation)
        sys.stdout.flush()
        sys.stderr.write(f"{RECORD}{invocation['request_id']}\n")
        sys.stderr.flush()
        protocol.write(answer + "\n")


def shift_time() -> None:
    """Live in simulated time, and leave no trace of that within the function's reach."""
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120  pathlib would cost every cold start
    sys.path.insert(0, here)
    shifted_time = importlib.import_module("shifted_time")
    sys.path.remove(here)
    del sys.modules["shifted_time"]
    shifted_time.install_from_environment(dict(os.environ), scale_sleep=True)


if __name__ == "__main__":
    shift_time()
    main()
