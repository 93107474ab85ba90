"""An event that tells who waits for it in virtual time."""

import threading
from collections.abc import Callable


class Signal(threading.Event):
    """An event with listeners, which are called when it is set."""

    def __init__(self) -> None:
        super().__init__()
        self._listeners: dict[object, Callable[[], None]] = {}

    def set(self) -> None:
        """Set it and tell the listeners."""
        super().set()
        for listener in list(self._listeners.values()):
            listener()

    def listen(self, key: object, listener: Callable[[], None]) -> None:
        """Call `listener` when it is set, unless the key is forgotten before."""
        self._listeners[key] = listener

    def forget(self, key: object) -> None:
        """Forget what was to be called."""
        self._listeners.pop(key, None)
