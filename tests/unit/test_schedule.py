import time as stopwatch
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillpoint.errors import InvalidSchedule
from stillpoint.schedule import Schedule, fingerprint
from tests.unit.builders import at, schedule, schedules

NOW = at("2026-11-22 12:00")  # a Sunday
LONG_AGO = at("1970-01-01")

EXPRESSIONS = [
    # written, canonical, latest up to NOW, next after NOW
    ("daily", "daily 03:00 UTC", "2026-11-22 03:00", "2026-11-23 03:00"),
    ("  DAILY   9:05 ", "daily 09:05 UTC", "2026-11-22 09:05", "2026-11-23 09:05"),
    ("daily 03:00 asia/seoul", "daily 03:00 Asia/Seoul", "2026-11-21 18:00", "2026-11-22 18:00"),
    ("daily Asia/Seoul", "daily 03:00 Asia/Seoul", "2026-11-21 18:00", "2026-11-22 18:00"),
    ("daily Asia/Seoul 12:00", "daily 12:00 Asia/Seoul", "2026-11-22 03:00", "2026-11-23 03:00"),
    ("weekly sun 02:30", "weekly sun 02:30 UTC", "2026-11-22 02:30", "2026-11-29 02:30"),
    ("weekly Friday , mon", "weekly mon,fri 03:00 UTC", "2026-11-20 03:00", "2026-11-23 03:00"),
    ("monthly 1 04:00", "monthly 1 04:00 UTC", "2026-11-01 04:00", "2026-12-01 04:00"),
    ("monthly 31", "monthly 31 03:00 UTC", "2026-10-31 03:00", "2026-11-30 03:00"),
    ("monthly LAST 04:00", "monthly last 04:00 UTC", "2026-10-31 04:00", "2026-11-30 04:00"),
    ("rate(6 hours)", "rate(6 hours)", "2026-11-22 12:00", "2026-11-22 18:00"),
    ("Rate( 1  DAY )", "rate(1 day)", "2026-11-22 00:00", "2026-11-23 00:00"),
    ("rate(45 minutes)", "rate(45 minutes)", "2026-11-22 12:00", "2026-11-22 12:45"),
    (
        "cron(0 18 ? * mon-fri *) Asia/Seoul",
        "cron(0 18 ? * MON-FRI *) Asia/Seoul",
        "2026-11-20 09:00",
        "2026-11-23 09:00",
    ),
    ("cron(0 3 L * ? *)", "cron(0 3 L * ? *) UTC", "2026-10-31 03:00", "2026-11-30 03:00"),
    ("cron( 0 3  LW * ? * )", "cron(0 3 LW * ? *) UTC", "2026-10-30 03:00", "2026-11-30 03:00"),
    ("cron(0 3 15W * ? *)", "cron(0 3 15W * ? *) UTC", "2026-11-16 03:00", "2026-12-15 03:00"),
    ("cron(0 3 ? * 3#2 *)", "cron(0 3 ? * 3#2 *) UTC", "2026-11-10 03:00", "2026-12-08 03:00"),
    ("cron(0 3 ? * FRIL *)", "cron(0 3 ? * FRIL *) UTC", "2026-10-30 03:00", "2026-11-27 03:00"),
    ("cron(0 3 ? * L *)", "cron(0 3 ? * L *) UTC", "2026-11-21 03:00", "2026-11-28 03:00"),
    ("cron(5/20 3 * * ? *)", "cron(5/20 3 * * ? *) UTC", "2026-11-22 03:45", "2026-11-23 03:05"),
    (
        "cron(0 0 29 FEB ? 2024/4)",
        "cron(0 0 29 FEB ? 2024/4) UTC",
        "2024-02-29 00:00",
        "2028-02-29 00:00",
    ),
    ("cron(0 0 ? 2 MON#5 *)", "cron(0 0 ? 2 MON#5 *) UTC", "2016-02-29 00:00", "2044-02-29 00:00"),
    ("cron(0 0 1 1 ? 1999,2190)", "cron(0 0 1 1 ? 1999,2190) UTC", "1999-01-01", "2190-01-01"),
    ("cron(0 0 1 1 ? 1999)", "cron(0 0 1 1 ? 1999) UTC", "1999-01-01", None),
    ("cron(0 0 1 1 ? 2190)", "cron(0 0 1 1 ? 2190) UTC", None, "2190-01-01"),
]


