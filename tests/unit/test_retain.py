from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stillpoint.errors import InvalidRetain
from stillpoint.retain import (
    MOST,
    MOST_RECOVERY_POINTS,
    Period,
    Retain,
    Term,
    final_retention,
    parse_retain,
)


@pytest.mark.parametrize(
    ("text", "rule", "canonical"),
    [
        ("14", Retain(count=14), "14"),
        (" 0014 ", Retain(count=14), "14"),
        ("30d", Retain(terms=(Term(30, Period.DAY),)), "30d"),
        (
            "1Y  7d 4W",
            Retain(terms=(Term(7, Period.DAY), Term(4, Period.WEEK), Term(1, Period.YEAR))),
            "7d 4w 1y",
        ),
    ],
)
def test_every_form_is_read_and_written_canonically(
    text: str, rule: Retain, canonical: str
) -> None:
    assert parse_retain(text) == rule
    assert str(rule) == canonical


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "empty"),
        ("0", "from 1 to 1000"),
        ("1001", "from 1 to 1000"),
        ("0d", "outside 1d to 3650d"),
        ("11y", "outside 1y to 10y"),
        ("7d 8d", "two terms of the same period"),
        ("7d 14", "'14' is not a retention rule"),
        ("-3", "'-3' is not a retention rule"),
        ("9999999", "'9999999' is not a retention rule"),
        ("30 days", "'30' is not a retention rule"),
        ("\u0663d", "is not a retention rule"),
        ("for ever", "'for' is not a retention rule"),
    ],
)
def test_what_cannot_be_understood_is_explained(text: str, word: str) -> None:
    with pytest.raises(InvalidRetain) as caught:
        parse_retain(text)
    assert word in caught.value.reason


TERMS = st.sets(st.sampled_from(Period), min_size=1).flatmap(
    lambda periods: st.tuples(
        *(st.builds(Term, st.integers(1, MOST[p]), st.just(p)) for p in Period if p in periods)
    )
)
RULES = st.builds(Retain, count=st.integers(1, MOST_RECOVERY_POINTS)) | st.builds(
    Retain, terms=TERMS
)


@given(RULES)
def test_a_rule_survives_its_text(rule: Retain) -> None:
    assert parse_retain(str(rule)) == rule


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("365d", 365),
        ("52w", 364),
        ("12m", 360),
        (" 2Y ", 730),
        ("forever", None),
        ("FOREVER ", None),
    ],
)
def test_how_long_the_last_one_is_kept(text: str, days: int | None) -> None:
    assert final_retention(text) == (None if days is None else timedelta(days=days))


@pytest.mark.parametrize("text", ["", "14", "7d 4w", "ever", "0d", "11y"])
def test_the_last_one_is_kept_for_one_age_or_for_ever(text: str) -> None:
    with pytest.raises(InvalidRetain):
        final_retention(text)


@given(st.text(max_size=20))
@example("forever forever")
def test_no_other_error_comes_of_a_text(text: str) -> None:
    with suppress(InvalidRetain):
        final = final_retention(text)
        assert final is None or final > timedelta()
