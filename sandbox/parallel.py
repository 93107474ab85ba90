"""Work that runs side by side until all of it is done or one piece fails."""

import concurrent.futures
import contextvars
from collections.abc import Callable, Sequence
from typing import Any

type Piece = Callable[[], Any]
type Parallel = Callable[[Sequence[Piece], int, Callable[[], None]], list[Any]]
"""Takes the pieces, how many may run at a time, and what to call when one has failed.

Returns their results in order. When a piece fails, those that have not begun never do; once the
others have ended, its exception is raised.
"""


def on_threads(pieces: Sequence[Piece], limit: int, on_failure: Callable[[], None]) -> list[Any]:
    """Run pieces on threads, each in a copy of the caller's context; see `Parallel`."""
    with concurrent.futures.ThreadPoolExecutor(limit) as pool:
        futures = [pool.submit(contextvars.copy_context().run, piece) for piece in pieces]
        try:
            for finished in concurrent.futures.as_completed(futures):
                finished.result()
        except Exception:
            for future in futures:
                future.cancel()
            on_failure()
            raise
    return [future.result() for future in futures]
