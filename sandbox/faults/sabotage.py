"""A product that errs on purpose around its instances, to show that the checks notice."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock

from sandbox.faults.bases import BASES, FREEZES, PACED, SERVICE, Base, physics
from sandbox.faults.case import Case
from sandbox.faults.moments import ENROLMENT
from sandbox.virtual.journal import Journal
from sandbox.virtual.lambdas import Lambdas
from sandbox.virtual.scheduler import Scheduler
from sandbox.virtual.stack import make_stack
from stillpoint.admission import _Peers
from stillpoint.freeze import FreezeProof, FreezeWindow
from stillpoint.grouping import Group
from stillpoint.isolation import DONE, Undo
from stillpoint.plan import Limits
from stillpoint.recovery_point import Assessment, Consistency

type Change = Callable[[Any], Any]
"""Makes of what there is what takes its place."""


@dataclass(frozen=True, slots=True)
class Sabotage:
    """What is changed, by its place, the way through the cycle that shows it, and how it shows.

    `noticed` is a part of one of the violations that have to come of it.
    """

    changes: Mapping[str, Change]
    base: Base
    noticed: str

    def case(self, name: str) -> Case:
        """Return the case in which it shows."""
        return Case("sabotage", name, self.base.faults, (), fleet=self.base.fleet)


def _becomes(value: object) -> Change:
    return lambda _original: value


def _returns(value: object) -> Change:
    return lambda _original: lambda *_, **__: value


def _without_undo(write_ahead: Any) -> Any:
    def write(
        instances: Any, execution: str, occurrence: datetime, undos: Any, now: datetime
    ) -> None:
        write_ahead(instances, execution, occurrence, dict.fromkeys(undos, Undo()), now)

    return write


def _believe_the_plan(freeze: Mapping[str, Any] | None, _thaw: object) -> FreezeProof:
    """Prove a freeze by what was planned, whatever its thaw says."""
    if freeze is None or freeze.get("vss"):
        return FreezeProof(vss=freeze is not None)
    sent_at, seen_at = (datetime.fromisoformat(freeze[key]) for key in ("sent_at", "seen_at"))
    now, begin, end = (float(freeze[key]) for key in ("guest_now", "from", "until"))
    return FreezeProof(FreezeWindow.between(sent_at, seen_at, now=now, begin=begin, end=end))


def _flatter(assessment: Assessment, _scripts: object) -> Assessment:
    return replace(assessment, level=Consistency.APPLICATION) if assessment.level else assessment


class _BlindToPeers(_Peers):
    def obstacle(self, group: Group) -> None:
        del group


def _admit_all(admit: Any) -> Any:
    def wide(candidates: Any, subjects: Any, limits: Limits, now: datetime) -> Any:
        return admit(candidates, subjects, replace(limits, max_concurrent=1000), now)

    return wide


_PACED: Final = Base(fleet=PACED)
_REJOIN: Final = "stillpoint.aws.rejoin_instances"
_PRE_FAILS: Final = physics("script-fails", "db", stage="pre-script")
_HOLDER_DIES: Final = physics("auto-thaw-fires", "lone", delay_seconds=1)
_NO_STEPS: Final = SimpleNamespace(waiting={}, failures={})
KINDS: Final[dict[str, Sabotage]] = {
    "puts-nothing-back": Sabotage(
        {f"{_REJOIN}._put_into_service": _returns(DONE)}, BASES[SERVICE], "is not registered in"
    ),
    "undo-not-written": Sabotage(
        {"stillpoint.aws.prepare_backup._write_ahead": _without_undo},
        BASES["service-cut-off"],
        "is not registered in",
    ),
    "recovery-ignores-undo": Sabotage(
        {"stillpoint.aws.recover_instances.rejoin_left": _returns(_NO_STEPS)},
        BASES["service-cut-off"],
        "is Standby in",
    ),
    "stays-registered": Sabotage(
        {"stillpoint.aws.targets.drain": _returns(DONE)},
        BASES[SERVICE],
        "cuts the connections of a healthy target",
    ),
    "stays-in-service": Sabotage(
        {
            "stillpoint.aws.standby.enter": _returns(DONE),
            "stillpoint.aws.standby.in_service": _returns({}),
        },
        BASES[SERVICE],
        "terminates its member",
    ),
    "never-unmutes": Sabotage(
        {f"{_REJOIN}._unmute": _returns(None)}, BASES[SERVICE], "the mute rule stillpoint-"
    ),
    "no-post-script": Sabotage(
        {f"{_REJOIN}._run_scripts": _returns(None)}, BASES[SERVICE], "no post-script of"
    ),
    "post-script-anyway": Sabotage(
        {f"{_REJOIN}._calls_for_post": _returns(value=True)},
        Base((_PRE_FAILS,), SERVICE),
        "came without a pre-script",
    ),
    "tells-late": Sabotage(
        {f"{_REJOIN}.PATIENCE": _becomes(timedelta(hours=12))},
        BASES["no-room"],
        "nobody was told that web was out of service",
    ),
    "believes-in-freezes": Sabotage(
        {"stillpoint.outcome.prove": _becomes(_believe_the_plan)},
        Base((_HOLDER_DIES,), FREEZES),
        "of lone claims application, and lacks",
    ),
    "takes-both-halves": Sabotage(
        {"stillpoint.admission._Peers": _becomes(_BlindToPeers)},
        _PACED,
        "the anti-affinity peers ha-1 and ha-2 were down at once",
    ),
    "takes-all-at-once": Sabotage(
        {"stillpoint.planning.admit": _admit_all}, _PACED, "were down at once, of at most"
    ),
    "flatters": Sabotage(
        {"stillpoint.recovery_point._with_scripts": _becomes(_flatter)},
        BASES[FREEZES],
        "its applications were not at rest",
    ),
}


@contextmanager
def of(kind: str) -> Iterator[None]:
    """Let the product err in a way while the context lasts; without a name it does not."""
    if not kind:
        yield
        return
    _load_product()
    with ExitStack() as stack:
        for place, change in KINDS[kind].changes.items():
            name, _, attribute = place.rpartition(".")
            module = importlib.import_module(name)
            changed = change(getattr(module, attribute))
            stack.enter_context(mock.patch.object(module, attribute, changed))
        yield


def _load_product() -> None:
    """Import the handlers as a run does, each with the environment of its function."""
    scheduler = Scheduler(ENROLMENT)
    Lambdas(make_stack({}), scheduler, Journal(scheduler.now))
