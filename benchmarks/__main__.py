"""`make bench`: a fleet's night, the planner's tick, what it weighs, and how short downtime is.

Its parts, in the order in which they run: `fleets` (1 to 1,000 instances due at the same minute,
in virtual time), `planner` (its tick, up to 10,000 instances), `real-speed` (a fleet in the
deployed sandbox under three rules for the restart, beside what the simulation says of it) and
`footprint` (layer, cold imports, memory).
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from benchmarks import at_real_speed, document, fleets, footprint, limits, planner
from benchmarks.tables import tables
from sandbox import deploy
from sandbox.process import ROOT, SandboxError

REPORT: Final = ROOT / "build" / "bench" / "report.json"
PLANNER_SIZES: Final = (1, 20, 100, 1000, 10_000)

type Say = Callable[[str], None]


class Bench:
    """The parts of the benchmark, and what they have measured so far."""

    def __init__(self, options: argparse.Namespace, say: Say) -> None:
        """`say` takes lines for a person."""
        self.report: dict[str, Any] = {"seed": options.seed}
        self._options = options
        self._say = say
        self._peaks: dict[str, float] = {}

    def fleets(self) -> None:
        """Fleets in virtual time, and an AMI that is pending all day."""
        sizes, seed = self._options.sizes, self._options.seed
        nights, all_day = fleets.measure(sizes, seed, self._say)
        self.report["fleets"] = [fleets.figures(night) for night in nights.values()]
        self.report["history"] = fleets.history(all_day)

    def planner(self) -> None:
        """The planner's ticks."""
        figures = planner.measure(PLANNER_SIZES)
        ticks = [each.to_json() for each in figures]
        self.report["planner"] = {"ticks": ticks, "slope": round(planner.slope(figures), 3)}

    def real_speed(self) -> None:
        """The deployed sandbox; the machine should have nothing else to do."""
        options = self._options
        measured = at_real_speed.measure(options.instances, options.seed, self._say)
        self._peaks = dict(measured.peaks)
        self.report["real_speed"] = measured.to_json()

    def footprint(self) -> None:
        """The layer and the functions as `sam build` makes them."""
        build = deploy.build(deploy.Project())[0].parent
        self.report["footprint"] = footprint.measure(build, self._peaks).to_json()


PARTS: Final[dict[str, Callable[[Bench], None]]] = {
    "fleets": Bench.fleets,
    "planner": Bench.planner,
    "real-speed": Bench.real_speed,
    "footprint": Bench.footprint,
}


def main() -> int:
    """Run the benchmark. Exit status 1 if a figure falls short."""
    options = _options()
    bench = Bench(options, _say)
    try:
        for name in options.only or PARTS:
            began = time.monotonic()
            _say(f"{name}:")
            PARTS[name](bench)
            _say(f"  took {time.monotonic() - began:.0f} s")
    except SandboxError as error:
        _say(str(error))
        return 1
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(bench.report, indent=2) + "\n")
    for each in tables(bench.report):
        _say("\n".join(["", each.title, *each.lines()]))
    if options.write:
        document.update(bench.report)
    found = limits.shortfalls(bench.report)
    for words in found:
        _say(f"FALLS SHORT  {words}")
    _say(f"\nReport: {REPORT.relative_to(ROOT)}")
    return 1 if found else 0


def _say(line: str) -> None:
    """Print at once: the output may be a file that somebody follows."""
    print(line, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=PARTS, help="this part; may be repeated")
    parser.add_argument("--seed", type=int, default=1, help="of the emulated EC2 (1)")
    parser.add_argument(
        "--instances", type=int, default=20, help="size of the fleet at real speed (20)"
    )
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=fleets.SIZES, help="of the simulated fleets"
    )
    parser.add_argument(
        "--write", action="store_true", help="the figures into docs/scale.md and docs/scale.svg"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
