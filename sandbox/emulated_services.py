"""The emulator's services as a state machine calls them: with its role, in the server."""

import concurrent.futures
import contextvars
import json
from typing import Any, Final

from sandbox import iam, service_calls
from sandbox.service_calls import ServiceError
from sandbox.tasks import StateError

FORBIDDEN: Final = 403


class EmulatedServices:
    """What a state machine may call with the permissions of its role."""

    def __init__(self, role_arn: str, region: str) -> None:
        self._role_arn = role_arn
        self._region = region

    def call(self, service: str, action: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call an action of a service. Raises ServiceError or UnsupportedCallError."""
        call = service_calls.prepare(service, action, arguments)
        named = arguments.get("TopicArn", "*")
        wanted = f"{service}:{call.operation.name}"
        denied = iam.denied_for_role(self._role_arn, wanted, call.body, named, self._region)
        if denied:
            raise ServiceError(denied.code, denied.message, FORBIDDEN, denied.request_id)
        return service_calls.execute(call, self._region)

    def invoke(self, arguments: dict[str, Any], timeout: float | None) -> dict[str, Any]:
        """Invoke a function. Raises StateError.

        `timeout` is in real seconds: a function's work is real work.
        """
        if timeout is None:
            return self._invoke(arguments)
        pool = concurrent.futures.ThreadPoolExecutor(max_workers=1)
        future = pool.submit(contextvars.copy_context().run, self._invoke, arguments)
        pool.shutdown(wait=False)
        try:
            return future.result(timeout)
        except TimeoutError:
            raise StateError("States.Timeout", f"no answer within {timeout:g} seconds") from None

    def _invoke(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from ministack.services import lambda_svc  # noqa: PLC0415  after ministack's set-up

        reference = arguments["FunctionName"]
        function, config, name = lambda_svc._get_func_record_for_ref(reference)
        if not function or not config:
            raise StateError("Lambda.ResourceNotFoundException", f"Function not found: {name}")
        denied = iam.denied_for_role(
            self._role_arn, "lambda:InvokeFunction", b"", config["FunctionArn"], self._region
        )
        if denied:
            raise StateError("Lambda.AWSLambdaException", denied.message)
        record = lambda_svc._execution_record_for_config(function, config)
        result = lambda_svc._execute_function_with_config_scope(
            record, arguments.get("Payload", {})
        )
        body = result.get("body")
        if result.get("throttle"):
            raise StateError("Lambda.TooManyRequestsException", json.dumps(body))
        if result.get("error"):
            raise StateError(body.get("errorType", "Lambda.Unknown"), json.dumps(body))
        return {
            "ExecutedVersion": config.get("Version", "$LATEST"),
            "Payload": body,
            "StatusCode": 200,
        }
