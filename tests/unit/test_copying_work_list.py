"""What is still to be copied, and which attempt a copy is."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillpoint.copying import Task, WorkList, attempt_of
from stillpoint.ownership import copy_name
from stillpoint.tags import VALUE_LIMIT, Tag, portable
from tests.unit.copied import NOW, a_source, tasks

work_lists = st.lists(tasks, min_size=1, max_size=5, unique_by=lambda task: task.region).map(
    lambda found: WorkList(tuple(found))
)


@given(work_lists)
def test_a_work_list_is_read_as_it_was_written(work: WorkList) -> None:
    assert WorkList.parse(work.render()) == work


@given(work_lists)
def test_a_work_list_fits_a_tag(work: WorkList) -> None:
    assert len(work.render()) <= VALUE_LIMIT
    assert portable(work.render()) == work.render()


@given(st.text(alphabet="eu-w1st =@:T0Z2alrd9", max_size=60) | st.text(max_size=60))
def test_whatever_stands_in_the_tag_is_a_work_list_or_nothing(text: str) -> None:
    work = WorkList.parse(text)
    assert work is None or work.render() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "eu-west-1  us-west-2",
        "eu-west-1 eu-west-1",
        "everywhere",
        "eu-west-1=0@20261122T030000Z",
        "eu-west-1=1",
        "eu-west-1=1@20261399T030000Z",
        "eu-west-1=1@2026-11-22T03:00:00Z",
        "eu-west-1:told",
        "eu-west-1 eu-west-2 eu-west-3 us-west-1 us-west-2 us-east-1",
    ],
)
def test_a_work_list_that_cannot_be_read_begins_anew_by_the_policy(text: str) -> None:
    assert WorkList.parse(text) is None
    begun = WorkList.of({Tag.COPYING: text, Tag.COPY_TO: "us-west-2 eu-central-1"})
    assert begun == WorkList((Task("us-west-2"), Task("eu-central-1")))


def test_a_work_list_of_a_policy_that_names_no_region_is_empty() -> None:
    assert WorkList.of({Tag.COPYING: "?"}).tasks == ()
    assert WorkList.of({Tag.COPYING: "?", Tag.COPY_TO: "nowhere"}).tasks == ()


def test_a_work_list_loses_only_the_region_that_is_done() -> None:
    work = WorkList((Task("us-west-2"), Task("eu-central-1", alerted=True)))
    assert work.without("us-west-2").render() == "eu-central-1:alerted"
    assert work.without("eu-west-1") == work
    assert work.task("eu-west-1") is None


def test_what_changes_in_one_region_leaves_the_others_as_they_are() -> None:
    work = WorkList((Task("us-west-2"), Task("eu-central-1")))
    changed = work.with_task(Task("us-west-2").failed(1, NOW))
    assert changed.render() == "us-west-2=1@20261122T040000Z eu-central-1"


def test_the_pauses_grow_up_to_half_a_day() -> None:
    task, minutes = Task("us-west-2"), []
    for _ in range(8):
        task = task.failed(task.attempt, NOW)
        assert task.not_before is not None
        minutes.append((task.not_before - NOW) / timedelta(minutes=1))
    assert minutes == [5, 15, 60, 180, 360, 720, 720, 720]


def test_failures_are_counted_up_to_what_a_tag_can_say() -> None:
    task = Task("us-west-2", 9999, NOW).failed(10_000, NOW)
    assert WorkList.parse(task.render()) == WorkList((task,))


@pytest.mark.parametrize("attempt", [1, 2, 3, 12, 9999])
def test_the_attempt_of_a_copy_is_read_from_its_name(attempt: int) -> None:
    source = a_source()
    assert attempt_of(copy_name(source.name, attempt), source) == attempt


@pytest.mark.parametrize("suffix", ["-c", "-c1", "-c02", "-cx", "-2", " copy", "-c2-c3"])
def test_another_name_is_no_attempt_of_ours(suffix: str) -> None:
    source = a_source()
    assert attempt_of(source.name + suffix, source) is None
