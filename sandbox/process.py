"""Starting and stopping the server's process, and the credentials with which to reach it."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sandbox import server
from sandbox.clock import Clock

ROOT: Final = Path(__file__).parent.parent
BUILD: Final = ROOT / "build" / "sandbox"
REGION: Final = "us-east-1"  # the one that samconfig.toml names for the sandbox
ACCOUNT: Final = "111122223333"  # AWS's documentation uses this account id for examples
SECRET: Final = "sandbox"  # noqa: S105  of an AWS that exists on this machine only
KEPT_LOGS: Final = 30
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 10.0


class SandboxError(Exception):
    """The sandbox itself failed; the message says how and, if it can, what to do."""


class PortInUseError(SandboxError):
    """The wanted port is taken."""


class ServerFailedError(SandboxError):
    """The server did not come up, or is gone."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: where it is, its clock, and the folder that ends with it."""

    endpoint: str
    clock: Clock
    log: Path
    state: Path
    pid: int

    def environment(self) -> dict[str, str]:
        """The variables with which the AWS CLI, the SDKs and SAM reach it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": REGION,
        }


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((server.LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def require_free(port: int) -> None:
    """Raise PortInUseError if something listens on `port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((server.LOOPBACK, port))
        except OSError as error:
            raise PortInUseError(
                f"port {port} of this machine is in use: choose another one with --port"
            ) from error


@contextlib.contextmanager
def running(
    *, scale: float, seed: int, port: int = 0, physics: Mapping[str, Any] | None = None
) -> Iterator[Server]:
    """A server for the time of a `with` block.

    `physics` changes figures of sandbox.ec2.Physics for every instance. Raises PortInUseError or
    ServerFailedError.
    """
    if port:
        require_free(port)
    port = port or free_port()
    clock = Clock.starting_now(scale)
    BUILD.mkdir(parents=True, exist_ok=True)
    state = Path(tempfile.mkdtemp(prefix="run-", dir=BUILD))
    _remove_old_logs()
    log = BUILD / f"server-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "sandbox.server"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={
                **_server_environment(clock, seed, port, state),
                server.PHYSICS: json.dumps(dict(physics or {})),
            },
            start_new_session=True,  # Ctrl-C reaches the command line, which then stops the server
        )
    started = Server(f"http://{server.LOOPBACK}:{port}", clock, log, state, process.pid)
    try:
        _await_answer(started, process)
        yield started
    finally:
        _stop(process)
        shutil.rmtree(state, ignore_errors=True)


def _remove_old_logs() -> None:
    logs = sorted(BUILD.glob("*.log"), key=lambda path: path.stat().st_mtime)
    for each in logs[:-KEPT_LOGS]:
        each.unlink(missing_ok=True)


def _server_environment(clock: Clock, seed: int, port: int, state: Path) -> dict[str, str]:
    temporary = state / "tmp"
    temporary.mkdir()
    kept = {
        name: os.environ[name]
        for name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")
        if name in os.environ
    }
    return {
        **kept,
        **clock.environment(),
        "AUTH": "true",
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": REGION,
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",
        # An asynchronous invocation is tried again after one and after two minutes (Lambda
        # Developer Guide).
        "LAMBDA_ASYNC_RETRY_BASE_SECONDS": str(clock.real_seconds(60)),
        "LAMBDA_ASYNC_RETRY_MAX_SECONDS": str(clock.real_seconds(120)),
        "LOG_LEVEL": "WARNING",
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_HOST": server.LOOPBACK,
        "MINISTACK_REGION": REGION,
        "PYTHONUNBUFFERED": "1",
        "S3_DATA_DIR": str(state / "s3"),
        server.SEED: str(seed),
        "SFTP_ENABLED": "0",
        server.STATE: str(state),
        "STATE_DIR": str(state),
        "TMPDIR": str(temporary),
        "TZ": "UTC",
    }


def _await_answer(started: Server, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{started.endpoint}/_ministack/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    tail = started.log.read_text(errors="replace")[-3000:]
    raise ServerFailedError(f"the server did not come up; the end of {started.log}:\n{tail}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
