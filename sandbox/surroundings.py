"""What an execution of a state machine needs around it: a clock, and services to call."""

from typing import Any, Protocol

from sandbox.signals import Signal


class Time(Protocol):
    """What an execution needs of a clock."""

    def now(self) -> float:
        """Return simulated seconds since the epoch."""
        ...

    def sleep(self, simulated: float, interrupt: Signal | None = None) -> bool:
        """Wait so many simulated seconds, or until `interrupt` is set."""
        ...


class Work(Protocol):
    """What an execution needs of the services that its Task states call."""

    def run(self, resource: str, arguments: Any, timeout: float | None) -> Any:
        """Return the result of a task. Raises StateError."""
        ...
