"""What holds for every rule and every history of recovery points."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import cache
from itertools import accumulate
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stillpoint.retain import Period, Retain, Term, parse_retain
from stillpoint.retention import Ended, Point, Rule, decide, shortest_life, spacing
from stillpoint.zones import zone_named
from tests.unit.builders import at, schedule

DAY = timedelta(days=1)
# Zones that change at night, at midnight, by half an hour, by a whole day, and never.
ZONES = [
    *("UTC", "Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe"),
    *("Pacific/Apia", "Asia/Seoul"),
]
# Just before changes of the clock, a leap day, a week 53 and the day that Samoa left out.
STARTS = [
    *("2011-12-27 03:00", "2020-12-20 23:00", "2026-03-07 23:30", "2026-03-28 22:00"),
    *("2026-04-03 12:00", "2026-10-30 05:00", "2028-02-25 11:00"),
]

COUNTS = st.builds(Retain, count=st.integers(1, 6))
AGES = st.builds(
    lambda number, period: Retain(terms=(Term(number, period),)),
    st.integers(1, 5),
    st.sampled_from(Period),
)
LADDERS = st.sets(st.sampled_from(Period), min_size=2).flatmap(
    lambda periods: st.builds(
        lambda *terms: Retain(terms=terms),
        *(st.builds(Term, st.integers(1, 4), st.just(p)) for p in Period if p in periods),
    )
)
RETAINS = COUNTS | AGES | LADDERS
RULES = st.builds(Rule, RETAINS, st.sampled_from(ZONES).map(zone_named))
CLIMBS = st.builds(Rule, LADDERS, st.sampled_from(ZONES).map(zone_named))
ENDED = st.builds(Ended, st.none() | st.integers(0, 200).map(timedelta))
# Minutes to the next point: hours, about a day, or an outage.
GAPS = st.integers(0, 600) | st.integers(1380, 1500) | st.integers(1440, 90_000)


@st.composite
def occurrences(draw: st.DrawFn) -> list[datetime]:
    start = at(draw(st.sampled_from(STARTS)))
    gaps = draw(st.lists(GAPS, max_size=25))
    return [start + timedelta(minutes=minutes) for minutes in accumulate([0, *gaps])]


@st.composite
def histories(draw: st.DrawFn, *, may_be_pending: bool = True) -> list[Point]:
    """Points in the order of their occurrences, of which some are the same."""
    available = st.sampled_from([True] * 4 + [not may_be_pending])
    return [
        Point(f"ami-{number:03}", moment, available=draw(available))
        for number, moment in enumerate(draw(occurrences()))
    ]


def available_in(points: Sequence[Point]) -> list[Point]:
    return [point for point in points if point.available]


def later(points: Sequence[Point], hours: int) -> datetime:
    return points[-1].occurrence + timedelta(hours=hours)


HOURS = st.integers(0, 24 * 400)


@given(histories(), st.lists(RULES, max_size=3), HOURS, st.none() | ENDED)
def test_every_point_gets_one_verdict_with_a_reason(
    points: list[Point], rules: list[Rule], hours: int, ended: Ended | None
) -> None:
    decision = decide(points, rules, later(points, hours), ended)
    assert sorted([*decision.keep, *decision.expire]) == sorted(point.image_id for point in points)
    assert all([*decision.keep.values(), *decision.expire.values()])


@given(histories(), st.lists(RULES, max_size=3), HOURS, st.none() | ENDED, st.randoms())
def test_the_order_of_the_points_does_not_matter(
    points: list[Point], rules: list[Rule], hours: int, ended: Ended | None, random: Random
) -> None:
    now = later(points, hours)
    shuffled = list(points)
    random.shuffle(shuffled)
    assert decide(shuffled, rules, now, ended) == decide(points, rules, now, ended)


@given(histories(), st.lists(RULES, max_size=3), HOURS, st.none() | ENDED)
def test_deciding_again_expires_nothing_more_and_gives_the_same_reasons(
    points: list[Point], rules: list[Rule], hours: int, ended: Ended | None
) -> None:
    now = later(points, hours)
    first = decide(points, rules, now, ended)
    left = [point for point in points if point.image_id in first.keep]
    again = decide(left, rules, now, ended)
    assert again.expire == {}
    assert again.keep == first.keep


@given(histories(), st.lists(RULES, min_size=1, max_size=3), HOURS, st.none() | ENDED)
def test_the_newest_available_point_goes_only_with_its_instance_and_last(
    points: list[Point], rules: list[Rule], hours: int, ended: Ended | None
) -> None:
    assume(available_in(points))
    newest = available_in(points)[-1]
    now = later(points, hours)
    decision = decide(points, rules, now, ended)
    if newest.image_id in decision.expire:
        assert ended is not None
        assert ended.final is not None
        assert newest.occurrence + ended.final <= now
        assert set(decision.expire) == {point.image_id for point in available_in(points)}


@given(histories(), RULES, HOURS, st.none() | ENDED)
def test_never_more_is_kept_than_was_asked_for(
    points: list[Point], rule: Rule, hours: int, ended: Ended | None
) -> None:
    assume(rule.retain.count is not None or len(rule.retain.terms) > 1)
    decision = decide(points, [rule], later(points, hours), ended)
    most = rule.retain.count or sum(term.number for term in rule.retain.terms)
    kept = [point for point in available_in(points) if point.image_id in decision.keep]
    assert len(kept) <= most + (ended is not None)


@given(histories(), st.lists(RULES, max_size=3), HOURS, st.none() | ENDED)
def test_what_is_not_available_is_kept_and_changes_nothing(
    points: list[Point], rules: list[Rule], hours: int, ended: Ended | None
) -> None:
    now = later(points, hours)
    decision = decide(points, rules, now, ended)
    assert decision.expire == decide(available_in(points), rules, now, ended).expire


@given(histories(), st.lists(RULES, min_size=1, max_size=3), HOURS)
def test_a_point_expires_only_if_every_rule_expires_it(
    points: list[Point], rules: list[Rule], hours: int
) -> None:
    now = later(points, hours)
    each = [set(decide(points, [rule], now).expire) for rule in rules]
    assert set(decide(points, rules, now).expire) == set.intersection(*each)


@given(histories(), st.lists(RULES, min_size=1, max_size=2), HOURS, HOURS, st.none() | ENDED)
def test_what_has_expired_would_not_be_kept_later(
    points: list[Point], rules: list[Rule], hours: int, more: int, ended: Ended | None
) -> None:
    first = decide(points, rules, later(points, hours), ended)
    second = decide(points, rules, later(points, hours + more), ended)
    assert set(first.expire) <= set(second.expire)


@given(histories(), COUNTS | LADDERS, st.sampled_from(ZONES), HOURS)
def test_an_outage_of_the_backups_expires_nothing(
    points: list[Point], retain: Retain, zone: str, hours: int
) -> None:
    rules = [Rule(retain, zone_named(zone))]
    now = points[-1].occurrence
    assert decide(points, rules, later(points, hours)) == decide(points, rules, now)


@given(
    histories(may_be_pending=False),
    st.lists(RULES, min_size=1, max_size=2),
    st.none() | ENDED,
    st.integers(0, 120),
    st.randoms(),
)
def test_deciding_at_any_times_on_the_way_comes_to_what_deciding_once_does(
    points: list[Point], rules: list[Rule], ended: Ended | None, days_after: int, random: Random
) -> None:
    """Retention may run after every backup, or now and then; the instance may end at the end."""
    left: list[Point] = []
    for point in points:
        left.append(point)
        if random.random() < 0.8:
            decision = decide(left, rules, point.occurrence)
            left = [one for one in left if one.image_id in decision.keep]
    end = later(points, 24 * days_after)
    for day in range(days_after + 1):
        if random.random() < 0.8 or day == days_after:
            decision = decide(left, rules, later(points, 24 * day), ended)
            left = [one for one in left if one.image_id in decision.keep]
    once = decide(points, rules, end, ended)
    assert {point.image_id for point in left} == set(once.keep)


def _period_start(day: date, period: Period) -> date:
    match period:
        case Period.DAY:
            return day
        case Period.WEEK:
            return day - timedelta(days=day.weekday())
        case Period.MONTH:
            return day.replace(day=1)
        case Period.YEAR:
            return day.replace(month=1, day=1)


def climbed(days: Sequence[date], terms: Sequence[Term]) -> set[int]:
    """Say which of some days, newest first, a ladder keeps: each judged alone, by definition."""

    @cache
    def is_free(rung: int, index: int) -> bool:
        """Whether it is the newest of its period and no earlier term keeps it."""
        period = terms[rung].period
        mine = _period_start(days[index], period)
        return all(_period_start(day, period) != mine for day in days[:index]) and not any(
            is_kept(earlier, index) for earlier in range(rung)
        )

    @cache
    def is_kept(rung: int, index: int) -> bool:
        newer = sum(is_free(rung, other) for other in range(index))
        return is_free(rung, index) and newer < terms[rung].number

    return {
        index
        for index in range(len(days))
        if any(is_kept(rung, index) for rung in range(len(terms)))
    }


@given(histories(may_be_pending=False), CLIMBS)
def test_a_ladder_keeps_what_its_definition_says(points: list[Point], rule: Rule) -> None:
    newest_first = points[::-1]
    days = [point.occurrence.astimezone(rule.zone).date() for point in newest_first]
    expected = {newest_first[index].image_id for index in climbed(days, rule.retain.terms)}
    assert set(decide(points, [rule], later(points, 1)).keep) == expected


@given(histories(may_be_pending=False), CLIMBS, st.integers(0, 100))
def test_a_ladder_of_an_ended_instance_goes_on_as_with_a_point_a_day(
    points: list[Point], rule: Rule, days_after: int
) -> None:
    now = later(points, 24 * days_after)
    last = points[-1].occurrence.astimezone(rule.zone).date()
    missing = (now.astimezone(rule.zone).date() - last).days
    newest_first = points[::-1]
    days = [
        *(last + number * DAY for number in range(missing, 0, -1)),
        *(point.occurrence.astimezone(rule.zone).date() for point in newest_first),
    ]
    expected = {
        newest_first[index - missing].image_id
        for index in climbed(days, rule.retain.terms)
        if index >= missing
    }
    decision = decide(points, [rule], now, Ended(timedelta(0)))
    # Of an ended instance the newest stays as long as any.
    assert set(decision.keep) == expected | ({newest_first[0].image_id} if expected else set())


def _end_of_age(occurrence: datetime, term: Term, zone: str) -> datetime:
    """Count days one by one until the calendar has gone on by the term."""
    start = occurrence.astimezone(zone_named(zone)).date()
    months = {Period.MONTH: term.number, Period.YEAR: 12 * term.number}.get(term.period)
    if months is None:
        return occurrence + term.number * (7 if term.period is Period.WEEK else 1) * DAY
    day, passed = start, 0
    while passed < months:
        day += DAY
        passed += day.day == 1
    while day.day < start.day and (day + DAY).month == day.month:
        day += DAY
    return occurrence + (day - start)


@given(histories(may_be_pending=False), AGES, st.sampled_from(ZONES), st.integers(0, 24 * 2500))
def test_an_age_keeps_what_the_calendar_calls_younger(
    points: list[Point], retain: Retain, zone: str, hours: int
) -> None:
    now = later(points, hours)
    (term,) = retain.terms
    young = {p.image_id for p in points if now < _end_of_age(p.occurrence, term, zone)}
    decision = decide(points, [Rule(retain, zone_named(zone))], now)
    assert set(decision.keep) == young | {points[-1].image_id}


@given(occurrences(), RULES)
def test_no_scheduled_point_lives_shorter_than_the_shortest_life(
    moments: list[datetime], rule: Rule
) -> None:
    moments = sorted(set(moments))
    shortest = shortest_life(rule.retain, spacing(moments, rule.zone))
    points = [Point(f"ami-{n:03}", moment, available=True) for n, moment in enumerate(moments)]
    by_id = {point.image_id: point.occurrence for point in points}
    ticks = sorted({*moments, *(m + shortest - timedelta(seconds=1) for m in moments)})
    for now in ticks:
        made = [point for point in points if point.occurrence <= now]
        for image_id in decide(made, [rule], now).expire:
            assert now - by_id[image_id] >= shortest


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("retain", ["7d 4w 12m 1y", "4w 3m", "14", "2m"])
def test_three_years_of_daily_retention_leave_what_one_pass_at_the_end_would(
    retain: str, zone: str
) -> None:
    rule = Rule(parse_retain(retain), zone_named(zone))
    daily = schedule(f"daily 23:30 {zone}")
    everything: list[Point] = []
    left: list[Point] = []
    moment = at("2023-11-22 00:00")
    for number in range(3 * 365):
        due = daily.next(moment)
        assert due is not None
        moment = due
        point = Point(f"ami-{number:04}", moment, available=True)
        everything.append(point)
        decision = decide([*left, point], [rule], moment)
        left = [one for one in [*left, point] if one.image_id in decision.keep]
    once = decide(everything, [rule], moment)
    assert {point.image_id for point in left} == set(once.keep)
    asked = {"7d 4w 12m 1y": 24, "4w 3m": 7, "14": 14}
    assert retain not in asked or len(left) == asked[retain]
