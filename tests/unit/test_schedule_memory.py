"""A schedule remembers between which occurrences it is: the answers are those of a fresh look."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillpoint import recurrence
from stillpoint.recurrence import WallClock
from tests.unit.builders import at, schedule

EXPRESSIONS = (
    "daily 02:30 Europe/Berlin",
    "weekly sun 02:30 America/New_York",
    "monthly 31 04:00",
    "cron(0/20 1-3 ? * * *) Europe/Berlin",
    "cron(0 12 25 12 ? 2026)",
    "cron(30 2 29 3 ? 2026) Europe/Berlin",
)
CHANGE = at("2026-03-29 00:00")
MOMENTS = st.one_of(
    st.integers(0, 4 * 86_400).map(lambda seconds: CHANGE + timedelta(seconds=seconds)),
    st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1)).map(  # noqa: DTZ001 (below)
        lambda moment: at(str(moment))
    ),
)


def fresh(clock: WallClock, moment: datetime) -> tuple[datetime | None, datetime | None]:
    recurrence._gaps.clear()
    following = clock.next(moment)
    return clock.latest(moment), following


@given(st.sampled_from(EXPRESSIONS), st.lists(MOMENTS, min_size=1, max_size=6))
def test_whatever_was_asked_before_the_answers_are_the_same(
    expression: str, moments: list[datetime]
) -> None:
    clock = schedule(expression).recurrence
    assert isinstance(clock, WallClock)
    alone = [fresh(clock, moment) for moment in moments]
    recurrence._gaps.clear()
    assert [(clock.latest(moment), clock.next(moment)) for moment in moments] == alone


def test_an_occurrence_belongs_to_the_time_that_it_begins() -> None:
    clock = schedule("daily 03:00").recurrence
    due = at("2026-11-22 03:00")
    before = due - timedelta(seconds=1)
    assert (clock.latest(before), clock.next(before)) == (due - timedelta(days=1), due)
    assert (clock.latest(due), clock.next(due)) == (due, due + timedelta(days=1))
    assert (clock.latest(before), clock.next(before)) == (due - timedelta(days=1), due)


def test_it_does_not_remember_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrence, "_MOST_GAPS", 2)
    recurrence._gaps.clear()
    noon = at("2026-11-22 12:00")
    for hour in range(5):
        newest = schedule(f"daily 0{hour}:00").recurrence.latest(noon)
        assert newest == at(f"2026-11-22 0{hour}:00")
        assert len(recurrence._gaps) <= 2
