"""One clock: simulated time in this process, in the server and in functions."""

import json
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sandbox.clock import Clock, iso

SITE = Path(__file__).parents[2] / "sandbox" / "lambda_site"

INSPECT = """
import copy, datetime, json, logging, pickle, sys, time
sys.path.insert(0, sys.argv[1])
import os, shifted_time
shifted_time.install_from_environment(dict(os.environ), scale_sleep=True)
from datetime import datetime as named
now = named.now(datetime.UTC)
parsed = named.fromisoformat("2026-11-22T03:00:00+00:00")
before = time.monotonic()
time.sleep(10)
print(json.dumps({
    "time": time.time(),
    "now": now.timestamp(),
    "utcnow": named.utcnow().replace(tzinfo=datetime.UTC).timestamp(),
    "gmtime": time.strftime("%Y", time.gmtime()),
    "is_datetime": isinstance(now, named) and isinstance(parsed, datetime.datetime),
    "c_made": isinstance(named.strptime("2026", "%Y"), named),
    "copies": copy.deepcopy(now) == pickle.loads(pickle.dumps(now)) == now,
    "record": logging.makeLogRecord({}).created,
    "slept": time.monotonic() - before,
}))
"""

UNCHANGED = """
import datetime, os, sys, time
sys.path.insert(0, sys.argv[1])
import shifted_time
before = time.time, datetime.datetime
shifted_time.install_from_environment(dict(os.environ), scale_sleep=True)
assert before == (time.time, datetime.datetime)
"""


def test_simulated_time_runs_faster_than_real_time() -> None:
    clock = Clock.starting_now(scale=1000)
    before = clock.now()
    time.sleep(0.05)
    assert 40 < clock.now() - before < 5000


def test_a_clock_of_another_process_agrees() -> None:
    clock = Clock.starting_now(scale=60)
    assert abs(Clock.from_environment(clock.environment()).now() - clock.now()) < 6


def test_a_scale_must_be_positive() -> None:
    with pytest.raises(ValueError, match="must be positive, not 0"):
        Clock.starting_now(scale=0)


def test_sleeping_lasts_a_fraction_and_can_be_interrupted() -> None:
    clock, started = Clock.starting_now(scale=100), time.monotonic()
    assert clock.sleep(5) is False
    assert 0.04 < time.monotonic() - started < 5
    interrupt = threading.Event()
    interrupt.set()
    assert clock.sleep(10_000, interrupt) is True


def test_instants_are_written_as_aws_writes_them() -> None:
    assert iso(datetime(2026, 11, 22, 3, tzinfo=UTC).timestamp()) == "2026-11-22T03:00:00.000Z"


def _inspect(clock: Clock) -> dict[str, object]:
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", INSPECT, str(SITE)],
        env=clock.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(finished.stdout))


def test_a_function_lives_in_simulated_time_in_every_way_of_asking() -> None:
    start = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC).timestamp()
    clock = Clock(start=start, anchor=time.monotonic(), scale=100)
    seen = _inspect(clock)
    for name in ("time", "now", "utcnow", "record"):
        assert start <= float(str(seen[name])) <= clock.now()
    assert seen["gmtime"] == "2031"
    assert seen["is_datetime"] is seen["c_made"] is seen["copies"] is True
    assert 0.05 < float(str(seen["slept"])) < 5


def test_at_the_speed_of_real_time_nothing_is_replaced() -> None:
    finished = subprocess.run(
        [
            sys.executable,
            "-c",
            UNCHANGED,
            str(SITE),
        ],
        env=Clock.starting_now(scale=1).environment(),
        check=False,
    )
    assert finished.returncode == 0
