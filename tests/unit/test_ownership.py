"""Which images are this stack's own: by their tags and by the name that nobody can change."""

import re
from datetime import datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stillpoint.ownership import CopySource, copy_name, has_our_name, is_ours
from stillpoint.recovery_point import image_name
from stillpoint.tags import Tag, iso
from tests.unit.builders import at

OCCURRENCE = at("2026-11-22 03:00")
TAGS: dict[str, str] = {
    Tag.STACK: "stillpoint",
    Tag.INSTANCE: "i-0a",
    Tag.EXECUTION: "i-0a-20261122T030000Z",
    Tag.OCCURRENCE: iso(OCCURRENCE),
}
NAME = "stillpoint-i-0a-20261122T030000Z"
HOME, ELSEWHERE = "eu-west-1", "us-east-1"

INSTANCE_IDS = st.from_regex(r"i-([0-9a-f]{8}|[0-9a-f]{17})", fullmatch=True)
MOMENTS = st.integers(0, 600_000_000).map(lambda seconds: OCCURRENCE + timedelta(seconds=seconds))
# What EC2 lets a name be made of, and texts that begin as ours do.
NAME_TEXTS = st.text("abcdeipst0123456789-TZ.", max_size=40) | st.lists(
    st.sampled_from(["-", "c", "2", "1", "copy", "-c2", "-2", ".", "x"]), max_size=5
).map(lambda parts: NAME + "".join(parts))
OUR_FORM = re.compile(rf"{NAME}(-([2-9]|[1-9][0-9]+))?(-c([2-9]|[1-9][0-9]+))?")


def owned(name: str, *, copy_of: str | None = None, source: str | None = None) -> bool:
    tags = TAGS if copy_of is None else TAGS | {Tag.COPY_OF: copy_of}
    return is_ours(name, tags, stack="stillpoint", source_region=source)


@given(INSTANCE_IDS, MOMENTS, st.integers(1, 99), st.integers(1, 99))
def test_every_name_that_we_give_is_ours(
    instance_id: str, occurrence: datetime, attempt: int, copy_attempt: int
) -> None:
    tags = TAGS | {Tag.INSTANCE: instance_id, Tag.OCCURRENCE: iso(occurrence)}
    made = image_name(instance_id, occurrence, attempt)
    assert is_ours(made, tags, stack="stillpoint", source_region=None)
    copied = tags | {Tag.COPY_OF: CopySource(HOME, "ami-1").render()}
    name = copy_name(made, copy_attempt)
    assert is_ours(name, copied, stack="stillpoint", source_region=HOME)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "web-before-the-upgrade",
        f"Copy of {NAME}",
        f"{NAME}-copy",
        f"{NAME}-",
        f"{NAME}-c",
        f"{NAME}-1",
        f"{NAME}-02",
        f"{NAME}-2-3",
        f"{NAME}-c1",
        f"{NAME}-c2-2",
        f"{NAME}-c2-c3",
        f"{NAME}-cc2",
        f"{NAME}-2x",
        f"{NAME}2",
        f"{NAME}.2",
        f"{NAME}c2",
        f" {NAME}",
        NAME.upper(),
        NAME.removesuffix("Z"),
        "stillpoint-i-0a-20261121T030000Z",
        "stillpoint-i-0b-20261122T030000Z",
        "stillpoint-i-0a0-20261122T030000Z",
    ],
)
def test_an_owners_copy_with_all_our_tags_and_another_name_is_not_ours(name: str) -> None:
    assert not owned(name)


@given(NAME_TEXTS)
def test_no_other_name_is_ours(name: str) -> None:
    assume(not OUR_FORM.fullmatch(name))
    assert not owned(name)


@pytest.mark.parametrize("key", [Tag.STACK, Tag.INSTANCE, Tag.OCCURRENCE])
@pytest.mark.parametrize("value", [None, "", "another", "2026-11-23T03:00:00Z"])
def test_our_name_without_the_tags_that_say_so_is_not_ours(key: Tag, value: str | None) -> None:
    tags = {name: text for name, text in TAGS.items() if name != key}
    if value is not None:
        tags[key] = value
    assert not is_ours(NAME, tags, stack="stillpoint", source_region=None)


@pytest.mark.parametrize("stack", ["stillpoint-2", "still", "Stillpoint", ""])
def test_what_another_stack_made_is_not_ours(stack: str) -> None:
    assert not is_ours(NAME, TAGS, stack=stack, source_region=None)


@pytest.mark.parametrize(
    ("copy_of", "source", "ours"),
    [
        (None, None, True),  # made here, looked at here
        (f"{ELSEWHERE}:ami-1", None, False),  # copied to here by a stack of the same name
        (f"{HOME}:ami-1", None, False),  # copied within its own Region, by nobody of ours
        (f"{HOME}:ami-1", HOME, True),  # copied by us, looked at in the Region of the copy
        (None, HOME, False),  # made there by a stack of the same name
        (f"{ELSEWHERE}:ami-1", HOME, False),  # copied there by another one
    ],
)
def test_a_copy_is_that_stacks_whose_region_it_was_copied_from(
    copy_of: str | None, source: str | None, ours: bool
) -> None:
    assert owned(NAME, copy_of=copy_of, source=source) is ours


@pytest.mark.parametrize("text", ["", ":", "eu-west-1", "eu-west-1:", ":ami-1"])
def test_a_source_that_cannot_be_read_is_none(text: str) -> None:
    assert CopySource.parse(text) is None
    assert not owned(NAME, copy_of=text, source=HOME)
    assert not owned(NAME, copy_of=text)


@given(st.from_regex(r"[a-z]{2}-[a-z]{4,9}-[1-9]", fullmatch=True), st.text(min_size=1))
def test_a_source_reads_back_as_it_was_written(region: str, image_id: str) -> None:
    source = CopySource(region, image_id)
    assert CopySource.parse(source.render()) == source


@given(
    st.text(),
    st.dictionaries(st.sampled_from([str(tag) for tag in Tag]), st.text()),
    st.none() | st.text(),
)
def test_no_name_and_no_tags_make_it_fail(
    name: str, tags: dict[str, str], source: str | None
) -> None:
    mine = is_ours(name, tags, stack="stillpoint", source_region=source)
    assert not mine or (has_our_name(name, tags) and tags[Tag.STACK] == "stillpoint")