@pytest.mark.parametrize(("text", "canonical", "latest", "following"), EXPRESSIONS)
def test_every_form_has_its_occurrences(
    text: str, canonical: str, latest: str | None, following: str | None
) -> None:
    one = schedule(text)
    assert one.expression == canonical
    assert one.newest(LONG_AGO, NOW) == (at(latest) if latest else None)
    assert one.next(NOW) == (at(following) if following else None)


@pytest.mark.parametrize(("text", "canonical"), [row[:2] for row in EXPRESSIONS])
def test_a_canonical_expression_means_the_same_schedule(text: str, canonical: str) -> None:
    assert schedule(canonical) == schedule(text)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "empty"),
        (" ; ;", "empty"),
        ("hourly", "starts with daily"),
        ("dayly 03:00", "starts with daily"),
        ("daily 24:00", "'24:00' is not a time of day"),
        ("daily 3:5", "'3:5' is not a time of day"),
        ("daily 03:00 04:00", "more than a time and a time zone"),
        ("daily UTC UTC", "more than a time and a time zone"),
        ("daily 03:00 Asia/Soul", "perhaps Asia/Seoul is meant"),
        ("daily 03:00 ../../etc/passwd", "is not a time zone"),
        ("daily 03:00 America", "is not a time zone"),
        ("weekly", "needs a day"),
        ("weekly 02:30", "'02:30' is not a day of the week"),
        ("weekly sun,foo", "'foo' is not a day of the week"),
        ("weekly ,", "is not a day of the week"),
        ("monthly", "needs a day"),
        ("monthly 0", "'0' is not a day of the month"),
        ("monthly 32", "'32' is not a day of the month"),
        ("monthly first", "'first' is not a day of the month"),
        ("rate(1 hours)", "must be written 'rate(1 hour)'"),
        ("rate(6 hour)", "must be written 'rate(6 hours)'"),
        ("rate(0 hours)", "from 1 minute to 3650 days"),
        ("rate(999999999 days)", "from 1 minute to 3650 days"),
        ("rate(6 weeks)", "is not a rate"),
        ("rate()", "is not a rate"),
        ("rate(6 hours) Asia/Seoul", "takes no time zone"),
        ("cron(0 3 * * *)", "has 5 fields but needs six"),
        ("cron(0 3 * * * *)", "needs a ?"),
        ("cron(0 3 ? * ? *)", "needs a ?"),
        ("cron(60 3 * * ? *)", "'60' is not a value of the minutes field"),
        ("cron(0 24 * * ? *)", "'24' is not a value of the hours field"),
        ("cron(0 3 0 * ? *)", "'0' is not a value of the day-of-month field"),
        ("cron(0 3 32W * ? *)", "'32' is not a value of the day-of-month field"),
        ("cron(0 3 1,15W * ? *)", "'15W' is not a value of the day-of-month field"),
        ("cron(0 3 * 13 ? *)", "'13' is not a value of the month field"),
        ("cron(0 3 ? * 0 *)", "'0' is not a value of the day-of-week field"),
        ("cron(0 3 ? * MON#6 *)", "'MON#6' is not a value of the day-of-week field"),
        ("cron(0 3 ? * SAT-SUN *)", "runs backwards"),
        ("cron(0 3 * * ? 1969)", "'1969' is not a value of the year field"),
        ("cron(0 3 * * ? 2200)", "'2200' is not a value of the year field"),
        ("cron(0/0 3 * * ? *)", "'0/0' is not a value of the minutes field"),
        ("cron(, 3 * * ? *)", "'' is not a value of the minutes field"),
        ("cron(\u0663 3 * * ? *)", "is not a value of the minutes field"),
        ("cron(0 3 30 2 ? *)", "never occurs"),
        ("cron(0 3 31 4,6,9,11 ? *)", "never occurs"),
        ("cron(0 3 29 2 ? 2023/2)", "never occurs"),
        ("cron(0 3 31W 2 ? *)", "never occurs"),
        ("cron(0 3 * * ? *) Asia/Seoul UTC", "only a time zone may stand"),
        ("cron(0 3 * * ? *", "starts with daily"),
    ],
)
def test_what_cannot_be_understood_is_explained(text: str, word: str) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        schedules(text)
    assert word in caught.value.reason


