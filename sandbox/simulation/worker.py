"""A process that plays one night: it lives in virtual time from its first line on.

`python -m sandbox.simulation.worker`, with a Setting as JSON on its standard input, prints the
Night as JSON.
"""

import json
import os
import sys

from sandbox.lambda_site import shifted_time
from sandbox.simulation.output import Output
from sandbox.virtual import process_time


def main() -> None:
    """Play what standard input says. What the product prints is counted, not shown."""
    process_time.install()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    sys.stdout = output = Output()
    from sandbox.virtual import network  # noqa: PLC0415  after the time is virtual

    network.install()
    from sandbox.simulation.play import play  # noqa: PLC0415
    from sandbox.simulation.setting import Setting  # noqa: PLC0415

    setting = Setting.from_json(json.load(sys.stdin))
    night = play(setting, output, shifted_time.real_monotonic)
    answers.write(json.dumps(night.to_json()) + "\n")


if __name__ == "__main__":
    main()
