"""A process that plays what it is told to: one JSON document a line in, one out, until the end.

It lives in virtual time from its first line on, which is why nothing else is imported before. A
request is `{"case": ..., "history": ..., "sabotage": name}`, or `{"scenario": name, "seed":
number}`.
"""

import json
import os
import sys
from typing import Any

from sandbox.virtual import process_time


def main() -> None:
    """Play what comes in. Whatever the product prints goes nowhere."""
    process_time.install()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123  its encoding does not matter
        sys.stdout = nowhere
        from sandbox.virtual import network  # noqa: PLC0415  after the time is virtual

        network.install()
        for line in sys.stdin:
            request = json.loads(line)
            answer = _scenario(request) if "scenario" in request else _case(request)
            answers.write(json.dumps(answer) + "\n")


def _case(request: dict[str, Any]) -> dict[str, Any]:
    from sandbox.faults import sabotage  # noqa: PLC0415  after the time is virtual
    from sandbox.faults.case import Case  # noqa: PLC0415
    from sandbox.faults.play import play  # noqa: PLC0415

    with sabotage.of(request["sabotage"]):
        return play(Case.from_json(request["case"]), always_history=request["history"]).to_json()


def _scenario(request: dict[str, Any]) -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415  after the time is virtual

    from sandbox import scenario  # noqa: PLC0415
    from sandbox.virtual import scenarios  # noqa: PLC0415

    return asdict(scenarios.play(scenario.load(request["scenario"]), request["seed"]))


if __name__ == "__main__":
    main()
