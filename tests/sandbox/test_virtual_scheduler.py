"""Cooperative threads in virtual time."""

from collections.abc import Iterator

import pytest

from sandbox.signals import Signal
from sandbox.virtual.scheduler import Scheduler, SchedulerError


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    made = Scheduler(1000.0)
    yield made
    made.close()


def test_an_hour_passes_at_once_and_in_order(scheduler: Scheduler) -> None:
    seen: list[tuple[str, float]] = []

    def line(name: str, seconds: float) -> None:
        for _ in range(2):
            scheduler.sleep(seconds)
            seen.append((name, scheduler.now() - 1000))

    scheduler.spawn("slow", lambda: line("slow", 1800))
    scheduler.spawn("fast", lambda: line("fast", 700))
    scheduler.run_until(1000 + 3600)
    assert seen == [("fast", 700), ("fast", 1400), ("slow", 1800), ("slow", 3600)]
    assert scheduler.now() == 4600


def test_what_lies_beyond_the_moment_does_not_happen(scheduler: Scheduler) -> None:
    seen: list[float] = []
    scheduler.spawn("later", lambda: seen.append(scheduler.now()), after=10)
    scheduler.run_until(1009)
    assert seen == []
    scheduler.run_until(1010)
    assert seen == [1010]


def test_a_sleeper_wakes_at_the_moment_that_it_is_interrupted(scheduler: Scheduler) -> None:
    stop = Signal()
    seen: list[tuple[bool, float]] = []
    scheduler.spawn(
        "sleeper", lambda: seen.append((scheduler.sleep(3600, stop), scheduler.now() - 1000))
    )
    scheduler.spawn("other", stop.set, after=5)
    scheduler.run_until(1000 + 7200)
    assert seen == [(True, 5)]


def test_a_thread_can_wait_for_another_or_give_up(scheduler: Scheduler) -> None:
    seen: list[tuple[bool, float]] = []

    def wait(timeout: float) -> None:
        work = scheduler.spawn("work", lambda: scheduler.sleep(60))
        seen.append((scheduler.join(work, timeout), scheduler.now() - 1000))

    scheduler.spawn("patient", lambda: wait(120))
    scheduler.spawn("impatient", lambda: wait(30))
    scheduler.run_until(1000 + 600)
    assert seen == [(False, 30), (True, 60)]


def test_pieces_run_side_by_side_up_to_the_limit(scheduler: Scheduler) -> None:
    results: list[list[int]] = []

    def piece(number: int) -> int:
        scheduler.sleep(10)
        return number

    def together() -> None:
        pieces = [lambda n=n: piece(n) for n in range(5)]
        results.append(scheduler.parallel(pieces, 2, lambda: None))

    scheduler.spawn("all", together)
    scheduler.run_until(1000 + 29)
    assert results == []
    scheduler.run_until(1000 + 30)
    assert results == [[0, 1, 2, 3, 4]]


def test_the_first_failure_keeps_further_pieces_from_beginning(scheduler: Scheduler) -> None:
    begun: list[int] = []
    told: list[str] = []
    failures: list[str] = []

    def piece(number: int) -> None:
        begun.append(number)
        scheduler.sleep(10)
        if number == 0:
            raise ValueError("for the test")

    def together() -> None:
        pieces = [lambda n=n: piece(n) for n in range(5)]
        try:
            scheduler.parallel(pieces, 2, lambda: told.append("failed"))
        except ValueError as error:
            failures.append(str(error))

    scheduler.spawn("all", together)
    scheduler.run_until(1000 + 600)
    assert begun == [0, 1]
    assert (told, failures) == (["failed"], ["for the test"])


def test_a_failure_that_nobody_waits_for_ends_the_run(scheduler: Scheduler) -> None:
    def fail() -> None:
        raise ValueError("for the test")

    scheduler.spawn("alone", fail)
    with pytest.raises(SchedulerError, match="alone: ValueError: for the test"):
        scheduler.run_until(1001)


def test_closing_ends_what_still_sleeps() -> None:
    scheduler = Scheduler(0.0)
    seen: list[str] = []

    def sleeper() -> None:
        try:
            scheduler.sleep(60)
            seen.append("went on")
        finally:
            seen.append("unwound")

    thread = scheduler.spawn("sleeper", sleeper)
    scheduler.run_until(1)
    scheduler.close()
    assert seen == ["unwound"]
    assert thread.done.is_set()
