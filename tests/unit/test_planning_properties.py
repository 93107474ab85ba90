"""What holds for every plan of every fleet."""

import time as stopwatch
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from stillpoint.instance import Instance
from stillpoint.plan import Plan, Status
from stillpoint.planning import make_plan
from stillpoint.policy import Method
from stillpoint.schedule import fingerprint
from stillpoint.tags import Cursor, Cycle, Tag, parse_iso
from tests.unit.builders import NOW, an_instance, at, limits, schedules

SCHEDULES = ["daily 03:00", "daily 02:59", "rate(1 hour)", "daily 02:59; rate(10 minutes)", "dayly"]
SEEN = [None, "2026-11-21 03:00", "2026-11-22 02:58", "2026-11-22 03:00", "2026-11-22 03:00:20"]
HOLDS = [None, None, None, "true", "false", "2026-11-22/2026-11-22", "2026-12-01/2026-12-02", "x"]


def optional(values: Iterable[str]) -> st.SearchStrategy[str | None]:
    return st.none() | st.sampled_from(list(values))


@st.composite
def members(draw: st.DrawFn, number: int) -> Instance:
    choices = {
        Tag.GROUP: draw(optional(["a", "a:1", "b", "b:0", "c d"])),
        Tag.ANTI_AFFINITY: draw(optional(["x", "y"])),
        Tag.METHOD: draw(optional(["stop", "reboot", "none", "halt"])),
        Tag.HOLD: draw(st.sampled_from(HOLDS)),
    }
    written = draw(st.sampled_from(SCHEDULES))
    return an_instance(
        f"i-{number:02}",
        schedule=written,
        seen=None if written == "dayly" else draw(st.sampled_from(SEEN)),
        state=draw(st.sampled_from(["running"] * 5 + ["stopped", "pending", "terminated"])),
        in_backup=draw(st.sampled_from([False] * 5 + [True])),
        tags={str(key): value for key, value in choices.items() if value is not None},
    )


@st.composite
def fleets(draw: st.DrawFn) -> list[Instance]:
    return [draw(members(number)) for number in range(draw(st.integers(1, 10)))]


MAX_CONCURRENT = st.integers(1, 8)


def plan(
    fleet: Iterable[Instance],
    max_concurrent: int = 5,
    now: datetime = NOW,
    backup_now: list[str] | None = None,
) -> Plan:
    return make_plan(fleet, now=now, limits=limits(max_concurrent, 1), backup_now=backup_now)


def started(made: Plan) -> set[str]:
    return {member.instance_id for backup in made.backups for member in backup.members}


def after(made: Plan, fleet: Iterable[Instance], now: datetime = NOW) -> list[Instance]:
    """Return the fleet as it is once all effects of a plan are visible and backups have begun."""
    written: dict[str, dict[str, str]] = {
        key: {Tag.LAST: cursor.render()} for key, cursor in made.cursors.items()
    }
    for backup in made.backups:
        cycle = Cycle(backup.execution_name, "running", now)
        for member in backup.members:
            cursor = Cursor(backup.occurrence, _fingerprint(fleet, member.instance_id))
            written[member.instance_id] = {Tag.CYCLE: cycle.render(), Tag.LAST: cursor.render()}
    for instance_id, problem in made.problems.items():
        written.setdefault(instance_id, {})[Tag.PROBLEM] = problem
    return [replace(one, tags={**one.tags, **written.get(one.instance_id, {})}) for one in fleet]


def _fingerprint(fleet: Iterable[Instance], instance_id: str) -> str:
    (text,) = [one.tags[Tag.SCHEDULE] for one in fleet if one.instance_id == instance_id]
    return fingerprint(schedules(text))


@given(fleets(), MAX_CONCURRENT, st.randoms())
def test_a_plan_does_not_depend_on_the_order_of_the_instances(
    fleet: list[Instance], max_concurrent: int, random: Random
) -> None:
    shuffled = list(fleet)
    random.shuffle(shuffled)
    assert plan(shuffled, max_concurrent) == plan(fleet, max_concurrent)


@given(fleets(), MAX_CONCURRENT)
def test_planning_again_starts_nothing_twice_and_tells_nothing_twice(
    fleet: list[Instance], max_concurrent: int
) -> None:
    first = plan(fleet, max_concurrent)
    again = plan(after(first, fleet), max_concurrent)
    assert not started(first) & started(again)
    assert again.problems == {}
    assert again.missed == ()


@given(fleets(), MAX_CONCURRENT)
def test_a_planner_that_runs_before_its_tags_are_visible_names_the_same_executions(
    fleet: list[Instance], max_concurrent: int
) -> None:
    first = plan(fleet, max_concurrent)
    second = plan(fleet, max_concurrent, now=NOW + timedelta(seconds=30))
    assert [one.execution_name for one in first.backups] == [
        one.execution_name for one in second.backups
    ]
    turns = [replace(one, begins_at=NOW) for one in first.backups]
    assert turns == [replace(one, begins_at=NOW) for one in second.backups]


@given(fleets(), MAX_CONCURRENT, st.booleans())
def test_the_limit_is_never_exceeded(
    fleet: list[Instance], max_concurrent: int, on_demand: bool
) -> None:
    made = plan(fleet, max_concurrent, backup_now=_all(fleet) if on_demand else None)
    present = [one for one in fleet if one.state != "terminated"]
    busy = sum(Tag.CYCLE in one.tags for one in present)
    assert not made.backups or busy + len(started(made)) <= max_concurrent


