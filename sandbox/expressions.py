"""JSONata as Step Functions evaluates it: parsed once, undefined told from null, plain JSON out."""

import copy
import threading
from functools import lru_cache
from typing import Any

import jsonata
from ministack.services.stepfunctions import _register_sfn_jsonata_functions


class QueryEvaluationError(Exception):
    """An expression failed or yielded nothing: States.QueryEvaluationError."""


_undefined = object()
_lock = threading.Lock()


@lru_cache(maxsize=4096)
def _parsed(expression: str) -> Any:
    """Return the expression's syntax tree; evaluation works on copies of it."""
    parsed = jsonata.Jsonata.jsonata(expression)
    _register_sfn_jsonata_functions(parsed)
    parsed.set_output_convert_nulls(False)
    parsed.set_validate_input(False)
    return parsed


def evaluate(expression: str, variables: dict[str, Any], states: dict[str, Any]) -> Any:
    """The value of the text inside `{% %}`. Raises QueryEvaluationError.

    `variables` are reachable as `$name`, `states` as `$states`. There is no input document: as on
    AWS a bare path selects nothing.
    """
    null = jsonata.utils.Utils.NULL_VALUE
    bindings = {name: null if value is None else value for name, value in variables.items()}
    bindings["states"] = states
    try:
        with _lock:
            parsed = _parsed(expression)
        instance = copy.copy(parsed)
        jsonata.Jsonata.CURRENT.jsonata = instance
        value = instance.evaluate(None, bindings)
    except Exception as error:
        code = getattr(error, "error", None)
        message = f"{code}: {error}" if isinstance(code, str) and code else str(error)
        raise QueryEvaluationError(f"{message} in the expression: {expression}") from error
    if value is None:
        raise QueryEvaluationError(f"the expression yielded no value: {expression}")
    return plain(jsonata.utils.Utils.convert_nulls(value), expression)


def render(template: Any, variables: dict[str, Any], states: dict[str, Any]) -> Any:
    """A JSON value in which every string that is an expression has been replaced by its value."""
    if isinstance(template, str):
        if template.startswith("{%") and template.endswith("%}"):
            return evaluate(template[2:-2].strip(), variables, states)
        return template
    if isinstance(template, dict):
        return {key: render(value, variables, states) for key, value in template.items()}
    if isinstance(template, list):
        return [render(value, variables, states) for value in template]
    return template


def plain(value: Any, expression: str = "") -> Any:
    """Return a deep copy of JSON types only, with whole numbers as integers.

    That is how JavaScript's numbers print.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, dict):
        return {str(key): plain(each, expression) for key, each in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(each, expression) for each in value]
    raise QueryEvaluationError(f"the value is not JSON ({type(value).__name__}): {expression}")
