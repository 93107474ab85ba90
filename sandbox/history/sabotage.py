"""A retention that errs on purpose, to show that the judge notices."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final
from unittest import mock

from stillpoint import pruning
from stillpoint.aws import spare
from stillpoint.retention import Decision, Ended, Point, Rule, decide

type Decide = Callable[..., Decision]


def _expires_one_too_many(
    points: Sequence[Point], rules: Sequence[Rule], now: datetime, ended: Ended | None = None
) -> Decision:
    decision = decide(points, rules, now, ended)
    keep = dict(decision.keep)
    if len(keep) <= 5:  # noqa: PLR2004  so that it is not seen at once
        return decision
    oldest = [*keep][-1]
    return Decision(
        {key: why for key, why in keep.items() if key != oldest},
        {**decision.expire, oldest: keep[oldest]},
    )


def _keeps_one_too_many(
    points: Sequence[Point], rules: Sequence[Rule], now: datetime, ended: Ended | None = None
) -> Decision:
    decision = decide(points, rules, now, ended)
    if not decision.expire:
        return decision
    newest, *_ = decision.expire
    why = decision.expire[newest]
    return Decision(
        {**decision.keep, newest: why},
        {key: each for key, each in decision.expire.items() if key != newest},
    )


SPARES_NOTHING: Final = "spares-nothing"
KINDS: Final[dict[str, Decide]] = {
    "expires-one-too-many": _expires_one_too_many,
    "keeps-one-too-many": _keeps_one_too_many,
}


def _spares_nothing(*_: Any, **__: Any) -> dict[str, str]:
    return {}


@contextmanager
def of(kind: str) -> Iterator[Any]:
    """Let retention err in a way while the context lasts; without a name it does not."""
    if not kind:
        yield
    elif kind == SPARES_NOTHING:
        with mock.patch.object(spare.Spare, "reasons", _spares_nothing):
            yield
    else:
        with mock.patch.object(pruning, "decide", KINDS[kind]):
            yield
