"""What is still to be copied, and what is to be done next about it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillpoint.copying import (
    MAX_PENDING_SNAPSHOTS,
    Copy,
    Step,
    Task,
    WorkList,
    admit,
    attempt_of,
    client_token,
    copy_failed,
    copy_given_up,
    copy_succeeded,
    decide,
    key_for,
    must_alert,
    pending_snapshots,
)
from stillpoint.image import Image
from stillpoint.messages import EventName, render
from stillpoint.ownership import copy_name
from stillpoint.recovery_point import Snapshot, image_name
from stillpoint.tags import VALUE_LIMIT, Tag, iso, portable
from tests.unit.builders import at

OCCURRENCE = at("2026-11-22 03:00")
NOW = at("2026-11-22 04:00")
REGIONS = ("us-west-2", "eu-central-1", "ap-southeast-2", "eusc-de-east-1", "us-gov-west-1")
INSTANCE = "i-0a1b2c3d4e5f60001"


def a_source(number: int = 1, *, volumes: int = 1, state: str = "available") -> Image:
    """Return a local recovery point of the occurrence, or of one that many hours later."""
    occurrence = OCCURRENCE + timedelta(hours=number - 1)
    tags: dict[str, str] = {
        Tag.INSTANCE: INSTANCE,
        Tag.OCCURRENCE: iso(occurrence),
        Tag.CAPTURED_AT: iso(occurrence + timedelta(minutes=2)),
        Tag.CONSISTENCY: "file-system",
        "Name": "web",
    }
    name = image_name(INSTANCE, occurrence)
    return Image(f"ami-0{number}", name, state, "", tags, volumes)


def a_copy(
    state: str = "available",
    *,
    attempt: int = 1,
    completed: int = 1,
    error: str = "",
    reason: str = "",
    created_at: datetime | None = NOW,
    volumes: int = 1,
) -> Copy:
    """Return a copy with this many completed snapshots, and one in state error if it says why."""
    done = [
        Snapshot(f"snap-{n}", "vol-ffffffff", "completed", OCCURRENCE) for n in range(completed)
    ]
    bad = [Snapshot("snap-bad", "vol-ffffffff", "error", OCCURRENCE, state_message=error)]
    name = copy_name(a_source().name, attempt)
    image = Image(
        f"ami-c{attempt}", name, state, reason, {}, volumes=volumes, created_at=created_at
    )
    return Copy(image, attempt, tuple(done + (bad if error else [])))


moments = st.integers(0, 2_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
tasks = st.one_of(
    st.builds(Task, st.sampled_from(REGIONS), alerted=st.booleans()),
    st.builds(Task, st.sampled_from(REGIONS), st.integers(1, 9999), moments, st.booleans()),
)
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


def test_people_are_told_after_a_day_that_a_copy_is_pending() -> None:
    captured_at = OCCURRENCE + timedelta(minutes=2)
    soon = captured_at + timedelta(hours=23, minutes=59)
    assert not must_alert(Task("us-west-2"), a_source(), soon)
    assert must_alert(Task("us-west-2"), a_source(), captured_at + timedelta(hours=24))


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


def test_people_are_told_after_three_failures_or_a_day_and_once() -> None:
    source = a_source()
    captured = OCCURRENCE + timedelta(minutes=2)
    day = timedelta(hours=24)
    assert not must_alert(Task("us-west-2", 2, NOW), source, NOW)
    assert must_alert(Task("us-west-2", 3, NOW), source, NOW)
    assert not must_alert(Task("us-west-2"), source, captured + day - timedelta(seconds=1))
    assert must_alert(Task("us-west-2"), source, captured + day)
    assert not must_alert(Task("us-west-2", 3, NOW, alerted=True), source, captured + day)


def test_a_point_without_the_time_of_its_capture_is_late_a_day_after_its_occurrence() -> None:
    source = a_source()
    source = replace(source, tags={Tag.OCCURRENCE: iso(OCCURRENCE)})
    assert must_alert(Task("us-west-2"), source, OCCURRENCE + timedelta(hours=24))


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


def test_a_failed_copy_is_told_with_the_reason_and_what_to_do() -> None:
    source = a_source()
    why = {source.image_id: "EC2 says: Given key ID is not accessible."}
    event = copy_failed(why, [source], region="us-west-2", home="eu-west-1", now=NOW)
    message = render(event)
    assert event.name is EventName.COPY_FAILED
    assert event.occurrence == OCCURRENCE
    assert message.attributes["severity"] == "error"
    for words in ("Given key ID is not accessible", "us-west-2", "eu-west-1", "CopyKmsKeyArns"):
        assert words in message.text
    assert source.image_id in message.text


def test_several_points_are_told_of_at_once() -> None:
    sources = [a_source(1), a_source(2)]
    event = copy_given_up(sources, region="us-west-2", now=NOW)
    assert [report.image_id for report in event.instances] == ["ami-01", "ami-02"]
    assert event.occurrence is None
    assert "CopyRegions" in render(event).text


def test_a_copy_that_came_after_an_alert_is_told_with_its_id() -> None:
    event = copy_succeeded({"ami-01": "ami-c4"}, [a_source()], region="us-west-2", now=NOW)
    assert event.name is EventName.COPY_SUCCEEDED
    assert "ami-c4" in render(event).text
