"""The one clock of the sandbox: simulated time, which runs `scale` times as fast as real time."""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime

from sandbox.lambda_site import shifted_time


@dataclass(frozen=True, slots=True)
class Clock:
    """Simulated time = start + (monotonic time - anchor) * scale, in seconds.

    The monotonic clock counts from the machine's boot, so processes that share the three numbers
    agree.
    """

    start: float
    anchor: float
    scale: float

    @classmethod
    def starting_now(cls, scale: float = 1.0) -> "Clock":
        """Return a clock that shows the real time now and runs `scale` times as fast from here.

        Raises ValueError if `scale` is not positive.
        """
        if scale <= 0:
            message = f"the time scale must be positive, not {scale}"
            raise ValueError(message)
        return cls(
            start=shifted_time.real_time(), anchor=shifted_time.real_monotonic(), scale=scale
        )

    @classmethod
    def from_environment(cls, environment: dict[str, str]) -> "Clock":
        """The clock that `environment()` of another process described."""
        return cls(
            start=float(environment[shifted_time.START]),
            anchor=float(environment[shifted_time.ANCHOR]),
            scale=float(environment[shifted_time.SCALE]),
        )

    def environment(self) -> dict[str, str]:
        """The variables from which another process builds the same clock."""
        return {
            shifted_time.START: repr(self.start),
            shifted_time.ANCHOR: repr(self.anchor),
            shifted_time.SCALE: repr(self.scale),
        }

    def now(self) -> float:
        """Simulated seconds since the epoch."""
        return shifted_time.simulated_now(self.start, self.anchor, self.scale)

    def iso(self) -> str:
        """Simulated now as `2026-11-22T03:00:00.123Z`."""
        return iso(self.now())

    def real_seconds(self, simulated: float) -> float:
        """How long `simulated` seconds last on the wall."""
        return simulated / self.scale

    def sleep(self, simulated: float, interrupt: threading.Event | None = None) -> bool:
        """Wait `simulated` seconds, or until `interrupt` is set. True if it was interrupted."""
        return (interrupt or threading.Event()).wait(max(0.0, self.real_seconds(simulated)))

    def patch_process(self) -> None:
        """Make time.time() and datetime.now() of this process simulated; time.sleep stays real."""
        shifted_time.install(self.start, self.anchor, self.scale, scale_sleep=False)


def iso(epoch: float) -> str:
    """An instant as AWS writes it in JSON: UTC, ISO 8601, milliseconds, `Z`."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
