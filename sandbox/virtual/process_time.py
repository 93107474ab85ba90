"""Virtual time for a whole process: time.time(), time.monotonic(), datetime.now(), time.sleep().

To be installed before anything else is imported that takes these by name. It is for processes
that do nothing but run faults.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sandbox.lambda_site import shifted_time

type Now = Callable[[], float]
type Sleep = Callable[[float], None]

_now: Now = shifted_time.real_time
_sleep: Sleep = shifted_time.real_sleep


def install() -> None:
    """Let the process live in the time of whichever run is under way, once and for all."""
    shifted_time.replace_clock(_show, _wait)
    # How long something took is told by this one, and here nothing takes real time.
    vars(time)["monotonic"] = _show


def _show() -> float:
    """Return the time of the run that is under way now."""
    return _now()


def _wait(seconds: float) -> None:
    """Sleep in the time of the run that is under way now."""
    _sleep(seconds)


@contextmanager
def of(now: Now, sleep: Sleep) -> Iterator[None]:
    """Let the process live in the time of one run while the context lasts."""
    global _now, _sleep
    before = _now, _sleep
    _now, _sleep = now, sleep
    try:
        yield
    finally:
        _now, _sleep = before