@given(fleets(), MAX_CONCURRENT, st.booleans())
def test_of_one_anti_affinity_at_most_one_goes_down(
    fleet: list[Instance], max_concurrent: int, on_demand: bool
) -> None:
    made = plan(fleet, max_concurrent, backup_now=_all(fleet) if on_demand else None)
    tags = {one.instance_id: one.tags for one in fleet}
    going_down = [
        member.instance_id
        for backup in made.backups
        for member in backup.members
        if member.method is not Method.NONE
    ]
    names = Counter(
        tags[one][Tag.ANTI_AFFINITY] for one in going_down if Tag.ANTI_AFFINITY in tags[one]
    )
    assert all(count == 1 for count in names.values())
    down = {
        one.tags.get(Tag.ANTI_AFFINITY)
        for one in fleet
        if one.instance_id not in going_down
        and one.state != "terminated"
        and (Tag.CYCLE in one.tags or one.state != "running")
    }
    assert not down & set(names)


@given(fleets(), MAX_CONCURRENT, st.booleans())
def test_what_is_held_or_invalid_or_in_a_backup_or_gone_is_never_started(
    fleet: list[Instance], max_concurrent: int, on_demand: bool
) -> None:
    made = plan(fleet, max_concurrent, backup_now=_all(fleet) if on_demand else None)
    for one in fleet:
        if one.instance_id in started(made):
            assert one.state != "terminated"
            assert Tag.CYCLE not in one.tags
            assert one.tags.get(Tag.HOLD) in {None, "false", "2026-12-01/2026-12-02"}
            assert one.tags.get(Tag.METHOD) != "halt"
            assert one.tags.get(Tag.GROUP) != "c d"
            assert one.tags[Tag.SCHEDULE] != "dayly"


@given(fleets(), MAX_CONCURRENT)
def test_nothing_is_started_for_a_time_before_the_instance_was_seen_or_long_ago(
    fleet: list[Instance], max_concurrent: int
) -> None:
    made = plan(fleet, max_concurrent)
    seen = {one.instance_id: Cursor.parse(one.tags.get(Tag.LAST, "")) for one in fleet}
    for backup in made.backups:
        assert NOW - timedelta(hours=1) <= backup.occurrence <= NOW
        for member in backup.members:
            cursor = seen[member.instance_id]
            assert cursor is not None
            assert cursor.occurrence < backup.occurrence


@given(fleets(), MAX_CONCURRENT, st.booleans())
def test_everyone_gets_one_verdict_with_a_reason_and_starting_means_started(
    fleet: list[Instance], max_concurrent: int, on_demand: bool
) -> None:
    made = plan(fleet, max_concurrent, backup_now=_all(fleet) if on_demand else None)
    assert [one.instance_id for one in made.verdicts] == [one.instance_id for one in fleet]
    assert all(one.reason for one in made.verdicts)
    starting = {one.instance_id for one in made.verdicts if one.status is Status.STARTING}
    assert starting == started(made)
    if on_demand:
        assert {one.instance_id for one in made.refusals} == set(_all(fleet)) - starting


@given(fleets(), MAX_CONCURRENT, st.text(max_size=256))
def test_one_bad_instance_does_not_disturb_the_others(
    fleet: list[Instance], max_concurrent: int, text: str
) -> None:
    hostile = an_instance("i-zz", schedule="x" + text, seen=None, method="x" + text)
    assert plan([*fleet, hostile], max_concurrent).backups == plan(fleet, max_concurrent).backups


@settings(max_examples=40)
@given(fleets(), MAX_CONCURRENT, st.lists(st.integers(1, 25), min_size=1, max_size=15))
def test_over_hours_no_occurrence_is_started_twice(
    fleet: list[Instance], max_concurrent: int, durations: list[int]
) -> None:
    """Ticks, each backup lasting some ticks of five minutes."""
    names: Counter[str] = Counter()
    enrolled: dict[str, datetime] = {}
    ends: dict[str, int] = {}
    now = NOW
    for tick in range(48):
        made = plan(fleet, max_concurrent, now=now)
        for instance_id, cursor in made.cursors.items():
            enrolled.setdefault(instance_id, cursor.occurrence)
        for backup in made.backups:
            names[backup.execution_name] += 1
            for member in backup.members:
                ends[member.instance_id] = tick + durations[len(names) % len(durations)]
                assert enrolled.get(member.instance_id, at("1970-01-01")) < backup.occurrence
        fleet = [
            _without_cycle(one) if ends.get(one.instance_id) == tick else one
            for one in after(made, fleet, now)
        ]
        now += timedelta(minutes=5)
    assert all(count == 1 for count in names.values())


def _all(fleet: Iterable[Instance]) -> list[str]:
    return [one.instance_id for one in fleet]


def _without_cycle(one: Instance) -> Instance:
    return replace(one, tags={key: value for key, value in one.tags.items() if key != Tag.CYCLE})


def test_ten_thousand_instances_are_planned_in_a_fraction_of_a_tick() -> None:
    fleet = [
        an_instance(
            f"i-{number:017x}",
            schedule=f"cron({number % 60} {number // 60 % 24} ? * * *) Europe/Berlin",
            seen="2026-11-21 00:00",
            anti_affinity=f"pair-{number // 2}",
            retain="7d 4w 12m",
        )
        for number in range(10_000)
    ]
    begun = stopwatch.process_time()
    made = make_plan(fleet, now=NOW, limits=limits(500, 6, per_minute=500))
    assert stopwatch.process_time() - begun < 15
    assert len(made.backups) == 500
    assert len(made.verdicts) == 10_000
    assert all(parse_iso(str(one.to_input()["occurrence"])) for one in made.backups)
