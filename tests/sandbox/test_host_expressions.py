"""JSONata as Step Functions evaluates it."""

import json

import pytest

from sandbox.expressions import QueryEvaluationError, evaluate, render


def test_variables_and_states_are_reachable_and_a_bare_path_selects_nothing() -> None:
    states = {"input": {"a": 1}}
    assert evaluate("$x + $states.input.a", {"x": 2}, states) == 3
    with pytest.raises(QueryEvaluationError, match="no value"):
        evaluate("a", {}, states)


def test_an_undefined_value_is_an_error_and_null_is_a_value() -> None:
    assert evaluate("$x", {"x": None}, {}) is None
    assert evaluate("null", {}, {}) is None
    with pytest.raises(QueryEvaluationError, match=r"\$missing"):
        evaluate("$missing", {}, {})


def test_an_expression_that_does_not_parse_is_an_error() -> None:
    with pytest.raises(QueryEvaluationError):
        evaluate("1 +", {}, {})


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("[$states.input.items[n > 1]]", [{"n": 2}]),
        ("[$states.input.items[n > 5]]", []),
        ("$states.input.items[n = 2].n", 2),
        ("6 / 2", 3),
        ("$toMillis('2026-11-22T03:00:00Z')", 1795316400000),
        ("$merge([{'a': 1}, {'b': null}])", {"a": 1, "b": None}),
        ("$exists($states.input.nothing)", False),
    ],
)
def test_values_are_plain_json(expression: str, value: object) -> None:
    found = evaluate(expression, {}, {"input": {"items": [{"n": 1}, {"n": 2}]}})
    assert found == value
    assert json.loads(json.dumps(found)) == value
    assert type(found) is type(value)


def test_a_template_is_rendered_at_every_depth() -> None:
    template = {"list": ["{% $x %}", "as it is"], "deep": {"n": "{% $x & '!' %}"}, "number": 4}
    assert render(template, {"x": "a"}, {}) == {
        "list": ["a", "as it is"],
        "deep": {"n": "a!"},
        "number": 4,
    }


def test_an_expression_that_was_evaluated_before_sees_new_variables() -> None:
    assert [evaluate("$x * 2", {"x": number}, {}) for number in (1, 2, 3)] == [2, 4, 6]
