"""Describe calls that look at few things find what a look at everything would find."""

from hypothesis import given
from hypothesis import strategies as st

from sandbox.ec2.filters import candidates, matcher
from sandbox.ec2.tags import TagBook

KEYS = ("a", "b")
VALUES = ("1", "2", "1*")
THINGS = {f"i-{number}": f"i-{number}" for number in range(6)}

entries = st.lists(
    st.fixed_dictionaries(
        {
            "Name": st.sampled_from(["instance-id", "tag:a", "tag:b", "tag-key"]),
            "Values": st.lists(st.sampled_from([*THINGS, *KEYS, *VALUES]), min_size=1, max_size=3),
        }
    ),
    max_size=3,
)
changes = st.lists(
    st.tuples(
        st.sampled_from(sorted(THINGS)),
        st.sampled_from(["create", "merge", "remove", "forget", "look"]),
        st.sampled_from(KEYS),
        st.sampled_from(("1", "2")),
    ),
    max_size=12,
)


@given(filters=entries, history=changes)
def test_what_matches_is_among_the_candidates(
    filters: list[dict[str, object]], history: list[tuple[str, str, str, str]]
) -> None:
    book = TagBook()
    for moment, (thing, what, key, value) in enumerate(history):
        match what:
            case "create":
                book.create(thing, {key: value})
            case "merge":
                book.merge(thing, {key: value}, moment + 2)
            case "remove":
                book.remove(thing, {key: None}, moment + 2)
            case "forget":
                book.forget(thing)
            case _:
                book.holders(key, value)
    now = len(history)
    matches = matcher(
        filters, {"instance-id": lambda thing: [thing]}, lambda thing: book.seen(thing, now)
    )
    some = candidates(filters, THINGS, {"instance-id": lambda value: [value]}, book.holders)
    found = list(some)
    assert len(found) == len(set(found))
    assert {each for each in THINGS if matches(each)} <= set(found)


def test_a_filter_by_id_or_tag_looks_at_few() -> None:
    book = TagBook()
    for thing in THINGS:
        book.create(thing, {"a": "same", "b": thing})
    lookups = {"instance-id": lambda value: [value]}
    by_id = [{"Name": "instance-id", "Values": ["i-1", "i-99"]}]
    assert list(candidates(by_id, THINGS, lookups, book.holders)) == ["i-1"]
    by_tags = [{"Name": "tag:a", "Values": ["same"]}, {"Name": "tag:b", "Values": ["i-2"]}]
    assert list(candidates(by_tags, THINGS, lookups, book.holders)) == ["i-2"]
    assert list(candidates(None, THINGS, lookups, book.holders)) == list(THINGS)
