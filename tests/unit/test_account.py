"""The planner's account: as long as Lambda can answer, and honest about what it leaves out."""

import json

import pytest

from stillpoint.account import FOR_A_CALLER, give_account
from stillpoint.plan import Plan
from stillpoint.planning import make_plan
from tests.unit.builders import NOW, an_instance, limits

LAMBDA_LIMIT = 6 * 1024 * 1024


def a_plan(size: int, name: str = "") -> Plan:
    instances = [an_instance(f"i-{number:05}", name=name) for number in range(size)]
    return make_plan(instances, now=NOW, limits=limits())


@pytest.mark.parametrize("limit", [0, 5_000, 20_000, FOR_A_CALLER])
def test_an_account_keeps_within_its_bytes_and_says_what_it_leaves_out(limit: int) -> None:
    plan = a_plan(300)
    account = give_account(plan, (), NOW, dry_run=True, limit=limit)
    listed = account["instances"]
    assert len(listed) + account["left_out"] == 300
    assert [row["instance_id"] for row in listed] == [f"i-{n:05}" for n in range(len(listed))]
    assert ("note" in account) == bool(account["left_out"])
    assert len(json.dumps(listed)) <= max(limit, 2)


def test_what_starts_is_told_even_if_nobody_else_is() -> None:
    plan = a_plan(20)
    account = give_account(plan, plan.backups, NOW, dry_run=False, limit=0)
    assert [row["execution"] for row in account["backups"]] == [
        f"i-{number:05}-20261122T030000Z" for number in range(10)
    ]
    assert account["note"] == "20 of 20 instances are left out: they do not fit in"


def test_the_largest_account_is_one_that_lambda_can_answer() -> None:
    account = give_account(
        a_plan(9_000, name="\x00" * 100), (), NOW, dry_run=True, limit=FOR_A_CALLER
    )
    assert account["left_out"] > 0
    assert LAMBDA_LIMIT * 0.7 < len(json.dumps(account)) < LAMBDA_LIMIT
