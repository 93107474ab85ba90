"""Make a process live in simulated time, at the same speed as all of the sandbox.

Loaded by the server and by every Lambda process. It uses the standard library alone and is
imported by path, so that nothing of the sandbox is importable from a function.
"""

import datetime as dt
import time as time_module
from typing import Any

START = "SANDBOX_CLOCK_START"
ANCHOR = "SANDBOX_CLOCK_ANCHOR"
SCALE = "SANDBOX_CLOCK_SCALE"

real_time = time_module.time
real_sleep = time_module.sleep
real_monotonic = time_module.monotonic
_RealDatetime = dt.datetime


def simulated_now(start: float, anchor: float, scale: float) -> float:
    """Return seconds since the epoch in simulated time.

    `anchor` is the monotonic clock's reading at `start`.
    """
    return start + (real_monotonic() - anchor) * scale


class _ShiftedMeta(type):
    """Plain datetimes, as C code makes them, still are instances of the shifted class."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _RealDatetime)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _RealDatetime)


def install(start: float, anchor: float, scale: float, *, scale_sleep: bool) -> None:
    """Replace this process's wall clock. With scale 1 and no shift nothing is replaced.

    The monotonic clock stays real, as durations of real work are. `scale_sleep` also shortens
    time.sleep, for code that waits for something that happens in simulated time.
    """
    if scale == 1 and abs(simulated_now(start, anchor, 1.0) - real_time()) < 1:
        return
    replace_clock(
        lambda: simulated_now(start, anchor, scale),
        (lambda seconds: real_sleep(seconds / scale)) if scale_sleep else None,
    )


def replace_clock(now: Any, sleep: Any = None) -> None:
    """Replace this process's wall clock by a function, and time.sleep by another if it is given.

    Modules that took `datetime` or `time.time` by name before this keep the real ones.
    """

    class _Shifted(_RealDatetime, metaclass=_ShiftedMeta):
        """datetime.datetime whose idea of the present is simulated."""

        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Any:
            return cls.fromtimestamp(now(), tz)

        @classmethod
        def utcnow(cls) -> Any:
            return cls.fromtimestamp(now(), dt.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> Any:
            return cls.fromtimestamp(now())

    _Shifted.__name__ = _Shifted.__qualname__ = "datetime"
    _Shifted.__module__ = "datetime"
    vars(dt)["datetime"] = _Shifted

    def or_now(function: Any) -> Any:
        return lambda seconds=None: function(now() if seconds is None else seconds)

    real_strftime, real_localtime = time_module.strftime, time_module.localtime
    replacements: dict[str, Any] = {
        "time": now,
        "time_ns": lambda: int(now() * 1_000_000_000),
        "gmtime": or_now(time_module.gmtime),
        "localtime": or_now(time_module.localtime),
        "ctime": or_now(time_module.ctime),
        "strftime": lambda form, at=None: real_strftime(
            form, real_localtime(now()) if at is None else at
        ),
    }
    if sleep is not None:
        replacements["sleep"] = sleep
    for name, replacement in replacements.items():
        setattr(time_module, name, replacement)


def install_from_environment(environment: dict[str, str], *, scale_sleep: bool) -> None:
    """Install what the three variables say, or nothing if there are none."""
    if SCALE in environment:
        install(
            float(environment[START]),
            float(environment[ANCHOR]),
            float(environment[SCALE]),
            scale_sleep=scale_sleep,
        )
