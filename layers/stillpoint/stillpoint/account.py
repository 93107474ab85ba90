"""The account that the planner gives of itself to whoever invoked it."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from stillpoint.plan import Backup, Plan, Verdict
from stillpoint.tags import iso

FOR_A_CALLER = 5_000_000
"""Bytes of an account that somebody waits for; Lambda answers with 6 MB at most (Lambda Developer
Guide, "Lambda quotas", invocation payload)."""
FOR_NOBODY = 100_000
"""Bytes of the account of a tick: the schedule rule does not read it."""


def give_account(
    plan: Plan, backups: Iterable[Backup], now: datetime, *, dry_run: bool, limit: int
) -> dict[str, Any]:
    """Return what was done and how every instance stands, ready for JSON.

    The instances are listed by id, as many as fit into so many bytes; `left_out` is how many are
    not, and `note` says so in words. What was started, and what was not, is always complete.
    """
    account: dict[str, Any] = {
        "now": iso(now),
        "dry_run": dry_run,
        "backups": [{"execution": b.execution_name, **b.to_input()} for b in backups],
        "not_started": [
            {"instance_id": refusal.instance_id, "reason": refusal.reason}
            for refusal in plan.refusals
        ],
        "instances": [],
        "left_out": 0,
    }
    room = limit - len(json.dumps(account))
    lines = account["instances"]
    for verdict in plan.verdicts:
        line = _line(verdict)
        room -= len(json.dumps(line)) + len(", ")
        if room < 0:
            left_out = len(plan.verdicts) - len(lines)
            note = f"{left_out} of {len(plan.verdicts)} instances are left out: they do not fit in"
            return account | {"left_out": left_out, "note": note}
        lines.append(line)
    return account


def _line(verdict: Verdict) -> dict[str, Any]:
    following = verdict.next_occurrence
    return {
        "instance_id": verdict.instance_id,
        "name": verdict.name,
        "status": verdict.status.value,
        "reason": verdict.reason,
        "next": iso(following) if following else None,
        "overdue": verdict.overdue,
    }
