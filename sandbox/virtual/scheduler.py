"""Cooperative threads in virtual time: one runs at a time, and a sleep takes no time at all.

Code that blocks runs unchanged on a thread of its own. The baton is with one thread at a time; it
passes on when that thread sleeps or ends, to whichever has to wake up first. The order depends on
nothing but the moments, so a run repeats itself exactly.
"""

import contextvars
import heapq
import itertools
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any


class Ended(BaseException):
    """The run is over: a thread that still sleeps unwinds. No code under test may catch it."""


class SchedulerError(Exception):
    """A thread failed with an exception that nobody was there to take."""


class VirtualThread:
    """One line of execution. `done` is set when it has ended."""

    def __init__(self, name: str, work: Callable[[], Any]) -> None:
        self.name = name
        self.done = threading.Event()
        self.result: Any = None
        self.failure: BaseException | None = None
        self.awaited = False
        self.ticket = 0
        self.interrupt: threading.Event | None = None
        self.go = threading.Semaphore(0)
        context = contextvars.copy_context()
        self.body = threading.Thread(target=context.run, args=(work,), daemon=True, name=name)


class Scheduler:
    """The clock, and the threads that wait for a moment of it."""

    def __init__(self, start: float) -> None:
        """`start` is the first moment, as epoch seconds."""
        self._now = start
        self._queue: list[tuple[float, int, VirtualThread]] = []
        self._tickets = itertools.count(1)
        self._interruptible: dict[VirtualThread, None] = {}
        self._living: dict[VirtualThread, None] = {}
        self._baton = threading.Semaphore(0)
        self._current: VirtualThread | None = None
        self._closing = False
        self._orphans: list[tuple[str, BaseException]] = []

    def now(self) -> float:
        """Return the present as epoch seconds."""
        return self._now

    @property
    def in_thread(self) -> bool:
        """Whether the caller runs on one of the threads, and may sleep."""
        return self._current is not None

    def spawn(self, name: str, work: Callable[[], Any], *, after: float = 0.0) -> VirtualThread:
        """Let `work` begin in `after` seconds on a thread of its own."""

        def body() -> None:
            thread.go.acquire()
            try:
                if not self._closing:
                    thread.result = work()
            except Ended:
                pass
            except BaseException as error:  # noqa: BLE001  whoever waits for it takes it
                thread.failure = error
                if not thread.awaited:
                    self._orphans.append((thread.name, error))
            finally:
                del self._living[thread]
                thread.done.set()
                self._baton.release()

        thread = VirtualThread(name, body)
        self._living[thread] = None
        self._park(thread, self._now + after, None)
        thread.body.start()
        return thread

    def sleep(self, seconds: float, interrupt: threading.Event | None = None) -> bool:
        """Let virtual time pass, or wait until `interrupt` is set. True if it was interrupted."""
        thread = self._current
        if thread is None:
            raise RuntimeError("only a thread of the scheduler can sleep in virtual time")
        if self._closing:
            raise Ended
        if interrupt is not None and interrupt.is_set():
            return True
        self._park(thread, self._now + max(0.0, seconds), interrupt)
        self._current = None
        self._baton.release()
        thread.go.acquire()
        if self._closing:
            raise Ended
        return interrupt is not None and interrupt.is_set()

    def join(self, thread: VirtualThread, timeout: float = math.inf) -> bool:
        """Wait until a thread has ended, `timeout` seconds at most. Return whether it has."""
        thread.awaited = True
        return self.sleep(timeout, thread.done)

    def parallel(
        self, pieces: Sequence[Callable[[], Any]], limit: int, on_failure: Callable[[], None]
    ) -> list[Any]:
        """Run pieces side by side, `limit` at a time; see `sandbox.parallel.Parallel`."""
        results: list[Any] = [None] * len(pieces)
        waiting = list(enumerate(pieces))
        failures: list[BaseException] = []

        def work() -> None:
            while waiting and not failures:
                index, piece = waiting.pop(0)
                try:
                    results[index] = piece()
                except Exception as error:  # noqa: BLE001  raised again below
                    failures.append(error)
                    if len(failures) == 1:
                        on_failure()

        threads = [self.spawn(f"piece-{n}", work) for n in range(limit)]
        for thread in threads:
            self.join(thread)
        if failures:
            raise failures[0]
        return results

    def run_until(self, moment: float, stop: Callable[[], bool] = lambda: False) -> None:
        """Let everything happen up to a moment, or until `stop()` says so.

        Raises SchedulerError if a thread failed that nobody waits for.
        """
        while not stop():
            self._wake_interrupted()
            while self._queue and self._queue[0][1] != self._queue[0][2].ticket:
                heapq.heappop(self._queue)
            if not self._queue or self._queue[0][0] > moment:
                self._now = max(self._now, moment)
                return
            at, _, thread = heapq.heappop(self._queue)
            self._now = max(self._now, at)
            self._pass_baton(thread)
            if self._orphans:
                name, error = self._orphans[0]
                raise SchedulerError(f"{name}: {type(error).__name__}: {error}") from error

    def close(self) -> None:
        """End every thread that is left."""
        self._closing = True
        while self._living:
            self._pass_baton(next(iter(self._living)))

    def _pass_baton(self, thread: VirtualThread) -> None:
        self._interruptible.pop(thread, None)
        thread.ticket = 0
        self._current = thread
        thread.go.release()
        self._baton.acquire()
        self._current = None

    def _park(self, thread: VirtualThread, until: float, interrupt: threading.Event | None) -> None:
        thread.ticket = next(self._tickets)
        thread.interrupt = interrupt
        if interrupt is not None:
            self._interruptible[thread] = None
        if until < math.inf:
            heapq.heappush(self._queue, (until, thread.ticket, thread))

    def _wake_interrupted(self) -> None:
        woken = [t for t in self._interruptible if t.interrupt is not None and t.interrupt.is_set()]
        for thread in woken:
            del self._interruptible[thread]
            thread.ticket = next(self._tickets)
            heapq.heappush(self._queue, (self._now, thread.ticket, thread))
