from datetime import timedelta
from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from stillpoint.pacing import WRITE_AHEAD, Pace
from stillpoint.plan import Status
from tests.unit.builders import NOW, an_instance, plan, started, verdict

SECOND = timedelta(seconds=1)
PACES = st.builds(
    Pace,
    st.integers(1, 300),
    st.sampled_from([1, 2, 5, 10, 15]).map(lambda n: timedelta(minutes=n)),
)


def test_a_lone_backup_begins_at_once() -> None:
    pace = Pace(100, timedelta(minutes=1))
    assert pace.beginnings([1], now=NOW, scheduled_at=NOW) == (NOW,)


def test_a_group_takes_as_many_turns_as_it_has_members() -> None:
    pace = Pace(60, timedelta(minutes=1))
    assert pace.beginnings([1, 4, 1], now=NOW, scheduled_at=NOW) == (
        NOW,
        NOW + SECOND,
        NOW + 5 * SECOND,
    )


@given(PACES, st.lists(st.integers(1, 40), max_size=60), st.integers(0, 100))
def test_all_begin_in_their_order_and_can_be_seen_before_the_next_tick_if_that_is_not_too_fast(
    pace: Pace, sizes: list[int], late: int
) -> None:
    scheduled = NOW - late * SECOND
    moments = pace.beginnings(sizes, now=NOW, scheduled_at=scheduled)
    assert list(moments) == sorted(moments)
    assert len(moments) == len(sizes)
    fastest = timedelta(minutes=1) / pace.per_minute / 2
    ends = max(scheduled + pace.tick - WRITE_AHEAD, NOW + fastest * sum(sizes))
    assert all(NOW <= moment < ends for moment in moments)


@given(PACES, st.lists(st.integers(1, 40), min_size=2, max_size=60), st.integers(0, 1000))
def test_no_tick_goes_at_more_than_twice_the_pace(pace: Pace, sizes: list[int], late: int) -> None:
    moments = pace.beginnings(sizes, now=NOW, scheduled_at=NOW - late * SECOND)
    fastest = timedelta(minutes=1) / pace.per_minute / 2
    steps = [(b - a) / size for (a, b), size in zip(pairwise(moments), sizes, strict=False)]
    assert min(steps) >= fastest - SECOND / 1000


def test_instances_with_peers_begin_before_the_others() -> None:
    """Until an instance is down nothing keeps its peer from being stopped, too."""
    made = plan(an_instance("i-0a"), an_instance("i-0b"), an_instance("i-0c", anti_affinity="pair"))
    assert started(made) == ["i-0c", "i-0a", "i-0b"]
    assert made.backups[0].begins_at == NOW


@given(PACES, st.lists(st.integers(1, 40), min_size=2, max_size=60))
def test_each_begins_when_those_before_it_have_had_their_turn(pace: Pace, sizes: list[int]) -> None:
    """The steps are even, and never longer than the pace asks for."""
    moments = pace.beginnings(sizes, now=NOW, scheduled_at=NOW)
    longest = timedelta(minutes=1) / pace.per_minute
    steps = [(b - a) / size for (a, b), size in zip(pairwise(moments), sizes, strict=False)]
    assert max(steps) - min(steps) < SECOND / 1000
    assert max(steps) <= longest + SECOND / 1000
    whole = list(accumulate(sizes))[-1] <= pace.per_tick * 0.7
    assert not whole or max(steps) >= longest - SECOND / 1000


def test_no_more_begin_than_the_pace_allows_until_the_next_tick() -> None:
    fleet = [an_instance(f"i-{n:02x}") for n in range(5)]
    made = plan(*fleet, max_concurrent=10, per_minute=3)
    assert started(made) == ["i-00", "i-01", "i-02"]
    assert verdict(made, "i-03").status is Status.WAITING
    assert "waits for its turn: 3 of at most 3" in verdict(made, "i-03").reason
    assert "waits in line behind" in verdict(made, "i-04").reason


def test_a_tick_of_five_minutes_begins_five_times_as_many() -> None:
    fleet = [an_instance(f"i-{n:02x}") for n in range(20)]
    made = plan(*fleet, max_concurrent=100, per_minute=3, tick=5)
    assert len(made.backups) == 15


def test_a_group_that_is_larger_than_the_pace_begins_when_it_is_first() -> None:
    group = [an_instance(f"i-0{n}", group="erp") for n in range(4)]
    made = plan(*group, an_instance("i-09"), max_concurrent=10, per_minute=2)
    assert started(made) == ["group-erp"]
    assert verdict(made, "i-09").status is Status.WAITING


def test_the_turns_of_a_plan_are_in_the_input_of_its_executions() -> None:
    fleet = [an_instance(f"i-{n:02x}") for n in range(3)]
    made = plan(*fleet, per_minute=60)
    assert [backup.to_input()["begins_at"] for backup in made.backups] == [
        "2026-11-22T03:00:20Z",
        "2026-11-22T03:00:21Z",
        "2026-11-22T03:00:22Z",
    ]
