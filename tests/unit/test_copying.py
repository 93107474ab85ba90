"""What is to be done next about a copy."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillpoint.copying import (
    MAX_PENDING_SNAPSHOTS,
    Copy,
    Step,
    Task,
    admit,
    client_token,
    decide,
    key_for,
    pending_snapshots,
)
from tests.unit.copied import NOW, REGIONS, a_copy, a_source, tasks


def test_without_a_copy_one_is_started() -> None:
    decision = decide(Task("us-west-2"), a_source(), [], NOW)
    assert (decision.step, decision.attempt, decision.surplus) == (Step.START, 1, ())


@pytest.mark.parametrize("state", ["pending", "disabled", "failed"])
def test_nothing_is_started_from_an_image_that_is_not_available(state: str) -> None:
    decision = decide(Task("us-west-2"), a_source(state=state), [], NOW)
    assert (decision.step, decision.copy) == (Step.WAIT, None)
    assert state in decision.reason


def test_after_a_failure_the_next_attempt_waits_for_the_end_of_the_pause() -> None:
    task = Task("us-west-2", 1, NOW)
    early = decide(task, a_source(), [], NOW + timedelta(minutes=4, seconds=59))
    late = decide(task, a_source(), [], NOW + timedelta(minutes=5))
    assert (early.step, late.step, late.attempt) == (Step.WAIT, Step.START, 2)


def test_a_copy_that_is_available_and_whole_is_done() -> None:
    copy = a_copy()
    decision = decide(Task("us-west-2"), a_source(), [copy], NOW)
    assert (decision.step, decision.copy) == (Step.DONE, copy)


@pytest.mark.parametrize(
    ("copy", "volumes"),
    [
        (a_copy(completed=0), 1),
        (a_copy(completed=1, volumes=2), 2),
        (a_copy(completed=1), 2),
        (a_copy(completed=0, volumes=0), 0),
    ],
)
def test_an_available_copy_that_is_not_whole_is_waited_for_and_never_removed(
    copy: Copy, volumes: int
) -> None:
    source = a_source(volumes=volumes)
    for later in (timedelta(), timedelta(days=30)):
        decision = decide(Task("us-west-2"), source, [copy], NOW + later)
        assert (decision.step, decision.copy, decision.surplus) == (Step.WAIT, copy, ())


def test_a_pending_copy_has_a_week() -> None:
    copy = a_copy("pending", completed=0)
    a_week = timedelta(days=7)
    before = decide(Task("us-west-2"), a_source(), [copy], NOW + a_week - timedelta(seconds=1))
    after = decide(Task("us-west-2"), a_source(), [copy], NOW + a_week)
    assert (before.step, before.copy) == (Step.WAIT, copy)
    assert (after.step, after.attempt, after.surplus) == (Step.FAIL, 1, (copy,))
    assert "still pending after a week" in after.reason


@pytest.mark.parametrize(
    ("copy", "words"),
    [
        (a_copy("failed", reason="Given key ID is not accessible"), "Given key ID"),
        (a_copy("failed", error="Given key ID is not accessible"), "Given key ID"),
        (a_copy("pending", completed=0, error="Given key ID is not accessible"), "Given key ID"),
        (a_copy("invalid"), "EC2 gives no reason"),
    ],
)
def test_a_copy_that_failed_says_why_in_the_words_of_ec2(copy: Copy, words: str) -> None:
    decision = decide(Task("us-west-2"), a_source(), [copy], NOW)
    assert (decision.step, decision.attempt, decision.surplus) == (Step.FAIL, 1, (copy,))
    assert words in decision.reason


def test_a_failed_copy_that_is_counted_is_only_removed() -> None:
    copy = a_copy("failed")
    task = Task("us-west-2").failed(1, NOW)
    waiting = decide(task, a_source(), [copy], NOW)
    assert (waiting.step, waiting.surplus) == (Step.WAIT, (copy,))
    again = decide(task, a_source(), [copy], NOW + timedelta(hours=1))
    assert (again.step, again.attempt, again.surplus) == (Step.START, 2, (copy,))


def test_a_count_that_was_lost_is_made_up_for_by_the_name_of_the_copy() -> None:
    decision = decide(Task("us-west-2", 1, NOW), a_source(), [a_copy("failed", attempt=3)], NOW)
    assert (decision.step, decision.attempt) == (Step.FAIL, 3)
    assert Task("us-west-2", 1, NOW).failed(decision.attempt, NOW).failures == 3


@given(st.permutations([1, 2, 3]))
def test_of_several_copies_every_look_keeps_the_same(order: list[int]) -> None:
    copies = [a_copy(attempt=number) for number in order]
    decision = decide(Task("us-west-2", 3, NOW), a_source(), copies, NOW)
    assert decision.copy is not None
    assert decision.copy.attempt == 1
    assert {copy.attempt for copy in decision.surplus} == {2, 3}


def test_an_attempt_that_was_given_up_too_early_counts_if_it_becomes_available() -> None:
    first, second = a_copy(attempt=1), a_copy("pending", attempt=2, completed=0)
    decision = decide(Task("us-west-2", 1, NOW), a_source(), [second, first], NOW)
    assert (decision.step, decision.copy, decision.surplus) == (Step.DONE, first, (second,))


copies = st.builds(
    a_copy,
    st.sampled_from(["pending", "available", "disabled", "failed", "error", "invalid", "new"]),
    attempt=st.integers(1, 5),
    completed=st.integers(0, 3),
    error=st.sampled_from(["", "Given key ID is not accessible"]),
    created_at=st.none() | st.just(NOW) | st.just(NOW - timedelta(days=2)),
    volumes=st.integers(0, 3),
)


@given(
    tasks,
    st.integers(1, 3),
    st.lists(copies, max_size=4, unique_by=lambda copy: copy.attempt),
    st.timedeltas(timedelta(), timedelta(days=3)),
)
def test_no_copy_that_is_whole_or_under_way_is_removed_but_for_a_whole_one(
    task: Task, volumes: int, there: list[Copy], later: timedelta
) -> None:
    source, now = a_source(volumes=volumes), NOW + later
    decision = decide(task, source, there, now)
    whole = [copy for copy in there if copy.is_whole(source)]
    assert (decision.step is Step.DONE) == bool(whole)
    assert decision.copy not in decision.surplus
    assert decision.copy is None or decision.copy in there
    if decision.step is not Step.DONE:
        assert all(copy.failure(now) for copy in decision.surplus)
    if decision.step is Step.START:
        assert not any(copy.attempt == decision.attempt for copy in there)
        assert task.not_before is None or now >= task.not_before
    if decision.step is Step.FAIL:
        assert decision.attempt > task.failures
    assert decision.reason


@given(st.lists(st.integers(1, 25), max_size=30), st.integers(0, 25))
def test_no_more_begins_than_may_be_under_way_and_the_oldest_first(
    volumes: list[int], pending: int
) -> None:
    sources = [a_source(n, volumes=count) for n, count in enumerate(volumes, start=1)]
    admitted = admit(reversed(sources), pending)
    assert admitted == sources[: len(admitted)]
    begun = sum(source.volumes for source in admitted)
    assert (
        pending + begun <= MAX_PENDING_SNAPSHOTS
        or (pending == 0 and len(admitted) == 1)
        or (not admitted)
    )
    if pending == 0 and sources:
        assert admitted


def test_what_is_on_its_way_counts_even_if_it_is_given_up() -> None:
    old = NOW - timedelta(days=2)
    copies = [
        a_copy(volumes=3),
        a_copy("pending", attempt=2, volumes=0),
        a_copy("pending", attempt=3, volumes=5, created_at=old),
        a_copy("failed", attempt=4, volumes=5),
    ]
    assert pending_snapshots(a_source(volumes=4), copies) == 9


def test_a_token_is_of_an_image_a_region_an_attempt_and_an_hour() -> None:
    source = a_source()
    token = client_token(source, "us-west-2", 1, NOW)
    assert token == client_token(source, "us-west-2", 1, NOW + timedelta(minutes=59))
    others = {
        client_token(a_source(2), "us-west-2", 1, NOW),
        client_token(source, "us-west-1", 1, NOW),
        client_token(source, "us-west-2", 2, NOW),
        client_token(source, "us-west-2", 1, NOW + timedelta(hours=1)),
    }
    assert token not in others
    assert len(others) == 4
    assert all(len(each) <= 128 and each.isascii() for each in others)


def test_the_key_of_a_region_is_the_one_whose_arn_names_it() -> None:
    arns = [f"arn:aws:kms:{region}:111122223333:key/{region}" for region in REGIONS]
    assert key_for("eu-central-1", arns) == arns[1]
    assert key_for("eu-west-1", arns) is None
    assert key_for("eu-west-1", ["", "no arn"]) is None
