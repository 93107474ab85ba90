"""A process that plays one history: it lives in virtual time from its first line on.

`python -m sandbox.history.worker '{"days": 30, "full": true, "seed": "1"}'` prints the result.
"""

import json
import os
import sys
from dataclasses import replace
from typing import Any

from sandbox.virtual import process_time


def main() -> None:
    """Play what the first argument says. Whatever the product prints goes nowhere."""
    process_time.install()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123  its encoding does not matter
        sys.stdout = nowhere
        answers.write(json.dumps(_play(json.loads(sys.argv[1]))) + "\n")


def _play(request: dict[str, Any]) -> dict[str, Any]:
    from sandbox.virtual import network  # noqa: PLC0415  after the time is virtual

    network.install()
    from sandbox.history import sabotage  # noqa: PLC0415
    from sandbox.history.play import play  # noqa: PLC0415
    from sandbox.history.story import FORTNIGHT, YEARS  # noqa: PLC0415

    full = bool(request["full"])
    story = FORTNIGHT if full else YEARS
    days = int(request.get("days") or story.days)
    with sabotage.of(str(request.get("sabotage", ""))):
        return play(replace(story, days=days), full=full, seed=str(request["seed"])).to_json()


if __name__ == "__main__":
    main()
