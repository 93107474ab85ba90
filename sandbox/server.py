"""The server's process: ministack in simulated time, extended, on the loopback interface.

Started by sandbox.process as `python -m sandbox.server`. It ends when its standard input closes,
so it never outlives whoever started it.
"""

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Final

from sandbox.clock import Clock

STATE: Final = "SANDBOX_STATE"
SEED: Final = "SANDBOX_SEED"
PHYSICS: Final = "SANDBOX_PHYSICS"
LOOPBACK: Final = "127.0.0.1"


def main() -> None:
    """Build the parts in the order of their dependencies, then serve until told to stop."""
    clock = Clock.from_environment(dict(os.environ))
    clock.patch_process()

    # ministack reads the clock and its configuration while it is imported: everything of it comes
    # after this line.
    from ministack.app import app  # noqa: PLC0415

    from sandbox import (  # noqa: PLC0415
        alarms,
        cloudformation,
        control,
        ec2,
        iam,
        lambdas,
        metrics,
        schedules,
        service_emulator,
        stepfunctions,
    )
    from sandbox.companions import Companions  # noqa: PLC0415
    from sandbox.host_faults import HostFaults  # noqa: PLC0415

    state, seed = Path(os.environ[STATE]), int(os.environ[SEED])
    faults = HostFaults()
    host = lambdas.LambdaHost(clock, faults, state, metrics.record)
    physics = ec2.Physics().changed(json.loads(os.environ[PHYSICS]))
    world = ec2.World(clock, seed, physics)
    ec2.install(world)
    companions = Companions(world)
    cloudformation.install()
    cloudformation.install_documents(companions.ssm)
    service_emulator.install(companions)
    iam.install(partial(companions.document_tags, os.environ["AWS_ACCESS_KEY_ID"]))
    alarms.install(clock)
    schedules.install(clock, faults)
    lambdas.install(host, clock)
    engine = stepfunctions.install(clock, faults, seed)
    interface = control.Control(
        clock, world, faults, host, engine, companions.truth, os.environ["AWS_SECRET_ACCESS_KEY"]
    )
    try:
        asyncio.run(_serve(interface.around(app), int(os.environ["GATEWAY_PORT"])))
    finally:
        host.stop()


async def _serve(app: object, port: int) -> None:
    from hypercorn.asyncio import serve  # noqa: PLC0415  configured by ministack's import
    from hypercorn.config import Config  # noqa: PLC0415

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    threading.Thread(target=_await_end_of_input, args=(loop, stop), daemon=True).start()
    config = Config()
    config.bind = [f"{LOOPBACK}:{port}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 0.5
    config.loglevel = "WARNING"
    await serve(app, config, shutdown_trigger=stop.wait)  # type: ignore[arg-type]


def _await_end_of_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    sys.stdin.buffer.read()
    loop.call_soon_threadsafe(stop.set)


if __name__ == "__main__":
    logging.captureWarnings(capture=True)
    main()
