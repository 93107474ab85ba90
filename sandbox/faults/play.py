"""One run: enrolment, the occurrence with its faults, and the next occurrence, which succeeds."""

import time
from typing import Final

from sandbox.faults.case import Case
from sandbox.faults.fleet import Fleet
from sandbox.faults.fleets import FLEETS
from sandbox.faults.invariants import LEVEL, Check
from sandbox.faults.moments import DAY, ENROLMENT, OCCURRENCE
from sandbox.faults.owner import Owner
from sandbox.faults.result import Result
from sandbox.virtual.cloud import Cloud, running
from sandbox.virtual.executions import Record
from sandbox.virtual.mischief import Kind
from sandbox.virtual.scheduler import SchedulerError
from sandbox.virtual.services import UnknownCall

MINUTE: Final = 60.0
# So long everything has to stay as it is: longer than three sweeps, and than a planner that nobody
# told of a failure takes to find it, to pause, and to make another attempt.
QUIET: Final = 23 * MINUTE
# By then everything has to have come right, counted from the end of the last fault.
BOUND: Final = 5 * 3600.0
NEXT_BOUND: Final = 2 * 3600.0
LEAD: Final = 130.0  # before the next occurrence


def play(case: Case, *, always_history: bool = False) -> Result:
    """Play a case in a cloud of its own. The process must live in virtual time already."""
    begun = time.process_time()
    seed = f"{case.seed}"
    plan = FLEETS[case.fleet]
    parameters = {**plan.parameters, "TickInterval": f"{case.tick_minutes}"}
    cloud = Cloud(seed=seed, start=ENROLMENT, parameters=parameters, faults=case.faults)
    with running(cloud, seed):
        run = _Run(case, cloud)
        violations = run.violations()
        verdict = run.verdict()
    entries = cloud.journal.entries
    return Result(
        case=case,
        verdict=verdict,
        outcome=_outcome(cloud),
        violations=tuple(violations),
        history=tuple(map(str, entries)) if violations or always_history else (),
        told=tuple(dict.fromkeys(m.event or "notice" for m in cloud.journal.messages)),
        calls=tuple((*point, at - ENROLMENT) for point, at in cloud.journal.calls.items()),
        states=tuple((state, at - ENROLMENT) for state, at in cloud.journal.states.items()),
        virtual_seconds=cloud.scheduler.now() - ENROLMENT,
        cpu_seconds=time.process_time() - begun,
    )


class _Run:
    """The phases of a run."""

    def __init__(self, case: Case, cloud: Cloud) -> None:
        self._case = case
        self._cloud = cloud
        self._fleet = Fleet(cloud, FLEETS[case.fleet])
        Owner(cloud, self._fleet)
        self._check = Check(cloud, self._fleet)

    def violations(self) -> list[str]:
        """Play it, and return what did not hold."""
        try:
            self._cloud.run_until(OCCURRENCE + MINUTE)
            found = self._settle(BOUND)
            found += self._check.violations()
            found += self._check.untold_gaps(OCCURRENCE)
            struck = self._cloud.mischief.struck
            idle = [each for each in self._case.must_strike if not struck(each)]
            found += [f"the fault {each.kind} at {each.caller} never struck" for each in idle]
            if not found:
                found = self._next_occurrence()
        except (SchedulerError, UnknownCall) as error:
            cause = error.__cause__ or error
            return [f"the run broke off: {type(cause).__name__}: {cause}"]
        return found

    def verdict(self) -> str:
        """Return what became of the occurrence that the faults struck, in a word."""
        executions = _first_executions(self._cloud)
        if executions and all(one.status == "SUCCEEDED" for one in executions):
            return "unharmed"
        return "lost" if self._check.recovery_points(OCCURRENCE) else "protected"

    def _settle(self, bound: float) -> list[str]:
        """Let time pass until all is quiet for a while; return what is not by then."""
        quiet_since = None
        over_at = self._cloud.scheduler.now()
        restless: list[str] = []
        while True:
            now = self._cloud.scheduler.now()
            if not self._faults_are_over(now):
                over_at = now
            restless = self._check.unsettled()
            if restless or over_at == now:
                quiet_since = None
            elif quiet_since is None:
                quiet_since = now
            elif now - quiet_since >= QUIET:
                return []
            if now - over_at > bound:
                return restless or [f"it did not come to rest within {bound / 3600:g} hours"]
            self._cloud.run_until(now + MINUTE)

    def _faults_are_over(self, now: float) -> bool:
        if now < self._fleet.mended_at or not self._cloud.mischief.over:
            return False
        lasting = [
            float(str(fault.physics.get("after_seconds", 0))) + float(str(seconds))
            for fault in self._case.faults
            if fault.kind is Kind.PHYSICS and (seconds := fault.physics.get("seconds"))
        ]
        return now >= ENROLMENT + max(lasting, default=0.0)

    def _next_occurrence(self) -> list[str]:
        """Lift whatever is left, and see the next backup succeed."""
        following = OCCURRENCE + DAY
        while following < self._cloud.scheduler.now() + LEAD:
            following += DAY
        self._cloud.journal.surveying = False
        self._cloud.mischief.lift()
        self._cloud.world.faults.clear()
        self._fleet.mend_agents()
        self._cloud.rules.quiet_until = following - LEAD
        self._cloud.run_until(following + MINUTE)
        return [
            f"at the next occurrence: {each}"
            for each in [
                *self._settle(NEXT_BOUND),
                *self._check.violations(),
                *self._check.recovery_points(following),
            ]
        ]


def _first_executions(cloud: Cloud) -> list[Record]:
    """Return the executions of the first occurrence."""
    limit = OCCURRENCE + DAY / 2
    return [one for one in cloud.executions.records.values() if one.started_at < limit]


def _outcome(cloud: Cloud) -> str:
    """Return how the executions of the first occurrence ended, and what came of them.

    That is the longest downtime, and the levels that were claimed, of both occurrences.
    """
    ended = [
        one.status.lower() + (f" ({one.error})" if one.error else "")
        for one in _first_executions(cloud)
    ]
    downs = [
        down["downtime_seconds"]
        for row in cloud.world.truth()["instances"]
        for down in row["downs"]
        if down["downtime_seconds"] is not None
    ]
    longest = f"; longest down {max(downs):.0f} s" if downs else ""
    levels = ", ".join(f"{name} {'/'.join(some)}" for name, some in _levels(cloud).items())
    return (
        ", ".join(ended or ["nothing was started"]) + longest + f"; claimed {levels or 'nothing'}"
    )


def _levels(cloud: Cloud) -> dict[str, list[str]]:
    """Return the levels that were claimed of the images that there still are, by instance."""
    levels: dict[str, list[str]] = {}
    for row in cloud.world.truth()["images"]:
        level = row["tags"].get(LEVEL)
        if level and row["state"] != "deregistered":
            levels.setdefault(row["instance_name"], []).append(level)
    return levels