def test_several_schedules_are_sorted_and_not_doubled() -> None:
    expressions = [one.expression for one in schedules("rate(1 day); daily 3:00;;daily 03:00 UTC;")]
    assert expressions == ["daily 03:00 UTC", "rate(1 day)"]


def test_the_fingerprint_is_that_of_the_meaning() -> None:
    written = fingerprint(schedules("daily 03:00; rate(6 hours)"))
    assert len(written) == 8
    assert written == fingerprint(schedules("RATE(6 hours) ; daily"))
    assert written != fingerprint(schedules("daily 04:00; rate(6 hours)"))
    assert written != fingerprint(schedules("daily 03:00; rate(6 hours)", zone="Asia/Seoul"))


def test_an_occurrence_is_newer_than_the_start_and_not_later_than_the_end() -> None:
    daily = schedule("daily 03:00")
    assert daily.newest(at("2026-11-21 03:00"), at("2026-11-22 03:00")) == at("2026-11-22 03:00")
    assert daily.newest(at("2026-11-22 03:00"), at("2026-11-22 03:00")) is None
    assert daily.newest(at("2026-11-21 03:00"), at("2026-11-22 02:59:59")) is None
    assert daily.next(at("2026-11-22 02:59:59")) == at("2026-11-22 03:00")
    assert daily.next(at("2026-11-22 03:00")) == at("2026-11-23 03:00")


def test_a_rate_counts_from_the_unix_epoch() -> None:
    weekly = schedule("rate(7 days)")
    assert weekly.next(at("1970-01-01")) == at("1970-01-08")
    assert weekly.newest(at("2026-11-01"), at("2026-11-22")) == at("2026-11-19")


GRAMMAR = st.text(alphabet="0123456789*/,-?LW#MONSATFEB ", max_size=30)
ANY_TEXT = GRAMMAR | st.text(max_size=256) | st.builds("cron({})".format, GRAMMAR)
FIELD = st.sampled_from(["*", "0", "1-5", "*/2", "3,5", "1", "L", "LW", "2W", "1#2", "6L", "?"])
ANY_CRON = st.builds("cron({})".format, st.lists(FIELD, min_size=6, max_size=6).map(" ".join))


@given(ANY_TEXT | ANY_CRON, st.integers(0, 4_000_000_000))
def test_any_text_is_answered_in_bounded_time(text: str, second: int) -> None:
    now = LONG_AGO + timedelta(seconds=second)
    begun = stopwatch.process_time()
    for one in understood(text):
        newest, following = one.newest(LONG_AGO, now), one.next(now)
        assert newest is None or newest <= now
        assert following is None or following > now
    assert stopwatch.process_time() - begun < 2


def understood(text: str) -> tuple[Schedule, ...]:
    """Return the schedules of a text, none if it cannot be understood."""
    try:
        return schedules(text)
    except InvalidSchedule:
        return ()


@pytest.mark.parametrize(
    "text",
    [
        "cron(* * * * ? *) America/New_York",
        "cron(* * 31W * ? *) Australia/Lord_Howe",
        "cron(59 23 ? 12 TUE#5 2199)",
        "cron(0 0 29 2 ? 1972/44)",
        "cron(0 0 31 12 ? 1970,2199)",
        ";".join(f"cron({minute} * ? FEB SUN#5 *)" for minute in range(10)),
    ],
)
def test_the_most_laborious_expressions_take_milliseconds(text: str) -> None:
    begun = stopwatch.process_time()
    for one in schedules(text):
        for month in range(1, 13):
            one.newest(LONG_AGO, at(f"2026-{month:02}-08 06:30"))
            one.next(at(f"2026-{month:02}-08 06:30"))
    assert stopwatch.process_time() - begun < 2
