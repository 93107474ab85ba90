"""The state machine's graph keeps the rules, and every rule notices when it is broken."""

import re
from datetime import timedelta

import pytest

from stillpoint.aws.point import AMI_DEADLINE
from tests.template import asl_rules, asl_variables, backup_rules
from tests.template.asl import all_states, loops
from tests.template.broken_definitions import BREAKS, Definition, Path, Rule, broken

RULES: list[Rule] = [
    asl_rules.unreachable_states,
    asl_rules.dangling_targets,
    asl_rules.repeated_names,
    asl_rules.states_without_comment,
    asl_rules.badly_named_states,
    asl_rules.tasks_without_timeout,
    asl_rules.uncaught_errors,
    asl_rules.reckless_retries,
    asl_rules.unknown_errors,
    asl_rules.jsonpath_fields,
    asl_rules.unclean_stops,
    asl_rules.batched_calls,
    asl_rules.silent_failures,
    asl_rules.busy_loops,
    asl_variables.unknown_functions,
    asl_variables.unassigned_variables,
    asl_variables.shadowed_variables,
    asl_variables.unused_variables,
    asl_variables.misplaced_states_fields,
    backup_rules.every_way_after_a_stop_leads_to_resume,
    backup_rules.every_error_after_a_stop_leads_to_resume,
    backup_rules.every_way_from_resume_is_judged,
    backup_rules.no_error_is_forgiven,
    backup_rules.every_loop_has_a_deadline,
]

LIMITS = re.compile(r"\b\d{4,}\b")  # milliseconds


def name_of(rule: Rule) -> str:
    return rule.__name__


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_the_definition_keeps_the_rule(rule: Rule, definition: Definition) -> None:
    assert rule(definition) == []


@pytest.mark.parametrize(
    ("rule", "path", "value", "said"), BREAKS, ids=[f"{b[0].__name__}: {b[3]}" for b in BREAKS]
)
def test_the_rule_notices_a_definition_that_breaks_it(
    rule: Rule, path: Path, value: object, said: str, definition: Definition
) -> None:
    assert said in rule(broken(definition, path, value))


def test_every_rule_is_shown_to_notice_something() -> None:
    assert {rule for rule, *_ in BREAKS} == set(RULES)


def test_a_loop_inside_a_loop_belongs_to_the_outer_one() -> None:
    following = {"a": {"b"}, "b": {"c", "a"}, "c": {"b", "d"}, "d": {"d"}, "e": {"a"}}
    assert loops(following) == [{"a", "b", "c"}, {"d"}]


def test_an_execution_does_not_time_out_before_its_own_deadlines(definition: Definition) -> None:
    limits = {
        name: timedelta(milliseconds=max(int(limit) for limit in LIMITS.findall(found[2])))
        for name, state in all_states(definition).items()
        for rule in state.get("Choices", ())
        if (found := asl_rules.DEADLINE.fullmatch(rule["Condition"]))
    }
    assert limits.keys() == {
        *("AllRunning?", "AllStopped?", "ImageFound?", "Isolated?", "Rejoined?"),
        *("SafeToStart?", "StartDeadline?"),
    }
    longest = sum(limits.values(), AMI_DEADLINE)
    assert timedelta(seconds=definition["TimeoutSeconds"]) > longest + timedelta(hours=1)
