"""Building and deploying the real template with the SAM CLI, against a running server."""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sandbox.process import BUILD, REGION, ROOT, SandboxError, Server

CONFIG_ENVIRONMENT: Final = "sandbox"
SOURCES: Final = ("template.yaml", "samconfig.toml", "functions", "layers", "statemachine")
ARCHITECTURES: Final = {"x86_64": "x86_64", "AMD64": "x86_64", "arm64": "arm64", "aarch64": "arm64"}
BUILDS: Final = BUILD / "sam"
KEPT_BUILDS: Final = 3
KEPT_NAMES: Final = frozenset({"PATH", "HOME", "LANG", "TMPDIR"})
KEPT_PREFIXES: Final = ("PIP_", "SSL_CERT_", "REQUESTS_CA_", "CURL_CA_")
COMMAND_SECONDS: Final = 570


class SamMissingError(SandboxError):
    """There is no SAM CLI."""


class SamFailedError(SandboxError):
    """A SAM command failed; the message carries the end of its output."""


@dataclass(frozen=True, slots=True)
class Project:
    """A SAM application on disk; `parameters` override those of its template."""

    root: Path = ROOT
    parameters: tuple[str, ...] = ()


def sam() -> Path:
    """Return the SAM CLI of the environment made for it, or the one that SAM_CLI names.

    Raises SamMissingError.
    """
    for candidate in (os.environ.get("SAM_CLI", ""), str(ROOT / ".venv-sam" / "bin" / "sam")):
        if candidate and Path(candidate).is_file():
            return Path(candidate)
    raise SamMissingError(
        "the SAM CLI is missing: `make demo` and the other targets install it into .venv-sam, "
        "or SAM_CLI may name another one"
    )


def host_architecture() -> str:
    """The Lambda architecture of this machine: `x86_64` or `arm64`."""
    return ARCHITECTURES.get(platform.machine(), "x86_64")


def build(project: Project) -> tuple[Path, bool]:
    """Run `sam build` unless these sources have been built before.

    Returns the built template, and whether it ran.

    Each state of the sources has a folder of its own, and only one build runs at a time: sandboxes
    side by side do not pull a build from under each other.
    """
    BUILDS.mkdir(parents=True, exist_ok=True)
    folder = BUILDS / _fingerprint(project)[:16]
    finished = folder / "finished"
    with (BUILDS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ran = not finished.is_file()
        if ran:
            _remove_old_builds()
            shutil.rmtree(folder, ignore_errors=True)  # of a build that was interrupted
            folders = ["--build-dir", str(folder), "--cache-dir", str(BUILDS / "cache")]
            arguments = ["build", "--config-env", CONFIG_ENVIRONMENT, *folders, *_overrides()]
            _run(project, arguments, {}, "build")
        finished.touch()
    return folder / "template.yaml", ran


def _remove_old_builds() -> None:
    builds = sorted(BUILDS.glob("*/finished"), key=lambda path: path.stat().st_mtime)
    for each in builds[:-KEPT_BUILDS]:
        shutil.rmtree(each.parent)


def deploy(project: Project, template: Path, server: Server) -> None:
    """Run `sam deploy` against the server. Raises SamFailedError."""
    arguments = [
        "deploy",
        "--template-file",
        str(template),
        "--config-file",
        str(project.root / "samconfig.toml"),
        "--config-env",
        CONFIG_ENVIRONMENT,
        "--region",
        REGION,
        "--resolve-s3",
        "--no-confirm-changeset",
        "--no-fail-on-empty-changeset",
        "--no-progressbar",
        *_overrides(*project.parameters),
    ]
    _run(project, arguments, server.environment(), "deploy")


def build_and_deploy(project: Project, server: Server, say: Callable[[str], None]) -> None:
    """Do both and say how long each took."""
    started = time.monotonic()
    template, ran = build(project)
    say(
        f"sam build: {time.monotonic() - started:.1f} s"
        if ran
        else "sam build: unchanged, not needed"
    )
    started = time.monotonic()
    deploy(project, template, server)
    say(f"sam deploy: {time.monotonic() - started:.1f} s")


def _overrides(*parameters: str) -> list[str]:
    return ["--parameter-overrides", f"Architecture={host_architecture()}", *parameters]


def _run(project: Project, arguments: Sequence[str], extra: dict[str, str], name: str) -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    log = BUILD / f"sam-{name}-{os.getpid()}.log"
    environment = {key: value for key, value in os.environ.items() if _is_kept(key)}
    environment |= {
        # The SAM CLI's own interpreter comes first: it is the Python 3.13 with pip that the build
        # looks for.
        "PATH": f"{sam().parent}{os.pathsep}{environment.get('PATH', os.defpath)}",
        "AWS_CONFIG_FILE": os.devnull,  # no profile of a real account is within reach
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": REGION,
        "SAM_CLI_TELEMETRY": "0",
        **extra,
    }
    with log.open("wb") as output:
        finished = subprocess.run(
            [str(sam()), *arguments],
            cwd=project.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    if finished.returncode:
        text = log.read_text(errors="replace")
        raise SamFailedError(f"sam {name} failed ({log}):\n{text[-4000:]}")


def _is_kept(name: str) -> bool:
    """Say whether SAM gets to see a variable: how to reach a package index, nothing of AWS."""
    return name in KEPT_NAMES or name.startswith(KEPT_PREFIXES) or name.lower().endswith("_proxy")


def _fingerprint(project: Project) -> str:
    digest = hashlib.sha256(" ".join(_overrides()).encode())
    for name in SOURCES:
        path = project.root / name
        for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if each.is_file() and "__pycache__" not in each.parts:
                digest.update(str(each.relative_to(project.root)).encode())
                digest.update(each.read_bytes())
    return digest.hexdigest()
