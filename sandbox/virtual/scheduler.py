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
from functools import partial
from typing import Any

from sandbox.signals import Signal


class Ended(BaseException):
    """The run is over: a thread that still sleeps unwinds. No code under test may catch it."""


class SchedulerError(Exception):
    """A thread failed with an exception that nobody was there to take."""


class VirtualThread:
    """One line of execution. `done` is set when it has ended."""

    def __init__(self, name: str, work: Callable[[], Any]) -> None:
        self.name = name
        self.work = work
        self.done = Signal()
        self.result: Any = None
        self.failure: BaseException | None = None
        self.awaited = False
        self.ticket = 0
        self.context = contextvars.copy_context()
        self.carrier: _Carrier | None = None


class _Carrier:
    """A thread of the operating system that carries one virtual thread after the other."""

    def __init__(self) -> None:
        self.load: VirtualThread | None = None
        self._go = threading.Lock()
        self._go.acquire()

    def wait(self) -> None:
        """Wait for the baton."""
        self._go.acquire()

    def wake(self) -> None:
        """Give it the baton."""
        self._go.release()


class Scheduler:
    """The clock, and the threads that wait for a moment of it."""

    def __init__(self, start: float) -> None:
        """`start` is the first moment, as epoch seconds."""
        self._now = start
        self._until = start
        self._stop: Callable[[], bool] = lambda: False
        self._queue: list[tuple[float, int, VirtualThread]] = []
        self._tickets = itertools.count(1)
        self._living: dict[VirtualThread, None] = {}
        self._idle: list[_Carrier] = []
        self._home = _Carrier()  # whoever lets time pass
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
        thread = VirtualThread(name, work)
        self._living[thread] = None
        self._park(thread, self._now + after)
        return thread

    def sleep(self, seconds: float, interrupt: Signal | None = None) -> bool:
        """Let virtual time pass, or wait until `interrupt` is set. True if it was interrupted."""
        thread = self._current
        if thread is None or thread.carrier is None:
            raise RuntimeError("only a thread of the scheduler can sleep in virtual time")
        if self._closing:
            raise Ended
        if interrupt is not None and interrupt.is_set():
            return True
        self._park(thread, self._now + max(0.0, seconds))
        if interrupt is not None:
            interrupt.listen(thread, partial(self._park, thread, self._now))
        following = self._next()
        if following is not thread:
            self._pass_baton(following)
            thread.carrier.wait()
        if interrupt is not None:
            interrupt.forget(thread)
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
        self._until, self._stop = moment, stop
        first = self._next()
        if first is not None:
            self._pass_baton(first)
            self._home.wait()
        if self._orphans:
            name, error = self._orphans[0]
            raise SchedulerError(f"{name}: {type(error).__name__}: {error}") from error
        if not stop():
            self._now = max(self._now, moment)

    def close(self) -> None:
        """End every thread that is left."""
        self._closing = True
        while self._living:
            thread = next(iter(self._living))
            if thread.carrier is None:  # it has not begun
                self._end(thread)
            else:
                self._pass_baton(thread)
                self._home.wait()
        while self._idle:
            self._idle.pop().wake()

    def _next(self) -> VirtualThread | None:
        """Return the thread that wakes up next, at whose moment it is now; None: time is up."""
        if self._orphans or self._stop():
            return None
        while self._queue and self._queue[0][1] != self._queue[0][2].ticket:
            heapq.heappop(self._queue)
        if not self._queue or self._queue[0][0] > self._until:
            return None
        at, _, thread = heapq.heappop(self._queue)
        thread.ticket = 0
        self._now = max(self._now, at)
        return thread

    def _pass_baton(self, thread: VirtualThread | None) -> None:
        """Let a thread go on, or begin; None: whoever lets time pass."""
        self._current = thread
        if thread is None:
            self._home.wake()
        elif thread.carrier is not None:
            thread.carrier.wake()
        elif self._idle:
            thread.carrier = self._idle.pop()
            thread.carrier.load = thread
            thread.carrier.wake()
        else:
            thread.carrier = _Carrier()
            thread.carrier.load = thread
            threading.Thread(target=self._carry, args=(thread.carrier,), daemon=True).start()

    def _carry(self, carrier: _Carrier) -> None:
        """Run what a carrier is loaded with until it is let go without a load."""
        while carrier.load is not None:
            carrier.load.context.run(self._run, carrier.load)
            carrier.load = None
            self._idle.append(carrier)
            self._pass_baton(None if self._closing else self._next())
            carrier.wait()

    def _run(self, thread: VirtualThread) -> None:
        try:
            if not self._closing:
                thread.result = thread.work()
        except Ended:
            pass
        except BaseException as error:  # noqa: BLE001  whoever waits for it takes it
            thread.failure = error
            if not thread.awaited:
                self._orphans.append((thread.name, error))
        finally:
            self._end(thread)

    def _end(self, thread: VirtualThread) -> None:
        del self._living[thread]
        thread.done.set()

    def _park(self, thread: VirtualThread, until: float) -> None:
        """Let a thread wake up at a moment, and at no other that was told before."""
        thread.ticket = next(self._tickets)
        if until < math.inf:
            heapq.heappush(self._queue, (until, thread.ticket, thread))
