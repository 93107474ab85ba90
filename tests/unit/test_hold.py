from zoneinfo import ZoneInfo

import pytest

from stillpoint.errors import InvalidHold
from stillpoint.hold import Hold, parse_hold
from tests.unit.builders import at

SEOUL = ZoneInfo("Asia/Seoul")
BERLIN = ZoneInfo("Europe/Berlin")


def held(text: str, zone: ZoneInfo = SEOUL) -> Hold:
    hold = parse_hold(text, zone)
    assert hold is not None
    return hold


def test_true_holds_until_the_tag_is_removed() -> None:
    hold = held(" True ")
    assert hold.active(at("1970-01-01"))
    assert hold.active(at("9999-01-01"))
    assert hold.until is None
    assert str(hold) == "until the tag is removed"


def test_false_holds_nothing() -> None:
    assert parse_hold("FALSE", SEOUL) is None


def test_dates_are_included_and_read_in_the_zone() -> None:
    hold = held("2026-12-24/2027-01-02")
    assert not hold.active(at("2026-12-23 14:59:59"))
    assert hold.active(at("2026-12-23 15:00"))
    assert hold.active(at("2027-01-02 14:59:59"))
    assert not hold.active(at("2027-01-02 15:00"))
    assert str(hold) == "until 2027-01-02T15:00:00Z"


def test_a_hold_of_one_day_is_that_day() -> None:
    hold = held("2026-10-25/2026-10-25", BERLIN)  # a day of 25 hours
    assert (hold.start, hold.until) == (at("2026-10-24 22:00"), at("2026-10-25 23:00"))


@pytest.mark.parametrize(
    ("text", "start", "until"),
    [
        ("2026-12-24T18:00Z / 2026-12-26T06:00:00Z", "2026-12-24 18:00", "2026-12-26 06:00"),
        ("2026-12-24T18:00:00+01:00/2026-12-25", "2026-12-24 17:00", "2026-12-25 15:00"),
        ("2026-12-24T18:00/2026-12-24T19:00", "2026-12-24 09:00", "2026-12-24 10:00"),
    ],
)
def test_instants_are_read_as_they_are(text: str, start: str, until: str) -> None:
    hold = held(text)
    assert (hold.start, hold.until) == (at(start), at(until))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "is not a hold"),
        ("yes", "'yes' is not a hold"),
        ("2026-12-24", "is not a hold"),
        ("2026-12-24/", "'' is not a date or an instant"),
        ("2026-02-30/2026-03-01", "'2026-02-30' is not a date or an instant"),
        ("2027-01-02/2026-12-24", "ends before it starts"),
        ("2026-12-24T18:00Z/2026-12-24T18:00Z", "ends before it starts"),
        ("2026-12-24/9999-12-31", "'9999-12-31' is not a date or an instant"),
        ("0001-01-01/2026-12-24", "'0001-01-01' is not a date or an instant"),
        ("a/b/c", "'a' is not a date or an instant"),
    ],
)
def test_what_cannot_be_understood_is_explained(text: str, word: str) -> None:
    with pytest.raises(InvalidHold) as caught:
        parse_hold(text, SEOUL)
    assert word in caught.value.reason
