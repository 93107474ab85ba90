"""The command line: `python -m sandbox up | run SCENARIO | demo | faults | history | simulate`."""

import argparse
import shlex
import signal
import sys
import threading
from pathlib import Path

from sandbox import demo, run, scenario, session
from sandbox.faults import command as faults
from sandbox.history import command as history
from sandbox.process import SandboxError
from sandbox.simulation import command as simulation
from sandbox.simulation.setting import Setting
from sandbox.tables import outcome_lines
from sandbox.virtual.quotas import CONCURRENT_INVOCATIONS, Quotas

DEFAULT_PORT = 4566


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return _COMMANDS[options.command](options)
    except SandboxError as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sandbox", description="An AWS to try Stillpoint in, on this machine."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="deploy, then leave the sandbox up until Ctrl-C")
    up.set_defaults(default_scale=1.0, default_port=DEFAULT_PORT)
    one = commands.add_parser("run", help="run a scenario; exit status 1 if an expectation fails")
    one.add_argument("scenario", nargs="?", help="its name, or the path of a .toml file")
    one.add_argument("--list", action="store_true", help="list the scenarios")
    show = commands.add_parser("demo", help="back up a small fleet and show what came of it")
    every = commands.add_parser("faults", help="try every fault at every point, in virtual time")
    every.add_argument("--only", metavar="POINT:FAULT", help="play one case, with its history")
    every.add_argument("--seed", type=int, default=1, help="of everything that is left to chance")
    every.add_argument("--sample", action="store_true", help="play one fault at each point")
    every.add_argument("--walks", type=int, default=faults.WALKS, help="runs with several faults")
    every.add_argument("--processes", type=int, help="as many as processors if left out")
    years = commands.add_parser("history", help="let three years pass, and judge what is kept")
    years.add_argument("--full", action="store_true", help="with everything real, for a fortnight")
    years.add_argument("--days", type=int, help="another number of days")
    years.add_argument("--seed", type=int, default=1, help="of everything that is left to chance")
    night = commands.add_parser("simulate", help="back up a fleet in one night, in virtual time")
    night.add_argument("--instances", type=int, required=True, help="all due at the same minute")
    night.add_argument("--seed", type=int, default=1, help="of everything that is left to chance")
    night.add_argument(
        "--image-minutes",
        type=float,
        default=120.0,
        help="how long an AMI is pending at most (120)",
    )
    night.add_argument("--neighbour", type=float, default=0.0, help="others' share of all limits")
    night.add_argument(
        "--concurrency", type=int, default=CONCURRENT_INVOCATIONS, help="invocations at once (1000)"
    )
    night.add_argument("--kill-after", type=float, help="stop all executions after seconds")
    night.add_argument("--json", type=Path, metavar="FILE", help="where to write all figures")
    for each in (up, one, show):
        each.add_argument("--scale", type=float, help="simulated seconds per real second")
        each.add_argument("--seed", type=int, help="of everything that is left to chance")
        each.add_argument(
            "--port", type=int, default=0, help="of the server; a free one if left out"
        )
    return parser


def _up(options: argparse.Namespace) -> int:
    stop = threading.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: stop.set())
    with session.deployed(
        scale=options.scale or 1.0,
        seed=options.seed or 1,
        port=options.port or DEFAULT_PORT,
        say=lambda text: print(f"# {text}", flush=True),
    ) as running:
        for name, value in running.server.environment().items():
            print(f"export {name}={shlex.quote(value)}")
        print("# Stop with Ctrl-C.", flush=True)
        stop.wait()
    return 0


def _demo(options: argparse.Namespace) -> int:
    return demo.main(scale=options.scale, seed=options.seed, port=options.port)


def _list() -> int:
    for name in scenario.names():
        print(f"{name:26} {scenario.load(name).title}")
    return 0


def _faults(options: argparse.Namespace) -> int:
    return faults.main(
        only=options.only,
        seed=options.seed,
        sample=options.sample,
        number_of_walks=options.walks,
        processes=options.processes,
    )


def _history(options: argparse.Namespace) -> int:
    return history.main(full=options.full, days=options.days, seed=options.seed)


def _simulate(options: argparse.Namespace) -> int:
    seconds = 60 * options.image_minutes
    setting = Setting(
        options.instances,
        seed=options.seed,
        physics={"image_seconds": (0.95 * seconds, seconds)},
        quotas=Quotas(neighbour=options.neighbour, concurrent_invocations=options.concurrency),
        killed_after=options.kill_after,
    )
    return simulation.main(setting, options.json)


def _run(options: argparse.Namespace) -> int:
    if options.list:
        return _list()
    if not options.scenario:
        raise SandboxError(f"which scenario? There are: {', '.join(scenario.names())}")
    chosen = scenario.load(options.scenario)
    print(chosen.title)
    report = run.run(chosen, scale=options.scale, seed=options.seed, port=options.port, say=print)
    for line in outcome_lines(report.outcomes):
        print(line)
    for remark in report.remarks:
        print(f"note    {remark}")
    for failure in report.failures:
        print(f"FAILED  {failure}")
    print(
        "every expectation holds"
        if not report.failures
        else f"{len(report.failures)} expectations failed"
    )
    return 1 if report.failures else 0


_COMMANDS = {
    "up": _up,
    "run": _run,
    "demo": _demo,
    "faults": _faults,
    "history": _history,
    "simulate": _simulate,
}

if __name__ == "__main__":
    sys.exit(main())
